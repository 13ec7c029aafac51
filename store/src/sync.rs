//! The locks and atomics of this crate: those of the standard library, or, where `tests/threads` builds this very source,
//! those of a scheduler that tries one order of threads after another.

#[cfg(not(coatroom_threads))]
pub(crate) use core::sync::atomic;
#[cfg(not(coatroom_threads))]
pub(crate) use std::sync::{Mutex, MutexGuard};

#[cfg(coatroom_threads)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic};
