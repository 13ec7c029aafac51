//! Tokens against forged requests: an HMAC under a key of the ring, made anew whenever asked for, and never stored.
//!
//! A token is 66 bytes: the number of the key (2, big-endian), a random mask (32), and the HMAC-SHA-256 of what it is bound to,
//! under the mask. So no two pages hold the same bytes, and compressing a page beside an attacker's text tells nothing.

use coatroom_core::{Change, Session};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The subkeys of a ring for this use, by number. The first makes tokens, every one knows its own again.
#[derive(Default)]
pub(crate) struct CsrfKeys(Vec<(u16, Hmac<Sha256>)>);

const TOKEN_BYTES: usize = 66;

impl CsrfKeys {
    /// From the text of a ring, whose form [`coatroom_core::KeyRing`] judges.
    pub(crate) fn parse(ring: &str) -> Self {
        let entries = ring.split([',', '\n']).map(str::trim);
        Self(entries.filter_map(subkey).collect())
    }

    // spec: CSRF-1 2d9f
    pub(crate) fn token(&self, bound: &[u8], mask: [u8; 32]) -> [u8; TOKEN_BYTES] {
        let mut token = [0; TOKEN_BYTES];
        if let Some((number, key)) = self.0.first() {
            let masked = xor(mask, mac(key, bound));
            let bytes = number.to_be_bytes().into_iter().chain(mask).chain(masked);
            token.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
        }
        token
    }

    pub(crate) fn checks(&self, bound: &[u8], token: &[u8]) -> bool {
        let Some((number, rest)) = token.split_first_chunk() else { return false };
        let Some((mask, rest)) = rest.split_first_chunk() else { return false };
        let Ok(masked) = rest.try_into() else { return false };
        let number = u16::from_be_bytes(*number);
        let key = self.0.iter().find(|(known, _)| *known == number);
        key.is_some_and(|(_, key)| bool::from(xor(*mask, masked).ct_eq(&mac(key, bound))))
    }
}

/// What the token of this exchange is bound to. A login: its session and the moment of the last change of privilege, which no
/// rotation moves. A visitor: the value in a cookie of its own. Nothing while a login or an elevation is still to be written:
/// neither its session nor its moment is known yet.
// spec: CSRF-1 2d9f, CSRF-2 c5a7
pub(crate) fn bound(session: &mut Session, visitor: &[u8]) -> Option<Vec<u8>> {
    let Some(principal) = session.principal() else {
        return Some([b"visitor|", visitor].concat());
    };
    let (level, since) = (principal.level(), principal.authenticated_at().as_unix_ms());
    let is_pending = session.trace().written.iter().any(|change| matches!(change, Change::LoggedIn | Change::Elevated));
    let handle = session.handle().filter(|_| !is_pending)?;
    Some([b"login|", &handle.as_bytes()[..], &since.to_be_bytes(), &[level]].concat())
}

fn mac(key: &Hmac<Sha256>, bound: &[u8]) -> [u8; 32] {
    key.clone().chain_update(bound).finalize().into_bytes().into()
}

fn xor(a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
    let mut out = a;
    out.iter_mut().zip(b).for_each(|(a, b)| *a ^= b);
    out
}

// spec: KEY-4 af29
fn subkey(text: &str) -> Option<(u16, Hmac<Sha256>)> {
    let (number, material) = entry(text)?;
    let mut subkey = Zeroizing::new([0; 64]);
    Hkdf::<Sha256>::new(None, &material).expand(b"coatroom/1 csrf token", &mut *subkey).ok()?;
    Some((number, Hmac::new((&*subkey).into())))
}

/// Number and material of an entry of a ring.
pub(crate) fn entry(text: &str) -> Option<(u16, Zeroizing<Vec<u8>>)> {
    let (number, key) = text.split_once(':')?;
    Some((number.parse().ok()?, Zeroizing::new(decode(key)?)))
}

/// The bytes of base64url without padding; what is not canonical, the ring has refused.
fn decode(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut have) = (Vec::with_capacity(text.len()), 0_u32, 0_u32);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte.checked_sub(b'A'),
            b'a'..=b'z' => byte.checked_sub(b'a' - 26),
            b'0'..=b'9' => byte.checked_add(52 - b'0'),
            b'-' => Some(62),
            b'_' => Some(63),
            _ => None,
        }?;
        bits = (bits << 6) | u32::from(value);
        have = have.checked_add(6)?;
        if have >= 8 {
            have = have.checked_sub(8)?;
            bytes.push(u8::try_from((bits >> have) & 0xff).ok()?);
        }
    }
    Some(bytes)
}
