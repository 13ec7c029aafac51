//! Time limits, kept by the thread of `crate::runtime`: the caller's runtime may be one that is held up, or none.

use core::future::Future;
use core::pin::pin;
use core::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::runtime::handle;

/// The time is up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TooLate;

/// What `future` comes to, if it does so in time.
pub(super) async fn until<F: Future>(deadline: Instant, future: F) -> Result<F::Output, TooLate> {
    // Moved once, and not again into what limits it.
    let future = pin!(future);
    let limited = {
        let runtime = handle().map_err(|_| TooLate)?;
        let _timers_of_this = runtime.enter();
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
