//! To hear at once that something was announced, where a store can push.
//!
//! A nudge says nothing but that it is time to ask. It may be lost, come late, twice or for nothing: whoever is nudged asks every
//! so often all the same, and what counts is the answer. See decision 0019.

#[cfg(any(feature = "postgres", feature = "redis"))]
mod far;

use core::fmt;
use std::process;
use std::sync::Arc;

#[cfg(feature = "redis")]
pub(crate) use far::jittered;
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(crate) use far::{SILENCE, listen};

/// What a store calls when it is time to ask. It must not wait, and may be called from any thread.
pub type Nudge = Arc<dyn Fn() + Send + Sync>;

/// Somebody listens, until this is dropped. A process that was forked has to listen anew.
#[must_use = "who drops it listens no longer"]
pub struct Listening {
    pid: u32,
    ends: Option<Box<dyn Send + Sync>>,
}

impl Listening {
    /// Goes on until `ends` is dropped.
    pub fn until_dropped(ends: impl Send + Sync + 'static) -> Self {
        Self { pid: process::id(), ends: Some(Box::new(ends)) }
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").finish_non_exhaustive()
    }
}

impl Drop for Listening {
    /// What a child inherits by a fork is its parent's to end.
    fn drop(&mut self) {
        if self.pid != process::id() {
            core::mem::forget(self.ends.take());
        }
    }
}
