//! Points in time as values. The core reads no clock: every reading comes in as an argument.

use core::time::Duration;

use crate::bugs::{Bug, planted};

/// Milliseconds since the Unix epoch, at most 2^48 - 1 (the year 10889), so that a record stores it in six bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The latest time that can be written down.
    pub const MAX: Self = Self((1 << 48) - 1);

    /// A clock reading in milliseconds since the Unix epoch; larger values become [`Timestamp::MAX`].
    #[must_use]
    // spec: TIME-1 cd5f
    pub const fn from_unix_ms(ms: u64) -> Self {
        if ms > Self::MAX.0 { Self::MAX } else { Self(ms) }
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_unix_ms(self) -> u64 {
        self.0
    }

    /// This time plus `span`, saturating: a limit so far away never passes.
    #[must_use]
    // spec: TIME-1 cd5f
    pub fn plus(self, span: Duration) -> Self {
        Self::from_unix_ms(self.0.saturating_add(millis(span)))
    }

    /// This time less `span`, or the beginning of time.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }

    /// How long after `earlier` this is; zero when it is not after.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Whole milliseconds of `span`, saturating.
pub(crate) fn millis(span: Duration) -> u64 {
    span.as_secs().saturating_mul(1000).saturating_add(u64::from(span.subsec_millis()))
}

/// The two limits of a session. The only place where a clock reading becomes "expired".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    pub(crate) seen_at: Timestamp,
    pub(crate) idle: Option<Duration>,
    pub(crate) deadline: Timestamp,
}

/// How late [`Bug::LimitLate`] is.
const LATE: Duration = Duration::from_millis(1);

/// Which limit passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Passed {
    Idle,
    Absolute,
}

impl Limits {
    /// A limit has passed when `now` has reached it: never a millisecond late.
    // spec: TIME-2 8846, TIME-3 cd01, CLAIM-7 3c2e
    pub(crate) fn passed(self, now: Timestamp) -> Option<Passed> {
        if planted(Bug::LimitLate) {
            let late = Self { deadline: self.deadline.plus(LATE), seen_at: self.seen_at.plus(LATE), ..self };
            return (now >= late.ends_at()).then_some(Passed::Idle);
        }
        if now >= self.deadline {
            Some(Passed::Absolute)
        } else if self.idle.is_some_and(|idle| now >= self.seen_at.plus(idle)) {
            Some(Passed::Idle)
        } else {
            None
        }
    }

    /// When the earlier of the two limits passes if nothing happens.
    // spec: STORE-7 250a
    pub(crate) fn ends_at(self) -> Timestamp {
        self.idle.map_or(self.deadline, |idle| self.seen_at.plus(idle).min(self.deadline))
    }
}
