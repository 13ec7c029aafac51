//! The index of principals in the memory of one process.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::sync::PoisonError;
use std::time::Duration;

use coatroom_core::{Entry, Handle, NOT_BEFORE_KEPT, Timestamp};

use crate::Entered;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};

const SHARDS: usize = 16;

/// Who is logged in where. Principals are chosen by outsiders, so the hash that spreads them is keyed.
pub(crate) struct Index {
    shards: Vec<Mutex<Principals>>,
    hash: RandomState,
    swept: AtomicUsize,
}

impl Default for Index {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hash: RandomState::new(), swept: AtomicUsize::new(0) }
    }
}

/// Some principals, and nobody else is looking at them.
#[derive(Default)]
pub(crate) struct Principals(HashMap<String, Sessions>);

#[derive(Default)]
struct Sessions {
    revoked: Timestamp,
    /// Each with the time by which it is over.
    listed: BTreeMap<Handle, Timestamp>,
}

impl Index {
    /// The principal, held until dropped. Taken before a lock on a record, never after.
    pub(crate) fn of(&self, principal: &str) -> Option<MutexGuard<'_, Principals>> {
        let hash = self.hash.hash_one(principal);
        self.shard(usize::try_from(hash & 0xffff).unwrap_or_default())
    }

    /// Forgets what no longer matters of one part of the principals; the next call takes the next part.
    pub(crate) fn sweep(&self, now: Timestamp) {
        let Some(mut principals) = self.shard(self.swept.fetch_add(1, Ordering::Relaxed)) else { return };
        principals.0.retain(|_, sessions| {
            sessions.listed.retain(|_, until| *until > now);
            !sessions.listed.is_empty() || now.since(sessions.revoked) <= NOT_BEFORE_KEPT
        });
    }

    fn shard(&self, at: usize) -> Option<MutexGuard<'_, Principals>> {
        let at = at.checked_rem(SHARDS)?;
        self.shards.get(at).map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Principals {
    /// Whether the entry leaves the principal within the number that it allows.
    pub(crate) fn admits(&self, entry: &Entry) -> bool {
        let Some((most, sessions)) = entry.at_most.zip(self.0.get(&entry.principal)) else { return true };
        let others = sessions
            .listed
            .iter()
            .filter(|(handle, until)| (**handle != entry.handle || planted!(LimitCountsItself)) && **until > entry.now);
        others.count() < usize::try_from(most).unwrap_or(usize::MAX)
    }

    pub(crate) fn enter(&mut self, entry: &Entry) -> Entered {
        let sessions = self.0.entry(entry.principal.clone()).or_default();
        sessions.listed.retain(|_, until| *until > entry.now);
        let is_listed = sessions.listed.contains_key(&entry.handle);
        let others = sessions.listed.iter().map(|(handle, until)| (*until, *handle));
        let before = (!is_listed).then(|| named(entry, others.collect()));
        sessions.listed.insert(entry.handle, entry.until);
        let count = u32::try_from(sessions.listed.len()).unwrap_or(u32::MAX);
        Entered { revoked: sessions.revoked, ago: None, count, before }
    }

    pub(crate) fn leave(&mut self, principal: &str, handle: Handle) {
        if let Some(sessions) = self.0.get_mut(principal) {
            sessions.listed.remove(&handle);
        }
    }

    pub(crate) fn sessions(&self, principal: &str) -> Vec<Handle> {
        self.0.get(principal).into_iter().flat_map(|sessions| sessions.listed.keys().copied()).collect()
    }

    pub(crate) fn bar(&mut self, principal: &str, now: Timestamp) -> Timestamp {
        let sessions = self.0.entry(principal.to_owned()).or_default();
        let step = if planted!(MomentsRepeat) { Duration::ZERO } else { Duration::from_millis(1) };
        sessions.revoked = now.max(sessions.revoked.plus(step));
        sessions.revoked
    }
}

/// As many of the others as the entry asks for.
pub(crate) fn named(entry: &Entry, mut others: Vec<(Timestamp, Handle)>) -> Vec<Handle> {
    let most = usize::try_from(entry.names).unwrap_or(usize::MAX);
    if most > 0 {
        others.sort_unstable();
    }
    others.into_iter().take(most).map(|(_, handle)| handle).collect()
}
