//! The store of the application, as the driver sees it: every call becomes a question to whoever runs the task.

use core::future::Future;

use coatroom_core::{Entry, Handle, Loaded, Swap, Timestamp};
use coatroom_store::{Cursor, Entered, NotListed, Store, Swapped, Unavailable};

use crate::asks::{Ask, swap_ask};
use crate::task::ask;
use crate::wire::ms;

/// A store on the other side of the border.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    /// Whether it answers a swap and the entry that goes with it in one step.
    pub(crate) enters_with_swap: bool,
}

impl Store for Mailbox {
    fn enters_with_swap(&self) -> bool {
        self.enters_with_swap
    }

    /// The exchanges of a process do not queue here: whoever waits would wait for something that nobody is asked for.
    fn is_here(&self) -> bool {
        true
    }

    fn load(&self, handle: Handle) -> impl Future<Output = Loaded> + Send {
        ask(Ask::Load { handle: handle.to_string() })
    }

    fn swap(&self, swap: &Swap) -> impl Future<Output = Swapped> + Send {
        ask(swap_ask(swap))
    }

    fn enter(&self, entry: &Entry) -> impl Future<Output = Result<Entered, NotListed>> + Send {
        ask(Ask::Enter { entry: entry.into() })
    }

    fn sessions(&self, principal: &str) -> impl Future<Output = Result<Vec<Handle>, Unavailable>> + Send {
        ask(Ask::Sessions { principal: principal.to_owned() })
    }

    fn leave(&self, principal: &str, handle: Handle) -> impl Future<Output = Result<(), Unavailable>> + Send {
        ask(Ask::Leave { principal: principal.to_owned(), handle: handle.to_string() })
    }

    fn bar(&self, principal: &str, now: Timestamp) -> impl Future<Output = Result<Timestamp, Unavailable>> + Send {
        ask(Ask::Bar { principal: principal.to_owned(), now_ms: ms(now) })
    }

    fn scan(
        &self,
        from: Option<Cursor>,
        max: usize,
    ) -> impl Future<Output = Result<(Vec<Handle>, Option<Cursor>), Unavailable>> + Send {
        ask(Ask::Scan { from: from.map(|Cursor(from)| from), max: u32::try_from(max).unwrap_or(u32::MAX) })
    }

    /// The application sweeps its own store.
    fn sweep(&self, _: Timestamp, _: usize) -> impl Future<Output = Result<usize, Unavailable>> + Send {
        core::future::ready(Ok(0))
    }
}
