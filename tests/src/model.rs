//! What a session means, once more: a model to hold the core against. It is written from the rules, knows no bytes, no
//! keys and no version numbers, and shares nothing with the core or with [`crate::invariants`].
//!
//! An id is the name of its session, a count, and the name of its secret; a record is known by all who ever wrote it, and
//! that is what the store compares; what an exchange wants is the list of its calls, repeated one by one on what is stored.

use std::collections::BTreeMap;
use std::rc::Rc;

pub mod attempt;
pub mod exchange;

/// Milliseconds, as a span or since the epoch.
pub type Ms = u64;
/// The exchange that created it, and at which attempt.
pub type Name = (usize, u32);
pub type Data = BTreeMap<&'static str, Datum>;
/// What happened, to which session, and the rest of it.
pub type Event = (&'static str, Option<Name>, &'static str);

pub const LOGIN: usize = 0;
pub const VISITOR: usize = 1;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Datum {
    Int(i64),
    Text,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    pub idle: Option<Ms>,
    pub touch: Option<Ms>,
    pub absolute: Ms,
    pub activation: Option<Ms>,
    pub skew: Ms,
    pub rotate_every: Option<Ms>,
    pub grace: Ms,
    /// The keys that survive a login; none: all of them.
    pub carry: Option<&'static [&'static str]>,
    pub reuse_ends: bool,
    pub strict: bool,
    pub tombstone: bool,
    /// Means nothing here: whether records are sealed is not to be seen.
    pub sealed: bool,
}

