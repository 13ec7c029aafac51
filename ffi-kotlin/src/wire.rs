//! What crosses the border of an exchange: own types, made from those of the core.

use std::sync::Arc;
use std::time::Duration;

use coatroom_core::{Change, Device, Event, Peek, Principal, Reply, Rotation, Timestamp, Trace};

use crate::asks::Ask;
use crate::exchange::Exchange;
use crate::remember::Beside;

/// A new exchange and its first step.
#[derive(Debug, uniffi::Record)]
pub struct Begun {
    /// To be closed, or dropped: then nothing is written.
    pub exchange: Arc<Exchange>,
    /// [`Step::Open`], or [`Step::Ask`] over a store of the application.
    pub step: Step,
}

/// What comes next.
#[derive(Clone, Debug, uniffi::Enum)]
pub enum Step {
    /// Ask the store of the application, then call `answer`.
    Ask {
        /// What for.
        ask: Ask,
    },
    /// The handler may run.
    Open {
        /// All that it can see.
        view: View,
    },
    /// The exchange is over: every write is acknowledged.
    Closed {
        /// What goes into the response head.
        closed: Closed,
    },
    /// A call for principals is over.
    Given {
        /// Its result.
        given: Given,
    },
}

/// What a call for principals comes to.
#[derive(Clone, PartialEq, Debug, uniffi::Enum)]
pub enum Given {
    /// The live sessions, the one used last first.
    Devices {
        /// Each on one login of one device.
        devices: Vec<DeviceParts>,
    },
    /// Whether the session was live.
    Ended {
        /// It was.
        was_live: bool,
    },
    /// All sessions of a principal were revoked.
    Revoked {
        /// How many this call ended.
        ended: i64,
        /// For the edit `revoked`, if the same exchange logs in afterwards.
        moment_ms: i64,
    },
    /// How many sessions were changed.
    Count {
        /// So many.
        count: i64,
    },
}

/// A key and its value.
#[derive(Clone, PartialEq, Eq, uniffi::Record)]
pub struct Item {
    /// The key.
    pub key: String,
    /// The value in deterministic CBOR.
    pub value: Vec<u8>,
}

impl core::fmt::Debug for Item {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Item").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Who is logged in.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct Person {
    /// The application's own name for whoever is logged in.
    pub name: String,
    /// Sorted.
    pub roles: Vec<String>,
    /// Level of authentication.
    pub level: u8,
    /// Of the login or the last elevation.
    pub authenticated_at_ms: i64,
}

/// All that a handler can see of its session.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct View {
    /// The data, in the order of its keys' encodings.
    pub data: Vec<Item>,
    /// Who is logged in.
    pub person: Option<Person>,
    /// What the exchange found, and what closing it now would write.
    pub trace: TraceParts,
    /// When the exchange was opened or looked at last, by the clock of the node.
    pub now_ms: i64,
    /// What the last `add` of the batch came to.
    pub sum: Option<i64>,
    /// What the last `rotate` of the batch came to: `rotated`, `pending` or `postponed`.
    pub rotation: Option<String>,
}

/// What an exchange found, and has written or would write.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct TraceParts {
    /// The state of the presented id; none when there was none.
    pub state: Option<String>,
    /// The session's public name.
    pub handle: Option<String>,
    /// How many ids were issued before the present one.
    pub generation: Option<u32>,
    /// What is written.
    pub written: Vec<String>,
    /// Calls of the store.
    pub trips: u32,
    /// Time until the idle limit.
    pub idle_left_ms: Option<i64>,
    /// Time until the absolute limit.
    pub absolute_left_ms: Option<i64>,
    /// What was noticed.
    pub events: Vec<Noticed>,
}

/// One event.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct Noticed {
    /// Stable.
    pub name: String,
    /// The session concerned.
    pub handle: Option<String>,
    /// Why it ended, if it did.
    pub cause: Option<String>,
}

/// What the response has already.
#[derive(Clone, Default, PartialEq, Eq, Debug, uniffi::Record)]
pub struct Head {
    /// Its Vary header.
    #[uniffi(default = None)]
    pub vary: Option<String>,
    /// Its Cache-Control header.
    #[uniffi(default = None)]
    pub cache_control: Option<String>,
}

