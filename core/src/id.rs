//! What the client holds, and what the store may know of it.

use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::base64url;
use crate::bugs::{Bug, planted};
use crate::keys::{KeyRing, TAG_BYTES, cut_tag, is_same};
use crate::seal::NONCE_BYTES;

/// Characters of a session id.
pub const ID_CHARS: usize = 88;
const ID_BYTES: usize = 66;
const SIGNED_BYTES: usize = ID_BYTES - TAG_BYTES;

/// The public name of a session: store key, entry of a device list, field of a log line. Never a credential.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle([u8; 12]);

impl Handle {
    /// A handle from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 12]) -> Self {
        Self(bytes)
    }

    /// A handle from its 16 characters.
    #[must_use]
    // spec: ID-7 ac74
    pub fn parse(text: &str) -> Option<Self> {
        base64url::decode_exact::<16, 12>(text.as_bytes()).map(Self)
    }

    /// The bytes under which a store keeps the record.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 12] {
        &self.0
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(&self.0))
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// 32 random bytes that only the client keeps. Wiped on drop; cannot be printed, compared or copied.
pub(crate) struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    // spec: ID-9 f689
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    // spec: ID-5 2023, CLAIM-10 1b5f
    pub(crate) fn digest(&self) -> Digest {
        if planted(Bug::SecretStored) {
            return Digest(*self.0);
        }
        Digest(Sha256::digest(*self.0).into())
    }

    /// The secret that follows this one in a rotation: whoever holds this secret *and* the record can derive it, so
    /// parallel exchanges agree on it, and neither alone is enough.
    // spec: ROT-3 0963
    pub(crate) fn successor(&self, nonce: &Nonce) -> Self {
        Self::from_bytes(*derive(&self.0, b"rotate", &nonce.0))
    }
}

/// SHA-256 of a secret: all that the store knows of it. Compared in constant time.
#[derive(Clone, Copy)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    // spec: ID-5 2023
    pub(crate) fn matches(&self, secret: &Secret) -> bool {
        is_same(&self.0, &secret.digest().0) || planted(Bug::DigestUnchecked)
    }
}

/// What a record keeps between a rotation and its confirmation.
#[derive(Clone, Copy)]
pub(crate) struct Nonce(pub(crate) [u8; 16]);

/// An id that one of our keys vouches for. It says nothing yet about the session: only a record does.
pub(crate) struct SessionId {
    pub(crate) handle: Handle,
    pub(crate) generation: u32,
    pub(crate) secret: Secret,
}

impl SessionId {
    /// Total: a text of another length or alphabet, with an unknown key or a wrong tag, is not an id.
    // spec: ID-1 bd5d, ID-2 5b7c, ID-3 a335, CLAIM-9 72e0
    pub(crate) fn parse(text: &[u8], keys: &KeyRing) -> Option<Self> {
        let bytes = Zeroizing::new(base64url::decode_exact::<ID_CHARS, ID_BYTES>(text)?);
        let (signed, tag) = bytes.split_first_chunk::<SIGNED_BYTES>()?;
        let (handle, rest) = signed.split_first_chunk::<12>()?;
        let (generation, rest) = rest.split_first_chunk::<4>()?;
        let (number, secret) = rest.split_first_chunk::<2>()?;
        let genuine = keys.verifies(u16::from_be_bytes(*number), signed, tag.first_chunk()?);
        if !genuine && !planted(Bug::TagUnchecked) {
            return None;
        }
        Some(Self {
            handle: Handle(*handle),
            generation: u32::from_be_bytes(*generation),
            secret: Secret::from_bytes(*secret.first_chunk()?),
        })
    }

    /// The text for the client, signed with the first key of the ring.
    // spec: ID-1 bd5d, ID-2 5b7c, KEY-3 e373, KEY-5 59c3
    pub(crate) fn text(&self, keys: &KeyRing) -> Zeroizing<String> {
        let Some((number, key)) = keys.signer() else { return Zeroizing::default() };
        let mut bytes = Zeroizing::new(Vec::with_capacity(ID_BYTES));
        bytes.extend_from_slice(&self.handle.0);
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes.extend_from_slice(&number.to_be_bytes());
        bytes.extend_from_slice(&*self.secret.0);
        let tag = cut_tag(key, &bytes);
        bytes.extend_from_slice(&tag);
        Zeroizing::new(base64url::encode(&bytes))
    }

