//! The second half of an exchange: from a [`Session`] to a [`Reply`], one compare-and-swap at a time.
//!
//! A reply, and with it every Set-Cookie, is reachable only through the store's acknowledgement of each write.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::attempt::{Outcome, Task};
use crate::bugs::{Bug, planted};
use crate::closer::Closer;
use crate::codec::Stamp;
use crate::entering::Enter;
use crate::error::Error;
use crate::id::Handle;
use crate::listing::{Listed, Listing};
use crate::opening::{Failure, Loaded};
use crate::plan::Change;
use crate::reply::Reply;
use crate::serial::Queued;
use crate::time::Timestamp;

/// What closing an exchange needs next.
#[derive(Debug)]
pub enum Closing {
    /// Nothing: every write is acknowledged, here is what goes into the response head.
    Done(Reply),
    /// A swap.
    Save(Save),
    /// Serial mode: another exchange has its turn. After a pause, a load.
    Wait(Queued),
    /// A login was stored: an entry in the index of principals.
    Enter(Enter),
    /// The exchange was refused or could not be written. No cookie is set.
    Failed(Failure),
}

/// A compare-and-swap on one record. There is no other way to write.
#[derive(Clone, PartialEq, Eq)]
pub struct Swap {
    /// The record concerned.
    pub handle: Handle,
    /// What must be stored now: this version and commit id, or nothing at all.
    pub expected: Option<Stamp>,
    /// What is stored then. None removes the record.
    pub new: Option<Vec<u8>>,
    /// Whether losing this write could bring a dead id back: then it must be on disk before it is acknowledged.
    pub durable: bool,
    /// From when on the new record is garbage, by its own limits. For sweeping only; no access depends on it.
    pub garbage_at: Timestamp,
    /// What it means for the index of principals.
    pub listing: Listing,
}

impl fmt::Debug for Swap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.new.as_ref().map(Vec::len);
        f.debug_struct("Swap")
            .field("handle", &self.handle)
            .field("expected", &self.expected)
            .field("bytes", &bytes)
            .finish_non_exhaustive()
    }
}

/// A swap that waits for the store's answer.
pub struct Save {
    closer: Box<Closer>,
    work: Box<Work>,
}

/// One write on its way.
struct Work {
    task: Task,
    swap: Swap,
    outcome: Outcome,
}

impl AsRef<Swap> for Save {
    fn as_ref(&self) -> &Swap {
        &self.work.swap
    }
}

impl fmt::Debug for Save {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Save").field(&self.work.swap).finish()
    }
}

impl Save {
    pub(crate) fn new(closer: Box<Closer>, task: Task, swap: Swap, outcome: Outcome) -> Self {
        Self { closer, work: Box::new(Work { task, swap, outcome }) }
    }

    /// The swap to send, at most once.
    pub const fn swap(&self) -> &Swap {
        &self.work.swap
    }

    /// Whether this is an ending that was asked for: it is worth more patience than other writes.
    pub const fn is_ending(&self) -> bool {
        matches!(self.work.task, Task::End(_))
    }

    /// The store acknowledged the swap.
    // spec: WRITE-16 ef0b
    pub fn saved(mut self) -> Closing {
        self.closer.count_trips(1);
        self.acknowledged()
    }

    /// The store acknowledged the swap together with the entry in the index of principals that goes with it.
    // spec: WRITE-16 ef0b
    pub fn entered(self, listed: Listed) -> Closing {
        match self.saved() {
            Closing::Enter(enter) => enter.with_its_swap(listed),
            other => other,
        }
    }

    /// The store refused the swap because the principal has as many sessions as the swap allows.
    pub fn full(mut self) -> Closing {
        self.closer.count_trips(1);
        Closing::Failed(self.fail(Error::LimitReached))
    }

    /// The store refused the swap and holds this instead.
    // spec: WRITE-2 c432
    pub fn conflicted(mut self, current: Option<Vec<u8>>) -> Closing {
        self.closer.count_trips(1);
        self.settle(current.map_or(Loaded::Absent, Loaded::Found))
    }

    /// The swap was not sent, for the caller knows that the store holds this by now: another exchange of the same process
    /// has just left it there.
    // spec: WRITE-2 c432
    pub fn overtaken(self, current: Vec<u8>) -> Closing {
        self.settle(Loaded::Found(current))
    }

