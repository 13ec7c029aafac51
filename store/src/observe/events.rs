//! Spans and events for `tracing`, all of the target `coatroom`.

use core::fmt;
use core::future::Future;
use core::time::Duration;

use coatroom_core::{Cause, Change, Error, Event, Failure, Handle, Kind, Remedy, Reply, State};
use tracing::field::display;
use tracing::{Instrument, Level, Span, debug_span, enabled};

use super::timed::Outcome;
use super::{Act, Call, Observer, Why};
use crate::Unavailable;

/// An event of a level that is known when it happens.
macro_rules! tell {
    ($level:expr, $($rest:tt)*) => {
        match $level {
            Level::WARN => tracing::warn!(target: "coatroom", $($rest)*),
            Level::INFO => tracing::info!(target: "coatroom", $($rest)*),
            Level::DEBUG => tracing::debug!(target: "coatroom", $($rest)*),
            _ => tracing::trace!(target: "coatroom", $($rest)*),
        }
    };
}

/// Tells whatever subscriber there is.
#[derive(Debug, Default)]
pub(crate) struct Events;

impl Observer for Events {
    fn wants_times(&self) -> bool {
        enabled!(target: "coatroom", Level::TRACE)
    }

    fn called(&self, call: Call, handle: Option<Handle>, outcome: Outcome, took: Duration) {
        let level = match outcome {
            Outcome::Conflict | Outcome::Unknown | Outcome::Unavailable => Level::DEBUG,
            _ => Level::TRACE,
        };
        let seconds = self.wants_times().then_some(took.as_secs_f64());
        let (operation, outcome) = (call.name(), outcome.name());
        tell!(level, handle = handle.map(display), operation, outcome, seconds, "store call");
    }

    #[cfg(feature = "queue")]
    fn overtaken(&self, handle: Handle) {
        tell!(Level::DEBUG, handle = %handle, "overtaken");
    }

    fn retries(&self, why: Why, handle: Option<Handle>) {
        tell!(Level::DEBUG, handle = handle.map(display), why = why.name(), "retry");
    }

    // spec: EVT-1 f23d
    fn refused_to_open(&self, failure: &Failure) {
        failure.events.iter().copied().for_each(session_event);
        tell!(refusal(failure.error), error = failure.error.code(), "exchange refused");
    }

    // spec: EVT-1 f23d, EVT-2 a367
    fn closed(&self, result: Result<&Reply, &Failure>, _: impl Fn() -> Duration) {
        let reply = match result {
            Ok(reply) => reply.trace(),
            Err(failure) => return self.refused_to_open(failure),
        };
        reply.events.iter().copied().for_each(session_event);
        let (handle, state) = (reply.handle.map(display), reply.state.map(State::name));
        tell!(Level::TRACE, handle, state, written = %Names(&reply.written), trips = reply.trips, "exchange done");
    }

    // spec: EVT-1 f23d, EVT-2 a367
    fn changed(&self, handle: Handle, result: Result<&Reply, &Failure>, _: impl Fn() -> Duration) {
        let (events, written) = match result {
            Ok(reply) => (&reply.trace().events, reply.trace().written.as_slice()),
            Err(failure) => (&failure.events, [].as_slice()),
        };
        events.iter().copied().for_each(session_event);
        if written.contains(&Change::Renamed) {
            tell!(Level::INFO, handle = %handle, "renamed");
        }
        if let Err(failure) = result {
            tell!(refusal(failure.error), handle = %handle, error = failure.error.code(), "change refused");
        }
    }

    fn revoked_all(&self, everything: bool, ended: usize) {
        tell!(Level::INFO, everything, ended, "all revoked");
    }

    fn swept(&self, swept: Result<usize, Unavailable>) {
        match swept {
            Ok(removed) => tell!(Level::DEBUG, removed, "swept"),
            Err(Unavailable) => tell!(Level::WARN, "sweep failed"),
        }
    }
}

pub(super) fn during<F: Future>(act: Act, future: F) -> impl Future<Output = F::Output> {
    future.instrument(span(act))
}

pub(super) fn within<T>(act: Act, work: impl FnOnce() -> T) -> T {
    span(act).in_scope(work)
}

fn span(act: Act) -> Span {
    match act {
        Act::Open => debug_span!(target: "coatroom", "open"),
        Act::Close => debug_span!(target: "coatroom", "close"),
        Act::Change(handle) => debug_span!(target: "coatroom", "change", handle = %handle),
        Act::Devices => debug_span!(target: "coatroom", "devices"),
        Act::RevokeAll => debug_span!(target: "coatroom", "revoke all"),
        Act::RevokeEverything => debug_span!(target: "coatroom", "revoke everything"),
        Act::Rename => debug_span!(target: "coatroom", "rename"),
    }
}

// spec: EVT-1 f23d, SEC-1 89db
fn session_event(event: Event) {
    let cause = if let Event::Ended(_, cause) = event { Some(cause.name()) } else { None };
    let cookie = match event {
        Event::Junk(kind) | Event::Duplicate(kind) => Some(cookie_name(kind)),
        _ => None,
    };
    tell!(level(event), handle = event.handle().map(display), cause, cookie, "{}", event.name());
}

/// Who has to act.
fn level(event: Event) -> Level {
    match event {
        Event::Reuse(_)
        | Event::Forged(_)
        | Event::Damaged(_)
        | Event::Unsealed(_)
        | Event::Unopened(_)
        | Event::Newer(_)
        | Event::ClockBehind(_) => Level::WARN,
        Event::Ended(_, Cause::Idle | Cause::Absolute | Cause::NotActivated) => Level::DEBUG,
        Event::LoggedIn(_) | Event::Elevated(_) | Event::Ended(..) => Level::INFO,
        _ => Level::DEBUG,
    }
}

/// The same for a refusal: what the client may do again is nobody's trouble, and a mistaken call is told to the caller.
fn refusal(error: Error) -> Level {
    if error.remedy() == Remedy::RetryLater { Level::WARN } else { Level::DEBUG }
}

pub(super) const fn cookie_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Login => "login",
        Kind::Visitor => "visitor",
    }
}

struct Names<'a>(&'a [Change]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = self.0.iter().map(|change| change.name());
        f.write_str(names.next().unwrap_or_default())?;
        names.try_for_each(|name| write!(f, ", {name}"))
    }
}
