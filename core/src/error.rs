//! What can go wrong for the caller, sorted by what to do next. Never carries an id, a secret or a value.

use core::fmt;

use crate::value::ValueError;

/// A refusal, typed. Hostile input never leads here: it reads as "no session".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The value lies outside the data model.
    Value(ValueError),
    /// `add` met something other than an integer, or the sum has no room in 64 bits.
    NotAddable,
    /// The function given to `update` refused.
    UpdateRefused,
    /// The record would grow over the limit of the policy.
    TooLarge {
        /// Bytes it would have.
        bytes: usize,
        /// Bytes it may have.
        limit: usize,
    },
    /// A principal, role, label or address is empty or longer than 65,535 bytes.
    BadPrincipal,
    /// `elevate` without anybody logged in.
    NotLoggedIn,
    /// The response head is already gone, so nothing that needs an answer can be promised any more; or the request only reads.
    HeadSent,
    /// The exchange is over or in another stage.
    WrongStage,
    /// Logins live in cookies and no deny list is kept, so nobody can say which there are, or end one.
    Unlisted,

    /// Strict mode: another exchange changed a key that this one read or set. Serial mode: this exchange took longer than
    /// its turn, and another had one meanwhile.
    Conflict,
    /// The session ended while this exchange was under way. Nothing of the exchange was written.
    Ended,
    /// The id was replaced by a login or lies past its grace. Nothing of the exchange was written.
    Superseded,
    /// The logout was not carried out: the login it meant has been replaced by another.
    LogoutRefused,
    /// The cookie that this exchange would have to set came twice in the request.
    DuplicateCookie,
    /// All sessions of the principal were revoked since this exchange was opened: the login it wrote was ended again.
    Revoked,
    /// The principal has as many sessions as the policy allows. Nothing was written.
    LimitReached,
    /// The session named is not, or not any more, the principal's. Nothing was written.
    NotTheirs,

    /// The store did not answer, or holds what this build or this clock cannot judge. Nothing was written.
    Unavailable,
    /// Others kept changing the session, or had their turn, for too long. Nothing was written.
    Busy,
    /// It is not known whether the write took place.
    Unknown,
    /// The source of randomness failed. Nothing was written.
    NoRandomness,
}

/// What the caller can do about an [`Error`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remedy {
    /// A mistake in the calling program: mend it.
    MendTheCall,
    /// The client may send the request again with what it holds then (409).
    AskAgain,
    /// The same request may succeed after a pause (503).
    RetryLater,
}

impl Error {
    /// What to do about it.
    #[must_use]
    // spec: ERR-1 63c2
    pub const fn remedy(self) -> Remedy {
        match self {
            Self::Value(_)
            | Self::BadPrincipal
            | Self::NotLoggedIn
            | Self::HeadSent
            | Self::WrongStage
            | Self::Unlisted => Remedy::MendTheCall,
            Self::NotAddable
            | Self::UpdateRefused
            | Self::TooLarge { .. }
            | Self::Conflict
            | Self::Ended
            | Self::Superseded
            | Self::LogoutRefused
            | Self::DuplicateCookie
            | Self::Revoked
            | Self::LimitReached
            | Self::NotTheirs => Remedy::AskAgain,
            Self::Unavailable | Self::Busy | Self::Unknown | Self::NoRandomness => Remedy::RetryLater,
        }
    }

    /// The HTTP status that an adapter answers with in place of the held response (RFC 9110 section 15).
    #[must_use]
    // spec: ERR-1 63c2
    pub const fn status(self) -> u16 {
        match self.remedy() {
            Remedy::MendTheCall => 500,
            Remedy::AskAgain => 409,
            Remedy::RetryLater => 503,
        }
    }

    /// A stable name for logs and bindings.
    #[must_use]
    // spec: ERR-1 63c2
    pub const fn code(self) -> &'static str {
        match self {
            Self::Value(_) => "value",
            Self::NotAddable => "not-addable",
            Self::UpdateRefused => "update-refused",
            Self::TooLarge { .. } => "too-large",
            Self::BadPrincipal => "bad-principal",
            Self::NotLoggedIn => "not-logged-in",
            Self::HeadSent => "head-sent",
            Self::WrongStage => "wrong-stage",
            Self::Unlisted => "unlisted",
            Self::Conflict => "conflict",
            Self::Ended => "ended",
            Self::Superseded => "superseded",
            Self::LogoutRefused => "logout-refused",
            Self::DuplicateCookie => "duplicate-cookie",
            Self::Revoked => "revoked",
            Self::LimitReached => "limit-reached",
            Self::NotTheirs => "not-theirs",
            Self::Unavailable => "unavailable",
            Self::Busy => "busy",
            Self::Unknown => "unknown",
            Self::NoRandomness => "no-randomness",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Value(error) => return error.fmt(f),
            Self::TooLarge { bytes, limit } => {
                return write!(
                    f,
                    "the session record would have {bytes} of at most {limit} bytes: store less, or raise `size` (a cookie holds 4,096)"
                );
            }
            Self::NotAddable => "`add` needs an integer with room for the sum: set the key to one first",
            Self::UpdateRefused => "the function given to `update` refused the present value",
            Self::BadPrincipal => "a principal, role, label or address is empty or longer than 65,535 bytes",
            Self::NotLoggedIn => "nobody is logged in: call `login` before `elevate`",
            Self::HeadSent => {
                "the response head is already sent, or the request may only read: change the session before the response starts, in one that may write"
            }
            Self::WrongStage => "the exchange is over or in another stage: use the session of the present request",
            Self::Unlisted => "logins live in cookies, where nobody can find or end them: name a deny list, or a store",
            Self::Conflict => "another request changed the session in between: read it again and repeat the request",
            Self::Ended => "the session ended while the request was under way: nothing was written, log in again",
            Self::Superseded => {
                "the session id was replaced while the request was under way: repeat it with the present cookie"
            }
            Self::LogoutRefused => "nobody was logged out, for another login took this one's place: repeat the logout",
            Self::DuplicateCookie => "the session cookie came twice in the request: remove the stray one and repeat it",
            Self::Revoked => "all sessions of this user were revoked while the login was under way: log in again",
            Self::LimitReached => "this user has as many sessions as are allowed: end one of them first",
            Self::NotTheirs => "the session named is not this user's: list the sessions again",
            Self::Unavailable => "the session store cannot answer: nothing was written, try again shortly",
            Self::Busy => "the session is too busy: nothing was written, try again shortly",
            Self::Unknown => "the session store did not confirm the write: read the session before repeating it",
            Self::NoRandomness => "the system gave no random bytes: nothing was written, try again shortly",
        })
    }
}

impl core::error::Error for Error {}

impl From<ValueError> for Error {
    fn from(error: ValueError) -> Self {
        Self::Value(error)
    }
}