    /// The id that follows this one in the rotation which left `nonce` in the record.
    // spec: ID-10 b2e2, ROT-3 0963
    pub(crate) fn successor(&self, nonce: &Nonce) -> Option<Self> {
        let generation = self.generation.checked_add(1)?;
        Some(Self { handle: self.handle, generation, secret: self.secret.successor(nonce) })
    }
}

/// Names one attempt at a write: a random number drawn by the exchange, counted on from attempt to attempt. So no two
/// attempts leave the same stamp, and an exchange knows all of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CommitId(pub(crate) [u8; 8]);

impl CommitId {
    /// The id of an attempt of the exchange that drew this one, by its number from 0.
    // spec: WRITE-10 a015
    pub(crate) fn of_attempt(self, number: u64) -> Self {
        let number = if planted(Bug::CommitIdReused) { 0 } else { number };
        Self(u64::from_be_bytes(self.0).wrapping_add(number).to_be_bytes())
    }

    /// Whether it is one of the first `attempts` of the exchange that drew `first`.
    // spec: WRITE-10 a015
    pub(crate) fn is_of(self, first: Self, attempts: u64) -> bool {
        u64::from_be_bytes(self.0).wrapping_sub(u64::from_be_bytes(first.0)) < attempts
    }
}

/// Every random byte that one exchange may need, drawn at once so that no retry can fail or differ for want of more.
pub(crate) struct Draws {
    pub(crate) commit: CommitId,
    seed: Zeroizing<[u8; 32]>,
    /// Counts the nonces handed out by [`Draws::seal_nonce`].
    sealed: Cell<u64>,
}

impl Draws {
    // spec: ID-8 2cc6
    pub(crate) fn from_bytes(bytes: &[u8; 40]) -> Self {
        let mut commit = [0; 8];
        let mut seed = Zeroizing::new([0; 32]);
        for (place, byte) in commit.iter_mut().chain(seed.iter_mut()).zip(bytes) {
            *place = *byte;
        }
        Self { commit: CommitId(commit), seed, sealed: Cell::new(0) }
    }

    /// The secret of the id that is issued at the given attempt: each attempt at a create has another one.
    // spec: ID-8 2cc6, ID-4 9900
    pub(crate) fn secret(&self, attempt: u32) -> Secret {
        Secret::from_bytes(*derive(&self.seed, b"secret", &attempt.to_be_bytes()))
    }

    /// The handle that goes with [`Draws::secret`].
    // spec: ID-7 ac74, ID-8 2cc6
    pub(crate) fn handle(&self, attempt: u32) -> Handle {
        let bytes = derive(&self.seed, b"handle", &attempt.to_be_bytes());
        Handle(bytes.first_chunk().copied().unwrap_or_default())
    }

    // spec: ID-8 2cc6
    pub(crate) fn nonce(&self) -> Nonce {
        let bytes = derive(&self.seed, b"nonce", &[]);
        Nonce(bytes.first_chunk().copied().unwrap_or_default())
    }

    /// A nonce for one record that is sealed, another one at each call.
    ///
    /// It must never be used twice under one key. Within an exchange, no two counts are alike, and 64 bits of them do not run out.
    /// Among exchanges, seeds are 256 random bits, so these are random functions of the count: among 2^64 records sealed under one
    /// key, any two share their 192 bits with a probability below 2^-64 (birthday bound). What is sealed and thrown away counts too.
    // spec: SEAL-2 c06e, ID-8 2cc6
    pub(crate) fn seal_nonce(&self) -> [u8; NONCE_BYTES] {
        let count = self.sealed.get();
        self.sealed.set(if planted(Bug::NonceReused) { 0 } else { count.wrapping_add(1) });
        let bytes = derive(&self.seed, b"seal", &count.to_be_bytes());
        bytes.first_chunk().copied().unwrap_or_default()
    }
}