    /// The outcome of the swap is unknown, and a load of the same handle gave this.
    // spec: WRITE-11 c612
    pub fn reloaded(mut self, loaded: Loaded) -> Closing {
        self.closer.count_trips(2);
        // A store that lost writes may have gone back, so a later attempt may be based on less.
        let doubts = [self.closer.uncertain_since, self.work.task.version()];
        self.closer.uncertain_since = doubts.into_iter().flatten().min();
        match loaded {
            Loaded::Unavailable => self.gave_up(Error::Unknown),
            loaded => self.settle(loaded),
        }
    }

    /// Patience is over, or the store is out of reach. A mere touch is let go, and the exchange goes on as if none had been
    /// due; so is the end of a turn, which then ends by itself. Anything else fails: `error` unless an attempt of unknown outcome makes it [`Error::Unknown`].
    // spec: STORE-11 5b8c
    pub fn gave_up(mut self, error: Error) -> Closing {
        let changes = &self.work.outcome.changes;
        let mere = changes.iter().all(|change| matches!(change, Change::Touched | Change::Released));
        if changes.is_empty() || !mere {
            return Closing::Failed(self.fail(error));
        }
        self.closer.keeps_house = false;
        self.closer.tasks.push_front(self.work.task);
        self.closer.go_on()
    }

    // spec: EVT-2 a367, WRITE-11 c612
    fn fail(self, error: Error) -> Failure {
        let error = if self.closer.uncertain_since.is_some() { Error::Unknown } else { error };
        let Closer { mut exchange, mut draft, .. } = *self.closer;
        exchange.events.append(&mut draft.events);
        exchange.fail(error)
    }

    // spec: WRITE-12 8880, WRITE-16 ef0b
    fn acknowledged(mut self) -> Closing {
        let Work { task, swap, outcome } = *self.work;
        let is_renaming = matches!(task, Task::Rename(_));
        if outcome.unfinished {
            self.closer.tasks.push_front(task);
        }
        self.closer.draft.take(outcome);
        self.closer.uncertain_since = None;
        self.closer.settled = self.closer.attempts;
        match (swap.listing, swap.new) {
            (Listing::Enter(entry), Some(written)) => {
                // A new name for a principal is no login, and nothing bars it.
                let login = !is_renaming;
                Closing::Enter(Enter::new(self.closer, entry, login.then_some(written)))
            }
            _ => self.closer.go_on(),
        }
    }

    // spec: WRITE-2 c432, WRITE-10 a015, WRITE-11 c612, WRITE-12 8880, WRITE-13 2f77, CLAIM-3 4985
    fn settle(mut self, loaded: Loaded) -> Closing {
        let met = if let Task::Create(_) = self.work.task {
            // A refused or unknown create may be somebody's, or half ours: never again under that handle.
            let Some(creates) = self.closer.creates.checked_add(1) else { return self.closer.fail(Error::Busy) };
            self.closer.creates = if planted(Bug::CreateAgain) { self.closer.creates } else { creates };
            self.closer.uncertain_since = None;
            None
        } else {
            let current = match self.closer.exchange.read(self.work.swap.handle, loaded) {
                Err(error) => return Closing::Failed(self.fail(error)),
                Ok(current) => current,
            };
            if current.as_ref().is_some_and(|record| self.closer.wrote(&record.head)) {
                if planted(Bug::RecognisedUnentered) {
                    self.work.swap.listing = Listing::Keep;
                }
                return self.acknowledged();
            }
            let may_be_absent = self.work.swap.new.is_none() || self.work.task.may_be_unlisted();
            if self.closer.lost_track(current.as_deref()) && !(current.is_none() && may_be_absent) {
                return self.closer.fail(Error::Unknown);
            }
            // The version has moved on without us, so the attempt in doubt can no longer take place.
            let moved_on = |since: &u64| current.as_ref().is_some_and(|record| record.head.version > *since);
            self.closer.uncertain_since = self.closer.uncertain_since.filter(|since| !moved_on(since));
            current
        };
        self.work.task.meets(met);
        self.closer.tasks.push_front(self.work.task);
        self.closer.go_on()
    }
}
