//! Work that a loop does, each time it is woken.

use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::Wake;

use super::watch::Counted;
use super::{LoopHandle, lock};
use crate::runtime::Work;

/// A piece of work, until it is done.
pub(crate) struct Task {
    piece: Mutex<Option<Piece>>,
    home: LoopHandle,
    is_queued: AtomicBool,
    is_cut: AtomicBool,
}

/// Work, and what says that it is under way.
pub(super) struct Piece {
    pub(super) work: Work,
    pub(super) _counted: Option<Counted>,
}

impl core::fmt::Debug for Task {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Task").finish_non_exhaustive()
    }
}

impl Task {
    pub(super) fn begin(piece: Option<Piece>, home: LoopHandle) -> Arc<Self> {
        let (is_queued, is_cut) = (AtomicBool::new(false), AtomicBool::new(false));
        let task = Arc::new(Self { piece: Mutex::new(piece), home, is_queued, is_cut });
        task.enqueue();
        task
    }

    /// Drops the work, as soon as nobody is doing it.
    pub(crate) fn cut(self: &Arc<Self>) {
        self.is_cut.store(true, Ordering::SeqCst);
        self.wake_by_ref();
    }

    fn enqueue(self: &Arc<Self>) {
        if self.home.0.is_over.load(Ordering::SeqCst) {
            // It may hold what holds its waker.
            let never_done = lock(&self.piece).take();
            drop(never_done);
        } else if !self.is_queued.swap(true, Ordering::SeqCst) {
            lock(&self.home.0.ready).push_back(Arc::clone(self));
        }
    }

    pub(super) fn step(self: &Arc<Self>) {
        self.is_queued.store(false, Ordering::SeqCst);
        let mut piece = lock(&self.piece);
        let waker = Waker::from(Arc::clone(self));
        let is_over = self.is_cut.load(Ordering::SeqCst)
            || piece.as_mut().is_none_or(|piece| {
                let poll = || piece.work.as_mut().poll(&mut Context::from_waker(&waker));
                // Work that panics ends alone.
                catch_unwind(AssertUnwindSafe(poll)).map_or(true, |polled| polled == Poll::Ready(()))
            });
        let over = if is_over { piece.take() } else { None };
        drop(piece);
        drop(over);
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.enqueue();
        if !self.home.is_here() {
            self.home.ring();
        }
    }
}
