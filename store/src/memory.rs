//! Records in the memory of one process: for tests, and for sites of one process that may forget everything.

mod feed;

use core::hash::{BuildHasherDefault, Hasher};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::PoisonError;

use coatroom_core::{Announcement, Entry as Line, Handle, Listing, Loaded, Stamp, Swap, Timestamp};

use crate::index::Index;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::{
    Cursor, Engine, Entered, Increment, Listening, NotAnnounced, NotListed, Nudge, Swapped, Unavailable, Wait,
};
use feed::Feed;

/// Enough that two threads rarely meet.
const SHARDS: usize = 64;

type Shard = HashMap<Handle, Kept, BuildHasherDefault<HandleHasher>>;

struct Kept {
    record: Box<[u8]>,
    garbage_at: Timestamp,
}

/// An engine in memory. Its records end with the process, and are not shared among processes.
pub struct Memory {
    shards: Vec<Mutex<Shard>>,
    index: Index,
    feed: Feed,
    swept: AtomicUsize,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            index: Index::default(),
            feed: Feed::default(),
            swept: AtomicUsize::new(0),
        }
    }
}

impl core::fmt::Debug for Memory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Memory").field("records", &self.len()).finish_non_exhaustive()
    }
}

impl Memory {
    /// Number of records, ended ones that are not swept yet included.
    pub fn len(&self) -> usize {
        (0..SHARDS).filter_map(|at| self.shard(at)).map(|shard| shard.len()).fold(0, usize::saturating_add)
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard_of(&self, handle: Handle) -> Option<MutexGuard<'_, Shard>> {
        let [.., last] = *handle.as_bytes();
        self.shard(usize::from(last))
    }

    /// No code that can panic runs under the lock, so a poisoned one holds whole records all the same.
    fn shard(&self, at: usize) -> Option<MutexGuard<'_, Shard>> {
        let at = at.checked_rem(SHARDS)?;
        self.shards.get(at).map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    // spec: STORE-1 4bc6, STORE-2 4ba9, STORE-3 1632
    fn write(&self, swap: &Swap) -> Swapped {
        let new = swap.new.as_deref().map(|record| Kept { record: record.into(), garbage_at: swap.garbage_at });
        let Some(mut shard) = self.shard_of(swap.handle) else { return Swapped::Unavailable };
        match (shard.entry(swap.handle), swap.expected) {
            (Entry::Vacant(place), None) => {
                if let Some(new) = new {
                    place.insert(new);
                }
                Swapped::Done
            }
            (Entry::Occupied(mut place), Some(expected)) if Stamp::of(&place.get().record) == Some(expected) => {
                match new {
                    Some(new) => drop(place.insert(new)),
                    None => drop(place.remove()),
                }
                Swapped::Done
            }
            (Entry::Vacant(_), Some(_)) => Swapped::Conflict(None),
            (Entry::Occupied(place), _) => Swapped::Conflict(Some(place.get().record.to_vec())),
        }
    }
}

impl Engine for Memory {
    fn load(&self, handle: Handle) -> Loaded {
        let Some(shard) = self.shard_of(handle) else { return Loaded::Unavailable };
        shard.get(&handle).map_or(Loaded::Absent, |kept| Loaded::Found(kept.record.to_vec()))
    }

    fn swap(&self, swap: &Swap, _: Wait) -> Option<Swapped> {
        Some(match &swap.listing {
            Listing::Keep => self.write(swap),
            Listing::Enter(entry) => match self.index.of(&entry.principal) {
                None => Swapped::Unavailable,
                Some(principals) if !principals.admits(entry) => Swapped::Full,
                Some(mut principals) => match self.write(swap) {
                    Swapped::Done => Swapped::Entered(principals.enter(entry)),
                    refused => refused,
                },
            },
            Listing::Leave(principal) => {
                let Some(mut principals) = self.index.of(principal) else { return Some(Swapped::Unavailable) };
                let written = self.write(swap);
                if written == Swapped::Done {
                    principals.leave(principal, swap.handle);
                }
                written
            }
        })
    }

    fn enter(&self, entry: &Line) -> Result<Entered, NotListed> {
        let mut principals = self.index.of(&entry.principal).ok_or(Unavailable)?;
        if principals.admits(entry) { Ok(principals.enter(entry)) } else { Err(NotListed::Full) }
    }

    fn sessions(&self, principal: &str) -> Result<Vec<Handle>, Unavailable> {
        Ok(self.index.of(principal).ok_or(Unavailable)?.sessions(principal))
    }

    fn leave(&self, principal: &str, handle: Handle) -> Result<(), Unavailable> {
        self.index.of(principal).ok_or(Unavailable)?.leave(principal, handle);
        Ok(())
    }

    fn bar(&self, principal: &str, now: Timestamp) -> Result<Timestamp, Unavailable> {
        Ok(self.index.of(principal).ok_or(Unavailable)?.bar(principal, now))
    }

    /// A whole shard at a time, whatever `max` is.
    fn scan(&self, from: Option<Cursor>, _: usize) -> Result<(Vec<Handle>, Option<Cursor>), Unavailable> {
        let at = from.map_or(0, |Cursor(bytes)| usize::from(bytes.first().copied().unwrap_or_default()));
        let handles = self.shard(at).ok_or(Unavailable)?.keys().copied().collect();
        let next = at.saturating_add(1);
        Ok((handles, (next < SHARDS).then(|| Cursor(vec![u8::try_from(next).unwrap_or_default()]))))
    }

    fn has_feed(&self) -> bool {
        true
    }

    fn announce(&self, announcement: &Announcement, forget_at: Timestamp) -> Result<(), NotAnnounced> {
        self.feed.announce(announcement, forget_at);
        Ok(())
    }

    fn announced(&self, since: Option<Cursor>, max: usize) -> Result<Increment, NotAnnounced> {
        self.feed.announced(since.as_ref(), max)
    }

    fn listen(&self, nudge: Nudge) -> Option<Listening> {
        Some(self.feed.listen(nudge))
    }

    fn sweeps_at_once(&self) -> bool {
        true
    }

    /// One shard at a time, in turn.
    // spec: STORE-7 250a
    fn sweep(&self, now: Timestamp, max: usize) -> Result<usize, Unavailable> {
        self.index.sweep(now);
        self.feed.sweep(now);
        let mut removed = 0_usize;
        for _ in 0..SHARDS {
            let Some(mut shard) = self.shard(self.swept.fetch_add(1, Ordering::Relaxed)) else { break };
            let before = shard.len();
            shard.retain(|_, kept| kept.garbage_at > now);
            removed = removed.saturating_add(before.saturating_sub(shard.len()));
            if removed >= max || before > max {
                break;
            }
        }
        Ok(removed)
    }
}

/// Handles are random and come in under a tag of ours, so eight of their bytes are as good as any hash of them.
#[derive(Default)]
struct HandleHasher(u64);

impl Hasher for HandleHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 ^= u64::from_ne_bytes(*first);
        }
    }

    fn write_usize(&mut self, _: usize) {}
}
