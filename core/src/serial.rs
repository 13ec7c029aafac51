//! Serial mode: an exchange takes its turn before its handler runs, and others that write data wait for it.
//!
//! A turn is a lease in the record, known by its token. Its holder's commit is written only on a record that still has
//! the token, and nobody else's data is written on one that has, unless the time of the lease is over: then the token goes
//! with it. So time decides how long others wait, and never whether a write is lost.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::attempt::{Attempt, Outcome, Task, swap};
use crate::bugs::{Bug, planted};
use crate::closer::Closer;
use crate::closing::{Closing, Swap};
use crate::error::Error;
use crate::id::{CommitId, Handle};
use crate::listing::Listing;
use crate::opening::{Base, Exchange, Load, Loaded, Opening};
use crate::plan::Change;
use crate::record::{Head, Lease, Record};
use crate::session::Session;
use crate::time::Timestamp;

/// A swap that takes the turn of an exchange, before its handler runs.
pub struct Take {
    exchange: Box<Exchange>,
    work: Box<Work>,
}

/// A turn to come.
struct Work {
    base: Base,
    head: Head,
    now: Timestamp,
    swap: Swap,
}

impl fmt::Debug for Take {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Take").field(&self.work.swap).finish()
    }
}

impl Take {
    /// What a live session needs before the handler can have it. `now` is not before the record's last use.
    // spec: SER-1 0cb4, SER-2 884b
    pub(crate) fn begin(mut exchange: Box<Exchange>, base: Base, now: Timestamp) -> Opening {
        // A cookie knows nothing of others, and so of no turns.
        exchange.token = exchange.token.filter(|_| !base.record.is_worn());
        let Some(token) = exchange.token.filter(|token| !base.record.head.is_leased_by(*token)) else {
            exchange.now = now;
            return Opening::Ready(Session::new(exchange, Some(base)));
        };
        let policy = exchange.rules.policy();
        let another = base.record.head.is_leased_to_another(Some(token), now, policy);
        if another && !planted(Bug::LeaseTakenOver) {
            return Opening::Wait(Load::again(exchange, base));
        }
        let mut head = base.record.head;
        head.lease = Some(Lease { token, until: now.plus(policy.settings().lease) });
        head.seen_at = head.seen_at.max(now);
        let signed = head.stamp(token.of_attempt(exchange.takes));
        let Some(new) = signed.and_then(|()| exchange.encode_taken(&head, &base)) else {
            return Opening::Unavailable(exchange.fail(Error::Unavailable));
        };
        let swap = swap(base.id.handle, Some(&base.record.head), &head, Some(new), false, Listing::Keep, policy);
        exchange.takes = exchange.takes.saturating_add(1);
        Opening::Take(Self { exchange, work: Box::new(Work { base, head, now, swap }) })
    }

    /// The swap to send, at most once.
    pub const fn swap(&self) -> &Swap {
        &self.work.swap
    }

    /// The store acknowledged the swap: the turn has begun.
    pub fn saved(mut self) -> Opening {
        self.exchange.trips = self.exchange.trips.saturating_add(1);
        let Work { mut base, head, now, .. } = *self.work;
        self.exchange.now = now;
        base.record.head = head;
        Opening::Ready(Session::new(self.exchange, Some(base)))
    }

    /// The store refused the swap and holds this instead, which is judged as if it had been loaded.
    // spec: SER-2 884b
    pub fn conflicted(self, current: Option<Vec<u8>>) -> Opening {
        Load::again(self.exchange, self.work.base).found(current.map_or(Loaded::Absent, Loaded::Found))
    }

    /// The outcome of the swap is unknown, and a load of the same handle gave this. Its token tells whether it took place.
    // spec: SER-2 884b
    pub fn reloaded(mut self, loaded: Loaded) -> Opening {
        self.exchange.trips = self.exchange.trips.saturating_add(1);
        Load::again(self.exchange, self.work.base).found(loaded)
    }

    /// Patience is over, or the store is out of reach.
    pub fn gave_up(self, error: Error) -> Opening {
        Opening::Unavailable(self.exchange.fail(error))
    }
}

impl Exchange {
    fn encode_taken(&self, head: &Head, base: &Base) -> Option<Vec<u8>> {
        let record = &base.record;
        let data = record.data.as_bytes();
        self.encode(self.turn.as_ref()?, base.id.handle, head, record.principal.as_ref(), &record.client, data).ok()
    }
}

/// A commit that waits for the turn of another exchange to end.
pub struct Queued {
    closer: Box<Closer>,
    task: Task,
    handle: Handle,
}

impl fmt::Debug for Queued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Queued").field(&self.handle).finish()
    }
}

impl Queued {
    pub(crate) const fn new(closer: Box<Closer>, task: Task, handle: Handle) -> Self {
        Self { closer, task, handle }
    }

    /// The handle to load after a pause.
    pub const fn handle(&self) -> Handle {
        self.handle
    }

    /// What the store holds after a pause, by another reading of the clock. Limits may have passed meanwhile.
    // spec: SER-4 ef64
    pub fn found(mut self, loaded: Loaded, now: Timestamp) -> Closing {
        let exchange = &mut self.closer.exchange;
        exchange.trips = exchange.trips.saturating_add(1);
        exchange.now = exchange.now.max(now);
        match exchange.read(self.handle, loaded) {
            Err(error) => self.closer.fail(error),
            Ok(current) => {
                self.task.meets(current);
                self.closer.first(self.task);
                self.closer.go_on()
            }
        }
    }

    /// Patience is over.
    pub fn gave_up(self, error: Error) -> Closing {
        self.closer.fail(error)
    }
}

/// Give back a turn that led to nothing.
pub(crate) struct Releasing {
    pub(crate) handle: Handle,
    pub(crate) token: CommitId,
    pub(crate) current: Option<Box<Record>>,
}

impl Releasing {
    // spec: SER-5 a33a
    pub(crate) fn attempt(&self, closer: &Closer) -> Attempt {
        let nothing = Attempt::Nothing(Outcome::default());
        let holds = |record: &&Record| record.head.is_leased_by(self.token) && closer.keeps_house;
        let Some(record) = self.current.as_deref().filter(holds).filter(|_| !planted(Bug::LeaseKept)) else {
            return nothing;
        };
        let mut head = record.head;
        head.lease = None;
        let (principal, data) = (record.principal.as_ref(), record.data.as_bytes());
        let signed = head.stamp(closer.commit());
        let encode = |()| closer.encode(self.handle, &head, principal, &record.client, data).ok();
        let Some(new) = signed.and_then(encode) else { return nothing };
        let swap = swap(self.handle, Some(&record.head), &head, Some(new), false, Listing::Keep, closer.policy());
        let mut outcome = Outcome::default();
        outcome.note(Change::Released, None);
        Attempt::Swap(swap, outcome)
    }
}
