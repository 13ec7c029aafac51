//! How many replicas have what must not be lost.

use core::cell::Cell;
use core::future::Future;

use redis::Value;

tokio::task_local! {
    static CONFIRMED: Cell<Option<u32>>;
}

/// Runs an exchange, such as `driver.close(session)`, and says what replicas confirmed of it: the fewest that had one of
/// its logins, rotations, endings or revocations when the wait for them was over. None if it waited for none, since
/// nothing asked for it or [`super::Settings::confirm_replicas`] was not set.
///
/// Replicas that have a write are no promise that one of them is promoted: this narrows the window in which a failover
/// undoes it, and never closes it.
pub async fn confirmed<F: Future>(exchange: F) -> (F::Output, Option<u32>) {
    CONFIRMED.scope(Cell::new(None), async { (exchange.await, CONFIRMED.with(Cell::get)) }).await
}

/// What `WAIT` answered, unless nothing was written before it.
// spec: STORE-10 5846
pub(super) fn tell(replicas: &Value, written: Option<&Value>) {
    let count = match replicas {
        Value::Int(count) => u32::try_from(*count).unwrap_or_default(),
        _ => 0,
    };
    let is_written = matches!(written, Some(Value::Int(1) | Value::Array(_)));
    if is_written {
        let fewest = |seen: &Cell<Option<u32>>| seen.set(Some(seen.get().map_or(count, |seen| seen.min(count))));
        let _nobody_asks = CONFIRMED.try_with(fewest);
    }
}
