//! What goes into the response head once every write is acknowledged.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use zeroize::Zeroizing;

use crate::attempt::Outcome;
use crate::bugs::{Bug, planted};
use crate::cookie::Kind;
use crate::event::Event;
use crate::id::{Handle, SessionId};
use crate::opening::{Exchange, Presence};
use crate::plan::{Change, Trace};
use crate::record::Head;
use crate::session::Session;
use crate::time::Timestamp;

/// The end of an exchange.
pub struct Reply {
    set_cookies: Vec<Zeroizing<String>>,
    touched: bool,
    trace: Trace,
}

impl core::fmt::Debug for Reply {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let cookies = self.set_cookies.len();
        f.debug_struct("Reply")
            .field("set_cookies", &cookies)
            .field("touched", &self.touched)
            .field("trace", &self.trace)
            .finish()
    }
}

impl Reply {
    /// The reply of an exchange that has nothing to write.
    // spec: HTTP-4 389d
    pub(crate) fn of_settled(session: &Session) -> Self {
        Self { set_cookies: Vec::new(), touched: session.accessed.get(), trace: session.trace_before() }
    }

    /// Values for Set-Cookie headers, each to be sent as a header of its own.
    pub fn set_cookies(&self) -> impl Iterator<Item = &str> {
        self.set_cookies.iter().map(|line| line.as_str())
    }

    /// Whether the response depends on the session, so that no shared cache may keep it.
    pub const fn is_touched(&self) -> bool {
        self.touched
    }

    /// The value that the response's Vary header must have, given the one it has; none when it may stay as it is
    /// (RFC 9110 section 12.5.5).
    // spec: HTTP-1 99c4, HTTP-4 389d
    pub fn vary(&self, present: Option<&str>) -> Option<String> {
        if !self.touched || planted(Bug::CacheHintsDropped) {
            return None;
        }
        let Some(present) = present.filter(|present| !present.trim().is_empty()) else {
            return Some("Cookie".to_owned());
        };
        let named = present.split(',').map(str::trim).any(|name| name == "*" || name.eq_ignore_ascii_case("cookie"));
        (!named).then(|| format!("{present}, Cookie"))
    }

    /// The value that the response's Cache-Control header must have, given the one it has; none when it may stay as it is
    /// (RFC 9111 section 5.2.2.5).
    // spec: HTTP-1 99c4, HTTP-4 389d
    pub fn cache_control(&self, present: Option<&str>) -> Option<&'static str> {
        let strict = present.is_some_and(|present| {
            present.split(',').any(|directive| directive.trim().eq_ignore_ascii_case("no-store"))
        });
        (self.touched && !strict && !planted(Bug::CacheHintsDropped)).then_some("no-store")
    }

    /// What was done.
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }
}

/// A reply in the making: not one cookie line exists before [`Draft::finish`].
pub(crate) struct Draft {
    login: Cookie,
    visitor: Cookie,
    accessed: bool,
    head_sent: bool,
    trace: Trace,
    at: Option<(Handle, Head)>,
    pub(crate) events: Vec<Event>,
}

enum Cookie {
    Keep,
    Set(SessionId, Timestamp),
    /// With its record, and so the whole line.
    Worn(Zeroizing<String>),
    Remove,
}

impl Draft {
    // spec: COOK-11 b110, COOK-12 3d06
    pub(crate) fn new(session: &Session) -> Self {
        let clears = session.exchange.plan.logout || session.exchange.clears_by_mistake();
        let cookie = || if clears { Cookie::Remove } else { Cookie::Keep };
        let trace = session.trace_before();
        let at = session.base.as_ref().map(|base| (base.id.handle, base.record.head));
        let (accessed, head_sent) = (session.accessed.get(), session.head_sent);
        Self { login: cookie(), visitor: cookie(), accessed, head_sent, trace, at, events: Vec::new() }
    }

    /// Adds what an acknowledged or needless write leads to.
    // spec: COOK-19 3df9, EVT-2 a367
    pub(crate) fn take(&mut self, outcome: Outcome) {
        self.events.extend(outcome.events);
        self.trace.written.extend(outcome.changes);
        self.at = outcome.at.or(self.at);
        match outcome.id {
            Some((Kind::Login, id, deadline)) => self.login = Cookie::Set(id, deadline),
            Some((Kind::Visitor, id, deadline)) => self.visitor = Cookie::Set(id, deadline),
            None => {}
        }
        match outcome.line {
            Some((Kind::Login, line)) => self.login = Cookie::Worn(line),
            Some((Kind::Visitor, line)) => self.visitor = Cookie::Worn(line),
            None => {}
        }
    }

    // spec: COOK-10 2607, COOK-13 1359, CLAIM-5 e4c7
    pub(crate) fn finish(mut self, exchange: &mut Exchange) -> Reply {
        let logged_in = self.trace.written.contains(&Change::LoggedIn);
        if logged_in
            && exchange.visitor != Presence::Absent
            && !matches!(self.visitor, Cookie::Set(..) | Cookie::Worn(_))
        {
            self.visitor = Cookie::Remove;
        }
        let lines = [(Kind::Login, self.login, exchange.login), (Kind::Visitor, self.visitor, exchange.visitor)];
        let set_cookies: Vec<_> = lines
            .into_iter()
            .filter(|(_, _, presence)| *presence != Presence::Twice && !self.head_sent)
            .filter_map(|(kind, cookie, _)| cookie.line(kind, exchange))
            .collect();
        let now = exchange.now;
        self.trace.events = core::mem::take(&mut exchange.events);
        self.trace.events.append(&mut self.events);
        self.trace.trips = exchange.trips;
        if let Some((handle, head)) = self.at {
            self.trace.handle = Some(handle);
            self.trace.generation = Some(head.current.generation);
            self.trace.idle_left = head.idle.map(|idle| head.seen_at.plus(idle).since(now));
            self.trace.absolute_left = Some(head.deadline.since(now));
        }
        Reply { touched: self.accessed || !set_cookies.is_empty(), set_cookies, trace: self.trace }
    }
}

impl Cookie {
    // spec: COOK-4 50f2, COOK-12 3d06
    fn line(self, kind: Kind, exchange: &Exchange) -> Option<Zeroizing<String>> {
        let cookies = exchange.rules.policy().cookies();
        match self {
            Self::Keep => None,
            Self::Remove => Some(cookies.remove(kind)),
            Self::Set(id, deadline) => {
                let text = id.text(exchange.rules.keys());
                Some(cookies.set(kind, &text, deadline.since(exchange.now)))
            }
            Self::Worn(line) => Some(line),
        }
    }
}
