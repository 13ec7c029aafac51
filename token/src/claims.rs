//! What a token states, once its signature has been found right.

use coatroom_core::{Handle, Timestamp};

use crate::error::Refusal;
use crate::json::{Json, Member};

/// Seconds in a date have twelve digits at most: more than any [`Timestamp`] has.
const DATE_DIGITS: usize = 12;

/// What a valid token says of a login.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Claims {
    /// Who is logged in (`sub`).
    pub principal: String,
    /// The session (`sid`).
    pub handle: Handle,
    /// Roles, as they were when the token was issued.
    pub roles: Vec<String>,
    /// Level of authentication, as the application counts it.
    pub level: u8,
    /// When the token was issued (`iat`).
    pub issued_at: Timestamp,
    /// When it expires (`exp`).
    pub expires_at: Timestamp,
    /// The token's own name (`jti`).
    pub token_id: String,
    /// Whether the verifier knew what has ended when it judged the token.
    pub heard: Heard,
}

/// What a verifier knew of ended sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// It does not ask: the token counts until it expires, whatever becomes of its session.
    Never,
    /// It knew all endings up to the bound.
    InTime,
    /// It had not reached the feed for longer than the bound, and its policy accepts that.
    TooLongAgo,
}

impl Claims {
    /// Whether the principal has this role.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|held| held == role)
    }
}

/// The claims of a token and the two that are compared and forgotten.
pub(crate) struct Stated {
    pub(crate) claims: Claims,
    pub(crate) not_before: Timestamp,
    pub(crate) is_from_issuer: bool,
    pub(crate) is_for_audience: bool,
}

// spec: TOKEN-10 2a12
pub(crate) fn read(members: Vec<Member<'_>>, issuer: &str, audience: &str) -> Result<Stated, Refusal> {
    let mut of: [Option<Json<'_>>; NAMES.len()] = Default::default();
    for (name, value) in members {
        let place = NAMES.iter().position(|known| *known == name).and_then(|at| of.get_mut(at));
        // Other claims are other people's, and no reason to refuse (RFC 7519 section 4).
        if let Some(place) = place {
            *place = Some(value);
        }
    }
    let [iss, aud, sub, sid, jti, iat, nbf, exp, level, roles] = of;
    let claims = Claims {
        principal: text(sub).ok_or(Refusal::Claim("sub"))?,
        handle: text(sid).and_then(|text| Handle::parse(&text)).ok_or(Refusal::Claim("sid"))?,
        roles: texts(roles).ok_or(Refusal::Claim("roles"))?,
        level: number(level.as_ref()).and_then(|level| level.parse().ok()).ok_or(Refusal::Claim("level"))?,
        issued_at: date(iat.as_ref(), false).ok_or(Refusal::Claim("iat"))?,
        expires_at: date(exp.as_ref(), false).ok_or(Refusal::Claim("exp"))?,
        token_id: text(jti).ok_or(Refusal::Claim("jti"))?,
        heard: Heard::Never,
    };
    Ok(Stated {
        claims,
        not_before: date(nbf.as_ref(), true).ok_or(Refusal::Claim("nbf"))?,
        is_from_issuer: is_text(iss.as_ref().ok_or(Refusal::Claim("iss"))?, issuer).ok_or(Refusal::Claim("iss"))?,
        is_for_audience: is_among(aud.as_ref(), audience).ok_or(Refusal::Claim("aud"))?,
    })
}

const NAMES: [&str; 10] = ["iss", "aud", "sub", "sid", "jti", "iat", "nbf", "exp", "level", "roles"];

fn text(value: Option<Json<'_>>) -> Option<String> {
    match value {
        Some(Json::Text(text)) if !text.is_empty() => Some(text.into_owned()),
        _ => None,
    }
}

fn texts(value: Option<Json<'_>>) -> Option<Vec<String>> {
    let Some(Json::List(list)) = value else { return None };
    list.into_iter().map(|value| text(Some(value))).collect()
}

fn is_text(value: &Json<'_>, expected: &str) -> Option<bool> {
    match value {
        Json::Text(text) => Some(text == expected),
        _ => None,
    }
}

/// An audience is one text or a list of them.
fn is_among(value: Option<&Json<'_>>, expected: &str) -> Option<bool> {
    match value? {
        Json::List(list) => list.iter().try_fold(false, |found, value| Some(found | is_text(value, expected)?)),
        one => is_text(one, expected),
    }
}

fn number<'j>(value: Option<&'j Json<'_>>) -> Option<&'j str> {
    match value {
        Some(Json::Number(number)) => Some(number),
        _ => None,
    }
}

/// A date in seconds, perhaps with a fraction, to the millisecond below or above. No sign, no exponent.
fn date(value: Option<&Json<'_>>, up: bool) -> Option<Timestamp> {
    let number = number(value)?;
    let (seconds, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.len() > DATE_DIGITS || !digits(seconds) || !digits(fraction) {
        return None;
    }
    let mut ms: u64 = seconds.parse().ok()?;
    let mut rest = fraction.bytes().map(|digit| u64::from(digit.wrapping_sub(b'0')));
    for _ in 0..3 {
        ms = ms.saturating_mul(10).saturating_add(rest.next().unwrap_or_default());
    }
    let more = rest.any(|digit| digit > 0);
    Some(Timestamp::from_unix_ms(ms.saturating_add(u64::from(up && more))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    // spec: TOKEN-10 2a12
    fn a_date_is_a_plain_number_of_seconds() {
        let read = |number, up| date(Some(&Json::Number(number)), up).map(Timestamp::as_unix_ms);
        for (number, below, above) in [
            ("0", 0, 0),
            ("1767225600", 1_767_225_600_000, 1_767_225_600_000),
            ("1767225600.5", 1_767_225_600_500, 1_767_225_600_500),
            ("1767225600.12345", 1_767_225_600_123, 1_767_225_600_124),
            ("1767225600.9999", 1_767_225_600_999, 1_767_225_601_000),
        ] {
            assert_eq!((read(number, false), read(number, true)), (Some(below), Some(above)), "{number}");
        }
        for refused in ["-1", "1e9", "1767225600000000", "1.5e3"] {
            assert_eq!(read(refused, false), None, "{refused}");
        }
        assert_eq!(date(Some(&Json::Text("1767225600".into())), false), None);
    }
}
