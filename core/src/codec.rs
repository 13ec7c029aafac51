//! Record to bytes and back. Format 1, or 2 if sealed, all numbers big-endian, times in milliseconds since the Unix epoch:
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 1 | format: 1, or 2 if sealed |
//! | 1 | 1 | state: 0 anonymous, 1 logged in, 2 ended |
//! | 2 | 8 | version |
//! | 10 | 32 | commit ids of the last four writes, newest first |
//! | 42 | 18 | created, seen, deadline: six bytes each |
//! | 60 | 6 | idle limit, 0 for none |
//! | 66 | 4 | current generation |
//! | 70 | 32 | digest of the current secret |
//! | 102 | 12 | issued, confirmed (0 for not yet): six bytes each |
//! | 114 | 4 | floor |
//! | 118 | 1 | previous id: 0 none, 1 pending, 2 in grace; 4 more while there is a lease |
//! | 119 | 48, 38, 0 | its digest, then the nonce (16) or the end of the grace (6) |
//! | | 14, 0 | the lease: token (8), until (6) |
//! | | 7 | if ended: when, cause |
//! | | | a byte 0 or 1, then the principal: level (1), authenticated (6), name, number of roles (2), roles |
//! | | | client label, client address |
//! | | | data, one deterministic CBOR map, to the end |
//!
//! In format 2 the last two rows are sealed, as [`crate::seal`] has it: number of the key (2), nonce (24), ciphertext, tag (16).
//!
//! Texts are two bytes of length, then UTF-8. Version and newest commit id are bytes 2 to 17: the stamp that a store compares.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::bugs::{Bug, planted};
use crate::data::Data;
use crate::id::{CommitId, Digest, Handle, Nonce};
use crate::keys::KeyRing;
use crate::opening::Rules;
use crate::record::{Cause, Client, End, Head, Issued, Kept, Lease, Phase, Previous, Principal, Record};
use crate::seal::{self, Seal};
use crate::time::{Timestamp, millis};

const FORMAT: u8 = 1;
const SEALED: u8 = 2;
const STAMP_AT: usize = 2;

/// What a store compares: version and newest commit id, as they stand in a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Stamp([u8; 16]);

impl Stamp {
    /// Where the stamp stands in a record, in bytes from its start.
    pub const AT: usize = STAMP_AT;

    /// The stamp of a stored record; nothing when it is too short to have one.
    #[must_use]
    // spec: STORE-2 4ba9
    pub fn of(record: &[u8]) -> Option<Self> {
        record.get(STAMP_AT..)?.first_chunk().copied().map(Self).map(Self::without_commit_by_mistake)
    }

    // spec: STORE-2 4ba9
    pub(crate) fn of_head(head: &Head) -> Self {
        let [a, b, c, d, e, f, g, h] = head.version.to_be_bytes();
        let [CommitId([i, j, k, l, m, n, o, p]), ..] = head.commits;
        Self([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]).without_commit_by_mistake()
    }

    /// The same, but for a planted defect: versions alone are compared.
    fn without_commit_by_mistake(self) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        if planted(Bug::VersionOnly) { Self([a, b, c, d, e, f, g, h, 0, 0, 0, 0, 0, 0, 0, 0]) } else { self }
    }

    /// How many writes the record has seen: what one has left after another has a higher number.
    #[must_use]
    pub const fn version(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// The bytes to compare.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Why bytes are not a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unreadable {
    /// Written by a newer build: unavailable, so that rolling back a deployment logs nobody out.
    Newer,
    /// Not sealed, although it has to be: reads as absent.
    Unsealed,
    /// Sealed, and does not open: reads as absent.
    Unopened,
    /// Anything else: reads as absent.
    Damaged,
}

