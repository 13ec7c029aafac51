//! One thread with a tokio runtime, for clients that need one. Their futures can then be polled from anywhere: from another
//! runtime, from `block_on`, from a thread that knows nothing of tokio.
//!
//! The thread starts at the first use, one for all engines of a process. A thread does not survive a fork, so a child starts
//! its own.

use core::future::Future;
use core::pin::Pin;
use std::io;
use std::process;
use std::sync::OnceLock;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot::{Sender, channel};

static THREAD: PerProcess<Thread> = PerProcess::new();

struct Thread {
    handle: Handle,
    /// The thread ends when this is dropped.
    _lives: Sender<()>,
}

/// Something to be done.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs `work` to its end on the thread that serves the clients of this process, which starts if need be. It ends with the
/// process, and so may `work`: whoever waits for a result should notice that the future was dropped.
pub fn spawn(work: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    handle().map(|handle| drop(handle.spawn(work)))
}

/// [`spawn`] for each of several: the thread is woken once.
pub fn spawn_all(all: Vec<Work>) -> io::Result<()> {
    spawn(async {
        for work in all {
            drop(tokio::spawn(work));
        }
    })
}

/// The runtime of this process.
pub(crate) fn handle() -> io::Result<Handle> {
    THREAD.get(Thread::start).map(|thread| thread.handle.clone())
}

impl Thread {
    fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (lives, over) = channel::<()>();
        thread::Builder::new().name("coatroom".into()).spawn(move || runtime.block_on(over))?;
        Ok(Self { handle, _lives: lives })
    }
}

/// A value of which every process has its own: what a child inherits by a fork it neither uses nor drops, for the threads
/// and connections behind it are its parent's. A list, so that no lock which a fork may have caught is ever taken.
pub(crate) struct PerProcess<T>(OnceLock<Box<Own<T>>>);

struct Own<T> {
    pid: u32,
    value: Option<T>,
    next: PerProcess<T>,
}

impl<T> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// The value of this process, made at the first call. Of two threads that make one the second drops its own.
    pub(crate) fn get<E>(&self, make: impl Fn() -> Result<T, E>) -> Result<&T, E> {
        let mut place = self;
        loop {
            match place.0.get().map(|own| (own, &own.value)) {
                Some((own, Some(value))) if own.pid == process::id() => return Ok(value),
                Some((own, _)) => place = &own.next,
                None => {
                    let own = Own { pid: process::id(), value: Some(make()?), next: Self::new() };
                    drop(place.0.set(Box::new(own)));
                }
            }
        }
    }
}

impl<T> Drop for Own<T> {
    fn drop(&mut self) {
        if self.pid != process::id() {
            core::mem::forget(self.value.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    #[test]
    fn a_future_that_needs_tokio_ends_on_a_thread_that_knows_nothing_of_it() {
        let handle = super::handle().unwrap();
        let task = handle.spawn(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            7
        });
        assert_eq!(crate::block_on(task).unwrap(), 7);
    }

    #[test]
    fn one_thread_serves_the_whole_process() {
        let ids: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| super::handle().unwrap().id())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(ids.windows(2).all(|pair| pair[0] == pair[1]));
    }
}
