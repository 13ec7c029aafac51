//! After a login was stored and before anybody is told: its entry in the index of principals.
//!
//! A login that was stored and never entered is out of everybody's reach, for its secret goes out with the reply alone. So no
//! entry is needed before the swap. The same step reads when all sessions of the principal were revoked last: whoever
//! revokes writes that moment first and lists then, so one of the two sees the other.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::attempt::Task;
use crate::bugs::{Bug, planted};
use crate::closer::Closer;
use crate::closing::Closing;
use crate::codec;
use crate::ending::{Ending, Holder};
use crate::error::Error;
use crate::listing::{Entry, Listed};
use crate::record::Cause;
use crate::time::Timestamp;

/// A stored login that waits for its entry.
pub struct Enter {
    closer: Box<Closer>,
    entry: Entry,
    /// The record, if it is that of a login.
    login: Option<Vec<u8>>,
}

/// How long a store keeps the moment at which all sessions of a principal were revoked: a few minutes longer than any login
/// takes, its last attempts included.
pub const NOT_BEFORE_KEPT: Duration = Duration::from_mins(24 * 60 + 5);

/// A login by an exchange that was opened so long ago is refused without looking.
pub(crate) const LONGEST_LOGIN: Duration = Duration::from_hours(24);

impl fmt::Debug for Enter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Enter").field(&self.entry).finish()
    }
}

impl Enter {
    /// Whether the principal has room was decided before the swap.
    pub(crate) fn new(closer: Box<Closer>, entry: Entry, login: Option<Vec<u8>>) -> Self {
        Self { closer, entry: Entry { at_most: None, ..entry }, login }
    }

    /// The entry to make. Making it twice does no harm.
    pub const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The entry stands.
    // spec: IDX-1 7e62
    pub fn entered(mut self, listed: Listed) -> Closing {
        self.closer.count_trips(1);
        self.with_its_swap(listed)
    }

    /// The index did not answer for as long as is worth waiting: the login is not told to anybody.
    pub fn gave_up(mut self) -> Closing {
        self.closer.count_trips(1);
        self.closer.fail(Error::Unknown)
    }

    pub(crate) fn with_its_swap(mut self, listed: Listed) -> Closing {
        if let Some(written) = self.login.take()
            && self.closer.is_barred(listed)
        {
            self.closer.verdict = Some(Error::Revoked);
            let holder = Holder::Named(self.entry.principal);
            let current = codec::decode(written, self.entry.handle, &self.closer.exchange.rules).ok();
            let ending = Ending { handle: self.entry.handle, holder, cause: Cause::Revoked, current };
            self.closer.first(Task::End(ending));
        }
        self.closer.go_on()
    }
}

impl Closer {
    /// Whether all sessions of the principal were revoked since this exchange was opened, and by somebody else.
    // spec: IDX-4 667d, CLAIM-8 6865
    fn is_barred(&self, listed: Listed) -> bool {
        if planted(Bug::RevocationUnread) {
            return false;
        }
        let ever = listed.revoked > Timestamp::default();
        let own = self.exchange.revoked_all_at == Some(listed.revoked);
        let own = own && !planted(Bug::OwnRevocationBars);
        // A record that is ahead of this clock moves the time of the exchange, and not this clock.
        let before = self.exchange.began_at <= listed.not_before;
        ever && !own && before != planted(Bug::LaterLoginsBarred)
    }
}
