//! One attempt at one write: a pure function from the record that the store is believed to hold to the record that it
//! should hold. A conflict brings another record, and the same function runs again.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use zeroize::Zeroizing;

use crate::bugs::{Bug, planted};
use crate::by_handle::Renaming;
use crate::closer::Closer;
use crate::closing::Swap;
use crate::codec::Stamp;
use crate::commit::Commit;
use crate::cookie::Kind;
use crate::create::create;
use crate::ending::{Ending, Holder, Reacting};
use crate::error::Error;
use crate::event::Event;
use crate::id::{Handle, SessionId};
use crate::listing::{Entry, Listing};
use crate::opening::{Base, Exchange, Reaction};
use crate::plan::{Change, Plan, Reads};
use crate::policy::Policy;
use crate::record::{Head, Kept, Principal, Record};
use crate::serial::Releasing;
use crate::time::Timestamp;

/// One write that an exchange has to bring about.
pub(crate) enum Task {
    React(Reacting),
    End(Ending),
    Commit(Box<Commit>),
    Create(Box<Plan>),
    Release(Releasing),
    Rename(Renaming),
}

/// What follows once a write is acknowledged, or found needless.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) events: Vec<Event>,
    pub(crate) changes: Vec<Change>,
    pub(crate) id: Option<(Kind, SessionId, Timestamp)>,
    /// The cookie line itself, where the record goes with the id.
    pub(crate) line: Option<(Kind, Zeroizing<String>)>,
    pub(crate) at: Option<(Handle, Head)>,
    /// The task has more to do after this write.
    pub(crate) unfinished: bool,
}

impl Outcome {
    pub(crate) fn note(&mut self, change: Change, event: Option<Event>) {
        self.changes.push(change);
        self.events.extend(event);
    }
}

/// What an attempt comes to.
pub(crate) enum Attempt {
    Swap(Swap, Outcome),
    Nothing(Outcome),
    /// It is another exchange's turn.
    Wait(Handle),
    /// Other tasks take this one's place, and the exchange may be refused once they are done.
    Instead(Vec<Task>, Option<Error>),
}

impl Task {
    pub(crate) fn react(reaction: Reaction) -> Self {
        let Reaction { handle, generation, record, what, found_at } = reaction;
        Self::React(Reacting { handle, generation, what, found_at, current: Some(record) })
    }

    /// The tasks of a plan, in order.
    // spec: LOGIN-3 2223, END-1 9a4d
    pub(crate) fn of_plan(base: Option<Base>, plan: Plan, reads: Reads) -> Vec<Self> {
        match (base, plan.end) {
            (None, _) => vec![Self::Create(Box::new(plan))],
            (Some(base), None) => vec![Self::Commit(Box::new(Commit::new(base, plan, reads)))],
            (Some(base), Some(cause)) => {
                let Base { id, record, .. } = base;
                let principal = record.principal.as_ref().map(|principal| principal.name().to_owned());
                let holder = Holder::Presented(id.generation, principal);
                let ending = Ending { handle: id.handle, holder, cause, current: Some(record) };
                vec![Self::End(ending), Self::Create(Box::new(plan))]
            }
        }
    }

    /// The store holds something else than believed.
    // spec: WRITE-2 c432, CLAIM-3 4985
    pub(crate) fn meets(&mut self, record: Option<Box<Record>>) {
        match self {
            Self::React(task) => task.current = record,
            Self::End(task) => task.meets(record),
            Self::Rename(task) => task.current = record,
            Self::Commit(task) => task.meets(record),
            Self::Release(task) => task.current = record,
            Self::Create(_) => {}
        }
    }

    /// The version of the record that the next attempt is based on; of a client's, of what the deny list holds.
    pub(crate) fn version(&self) -> Option<u64> {
        self.current().map(|record| match &record.kept {
            Kept::Stored => record.head.version,
            Kept::Worn(listed) => listed.as_ref().map_or(0, |listed| listed.version),
        })
    }

    /// Whether nothing need be stored of it yet.
    pub(crate) fn may_be_unlisted(&self) -> bool {
        self.current().is_some_and(|record| matches!(record.kept, Kept::Worn(None)))
    }

    fn current(&self) -> Option<&Record> {
        match self {
            Self::React(task) => task.current.as_deref(),
            Self::End(task) => task.current.as_deref(),
            Self::Rename(task) => task.current.as_deref(),
            Self::Commit(task) => task.current(),
            Self::Release(task) => task.current.as_deref(),
            Self::Create(_) => None,
        }
    }

    pub(crate) fn attempt(&mut self, closer: &Closer) -> Result<Attempt, Error> {
        match self {
            Self::React(task) => task.attempt(closer),
            Self::End(task) => task.attempt(closer),
            Self::Commit(task) => task.attempt(closer),
            Self::Create(plan) => create(plan, closer),
            Self::Release(task) => Ok(task.attempt(closer)),
            Self::Rename(task) => task.attempt(closer),
        }
    }

    /// What is left to do of a task that comes to nothing: to give back the turn, if the exchange has one.
    // spec: SER-5 a33a
    pub(crate) fn release(&self, exchange: &Exchange) -> Option<Self> {
        let token = exchange.token.filter(|_| !planted(Bug::RefusalKeepsLease))?;
        let handle = match self {
            Self::Commit(task) => task.handle(),
            Self::End(task) => task.handle,
            Self::Release(_) | Self::React(_) | Self::Create(_) | Self::Rename(_) => return None,
        };
        let current = Some(Box::new(self.current()?.clone()));
        Some(Self::Release(Releasing { handle, token, current }))
    }

    /// What is left to do when the ending that was asked for is not begun.
    pub(crate) fn without_ending(self, exchange: &Exchange) -> Option<Self> {
        if matches!(self, Self::React(_)) { Some(self) } else { self.release(exchange) }
    }
}

/// The entry of a login in the index of principals.
pub(crate) fn entry(principal: &Principal, handle: Handle, head: &Head, closer: &Closer) -> Entry {
    let policy = closer.policy();
    Entry {
        principal: principal.name().to_owned(),
        handle,
        until: head.deadline.plus(policy.settings().skew),
        now: closer.exchange.now,
        at_most: policy.others_at_login(),
        names: policy.named_at_login(),
    }
}

// spec: STORE-1 4bc6, STORE-7 250a, COAT-7 a7fd
pub(crate) fn swap(
    handle: Handle,
    expected: Option<&Head>,
    head: &Head,
    new: Option<Vec<u8>>,
    durable: bool,
    listing: Listing,
    policy: &Policy,
) -> Swap {
    let settings = policy.settings();
    let garbage_at = match head.end {
        Some(end) if settings.place.is_listed() && !planted(Bug::ListForgetsEarly) => {
            end.at.plus(settings.tombstone).max(head.deadline.plus(settings.skew))
        }
        Some(end) => end.at.plus(settings.tombstone),
        None if planted(Bug::SweptEarly) => head.seen_at,
        None => head.limits().ends_at().plus(settings.skew),
    };
    Swap { handle, expected: expected.map(Stamp::of_head), new, durable, garbage_at, listing }
}

// spec: REC-9 78b2
pub(crate) fn check_size(record: &[u8], policy: &Policy) -> Result<(), Error> {
    let (bytes, limit) = (record.len(), policy.settings().size);
    if bytes > limit && !planted(Bug::SizeUnchecked) { Err(Error::TooLarge { bytes, limit }) } else { Ok(()) }
}
