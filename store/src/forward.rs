//! Every engine is a store, and so is one that is shared.

use core::future::{Future, ready};
use std::sync::Arc;

use coatroom_core::{Announcement, Entry, Handle, Loaded, Swap, Timestamp};

use crate::{
    Cursor, Engine, Entered, Increment, Listening, NotAnnounced, NotListed, Nudge, Store, Swapped, Unavailable, Wait,
};

impl<E: Engine> Store for E {
    fn enters_with_swap(&self) -> bool {
        E::enters_with_swap(self)
    }

    fn is_here(&self) -> bool {
        E::is_here(self)
    }

    fn load(&self, handle: Handle) -> impl Future<Output = Loaded> + Send {
        ready(Engine::load(self, handle))
    }

    fn swap(&self, swap: &Swap) -> impl Future<Output = Swapped> + Send {
        ready(Engine::swap(self, swap, Wait::Patiently).unwrap_or(Swapped::Unavailable))
    }
    fn enter(&self, entry: &Entry) -> impl Future<Output = Result<Entered, NotListed>> + Send {
        ready(Engine::enter(self, entry))
    }

    fn sessions(&self, principal: &str) -> impl Future<Output = Result<Vec<Handle>, Unavailable>> + Send {
        ready(Engine::sessions(self, principal))
    }

    fn leave(&self, principal: &str, handle: Handle) -> impl Future<Output = Result<(), Unavailable>> + Send {
        ready(Engine::leave(self, principal, handle))
    }

    fn bar(&self, principal: &str, now: Timestamp) -> impl Future<Output = Result<Timestamp, Unavailable>> + Send {
        ready(Engine::bar(self, principal, now))
    }

    fn scan(
        &self,
        from: Option<Cursor>,
        max: usize,
    ) -> impl Future<Output = Result<(Vec<Handle>, Option<Cursor>), Unavailable>> + Send {
        ready(Engine::scan(self, from, max))
    }

    fn sweep(&self, now: Timestamp, max: usize) -> impl Future<Output = Result<usize, Unavailable>> + Send {
        ready(Engine::sweep(self, now, max))
    }

    fn has_feed(&self) -> bool {
        E::has_feed(self)
    }

    fn announce(
        &self,
        announcement: &Announcement,
        forget_at: Timestamp,
    ) -> impl Future<Output = Result<(), NotAnnounced>> + Send {
        ready(Engine::announce(self, announcement, forget_at))
    }

    fn announced(
        &self,
        since: Option<Cursor>,
        max: usize,
    ) -> impl Future<Output = Result<Increment, NotAnnounced>> + Send {
        ready(Engine::announced(self, since, max))
    }

    fn listen(&self, nudge: Nudge) -> Option<Listening> {
        E::listen(self, nudge)
    }
}

/// A store that several drivers share.
impl<S: Store> Store for Arc<S> {
    fn enters_with_swap(&self) -> bool {
        S::enters_with_swap(self)
    }

    fn is_here(&self) -> bool {
        S::is_here(self)
    }

    fn load(&self, handle: Handle) -> impl Future<Output = Loaded> + Send {
        S::load(self, handle)
    }

    fn swap(&self, swap: &Swap) -> impl Future<Output = Swapped> + Send {
        S::swap(self, swap)
    }

    fn enter(&self, entry: &Entry) -> impl Future<Output = Result<Entered, NotListed>> + Send {
        S::enter(self, entry)
    }

    fn sessions(&self, principal: &str) -> impl Future<Output = Result<Vec<Handle>, Unavailable>> + Send {
        S::sessions(self, principal)
    }

    fn leave(&self, principal: &str, handle: Handle) -> impl Future<Output = Result<(), Unavailable>> + Send {
        S::leave(self, principal, handle)
    }

    fn bar(&self, principal: &str, now: Timestamp) -> impl Future<Output = Result<Timestamp, Unavailable>> + Send {
        S::bar(self, principal, now)
    }

    fn scan(
        &self,
        from: Option<Cursor>,
        max: usize,
    ) -> impl Future<Output = Result<(Vec<Handle>, Option<Cursor>), Unavailable>> + Send {
        S::scan(self, from, max)
    }

    fn sweep(&self, now: Timestamp, max: usize) -> impl Future<Output = Result<usize, Unavailable>> + Send {
        S::sweep(self, now, max)
    }

    fn has_feed(&self) -> bool {
        S::has_feed(self)
    }

    fn announce(
        &self,
        announcement: &Announcement,
        forget_at: Timestamp,
    ) -> impl Future<Output = Result<(), NotAnnounced>> + Send {
        S::announce(self, announcement, forget_at)
    }

    fn announced(
        &self,
        since: Option<Cursor>,
        max: usize,
    ) -> impl Future<Output = Result<Increment, NotAnnounced>> + Send {
        S::announced(self, since, max)
    }

    fn listen(&self, nudge: Nudge) -> Option<Listening> {
        S::listen(self, nudge)
    }
}
