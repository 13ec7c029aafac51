//! Somebody looks: each call of the store is timed and named.

use core::future::Future;
use core::time::Duration;

use coatroom_core::{Handle, Loaded};

use super::{Call, Calls, Observer};
use crate::{Entered, Host, NotListed, Swapped, Unavailable};

impl<S: Sync, H: Host> Calls<'_, S, H> {
    /// The future is made here, for one that is handed over would be kept twice.
    pub(super) async fn watched<T: Answer, F: Future<Output = T> + Send>(
        self,
        call: Call,
        handle: Option<Handle>,
        ask: impl FnOnce() -> F + Send,
    ) -> T {
        let started = self.clock();
        let answer = ask().await;
        self.told(call, handle, &answer, started);
        answer
    }

    pub(super) fn watched_now<T: Answer>(self, call: Call, handle: Option<Handle>, ask: impl FnOnce() -> T) -> T {
        let started = self.clock();
        let answer = ask();
        self.told(call, handle, &answer, started);
        answer
    }

    pub(crate) fn clock(self) -> Duration {
        if self.watch.wants_times() { self.host.ticks() } else { Duration::ZERO }
    }

    pub(crate) fn told(self, call: Call, handle: Option<Handle>, answer: &impl Answer, started: Duration) {
        self.watch.called(call, handle, answer.outcome(), self.clock().saturating_sub(started));
    }
}

impl Call {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Swap => "swap",
            Self::Enter => "enter",
            Self::Sessions => "sessions",
            Self::Leave => "leave",
            Self::Bar => "bar",
            Self::Announce => "announce",
            Self::Scan => "scan",
            Self::Sweep => "sweep",
        }
    }
}

/// What the store said, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Done,
    Found,
    Absent,
    Full,
    Conflict,
    Unknown,
    Unavailable,
    /// It would have taken a wait that the caller has no time for. Nothing was sent.
    PutOff,
}

impl Outcome {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Found => "found",
            Self::Absent => "absent",
            Self::Full => "full",
            Self::Conflict => "conflict",
            Self::Unknown => "unknown",
            Self::Unavailable => "unavailable",
            Self::PutOff => "put off",
        }
    }
}

/// What a store answers.
pub(crate) trait Answer: Send {
    fn outcome(&self) -> Outcome;
}

impl Answer for Loaded {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Found(_) => Outcome::Found,
            Self::Absent => Outcome::Absent,
            Self::Unavailable => Outcome::Unavailable,
        }
    }
}

impl Answer for Swapped {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Done | Self::Entered(_) => Outcome::Done,
            Self::Full => Outcome::Full,
            Self::Conflict(_) => Outcome::Conflict,
            Self::Unknown => Outcome::Unknown,
            Self::Unavailable => Outcome::Unavailable,
        }
    }
}

impl Answer for Option<Swapped> {
    fn outcome(&self) -> Outcome {
        self.as_ref().map_or(Outcome::PutOff, Answer::outcome)
    }
}

impl Answer for Result<Entered, NotListed> {
    fn outcome(&self) -> Outcome {
        match self {
            Ok(_) => Outcome::Done,
            Err(NotListed::Full) => Outcome::Full,
            Err(NotListed::Unavailable) => Outcome::Unavailable,
        }
    }
}

impl<T: Send> Answer for Result<T, Unavailable> {
    fn outcome(&self) -> Outcome {
        if self.is_ok() { Outcome::Done } else { Outcome::Unavailable }
    }
}
