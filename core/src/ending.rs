//! Attempts that end a session, or write down what a dead id calls for.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;
use core::time::Duration;

use crate::attempt::{Attempt, Outcome, swap};
use crate::bugs::{Bug, planted};
use crate::closer::Closer;
use crate::closing::Swap;
use crate::coat;
use crate::create::first_head;
use crate::data::Data;
use crate::error::Error;
use crate::event::Event;
use crate::id::{Handle, SessionId};
use crate::listing::Listing;
use crate::opening::React;
use crate::plan::Change;
use crate::record::{Cause, Client, End, Head, Kept, Phase, Principal, Record};
use crate::time::Timestamp;

/// Write down what a dead id calls for.
pub(crate) struct Reacting {
    pub(crate) handle: Handle,
    pub(crate) generation: u32,
    pub(crate) what: React,
    /// The time that called for it. A record read since, of a store that lost writes, may know less.
    pub(crate) found_at: Timestamp,
    pub(crate) current: Option<Box<Record>>,
}

/// Longer than a store that answered no more may yet make a session that somebody wanted.
const FORESTALLED_FOR: Duration = Duration::from_mins(5);

/// End a session.
pub(crate) struct Ending {
    pub(crate) handle: Handle,
    pub(crate) holder: Holder,
    pub(crate) cause: Cause,
    pub(crate) current: Option<Box<Record>>,
}

/// Whose session is to be ended.
pub(crate) enum Holder {
    /// Of whoever presented an id of this generation when this principal was logged in.
    Presented(u32, Option<String>),
    /// Of this principal.
    Named(String),
    /// Of anybody.
    Anybody,
    /// Of nobody: there is none yet, and never will be.
    Nobody,
}

impl Reacting {
    // spec: ROT-7 28ec, TIME-5 3f66, TIME-8 c1bc, REUSE-1 3573, REUSE-2 b0f2
    pub(crate) fn attempt(&mut self, closer: &Closer) -> Result<Attempt, Error> {
        let Some(record) = self.current.as_ref().filter(|record| record.head.end.is_none()) else {
            return Ok(Attempt::Nothing(Outcome::default()));
        };
        let now = closer.exchange.now.max(record.head.seen_at);
        match self.what {
            React::Expire(_) if planted(Bug::ExpiryForgotten) => Ok(Attempt::Nothing(Outcome::default())),
            React::Expire(cause) if planted(Bug::ExpiryEndsNewerLogin) => end(self.handle, record, now, cause, closer),
            // A login in between did away with the id, and is not for this one to end.
            React::Expire(_) | React::EndForReuse if record.head.is_below_floor(self.generation) => {
                Ok(Attempt::Nothing(Outcome::default()))
            }
            React::Expire(cause) => end(self.handle, record, now, cause, closer),
            React::EndForReuse => end(self.handle, record, now, Cause::Reuse, closer),
            React::ForgetPrevious => {
                let forgets = self.is_past_grace(&record.head, now) && !planted(Bug::PreviousKept);
                let releases = closer.exchange.token.is_some_and(|token| record.head.is_leased_by(token));
                if !forgets && !releases {
                    return Ok(Attempt::Nothing(Outcome::default()));
                }
                let mut head = record.head;
                head.previous = head.previous.filter(|_| !forgets);
                head.lease = head.lease.filter(|_| !releases);
                head.stamp(closer.commit()).ok_or(Error::Unavailable)?;
                let data = record.data.as_bytes();
                let new = closer.encode(self.handle, &head, record.principal.as_ref(), &record.client, data)?;
                let swap =
                    swap(self.handle, Some(&record.head), &head, Some(new), true, Listing::Keep, closer.policy());
                Ok(Attempt::Swap(swap, Outcome::default()))
            }
        }
    }

    // spec: ROT-7 28ec
    fn is_past_grace(&self, head: &Head, now: Timestamp) -> bool {
        let now = if planted(Bug::ForgottenByTheRecord) { now } else { now.max(self.found_at) };
        let is_previous = self.generation.checked_add(1) == Some(head.current.generation);
        is_previous && matches!(head.previous.map(|previous| previous.phase), Some(Phase::Grace(until)) if now >= until)
    }
}

impl Ending {
    /// The store holds something else than believed. Of a session that its client keeps, that is an entry of the deny list.
    pub(crate) fn meets(&mut self, record: Option<Box<Record>>) {
        match self.current.as_mut().filter(|current| current.is_worn()) {
            Some(coat) => coat.meets(record.as_deref()),
            None => self.current = record,
        }
    }

