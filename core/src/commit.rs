//! An attempt to change the session that an exchange was opened with.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::mem::take;

use crate::attempt::{Attempt, Outcome, Task, check_size, entry, swap};
use crate::bugs::{Bug, planted};
use crate::closer::Closer;
use crate::coat::Coat;
use crate::cookie::Kind;
use crate::create::create;
use crate::data::{self, Data};
use crate::ending::{Reacting, end};
use crate::error::Error;
use crate::event::Event;
use crate::id::{Handle, SessionId};
use crate::journal::Journal;
use crate::listing::Listing;
use crate::opening::{Base, React};
use crate::plan::{Change, Plan, Privilege, Reads};
use crate::policy::Carry;
use crate::record::{Cause, Client, Head, Kept, Phase, Principal, Record, Standing};
use crate::time::Timestamp;

/// Change the session that the exchange was opened with.
pub(crate) struct Commit {
    base: Base,
    plan: Plan,
    reads: Reads,
    known: Known,
    /// The deny list knows that the visitor's session gave way to a login.
    has_left: bool,
}

/// What the store is believed to hold.
enum Known {
    /// The record that the exchange was opened with.
    AsOpened,
    /// This record, met on a conflict.
    Met(Box<Record>),
    /// Nothing that can be read.
    Gone,
}

impl Known {
    fn over<'a>(&'a self, base: &'a Base) -> Option<&'a Record> {
        match self {
            Self::AsOpened => Some(&base.record),
            Self::Met(record) => Some(record),
            Self::Gone => None,
        }
    }
}

impl Commit {
    pub(crate) const fn new(base: Base, plan: Plan, reads: Reads) -> Self {
        Self { base, plan, reads, known: Known::AsOpened, has_left: false }
    }

    pub(crate) const fn handle(&self) -> Handle {
        self.base.id.handle
    }

    pub(crate) fn meets(&mut self, record: Option<Box<Record>>) {
        self.has_left = false;
        self.known = match self.current().filter(|current| current.is_worn()) {
            Some(coat) => {
                let mut coat = coat.clone();
                coat.meets(record.as_deref());
                Known::Met(coat.into())
            }
            None => record.map_or(Known::Gone, Known::Met),
        };
    }

    pub(crate) fn current(&self) -> Option<&Record> {
        self.known.over(&self.base)
    }

    // spec: WRITE-8 561b
    pub(crate) fn attempt(&mut self, closer: &Closer) -> Result<Attempt, Error> {
        let Some(record) = self.known.over(&self.base) else {
            return Ok(self.refused(Standing::Ended(Cause::Logout), closer.exchange.now));
        };
        let now = closer.exchange.now.max(record.head.seen_at);
        let standing = record.judge(&self.base.id, now, closer.policy());
        if let (Standing::Expired(cause), Known::AsOpened) = (standing, &self.known)
            && !planted(Bug::StaleExpiry)
            && !record.is_worn()
        {
            return self.end_if_unused(now, cause, closer);
        }
        if !standing.is_admitted() {
            return Ok(self.refused(standing, now));
        }
        if self.conflicts(record) || self.missed_its_turn(record, closer) {
            return Err(Error::Conflict);
        }
        if self.leaves_coat(record) {
            return self.leave_coat(now, closer);
        }
        let token = closer.exchange.token;
        let waits = self.plan.waits_for_turns() && record.head.is_leased_to_another(token, now, closer.policy());
        if waits && !planted(Bug::LeaseIgnored) {
            return Ok(Attempt::Wait(self.base.id.handle));
        }
        // The journals, which may run functions, are out of the way while the record is read.
        let (mut before, mut after) = (take(&mut self.plan.before), take(&mut self.plan.after));
        let attempt = self.write((&mut before, &mut after), record, standing, now, closer);
        (self.plan.before, self.plan.after) = (before, after);
        attempt
    }

