//! What the store of the application is asked, and what it answers.

use core::time::Duration;

use coatroom_core::{Entry, Handle, Listing, Loaded, Swap, Timestamp};
use coatroom_store::{Cursor, Entered, NotListed, Swapped, Unavailable};

use crate::wire::{moment, ms, span_ms};

/// What the store of the application is asked. See `Store` of `coatroom-store` for the contract.
#[derive(Clone, PartialEq, Eq, uniffi::Enum)]
pub enum Ask {
    /// The record under a handle: `Found`, `Absent` or `Unavailable`.
    Load {
        /// Where.
        handle: String,
    },
    /// A compare-and-swap, sent at most once: `Done`, `Entered`, `Full`, `Conflict`, `Unknown` or `Unavailable`.
    Swap {
        /// Where.
        handle: String,
        /// Bytes 2 to 17 of the record that must be stored now; none: there must be no record.
        expected: Option<Vec<u8>>,
        /// What is stored then; none removes the record.
        record: Option<Vec<u8>>,
        /// It must survive a crash once it is acknowledged.
        durable: bool,
        /// From when on the new record is garbage.
        garbage_at_ms: i64,
        /// What it means for the index of principals.
        listing: ListingParts,
    },
    /// An entry of the index: `Entered`, `Full` or `Unavailable`.
    Enter {
        /// Which.
        entry: EntryParts,
    },
    /// The sessions entered under a principal: `Handles` or `Unavailable`.
    Sessions {
        /// Whose.
        principal: String,
    },
    /// Remove an entry of the index: `Done` or `Unavailable`.
    Leave {
        /// Whose.
        principal: String,
        /// Which.
        handle: String,
    },
    /// Note that all sessions of a principal are revoked as of now: `Moment` or `Unavailable`.
    Bar {
        /// Whose.
        principal: String,
        /// By the clock of this node.
        now_ms: i64,
    },
    /// About so many handles of stored records: `Scanned` or `Unavailable`.
    Scan {
        /// Where to go on.
        from: Option<Vec<u8>>,
        /// About how many.
        max: u32,
    },
    /// The roles that a principal has today, as a remembered login of theirs begins: `Roles` or `Unavailable`. It is the
    /// application that is asked, over a store of this library too.
    Roles {
        /// Whose.
        principal: String,
    },
    /// Wait a while: `Done`.
    Pause {
        /// So many milliseconds.
        ms: i64,
    },
}

impl core::fmt::Debug for Ask {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Load { .. } => "Load",
            Self::Swap { .. } => "Swap",
            Self::Enter { .. } => "Enter",
            Self::Sessions { .. } => "Sessions",
            Self::Leave { .. } => "Leave",
            Self::Bar { .. } => "Bar",
            Self::Scan { .. } => "Scan",
            Self::Roles { .. } => "Roles",
            Self::Pause { .. } => "Pause",
        })
    }
}

/// What a swap means for the index of principals.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Enum)]
pub enum ListingParts {
    /// Nothing.
    Keep,
    /// From now on the session is one of a principal's.
    Enter {
        /// The entry to make.
        entry: EntryParts,
    },
    /// The session has ended.
    Leave {
        /// Whose it was.
        principal: String,
    },
}

/// One line of the index.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct EntryParts {
    /// Who is logged in.
    pub principal: String,
    /// Where.
    pub handle: String,
    /// The session is over by then.
    pub until_ms: i64,
    /// Entries whose `until_ms` is not later are garbage.
    pub now_ms: i64,
    /// Enter only if fewer other sessions are listed.
    pub at_most: Option<u32>,
    /// How many of the sessions that were listed before it are to be named, those that are over first.
    pub names: u32,
}

/// What the store of the application answers.
#[derive(Clone, PartialEq, Eq, uniffi::Enum)]
pub enum Answer {
    /// The record.
    Found {
        /// Its bytes.
        record: Vec<u8>,
    },
    /// There is none.
    Absent,
    /// The store did not do it, or could not be reached.
    Unavailable,
    /// It is done.
    Done,
    /// The swap or the entry is made.
    Entered {
        /// The moment of the last `Bar` for the principal, 0 if there was none.
        revoked_ms: i64,
        /// How long ago that was by the store's own clock; none where all callers share the clock of one host.
        ago_ms: Option<i64>,
        /// How many sessions of the principal are listed now.
        count: u32,
        /// The others that were listed before, as many as the entry asks for; none if this one was listed already.
        before: Option<Vec<String>>,
    },
    /// As many sessions are listed as the entry allows; nothing was written.
    Full,
    /// Something else is stored; nothing was written.
    Conflict {
        /// Namely this.
        record: Option<Vec<u8>>,
    },
    /// It may or may not have been done.
    Unknown,
    /// The sessions of a principal.
    Handles {
        /// Their handles.
        handles: Vec<String>,
    },
    /// The moment that the store gave a revocation: later than that of any other.
    Moment {
        /// In milliseconds since the Unix epoch.
        ms: i64,
    },
    /// The roles of a principal.
    Roles {
        /// None if there is no such user any more, or none that may log in.
        roles: Option<Vec<String>>,
    },
    /// A piece of a scan.
    Scanned {
        /// Handles of stored records.
        handles: Vec<String>,
        /// Where to go on.
        next: Option<Vec<u8>>,
    },
}