    // spec: END-1 9a4d, END-3 5139, END-7 dcc3, IDX-5 75ca
    pub(crate) fn attempt(&mut self, closer: &Closer) -> Result<Attempt, Error> {
        if let (Holder::Nobody, None) = (&self.holder, &self.current) {
            return forestall(self.handle, self.cause, closer);
        }
        let Some(record) = self.current.as_ref().filter(|record| record.head.end.is_none()) else {
            return Ok(Attempt::Nothing(Outcome::default()));
        };
        let leased = record.head.is_leased_to_another(closer.exchange.token, closer.exchange.now, closer.policy());
        if planted(Bug::EndingWaits) && leased {
            return Ok(Attempt::Wait(self.handle));
        }
        let holder = record.principal.as_ref().map(Principal::name);
        match &self.holder {
            Holder::Anybody => {}
            Holder::Nobody => return Ok(Attempt::Nothing(Outcome::default())),
            Holder::Named(principal) if holder == Some(principal) || planted(Bug::RevokedByAnybody) => {}
            Holder::Named(_) => return Err(Error::NotTheirs),
            Holder::Presented(generation, principal) => {
                if planted(Bug::LogoutSparesSuccessor) && *generation < record.head.current.generation {
                    return Ok(Attempt::Nothing(Outcome::default()));
                }
                // An ending is monotone: it reaches across a login of the same principal, and across nobody else's.
                let crosses = planted(Bug::LogoutCrossesPrincipals);
                let other = holder.is_none() || (holder != principal.as_deref() && !crosses);
                if record.head.is_below_floor(*generation) && other && planted(Bug::LogoutPretends) {
                    return Ok(Attempt::Nothing(Outcome::default()));
                }
                if record.head.is_below_floor(*generation) && other {
                    let logout = self.cause == Cause::Logout;
                    return Err(if logout { Error::LogoutRefused } else { Error::Superseded });
                }
            }
        }
        end(self.handle, record, closer.exchange.now.max(record.head.seen_at), self.cause, closer)
    }
}

/// The swap that ends a session: a tombstone, or removal when the policy wants none.
// spec: END-2 b6ef, END-5 5fe9, STORE-6 aac8, COAT-7 a7fd
pub(crate) fn end(
    handle: Handle,
    record: &Record,
    now: Timestamp,
    cause: Cause,
    closer: &Closer,
) -> Result<Attempt, Error> {
    let mut ended = record.clone();
    ended.end(now, cause);
    let mut outcome = Outcome::default();
    outcome.note(Change::Ended, Some(Event::Ended(handle, cause)));
    let listing =
        record.principal.as_ref().map_or(Listing::Keep, |principal| Listing::Leave(principal.name().to_owned()));
    if let Kept::Worn(listed) = &record.kept {
        return coat::end(handle, &record.head, listed.as_deref(), &ended, listing, outcome, closer);
    }
    ended.head.stamp(closer.commit()).ok_or(Error::Unavailable)?;
    // An entry of the deny list that were gone would deny nothing.
    let keep = !closer.policy().settings().tombstone.is_zero() || closer.policy().place().is_listed();
    let (principal, data) = (ended.principal.as_ref(), ended.data.as_bytes());
    let bytes = keep.then(|| closer.encode(handle, &ended.head, principal, &ended.client, data)).transpose()?;
    let swap =
        swap(handle, Some(&record.head), &ended.head, bytes, !planted(Bug::EndingNotDurable), listing, closer.policy());
    Ok(Attempt::Swap(swap, outcome))
}

/// The swap that keeps a session from being made: whoever is about to make it meets an ended one, and takes another handle.
// spec: IDX-2 e0df
fn forestall(handle: Handle, cause: Cause, closer: &Closer) -> Result<Attempt, Error> {
    let id = SessionId { handle, generation: 0, secret: closer.draws.secret(1) };
    let mut head = first_head(&id, closer);
    head.end = Some(End { at: closer.exchange.now, cause });
    let bytes = closer.encode(handle, &head, None, &Client::default(), Data::empty().as_bytes())?;
    let swap = swap(handle, None, &head, Some(bytes), true, Listing::Keep, closer.policy());
    let garbage_at = swap.garbage_at.max(closer.exchange.now.plus(FORESTALLED_FOR));
    let mut outcome = Outcome::default();
    outcome.note(Change::Ended, None);
    Ok(Attempt::Swap(Swap { garbage_at, ..swap }, outcome))
}
