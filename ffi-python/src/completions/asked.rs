//! An exchange while a far store has it.

use std::sync::Arc;

use coatroom_core::staged::Staged;
use coatroom_core::{Closing, Opening};
use coatroom_store::{Swapped, Work};

use super::Ticket;
use crate::engine::FarDriver;
use crate::exchange::Slot;

/// What a far store is asked for.
pub(super) struct Asked {
    pub(super) driver: Arc<FarDriver>,
    pub(super) slot: Slot,
    pub(super) ticket: Ticket,
}

impl Asked {
    pub(super) async fn open(self, opening: Opening) {
        let opening = match self.driver.finish_opening(opening).await {
            Ok(session) => Opening::Ready(session),
            Err(refused) => Opening::Unavailable(refused.0),
        };
        self.end(opening);
    }

    pub(super) async fn close(self, closing: Closing, first: Option<Swapped>) {
        let closing = match self.driver.finish_after(closing, first).await {
            Ok(reply) => Closing::Done(reply),
            Err(refused) => Closing::Failed(refused.0),
        };
        let driver = Arc::clone(&self.driver);
        self.end(closing);
        driver.sweep_if_due().await;
    }

    /// Leaves the result, and tells that it is there.
    pub(super) fn end(self, next: impl Into<Staged>) {
        let next = next.into();
        self.slot.locked(|staged| *staged = next);
    }

    /// Has the loop's reactor do the rest.
    pub(super) fn go_on(self, work: impl FnOnce(Self) -> Work) {
        let finished = Arc::clone(&self.ticket.finished);
        finished.reactor.spawn(work(self));
    }
}
