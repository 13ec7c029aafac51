//! Coatroom sessions over real stores.
//!
//! A store offers *load* and *swap*, and nothing else: there is no way to write a record without saying what must be there
//! now. [`Driver`] runs one exchange of `coatroom-core` over a store; [`memory`] and [`sqlite`] are engines that answer at
//! once, so a synchronous program needs no runtime.
//!
//! ```
//! use coatroom_core::{KeyRing, Policy, Rules, Settings};
//! use coatroom_store::{Driver, Wait, memory::Memory};
//!
//! let keys = KeyRing::parse("1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE")?;
//! let driver = Driver::new(Rules::new(Policy::try_from(Settings::default())?, keys), Memory::default());
//!
//! let mut session = driver.open_now(b"")?;           // the bytes of the Cookie header
//! session.add("visits", 1)?;
//! session.login("alice", &["admin"], 1)?;
//! let reply = driver.close_now(session)?;            // every write is acknowledged now
//! for line in reply.set_cookies() {
//!     println!("Set-Cookie: {line}");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod driver;
mod host;
pub mod memory;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod sync;
mod turns;

pub use driver::{Driver, Refused};
pub use host::{Host, System, block_on};

use core::future::{Future, ready};

use coatroom_core::{Handle, Loaded, Swap, Timestamp};

/// What a store answers to a swap.
#[derive(Clone, PartialEq, Eq)]
pub enum Swapped {
    /// The swap took place.
    Done,
    /// It did not: something else was stored, namely this.
    Conflict(Option<Vec<u8>>),
    /// It may or may not have taken place.
    Unknown,
    /// It did not: the store could not be reached, or had no room.
    Unavailable,
}

impl core::fmt::Debug for Swapped {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Done => f.write_str("Done"),
            Self::Conflict(record) => f.debug_tuple("Conflict").field(&record.as_ref().map(Vec::len)).finish(),
            Self::Unknown => f.write_str("Unknown"),
            Self::Unavailable => f.write_str("Unavailable"),
        }
    }
}

/// A place where records are kept.
///
/// Contract: a load returns the bytes of the last swap under the handle. A swap compares [`coatroom_core::Stamp`], writes
/// and answers as one indivisible step, also among processes; when it is refused, it changes nothing. Each call sends a
/// swap at most once: a client library's own retry must be off. A swap that is `durable` is acknowledged only once it
/// survives whatever the store's documentation promises to survive.
pub trait Store: Send + Sync {
    /// The record under `handle`.
    fn load(&self, handle: Handle) -> impl Future<Output = Loaded> + Send;

    /// Replaces, creates or removes a record if the store still holds what the swap expects.
    fn swap(&self, swap: &Swap) -> impl Future<Output = Swapped> + Send;
}

/// A store inside this process, which answers without waiting for a network.
pub trait Engine: Send + Sync {
    /// The record under `handle`.
    fn load(&self, handle: Handle) -> Loaded;

    /// As [`Store::swap`]. None when the caller will not wait and this swap could take longer than a millisecond: then
    /// nothing was sent, and the same swap may be sent again from a thread that may wait.
    fn swap(&self, swap: &Swap, wait: Wait) -> Option<Swapped>;

    /// Removes at most about `max` records that were garbage at `now`, and says how many.
    fn sweep(&self, now: Timestamp, max: usize) -> Result<usize, SweepError>;

    /// Whether a sweep of a little takes less than a millisecond, so that an event loop may do it.
    fn sweeps_at_once(&self) -> bool {
        false
    }
}

/// Whether a caller can wait for locks and disks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// It can: it is a thread of its own.
    Patiently,
    /// It cannot: it is an event loop.
    Never,
}

/// A sweep that found the store unable to answer. Nothing depends on sweeping but space: try again later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SweepError;

impl core::fmt::Display for SweepError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the session store cannot be swept now: try again later")
    }
}

impl core::error::Error for SweepError {}

impl<E: Engine> Store for E {
    fn load(&self, handle: Handle) -> impl Future<Output = Loaded> + Send {
        ready(Engine::load(self, handle))
    }

    fn swap(&self, swap: &Swap) -> impl Future<Output = Swapped> + Send {
        ready(Engine::swap(self, swap, Wait::Patiently).unwrap_or(Swapped::Unavailable))
    }
}
