//! Exchanges of this process that write to one session queue up instead of colliding in the store, and each hands the record
//! that it left to the next. Other processes still collide, and then the stamp decides as ever.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coatroom_core::Handle;
use tokio::sync::{Mutex as Lane, OwnedMutexGuard};

/// Handles are random: their last byte spreads them well.
const SHARDS: usize = 64;

type Left = Option<Vec<u8>>;
/// So few are written to at once that to compare is quicker than to hash.
type Shard = Vec<(Handle, Arc<Lane<Left>>)>;

/// One lane for each session that is being written to. A clone is the same.
#[derive(Clone, Debug)]
pub(crate) struct Lanes(Arc<[Mutex<Shard>]>);

/// The right to write to a session, until dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    lanes: Lanes,
    handle: Handle,
    /// What the one before left in the store. None only while the turn is given back.
    left: Option<OwnedMutexGuard<Left>>,
}

impl Default for Lanes {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }
}

impl Lanes {
    /// The turn, if nobody came first.
    pub(crate) fn free_turn(&self, handle: Handle) -> Option<Turn> {
        let left = Some(self.lane(handle)?.try_lock_owned().ok()?);
        Some(Turn { lanes: self.clone(), handle, left })
    }

    /// Waits for the exchanges of this process that came first, in their order.
    pub(crate) async fn turn(&self, handle: Handle) -> Option<Turn> {
        let left = Some(self.lane(handle)?.lock_owned().await);
        Some(Turn { lanes: self.clone(), handle, left })
    }

    fn lane(&self, handle: Handle) -> Option<Arc<Lane<Left>>> {
        let mut shard = self.shard(handle)?;
        if let Some((_, lane)) = shard.iter().find(|(other, _)| *other == handle) {
            return Some(Arc::clone(lane));
        }
        let lane = Arc::<Lane<Left>>::default();
        shard.push((handle, Arc::clone(&lane)));
        Some(lane)
    }

    fn shard(&self, handle: Handle) -> Option<MutexGuard<'_, Shard>> {
        let [.., last] = *handle.as_bytes();
        let shard = self.0.get(usize::from(last).checked_rem(SHARDS)?)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Turn {
    pub(crate) const fn handle(&self) -> Handle {
        self.handle
    }

    /// The record that the one before left, once.
    pub(crate) fn take_left(&mut self) -> Left {
        self.left.as_mut().and_then(|left| left.take())
    }

    /// Tells the next one what is stored now.
    pub(crate) fn leave(&mut self, record: Left) {
        if let Some(left) = self.left.as_mut() {
            **left = record;
        }
    }
}

impl Drop for Turn {
    /// A lane in which nobody waits is cleared away.
    fn drop(&mut self) {
        let Some(mut shard) = self.lanes.shard(self.handle) else { return };
        drop(self.left.take());
        let at = shard.iter().position(|(handle, lane)| *handle == self.handle && Arc::strong_count(lane) == 1);
        if let Some(at) = at {
            shard.swap_remove(at);
        }
    }
}
