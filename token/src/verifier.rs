//! Whether a token counts. Everything that is expected of it comes from the verifier, nothing from the token.

use core::time::Duration;
use std::sync::Arc;

use coatroom_core::{Timestamp, base64url};

use crate::claims::{self, Claims, Heard, Stated};
use crate::error::{Form, Refusal, SettingsError};
use crate::issuer::{LIFETIME, LONGEST_TOKEN, check_lifetime, check_names};
use crate::json::{self, Json};
use crate::keys::{TYPE, Verifying, VerifyingKeys};
use crate::revocations::Revocations;

/// How far the clocks of issuer and verifier may differ, unless the settings say otherwise.
const LEEWAY: Duration = Duration::from_secs(5);
/// No verifier allows clocks to differ by more.
pub const LONGEST_LEEWAY: Duration = Duration::from_mins(1);
/// Header members that name a key or a place to get one (RFC 7515 sections 4.1.2 to 4.1.8).
const KEYS_IN_HEADERS: [&str; 6] = ["jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256"];

/// Judges tokens of one issuer for one audience, under one algorithm.
#[derive(Clone, Debug)]
pub struct Verifier {
    keys: VerifyingKeys,
    issuer: String,
    audience: String,
    lifetime: Duration,
    leeway: Duration,
    revocations: Option<Bound>,
}

/// What a verifier does about endings.
#[derive(Clone, Debug)]
struct Bound {
    revocations: Arc<Revocations>,
    within: Duration,
    late: Late,
}

/// What becomes of tokens while the feed of endings is out of reach for longer than the bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Late {
    /// They are refused as [`Refusal::Stale`].
    Refuse,
    /// They count, and [`Claims::heard`] says so.
    Accept,
}

impl Verifier {
    /// A verifier of tokens that this issuer made for this audience. It does not ask what has ended; see
    /// [`Verifier::with_revocations`].
    pub fn new(issuer: &str, audience: &str, keys: VerifyingKeys) -> Result<Self, SettingsError> {
        check_names(issuer, audience)?;
        let (issuer, audience) = (issuer.to_owned(), audience.to_owned());
        Ok(Self { keys, issuer, audience, lifetime: LIFETIME, leeway: LEEWAY, revocations: None })
    }

    /// The same for tokens that live longer or shorter than five minutes: the lifetime of the issuer. Others are refused.
    pub fn with_lifetime(self, lifetime: Duration) -> Result<Self, SettingsError> {
        check_lifetime(lifetime)?;
        Ok(Self { lifetime, ..self })
    }

    /// The same where clocks differ by more or less than five seconds; one minute at most.
    pub fn with_leeway(self, leeway: Duration) -> Result<Self, SettingsError> {
        if leeway > LONGEST_LEEWAY { Err(SettingsError::Leeway) } else { Ok(Self { leeway, ..self }) }
    }

    /// The same with other keys, such as a key set that was fetched again.
    #[must_use]
    pub fn with_keys(&self, keys: VerifyingKeys) -> Self {
        Self { keys, ..self.clone() }
    }

    /// The same, refusing tokens of ended sessions: of all that ended up to `within` ago, at the latest. When the feed was
    /// out of reach for longer than that, `late` decides.
    #[must_use]
    pub fn with_revocations(self, revocations: Arc<Revocations>, within: Duration, late: Late) -> Self {
        Self { revocations: Some(Bound { revocations, within, late }), ..self }
    }

    /// The lifetime of the tokens it accepts.
    pub const fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// What it allows clocks to differ.
    pub const fn leeway(&self) -> Duration {
        self.leeway
    }

