//! Figures for `metrics`, named as Prometheus names them.

use core::time::Duration;

use coatroom_core::{Change, Event, Failure, Handle, Kind, Reply};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use super::live::Live;
use super::timed::Outcome;
use super::{Call, Observer, Why};
use crate::Unavailable;

/// Tells whatever recorder there is.
#[derive(Debug)]
pub(crate) struct Figures {
    live: Live,
}

impl Default for Figures {
    fn default() -> Self {
        describe();
        Self { live: Live::default() }
    }
}

fn describe() {
    let counters = [
        ("coatroom_exchanges_total", "Exchanges that are over, by outcome: done, or why they were refused."),
        ("coatroom_transitions_total", "What became of sessions while they lived."),
        ("coatroom_ended_total", "Sessions that ended, by cause."),
        ("coatroom_reuse_total", "Ids that were replaced long ago and presented again: copies."),
        ("coatroom_junk_ids_total", "Cookies that held something that is not an id, by cookie."),
        ("coatroom_odd_cookies_total", "Ids that count as absent: sent twice, forged, or in the other cookie."),
        ("coatroom_unread_records_total", "Stored records that could not be read, by what is wrong with them."),
        ("coatroom_changes_total", "Revocations and other changes by handle, by outcome."),
        ("coatroom_conflicts_total", "Writes that met another's, by where: in the store, or in this process."),
        ("coatroom_retries_total", "Second and later attempts, by reason. Conflicts are counted apart."),
        ("coatroom_swept_total", "Stored records that were removed as garbage."),
    ];
    for (name, text) in counters {
        describe_counter!(name, text);
    }
    describe_gauge!("coatroom_sessions_live", "About how many live sessions this process has seen.");
    describe_histogram!("coatroom_store_seconds", Unit::Seconds, "Time that the calls of the store took.");
}

impl Observer for Figures {
    fn wants_times(&self) -> bool {
        true
    }

    fn called(&self, call: Call, _: Option<Handle>, outcome: Outcome, took: Duration) {
        histogram!("coatroom_store_seconds", "operation" => call.name(), "outcome" => outcome.name()).record(took);
        if outcome == Outcome::Conflict {
            counter!("coatroom_conflicts_total", "where" => "store").increment(1);
        }
    }

    #[cfg(feature = "queue")]
    fn overtaken(&self, _: Handle) {
        counter!("coatroom_conflicts_total", "where" => "process").increment(1);
    }

    fn retries(&self, why: Why, _: Option<Handle>) {
        counter!("coatroom_retries_total", "why" => why.name()).increment(1);
    }

    fn refused_to_open(&self, failure: &Failure) {
        failure.events.iter().copied().for_each(count);
        counter!("coatroom_exchanges_total", "outcome" => failure.error.code()).increment(1);
    }

    // spec: EVT-2 a367
    fn closed(&self, result: Result<&Reply, &Failure>, ticks: impl Fn() -> Duration) {
        match result {
            Ok(reply) => {
                reply.trace().events.iter().copied().for_each(count);
                counter!("coatroom_exchanges_total", "outcome" => "done").increment(1);
            }
            Err(failure) => self.refused_to_open(failure),
        }
        self.follow(result, ticks());
    }

    // spec: EVT-2 a367
    fn changed(&self, _: Handle, result: Result<&Reply, &Failure>, ticks: impl Fn() -> Duration) {
        let (events, outcome) = match result {
            Ok(reply) => (&reply.trace().events, "done"),
            Err(failure) => (&failure.events, failure.error.code()),
        };
        events.iter().copied().for_each(count);
        if result.is_ok_and(|reply| reply.trace().written.contains(&Change::Renamed)) {
            counter!("coatroom_transitions_total", "to" => "renamed").increment(1);
        }
        counter!("coatroom_changes_total", "outcome" => outcome).increment(1);
        self.follow(result, ticks());
    }

    fn swept(&self, swept: Result<usize, Unavailable>) {
        let removed = swept.map_or(0, |removed| u64::try_from(removed).unwrap_or(u64::MAX));
        counter!("coatroom_swept_total").increment(removed);
    }
}

impl Figures {
    /// Keeps the sample of live sessions.
    fn follow(&self, result: Result<&Reply, &Failure>, now: Duration) {
        let (events, seen) = match result {
            Err(failure) => (&failure.events, None),
            Ok(reply) => {
                let trace = reply.trace();
                let left = trace.absolute_left.map(|left| trace.idle_left.map_or(left, |idle| idle.min(left)));
                (&trace.events, trace.handle.zip(left.map(|left| now.saturating_add(left))))
            }
        };
        let ended = events.iter().filter(|event| matches!(event, Event::Ended(..)));
        let told = self.live.follow(ended.filter_map(|event| event.handle()), seen, now);
        if let Some(about) = told {
            gauge!("coatroom_sessions_live").set(about);
        }
    }
}

fn count(event: Event) {
    let name = event.name();
    match event {
        Event::Ended(_, cause) => counter!("coatroom_ended_total", "cause" => cause.name()),
        Event::Reuse(_) => counter!("coatroom_reuse_total"),
        Event::Junk(Kind::Login) => counter!("coatroom_junk_ids_total", "cookie" => "login"),
        Event::Junk(Kind::Visitor) => counter!("coatroom_junk_ids_total", "cookie" => "visitor"),
        Event::Duplicate(_) | Event::Forged(_) | Event::WrongCookie(_) => {
            counter!("coatroom_odd_cookies_total", "event" => name)
        }
        Event::Damaged(_) | Event::Unsealed(_) | Event::Unopened(_) | Event::Newer(_) | Event::ClockBehind(_) => {
            counter!("coatroom_unread_records_total", "event" => name)
        }
        _ => counter!("coatroom_transitions_total", "to" => name),
    }
    .increment(1);
}
