//! What is told of an exchange: its trace and its events, as Python takes them.

use coatroom_core::{Change, Event, Trace};

/// State, generation, handle, what was or would be written, store calls, seconds left (idle, absolute), events.
pub(crate) type TraceParts = (
    Option<&'static str>,
    Option<u32>,
    Option<String>,
    Vec<&'static str>,
    u32,
    Option<f64>,
    Option<f64>,
    Vec<&'static str>,
);

/// Name, handle, cause.
pub(crate) type EventParts = (&'static str, Option<String>, Option<&'static str>);

pub(crate) fn trace_parts(trace: &Trace) -> TraceParts {
    let seconds = |span: Option<core::time::Duration>| span.map(|span| span.as_secs_f64());
    (
        trace.state.map(coatroom_core::State::name),
        trace.generation,
        trace.handle.map(|handle| handle.to_string()),
        trace.written.iter().copied().map(Change::name).collect(),
        trace.trips,
        seconds(trace.idle_left),
        seconds(trace.absolute_left),
        trace.events.iter().copied().map(Event::name).collect(),
    )
}

pub(crate) fn event_parts(events: &[Event]) -> Vec<EventParts> {
    let parts = |event: &Event| {
        let cause = if let Event::Ended(_, cause) = event { Some(cause.name()) } else { None };
        (event.name(), event.handle().map(|handle| handle.to_string()), cause)
    };
    events.iter().map(parts).collect()
}
