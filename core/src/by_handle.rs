//! Changing a session by its handle, without any of its ids: revocation, eviction, another name for its principal.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use crate::attempt::{Attempt, Outcome, Task, entry, swap};
use crate::bugs::{Bug, planted};
use crate::closer::Closer;
use crate::closing::Closing;
use crate::codec;
use crate::ending::{Ending, Holder};
use crate::error::Error;
use crate::id::{Draws, Handle};
use crate::listing::{Entry, Listing};
use crate::opening::{Exchange, Failure, Loaded, Rules};
use crate::plan::Change;
use crate::record::{Cause, Principal, Record};
use crate::reply::Draft;
use crate::session::Session;
use crate::time::Timestamp;

/// A change of a session by its handle, which waits for its record.
pub struct ByHandle {
    exchange: Box<Exchange>,
    draws: Draws,
    handle: Handle,
    what: What,
}

enum What {
    End(Holder, Cause),
    Rename(String, String),
}

/// Give the principal of a session another name.
pub(crate) struct Renaming {
    handle: Handle,
    from: String,
    to: String,
    pub(crate) current: Option<Box<Record>>,
}

impl fmt::Debug for ByHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ByHandle").field(&self.handle).finish()
    }
}

impl Rules {
    /// Ends the session of this handle for `cause`, if it is the principal's; if none is named, whosever it is.
    pub fn revoke<R: TryCryptoRng + ?Sized>(
        self: &Arc<Self>,
        handle: Handle,
        principal: Option<&str>,
        cause: Cause,
        now: Timestamp,
        rng: &mut R,
    ) -> Result<ByHandle, Failure> {
        let holder = principal.map_or(Holder::Anybody, |principal| Holder::Named(principal.to_owned()));
        self.by_handle(handle, What::End(holder, cause), now, rng)
    }

    /// Makes sure that no session comes to be under this handle, under which there is none: a login that is about to make one
    /// takes another. Where there is one, nothing is written.
    pub fn forestall<R: TryCryptoRng + ?Sized>(
        self: &Arc<Self>,
        handle: Handle,
        now: Timestamp,
        rng: &mut R,
    ) -> Result<ByHandle, Failure> {
        self.by_handle(handle, What::End(Holder::Nobody, Cause::Revoked), now, rng)
    }

    /// Gives the principal of the session of this handle another name, if it is `from`. The id stays, for nobody gains a right.
    pub fn rename<R: TryCryptoRng + ?Sized>(
        self: &Arc<Self>,
        handle: Handle,
        from: &str,
        to: &str,
        now: Timestamp,
        rng: &mut R,
    ) -> Result<ByHandle, Failure> {
        self.by_handle(handle, What::Rename(from.to_owned(), to.to_owned()), now, rng)
    }

    fn by_handle<R: TryCryptoRng + ?Sized>(
        self: &Arc<Self>,
        handle: Handle,
        what: What,
        now: Timestamp,
        rng: &mut R,
    ) -> Result<ByHandle, Failure> {
        let exchange = Box::new(Exchange::new(self, now));
        let mut bytes = Zeroizing::new([0; 40]);
        if rng.try_fill_bytes(&mut *bytes).is_err() {
            return Err(exchange.fail(Error::NoRandomness));
        }
        Ok(ByHandle { exchange, draws: Draws::from_bytes(&bytes), handle, what })
    }
}

impl ByHandle {
    /// The handle to load.
    pub const fn handle(&self) -> Handle {
        self.handle
    }

    /// Goes on with what the store answered. Done at once when there is nothing to change.
    pub fn found(self, loaded: Loaded) -> Closing {
        let Self { mut exchange, draws, handle, what } = self;
        let opened_at = exchange.now;
        exchange.trips = 1;
        match exchange.read(handle, loaded) {
            Err(error) => Closing::Failed(exchange.fail(error)),
            Ok(current) => {
                let task = match what {
                    What::End(holder, cause) => Task::End(Ending { handle, holder, cause, current }),
                    What::Rename(from, to) => Task::Rename(Renaming { handle, from, to, current }),
                };
                let session = Session::new(exchange, None);
                let draft = Draft::new(&session);
                Closer::new(session.exchange, opened_at, draws, draft, VecDeque::from([task]), None).go_on()
            }
        }
    }
}

impl Renaming {
    // spec: IDX-5 75ca, IDX-8 b396
    pub(crate) fn attempt(&self, closer: &Closer) -> Result<Attempt, Error> {
        let Some(record) = self.current.as_ref().filter(|record| record.head.end.is_none()) else {
            return Ok(Attempt::Nothing(Outcome::default()));
        };
        let before = record.principal.as_ref().filter(|principal| principal.name() == self.from);
        let Some(mut principal) = before.cloned() else { return Err(Error::NotTheirs) };
        let roles: Vec<&str> = before.into_iter().flat_map(Principal::roles).collect();
        principal.names = codec::Names::new(&self.to, &roles).ok_or(Error::BadPrincipal)?;
        let mut head = record.head;
        head.stamp(closer.commit()).ok_or(Error::Unavailable)?;
        let data = record.data.as_bytes();
        let new = closer.encode(self.handle, &head, Some(&principal), &record.client, data)?;
        // A new name is no further session: no limit refuses it.
        let entry = Entry { at_most: None, names: 0, ..entry(&principal, self.handle, &head, closer) };
        let listing = if planted(Bug::NewNameUnlisted) { Listing::Keep } else { Listing::Enter(entry) };
        let mut outcome = Outcome::default();
        outcome.note(Change::Renamed, None);
        Ok(Attempt::Swap(
            swap(self.handle, Some(&record.head), &head, Some(new), true, listing, closer.policy()),
            outcome,
        ))
    }
}
