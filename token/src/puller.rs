//! From the feed of a store to the revocations of a verifier.

use std::sync::Arc;

use coatroom_core::Timestamp;
use coatroom_store::{Cursor, NotAnnounced, Store};

use crate::revocations::Revocations;

/// Announcements fetched at once.
const BATCH: usize = 1000;

/// Brings revocations up to date from a store, by what is new alone. Call it every few seconds, and at once when the store
/// says that there is something new: [`crate::Follower`] does.
#[derive(Debug)]
pub struct Puller<S> {
    store: S,
    revocations: Arc<Revocations>,
    cursor: Option<Cursor>,
}

impl<S: Store> Puller<S> {
    /// Begins at the beginning of the feed.
    pub const fn new(store: S, revocations: Arc<Revocations>) -> Self {
        Self { store, revocations, cursor: None }
    }

    /// Where it pulls from.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// Fetches what is new, and says how much that was. `now` is the clock's reading *before* the call. When it fails, what came
    /// until then is known, and the next call goes on behind it.
    // spec: TOKEN-13 0b79, FEED-3 19a1
    pub async fn pull(&mut self, now: Timestamp) -> Result<usize, NotAnnounced> {
        let mut count = 0_usize;
        loop {
            let increment = self.store.announced(self.cursor.clone(), BATCH).await?;
            count = count.saturating_add(increment.announcements.len());
            let is_all = !increment.more;
            self.revocations.learn(&increment.announcements, is_all.then_some(now), now);
            self.cursor = Some(increment.next);
            if is_all {
                return Ok(count);
            }
        }
    }
}
