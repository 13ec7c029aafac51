//! The key ring: which keys there are, which one signs, and how each use gets a key of its own.

use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU16;

use chacha20poly1305::XChaCha20Poly1305;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::base64url;
use crate::bugs::{Bug, planted};

/// Bytes of the tag that proves an id to be ours.
pub(crate) const TAG_BYTES: usize = 16;

/// The least size of a key in bytes, and so the security of every tag (NIST SP 800-107 section 5.3.4).
const KEY_BYTES: usize = 32;

/// The keys of a deployment, chosen by number and never by trial. The first one signs; all of them verify.
///
/// Text form (`COATROOM_KEYS`): a comma-separated list of `number:base64url`, number 1 to 65535, at least 32 bytes each;
/// a file has one entry per line. Put a new key first only once every node has it, and keep an old one for the longest
/// absolute limit after it stopped signing. Rotating keys logs nobody out.
///
/// A leaked key opens no session in a store, for the secret of each session is missing from it, but lets its holder end
/// sessions; where sessions live in their cookies, it opens and makes any. Withdraw it. The ring prints nothing, and is wiped when dropped.
pub struct KeyRing {
    keys: Vec<Key>,
}

struct Key {
    number: NonZeroU16,
    tag: Hmac<Sha256>,
    seal: XChaCha20Poly1305,
    coat: XChaCha20Poly1305,
}

/// Why a text is not a key ring. Names the position of the entry (from 1) and never its content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum KeyError {
    /// There is no entry at all.
    Empty,
    /// The entry is not of the form `number:base64url` with a number from 1 to 65535.
    Malformed {
        /// Position of the entry, from 1.
        position: usize,
    },
    /// The key is shorter than 32 bytes.
    Short {
        /// Position of the entry, from 1.
        position: usize,
    },
    /// The number occurs before.
    Duplicate {
        /// Position of the entry, from 1.
        position: usize,
    },
}

impl fmt::Display for KeyError {
    // spec: KEY-2 b383
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no key given: set COATROOM_KEYS to `number:base64url` with 32 random bytes"),
            Self::Malformed { position } => {
                write!(f, "key {position} is malformed: write it as `number:base64url`, number 1 to 65535, no padding")
            }
            Self::Short { position } => write!(f, "key {position} is too short: give at least 32 random bytes"),
            Self::Duplicate { position } => write!(f, "key {position} repeats an earlier number: give each its own"),
        }
    }
}

impl core::error::Error for KeyError {}

impl KeyRing {
    /// Reads a ring from its text: entries parted by commas or line ends, blanks around them ignored.
    // spec: KEY-1 d259, KEY-2 b383
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut ring = Self { keys: Vec::new() };
        let entries = text.split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
        for (position, entry) in (1..).zip(entries) {
            let key = Key::parse(entry, position)?;
            if ring.get(key.number.get()).is_some() {
                return Err(KeyError::Duplicate { position });
            }
            ring.keys.push(key);
        }
        if ring.keys.is_empty() { Err(KeyError::Empty) } else { Ok(ring) }
    }

    /// Number of the key that signs, and its tag of `bytes`.
    // spec: KEY-3 e373
    pub(crate) fn signer(&self) -> Option<(u16, &Hmac<Sha256>)> {
        self.keys.first().map(|key| (key.number.get(), &key.tag))
    }

    /// Whether `tag` is the tag of `bytes` under the key `number`, compared in constant time.
    // spec: KEY-3 e373, KEY-5 59c3
    pub(crate) fn verifies(&self, number: u16, bytes: &[u8], tag: &[u8; TAG_BYTES]) -> bool {
        self.get(number).is_some_and(|key| is_same(&cut_tag(&key.tag, bytes), tag))
    }

    /// Number of the key that seals, and the key.
    // spec: SEAL-3 7efc
    pub(crate) fn sealer(&self) -> Option<(u16, &XChaCha20Poly1305)> {
        let key = if planted(Bug::LastKeySeals) { self.keys.last() } else { self.keys.first() };
        key.map(|key| (key.number.get(), &key.seal))
    }

    /// The key that opens what the one of this number sealed.
    // spec: SEAL-4 9c31
    pub(crate) fn opener(&self, number: u16) -> Option<&XChaCha20Poly1305> {
        self.get(number).map(|key| &key.seal)
    }

    /// Number of the key that seals whole records for cookies, and the key.
    // spec: COAT-2 25a7
    pub(crate) fn coat_sealer(&self) -> Option<(u16, &XChaCha20Poly1305)> {
        self.keys.first().map(|key| (key.number.get(), &key.coat))
    }

    /// The key that opens what the one of this number sealed for a cookie.
    // spec: COAT-2 25a7
    pub(crate) fn coat_opener(&self, number: u16) -> Option<&XChaCha20Poly1305> {
        self.get(number).map(|key| &key.coat)
    }

    fn get(&self, number: u16) -> Option<&Key> {
        self.keys.iter().find(|key| key.number.get() == number)
    }
}

impl fmt::Debug for KeyRing {
    // spec: SEC-1 89db
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| key.number)).finish()
    }
}