    /// What a token states, if it counts at `now`. Total: no text makes it panic, and none longer than 4,096 bytes is looked at.
    // spec: TOKEN-4 0830, TOKEN-6 8261, TOKEN-7 8b63
    pub fn verify(&self, token: &[u8], now: Timestamp) -> Result<Claims, Refusal> {
        if token.len() > LONGEST_TOKEN && !planted!(LongTokensRead) {
            return Err(Form::TooLong.into());
        }
        let [head, payload, signature, signed] = parts(token).ok_or(Form::Malformed)?;
        let key = self.key(head)?;
        let payload = base64url::decode(payload).ok_or(Form::Malformed)?;
        let members = json::object(&payload)?;
        let signature = base64url::decode(signature).ok_or(Form::Malformed)?;
        if !key.verifies(signed, &signature) {
            return Err(Refusal::Signature);
        }
        let stated = claims::read(members, &self.issuer, &self.audience)?;
        self.judge(stated, now)
    }

    /// The key that a head names, if the head asks for nothing that this verifier does not do.
    // spec: TOKEN-6 8261, TOKEN-7 8b63
    fn key(&self, head: &[u8]) -> Result<&Verifying, Refusal> {
        // A head that one of our keys would write says what it would say if it were read.
        if let Some(key) = self.keys.of_head(head) {
            return Ok(key);
        }
        let head = base64url::decode(head).ok_or(Form::Malformed)?;
        let (mut algorithm, mut kind, mut name) = (None, None, None);
        for (member, value) in json::object(&head)? {
            let place = match &*member {
                "alg" => &mut algorithm,
                "typ" => &mut kind,
                "kid" => &mut name,
                pointer if KEYS_IN_HEADERS.contains(&pointer) => return Err(Refusal::KeyInHeader),
                _ if planted!(HeaderMembersIgnored) => continue,
                _ => return Err(Refusal::HeaderMember),
            };
            let Json::Text(text) = value else { return Err(Form::Malformed.into()) };
            *place = Some(text);
        }
        if algorithm.as_deref() != Some(self.keys.algorithm().name()) && !planted!(AlgorithmFromToken) {
            return Err(Refusal::Algorithm);
        }
        let is_ours = kind.as_deref().map(|kind| kind.strip_prefix("application/").unwrap_or(kind)) == Some(TYPE);
        if !is_ours && !planted!(TypeUnchecked) {
            return Err(Refusal::Type);
        }
        name.and_then(|name| self.keys.get(&name)).ok_or(Refusal::UnknownKey)
    }

    // spec: TOKEN-11 f067, TOKEN-12 c154
    fn judge(&self, stated: Stated, now: Timestamp) -> Result<Claims, Refusal> {
        let Stated { mut claims, not_before, is_from_issuer, is_for_audience } = stated;
        if !is_from_issuer && !planted!(IssuerUnchecked) {
            return Err(Refusal::Issuer);
        }
        if !is_for_audience && !planted!(AudienceUnchecked) {
            return Err(Refusal::Audience);
        }
        if now >= claims.expires_at.plus(self.leeway) && !planted!(ExpiryUnchecked) {
            return Err(Refusal::Expired);
        }
        if not_before.max(claims.issued_at) > now.plus(self.leeway) && !planted!(EarlyTokensCount) {
            return Err(Refusal::NotYetValid);
        }
        // The feed forgets what ended a lifetime ago: no token may be older.
        if claims.expires_at > claims.issued_at.plus(self.lifetime) {
            return Err(Refusal::LivesTooLong);
        }
        if let Some(Bound { revocations, within, late }) = &self.revocations {
            // What is known counts, however old the knowledge is.
            if revocations.refuse(&claims) {
                return Err(Refusal::Revoked);
            }
            claims.heard = match (revocations.is_up_to_date(now, *within), late) {
                (true, _) => Heard::InTime,
                (false, Late::Accept) => Heard::TooLongAgo,
                (false, Late::Refuse) => return Err(Refusal::Stale),
            };
        }
        Ok(claims)
    }
}

/// Head, payload and signature of a token, and what the signature is of.
fn parts(token: &[u8]) -> Option<[&[u8]; 4]> {
    let mut stops = token.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at);
    let (first, second, None) = (stops.next()?, stops.next()?, stops.next()) else { return None };
    let (signed, signature) = (token.get(..second)?, token.get(second.checked_add(1)?..)?);
    let (head, payload) = (signed.get(..first)?, signed.get(first.checked_add(1)?..)?);
    Some([head, payload, signature, signed])
}
