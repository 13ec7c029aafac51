//! A thread with a runtime, started at the first need: it keeps every time limit, and serves callers that have no runtime
//! of their own.

use core::future::Future;
use core::time::Duration;
use std::sync::{Mutex, PoisonError};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

/// The thread; it ends when this is dropped.
#[derive(Default)]
pub(super) struct Helper(Mutex<Option<Running>>);

struct Running {
    runtime: Handle,
    _ends_when_dropped: oneshot::Sender<()>,
}

/// The time is up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TooLate;

impl Helper {
    /// The runtime; nothing if the system has no thread left.
    pub(super) fn runtime(&self) -> Option<Handle> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_none() {
            *running = start().ok();
        }
        running.as_ref().map(|running| running.runtime.clone())
    }

    /// What `future` comes to, if it does so in time. The clock of this thread counts: the caller's runtime may be one
    /// that is held up, or none.
    pub(super) async fn until<F: Future>(&self, deadline: Instant, future: F) -> Result<F::Output, TooLate> {
        let limited = {
            let runtime = self.runtime().ok_or(TooLate)?;
            let _timers_of_this = runtime.enter();
            timeout_at(deadline, future)
        };
        limited.await.map_err(|_| TooLate)
    }

    pub(super) async fn pause(&self, span: Duration) {
        let pause = self.runtime().map(|runtime| {
            let _timers_of_this = runtime.enter();
            sleep(span)
        });
        if let Some(pause) = pause {
            pause.await;
        }
    }
}

fn start() -> std::io::Result<Running> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    let handle = runtime.handle().clone();
    let (sender, receiver) = oneshot::channel::<()>();
    thread::Builder::new().name("coatroom-redis".to_owned()).spawn(move || {
        let _ended = runtime.block_on(receiver);
    })?;
    Ok(Running { runtime: handle, _ends_when_dropped: sender })
}
