//! Encryption at rest: what a record says of the client and its data, as the store gets it.
//!
//! A sealed record has format 2. Where one of format 1 has client details and data, it has the number of a key (2 bytes), a
//! nonce (24), and the XChaCha20-Poly1305 ciphertext of the same with its tag (16). Format, handle and floor are bound to it: none
//! of them is changed by a touch, a confirmation or a rotation, and what was sealed elsewhere or before a login does not open.

use alloc::vec::Vec;

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::AeadInOut;

use crate::bugs::{Bug, planted};
use crate::closer::Closer;
use crate::codec;
use crate::data::Data;
use crate::error::Error;
use crate::id::{Draws, Handle};
use crate::keys::KeyRing;
use crate::opening::Exchange;
use crate::record::{Client, Head, Principal};

/// Bytes of a nonce: enough to draw each at random.
pub(crate) const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// What sealing adds to a record.
pub(crate) const OVERHEAD: usize = 2 + NONCE_BYTES + TAG_BYTES;

/// How one record is sealed.
pub(crate) struct Seal<'a> {
    pub(crate) number: u16,
    pub(crate) key: &'a XChaCha20Poly1305,
    pub(crate) nonce: [u8; NONCE_BYTES],
    pub(crate) handle: Handle,
}

impl Exchange {
    /// The bytes of a record, sealed if the policy wants it.
    // spec: SEAL-3 7efc, SEAL-5 da17
    pub(crate) fn encode(
        &self,
        draws: &Draws,
        handle: Handle,
        head: &Head,
        principal: Option<&Principal>,
        client: &Client,
        data: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let empty = planted(Bug::EmptyUnsealed) && data == Data::empty().as_bytes();
        let seal = if self.rules.policy().settings().sealed && !empty {
            let (number, key) = self.rules.keys().sealer().ok_or(Error::Unavailable)?;
            Some(Seal { number, key, nonce: draws.seal_nonce(), handle })
        } else {
            None
        };
        codec::encode(head, principal, client, data, seal.as_ref()).ok_or(Error::Unavailable)
    }
}

impl Closer {
    pub(crate) fn encode(
        &self,
        handle: Handle,
        head: &Head,
        principal: Option<&Principal>,
        client: &Client,
        data: &[u8],
    ) -> Result<Vec<u8>, Error> {
        self.exchange.encode(&self.draws, handle, head, principal, client, data)
    }
}

impl Seal<'_> {
    /// What stands before the ciphertext.
    // spec: SEAL-1 8b14
    pub(crate) fn begin(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.nonce);
    }

    /// Encrypts in place what was appended from `from` on, and puts the tag behind it. Nothing if there is too much of it.
    // spec: SEAL-1 8b14
    pub(crate) fn finish(&self, out: &mut Vec<u8>, from: usize, format: u8, floor: u32) -> Option<()> {
        let place = out.get_mut(from..)?;
        let bound = bound(format, self.handle, floor);
        let tag = self.key.encrypt_inout_detached(&self.nonce.into(), &bound, place.into()).ok()?;
        out.extend_from_slice(&tag);
        Some(())
    }
}

/// Opens in place what is sealed from `from` on: key number, nonce, ciphertext, tag. Returns where the plaintext starts; it goes
/// to the end. Nothing if it does not open.
// spec: SEAL-4 9c31, KEY-3 e373
pub(crate) fn open(
    bytes: &mut Vec<u8>,
    from: usize,
    format: u8,
    handle: Handle,
    floor: u32,
    keys: &KeyRing,
) -> Option<usize> {
    let (number, rest) = bytes.get(from..)?.split_first_chunk()?;
    let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>()?;
    let tag = *rest.last_chunk::<TAG_BYTES>()?;
    let key = keys.opener(u16::from_be_bytes(*number))?;
    let nonce = (*nonce).into();
    let start = from.checked_add(OVERHEAD.checked_sub(TAG_BYTES)?)?;
    let end = bytes.len().checked_sub(TAG_BYTES)?;
    let sealed = bytes.get_mut(start..end)?;
    key.decrypt_inout_detached(&nonce, &bound(format, handle, floor), sealed.into(), &tag.into()).ok()?;
    bytes.truncate(end);
    Some(start)
}

/// The associated data: where a ciphertext belongs.
// spec: SEAL-1 8b14
fn bound(format: u8, handle: Handle, floor: u32) -> [u8; 17] {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = if planted(Bug::HandleUnbound) { [0; 12] } else { *handle.as_bytes() };
    let [m, n, o, p] = if planted(Bug::FloorUnbound) { [0; 4] } else { floor.to_be_bytes() };
    [format, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}