/// What goes into the response head.
#[derive(Clone, uniffi::Record)]
pub struct Closed {
    /// Values of Set-Cookie headers, each a header of its own.
    pub set_cookies: Vec<String>,
    /// The value that Vary must have; none where it may stay.
    pub vary: Option<String>,
    /// The value that Cache-Control must have; none where it may stay.
    pub cache_control: Option<String>,
    /// Whether the response depends on the session.
    pub touched: bool,
    /// What was done.
    pub trace: TraceParts,
}

impl core::fmt::Debug for Closed {
    // spec: SEC-1 89db
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Closed")
            .field("set_cookies", &self.set_cookies.len())
            .field("trace", &self.trace)
            .finish_non_exhaustive()
    }
}

/// A line of the list of devices.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct DeviceParts {
    /// The session's public name.
    pub handle: String,
    /// A label for people.
    pub label: String,
    /// The network address at the last login.
    pub address: String,
    /// When the session was created.
    pub created_at_ms: i64,
    /// When it was last used.
    pub seen_at_ms: i64,
    /// When its principal logged in or was last elevated.
    pub authenticated_at_ms: i64,
    /// When it is over at the latest.
    pub deadline_ms: i64,
    /// Level of authentication.
    pub level: u8,
}

/// A time before the epoch is the epoch.
pub(crate) fn moment(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(u64::try_from(ms).unwrap_or(0))
}

pub(crate) fn ms(time: Timestamp) -> i64 {
    i64::try_from(time.as_unix_ms()).unwrap_or(i64::MAX)
}

pub(crate) fn span_ms(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

impl From<Device> for DeviceParts {
    fn from(device: Device) -> Self {
        Self {
            handle: device.handle.to_string(),
            label: device.client.label,
            address: device.client.address,
            created_at_ms: ms(device.created_at),
            seen_at_ms: ms(device.seen_at),
            authenticated_at_ms: ms(device.authenticated_at),
            deadline_ms: ms(device.deadline),
            level: device.level,
        }
    }
}

impl From<&Principal> for Person {
    fn from(principal: &Principal) -> Self {
        Self {
            name: principal.name().to_owned(),
            roles: principal.roles().map(str::to_owned).collect(),
            level: principal.level(),
            authenticated_at_ms: ms(principal.authenticated_at()),
        }
    }
}

impl From<&Trace> for TraceParts {
    fn from(trace: &Trace) -> Self {
        Self {
            state: trace.state.map(|state| state.name().to_owned()),
            handle: trace.handle.map(|handle| handle.to_string()),
            generation: trace.generation,
            written: trace.written.iter().copied().map(Change::name).map(str::to_owned).collect(),
            trips: trace.trips,
            idle_left_ms: trace.idle_left.map(span_ms),
            absolute_left_ms: trace.absolute_left.map(span_ms),
            events: noticed(&trace.events),
        }
    }
}

pub(crate) fn noticed(events: &[Event]) -> Vec<Noticed> {
    let one = |event: &Event| Noticed {
        name: event.name().to_owned(),
        handle: event.handle().map(|handle| handle.to_string()),
        cause: if let Event::Ended(_, cause) = event { Some(cause.name().to_owned()) } else { None },
    };
    events.iter().map(one).collect()
}

pub(crate) fn view(peek: &Peek<'_>, now: Timestamp, sum: Option<i64>, rotation: Option<Rotation>) -> View {
    let rotation = rotation.map(|rotation| match rotation {
        Rotation::Rotated => "rotated",
        Rotation::Pending => "pending",
        Rotation::Postponed => "postponed",
    });
    View {
        data: peek.data.iter().map(|(key, value)| Item { key: (*key).to_owned(), value: value.to_vec() }).collect(),
        person: peek.principal.map(Person::from),
        trace: (&peek.trace).into(),
        now_ms: ms(now),
        sum,
        rotation: rotation.map(str::to_owned),
    }
}

pub(crate) fn closed(reply: &Reply, head: &Head, beside: Option<Box<Beside>>) -> Closed {
    let mut closed = Closed {
        set_cookies: reply.set_cookies().map(str::to_owned).collect(),
        vary: reply.vary(head.vary.as_deref()),
        cache_control: reply.cache_control(head.cache_control.as_deref()).map(str::to_owned),
        touched: reply.is_touched(),
        trace: reply.trace().into(),
    };
    if let Some(beside) = beside {
        closed.set_cookies.extend(beside.lines);
        closed.trace.events.extend(beside.events);
    }
    closed
}
