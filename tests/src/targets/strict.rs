//! A second, strict reader and writer of whole records, and a second judge of presented ids: format 1 as it is documented.

use std::collections::BTreeMap;

use crate::targets::{cbor, mint::Claim};

/// What bytes in the place of a record are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reading {
    Newer,
    Damaged,
    Whole(Box<Whole>),
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Whole {
    pub version: u64,
    pub commits: [[u8; 8]; 4],
    pub created: u64,
    pub seen: u64,
    pub deadline: u64,
    pub idle: u64,
    pub generation: u32,
    pub digest: [u8; 32],
    pub issued: u64,
    pub confirmed: u64,
    pub floor: u32,
    pub previous: Option<([u8; 32], Phase)>,
    /// Token and end.
    pub lease: Option<([u8; 8], u64)>,
    pub end: Option<(u64, u8)>,
    pub who: Option<Who>,
    pub client: [String; 2],
    /// Each key with the bytes of its value.
    pub data: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    Pending([u8; 16]),
    Until(u64),
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Who {
    pub level: u8,
    pub at: u64,
    pub name: String,
    pub roles: Vec<String>,
}

/// How an id stands towards a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Ended(u8),
    Expired(u8),
    BelowFloor,
    Current,
    Pending,
    Grace,
    Reuse,
    Forged,
}

impl Verdict {
    pub fn is_live(self) -> bool {
        matches!(self, Self::Current | Self::Pending | Self::Grace)
    }
}

pub const IDLE: u8 = 1;
pub const ABSOLUTE: u8 = 2;
pub const NOT_ACTIVATED: u8 = 3;

impl Reading {
    pub fn of(bytes: &[u8]) -> Self {
        match bytes.first() {
            Some(3..) => Self::Newer,
            Some(1) => Whole::read(&bytes[1..]).map_or(Self::Damaged, |whole| Self::Whole(Box::new(whole))),
            _ => Self::Damaged,
        }
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn number(&mut self, bytes: usize) -> Option<u64> {
        Some(self.take(bytes)?.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
    }

    fn generation(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.array()?))
    }

    fn text(&mut self) -> Option<String> {
        let length = self.number(2)?;
        String::from_utf8(self.take(length as usize)?.to_vec()).ok()
    }
}

/// Where the part of a record begins that can be sealed, whatever its format.
pub fn tail_at(bytes: &[u8]) -> Option<usize> {
    let mut input = Input(bytes.get(1..)?);
    Whole::front(&mut input)?;
    Some(bytes.len() - input.0.len())
}

