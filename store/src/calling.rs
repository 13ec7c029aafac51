//! Stores that call whoever asked.

use coatroom_core::{Handle, Loaded, Swap};

use crate::{Store, Swapped};

/// A store that can call whoever asked instead of being awaited: on the connections of an event loop, where it is asked
/// within a [`crate::Reactor`]. None in place of an answer says that the store is to be asked as ever, for nothing was done.
/// It needs no sweeping: nobody comes back for that.
pub trait Calling: Store {
    /// As [`Store::load`]. A record that was not read for the end of a connection may be asked for again.
    fn begin_load(&self, _: Handle, then: impl FnOnce(Option<Loaded>) + Send + 'static) {
        then(None);
    }

    /// As [`Store::swap`], for whatever has the swap.
    fn begin_swap<W>(&self, whose: W, then: impl FnOnce(W, Option<Swapped>) + Send + 'static)
    where
        W: AsRef<Swap> + Send + 'static,
    {
        then(whose, None);
    }
}
