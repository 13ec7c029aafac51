//! Connections that are served on the thread of somebody else's event loop, and the work that uses them: no thread is woken
//! in between. That loop watches one descriptor, and calls [`Reactor::turn`] when it is readable. Where it does not, because it
//! is closed or stands still, the thread of [`crate::runtime`] does what is under way.

mod socket;
mod task;
mod watch;

use core::cell::RefCell;
use core::future::Future;
use core::mem::{forget, take};
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mio::{Events, Poll, Registry, Token};

use socket::Ears;
pub(crate) use socket::Socket;
use task::Piece;
pub(crate) use task::Task;
pub(crate) use watch::Counted;
use watch::watch;

use crate::runtime::Work;

/// The bell's, which is no socket's.
const BELL: Token = Token(0);
/// Taken from the system at once; what is more waits for the next turn.
const EVENTS: usize = 256;
/// What an event loop turns. Dropped, it closes its connections: work that waits for one is told that it was cut, and dropped
/// where it would have to wait again.
#[derive(Debug)]
pub struct Reactor(LoopHandle);

/// The same for those whom it serves.
#[derive(Clone, Debug)]
pub(crate) struct LoopHandle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// A child shares the descriptors with its parent.
    pid: u32,
    /// Held by whoever turns.
    driver: Mutex<Driver>,
    registry: Registry,
    bell: mio::Waker,
    is_rung: AtomicBool,
    ready: Mutex<VecDeque<Arc<Task>>>,
    ears: Mutex<HashMap<Token, Arc<Ears>>>,
    /// Connections that keep something back until the end of a turn.
    kept_back: Mutex<Vec<Arc<Ears>>>,
    tokens: AtomicUsize,
    /// Pieces of work under way.
    works: AtomicUsize,
    /// How often the loop turned.
    turns: AtomicU64,
    is_watched: AtomicBool,
    /// Connections are.
    is_closed: AtomicBool,
    /// Nobody turns any more.
    is_over: AtomicBool,
}

#[derive(Debug)]
struct Driver {
    poll: Poll,
    events: Events,
}

/// What a turn found.
#[derive(Default)]
struct Turned {
    /// Something to do.
    did: bool,
    /// The bell.
    was_rung: bool,
}

std::thread_local! {
    static CURRENT: RefCell<Option<LoopHandle>> = const { RefCell::new(None) };
}

/// Whose work this thread is doing.
pub(crate) fn current() -> Option<LoopHandle> {
    CURRENT.with_borrow(Clone::clone)
}

impl Reactor {
    /// One for an event loop.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let bell = mio::Waker::new(&registry, BELL)?;
        Ok(Self(LoopHandle(Arc::new(Inner {
            pid: process::id(),
            driver: Mutex::new(Driver { poll, events: Events::with_capacity(EVENTS) }),
            registry,
            bell,
            is_rung: AtomicBool::new(false),
            ready: Mutex::default(),
            ears: Mutex::default(),
            kept_back: Mutex::default(),
            tokens: AtomicUsize::new(BELL.0),
            works: AtomicUsize::new(0),
            turns: AtomicU64::new(0),
            is_watched: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        }))))
    }

    /// The descriptor to watch. It is readable as long as there is something to be turned.
    #[cfg(unix)]
    pub fn descriptor(&self) -> std::os::fd::RawFd {
        use std::os::fd::AsRawFd;
        lock(&self.0.0.driver).poll.as_raw_fd()
    }

    /// Takes work, to begin with at the next [`Reactor::run`] or turn. In its box, since it is large: to hand it on otherwise
    /// would be to move it.
    pub fn spawn(&self, work: Work) {
        drop(self.0.begin(work, Some(self.0.count())));
    }

    /// Does something as its work does it, outside of a turn: what a store is asked then is asked on its connections. What has
    /// to be done for that waits for the next [`Reactor::run`] or turn.
    pub fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        self.0.within(work)
    }

    /// Does what can be done without looking at the connections.
    pub fn run(&self) {
        self.0.0.turns.fetch_add(1, Ordering::Relaxed);
        if self.0.0.is_rung.load(Ordering::SeqCst) {
            // Whoever was told that the time is up looks for an answer first. The loop may have been rung for something else.
            self.turn();
            return self.wake();
        }
        match self.0.0.driver.try_lock() {
            Ok(_held) => self.0.run(|| {}),
            // Whoever turns may have looked for work already.
            Err(_) => self.wake(),
        }
    }

    /// Does what can be done since something has happened on a connection. From one thread at a time: a second returns at once.
    pub fn turn(&self) {
        self.turn_within(Duration::ZERO);
    }

    /// As [`Reactor::turn`], where nothing has happened yet: waits so long for it.
    pub fn turn_within(&self, patience: Duration) {
        self.0.0.turns.fetch_add(1, Ordering::Relaxed);
        self.0.turn(patience);
    }

    /// Makes the descriptor readable. From any thread.
    pub fn wake(&self) {
        self.0.ring();
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        let inner = &*self.0.0;
        if inner.pid != process::id() {
            forget(self.0.clone());
            return;
        }
        inner.is_closed.store(true, Ordering::SeqCst);
        let ears: Vec<_> = lock(&inner.ears).values().cloned().collect();
        self.0.run(|| ears.iter().for_each(|ears| ears.wake()));
        inner.is_over.store(true, Ordering::SeqCst);
        lock(&inner.ready).clear();
    }
}

impl Inner {
    /// Has a connection write at the end of this turn.
    fn keep_back(&self, ears: &Arc<Ears>) {
        let mut kept_back = lock(&self.kept_back);
        if !kept_back.iter().any(|kept| Arc::ptr_eq(kept, ears)) {
            kept_back.push(Arc::clone(ears));
        }
    }
}

