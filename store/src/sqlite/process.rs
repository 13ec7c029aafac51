//! The connections of one process, and how they stay out of its children.

use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use coatroom_core::Swap;
use rusqlite::{Connection, OpenFlags};

use super::statements;
use super::waiting::{is_busy, wait_a_little};
use crate::Swapped;

/// Commits of this process between two checkpoints, which wait for the disk and so never run on an event loop.
pub(super) const COMMITS_PER_CHECKPOINT: u32 = 512;

/// Connections of one process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) readers: Mutex<Vec<Open>>,
    /// One lock over both: writers of one process queue here instead of polling SQLite's lock against each other.
    pub(super) writers: Mutex<Writers>,
    pub(super) commits: AtomicU32,
    /// Connections that are open, in use or not.
    pub(super) open: Arc<AtomicUsize>,
    pub(super) gate: Gate,
    /// The state of a process forked from this one. A list, so that no lock which a fork may have caught is ever taken.
    pub(super) next: OnceLock<Box<Process>>,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            pid: std::process::id(),
            readers: Mutex::default(),
            writers: Mutex::default(),
            commits: AtomicU32::new(0),
            open: Arc::default(),
            gate: Gate::default(),
            next: OnceLock::new(),
        }
    }
}

/// Holds users of the file back while the process forks.
#[derive(Default, Debug)]
pub(super) struct Gate {
    state: Mutex<Passage>,
    changed: Condvar,
}

#[derive(Default, Debug)]
struct Passage {
    is_shut: bool,
    inside: usize,
}

/// Somebody who uses the file, until dropped.
pub(super) struct Inside<'a>(&'a Gate);

impl Gate {
    pub(super) fn enter(&self) -> Inside<'_> {
        let mut state = lock(&self.state);
        while state.is_shut {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.inside = state.inside.saturating_add(1);
        Inside(self)
    }

    pub(super) fn shut(&self) {
        let mut state = lock(&self.state);
        state.is_shut = true;
        while state.inside > 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn open(&self) {
        lock(&self.state).is_shut = false;
        self.changed.notify_all();
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.inside = state.inside.saturating_sub(1);
        if state.is_shut && state.inside == 0 {
            self.0.changed.notify_all();
        }
    }
}

/// A connection, counted while it is open.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) connection: Connection,
    count: Arc<AtomicUsize>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Process {
    pub(super) fn open(&self, path: &Path, synchronous: &str) -> rusqlite::Result<Open> {
        let count = Arc::clone(&self.open);
        count.fetch_add(1, Ordering::SeqCst);
        match connect(path, synchronous) {
            Ok(connection) => Ok(Open { connection, count }),
            Err(error) => {
                count.fetch_sub(1, Ordering::SeqCst);
                Err(error)
            }
        }
    }
}

impl Drop for Process {
    /// A handle that was opened before a fork is neither used nor closed after it (SQLite, "How To Corrupt Your Database",
    /// section 2.6).
    fn drop(&mut self) {
        if self.pid != std::process::id() {
            let readers = self.readers.get_mut().unwrap_or_else(PoisonError::into_inner);
            core::mem::forget(core::mem::take(readers));
            let writers = self.writers.get_mut().unwrap_or_else(PoisonError::into_inner);
            core::mem::forget(core::mem::take(writers));
        }
    }
}

/// Two connections instead of one whose setting is switched: a switch is a statement of its own.
#[derive(Default, Debug)]
pub(super) struct Writers {
    relaxed: Option<Open>,
    durable: Option<Open>,
}

impl Writers {
    // spec: STORE-6 aac8
    pub(super) fn swap(&mut self, process: &Process, path: &Path, swap: &Swap) -> rusqlite::Result<Swapped> {
        self.write(process, path, swap.durable, |connection| statements::swap(connection, swap))
    }

    /// Writes on the connection that is as durable as asked for.
    pub(super) fn write<T>(
        &mut self,
        process: &Process,
        path: &Path,
        durable: bool,
        write: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let connection = if durable { self.durable(process, path)? } else { self.relaxed(process, path)? };
        let done = write(connection);
        if done.as_ref().is_err_and(|error| !is_busy(error)) {
            // Whatever state the connection is in, the next write begins with a new one.
            *self = Self::default();
        }
        done
    }

    /// What the connection finds that wrote last and did not have to wait for the disk, if there is one.
    pub(super) fn look<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Option<T> {
        read(&self.relaxed.as_ref()?.connection).ok()
    }

    pub(super) fn relaxed(&mut self, process: &Process, path: &Path) -> rusqlite::Result<&Connection> {
        open_into(&mut self.relaxed, process, path, "NORMAL")
    }

    pub(super) fn durable(&mut self, process: &Process, path: &Path) -> rusqlite::Result<&Connection> {
        open_into(&mut self.durable, process, path, "FULL")
    }

    /// Moves what is in the write-ahead log into the database. Best effort: the log only grows until the next one.
    pub(super) fn checkpoint_sometimes(&self, commits: &AtomicU32) {
        if commits.fetch_add(1, Ordering::Relaxed) >= COMMITS_PER_CHECKPOINT {
            commits.store(0, Ordering::Relaxed);
            if let Some(open) = self.relaxed.as_ref().or(self.durable.as_ref()) {
                let _best_effort = checkpoint(&open.connection);
            }
        }
    }
}

/// Moves what nobody reads any more from the write-ahead log into the database, waiting for nobody.
pub(super) fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}

fn open_into<'a>(
    slot: &'a mut Option<Open>,
    process: &Process,
    path: &Path,
    synchronous: &str,
) -> rusqlite::Result<&'a Connection> {
    let open = match slot {
        Some(open) => open,
        slot => slot.insert(process.open(path, synchronous)?),
    };
    Ok(&open.connection)
}

pub(super) fn connect(path: &Path, synchronous: &str) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_handler(Some(wait_a_little))?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(connection)
}

/// What a child that was forked with open connections is told: it cannot use them, nor open its own beside them.
pub(super) fn forked() -> rusqlite::Error {
    rusqlite::Error::InvalidQuery
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