    // spec: WRITE-2 c432, WRITE-7 a0fe, WRITE-14 1f29, WRITE-15 bde4, STORE-6 aac8, TIME-4 c482
    fn write(
        &self,
        (before, after): (&mut Journal, &mut Journal),
        record: &Record,
        standing: Standing,
        now: Timestamp,
        closer: &Closer,
    ) -> Result<Attempt, Error> {
        let policy = closer.policy();
        let handle = self.base.id.handle;
        let mut outcome = Outcome::default();
        let mut head = record.head;
        let mut durable = false;
        if standing == Standing::Current && head.confirm(self.base.id.generation, now, policy.settings().grace) {
            // Losing the end of a rotation would bring the old id back; losing the first presentation harms nobody.
            durable = head.previous.is_some();
            outcome.note(Change::Confirmed, Some(Event::Presented(handle)));
        }
        let carry = self.plan.carry(record.principal.is_some(), &policy.settings().carry);
        let read = if planted(Bug::WriteBackWhole) { &self.base.record.data } else { &record.data };
        let data = replay(before, after, carry, read)?;
        let data_changed = data.as_ref() != record.data.as_bytes();
        let client = self.plan.client.as_ref().unwrap_or(&record.client);
        if data_changed || client != &record.client {
            outcome.note(Change::Data, None);
        }
        let principal = self.raise(record, &mut head, &mut outcome, now, closer)?;
        self.rotate(standing, &mut head, &mut outcome, now, closer);
        let released = Self::end_turn(&mut head, &outcome, now, closer);
        durable |= outcome.id.is_some() && !planted(Bug::IdsNotDurable);
        if outcome.changes.is_empty() {
            if closer.keeps_house && head.touch(now, policy.touch(head.idle)) {
                outcome.note(Change::Touched, None);
            }
            if closer.keeps_house && released {
                outcome.note(Change::Released, None);
            }
        } else {
            head.seen_at = head.seen_at.max(now);
        }
        if outcome.id.is_none() && standing == Standing::Pending {
            outcome.id = self.answer_again(&record.head, closer);
        }
        outcome.at = Some((handle, head));
        if outcome.changes.is_empty() {
            return Ok(Attempt::Nothing(outcome));
        }
        head.stamp(closer.commit()).ok_or(Error::Unavailable)?;
        if record.is_worn() {
            let coat = (&head, principal.as_deref(), client, data.as_ref());
            return self.wear(record, coat, outcome, closer);
        }
        let new = closer.encode(handle, &head, principal.as_deref(), client, &data)?;
        if outcome.changes.iter().any(|change| matches!(change, Change::Data | Change::LoggedIn)) {
            check_size(&new, policy)?;
        }
        let listing = self.listing(principal.as_deref(), &head, closer);
        Ok(Attempt::Swap(swap(handle, Some(&record.head), &head, Some(new), durable, listing, policy), outcome))
    }

    /// The client keeps the record: it goes into its cookie, and nowhere else unless ids from before are to be dead.
    // spec: COAT-14 b2fa
    // spec: COAT-4 4d5c, COAT-5 350e, COAT-7 a7fd
    fn wear(
        &self,
        record: &Record,
        (head, principal, client, data): (&Head, Option<&Principal>, &Client, &[u8]),
        mut outcome: Outcome,
        closer: &Closer,
    ) -> Result<Attempt, Error> {
        let fresh = outcome.id.take();
        let (kind, id) = fresh.as_ref().map_or((self.base.kind, &self.base.id), |(kind, id, _)| (*kind, id));
        let coat = Coat { kind, id, head, principal, client, data };
        let mere = outcome.changes.iter().all(|change| matches!(change, Change::Touched | Change::Confirmed));
        match coat.line(closer) {
            // It was written under other names or attributes. What it holds stays good for as long as it says.
            Err(Error::TooLarge { .. }) if mere => return Ok(Attempt::Nothing(Outcome::default())),
            line => outcome.line = Some((kind, line?)),
        }
        match &record.kept {
            Kept::Worn(listed) if fresh.is_some() && closer.policy().place().is_listed() => {
                let listing = self.listing(principal, head, closer);
                Ok(Attempt::Swap(coat.listed(listed.as_deref(), record.head.deadline, listing, closer)?, outcome))
            }
            _ => Ok(Attempt::Nothing(outcome)),
        }
    }

    // spec: COAT-8 4b97
    fn leaves_coat(&self, record: &Record) -> bool {
        let logs_in = matches!(self.plan.privilege, Some(Privilege::Login(_)));
        record.is_worn() && record.principal.is_none() && logs_in && !planted(Bug::LoginKeepsCoat)
    }

    /// A login never goes on under the handle of an anonymous coat: whoever planted it has a copy, and could log in under the
    /// same one. It takes the data along into a session of its own, and the list then bars the coats from before.
    // spec: COAT-9 35a5
    // spec: COAT-8 4b97
    fn leave_coat(&mut self, now: Timestamp, closer: &Closer) -> Result<Attempt, Error> {
        let Some(record) = self.known.over(&self.base) else { return Err(Error::Unavailable) };
        self.plan.carried = Some(Box::new((record.data.clone(), record.client.clone())));
        // Nothing is ended for a login that cannot be made.
        create(&mut self.plan, closer)?;
        if !self.has_left
            && let Attempt::Swap(swap, outcome) = end(self.base.id.handle, record, now, Cause::Replaced, closer)?
        {
            self.has_left = true;
            return Ok(Attempt::Swap(swap, Outcome { unfinished: true, ..outcome }));
        }
        Ok(Attempt::Instead(vec![Task::Create(Box::new(take(&mut self.plan)))], None))
    }

