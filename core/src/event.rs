//! What an exchange reports: one event for each transition and each oddity, by handle, never by id.

use crate::cookie::Kind;
use crate::id::Handle;
use crate::record::Cause;

/// Something that happened to a session, or was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A session was written for the first time.
    Created(Handle),
    /// The client presented a new id for the first time.
    Presented(Handle),
    /// The id was replaced; the principal stayed.
    Rotated(Handle),
    /// Somebody logged in.
    LoggedIn(Handle),
    /// The level of authentication changed.
    Elevated(Handle),
    /// The session ended.
    Ended(Handle, Cause),
    /// A genuine id that was replaced long ago was presented: a copy is in somebody's hands.
    Reuse(Handle),
    /// A cookie held something that is not an id. The store was not asked.
    Junk(Kind),
    /// A cookie came twice in one request and counts as absent.
    Duplicate(Kind),
    /// A genuine tag over a generation or secret that the record never issued.
    Forged(Handle),
    /// An id came in the cookie of the other kind.
    WrongCookie(Handle),
    /// The stored record is damaged and reads as absent.
    Damaged(Handle),
    /// The stored record is not sealed, although the policy wants it, and reads as absent.
    Unsealed(Handle),
    /// The stored record does not open, and reads as absent: it was changed or moved, or its key is not in the ring.
    Unopened(Handle),
    /// The stored record was written by a newer build.
    Newer(Handle),
    /// The stored record claims a time that this node's clock has not reached.
    ClockBehind(Handle),
}

impl Event {
    /// A stable name for logs and metrics.
    #[must_use]
    // spec: EVT-1 f23d
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created(_) => "created",
            Self::Presented(_) => "presented",
            Self::Rotated(_) => "rotated",
            Self::LoggedIn(_) => "logged in",
            Self::Elevated(_) => "elevated",
            Self::Ended(..) => "ended",
            Self::Reuse(_) => "reuse",
            Self::Junk(_) => "junk id",
            Self::Duplicate(_) => "duplicate cookie",
            Self::Forged(_) => "forged id",
            Self::WrongCookie(_) => "wrong cookie",
            Self::Damaged(_) => "damaged record",
            Self::Unsealed(_) => "unsealed record",
            Self::Unopened(_) => "unopened record",
            Self::Newer(_) => "newer record",
            Self::ClockBehind(_) => "clock behind",
        }
    }

    /// The session concerned, where there is one.
    #[must_use]
    // spec: EVT-1 f23d
    pub const fn handle(self) -> Option<Handle> {
        match self {
            Self::Created(handle)
            | Self::Presented(handle)
            | Self::Rotated(handle)
            | Self::LoggedIn(handle)
            | Self::Elevated(handle)
            | Self::Ended(handle, _)
            | Self::Reuse(handle)
            | Self::Forged(handle)
            | Self::WrongCookie(handle)
            | Self::Damaged(handle)
            | Self::Unsealed(handle)
            | Self::Unopened(handle)
            | Self::Newer(handle)
            | Self::ClockBehind(handle) => Some(handle),
            Self::Junk(_) | Self::Duplicate(_) => None,
        }
    }
}
