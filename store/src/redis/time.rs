//! Time limits, kept by the thread of `crate::runtime`: the caller's runtime may be one that is held up, or none.

use core::future::Future;
use core::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::runtime::handle;

/// The time is up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TooLate;

/// What `future` comes to, if it does so in time. Pinned by whoever calls, for what is moved into a future has its place twice.
pub(super) async fn until<F: Future + Unpin>(deadline: Instant, future: F) -> Result<F::Output, TooLate> {
    by(&handle().map_err(|_| TooLate)?, deadline, future).await
}

/// The same, for who knows that thread.
pub(super) async fn by<F: Future + Unpin>(timers: &Handle, deadline: Instant, future: F) -> Result<F::Output, TooLate> {
    let limited = {
        let _timers_of_this = timers.enter();
        timeout_at(deadline, future)
    };
    limited.await.map_err(|_| TooLate)
}

pub(super) async fn pause(span: Duration) {
    let pause = handle().map(|runtime| {
        let _timers_of_this = runtime.enter();
        sleep(span)
    });
    if let Ok(pause) = pause {
        pause.await;
    }
}
