//! The suite that every store must pass, and what it needs. A store of one's own passes it by one call:
//!
//! ```
//! use coatroom_store::memory::Memory;
//! use coatroom_tests::suite;
//!
//! suite::everything(&Memory::default());
//! ```
//!
//! Each part can be called alone: [`contract`], [`scanning`], [`sweeping`] on records; [`index`] and
//! [`index_under_races`] on the index of principals; [`history::linearizable`] on what racing threads see of single
//! records; [`counting`], [`doubts`], [`expiry`] and [`revocations`] on whole exchanges over the store. The parts use
//! handles and principals that nobody used before, so they may run on one store, at the same time, and on a store in
//! use. What goes wrong is a panic that says what was claimed.
//!
//! Futures are polled by [`coatroom_store::block_on`] on the threads of the suite: a store whose client needs a runtime
//! brings it along. What a store owes principals and their devices is in [`crate::people`]; one with a server also
//! wants the parts of `coatroom_tests::faults`.

mod counter;
pub mod feed;
pub mod history;
mod index;
mod records;
mod sessions;
mod through;

pub use counter::{Counter, counting, doubts};
pub use index::{index, index_under_races};
pub use records::{contract, scanning, sweeping};
pub use sessions::{Clock, expiry, revocations};
pub use through::Through;

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Instant, SystemTime};

use coatroom_core::{Entry, Handle, KeyRing, Listing, Policy, Rules, Settings, Stamp, Swap, Timestamp};
use coatroom_store::{Entered, NotListed, Store, Swapped, block_on};
use rand_core::TryRng;

use crate::rng::Fixed;

/// Obviously a test key, not a secret.
pub const KEYS: &str = "1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE";

/// Every part, each in the size that takes a second or so on a store that waits for its disk.
pub fn everything<S: Store>(store: &S) {
    all_but_sweeping(store);
    sweeping(store);
}

/// The same for a store whose server removes garbage by itself.
pub fn all_but_sweeping<S: Store>(store: &S) {
    contract(store);
    scanning(store);
    index(store);
    index_under_races(store, 40);
    for durable in [false, true] {
        history::linearizable(store, durable, 400);
    }
    counting(store, 4, 50);
    doubts(store, 4, 25);
    expiry(store);
    revocations(store, 10);
}

/// Rules with the defaults.
pub fn rules() -> Arc<Rules> {
    Rules::new(Policy::try_from(Settings::default()).unwrap(), KeyRing::parse(KEYS).unwrap())
}

/// Waits until `done`, which takes others a moment.
pub fn until(what: &str, patience: Duration, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < patience, "{what}: not within {patience:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The present: stores with a clock of their own remove what is garbage by it.
pub(crate) fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp::from_unix_ms(since_epoch.as_millis() as u64)
}

pub(crate) const fn hours(hours: u64) -> Duration {
    Duration::from_secs(3600 * hours)
}

/// A handle that nobody used before.
pub(crate) fn fresh() -> Handle {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = u64::from(COUNT.fetch_add(1, Ordering::Relaxed));
    let seed = now().as_unix_ms().rotate_left(20) ^ u64::from(std::process::id()).rotate_left(44) ^ count;
    let mut bytes = [0; 12];
    Fixed::new(seed).try_fill_bytes(&mut bytes).unwrap();
    Handle::from_bytes(bytes)
}

/// A principal that nobody used before.
pub(crate) fn somebody(name: &str) -> String {
    format!("{name} {}", fresh())
}

/// Any bytes with a stamp in their place: a store looks at nothing else of a record.
pub(crate) fn record(version: u64, commit: u64, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![1, 0];
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.extend_from_slice(&commit.to_be_bytes());
    bytes.extend_from_slice(rest);
    bytes
}

pub(crate) fn stamp(record: &[u8]) -> Option<Stamp> {
    Some(Stamp::of(record).unwrap())
}

pub(crate) fn swap(handle: Handle, expected: Option<Stamp>, new: Option<&[u8]>, durable: bool) -> Swap {
    let garbage_at = now().plus(hours(1));
    Swap { handle, expected, new: new.map(<[u8]>::to_vec), durable, garbage_at, listing: Listing::Keep }
}

/// Enters a session of a principal as the driver does: with its record or after it, and before it too where the limit
/// is decided apart. None if there is no room.
pub(crate) fn log_in<S: Store>(store: &S, entry: &Entry, swap: Swap) -> Option<Entered> {
    let enter = || match block_on(store.enter(entry)) {
        Ok(listed) => Some(listed),
        Err(NotListed::Full) => None,
        Err(NotListed::Unavailable) => panic!("the store is there"),
    };
    if !store.enters_with_swap() && entry.at_most.is_some() {
        enter()?;
    }
    match block_on(store.swap(&Swap { listing: Listing::Enter(entry.clone()), ..swap })) {
        Swapped::Entered(listed) if store.enters_with_swap() => Some(listed),
        Swapped::Done => enter(),
        Swapped::Full => None,
        other => panic!("a login: {other:?}"),
    }
}