    fn listing(&self, principal: Option<&Principal>, head: &Head, closer: &Closer) -> Listing {
        match (principal, &self.plan.privilege) {
            (Some(principal), Some(Privilege::Login(_))) => {
                Listing::Enter(entry(principal, self.base.id.handle, head, closer))
            }
            _ => Listing::Keep,
        }
    }

    /// Serial mode: what the handler read may be out of date once another exchange had its turn, or wrote data after the time
    /// of this one was over.
    // spec: SER-3 4b53
    fn missed_its_turn(&self, record: &Record, closer: &Closer) -> bool {
        let gone = |token| !record.head.is_leased_by(token);
        self.plan.writes() && closer.exchange.token.is_some_and(gone) && !planted(Bug::LeaseUnchecked)
    }

    /// The own turn ends with the commit. Another's whose time is over ends with the first data that is written after it;
    /// everything else leaves it alone.
    // spec: SER-3 4b53, SER-4 ef64, SER-5 a33a
    fn end_turn(head: &mut Head, outcome: &Outcome, now: Timestamp, closer: &Closer) -> bool {
        let own = closer.exchange.token.is_some_and(|token| head.is_leased_by(token));
        let over = !own && !head.is_leased_to_another(None, now, closer.policy());
        let writes = outcome.changes.contains(&Change::Data);
        let drops = planted(Bug::RotationDropsLease) && outcome.changes.contains(&Change::Rotated);
        if (own && !planted(Bug::LeaseKept)) || (over && writes && !planted(Bug::SpentLeaseKept)) || drops {
            head.lease = None;
        }
        own && head.lease.is_none()
    }

