//! What the driver needs from its surroundings, in one place: time, randomness, waiting.

use core::cell::Cell;
use core::future::Future;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::sync::Arc;
use std::task::Wake;
use std::thread::{self, Thread};
use std::time::{Instant, SystemTime};

use coatroom_core::Timestamp;
use rand_core::TryCryptoRng;

/// Time, randomness and waiting. [`System`] is the real one; a test brings its own.
pub trait Host: Send + Sync {
    /// The wall clock. Read twice per exchange.
    fn now(&self) -> Timestamp;

    /// A clock that never goes back, for measuring how long the driver has tried.
    fn ticks(&self) -> Duration;

    /// The source of randomness: of the operating system, and no generator in between, which a fork would copy.
    fn rng(&self) -> impl TryCryptoRng;

    /// Waits before another attempt.
    fn pause(&self, span: Duration) -> impl Future<Output = ()> + Send;
}

/// The clocks and randomness of the operating system. Waits by putting the thread to sleep, but for a thread of a tokio
/// runtime, which others need meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct System {
    started: Instant,
}

impl Default for System {
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

impl Host for System {
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_unix_ms(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }

    fn ticks(&self) -> Duration {
        self.started.elapsed()
    }

    fn rng(&self) -> impl TryCryptoRng {
        getrandom::SysRng
    }

    #[cfg(any(feature = "postgres", feature = "redis"))]
    async fn pause(&self, span: Duration) {
        let is_shared = is_turning() || (tokio::runtime::Handle::try_current().is_ok() && !is_blocking());
        match crate::runtime::handle() {
            // The thread belongs to others too, and the caller's runtime need not have a timer.
            Ok(helper) if is_shared => drop(helper.spawn(async move { tokio::time::sleep(span).await }).await),
            _ => thread::sleep(span),
        }
    }

    #[cfg(not(any(feature = "postgres", feature = "redis")))]
    fn pause(&self, span: Duration) -> impl Future<Output = ()> + Send {
        thread::sleep(span);
        core::future::ready(())
    }
}

/// What keeps this thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Nothing of this crate.
    Free,
    /// [`block_on`]: a runtime on this thread stands still.
    Blocked,
    /// [`block_on_far`]: and this thread asks for itself, where it can.
    #[cfg(any(feature = "postgres", feature = "redis"))]
    Asking,
}

std::thread_local! {
    static KEPT: Cell<Kept> = const { Cell::new(Kept::Free) };
}

#[cfg(feature = "redis")]
pub(crate) fn kept() -> Kept {
    KEPT.get()
}

/// Whether this thread waits, and may ask for itself.
#[cfg(feature = "redis")]
pub(crate) fn is_asking() -> bool {
    KEPT.get() == Kept::Asking
}

/// Whether this thread does what an event loop has to do.
#[cfg(feature = "redis")]
fn is_turning() -> bool {
    crate::reactor::current().is_some()
}

#[cfg(all(feature = "postgres", not(feature = "redis")))]
fn is_turning() -> bool {
    false
}

/// Whether this thread waits for a future, so that a runtime on it stands still.
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(crate) fn is_blocking() -> bool {
    KEPT.get() != Kept::Free
}

/// Says what keeps this thread, until what is returned is dropped.
pub(crate) fn keep(kept: Kept) -> impl Drop {
    struct Restore(Kept);
    impl Drop for Restore {
        fn drop(&mut self) {
            KEPT.set(self.0);
        }
    }
    Restore(KEPT.replace(kept))
}

/// Runs a future to its end on this thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    run(Kept::Blocked, future)
}

/// The same for what asks a store behind a network. Redis is asked by this thread itself, which waits in the system for each
/// answer; so there are as many connections as threads that wait at once, and nothing else of the future goes on meanwhile.
#[cfg(any(feature = "postgres", feature = "redis"))]
pub fn block_on_far<F: Future>(future: F) -> F::Output {
    run(Kept::Asking, future)
}

fn run<F: Future>(kept: Kept, future: F) -> F::Output {
    let _kept = keep(kept);
    let mut future = pin!(future);
    // Over an engine every future is ready at once, so nothing is set up for waiting.
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => wait_for(future),
    }
}

fn wait_for<F: Future>(mut future: Pin<&mut F>) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
