//! Tokens from live logins.

use core::fmt;
use core::time::Duration;

use coatroom_core::{OnRecord, Session, Timestamp, base64url};
use rand_core::TryCryptoRng;

use crate::error::{NotIssued, SettingsError};
use crate::json::write_text;
use crate::keys::SigningKeys;

/// Longer tokens are neither issued nor read.
pub(crate) const LONGEST_TOKEN: usize = 4096;
/// How long a token lives unless the settings say otherwise.
pub(crate) const LIFETIME: Duration = Duration::from_mins(5);
/// No token lives longer, whatever the settings.
pub const LONGEST_LIFETIME: Duration = Duration::from_hours(1);
const LONGEST_NAME: usize = 256;

/// Makes tokens from sessions.
#[derive(Debug)]
pub struct Issuer {
    keys: SigningKeys,
    issuer: String,
    audience: String,
    lifetime: Duration,
}

/// A token for a client, who sends it to services as `Authorization: Bearer`. It cannot be printed by mistake.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    text: String,
    expires_at: Timestamp,
    lifetime: Duration,
}

impl fmt::Debug for Token {
    // spec: TOKEN-9 8191
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

impl Token {
    /// The token itself: three parts of base64url.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// When it expires.
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// How long it lives from the moment it was issued: `expires_in` of a token response (RFC 6749 section 5.1).
    pub const fn lifetime(&self) -> Duration {
        self.lifetime
    }
}

impl Issuer {
    /// An issuer of this name, for one audience. Tokens live for five minutes.
    pub fn new(issuer: &str, audience: &str, keys: SigningKeys) -> Result<Self, SettingsError> {
        check_names(issuer, audience)?;
        Ok(Self { keys, issuer: issuer.to_owned(), audience: audience.to_owned(), lifetime: LIFETIME })
    }

    /// The same with another lifetime: from one second to an hour. Tell it to every verifier, and to the driver that announces
    /// endings: they remember what has ended for as long as a token of it may live.
    pub fn with_lifetime(self, lifetime: Duration) -> Result<Self, SettingsError> {
        check_lifetime(lifetime)?;
        Ok(Self { lifetime, ..self })
    }

    /// How long a token lives, unless its session ends earlier.
    pub const fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// The keys.
    pub const fn keys(&self) -> &SigningKeys {
        &self.keys
    }

    /// A token for the login that an exchange was opened with. It states what was on record when the exchange was opened, and is
    /// dated so: what ended the session since ends the token as well.
    // spec: TOKEN-1 6e31, TOKEN-2 9702, TOKEN-3 c1a8
    pub fn issue<R: TryCryptoRng + ?Sized>(&self, session: &Session, rng: &mut R) -> Result<Token, NotIssued> {
        let login = session.on_record()?;
        let mut number = [0; 16];
        rng.try_fill_bytes(&mut number).map_err(|_| NotIssued::NoRandomness)?;
        let issued_at = seconds(login.opened_at);
        let expires_at = seconds(self.expiry(&login));
        if expires_at <= issued_at {
            return Err(NotIssued::EndsNow);
        }
        let claims = self.claims(&login, issued_at, expires_at, &number);
        let mut text = self.keys.head();
        text.push_str(&base64url::encode(claims.as_bytes()));
        self.keys.sign(&mut text);
        if text.len() > LONGEST_TOKEN {
            return Err(NotIssued::TooLarge { bytes: text.len() });
        }
        let lifetime = Duration::from_secs(expires_at.saturating_sub(issued_at));
        Ok(Token { text, expires_at: Timestamp::from_unix_ms(expires_at.saturating_mul(1000)), lifetime })
    }

    // spec: TOKEN-2 9702
    fn expiry(&self, login: &OnRecord<'_>) -> Timestamp {
        let full = login.opened_at.plus(self.lifetime);
        if planted!(TokenOutlivesSession) { full } else { full.min(login.ends_at) }
    }

    fn claims(&self, login: &OnRecord<'_>, issued_at: u64, expires_at: u64, number: &[u8]) -> String {
        let OnRecord { handle, principal, .. } = login;
        let mut json = String::with_capacity(384);
        let mut text = |name: &str, value: &str| {
            json.push(if json.is_empty() { '{' } else { ',' });
            write_text(&mut json, name);
            json.push(':');
            write_text(&mut json, value);
        };
        text("iss", &self.issuer);
        text("aud", &self.audience);
        text("sub", principal.name());
        text("sid", &handle.to_string());
        text("jti", &base64url::encode(number));
        let level = u64::from(principal.level());
        let numbers = [("iat", issued_at), ("nbf", issued_at), ("exp", expires_at), ("level", level)];
        for (name, number) in numbers {
            json.extend([",\"", name, "\":", &number.to_string()]);
        }
        json.push_str(",\"roles\":[");
        for (at, role) in principal.roles().enumerate() {
            if at > 0 {
                json.push(',');
            }
            write_text(&mut json, role);
        }
        json.push_str("]}");
        json
    }
}

/// Whole seconds since the epoch, as tokens count: rounded down, so that no token is younger than it says or lives longer.
fn seconds(time: Timestamp) -> u64 {
    time.as_unix_ms().checked_div(1000).unwrap_or_default()
}

pub(crate) fn check_names(issuer: &str, audience: &str) -> Result<(), SettingsError> {
    let fits = |name: &str| !name.is_empty() && name.len() <= LONGEST_NAME;
    if fits(issuer) && fits(audience) { Ok(()) } else { Err(SettingsError::Name) }
}

pub(crate) fn check_lifetime(lifetime: Duration) -> Result<(), SettingsError> {
    let fits = (Duration::from_secs(1)..=LONGEST_LIFETIME).contains(&lifetime);
    if fits { Ok(()) } else { Err(SettingsError::Lifetime) }
}
