//! A store as a plain value, by the words of its contract: records, and the index of principals in one step with them or
//! apart.

use std::collections::BTreeMap;

use coatroom_core::{Entry, Handle, Listing, Stamp, Swap};

use super::actor::{Answer, Call};
use crate::exchange::Bytes;

/// Where a store is kept, and whose clock dates a revocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Kind {
    /// Record and index are one step, on the host that all callers are on.
    Here,
    /// Record and index are one step, and the store has a clock of its own.
    Server,
    /// The index is apart from the records, and the store has a clock of its own.
    Cluster,
}

impl Kind {
    pub fn is_in_one(self) -> bool {
        self != Self::Cluster
    }
}

/// How far the store's own clock is from the time.
const OFF: u64 = 7_654_321;

#[derive(Clone, Debug, Default, Hash)]
pub struct Line {
    pub listed: BTreeMap<Handle, u64>,
    pub revoked: u64,
}

#[derive(Clone, Debug)]
pub struct Shelf {
    pub kind: Kind,
    pub records: BTreeMap<Handle, Bytes>,
    pub index: BTreeMap<String, Line>,
}

impl Shelf {
    pub fn new(kind: Kind) -> Self {
        Self { kind, records: BTreeMap::new(), index: BTreeMap::new() }
    }

    /// Does what is asked for and says what came of it. `now` is the time.
    pub fn serve(&mut self, call: &Call, now: u64) -> Answer {
        match call {
            Call::Handler => Answer::Done,
            Call::Load(handle) => Answer::Found(self.records.get(handle).cloned()),
            Call::Swap(swap) => self.swap(swap, now),
            Call::Enter(entry) => self.enter(entry, now),
            Call::Sessions(principal) => {
                let line = self.index.get(principal);
                Answer::Sessions(line.into_iter().flat_map(|line| line.listed.keys().copied()).collect())
            }
            Call::Leave(principal, handle) => {
                self.leave(principal, *handle);
                Answer::Done
            }
            Call::Bar(principal, caller) => {
                let dated = if self.kind == Kind::Here { *caller } else { now + OFF };
                let line = self.index.entry(principal.clone()).or_default();
                line.revoked = dated.max(line.revoked + 1);
                Answer::Moment(line.revoked)
            }
        }
    }

    pub fn lists(&self, principal: &str, handle: Handle) -> bool {
        self.index.get(principal).is_some_and(|line| line.listed.contains_key(&handle))
    }

    fn swap(&mut self, swap: &Swap, now: u64) -> Answer {
        let present = self.records.get(&swap.handle);
        let entry = swap.listing.entry().filter(|_| self.kind.is_in_one());
        if entry.is_some_and(|entry| !self.admits(entry)) {
            return Answer::Full;
        }
        if present.and_then(|record| Stamp::of(record)) != swap.expected {
            return Answer::Conflict(present.cloned());
        }
        match &swap.new {
            Some(record) => drop(self.records.insert(swap.handle, record.as_slice().into())),
            None => drop(self.records.remove(&swap.handle)),
        }
        match &swap.listing {
            Listing::Leave(principal) if self.kind.is_in_one() => self.leave(principal, swap.handle),
            _ => {}
        }
        entry.map_or(Answer::Done, |entry| self.enter(entry, now))
    }

    fn admits(&self, entry: &Entry) -> bool {
        let Some((most, line)) = entry.at_most.zip(self.index.get(&entry.principal)) else { return true };
        let now = entry.now.as_unix_ms();
        let others = line.listed.iter().filter(|(handle, until)| **handle != entry.handle && **until > now);
        others.count() < most as usize
    }

    fn enter(&mut self, entry: &Entry, now: u64) -> Answer {
        if !self.admits(entry) {
            return Answer::Full;
        }
        let line = self.index.entry(entry.principal.clone()).or_default();
        let asked_at = entry.now.as_unix_ms();
        line.listed.retain(|_, until| *until > asked_at);
        let others = line.listed.keys().copied().take(entry.names as usize).collect();
        let before = (!line.listed.contains_key(&entry.handle)).then_some(others);
        line.listed.insert(entry.handle, entry.until.as_unix_ms());
        let ago = (self.kind != Kind::Here).then(|| (now + OFF).saturating_sub(line.revoked));
        Answer::Entered { revoked: line.revoked, ago, count: u32::try_from(line.listed.len()).unwrap(), before }
    }

    fn leave(&mut self, principal: &str, handle: Handle) {
        if let Some(line) = self.index.get_mut(principal) {
            line.listed.remove(&handle);
        }
    }
}
