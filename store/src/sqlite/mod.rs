//! Records in an SQLite file that several processes of one host share. The embedded default.
//!
//! WAL mode. Creating, logging in, rotating and ending are on disk before they are acknowledged (`synchronous=FULL`), data
//! and the time of the last use survive the death of a process, and of the host except for the newest (`NORMAL`).
//! A process that forks while connections are open leaves its child with SQLite's own notes of locks that the child does not
//! hold. So [`Sqlite::release`] closes them before a fork and [`Sqlite::resume`] follows it (the Python package does both),
//! and a child that was forked with open ones is refused: every load and swap is unavailable there.
//! The file must be on a local disk, and no other copy of SQLite may open it in the same process (in Python: not the
//! module `sqlite3`), for file locks do not hold between two copies in one process.

mod process;
mod schema;
mod statements;
mod waiting;

use core::time::Duration;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use coatroom_core::{Announcement, Entry, Handle, Loaded, Swap, Timestamp};
use rusqlite::{Connection, ErrorCode};

use crate::feed::{increment, number_of};
use crate::{Cursor, Engine, Entered, Increment, NotAnnounced, NotListed, Swapped, Unavailable, Wait};
use process::{COMMITS_PER_CHECKPOINT, Process, Writers, checkpoint, forked, lock};
pub use schema::OpenError;
use waiting::{is_busy, with_patience};

/// How long a patient caller waits for another process's write lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// How long a load waits when the write-ahead log is being recovered, the only time it has to.
const LOAD_PATIENCE: Duration = Duration::from_millis(500);
const IDLE_READERS: usize = 8;

/// An engine on an SQLite file.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    process: Process,
}