/// The bytes of a record whose data is `data`. Nothing if there is more of it than can be sealed.
// spec: REC-1 14f3, REC-6 3547, SEAL-1 8b14
pub(crate) fn encode(
    head: &Head,
    principal: Option<&Principal>,
    client: &Client,
    data: &[u8],
    seal: Option<&Seal<'_>>,
) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(data.len().saturating_add(256));
    let state = match (head.end, principal) {
        (Some(_), _) => 2,
        (None, Some(_)) => 1,
        (None, None) => 0,
    };
    let format = if seal.is_some() { SEALED } else { FORMAT };
    out.extend_from_slice(&[format, state]);
    out.extend_from_slice(&head.version.to_be_bytes());
    for commit in &head.commits {
        out.extend_from_slice(&commit.0);
    }
    put_time(&mut out, head.created_at);
    put_time(&mut out, head.seen_at);
    put_time(&mut out, head.deadline);
    put_time(&mut out, Timestamp::from_unix_ms(head.idle.map_or(0, millis)));
    out.extend_from_slice(&head.current.generation.to_be_bytes());
    out.extend_from_slice(head.current.digest.as_bytes());
    put_time(&mut out, head.current.issued_at);
    put_time(&mut out, head.current.confirmed_at.unwrap_or_default());
    out.extend_from_slice(&head.floor.to_be_bytes());
    put_previous(&mut out, head.previous.as_ref(), head.lease.as_ref());
    if let Some(end) = head.end {
        put_time(&mut out, end.at);
        out.push(cause_number(end.cause));
    }
    put_principal(&mut out, principal);
    let texts = client.label.len().saturating_add(client.address.len()).saturating_add(4);
    // Were the buffer to move once there is plaintext in it, a copy would be left behind.
    out.reserve(texts.saturating_add(data.len()).saturating_add(seal::OVERHEAD));
    seal.inspect(|seal| seal.begin(&mut out));
    let from = out.len();
    put_text(&mut out, &client.label);
    put_text(&mut out, &client.address);
    out.extend_from_slice(data);
    if let Some(seal) = seal {
        seal.finish(&mut out, from, format, head.floor)?;
    }
    Some(out)
}

/// Total: any bytes give a record or the reason why not, in one pass and without allocating more than the input.
// spec: REC-2 d46f, REC-3 e864, REC-5 ad66, CLAIM-9 72e0, SEAL-3 7efc, SEAL-4 9c31, SEAL-5 da17
pub(crate) fn decode(bytes: Vec<u8>, handle: Handle, rules: &Rules) -> Result<Box<Record>, Unreadable> {
    let format = match bytes.first() {
        Some(&FORMAT) if rules.policy().settings().sealed && !planted(Bug::UnsealedAccepted) => {
            return Err(Unreadable::Unsealed);
        }
        Some(&SEALED) if !rules.policy().settings().sealed && planted(Bug::SealedRefused) => {
            return Err(Unreadable::Unopened);
        }
        Some(&format @ (FORMAT | SEALED)) => format,
        Some(&format) if format > SEALED && !planted(Bug::NewerIsAbsent) => return Err(Unreadable::Newer),
        _ => return Err(Unreadable::Damaged),
    };
    let sealed = (format == SEALED).then(|| (handle, rules.keys()));
    decode_with(bytes, sealed, format == SEALED)
}

/// As [`decode`], of a record that its client kept: always of format 1, for it was sealed as a whole.
// spec: COAT-2 25a7, COAT-3 9c05
pub(crate) fn decode_worn(bytes: Vec<u8>) -> Result<Box<Record>, Unreadable> {
    match bytes.first() {
        Some(&FORMAT) => decode_with(bytes, None, true),
        Some(&format) if format > SEALED => Err(Unreadable::Newer),
        _ => Err(Unreadable::Damaged),
    }
}

/// A record of which client details and data are sealed, or are not. What is `secret` is wiped in the end.
// spec: REC-2 d46f, REC-3 e864, SEAL-4 9c31
fn decode_with(
    mut bytes: Vec<u8>,
    sealed: Option<(Handle, &KeyRing)>,
    secret: bool,
) -> Result<Box<Record>, Unreadable> {
    let mut input = Input(bytes.get(1..).unwrap_or_default());
    let mut record = take_front(&mut input).ok_or(Unreadable::Damaged)?;
    let mut start = bytes.len().saturating_sub(input.0.len());
    if let Some((handle, keys)) = sealed {
        let opened = seal::open(&mut bytes, start, SEALED, handle, record.head.floor, keys);
        start = opened.ok_or(Unreadable::Unopened)?;
    }
    let mut input = Input(bytes.get(start..).unwrap_or_default());
    record.client = take_client(&mut input).ok_or(Unreadable::Damaged)?;
    let start = bytes.len().saturating_sub(input.0.len());
    record.data = Data::parse(bytes, start, secret).map_err(|_| Unreadable::Damaged)?;
    if is_consistent(&record) { Ok(record) } else { Err(Unreadable::Damaged) }
}

/// What stands in front of what can be sealed, of a record of either format; for whoever has no keys.
// spec: SEAL-1 8b14
pub(crate) fn decode_front(bytes: &[u8]) -> Option<Box<Record>> {
    let (&(FORMAT | SEALED), rest) = bytes.split_first()? else { return None };
    take_front(&mut Input(rest))
}