impl Whole {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut input = Input(bytes);
        let (state, mut whole) = Self::front(&mut input)?;
        whole.client = [input.text()?, input.text()?];
        whole.data = pairs(input.0)?;
        (state == whole.state() && whole.is_consistent()).then_some(whole)
    }

    fn front(input: &mut Input<'_>) -> Option<(u64, Self)> {
        let state = input.number(1)?;
        let mut whole = Self {
            version: input.number(8)?,
            commits: [input.array()?, input.array()?, input.array()?, input.array()?],
            created: input.number(6)?,
            seen: input.number(6)?,
            deadline: input.number(6)?,
            idle: input.number(6)?,
            generation: input.generation()?,
            digest: input.array()?,
            issued: input.number(6)?,
            confirmed: input.number(6)?,
            floor: input.generation()?,
            ..Self::default()
        };
        let kind = input.number(1)?;
        whole.previous = match kind % 4 {
            0 => None,
            1 => Some((input.array()?, Phase::Pending(input.array()?))),
            2 => Some((input.array()?, Phase::Until(input.number(6)?))),
            _ => return None,
        };
        whole.lease = match kind / 4 {
            0 => None,
            1 => Some((input.array()?, input.number(6)?)),
            _ => return None,
        };
        if state == 2 {
            whole.end = Some((input.number(6)?, input.number(1).filter(|cause| *cause < 8)? as u8));
        }
        whole.who = match input.number(1)? {
            0 => None,
            1 => Some(who(input)?),
            _ => return None,
        };
        (state <= 2 && (state == 2 || (state == 1) == whole.who.is_some())).then_some((state, whole))
    }

    fn state(&self) -> u64 {
        match (self.end, &self.who) {
            (Some(_), _) => 2,
            (None, Some(_)) => 1,
            (None, None) => 0,
        }
    }

    /// What holds between the fields of every record.
    fn is_consistent(&self) -> bool {
        let previous = match self.previous {
            None => true,
            Some((_, Phase::Pending(_))) => self.confirmed == 0 && self.floor < self.generation,
            Some((_, Phase::Until(_))) => self.confirmed > 0 && self.floor < self.generation,
        };
        let ended = self.end.is_none_or(|_| {
            let bare = self.previous.is_none() && self.lease.is_none();
            let bare = bare && self.client == [const { String::new() }; 2] && self.data.is_empty();
            bare && self.who.as_ref().is_none_or(|who| who.roles.is_empty())
        });
        self.floor <= self.generation && previous && ended
    }

    pub fn write(&self) -> Vec<u8> {
        let mut out = vec![1, self.state() as u8];
        let time = |out: &mut Vec<u8>, ms: u64| out.extend_from_slice(&ms.to_be_bytes()[2..]);
        let text = |out: &mut Vec<u8>, text: &str| {
            out.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        };
        out.extend_from_slice(&self.version.to_be_bytes());
        out.extend_from_slice(self.commits.as_flattened());
        [self.created, self.seen, self.deadline, self.idle].into_iter().for_each(|ms| time(&mut out, ms));
        out.extend_from_slice(&self.generation.to_be_bytes());
        out.extend_from_slice(&self.digest);
        [self.issued, self.confirmed].into_iter().for_each(|ms| time(&mut out, ms));
        out.extend_from_slice(&self.floor.to_be_bytes());
        let kind = if self.lease.is_some() { 4 } else { 0 };
        match self.previous {
            None => out.push(kind),
            Some((digest, Phase::Pending(nonce))) => {
                out.extend_from_slice(&[&[kind + 1], &digest[..], &nonce].concat())
            }
            Some((digest, Phase::Until(until))) => {
                out.extend_from_slice(&[&[kind + 2], &digest[..]].concat());
                time(&mut out, until);
            }
        }
        if let Some((token, until)) = self.lease {
            out.extend_from_slice(&token);
            time(&mut out, until);
        }
        if let Some((at, cause)) = self.end {
            time(&mut out, at);
            out.push(cause);
        }
        out.push(u8::from(self.who.is_some()));
        if let Some(who) = &self.who {
            out.push(who.level);
            time(&mut out, who.at);
            text(&mut out, &who.name);
            out.extend_from_slice(&u16::try_from(who.roles.len()).unwrap().to_be_bytes());
            who.roles.iter().for_each(|role| text(&mut out, role));
        }
        self.client.iter().for_each(|part| text(&mut out, part));
        let mut keys: Vec<_> =
            self.data.iter().map(|(key, value)| (cbor::write(&key.as_str().into()), value)).collect();
        keys.sort();
        let count = cbor::write(&coatroom_core::Value::Int(keys.len() as i64));
        out.push(count[0] | 0xa0);
        out.extend_from_slice(&count[1..]);
        keys.into_iter().for_each(|(key, value)| out.extend_from_slice(&[&key[..], value].concat()));
        out
    }

    /// The latest time that the record says has been.
    pub fn latest(&self) -> u64 {
        [self.created, self.seen, self.issued, self.confirmed, self.end.map_or(0, |end| end.0)]
            .into_iter()
            .max()
            .unwrap()
    }

    /// Whether another than the holder of this token has its turn, on a node whose clock may be off by so much.
    pub fn is_leased(&self, token: Option<[u8; 8]>, now: u64, skew: u64) -> bool {
        const END_OF_TIME: u64 = (1 << 48) - 1;
        self.lease.is_some_and(|(holder, until)| Some(holder) != token && now < (until + skew).min(END_OF_TIME))
    }

    pub fn over(&self, now: u64, activation: Option<u64>) -> Option<u8> {
        const END_OF_TIME: u64 = (1 << 48) - 1;
        let reached = |from: u64, span: u64| now >= (from + span).min(END_OF_TIME);
        let first = self.generation == self.floor && self.confirmed == 0;
        if now >= self.deadline {
            Some(ABSOLUTE)
        } else if self.idle > 0 && reached(self.seen, self.idle) {
            Some(IDLE)
        } else {
            activation.filter(|&limit| first && reached(self.issued, limit)).map(|_| NOT_ACTIVATED)
        }
    }

    /// The order of the questions is that of LIFECYCLE section 3.
    pub fn judge(&self, claim: &Claim, now: u64, activation: Option<u64>) -> Verdict {
        if let Some((_, cause)) = self.end {
            return Verdict::Ended(cause);
        }
        if let Some(cause) = self.over(now, activation) {
            return Verdict::Expired(cause);
        }
        if claim.generation < self.floor {
            return Verdict::BelowFloor;
        }
        let steps = i64::from(self.generation) - i64::from(claim.generation);
        match (steps, self.previous) {
            (0, _) if self.digest == claim.digest() => Verdict::Current,
            (..=0, _) => Verdict::Forged,
            (1, Some((digest, _))) if digest != claim.digest() => Verdict::Forged,
            (1, Some((_, Phase::Pending(_)))) => Verdict::Pending,
            (1, Some((_, Phase::Until(until)))) if now < until => Verdict::Grace,
            _ => Verdict::Reuse,
        }
    }
}

fn who(input: &mut Input<'_>) -> Option<Who> {
    let (level, at) = (input.number(1)? as u8, input.number(6)?);
    let name = input.text().filter(|name| !name.is_empty())?;
    let count = input.number(2)?;
    let mut roles: Vec<String> = Vec::new();
    for _ in 0..count {
        let role = input.text().filter(|role| role > roles.last().unwrap_or(&String::new()))?;
        roles.push(role);
    }
    Some(Who { level, at, name, roles })
}

/// A map with text keys, its values left encoded but checked.
fn pairs(bytes: &[u8]) -> Option<BTreeMap<String, Vec<u8>>> {
    let coatroom_core::Value::Map(map) = cbor::deep(bytes)? else { return None };
    Some(map.into_iter().map(|(key, value)| (key, cbor::write(&value))).collect())
}
