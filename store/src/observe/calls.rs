//! The calls of a store, each of them watched: the driver makes none but through here.

use core::future::Future;

use coatroom_core::{Announcement, Entry, Handle, Loaded, Swap, Timestamp};

use super::Watch;
use crate::{Cursor, Engine, Entered, Host, NotListed, Store, Swapped, Unavailable, Wait};

/// An operation of a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Call {
    Load,
    Swap,
    Enter,
    Sessions,
    Leave,
    Bar,
    Scan,
    Sweep,
    Announce,
}

/// A store and who watches it. Its operations are those of [`Store`] and [`Engine`]; `_now` marks the latter.
#[cfg_attr(
    not(any(feature = "tracing", feature = "metrics")),
    expect(dead_code, reason = "the clock and the watch are for those who look")
)]
pub(crate) struct Calls<'a, S, H> {
    pub(crate) store: &'a S,
    pub(crate) host: &'a H,
    pub(crate) watch: &'a Watch,
}

impl<S, H> Clone for Calls<'_, S, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, H> Copy for Calls<'_, S, H> {}

impl<S: Store, H: Host> Calls<'_, S, H> {
    pub(crate) fn load(self, handle: Handle) -> impl Future<Output = Loaded> + Send {
        self.watched(Call::Load, Some(handle), move || self.store.load(handle))
    }

    pub(crate) fn swap(self, swap: &Swap) -> impl Future<Output = Swapped> + Send {
        self.watched(Call::Swap, Some(swap.handle), move || self.store.swap(swap))
    }

    pub(crate) fn enter(self, entry: &Entry) -> impl Future<Output = Result<Entered, NotListed>> + Send {
        self.watched(Call::Enter, Some(entry.handle), move || self.store.enter(entry))
    }

    pub(crate) fn sessions(self, principal: &str) -> impl Future<Output = Result<Vec<Handle>, Unavailable>> + Send {
        self.watched(Call::Sessions, None, move || self.store.sessions(principal))
    }

    pub(crate) fn leave(self, principal: &str, handle: Handle) -> impl Future<Output = Result<(), Unavailable>> + Send {
        self.watched(Call::Leave, Some(handle), move || self.store.leave(principal, handle))
    }

    pub(crate) fn bar(
        self,
        principal: &str,
        now: Timestamp,
    ) -> impl Future<Output = Result<Timestamp, Unavailable>> + Send {
        self.watched(Call::Bar, None, move || self.store.bar(principal, now))
    }

    pub(crate) fn scan(
        self,
        from: Option<Cursor>,
        max: usize,
    ) -> impl Future<Output = Result<(Vec<Handle>, Option<Cursor>), Unavailable>> + Send {
        self.watched(Call::Scan, None, move || self.store.scan(from, max))
    }

    pub(crate) fn sweep(self, now: Timestamp, max: usize) -> impl Future<Output = Result<usize, Unavailable>> + Send {
        self.watched(Call::Sweep, None, move || self.store.sweep(now, max))
    }

    pub(crate) fn announce(
        self,
        announcement: &Announcement,
        forget_at: Timestamp,
    ) -> impl Future<Output = Result<(), Unavailable>> + Send {
        let announce = self.store.announce(announcement, forget_at);
        self.watched(Call::Announce, None, move || async { announce.await.map_err(|_| Unavailable) })
    }
}

impl<E: Engine, H: Host> Calls<'_, E, H> {
    pub(crate) fn load_now(self, handle: Handle) -> Loaded {
        self.watched_now(Call::Load, Some(handle), || Engine::load(self.store, handle))
    }

    pub(crate) fn swap_now(self, swap: &Swap, wait: Wait) -> Option<Swapped> {
        self.watched_now(Call::Swap, Some(swap.handle), || Engine::swap(self.store, swap, wait))
    }

    pub(crate) fn enter_now(self, entry: &Entry) -> Result<Entered, NotListed> {
        self.watched_now(Call::Enter, Some(entry.handle), || Engine::enter(self.store, entry))
    }
}
