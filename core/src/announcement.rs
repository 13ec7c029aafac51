//! What is told to those who verify access tokens: which sessions have ended.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::id::Handle;
use crate::time::Timestamp;

const SESSION: u8 = 1;
const PRINCIPAL: u8 = 2;

/// Tokens of a session or a principal that were issued at `at` or before are refused from now on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// Whose tokens.
    pub subject: Subject,
    /// Issued up to then.
    pub at: Timestamp,
}

/// Whose tokens an announcement is about.
#[derive(Clone, PartialEq, Eq)]
pub enum Subject {
    /// Those of one session.
    Session(Handle),
    /// Those of all sessions of a principal.
    Principal(String),
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(handle) => f.debug_tuple("Session").field(handle).finish(),
            Self::Principal(_) => f.write_str("Principal"),
        }
    }
}

impl Announcement {
    /// As a feed keeps and sends it: kind (1), time in milliseconds (6, big-endian), then the handle (12) or the principal.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let (kind, rest) = match &self.subject {
            Subject::Session(handle) => (SESSION, &handle.as_bytes()[..]),
            Subject::Principal(name) => (PRINCIPAL, name.as_bytes()),
        };
        let [_, _, at @ ..] = self.at.as_unix_ms().to_be_bytes();
        [&[kind], &at[..], rest].concat()
    }

    /// From the bytes of a feed. None of what this build does not know.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[kind, a, b, c, d, e, f], rest) = bytes.split_first_chunk::<7>()?;
        let at = Timestamp::from_unix_ms(u64::from_be_bytes([0, 0, a, b, c, d, e, f]));
        let subject = match kind {
            SESSION => Subject::Session(Handle::from_bytes(rest.try_into().ok()?)),
            PRINCIPAL => Subject::Principal(core::str::from_utf8(rest).ok()?.to_owned()),
            _ => return None,
        };
        Some(Self { subject, at })
    }
}