/// Everything up to the principal.
// spec: REC-1 14f3, REC-2 d46f, REC-3 e864
fn take_front(input: &mut Input<'_>) -> Option<Box<Record>> {
    let [state] = input.take()?;
    let mut head = Head {
        version: u64::from_be_bytes(input.take()?),
        commits: [input.commit()?, input.commit()?, input.commit()?, input.commit()?],
        created_at: input.time()?,
        seen_at: input.time()?,
        deadline: input.time()?,
        idle: Some(input.time()?.as_unix_ms()).filter(|&ms| ms > 0).map(Duration::from_millis),
        current: Issued {
            generation: u32::from_be_bytes(input.take()?),
            digest: Digest::from_bytes(input.take()?),
            issued_at: input.time()?,
            confirmed_at: Some(input.time()?).filter(|&time| time > Timestamp::default()),
        },
        floor: u32::from_be_bytes(input.take()?),
        previous: None,
        lease: None,
        end: None,
    };
    (head.previous, head.lease) = take_previous(input)?;
    head.end = if state == 2 { Some(End { at: input.time()?, cause: take_cause(input)? }) } else { None };
    let principal = take_principal(input)?;
    if state > 2 || (state < 2 && (state == 1) != principal.is_some()) {
        return None;
    }
    Some(Box::new(Record { head, principal, client: Client::default(), data: Data::none(), kept: Kept::Stored }))
}

// spec: REC-1 14f3
fn take_client(input: &mut Input<'_>) -> Option<Client> {
    Some(Client { label: input.text()?, address: input.text()? })
}

/// The invariants of [`crate::record`].
// spec: REC-2 d46f
fn is_consistent(record: &Record) -> bool {
    let head = &record.head;
    let floor = head.floor <= head.current.generation;
    let previous = head.previous.is_none() || head.floor < head.current.generation;
    let pending = match head.previous.map(|previous| previous.phase) {
        None => true,
        Some(Phase::Pending(_)) => head.current.confirmed_at.is_none(),
        Some(Phase::Grace(_)) => head.current.confirmed_at.is_some(),
    };
    let bare = || {
        head.previous.is_none()
            && head.lease.is_none()
            && record.principal.as_ref().is_none_or(|principal| principal.roles().next().is_none())
            && record.client == Client::default()
            && record.data.iter().next().is_none()
    };
    floor && previous && pending && (head.end.is_none() || bare())
}

fn put_time(out: &mut Vec<u8>, time: Timestamp) {
    let [_, _, rest @ ..] = time.as_unix_ms().to_be_bytes();
    out.extend_from_slice(&rest);
}

/// No text in a record is longer than its length can say: `exchange` refuses longer ones.
fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes().get(..usize::from(length)).unwrap_or_default());
}

/// Set in the kind of the previous id while a lease follows it.
const LEASED: u8 = 4;

// spec: REC-1 14f3, REC-6 3547, REC-11 47c6
fn put_previous(out: &mut Vec<u8>, previous: Option<&Previous>, lease: Option<&Lease>) {
    let kind = match previous.map(|previous| previous.phase) {
        None => 0,
        Some(Phase::Pending(_)) => 1,
        Some(Phase::Grace(_)) => 2,
    };
    out.push(kind | if lease.is_some() { LEASED } else { 0 });
    if let Some(previous) = previous {
        out.extend_from_slice(previous.digest.as_bytes());
        match previous.phase {
            Phase::Pending(nonce) => out.extend_from_slice(&nonce.0),
            Phase::Grace(until) => put_time(out, until),
        }
    }
    if let Some(lease) = lease {
        out.extend_from_slice(&lease.token.0);
        put_time(out, lease.until);
    }
}

// spec: REC-1 14f3, REC-11 47c6
fn take_previous(input: &mut Input<'_>) -> Option<(Option<Previous>, Option<Lease>)> {
    let [kind] = input.take()?;
    let previous = match kind & !LEASED {
        0 => None,
        1 => Some(Previous { digest: Digest::from_bytes(input.take()?), phase: Phase::Pending(Nonce(input.take()?)) }),
        2 => Some(Previous { digest: Digest::from_bytes(input.take()?), phase: Phase::Grace(input.time()?) }),
        _ => return None,
    };
    let leased = kind & LEASED > 0;
    let lease = if leased { Some(Lease { token: input.commit()?, until: input.time()? }) } else { None };
    Some((previous, lease))
}

