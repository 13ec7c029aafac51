//! Sealed cookies: sessions that their clients keep, record and all.
//!
//! Where a policy places sessions in cookies, the id in the cookie has its record beside it, encrypted. The cookie is a store of
//! one record: what the client brings is judged as what a store loads, and what a store would be given goes out with the
//! response. So every rule of a record holds by the same code; what a single cookie cannot keep, overlapping requests and
//! taking back, is said in `docs/stateful-or-stateless.md`, and a deny list keeps the second.
//!
//! The value is the id (88 characters), a dot, and base64url of: number of the key (2), nonce (24), XChaCha20-Poly1305 ciphertext
//! of a record of format 1, tag (16). Bound to it is where it belongs: format (1) and handle (12).

use alloc::string::String;
use alloc::vec::Vec;

use chacha20poly1305::aead::AeadInOut;
use zeroize::{Zeroize, Zeroizing};

use crate::attempt::{Attempt, Outcome, check_size, swap};
use crate::base64url;
use crate::bugs::{Bug, planted};
use crate::closer::Closer;
use crate::closing::Swap;
use crate::codec;
use crate::cookie::Kind;
use crate::data::Data;
use crate::error::Error;
use crate::event::Event;
use crate::id::{CommitId, Handle, ID_CHARS, SessionId};
use crate::keys::KeyRing;
use crate::listing::Listing;
use crate::opening::Exchange;
use crate::record::{COMMITS_KEPT, Client, Head, Issued, Kept, Principal, Record};
use crate::seal::NONCE_BYTES;
use crate::time::Timestamp;

/// Bytes that a cookie may have, name and attributes included (RFC 6265 section 6.1). Browsers drop what is longer.
pub(crate) const MAX_COOKIE: usize = 4096;
const FORMAT: u8 = 1;
const FRONT: usize = 2 + NONCE_BYTES;
const TAG_BYTES: usize = 16;

/// What a cookie shows: an id, and its record where sessions of its kind live in their cookies.
pub(crate) struct Shown {
    pub(crate) id: SessionId,
    pub(crate) coat: Option<Vec<u8>>,
}

impl Shown {
    /// Total: a text that lacks a part, has another form, or an id that is not ours, shows nothing.
    // spec: COAT-2 25a7, COAT-3 9c05
    pub(crate) fn parse(text: &[u8], is_worn: bool, keys: &KeyRing) -> Option<Self> {
        if !is_worn {
            return Some(Self { id: SessionId::parse(text, keys)?, coat: None });
        }
        let (id, rest) = text.get(..text.len().min(MAX_COOKIE.saturating_add(1)))?.split_first_chunk::<ID_CHARS>()?;
        let sealed = rest.strip_prefix(b".").filter(|_| text.len() <= MAX_COOKIE)?;
        let id = SessionId::parse(id, keys)?;
        Some(Self { id, coat: Some(base64url::decode(sealed)?) })
    }
}

impl Exchange {
    /// Opens the record beside an id. What does not open is absent, and nothing is written for it.
    // spec: COAT-2 25a7, COAT-3 9c05
    pub(crate) fn unseal(&mut self, handle: Handle, sealed: Vec<u8>) -> Result<Option<Record>, Error> {
        let Some(bytes) = open(sealed, handle, self.rules.keys()) else {
            self.events.push(Event::Unopened(handle));
            return Ok(None);
        };
        let record = self.received(handle, codec::decode_worn(bytes))?;
        Ok(record.map(|record| Record { kept: Kept::Worn(None), ..*record }))
    }
}

impl Record {
    /// Whether the client keeps it.
    pub(crate) const fn is_worn(&self) -> bool {
        matches!(self.kept, Kept::Worn(_))
    }

    /// What the deny list says of this session, if it says anything, counts for every coat of it.
    // spec: COAT-6 40ad
    pub(crate) fn meets(&mut self, listed: Option<&Self>) {
        self.kept = Kept::Worn(listed.map(|listed| listed.head.into()));
        let Some(listed) = listed else { return };
        if let Some(end) = listed.head.end {
            return self.end(end.at, end.cause);
        }
        if listed.head.floor < self.head.floor {
            return;
        }
        if listed.head.current.digest.as_bytes() != self.head.current.digest.as_bytes() {
            self.head.current = listed.head.current;
            self.head.floor = listed.head.floor;
            self.head.previous = None;
        }
        // It may have another name by now.
        self.principal = listed.principal.clone().or(self.principal.take());
    }
}

/// What a client is to keep from now on.
pub(crate) struct Coat<'a> {
    pub(crate) kind: Kind,
    pub(crate) id: &'a SessionId,
    pub(crate) head: &'a Head,
    pub(crate) principal: Option<&'a Principal>,
    pub(crate) client: &'a Client,
    pub(crate) data: &'a [u8],
}

