//! The feed of endings in the memory of one process.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, Weak};

use coatroom_core::{Announcement, Timestamp};

use crate::feed::{Increment, NotAnnounced, increment, number_of};
use crate::sync::{Mutex, MutexGuard};
use crate::{Cursor, Listening, Nudge};

/// Announcements by number, the oldest first.
#[derive(Default)]
pub(super) struct Feed(Mutex<Lines>);

#[derive(Default)]
struct Lines {
    last: u64,
    kept: VecDeque<Line>,
    listeners: Vec<Weak<dyn Fn() + Send + Sync>>,
}

struct Line {
    number: u64,
    forget_at: Timestamp,
    bytes: Box<[u8]>,
}

impl Feed {
    pub(super) fn announce(&self, announcement: &Announcement, forget_at: Timestamp) {
        let mut lines = self.lines();
        lines.last = lines.last.saturating_add(1);
        let number = lines.last;
        lines.kept.push_back(Line { number, forget_at, bytes: announcement.to_bytes().into() });
        let listeners = lines.listeners.clone();
        drop(lines);
        listeners.iter().filter_map(Weak::upgrade).for_each(|nudge| nudge());
    }

    // spec: FEED-6 f2f5
    pub(super) fn listen(&self, nudge: Nudge) -> Listening {
        let mut lines = self.lines();
        lines.listeners.retain(|listener| listener.strong_count() > 0);
        lines.listeners.push(Arc::downgrade(&nudge));
        drop(lines);
        nudge();
        Listening::until_dropped(nudge)
    }

    // spec: FEED-3 19a1
    pub(super) fn announced(&self, since: Option<&Cursor>, max: usize) -> Result<Increment, NotAnnounced> {
        let lines = self.lines();
        // A cursor of another feed, such as that of the process before, leads to the beginning of this one.
        let since = Some(number_of(since)).filter(|since| *since <= lines.last).unwrap_or_default();
        let from = lines.kept.partition_point(|line| line.number <= since);
        let found = lines.kept.iter().skip(from).take(max.saturating_add(1));
        increment(found.map(|line| (line.number, line.bytes.to_vec())).collect(), since, max)
    }

    // spec: FEED-4 8e92
    pub(super) fn sweep(&self, now: Timestamp) {
        let mut lines = self.lines();
        while lines.kept.front().is_some_and(|line| line.forget_at <= now) {
            lines.kept.pop_front();
        }
    }

    /// No code that can panic runs under the lock.
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
