//! What is on record of a login: the grounds on which somebody may vouch for it to others, as an access token does.

use core::fmt;

use crate::id::Handle;
use crate::record::Principal;
use crate::session::Session;
use crate::time::Timestamp;

/// A live login as the store had it, without anything that this exchange still wants to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OnRecord<'a> {
    /// The session's public name.
    pub handle: Handle,
    /// Who is logged in.
    pub principal: &'a Principal,
    /// What this node's clock read before the record was loaded: whatever ended the session did so after that.
    pub opened_at: Timestamp,
    /// When the earlier of its limits passes if nothing happens.
    pub ends_at: Timestamp,
}

/// Why nobody can vouch for a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotOnRecord {
    /// Nobody is logged in.
    Anonymous,
    /// The session is over, or this exchange ends it.
    Ended,
    /// This exchange logs somebody in or changes the level, and the store does not know yet.
    Unsaved,
}

impl fmt::Display for NotOnRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "nobody is logged in",
            Self::Ended => "the session is over: log in again",
            Self::Unsaved => "the login is not saved yet: ask again with the next request",
        })
    }
}

impl core::error::Error for NotOnRecord {}

impl Session {
    /// The login that this exchange was opened with, if it is live and this exchange leaves it as it is.
    pub fn on_record(&self) -> Result<OnRecord<'_>, NotOnRecord> {
        self.accessed.set(true);
        let plan = &self.exchange.plan;
        if plan.privilege.is_some() {
            return Err(NotOnRecord::Unsaved);
        }
        let absent = if self.exchange.dead.is_some() { NotOnRecord::Ended } else { NotOnRecord::Anonymous };
        let base = self.base.as_ref().ok_or(absent)?;
        let principal = base.record.principal.as_ref().ok_or(absent)?;
        if plan.end.is_some() {
            return Err(NotOnRecord::Ended);
        }
        Ok(OnRecord {
            handle: base.id.handle,
            principal,
            opened_at: self.exchange.began_at,
            ends_at: base.record.head.limits().ends_at(),
        })
    }
}
