//! A second reader of stored bytes, written from the documented format and sharing no code with the core: what the
//! invariants say about a record, they say about its bytes.

use std::collections::BTreeMap;

use coatroom_core::Value;

/// The front of a record, and where its data starts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Front {
    pub state: u8,
    pub version: u64,
    pub created: u64,
    pub seen: u64,
    pub deadline: u64,
    pub idle: u64,
    pub generation: u32,
    pub issued: u64,
    pub confirmed: u64,
    pub floor: u32,
    pub previous: Previous,
    /// Token and end.
    pub lease: Option<(u64, u64)>,
    pub ended: u64,
    pub cause: Option<u8>,
    pub principal: Option<String>,
    pub data_at: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Previous {
    None,
    Pending,
    Until(u64),
}

struct Input<'a>(&'a [u8], usize);

impl Input<'_> {
    fn number(&mut self, bytes: usize) -> Option<u64> {
        let part = self.0.get(self.1..self.1 + bytes)?;
        self.1 += bytes;
        Some(part.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
    }

    fn text(&mut self) -> Option<String> {
        let length = self.number(2)? as usize;
        let part = self.0.get(self.1..self.1 + length)?;
        self.1 += length;
        String::from_utf8(part.to_vec()).ok()
    }
}

impl std::fmt::Display for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { version, seen, deadline, generation, confirmed, floor, previous, lease, cause, principal, .. } =
            self;
        let since = |time: &u64| time.saturating_sub(crate::world::START);
        write!(f, "version {version}, seen {}, until {}, id {generation}", since(seen), since(deadline))?;
        write!(f, " confirmed {}, floor {floor}, {previous:?}, {cause:?}, {principal:?}", since(confirmed))?;
        match lease {
            Some((token, until)) => write!(f, ", leased to {token:x} until {}", since(until)),
            None => Ok(()),
        }
    }
}

impl Front {
    pub fn read(record: &[u8]) -> Option<Self> {
        let mut input = Input(record, 0);
        let format = input.number(1)?;
        if format != 1 && format != 2 {
            return None;
        }
        let state = input.number(1)? as u8;
        let version = input.number(8)?;
        input.1 += 32;
        let [created, seen, deadline, idle] = [input.number(6)?, input.number(6)?, input.number(6)?, input.number(6)?];
        let generation = input.number(4)? as u32;
        input.1 += 32;
        let issued = input.number(6)?;
        let confirmed = input.number(6)?;
        let floor = input.number(4)? as u32;
        let kind = input.number(1)?;
        let (kind, leased) = (kind & 3, kind > 3);
        let previous = if kind == 0 {
            Previous::None
        } else {
            input.1 += 32;
            if kind == 1 {
                input.1 += 16;
                Previous::Pending
            } else {
                Previous::Until(input.number(6)?)
            }
        };
        let lease = if leased { Some((input.number(8)?, input.number(6)?)) } else { None };
        let (ended, cause) = if state == 2 { (input.number(6)?, Some(input.number(1)? as u8)) } else { (0, None) };
        let principal = if input.number(1)? == 1 {
            input.1 += 7;
            let name = input.text()?;
            for _ in 0..input.number(2)? {
                input.text()?;
            }
            Some(name)
        } else {
            None
        };
        // What is sealed is nobody's to read here.
        if format == 1 {
            input.text()?;
            input.text()?;
        }
        Some(Self {
            state,
            version,
            created,
            seen,
            deadline,
            idle,
            generation,
            issued,
            confirmed,
            floor,
            previous,
            lease,
            ended,
            cause,
            principal,
            data_at: input.1,
        })
    }

    pub fn is_ended(&self) -> bool {
        self.state == 2
    }

    /// Who is logged in, if anybody still is.
    pub fn holder(&self) -> Option<&str> {
        if self.is_ended() { None } else { self.principal.as_deref() }
    }

    pub fn is_over_limit(&self, now: u64) -> bool {
        now >= self.deadline || (self.idle > 0 && now >= self.seen + self.idle)
    }

    /// Whether a genuine id of this generation was replaced and has no grace left: only a copy can still be in use. A clock
    /// that is behind the record is taken to be where the record is.
    pub fn is_reuse(&self, generation: u32, now: u64) -> bool {
        let now = now.max(self.seen);
        let in_grace = generation + 1 == self.generation
            && match self.previous {
                Previous::None => false,
                Previous::Pending => true,
                Previous::Until(until) => now < until,
            };
        !self.is_ended()
            && !self.is_over_limit(now)
            && generation >= self.floor
            && generation < self.generation
            && !in_grace
    }
}

/// The data of a record.
pub fn data(record: &[u8]) -> BTreeMap<String, Value> {
    let at = Front::read(record).map_or(record.len(), |front| front.data_at);
    match Value::decode(&record[at..]) {
        Ok(Value::Map(map)) => map,
        _ => BTreeMap::new(),
    }
}