impl Coat<'_> {
    /// Its Set-Cookie line; an error if no browser would keep it.
    // spec: COAT-2 25a7, COAT-4 4d5c
    pub(crate) fn line(&self, closer: &Closer) -> Result<Zeroizing<String>, Error> {
        let (policy, keys) = (closer.policy(), closer.exchange.rules.keys());
        let mut record =
            codec::encode(self.head, self.principal, self.client, self.data, None).ok_or(Error::Unavailable)?;
        let fits = check_size(&record, policy);
        let sealed = seal(&record, self.id.handle, closer.draws.seal_nonce(), keys);
        record.zeroize();
        fits?;
        let mut text = self.id.text(keys);
        text.push('.');
        text.push_str(&base64url::encode(&sealed.ok_or(Error::Unavailable)?));
        let line = policy.cookies().set(self.kind, &text, self.head.deadline.since(closer.exchange.now));
        let (bytes, limit) = (line.len(), MAX_COOKIE);
        if bytes > limit && !planted(Bug::CookieSizeUnchecked) {
            Err(Error::TooLarge { bytes, limit })
        } else {
            Ok(line)
        }
    }

    /// What the deny list is to hold of it: who it is and from which id on, until no coat of the session can open any more. `least`
    /// is how long that is for the coats before.
    // spec: COAT-6 40ad, COAT-7 a7fd
    pub(crate) fn listed(
        &self,
        listed: Option<&Head>,
        least: Timestamp,
        listing: Listing,
        closer: &Closer,
    ) -> Result<Swap, Error> {
        let before = listed.map_or(least, |listed| listed.deadline.max(least));
        let seen = self.head.seen_at.max(Timestamp::from_unix_ms(1));
        // Nothing in a cookie rotates or takes turns, so there is no previous id and no lease to leave out.
        let mut head = Head {
            version: listed.map_or(0, |listed| listed.version),
            commits: listed.map_or([CommitId([0; 8]); COMMITS_KEPT], |listed| listed.commits),
            deadline: self.head.deadline.max(before),
            idle: None,
            current: Issued { confirmed_at: Some(seen), ..self.head.current },
            ..*self.head
        };
        head.stamp(closer.commit()).ok_or(Error::Unavailable)?;
        let data = Data::empty();
        let bytes = closer.encode(self.id.handle, &head, self.principal, self.client, data.as_bytes())?;
        Ok(swap(self.id.handle, listed, &head, Some(bytes), true, listing, closer.policy()))
    }
}

/// What ends a session that its client keeps: an entry of the deny list, and without one nothing but the removal of its cookie.
// spec: COAT-13 914c
// spec: COAT-7 a7fd
pub(crate) fn end(
    handle: Handle,
    before: &Head,
    listed: Option<&Head>,
    ended: &Record,
    listing: Listing,
    outcome: Outcome,
    closer: &Closer,
) -> Result<Attempt, Error> {
    if !closer.policy().place().is_listed() || planted(Bug::EndingUnlisted) {
        return Ok(Attempt::Nothing(outcome));
    }
    let id = SessionId { handle, generation: ended.head.current.generation, secret: closer.draws.secret(0) };
    let (head, principal, client, data) = (&ended.head, ended.principal.as_ref(), &ended.client, ended.data.as_bytes());
    let coat = Coat { kind: Kind::Login, id: &id, head, principal, client, data };
    Ok(Attempt::Swap(coat.listed(listed, before.deadline, listing, closer)?, outcome))
}

// spec: COAT-2 25a7
fn seal(record: &[u8], handle: Handle, nonce: [u8; NONCE_BYTES], keys: &KeyRing) -> Option<Vec<u8>> {
    let (number, key) = keys.coat_sealer()?;
    let mut out = Vec::with_capacity(record.len().saturating_add(FRONT).saturating_add(TAG_BYTES));
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&nonce);
    out.extend_from_slice(record);
    let tag = key.encrypt_inout_detached(&nonce.into(), &bound(handle), out.get_mut(FRONT..)?.into()).ok()?;
    out.extend_from_slice(&tag);
    Some(out)
}

// spec: COAT-2 25a7, COAT-3 9c05
fn open(mut bytes: Vec<u8>, handle: Handle, keys: &KeyRing) -> Option<Vec<u8>> {
    let (number, rest) = bytes.split_first_chunk::<2>()?;
    let nonce = *rest.first_chunk::<NONCE_BYTES>()?;
    let tag = *rest.last_chunk::<TAG_BYTES>()?;
    let key = keys.coat_opener(u16::from_be_bytes(*number))?;
    let end = bytes.len().checked_sub(TAG_BYTES)?;
    let sealed = bytes.get_mut(FRONT..end)?;
    key.decrypt_inout_detached(&nonce.into(), &bound(handle), sealed.into(), &tag.into()).ok()?;
    bytes.truncate(end);
    bytes.drain(..FRONT);
    Some(bytes)
}

/// The associated data: where a coat belongs.
// spec: COAT-2 25a7
fn bound(handle: Handle) -> [u8; 13] {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = if planted(Bug::CoatUnbound) { [0; 12] } else { *handle.as_bytes() };
    [FORMAT, a, b, c, d, e, f, g, h, i, j, k, l]
}
