//! Waiting for the locks of other processes.

use core::cell::Cell;
use core::time::Duration;
use std::thread;
use std::time::Instant;

use rusqlite::ErrorCode;

thread_local! {
    /// Until when this thread waits for a lock; none when it must not.
    static WAITS_UNTIL: Cell<Option<Instant>> = const { Cell::new(None) };
    static JITTER: Cell<u32> = const { Cell::new(0x9e37_79b9) };
}

pub(super) fn with_patience<T>(patience: Duration, work: impl FnOnce() -> T) -> T {
    WAITS_UNTIL.set(Instant::now().checked_add(patience));
    let result = work();
    WAITS_UNTIL.set(None);
    result
}

/// SQLite's own handler sleeps longer and longer, and newcomers overtake. Short random sleeps are fair enough.
pub(super) fn wait_a_little(_: i32) -> bool {
    let patient = WAITS_UNTIL.get().is_some_and(|until| Instant::now() < until);
    if patient {
        let mut x = JITTER.get() ^ std::process::id();
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        JITTER.set(x);
        thread::sleep(Duration::from_micros(20 + u64::from(x & 0x1ff)));
    }
    patient
}

pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}
