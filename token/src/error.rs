//! Why a token is not issued or does not count. Nothing here holds any part of a token or a key.

use core::fmt;

use coatroom_core::NotOnRecord;

/// What is wrong with the form of a text that was to be a token or a set of keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Form {
    /// It is longer than 4,096 bytes.
    TooLong,
    /// It is not three parts of canonical base64url, or a part is not what it has to be.
    Malformed,
    /// A part is not UTF-8.
    NotUtf8,
    /// More than eight containers are within each other.
    TooDeep,
    /// A name occurs twice in one object.
    Duplicate,
}

/// Why a token does not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// Its form is wrong. Nothing of it was believed, and no key was used.
    Form(Form),
    /// Its header names a key or says where to get one.
    KeyInHeader,
    /// Its header has a member besides `alg`, `kid` and `typ`.
    HeaderMember,
    /// Its algorithm is not the verifier's.
    Algorithm,
    /// It is not an access token.
    Type,
    /// It names no key that the verifier has.
    UnknownKey,
    /// Its signature is wrong.
    Signature,
    /// This claim is missing or has another type than it should.
    Claim(&'static str),
    /// Another issuer made it.
    Issuer,
    /// It was made for others.
    Audience,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It would live longer than the verifier allows.
    LivesTooLong,
    /// Its session has ended, or all sessions of its principal were revoked.
    Revoked,
    /// The verifier has not heard for too long which sessions have ended.
    Stale,
}

impl Refusal {
    /// A stable name for logs and vectors.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Form(Form::TooLong) => "too long",
            Self::Form(Form::Malformed) => "malformed",
            Self::Form(Form::NotUtf8) => "not utf-8",
            Self::Form(Form::TooDeep) => "too deep",
            Self::Form(Form::Duplicate) => "duplicate",
            Self::KeyInHeader => "key in header",
            Self::HeaderMember => "header member",
            Self::Algorithm => "algorithm",
            Self::Type => "type",
            Self::UnknownKey => "unknown key",
            Self::Signature => "signature",
            Self::Claim(_) => "claim",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not yet valid",
            Self::LivesTooLong => "lives too long",
            Self::Revoked => "revoked",
            Self::Stale => "stale",
        }
    }

    /// The status of the response: 503 when it is not the token that is wrong, else 401.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Stale => 503,
            _ => 401,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Form(Form::TooLong) => "the token is longer than 4,096 bytes",
            Self::Form(_) => "the text is not a token",
            Self::KeyInHeader => "the token brings its own key",
            Self::HeaderMember => "the token asks for what this verifier does not do",
            Self::Algorithm => "the token is signed by another algorithm than this verifier's",
            Self::Type => "this is not an access token",
            Self::UnknownKey => "the token names no key of this verifier: fetch the issuer's keys again",
            Self::Signature => "the signature of the token is wrong",
            Self::Claim(name) => return write!(f, "the claim `{name}` of the token is missing or of another type"),
            Self::Issuer => "the token is another issuer's",
            Self::Audience => "the token is made for others",
            Self::Expired => "the token has expired: get a new one",
            Self::NotYetValid => "the token is not valid yet: compare the clocks",
            Self::LivesTooLong => "the token lives longer than this verifier allows: compare the lifetimes",
            Self::Revoked => "the session of the token has ended: get a new token or log in again",
            Self::Stale => "the feed of ended sessions was not reached for too long: try again shortly",
        };
        f.write_str(what)
    }
}

impl core::error::Error for Refusal {}

impl From<Form> for Refusal {
    fn from(form: Form) -> Self {
        Self::Form(form)
    }
}

/// Why a session gets no token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NotIssued {
    /// Nobody can vouch for it.
    NotOnRecord(NotOnRecord),
    /// It ends before a token of one second would.
    EndsNow,
    /// With the principal's name and roles the token would be longer than 4,096 bytes.
    TooLarge {
        /// How long it would be.
        bytes: usize,
    },
    /// The system gave no random bytes.
    NoRandomness,
}

impl fmt::Display for NotIssued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOnRecord(why) => why.fmt(f),
            Self::EndsNow => f.write_str("the session is about to end: log in again"),
            Self::TooLarge { bytes } => {
                write!(f, "the token would have {bytes} bytes, and 4,096 are read: shorten the roles of the principal")
            }
            Self::NoRandomness => f.write_str("the system gave no random bytes"),
        }
    }
}

impl core::error::Error for NotIssued {}

impl From<NotOnRecord> for NotIssued {
    fn from(why: NotOnRecord) -> Self {
        Self::NotOnRecord(why)
    }
}

/// Why an issuer or a verifier cannot be made so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SettingsError {
    /// The name of the issuer or of the audience is empty or longer than 256 bytes.
    Name,
    /// The lifetime is not between one second and an hour.
    Lifetime,
    /// The leeway is longer than a minute.
    Leeway,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "issuer and audience need a name each, at most 256 bytes long",
            Self::Lifetime => "the lifetime of a token is one second at least and one hour at most",
            Self::Leeway => "the leeway is one minute at most",
        })
    }
}

impl core::error::Error for SettingsError {}