/// Who made a secret, and for what.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Secret {
    Created(usize, u32),
    Raised(usize),
    Rotated(usize),
    Forged(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Id {
    pub session: Name,
    pub generation: u32,
    pub secret: Secret,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Who {
    pub name: &'static str,
    pub level: u8,
    pub since: Ms,
}

#[derive(Clone, Debug)]
pub struct Session {
    pub id: Id,
    pub issued: Ms,
    pub confirmed: Option<Ms>,
    /// The secret before, and until when it works; no time: until the client has shown the new one.
    pub previous: Option<(Secret, Option<Ms>)>,
    pub floor: u32,
    pub who: Option<Who>,
    pub data: Data,
    pub label: Option<u8>,
    pub created: Ms,
    pub seen: Ms,
    pub idle: Option<Ms>,
    pub deadline: Ms,
    pub end: Option<(Ms, &'static str)>,
    /// The exchanges that wrote it, in order.
    pub writers: Vec<usize>,
}

/// What an id is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Worth {
    Ended(&'static str),
    Over(&'static str),
    BelowFloor,
    Current,
    Pending,
    Grace,
    Reuse,
    Forged,
}

impl Worth {
    pub fn opens(self) -> bool {
        matches!(self, Self::Current | Self::Pending | Self::Grace)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Current => "opened as current",
            Self::Pending => "opened before the confirmation",
            Self::Grace => "opened in grace",
            _ => "opens nothing",
        }
    }

    pub fn state(self) -> &'static str {
        match self {
            Self::Ended("idle" | "absolute" | "not activated") | Self::Over(_) => "Expired",
            Self::Ended(_) | Self::Forged => "Destroyed",
            Self::Current => "Active",
            Self::Pending | Self::Grace | Self::BelowFloor | Self::Reuse => "Regenerated",
        }
    }
}

impl Session {
    /// Section 3: the questions in their order.
    pub fn judge(&self, id: Id, now: Ms, policy: &Policy) -> Worth {
        if let Some((_, cause)) = self.end {
            return Worth::Ended(cause);
        }
        if let Some(cause) = self.over(now, policy) {
            return Worth::Over(cause);
        }
        if id.generation < self.floor {
            return Worth::BelowFloor;
        }
        if id.generation >= self.id.generation {
            return if id == self.id { Worth::Current } else { Worth::Forged };
        }
        match self.previous {
            Some((secret, until)) if id.generation + 1 == self.id.generation => match until {
                _ if secret != id.secret => Worth::Forged,
                None => Worth::Pending,
                Some(until) if now < until => Worth::Grace,
                Some(_) => Worth::Reuse,
            },
            _ => Worth::Reuse,
        }
    }

    fn over(&self, now: Ms, policy: &Policy) -> Option<&'static str> {
        let unused = self.id.generation == self.floor && self.confirmed.is_none();
        if now >= self.deadline {
            Some("absolute")
        } else if self.idle.is_some_and(|idle| now >= self.seen + idle) {
            Some("idle")
        } else if unused && policy.activation.is_some_and(|limit| now >= self.issued + limit) {
            Some("not activated")
        } else {
            None
        }
    }

    /// The latest moment that the record speaks of as past.
    pub fn latest(&self) -> Ms {
        let ended = self.end.map_or(0, |end| end.0);
        [self.created, self.seen, self.issued, self.confirmed.unwrap_or(0), ended].into_iter().max().unwrap_or(0)
    }

    pub fn is_touch_due(&self, now: Ms, policy: &Policy) -> bool {
        let usual = self.idle.map_or(60_000, |idle| (idle / 16).min(60_000));
        let after = policy.touch.map_or(usual, |touch| self.idle.map_or(touch, |idle| touch.min(idle / 2)));
        now >= self.seen + after && now > self.seen
    }

    /// Moments at which something about this session changes by itself.
    pub fn moments(&self, policy: &Policy) -> Vec<Ms> {
        let until = self.previous.and_then(|previous| previous.1);
        let idle = self.idle.map(|idle| self.seen + idle);
        let rest = self.confirmed.map(|at| at + 2 * policy.grace);
        let due = policy.rotate_every.map(|every| self.issued + every);
        let unused = policy.activation.filter(|_| self.confirmed.is_none()).map(|limit| self.issued + limit);
        [Some(self.deadline), until, idle, rest, due, unused].into_iter().flatten().collect()
    }

    pub fn confirm(&mut self, id: Id, now: Ms, policy: &Policy) -> bool {
        if id != self.id || self.confirmed.is_some() {
            return false;
        }
        self.confirmed = Some(now);
        self.previous = self.previous.map(|(secret, _)| (secret, Some((now + policy.grace).min(self.deadline))));
        true
    }

    /// A new id before which nothing counts any more.
    pub fn raise(&mut self, secret: Secret, now: Ms) {
        let generation = self.id.generation + 1;
        self.id = Id { generation, secret, ..self.id };
        (self.issued, self.confirmed, self.previous, self.floor) = (now, None, None, generation);
    }

    pub fn rotate(&mut self, secret: Secret, now: Ms) {
        self.previous = Some((self.id.secret, None));
        self.id = Id { generation: self.id.generation + 1, secret, ..self.id };
        (self.issued, self.confirmed) = (now, None);
    }

    /// Only who it was, when and why is left.
    #[must_use]
    pub fn ended(&self, now: Ms, cause: &'static str) -> Self {
        Self { end: Some((now, cause)), previous: None, data: Data::new(), label: None, ..self.clone() }
    }
}

/// What a store holds under a name.
#[derive(Clone, Debug)]
pub enum Kept {
    Session(Rc<Session>),
    Damaged,
    Newer,
}

/// A store, and the rules for everybody.
#[derive(Clone, Debug)]
pub struct Model {
    pub policy: Policy,
    pub store: BTreeMap<Name, Kept>,
}

impl Model {
    /// What is stored, as a node sees it whose clock says `now`; the error is that it cannot be judged.
    pub fn look(&self, name: Name, now: Ms, events: &mut Vec<Event>) -> Result<Option<Rc<Session>>, &'static str> {
        let event = match self.store.get(&name) {
            None => return Ok(None),
            Some(Kept::Session(session)) if session.latest() <= now + self.policy.skew => {
                return Ok(Some(Rc::clone(session)));
            }
            Some(Kept::Session(_)) => "clock behind",
            Some(Kept::Damaged) => "damaged record",
            Some(Kept::Newer) => "newer record",
        };
        events.push((event, Some(name), ""));
        if event == "damaged record" { Ok(None) } else { Err("unavailable") }
    }

    /// Compare, and swap.
    pub fn swap(&mut self, name: Name, believed: Option<&Rc<Session>>, new: Option<Rc<Session>>) -> bool {
        let fits = match (self.store.get(&name), believed) {
            (None, None) => true,
            (Some(Kept::Session(there)), Some(believed)) => there.writers == believed.writers,
            _ => false,
        };
        if fits {
            match new {
                Some(new) => drop(self.store.insert(name, Kept::Session(new))),
                None => drop(self.store.remove(&name)),
            }
        }
        fits
    }
}
