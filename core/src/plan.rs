//! What an exchange wants of its session, and what is told of it.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use alloc::boxed::Box;

use crate::bugs::{Bug, planted};
use crate::data::Data;
use crate::event::Event;
use crate::id::Handle;
use crate::journal::Journal;
use crate::lifecycle::State;
use crate::policy::Carry;
use crate::record::{Cause, Client, Principal};

/// What the exchange wants, in normal form: at most one ending, then at most one change of privilege between two journals.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) before: Journal,
    pub(crate) privilege: Option<Privilege>,
    pub(crate) after: Journal,
    pub(crate) rotate: bool,
    /// End the session that the exchange was opened with; whatever else is wanted goes to a fresh one.
    pub(crate) end: Option<Cause>,
    pub(crate) logout: bool,
    pub(crate) client: Option<Client>,
    /// What a login takes along from a visitor's cookie into a session of its own.
    pub(crate) carried: Option<Box<(Data, Client)>>,
}

pub(crate) enum Privilege {
    Login(Principal),
    Elevate(Principal),
}

/// What strict mode holds others to.
#[derive(Default)]
pub(crate) struct Reads {
    pub(crate) strict: bool,
    pub(crate) all: bool,
    pub(crate) keys: BTreeSet<String>,
}

/// What [`Session::rotate`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rotation {
    /// The id will be replaced when the exchange closes.
    Rotated,
    /// A new id is already on its way to the client.
    Pending,
    /// Not now: nobody is logged in, the last rotation was too recent, or the response cannot carry a cookie.
    Postponed,
}

/// Why an operation is denied to whoever is, or is not, logged in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denied {
    /// Nobody is logged in (401).
    NotLoggedIn,
    /// Somebody is, without the right (403).
    Forbidden,
    /// Whoever is proved who they are too long ago, or was merely remembered (401).
    NotFresh,
    /// Whoever is proved it too weakly (401).
    LevelTooLow,
}

/// What an exchange found and wants, or has done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    /// State of the presented id; none when no id was presented.
    pub state: Option<State>,
    /// The session's public name, once it has one.
    pub handle: Option<Handle>,
    /// How many ids were issued before the present one.
    pub generation: Option<u32>,
    /// What closing would write, or has written.
    pub written: Vec<Change>,
    /// Store calls so far.
    pub trips: u32,
    /// Time until the idle limit, from now on.
    pub idle_left: Option<Duration>,
    /// Time until the absolute limit.
    pub absolute_left: Option<Duration>,
    /// What was noticed so far.
    pub events: Vec<Event>,
}

/// Something that an exchange writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// A session is created.
    Created,
    /// Data changes.
    Data,
    /// Somebody logs in.
    LoggedIn,
    /// The level of authentication changes.
    Elevated,
    /// The id is replaced.
    Rotated,
    /// A new id is confirmed.
    Confirmed,
    /// The time of the last use.
    Touched,
    /// The session ends.
    Ended,
    /// A turn is over in which nothing else was written.
    Released,
    /// The principal gets another name.
    Renamed,
}

impl Change {
    /// A stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Data => "data",
            Self::LoggedIn => "logged in",
            Self::Elevated => "elevated",
            Self::Rotated => "rotated",
            Self::Confirmed => "confirmed",
            Self::Touched => "touched",
            Self::Ended => "ended",
            Self::Released => "released",
            Self::Renamed => "renamed",
        }
    }
}

impl Plan {
    /// What of the data before the change of privilege stays: all, unless it is the login of an anonymous session.
    // spec: LOGIN-2 0c3e, LOGIN-8 6581
    pub(crate) fn carry<'a>(&self, was_logged_in: bool, policy: &'a Carry) -> &'a Carry {
        match self.privilege {
            Some(Privilege::Login(_)) if !was_logged_in && !planted(Bug::CarryIgnored) => policy,
            _ => &Carry::All,
        }
    }

    /// Whether anything but the housekeeping of an exchange is asked for.
    // spec: WRITE-17 01cf, WRITE-18 2fed
    pub(crate) fn is_empty(&self) -> bool {
        !self.writes() && self.end.is_none() && !self.rotate && !self.logout
    }

    /// Whether data or client details are to change, by an exchange that leaves the others' ids as they are.
    // spec: SER-4 ef64
    pub(crate) fn waits_for_turns(&self) -> bool {
        self.writes() && self.privilege.is_none()
    }

    /// Whether data, privilege or client details are to change.
    // spec: WRITE-7 a0fe, WRITE-8 561b
    pub(crate) fn writes(&self) -> bool {
        !self.before.is_empty() || !self.after.is_empty() || self.privilege.is_some() || self.client.is_some()
    }
}