    /// Login and elevation: a fresh secret, and the floor rises to it.
    // spec: LOGIN-1 3794, LOGIN-5 2b46, LOGIN-6 5d77, LOGIN-7 94f7, LOGIN-8 6581
    fn raise<'a>(
        &self,
        record: &'a Record,
        head: &mut Head,
        outcome: &mut Outcome,
        now: Timestamp,
        closer: &Closer,
    ) -> Result<Option<Cow<'a, Principal>>, Error> {
        let handle = self.base.id.handle;
        let settings = closer.policy().settings();
        let principal = match (&self.plan.privilege, &record.principal) {
            (None, principal) => return Ok(principal.as_ref().map(Cow::Borrowed)),
            (Some(Privilege::Login(principal)), _) => {
                if !planted(Bug::LoginKeepsDeadline) {
                    head.deadline = now.plus(settings.absolute);
                }
                head.idle = settings.idle;
                outcome.note(Change::LoggedIn, Some(Event::LoggedIn(handle)));
                Principal { authenticated_at: now, ..principal.clone() }
            }
            (Some(Privilege::Elevate(elevated)), Some(principal)) => {
                if planted(Bug::ElevateMovesDeadline) {
                    head.deadline = now.plus(settings.absolute);
                }
                outcome.note(Change::Elevated, Some(Event::Elevated(handle)));
                Principal { level: elevated.level, authenticated_at: now, ..principal.clone() }
            }
            (Some(Privilege::Elevate(_)), None) => return Err(Error::Superseded),
        };
        if planted(Bug::KeepOldId) {
            return Ok(Some(Cow::Owned(principal)));
        }
        let generation = head.current.generation.checked_add(1).ok_or(Error::Superseded)?;
        let secret = closer.draws.secret(0);
        head.raise_floor(generation, secret.digest(), now);
        outcome.id = Some((Kind::Login, SessionId { handle, generation, secret }, head.deadline));
        Ok(Some(Cow::Owned(principal)))
    }

    /// Rotation, which is planned for an id that was confirmed before this exchange opened: only if that is still the
    /// current one.
    // spec: ROT-1 5391, ROT-9 f305
    fn rotate(&self, standing: Standing, head: &mut Head, outcome: &mut Outcome, now: Timestamp, closer: &Closer) {
        let current = standing == Standing::Current || (planted(Bug::RotateTwice) && standing == Standing::Pending);
        if !self.plan.rotate || self.plan.privilege.is_some() || !current {
            return;
        }
        let nonce = closer.draws.nonce();
        if let Some(next) = self.base.id.successor(&nonce) {
            head.rotate(&next, nonce, now);
            if planted(Bug::RotationMovesDeadline) {
                head.deadline = now.plus(closer.policy().settings().absolute);
            }
            outcome.note(Change::Rotated, Some(Event::Rotated(next.handle)));
            outcome.id = Some((Kind::Login, next, head.deadline));
        }
    }

    /// The client may have missed the new id: any exchange that it opened with the old one says it again, the very same,
    /// unless this one took so long that the client may have moved on.
    // spec: ROT-4 97ec, COOK-14 aa28
    fn answer_again(&self, head: &Head, closer: &Closer) -> Option<(Kind, SessionId, Timestamp)> {
        let Phase::Pending(nonce) = head.previous?.phase else { return None };
        let took = closer.exchange.now.since(closer.opened_at);
        let next = self.base.id.successor(&nonce)?;
        let same = next.generation == head.current.generation && head.current.digest.matches(&next.secret);
        let prompt = took <= closer.policy().settings().grace || planted(Bug::AnswerLate);
        (same && prompt).then_some((Kind::Login, next, head.deadline))
    }

    /// A limit has passed since the exchange was opened, going by a record that others may have used or renewed since. So
    /// the end is written on that very record, and a conflict is judged anew.
    // spec: TIME-9 4c66
    fn end_if_unused(&mut self, now: Timestamp, cause: Cause, closer: &Closer) -> Result<Attempt, Error> {
        let attempt = end(self.base.id.handle, &self.base.record, now, cause, closer)?;
        let mut ended = self.base.record.clone();
        ended.end(now, cause);
        self.known = Known::Met(ended);
        let Attempt::Swap(swap, outcome) = attempt else { return Ok(attempt) };
        Ok(Attempt::Swap(swap, Outcome { unfinished: true, ..outcome }))
    }

    /// The id is no longer admitted. A login starts afresh and inherits nothing; other writes are refused.
    // spec: LOGIN-4 e450, WRITE-8 561b, ROT-7 28ec, REUSE-3 8d76
    fn refused(&mut self, standing: Standing, found_at: Timestamp) -> Attempt {
        let error = match standing {
            Standing::BelowFloor | Standing::Reuse => Error::Superseded,
            _ => Error::Ended,
        };
        // What is refused for its time is written down, so that no clock behind this one admits it again.
        let written = match standing {
            Standing::Expired(cause) => Some(React::Expire(cause)),
            Standing::Reuse => Some(React::ForgetPrevious),
            _ => None,
        };
        let mut tasks = Vec::new();
        if let (Some(what), Some(record)) = (written, self.current().filter(|record| !record.is_worn())) {
            let (handle, generation) = (self.base.id.handle, self.base.id.generation);
            let current = Some(Box::new(record.clone()));
            tasks.push(Task::React(Reacting { handle, generation, what, found_at, current }));
        }
        if matches!(self.plan.privilege, Some(Privilege::Login(_))) {
            let mut plan = take(&mut self.plan);
            if !planted(Bug::FreshLoginInherits) {
                plan.before = Journal::default();
                plan.carried = None;
            }
            tasks.push(Task::Create(Box::new(plan)));
            return Attempt::Instead(tasks, None);
        }
        Attempt::Instead(tasks, self.plan.writes().then_some(error))
    }

    /// Strict mode: whether another exchange changed a key that this one read or set. An exchange that writes nothing of
    /// its own has nothing to be refused: housekeeping merges.
    // spec: WRITE-6 b7e4
    fn conflicts(&self, record: &Record) -> bool {
        let (ours, theirs) = (&self.base.record.data, &record.data);
        self.reads.strict
            && !planted(Bug::StrictIgnored)
            && self.plan.writes()
            && if self.reads.all {
                ours.as_bytes() != theirs.as_bytes()
            } else {
                self.reads.keys.iter().any(|key| ours.get(key) != theirs.get(key))
            }
    }
}

/// The data after both journals, with what the policy carries across the change of privilege between them.
// spec: LOGIN-2 0c3e, WRITE-1 e9ba, CLAIM-3 4985
pub(crate) fn replay<'a>(
    before: &mut Journal,
    after: &mut Journal,
    carry: &Carry,
    data: &'a Data,
) -> Result<Cow<'a, [u8]>, Error> {
    if before.is_empty() && after.is_empty() && *carry == Carry::All {
        return Ok(Cow::Borrowed(data.as_bytes()));
    }
    let mut pairs = before.replay(data.pairs())?;
    pairs.retain(|(key, _)| carry.keeps(key));
    Ok(Cow::Owned(data::encode(&after.replay(pairs)?)))
}
