//! What a write means for the index of principals: which sessions belong to whom.
//!
//! A handle is bound to its principal by the login and never changes hands: an ended session stays ended, and a change of
//! principal starts another one. So an entry is right until its record is absent or ended, and nothing else removes it.

use alloc::string::String;
use core::fmt;

use crate::id::Handle;
use crate::time::Timestamp;

/// What a swap means for the index of principals.
#[derive(Clone, PartialEq, Eq)]
pub enum Listing {
    /// Nothing: the record stays listed as it was, or unlisted.
    Keep,
    /// From now on the session is one of a principal's.
    Enter(Entry),
    /// The session has ended: it is no longer one of this principal's.
    Leave(String),
}

impl Listing {
    /// The entry to make, if there is one.
    #[must_use]
    pub const fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Enter(entry) => Some(entry),
            Self::Keep | Self::Leave(_) => None,
        }
    }
}

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "Keep",
            Self::Enter(_) => "Enter",
            Self::Leave(_) => "Leave",
        })
    }
}

/// One line of the index.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Who is logged in.
    pub principal: String,
    /// Where.
    pub handle: Handle,
    /// The session is over by then, come what may.
    pub until: Timestamp,
    /// When this was asked for: entries whose `until` is not later are garbage.
    pub now: Timestamp,
    /// Enter only if fewer other sessions are listed.
    pub at_most: Option<u32>,
    /// How many of the sessions that were listed before it are to be named, those that are over first; 0 where no limit evicts.
    pub names: u32,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("handle", &self.handle).finish_non_exhaustive()
    }
}

/// What the index says once an entry stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Listed {
    /// The last revocation of all sessions of the principal, by its moment, which no other one has; the beginning of time
    /// if there was none.
    pub revoked: Timestamp,
    /// The latest that this can have been by the clock of the exchange that logs in.
    pub not_before: Timestamp,
    /// How many sessions are listed, this one included and garbage not counted.
    pub count: u32,
}