/// HMAC-SHA-256 under a 32-byte key over a label and a value of fixed length: independent outputs for each.
// spec: ID-8 2cc6, ROT-3 0963
fn derive(key: &[u8; 32], label: &[u8], value: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut block = Zeroizing::new([0; 64]);
    for (place, byte) in block.iter_mut().zip(key) {
        *place = *byte;
    }
    let mac = Hmac::<Sha256>::new((&*block).into()).chain_update(label).chain_update(b"|").chain_update(value);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(text: &str) -> KeyRing {
        KeyRing::parse(text).unwrap()
    }

    const OLD: &str = "1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
    const NEW: &str = "2:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI";

    fn id() -> SessionId {
        SessionId { handle: Handle([5; 12]), generation: 3, secret: Secret::from_bytes([9; 32]) }
    }

    #[test]
    // spec: ID-1 bd5d, ID-3 a335
    fn an_id_makes_the_round_trip_and_no_changed_character_survives() {
        let ring = ring(OLD);
        let text = id().text(&ring);
        assert_eq!(text.len(), ID_CHARS);
        let back = SessionId::parse(text.as_bytes(), &ring).unwrap();
        assert_eq!((back.handle, back.generation), (Handle([5; 12]), 3));
        assert!(back.secret.digest().matches(&id().secret));
        for at in 0..ID_CHARS {
            for character in [b'A', b'z', b'=', b' ', 0xff] {
                let mut changed = text.as_bytes().to_vec();
                if changed[at] != character {
                    changed[at] = character;
                    assert!(SessionId::parse(&changed, &ring).is_none());
                }
            }
        }
        assert!(SessionId::parse(&text.as_bytes()[..87], &ring).is_none());
    }

    #[test]
    // spec: KEY-3 e373, KEY-5 59c3
    fn a_rotated_ring_still_opens_old_ids_and_a_ring_without_their_key_does_not() {
        let text = id().text(&ring(OLD));
        assert!(SessionId::parse(text.as_bytes(), &ring(&alloc::format!("{NEW},{OLD}"))).is_some());
        assert!(SessionId::parse(text.as_bytes(), &ring(NEW)).is_none());
    }

    #[test]
    // spec: ROT-3 0963, ID-10 b2e2, ID-5 2023
    fn a_successor_needs_both_the_old_secret_and_the_nonce() {
        let next = id().successor(&Nonce([1; 16])).unwrap();
        assert_eq!(next.generation, 4);
        assert!(next.secret.digest().matches(&id().secret.successor(&Nonce([1; 16]))));
        assert!(!next.secret.digest().matches(&id().secret.successor(&Nonce([2; 16]))));
        assert!(!next.secret.digest().matches(&Secret::from_bytes([8; 32]).successor(&Nonce([1; 16]))));
        let last = SessionId { generation: u32::MAX, ..id() };
        assert!(last.successor(&Nonce([1; 16])).is_none());
    }

    #[test]
    // spec: ID-9 f689
    fn a_secret_is_wiped_when_it_is_dropped() {
        fn is_wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        let secret = Secret::from_bytes([9; 32]);
        is_wiped(&secret.0);
        assert_eq!(*secret.0, [9; 32]);
    }

    #[test]
    // spec: WRITE-10 a015
    fn an_exchange_knows_the_commit_ids_of_its_attempts_and_no_others_also_past_the_largest_number() {
        for first in [CommitId([7; 8]), CommitId([0xff; 8]), CommitId([0; 8])] {
            let ids: Vec<_> = (0..300).map(|number| first.of_attempt(number)).collect();
            assert!(ids.iter().zip(&ids[1..]).all(|(one, next)| one != next));
            assert_eq!(ids[0], first);
            for (number, id) in (0..).zip(&ids) {
                assert!(id.is_of(first, number + 1) && !id.is_of(first, number));
            }
            assert!(!CommitId([9; 8]).is_of(first, 300));
        }
    }

    #[test]
    // spec: ID-8 2cc6, ID-7 ac74, WRITE-13 2f77
    fn each_attempt_draws_another_handle_and_another_secret() {
        let draws = Draws::from_bytes(&[3; 40]);
        assert_ne!(draws.handle(0), draws.handle(1));
        assert!(!draws.secret(0).digest().matches(&draws.secret(1)));
        assert_eq!(Handle::parse(&alloc::format!("{}", draws.handle(0))), Some(draws.handle(0)));
    }
}