impl Sqlite {
    /// An engine on the file at `path`, which is created, readable by its owner alone, if it is not there.
    ///
    /// The file is opened, checked and closed again here, so that a mistake shows at start and nothing is inherited when
    /// the process forks.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let path = path.into();
        schema::prepare(&path)?;
        Ok(Self { path, process: Process::default() })
    }

    /// The state of the present process: a fork finds its parent's, and begins its own behind it.
    fn process(&self) -> Option<&Process> {
        let pid = std::process::id();
        let mut process = &self.process;
        while process.pid != pid {
            if process.open.load(Ordering::SeqCst) > 0 {
                return None;
            }
            process = process.next.get_or_init(Box::default);
        }
        Some(process)
    }

    /// Waits until nobody uses the file, closes every connection and holds newcomers back, so that this process can fork;
    /// [`Sqlite::resume`] has to follow in the parent. A child begins with nothing open and nobody held back.
    pub fn release(&self) {
        if let Some(process) = self.process() {
            process.gate.shut();
            *lock(&process.writers) = Writers::default();
            lock(&process.readers).clear();
        }
    }

    /// Lets in whoever [`Sqlite::release`] holds back.
    pub fn resume(&self) {
        if let Some(process) = self.process() {
            process.gate.open();
        }
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let process = self.process().ok_or_else(forked)?;
        let _inside = process.gate.enter();
        let idle = lock(&process.readers).pop();
        // Opening reads the file too, and meets whoever recovers the log.
        let (reader, found) = with_patience(LOAD_PATIENCE, || {
            let reader = idle.map_or_else(|| process.open(&self.path, "NORMAL"), Ok)?;
            read(&reader.connection).map(|found| (reader, found))
        })?;
        let mut readers = lock(&process.readers);
        if readers.len() < IDLE_READERS {
            readers.push(reader);
        }
        Ok(found)
    }

    /// As [`Sqlite::read`], by the connection that wrote last if nobody is writing: every other one reads again from the file
    /// what has been written since.
    fn look<T>(&self, read: impl Fn(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        if let Some(process) = self.process() {
            let _inside = process.gate.enter();
            let writers = process.writers.try_lock();
            if let Some(found) = writers.ok().and_then(|writers| writers.look(&read)) {
                return Ok(found);
            }
        }
        self.read(read)
    }

    /// Writes something else than a swap, on a thread that may wait.
    fn patiently<T>(
        &self,
        durable: bool,
        write: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Unavailable> {
        let process = self.process().ok_or(Unavailable)?;
        let _inside = process.gate.enter();
        let mut writers = lock(&process.writers);
        let written = with_patience(LOCK_PATIENCE, || writers.write(process, &self.path, durable, write));
        writers.checkpoint_sometimes(&process.commits);
        written.map_err(|_| Unavailable)
    }

    /// What a whole batch of removals left in the write-ahead log, the sweeper moves on a connection of its own: whoever
    /// writes next would have to otherwise, while all others wait for him.
    fn checkpoint(&self) {
        if let Some(process) = self.process() {
            process.commits.store(0, Ordering::Relaxed);
        }
        let _best_effort = self.read(checkpoint);
    }

    // spec: STORE-6 aac8
    fn write(&self, swap: &Swap, wait: Wait) -> Option<rusqlite::Result<Swapped>> {
        let Some(process) = self.process() else { return Some(Ok(Swapped::Unavailable)) };
        let _inside = process.gate.enter();
        if wait == Wait::Patiently {
            let mut writers = lock(&process.writers);
            let written = with_patience(LOCK_PATIENCE, || writers.swap(process, &self.path, swap));
            writers.checkpoint_sometimes(&process.commits);
            return Some(written);
        }
        if swap.durable || process.commits.load(Ordering::Relaxed) >= COMMITS_PER_CHECKPOINT {
            return None;
        }
        let mut writers = process.writers.try_lock().ok()?;
        let written = writers.swap(process, &self.path, swap);
        process.commits.fetch_add(1, Ordering::Relaxed);
        match written {
            Err(error) if is_busy(&error) => None,
            written => Some(written),
        }
    }
}

impl Engine for Sqlite {
    fn load(&self, handle: Handle) -> Loaded {
        match self.look(|connection| statements::stored(connection, handle)) {
            Ok(Some(record)) => Loaded::Found(record),
            Ok(None) => Loaded::Absent,
            Err(_) => Loaded::Unavailable,
        }
    }

    fn swap(&self, swap: &Swap, wait: Wait) -> Option<Swapped> {
        Some(self.write(swap, wait)?.unwrap_or_else(|error| outcome(&error)))
    }

    fn enter(&self, entry: &Entry) -> Result<Entered, NotListed> {
        self.patiently(true, |connection| statements::enter(connection, entry))?.ok_or(NotListed::Full)
    }

    fn sessions(&self, principal: &str) -> Result<Vec<Handle>, Unavailable> {
        self.read(|connection| statements::sessions(connection, principal)).map_err(|_| Unavailable)
    }

    fn leave(&self, principal: &str, handle: Handle) -> Result<(), Unavailable> {
        self.patiently(false, |connection| statements::leave(connection, principal, handle))
    }

    fn bar(&self, principal: &str, now: Timestamp) -> Result<Timestamp, Unavailable> {
        self.patiently(true, |connection| statements::bar(connection, principal, now))
    }

    fn scan(&self, from: Option<Cursor>, max: usize) -> Result<(Vec<Handle>, Option<Cursor>), Unavailable> {
        let row = from.and_then(|Cursor(bytes)| bytes.first_chunk().copied()).map_or(0, i64::from_be_bytes);
        let found = self.read(|connection| statements::scan(connection, row, bounded(max)));
        let (handles, last) = found.map_err(|_| Unavailable)?;
        Ok((handles, last.map(|row| Cursor(row.to_be_bytes().to_vec()))))
    }

    fn has_feed(&self) -> bool {
        true
    }

    fn announce(&self, announcement: &Announcement, forget_at: Timestamp) -> Result<(), NotAnnounced> {
        let written = self.patiently(true, |connection| statements::announce(connection, announcement, forget_at));
        written.map_err(NotAnnounced::from)
    }

    fn announced(&self, since: Option<Cursor>, max: usize) -> Result<Increment, NotAnnounced> {
        let asked = bounded(max.saturating_add(1));
        let read = self.read(|connection| statements::announced(connection, number_of(since.as_ref()), asked));
        let (since, lines) = read.map_err(|_| NotAnnounced::Unavailable)?;
        increment(lines, since, max)
    }

    fn sweep(&self, now: Timestamp, max: usize) -> Result<usize, Unavailable> {
        let swept = self.patiently(false, |connection| statements::sweep(connection, now, bounded(max)))?;
        if swept >= max {
            self.checkpoint();
        }
        Ok(swept)
    }
}

fn bounded(max: usize) -> i64 {
    i64::try_from(max).unwrap_or(i64::MAX)
}

/// What a failed statement says about whether it took place.
fn outcome(error: &rusqlite::Error) -> Swapped {
    match error.sqlite_error_code() {
        // A commit that met an I/O error may be in the log all the same.
        Some(ErrorCode::SystemIoFailure) | None => Swapped::Unknown,
        Some(_) => Swapped::Unavailable,
    }
}