// spec: REC-1 14f3
fn put_principal(out: &mut Vec<u8>, principal: Option<&Principal>) {
    let Some(principal) = principal else { return out.push(0) };
    out.push(1);
    out.push(principal.level);
    put_time(out, principal.authenticated_at);
    out.extend_from_slice(&principal.names.0);
}

// spec: REC-1 14f3, REC-2 d46f
fn take_principal(input: &mut Input<'_>) -> Option<Option<Principal>> {
    match input.take()? {
        [0] => return Some(None),
        [1] => {}
        _ => return None,
    }
    let [level] = input.take()?;
    let authenticated_at = input.time()?;
    let names = Names::take(input)?;
    Some(Some(Principal { names, level, authenticated_at }))
}

const CAUSES: [Cause; 8] = [
    Cause::Logout,
    Cause::Idle,
    Cause::Absolute,
    Cause::NotActivated,
    Cause::Reuse,
    Cause::Replaced,
    Cause::Revoked,
    Cause::Evicted,
];

fn cause_number(cause: Cause) -> u8 {
    (0..).zip(CAUSES).find(|(_, known)| *known == cause).map_or(u8::MAX, |(number, _)| number)
}

// spec: REC-1 14f3
fn take_cause(input: &mut Input<'_>) -> Option<Cause> {
    let [number] = input.take()?;
    CAUSES.get(usize::from(number)).copied()
}

/// A principal's name and roles as they stand in a record: the name, the number of roles, the roles sorted and without
/// doubles. They are checked when read, and taken apart when asked for: most requests never ask.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Names(Vec<u8>);

impl Names {
    /// Nothing when a name is empty, a name is too long, or there are too many.
    // spec: REC-10 e1a2
    pub(crate) fn new<R: AsRef<str>>(principal: &str, roles: &[R]) -> Option<Self> {
        let mut roles: Vec<&str> = roles.iter().map(AsRef::as_ref).collect();
        roles.sort_unstable();
        roles.dedup();
        let count = u16::try_from(roles.len()).ok()?;
        let mut bytes = Vec::new();
        is_name(principal).then(|| put_text(&mut bytes, principal))?;
        bytes.extend_from_slice(&count.to_be_bytes());
        for role in roles {
            is_name(role).then(|| put_text(&mut bytes, role))?;
        }
        Some(Self(bytes))
    }

    pub(crate) fn principal(&self) -> &str {
        Input(&self.0).text_ref().unwrap_or_default()
    }

    pub(crate) fn roles(&self) -> impl Iterator<Item = &str> {
        let mut input = Input(&self.0);
        let _name_and_count = (input.text_ref(), input.take::<2>());
        core::iter::from_fn(move || input.text_ref())
    }

    /// The same principal without roles.
    // spec: REC-8 1a1b
    pub(crate) fn without_roles(&self) -> Self {
        let mut bytes = Vec::new();
        put_text(&mut bytes, self.principal());
        bytes.extend_from_slice(&[0, 0]);
        Self(bytes)
    }

    // spec: REC-2 d46f
    fn take(input: &mut Input<'_>) -> Option<Self> {
        let before = input.0;
        input.text_ref().filter(|name| is_name(name))?;
        let mut last = "";
        for _ in 0..u16::from_be_bytes(input.take()?) {
            let role = input.text_ref().filter(|role| *role > last)?;
            last = role;
        }
        let bytes = before.len().checked_sub(input.0.len())?;
        Some(Self(before.get(..bytes)?.to_vec()))
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.principal())?;
        f.debug_list().entries(self.roles()).finish()
    }
}

/// Whether a record can hold `text` as the name of a principal or role.
fn is_name(text: &str) -> bool {
    !text.is_empty() && u16::try_from(text.len()).is_ok()
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn commit(&mut self) -> Option<CommitId> {
        self.take().map(CommitId)
    }

    fn time(&mut self) -> Option<Timestamp> {
        let [a, b, c, d, e, f] = self.take()?;
        Some(Timestamp::from_unix_ms(u64::from_be_bytes([0, 0, a, b, c, d, e, f])))
    }

    fn text(&mut self) -> Option<String> {
        self.text_ref().map(ToOwned::to_owned)
    }

    fn text_ref(&mut self) -> Option<&'a str> {
        let length = usize::from(u16::from_be_bytes(self.take()?));
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        core::str::from_utf8(text).ok()
    }
}