impl Key {
    // spec: KEY-1 d259, KEY-2 b383, KEY-4 af29, COAT-2 25a7
    fn parse(entry: &str, position: usize) -> Result<Self, KeyError> {
        let malformed = KeyError::Malformed { position };
        let (number, key) = entry.split_once(':').ok_or(malformed)?;
        let digits_only = number.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits_only { number.parse().ok() } else { None }.ok_or(malformed)?;
        let material = Zeroizing::new(base64url::decode(key.as_bytes()).ok_or(malformed)?);
        if material.len() < KEY_BYTES {
            return Err(KeyError::Short { position });
        }
        let material = Hkdf::<Sha256>::new(None, &material);
        let tag = subkey::<64>(&material, b"coatroom/1 session id tag").ok_or(malformed)?;
        let seal = subkey::<32>(&material, b"coatroom/1 record seal").ok_or(malformed)?;
        let coat = subkey::<32>(&material, b"coatroom/1 sealed cookie").ok_or(malformed)?;
        let cipher = |key: &[u8; 32]| XChaCha20Poly1305::new(key.into());
        Ok(Self { number, tag: Hmac::new((&*tag).into()), seal: cipher(&seal), coat: cipher(&coat) })
    }
}

/// Each use of a key has its own subkey (RFC 5869), so that nothing made for one use means anything to another.
// spec: KEY-4 af29
fn subkey<const N: usize>(material: &Hkdf<Sha256>, label: &[u8]) -> Option<Zeroizing<[u8; N]>> {
    let mut subkey = Zeroizing::new([0; N]);
    material.expand(label, &mut *subkey).ok().map(|()| subkey)
}

/// HMAC-SHA-256 of `bytes`, cut to 16 bytes (RFC 2104 section 5 allows half).
// spec: ID-2 5b7c
pub(crate) fn cut_tag(key: &Hmac<Sha256>, bytes: &[u8]) -> [u8; TAG_BYTES] {
    let full: [u8; 32] = key.clone().chain_update(bytes).finalize().into_bytes().into();
    let [tag, _] = full.as_chunks().0 else { return [0; TAG_BYTES] };
    *tag
}

/// Equality in constant time, a word at a time; `N` is a multiple of 8.
// spec: ID-6 0632
pub(crate) fn is_same<const N: usize>(a: &[u8; N], b: &[u8; N]) -> bool {
    const { assert!(N.is_multiple_of(8), "compares whole words") };
    if planted(Bug::EarlyExitCompare) {
        return a.iter().zip(b).all(|(a, b)| a == b);
    }
    let words = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
    let same = words.fold(Choice::from(1), |same, (a, b)| same & u64::from_ne_bytes(*a).ct_eq(&u64::from_ne_bytes(*b)));
    bool::from(same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;

    fn entry(number: u32, bytes: usize) -> String {
        format!("{number}:{}", base64url::encode(&alloc::vec![7; bytes]))
    }

    #[test]
    // spec: KEY-1 d259, KEY-2 b383
    fn a_ring_refuses_what_is_empty_malformed_short_or_doubled_and_names_the_position_only() {
        let good = entry(1, 32);
        let refusals = [
            (String::new(), KeyError::Empty),
            (String::from(" , \n"), KeyError::Empty),
            (format!("{good},nonsense"), KeyError::Malformed { position: 2 }),
            (format!("{good},{}", entry(0, 32)), KeyError::Malformed { position: 2 }),
            (format!("{good},{}", entry(65536, 32)), KeyError::Malformed { position: 2 }),
            (format!("+{good}"), KeyError::Malformed { position: 1 }),
            (format!("{good}="), KeyError::Malformed { position: 1 }),
            (format!("{good}\n{}", entry(2, 31)), KeyError::Short { position: 2 }),
            (format!("{good},{}", entry(1, 40)), KeyError::Duplicate { position: 2 }),
        ];
        for (text, error) in refusals {
            assert_eq!(KeyRing::parse(&text).err(), Some(error), "{text}");
        }
        assert!(KeyRing::parse(&format!(" {good} ,\r\n{}\n", entry(65535, 64))).is_ok());
    }

    #[test]
    // spec: ID-6 0632
    fn every_bit_counts_in_a_comparison() {
        let bytes = [0x5a_u8; 32];
        assert!(is_same(&bytes, &bytes.clone()));
        for bit in 0..256 {
            let mut other = bytes;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_same(&bytes, &other));
        }
    }

    #[test]
    // spec: SEC-1 89db
    fn a_ring_prints_numbers_only() {
        let ring = KeyRing::parse(&entry(7, 32)).unwrap();
        assert_eq!(format!("{ring:?}"), "[7]");
    }

    #[test]
    // spec: KEY-3 e373, ID-2 5b7c, ID-6 0632
    fn a_tag_counts_only_under_its_own_key() {
        let ring =
            KeyRing::parse(&format!("1:{},2:{}", base64url::encode(&[1; 32]), base64url::encode(&[2; 32]))).unwrap();
        let (number, key) = ring.signer().unwrap();
        let tag = cut_tag(key, b"bytes");
        assert_eq!(number, 1);
        assert!(ring.verifies(1, b"bytes", &tag));
        assert!(!ring.verifies(2, b"bytes", &tag));
        assert!(!ring.verifies(3, b"bytes", &tag));
        assert!(!ring.verifies(1, b"bytes!", &tag));
    }
}
