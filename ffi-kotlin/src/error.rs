//! One error for everything that is refused: a stable code, a sentence that says what to do, and what was noticed.

use coatroom_core::{Denied, Error, Remedy};
use coatroom_store::Refused;

use crate::wire::{Noticed, noticed};

/// What the caller can do about a [`Refusal`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, uniffi::Enum)]
pub enum Advice {
    /// A mistake in the calling program: mend it.
    MendTheCall,
    /// The client may send the request again with what it holds then.
    AskAgain,
    /// The same request may succeed after a pause.
    RetryLater,
    /// Somebody else has to log in.
    LogIn,
}

/// A refusal. It never carries an id, a secret or a value.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Error)]
pub enum Refusal {
    /// The only kind there is: `code` tells them apart.
    Refused {
        /// Stable, the same in every language.
        code: String,
        /// What happened and what to do, for people.
        reason: String,
        /// What to do, for programs.
        advice: Advice,
        /// The HTTP status to answer with.
        status: i32,
        /// What was noticed until then.
        events: Vec<Noticed>,
    },
}

impl Refusal {
    pub(crate) fn new(code: &str, reason: &(impl ToString + ?Sized), advice: Advice, status: i32) -> Self {
        Self::Refused { code: code.into(), reason: reason.to_string(), advice, status, events: Vec::new() }
    }

    /// The settings, the keys or the store's name are wrong.
    pub(crate) fn config(reason: impl core::fmt::Display) -> Self {
        Self::new("config", &reason, Advice::MendTheCall, 500)
    }

    /// The bytes of a batch, or an answer, are not what was asked for.
    pub(crate) fn border(reason: &str) -> Self {
        Self::new("border", reason, Advice::MendTheCall, 500)
    }

    pub(crate) fn unavailable(reason: impl core::fmt::Display) -> Self {
        Self::new("unavailable", &reason, Advice::RetryLater, 503)
    }

    /// A stable name.
    pub fn code(&self) -> &str {
        let Self::Refused { code, .. } = self;
        code
    }
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self::Refused { reason, .. } = self;
        f.write_str(reason)
    }
}

impl core::error::Error for Refusal {}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let advice = match error.remedy() {
            Remedy::MendTheCall => Advice::MendTheCall,
            Remedy::AskAgain => Advice::AskAgain,
            Remedy::RetryLater => Advice::RetryLater,
        };
        Self::new(error.code(), &error, advice, error.status().into())
    }
}

impl From<Refused> for Refusal {
    fn from(Refused(failure): Refused) -> Self {
        let Self::Refused { code, reason, advice, status, .. } = failure.error.into();
        Self::Refused { code, reason, advice, status, events: noticed(&failure.events) }
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        let (code, reason, status) = match denied {
            Denied::NotLoggedIn => ("unauthenticated", "nobody is logged in", 401),
            Denied::Forbidden => ("forbidden", "the principal does not have this role", 403),
            Denied::NotFresh => {
                ("not-fresh", "the login is too old for this: log in again, then repeat the request", 401)
            }
            Denied::LevelTooLow => {
                let reason = "the login is not strong enough for this: give one more factor, then repeat the request";
                ("level-too-low", reason, 401)
            }
        };
        Self::new(code, reason, Advice::LogIn, status)
    }
}

/// A function of the application threw something that it did not declare.
impl From<uniffi::UnexpectedUniFFICallbackError> for Refusal {
    fn from(_: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Error::UpdateRefused.into()
    }
}
