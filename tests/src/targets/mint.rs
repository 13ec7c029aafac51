//! A second maker and reader of session ids, from the documented form: handle (12), generation (4), key number (2),
//! secret (32), tag (16), in base64url.

use std::sync::{Arc, LazyLock};

use coatroom_core::{Handle, KeyRing, Policy, Rules, Settings, Timestamp};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::world::START;

/// Plainly test keys: the one that signs, and an older one.
pub const RING: &str = "1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE,\
                        513:YW4gb2xkZXIgdGVzdCBrZXksIG5vIHNlY3JldCBlaXRoZXI";

pub const MATERIAL: [(u16, &[u8]); 2] =
    [(1, b"obviously a test key, not a secret!"), (513, b"an older test key, no secret either")];

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static VALUES: LazyLock<[Option<u8>; 256]> = LazyLock::new(|| {
    let mut values = [None; 256];
    ALPHABET.iter().zip(0..).for_each(|(&character, value)| values[usize::from(character)] = Some(value));
    values
});

static KEYS: LazyLock<[(u16, Hmac<Sha256>); 2]> = LazyLock::new(|| MATERIAL.map(|(number, key)| (number, tagger(key))));

/// What an id says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    pub handle: [u8; 12],
    pub generation: u32,
    pub key: u16,
    pub secret: [u8; 32],
}

/// The subkey for tags (RFC 5869, without salt).
pub fn tagger(material: &[u8]) -> Hmac<Sha256> {
    let mut subkey = [0; 64];
    hkdf::Hkdf::<Sha256>::new(None, material).expand(b"coatroom/1 session id tag", &mut subkey).unwrap();
    Hmac::new((&subkey).into())
}

impl Claim {
    pub fn signed(&self) -> [u8; 50] {
        let mut bytes = [0; 50];
        bytes[..12].copy_from_slice(&self.handle);
        bytes[12..16].copy_from_slice(&self.generation.to_be_bytes());
        bytes[16..18].copy_from_slice(&self.key.to_be_bytes());
        bytes[18..].copy_from_slice(&self.secret);
        bytes
    }

    /// The id, if the ring has its key.
    pub fn text(&self) -> Option<String> {
        let key = &KEYS.iter().find(|(number, _)| *number == self.key)?.1;
        Some(with_tag(&self.signed(), key))
    }

    /// What a text claims, if the ring vouches for it.
    pub fn read(text: &[u8]) -> Option<Self> {
        let bytes = if text.len() == 88 { unbase64(text)? } else { return None };
        let claim = Self {
            handle: bytes[..12].try_into().unwrap(),
            generation: u32::from_be_bytes(bytes[12..16].try_into().unwrap()),
            key: u16::from_be_bytes(bytes[16..18].try_into().unwrap()),
            secret: bytes[18..50].try_into().unwrap(),
        };
        let key = &KEYS.iter().find(|(number, _)| *number == claim.key)?.1;
        (tag(&bytes[..50], key) == bytes[50..]).then_some(claim)
    }

    pub fn name(&self) -> Handle {
        Handle::from_bytes(self.handle)
    }

    pub fn digest(&self) -> [u8; 32] {
        digest(&self.secret)
    }
}

pub fn digest(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

fn tag(signed: &[u8], key: &Hmac<Sha256>) -> [u8; 16] {
    let full: [u8; 32] = key.clone().chain_update(signed).finalize().into_bytes().into();
    full[..16].try_into().unwrap()
}

pub fn with_tag(signed: &[u8; 50], key: &Hmac<Sha256>) -> String {
    base64(&[&signed[..], &tag(signed, key)].concat())
}

pub fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = (0..3).fold(0, |group, at| group << 8 | usize::from(chunk.get(at).copied().unwrap_or(0)));
        (0..=chunk.len()).for_each(|at| text.push(char::from(ALPHABET[group >> (18 - 6 * at) & 63])));
    }
    text
}

/// The only text of these bytes, or nothing.
pub fn unbase64(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for group in text.chunks(4) {
        let mut value = 0_u32;
        for at in 0..4 {
            value = value << 6 | u32::from(group.get(at).map_or(Some(0), |&c| VALUES[usize::from(c)])?);
        }
        let [_, all @ ..] = value.to_be_bytes();
        let (kept, slack) = all.split_at(group.len() - 1);
        if group.len() == 1 || slack.iter().any(|&byte| byte != 0) {
            return None;
        }
        bytes.extend_from_slice(kept);
    }
    Some(bytes)
}

/// Rules under the ring, with other settings where `change` wants them.
pub fn rules(change: impl FnOnce(&mut Settings)) -> Arc<Rules> {
    let mut settings = crate::scenarios::settings();
    change(&mut settings);
    Rules::new(Policy::try_from(settings).unwrap(), KeyRing::parse(RING).unwrap())
}

/// So many milliseconds after the start of everything.
pub fn at(after: u64) -> Timestamp {
    Timestamp::from_unix_ms(START + after)
}