impl LoopHandle {
    /// Takes work; it can be cut off by what is returned. Once the loop is gone, work is dropped.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> Arc<Task> {
        self.begin(Box::pin(work), None)
    }

    fn begin(&self, work: Work, counted: Option<Counted>) -> Arc<Task> {
        let is_taken = !self.0.is_closed.load(Ordering::SeqCst);
        Task::begin(is_taken.then(|| Piece { work, _counted: counted }), self.clone())
    }

    /// Says that something is under way, until this is dropped: it is watched that it goes on.
    pub(crate) fn count(&self) -> Counted {
        let counted = Counted::new(self);
        if !self.0.is_watched.load(Ordering::SeqCst)
            && !self.0.is_watched.swap(true, Ordering::SeqCst)
            && let Ok(helper) = crate::runtime::handle()
        {
            drop(helper.spawn(watch(Arc::downgrade(&self.0))));
        }
        counted
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether this thread does its work.
    pub(crate) fn is_here(&self) -> bool {
        CURRENT.with_borrow(|current| current.as_ref().is_some_and(|current| current.is(self)))
    }

    fn ring(&self) {
        self.0.is_rung.store(true, Ordering::SeqCst);
        // Fails only while it cannot be heard.
        let _best_effort = self.0.bell.wake();
    }

    fn turn(&self, patience: Duration) -> Turned {
        let inner = &*self.0;
        let Ok(mut driver) = inner.driver.try_lock() else { return Turned::default() };
        let Driver { poll, events } = &mut *driver;
        // Interrupted or not: what there is will be there the next time too.
        let polled = poll.poll(events, Some(patience));
        inner.is_rung.store(false, Ordering::SeqCst);
        let later = take(&mut *lock(&inner.ready));
        let turned = Turned {
            did: !later.is_empty() || events.iter().any(|event| event.token() != BELL),
            was_rung: events.iter().any(|event| event.token() == BELL),
        };
        self.run(|| {
            for event in events.iter().filter(|_| polled.is_ok()) {
                let ears = lock(&inner.ears).get(&event.token()).cloned();
                if let Some(ears) = ears {
                    ears.hear(event);
                }
            }
            // Connections first: a loop that stood still for long has answers waiting, and limits that have passed.
            lock(&inner.ready).extend(later);
        });
        turned
    }

    /// Does what can be done after `first`. Called by who holds the driver, or by the last one who could.
    fn run(&self, first: impl FnOnce()) {
        self.within(|| {
            first();
            loop {
                let next = lock(&self.0.ready).pop_front();
                if let Some(task) = next {
                    task.step();
                    continue;
                }
                let kept_back = take(&mut *lock(&self.0.kept_back));
                if kept_back.is_empty() {
                    break;
                }
                for ears in kept_back {
                    ears.write();
                }
            }
        });
    }

    fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = CURRENT.replace(Some(self.clone()));
        let done = work();
        drop(CURRENT.replace(before));
        done
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use core::future::poll_fn;
    use core::task::Poll;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    use super::{Reactor, current};

    #[test]
    fn work_that_panics_ends_alone() {
        let reactor = Reactor::new().unwrap();
        let done = Arc::<AtomicU32>::default();
        for number in 0..3 {
            let done = Arc::clone(&done);
            reactor.spawn(Box::pin(async move {
                assert_ne!(number, 1, "on purpose");
                done.fetch_add(1, Ordering::SeqCst);
            }));
        }
        reactor.run();
        assert_eq!(done.load(Ordering::SeqCst), 2);
        assert!(current().is_none());
    }

    #[test]
    fn work_that_another_thread_wakes_makes_the_loop_turn() {
        let reactor = Reactor::new().unwrap();
        let polls = Arc::<AtomicU32>::default();
        let counted = Arc::clone(&polls);
        reactor.spawn(Box::pin(poll_fn(move |context| {
            if counted.fetch_add(1, Ordering::SeqCst) == 1 {
                return Poll::Ready(());
            }
            let waker = context.waker().clone();
            thread::spawn(move || waker.wake());
            Poll::Pending
        })));
        reactor.run();
        assert_eq!(polls.load(Ordering::SeqCst), 1);
        reactor.turn_within(core::time::Duration::from_mins(5));
        assert_eq!(polls.load(Ordering::SeqCst), 2);
    }

    #[cfg(unix)]
    #[test]
    fn a_loop_that_was_rung_is_told_whatever_was_run_meanwhile() {
        use mio::unix::SourceFd;
        use mio::{Events, Interest, Poll, Token};

        let reactor = Reactor::new().unwrap();
        let is_readable = || {
            let (mut outer, mut events) = (Poll::new().unwrap(), Events::with_capacity(1));
            let descriptor = reactor.descriptor();
            outer.registry().register(&mut SourceFd(&descriptor), Token(1), Interest::READABLE).unwrap();
            outer.poll(&mut events, Some(core::time::Duration::ZERO)).unwrap();
            !events.is_empty()
        };
        assert!(!is_readable());
        reactor.wake();
        reactor.run();
        assert!(is_readable());
        reactor.turn();
        assert!(!is_readable());
    }

    #[test]
    fn work_that_is_cut_or_left_is_dropped() {
        let reactor = Reactor::new().unwrap();
        let held = Arc::new(());
        let never = |held: Arc<()>| async move {
            core::future::pending::<()>().await;
            drop(held);
        };
        let task = reactor.0.spawn(never(Arc::clone(&held)));
        reactor.run();
        assert_eq!(Arc::strong_count(&held), 2);
        task.cut();
        reactor.run();
        assert_eq!(Arc::strong_count(&held), 1);
        reactor.spawn(Box::pin(never(Arc::clone(&held))));
        drop(reactor);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
