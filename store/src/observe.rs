//! What those who run a site get to see: log lines through `tracing`, figures through `metrics`. Each is a feature of this
//! crate; without them [`Watch`] holds nothing and does nothing, and no clock is read for it.
//!
//! A session appears by its handle alone. Nothing here is given an id, a cookie, a principal or data, so nothing of it can
//! be told: a handle opens no session. Levels follow from who has to act:
//!
//! - *warn*: an operator. A copied or forged id, a record that cannot be read, a request or a change that was refused for
//!   want of the store, a sweep that failed, a server that is set up to lose sessions.
//! - *info*: nobody now, somebody who looks into a case later. Who came, was raised or went: login, elevation, another
//!   name, every end but that by a limit.
//! - *debug*: the rest of a session's life, conflicts and second attempts, and whatever a stranger can bring about at will,
//!   who could otherwise fill the log: junk in cookies, cookies sent twice or under the other name.
//! - *trace*: each exchange and each call of the store.
//!
//! A store that does not answer is a warning once for each answer that somebody got, not for each attempt.

mod calls;
#[cfg(feature = "tracing")]
mod events;
#[cfg(feature = "metrics")]
mod figures;
#[cfg(not(any(feature = "tracing", feature = "metrics")))]
mod idle;
#[cfg(feature = "metrics")]
mod live;
#[cfg(any(feature = "tracing", feature = "metrics"))]
mod timed;

use core::fmt::Debug;
use core::future::Future;
use core::time::Duration;

use coatroom_core::{Failure, Handle, Reply};

pub(crate) use calls::{Call, Calls};
#[cfg(feature = "tracing")]
use events::Events;
#[cfg(feature = "metrics")]
use figures::Figures;

#[cfg(any(feature = "tracing", feature = "metrics"))]
use timed::Outcome;

use crate::{Refused, Unavailable};

#[cfg(not(feature = "tracing"))]
type Events = Nobody;
#[cfg(not(feature = "metrics"))]
type Figures = Nobody;

/// What is done, for as long as it takes.
#[derive(Clone, Copy)]
pub(crate) enum Act {
    Open,
    Close,
    #[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "a span shows it"))]
    Change(Handle),
    Devices,
    RevokeAll,
    RevokeEverything,
    Rename,
}

/// Why the store is asked once more.
#[derive(Clone, Copy)]
pub(crate) enum Why {
    /// It did not answer.
    Outage,
    /// The outcome of a swap is unknown.
    Doubt,
    /// Another exchange has its turn.
    Turn,
}

#[cfg(any(feature = "tracing", feature = "metrics"))]
impl Why {
    const fn name(self) -> &'static str {
        match self {
            Self::Outage => "outage",
            Self::Doubt => "doubt",
            Self::Turn => "turn",
        }
    }
}

/// Somebody who is told. Does nothing about what it does not care for.
pub(crate) trait Observer: Debug + Default {
    /// Whether it wants to know how long the calls of the store take.
    #[cfg(any(feature = "tracing", feature = "metrics"))]
    fn wants_times(&self) -> bool {
        false
    }

    /// A call of the store is over.
    #[cfg(any(feature = "tracing", feature = "metrics"))]
    fn called(&self, _: Call, _: Option<Handle>, _: Outcome, _took: Duration) {}

    /// Another exchange of this process wrote first.
    #[cfg(feature = "queue")]
    fn overtaken(&self, _: Handle) {}

    /// The store is asked once more.
    fn retries(&self, _: Why, _: Option<Handle>) {}

    /// An exchange was refused when it opened.
    fn refused_to_open(&self, _: &Failure) {}

    /// An exchange is over. `ticks` reads the clock that never goes back.
    fn closed(&self, _: Result<&Reply, &Failure>, _ticks: impl Fn() -> Duration) {}

    /// A change of a session by its handle is over.
    fn changed(&self, _: Handle, _: Result<&Reply, &Failure>, _ticks: impl Fn() -> Duration) {}

    /// All sessions of a principal were revoked, or all there are.
    fn revoked_all(&self, _everything: bool, _ended: usize) {}

    /// Garbage was removed, this many records of it.
    fn swept(&self, _: Result<usize, Unavailable>) {}
}

/// Nobody is told.
#[cfg(not(all(feature = "tracing", feature = "metrics")))]
#[derive(Debug, Default)]
pub(crate) struct Nobody;

#[cfg(not(all(feature = "tracing", feature = "metrics")))]
impl Observer for Nobody {}

/// Those who watch a driver.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    events: Events,
    figures: Figures,
}

impl Observer for Watch {
    #[cfg(any(feature = "tracing", feature = "metrics"))]
    fn wants_times(&self) -> bool {
        self.events.wants_times() || self.figures.wants_times()
    }

    #[cfg(any(feature = "tracing", feature = "metrics"))]
    fn called(&self, call: Call, handle: Option<Handle>, outcome: Outcome, took: Duration) {
        self.events.called(call, handle, outcome, took);
        self.figures.called(call, handle, outcome, took);
    }

    #[cfg(feature = "queue")]
    fn overtaken(&self, handle: Handle) {
        self.events.overtaken(handle);
        self.figures.overtaken(handle);
    }

    fn retries(&self, why: Why, handle: Option<Handle>) {
        self.events.retries(why, handle);
        self.figures.retries(why, handle);
    }

    fn refused_to_open(&self, failure: &Failure) {
        self.events.refused_to_open(failure);
        self.figures.refused_to_open(failure);
    }

    fn closed(&self, result: Result<&Reply, &Failure>, ticks: impl Fn() -> Duration) {
        self.events.closed(result, &ticks);
        self.figures.closed(result, &ticks);
    }

    fn changed(&self, handle: Handle, result: Result<&Reply, &Failure>, ticks: impl Fn() -> Duration) {
        self.events.changed(handle, result, &ticks);
        self.figures.changed(handle, result, &ticks);
    }

    fn revoked_all(&self, everything: bool, ended: usize) {
        self.events.revoked_all(everything, ended);
        self.figures.revoked_all(everything, ended);
    }

    fn swept(&self, swept: Result<usize, Unavailable>) {
        self.events.swept(swept);
        self.figures.swept(swept);
    }
}

/// Does it inside of a span.
#[cfg(feature = "tracing")]
pub(crate) fn during<F: Future>(act: Act, future: F) -> impl Future<Output = F::Output> {
    events::during(act, future)
}

/// Does it.
#[cfg(not(feature = "tracing"))]
#[inline]
pub(crate) fn during<F: Future>(_: Act, future: F) -> F {
    future
}

/// The same for what is done on this thread.
#[cfg(feature = "tracing")]
pub(crate) fn within<T>(act: Act, work: impl FnOnce() -> T) -> T {
    events::within(act, work)
}

/// Does it.
#[cfg(not(feature = "tracing"))]
#[inline]
pub(crate) fn within<T>(_: Act, work: impl FnOnce() -> T) -> T {
    work()
}

/// Something is wrong with how a server is set up.
#[cfg(feature = "redis")]
pub(crate) fn warned(sentence: &str) {
    #[cfg(feature = "tracing")]
    tracing::warn!(target: "coatroom", "{sentence}");
    let _ = sentence;
}

/// What came of an exchange, to be looked at.
pub(crate) fn seen(result: &Result<Reply, Refused>) -> Result<&Reply, &Failure> {
    result.as_ref().map_err(|Refused(failure)| failure)
}
