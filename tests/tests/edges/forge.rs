//! Ids and records written from their documented formats, sharing no code with the core: by somebody who has the key, or
//! may write to the store.

use std::sync::Arc;

use coatroom_core::staged::{Staged, Waiting};
use coatroom_core::{Handle, KeyRing, Loaded, Policy, Rules, Settings, Timestamp};
use coatroom_tests::browser::unbase64;
use coatroom_tests::rng::Fixed;
use coatroom_tests::scenarios::settings;
use coatroom_tests::world::{RING, START};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

pub const HANDLE: [u8; 12] = [7; 12];
pub const NOW: u64 = START;
pub const SECOND: u64 = 1000;

pub fn handle() -> Handle {
    Handle::from_bytes(HANDLE)
}

/// The secret of the id of this generation.
pub fn secret(generation: u32) -> [u8; 32] {
    [generation.to_le_bytes()[0] ^ 0x55; 32]
}

pub fn digest(secret: [u8; 32]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// A genuine id of the session.
pub fn id(generation: u32) -> String {
    id_with(generation, secret(generation))
}

/// An id with a genuine tag, whatever it claims.
pub fn id_with(generation: u32, secret: [u8; 32]) -> String {
    let mut bytes = [&HANDLE[..], &generation.to_be_bytes(), &1_u16.to_be_bytes(), &secret].concat();
    let material = unbase64(RING.split_once(':').unwrap().1).unwrap();
    let mut key = [0; 64];
    Hkdf::<Sha256>::new(None, &material).expand(b"coatroom/1 session id tag", &mut key).unwrap();
    let tag = Hmac::<Sha256>::new((&key).into()).chain_update(&bytes).finalize().into_bytes();
    bytes.extend_from_slice(&tag[..16]);
    base64(&bytes)
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let character = |bits: u32| char::from(ALPHABET[bits as usize & 63]);
    let groups = bytes.chunks(3).map(|group| group.iter().fold(0, |bits, &byte| bits << 8 | u32::from(byte)));
    groups.flat_map(|bits| [18, 12, 6, 0].map(|shift| character(bits >> shift))).collect()
}

#[derive(Clone, Copy)]
pub enum Previous {
    None,
    Pending([u8; 32]),
    Until([u8; 32], u64),
    Raw(u8),
}

/// A record, field by field.
#[derive(Clone)]
pub struct Sheet {
    pub format: u8,
    pub state: u8,
    pub version: u64,
    pub commits: [u8; 32],
    pub created: u64,
    pub seen: u64,
    pub deadline: u64,
    pub idle: u64,
    pub generation: u32,
    pub digest: [u8; 32],
    pub issued: u64,
    pub confirmed: u64,
    pub floor: u32,
    pub previous: Previous,
    pub end: Option<(u64, u8)>,
    pub principal: Option<(&'static str, Vec<&'static str>)>,
    pub label: &'static [u8],
    pub address: &'static [u8],
    pub data: &'static [u8],
}

impl Sheet {
    /// "alice", logged in for a minute, whose ids are confirmed and old enough to rotate. The present generation is 5,
    /// the floor 3, and there is no previous id.
    pub fn login() -> Self {
        Self {
            format: 1,
            state: 1,
            version: 9,
            commits: [1; 32],
            created: NOW - 60 * SECOND,
            seen: NOW,
            deadline: NOW + 900 * SECOND,
            idle: 100 * SECOND,
            generation: 5,
            digest: digest(secret(5)),
            issued: NOW - 60 * SECOND,
            confirmed: NOW - 50 * SECOND,
            floor: 3,
            previous: Previous::None,
            end: None,
            principal: Some(("alice", vec!["editor", "user"])),
            label: b"",
            address: b"",
            data: b"\xa1\x61a\x01",
        }
    }

    /// The same with the id of generation 4 in its grace for ten seconds more.
    pub fn in_grace() -> Self {
        Self { previous: Previous::Until(digest(secret(4)), NOW + 10 * SECOND), ..Self::login() }
    }

    /// The same, ended: only who it was is left.
    pub fn ended(cause: u8) -> Self {
        let principal = Some(("alice", Vec::new()));
        Self { state: 2, end: Some((NOW - SECOND, cause)), principal, data: b"\xa0", ..Self::login() }
    }

    /// An anonymous session of one id.
    pub fn visitor() -> Self {
        Self { state: 0, generation: 0, digest: digest(secret(0)), floor: 0, principal: None, ..Self::login() }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let time = |at: u64| at.to_be_bytes()[2..].to_vec();
        let text = |text: &[u8]| [&u16::try_from(text.len()).unwrap().to_be_bytes(), text].concat();
        let mut out = vec![self.format, self.state];
        out.extend(self.version.to_be_bytes());
        out.extend(self.commits);
        out.extend([self.created, self.seen, self.deadline, self.idle].map(time).concat());
        out.extend(self.generation.to_be_bytes());
        out.extend(self.digest);
        out.extend([self.issued, self.confirmed].map(time).concat());
        out.extend(self.floor.to_be_bytes());
        match self.previous {
            Previous::None => out.push(0),
            Previous::Pending(digest) => out.extend([&[1][..], &digest, &[2; 16]].concat()),
            Previous::Until(digest, at) => out.extend([&[2][..], &digest, &time(at)].concat()),
            Previous::Raw(kind) => out.extend([&[kind][..], &[3; 48]].concat()),
        }
        if let Some((at, cause)) = self.end {
            out.extend(time(at));
            out.push(cause);
        }
        match &self.principal {
            None => out.push(0),
            Some((name, roles)) => {
                out.extend([1, 1]);
                out.extend(time(self.issued));
                out.extend(text(name.as_bytes()));
                out.extend(u16::try_from(roles.len()).unwrap().to_be_bytes());
                roles.iter().for_each(|role| out.extend(text(role.as_bytes())));
            }
        }
        out.extend([text(self.label), text(self.address)].concat());
        out.extend(self.data);
        out
    }
}

pub fn rules(settings: Settings) -> Arc<Rules> {
    Rules::new(Policy::try_from(settings).unwrap(), KeyRing::parse(RING).unwrap())
}

/// Opens on the login cookie with this id while the store holds this record.
pub fn open(rules: &Arc<Rules>, id: &str, record: &[u8], now: u64) -> Staged {
    open_header(rules, &format!("__Host-id={id}"), record, now)
}

pub fn open_header(rules: &Arc<Rules>, header: &str, record: &[u8], now: u64) -> Staged {
    let mut staged = Staged::from(rules.open(header.as_bytes(), Timestamp::from_unix_ms(now)));
    while let Waiting::Load(asked) = staged.waiting() {
        staged.found(if asked == handle() { Loaded::Found(record.to_vec()) } else { Loaded::Absent }).unwrap();
    }
    staged
}

pub fn close(staged: &mut Staged, now: u64) {
    staged.close(Timestamp::from_unix_ms(now), &mut Fixed::new(5)).unwrap();
}

/// An exchange of "alice".
pub fn logged_in() -> Staged {
    open(&rules(settings()), &id(5), &Sheet::login().bytes(), NOW)
}

/// An exchange without a cookie.
pub fn nobody() -> Staged {
    open_header(&rules(settings()), "", &[], NOW)
}

/// Closes at once; the bytes of the first write.
pub fn written(mut staged: Staged) -> Option<Vec<u8>> {
    close(&mut staged, NOW);
    staged.swap().ok().and_then(|swap| swap.new.clone())
}