impl core::fmt::Debug for Answer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Found { .. } => "Found",
            Self::Absent => "Absent",
            Self::Unavailable => "Unavailable",
            Self::Done => "Done",
            Self::Entered { .. } => "Entered",
            Self::Full => "Full",
            Self::Conflict { .. } => "Conflict",
            Self::Unknown => "Unknown",
            Self::Handles { .. } => "Handles",
            Self::Moment { .. } => "Moment",
            Self::Roles { .. } => "Roles",
            Self::Scanned { .. } => "Scanned",
        })
    }
}

/// An answer as the code that asked understands it; nothing if it is no answer to the question.
pub(crate) trait Told: Sized {
    /// Reads it.
    fn told(answer: Answer) -> Option<Self>;
}

impl Told for Loaded {
    fn told(answer: Answer) -> Option<Self> {
        match answer {
            Answer::Found { record } => Some(Self::Found(record)),
            Answer::Absent => Some(Self::Absent),
            Answer::Unavailable => Some(Self::Unavailable),
            _ => None,
        }
    }
}

impl Told for Swapped {
    fn told(answer: Answer) -> Option<Self> {
        match answer {
            Answer::Done => Some(Self::Done),
            Answer::Entered { revoked_ms, ago_ms, count, before } => {
                entered(revoked_ms, ago_ms, count, before).map(Self::Entered)
            }
            Answer::Full => Some(Self::Full),
            Answer::Conflict { record } => Some(Self::Conflict(record)),
            Answer::Unknown => Some(Self::Unknown),
            Answer::Unavailable => Some(Self::Unavailable),
            _ => None,
        }
    }
}

impl Told for Result<Entered, NotListed> {
    fn told(answer: Answer) -> Option<Self> {
        match answer {
            Answer::Entered { revoked_ms, ago_ms, count, before } => entered(revoked_ms, ago_ms, count, before).map(Ok),
            Answer::Full => Some(Err(NotListed::Full)),
            Answer::Unavailable => Some(Err(NotListed::Unavailable)),
            _ => None,
        }
    }
}

impl Told for Result<Vec<Handle>, Unavailable> {
    fn told(answer: Answer) -> Option<Self> {
        match answer {
            Answer::Handles { handles } => parse_all(&handles).map(Ok),
            Answer::Unavailable => Some(Err(Unavailable)),
            _ => None,
        }
    }
}

impl Told for Result<Option<Vec<String>>, Unavailable> {
    fn told(answer: Answer) -> Option<Self> {
        match answer {
            Answer::Roles { roles } => Some(Ok(roles)),
            Answer::Unavailable => Some(Err(Unavailable)),
            _ => None,
        }
    }
}

impl Told for Result<(), Unavailable> {
    fn told(answer: Answer) -> Option<Self> {
        match answer {
            Answer::Done => Some(Ok(())),
            Answer::Unavailable => Some(Err(Unavailable)),
            _ => None,
        }
    }
}

impl Told for () {
    fn told(answer: Answer) -> Option<Self> {
        (answer == Answer::Done).then_some(())
    }
}

impl Told for Result<Timestamp, Unavailable> {
    fn told(answer: Answer) -> Option<Self> {
        match answer {
            Answer::Moment { ms } => Some(Ok(moment(ms))),
            Answer::Unavailable => Some(Err(Unavailable)),
            _ => None,
        }
    }
}

impl Told for Result<(Vec<Handle>, Option<Cursor>), Unavailable> {
    fn told(answer: Answer) -> Option<Self> {
        match answer {
            Answer::Scanned { handles, next } => parse_all(&handles).map(|handles| Ok((handles, next.map(Cursor)))),
            Answer::Unavailable => Some(Err(Unavailable)),
            _ => None,
        }
    }
}

fn entered(revoked_ms: i64, ago_ms: Option<i64>, count: u32, before: Option<Vec<String>>) -> Option<Entered> {
    let ago = ago_ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
    let before = before.map_or(Some(None), |before| parse_all(&before).map(Some))?;
    Some(Entered { revoked: moment(revoked_ms), ago, count, before })
}

fn parse_all(handles: &[String]) -> Option<Vec<Handle>> {
    handles.iter().map(|handle| Handle::parse(handle)).collect()
}

pub(crate) fn pause_ask(span: Duration) -> Ask {
    // Half a millisecond is a pause too.
    Ask::Pause { ms: span_ms(span).max(1) }
}

pub(crate) fn swap_ask(swap: &Swap) -> Ask {
    Ask::Swap {
        handle: swap.handle.to_string(),
        expected: swap.expected.map(|stamp| stamp.as_bytes().to_vec()),
        record: swap.new.clone(),
        durable: swap.durable,
        garbage_at_ms: ms(swap.garbage_at),
        listing: match &swap.listing {
            Listing::Keep => ListingParts::Keep,
            Listing::Enter(entry) => ListingParts::Enter { entry: entry.into() },
            Listing::Leave(principal) => ListingParts::Leave { principal: principal.clone() },
        },
    }
}

impl From<&Entry> for EntryParts {
    fn from(entry: &Entry) -> Self {
        let Entry { principal, handle, until, now, at_most, names } = entry;
        Self {
            principal: principal.clone(),
            handle: handle.to_string(),
            until_ms: ms(*until),
            now_ms: ms(*now),
            at_most: *at_most,
            names: *names,
        }
    }
}
