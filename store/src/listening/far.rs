//! Listening to a server: on a connection of its own, and on another one whenever that was lost.

use core::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::Listening;

/// The first pause between two connections; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest one, and how long a connection has to last until the next pause is a short one again.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often a silent connection is asked whether it still leads anywhere.
pub(crate) const SILENCE: Duration = Duration::from_secs(20);

/// Listens on a runtime until what is returned is dropped. `hear` connects, and ends with its connection.
// spec: FEED-6 f2f5
pub(crate) fn listen<F: Future<Output = ()> + Send>(
    runtime: &Handle,
    hear: impl Fn() -> F + Send + 'static,
) -> Listening {
    let task = runtime.spawn(async move {
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = Instant::now();
            hear().await;
            if begun.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            sleep(jittered(pause)).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    });
    Listening::until_dropped(Abort(task.abort_handle()))
}

/// The task ends, and its connection.
struct Abort(AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Between half of it and all of it, so that clients do not come back in step.
pub(crate) fn jittered(span: Duration) -> Duration {
    let half = span.checked_div(2).unwrap_or_default();
    let micros = u64::try_from(half.as_micros()).unwrap_or(u64::MAX);
    // Without randomness the pauses are merely in step.
    let random = u64::from(getrandom::u32().unwrap_or_default());
    half.saturating_add(Duration::from_micros(random.checked_rem(micros).unwrap_or_default()))
}
