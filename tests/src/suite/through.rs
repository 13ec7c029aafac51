use std::sync::{Mutex, PoisonError};

use coatroom_core::{Entry, Handle, Loaded, Swap, Timestamp};
use coatroom_store::{Cursor, Entered, NotListed, Store, Swapped, Unavailable};
use rand_core::TryRng;

use crate::rng::Fixed;

/// A store that several drivers share, and whose answers may get lost on the way.
#[derive(Debug)]
pub struct Through<'a, S> {
    store: &'a S,
    dice: Option<Mutex<Fixed>>,
}

impl<'a, S> Through<'a, S> {
    /// The store as it is.
    pub const fn to(store: &'a S) -> Self {
        Self { store, dice: None }
    }

    /// Every third swap leaves it open whether it took place, and loads fail now and then.
    pub fn doubtfully(store: &'a S) -> Self {
        Self { store, dice: Some(Mutex::new(Fixed::new(7))) }
    }

    /// Whether this is one of `part` calls to go wrong.
    fn is_one_in(&self, part: u64) -> bool {
        self.dice.as_ref().is_some_and(|dice| {
            let mut dice = dice.lock().unwrap_or_else(PoisonError::into_inner);
            dice.try_next_u64().is_ok_and(|word| word % part == 0)
        })
    }
}

impl<S: Store> Store for Through<'_, S> {
    fn enters_with_swap(&self) -> bool {
        self.store.enters_with_swap()
    }

    async fn load(&self, handle: Handle) -> Loaded {
        if self.is_one_in(16) { Loaded::Unavailable } else { self.store.load(handle).await }
    }

    async fn swap(&self, swap: &Swap) -> Swapped {
        if self.is_one_in(6) {
            return Swapped::Unknown;
        }
        match self.store.swap(swap).await {
            Swapped::Done | Swapped::Entered(_) if self.is_one_in(6) => Swapped::Unknown,
            answer => answer,
        }
    }

    async fn enter(&self, entry: &Entry) -> Result<Entered, NotListed> {
        self.store.enter(entry).await
    }

    async fn sessions(&self, principal: &str) -> Result<Vec<Handle>, Unavailable> {
        self.store.sessions(principal).await
    }

    async fn leave(&self, principal: &str, handle: Handle) -> Result<(), Unavailable> {
        self.store.leave(principal, handle).await
    }

    async fn bar(&self, principal: &str, now: Timestamp) -> Result<Timestamp, Unavailable> {
        self.store.bar(principal, now).await
    }

    async fn scan(&self, from: Option<Cursor>, max: usize) -> Result<(Vec<Handle>, Option<Cursor>), Unavailable> {
        self.store.scan(from, max).await
    }

    async fn sweep(&self, now: Timestamp, max: usize) -> Result<usize, Unavailable> {
        self.store.sweep(now, max).await
    }
}
