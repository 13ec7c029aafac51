//! Records in an SQLite file that several processes of one host share. The embedded default.
//!
//! WAL mode. Creating, logging in, rotating and ending are on disk before they are acknowledged (`synchronous=FULL`), data
//! and the time of the last use survive the death of a process, and of the host except for the newest (`NORMAL`).
//! A process that forks while connections are open leaves its child with SQLite's own notes of locks that the child does not
//! hold. So [`Sqlite::release`] closes them before a fork and [`Sqlite::resume`] follows it (the Python package does both),
//! and a child that was forked with open ones is refused: every load and swap is unavailable there.
//! The file must be on a local disk, and no other copy of SQLite may open it in the same process (in Python: not the
//! module `sqlite3`), for file locks do not hold between two copies in one process.

use core::cell::Cell;
use core::fmt;
use core::time::Duration;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Instant;

use coatroom_core::{Handle, Loaded, Stamp, Swap, Timestamp};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use crate::{Engine, Swapped, SweepError, Wait};

/// "Coat", so that no other program's file is taken for ours.
const APPLICATION_ID: i64 = 0x436f_6174;
const SCHEMA_VERSION: i64 = 1;
const SCHEMA: &str = "
    CREATE TABLE session (
        handle BLOB NOT NULL UNIQUE,
        garbage_at INTEGER NOT NULL,
        record BLOB NOT NULL
    ) STRICT;
    CREATE INDEX session_garbage ON session (garbage_at);
    PRAGMA application_id = 0x436f6174;
    PRAGMA user_version = 1;";

/// How long a patient caller waits for another process's write lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// How long a load waits when the write-ahead log is being recovered, the only time it has to.
const LOAD_PATIENCE: Duration = Duration::from_millis(500);
/// Commits of this process between two checkpoints, which wait for the disk and so never run on an event loop.
const COMMITS_PER_CHECKPOINT: u32 = 256;
const IDLE_READERS: usize = 8;
/// Times of garbage are rounded up to about 17 minutes, so that a touch seldom moves an index entry.
const GARBAGE_UNIT_BITS: u32 = 20;

/// An engine on an SQLite file.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    process: Process,
}

/// Why a file cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The file is not an SQLite database, or is damaged. It was not touched.
    Damaged(PathBuf),
    /// The file is some other program's database. It was not touched.
    Foreign(PathBuf),
    /// The file was written by a newer version. It was not touched.
    Newer(PathBuf),
    /// The file cannot be opened or created.
    Unreachable(PathBuf, rusqlite::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(path) => {
                write!(f, "`{}` is no intact SQLite database: restore it, or name another file", path.display())
            }
            Self::Foreign(path) => write!(f, "`{}` belongs to another program: name another file", path.display()),
            Self::Newer(path) => write!(f, "`{}` was written by a newer version: upgrade this one", path.display()),
            Self::Unreachable(path, error) => {
                write!(f, "`{}` cannot be opened ({error}): check the folder and its permissions", path.display())
            }
        }
    }
}

impl core::error::Error for OpenError {}

impl Sqlite {
    /// An engine on the file at `path`, which is created, readable by its owner alone, if it is not there.
    ///
    /// The file is opened, checked and closed again here, so that a mistake shows at start and nothing is inherited when
    /// the process forks.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let path = path.into();
        prepare(&path)?;
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

    fn read(&self, handle: Handle) -> rusqlite::Result<Option<Vec<u8>>> {
        let process = self.process().ok_or_else(forked)?;
        let _inside = process.gate.enter();
        let idle = lock(&process.readers).pop();
        let reader = match idle {
            Some(reader) => reader,
            None => process.open(&self.path, "NORMAL")?,
        };
        let found = with_patience(LOAD_PATIENCE, || stored(&reader.connection, handle));
        let mut readers = lock(&process.readers);
        if found.is_ok() && readers.len() < IDLE_READERS {
            readers.push(reader);
        }
        found
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
        match self.read(handle) {
            Ok(Some(record)) => Loaded::Found(record),
            Ok(None) => Loaded::Absent,
            Err(_) => Loaded::Unavailable,
        }
    }

    fn swap(&self, swap: &Swap, wait: Wait) -> Option<Swapped> {
        Some(self.write(swap, wait)?.unwrap_or_else(|error| outcome(&error)))
    }

    // spec: STORE-7 250a
    fn sweep(&self, now: Timestamp, max: usize) -> Result<usize, SweepError> {
        const SQL: &str = "DELETE FROM session WHERE rowid IN
            (SELECT rowid FROM session WHERE garbage_at <= ?1 ORDER BY garbage_at LIMIT ?2)";
        let (unit, max) = (garbage_unit(now), i64::try_from(max).unwrap_or(i64::MAX));
        let process = self.process().ok_or(SweepError)?;
        let _inside = process.gate.enter();
        let mut writers = lock(&process.writers);
        let removed = with_patience(LOCK_PATIENCE, || {
            let relaxed = writers.relaxed(process, &self.path)?;
            relaxed.prepare_cached(SQL)?.execute(params![unit, max])
        });
        writers.checkpoint_sometimes(&process.commits);
        removed.map_err(|_| SweepError)
    }
}

/// Connections of one process.
#[derive(Debug)]
struct Process {
    pid: u32,
    readers: Mutex<Vec<Open>>,
    /// One lock over both: writers of one process queue here instead of polling SQLite's lock against each other.
    writers: Mutex<Writers>,
    commits: AtomicU32,
    /// Connections that are open, in use or not.
    open: Arc<AtomicUsize>,
    gate: Gate,
    /// The state of a process forked from this one. A list, so that no lock which a fork may have caught is ever taken.
    next: OnceLock<Box<Process>>,
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
struct Gate {
    state: Mutex<Passage>,
    changed: Condvar,
}

#[derive(Default, Debug)]
struct Passage {
    is_shut: bool,
    inside: usize,
}

/// Somebody who uses the file, until dropped.
struct Inside<'a>(&'a Gate);

impl Gate {
    fn enter(&self) -> Inside<'_> {
        let mut state = lock(&self.state);
        while state.is_shut {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.inside = state.inside.saturating_add(1);
        Inside(self)
    }

    fn shut(&self) {
        let mut state = lock(&self.state);
        state.is_shut = true;
        while state.inside > 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn open(&self) {
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
struct Open {
    connection: Connection,
    count: Arc<AtomicUsize>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Process {
    fn open(&self, path: &Path, synchronous: &str) -> rusqlite::Result<Open> {
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
struct Writers {
    relaxed: Option<Open>,
    durable: Option<Open>,
}

impl Writers {
    // spec: STORE-6 aac8
    fn swap(&mut self, process: &Process, path: &Path, swap: &Swap) -> rusqlite::Result<Swapped> {
        let connection = if swap.durable { self.durable(process, path)? } else { self.relaxed(process, path)? };
        let done = execute(connection, swap);
        if done.as_ref().is_err_and(|error| !is_busy(error)) {
            // Whatever state the connection is in, the next write begins with a new one.
            *self = Self::default();
        }
        done
    }

    fn relaxed(&mut self, process: &Process, path: &Path) -> rusqlite::Result<&Connection> {
        open_into(&mut self.relaxed, process, path, "NORMAL")
    }

    fn durable(&mut self, process: &Process, path: &Path) -> rusqlite::Result<&Connection> {
        open_into(&mut self.durable, process, path, "FULL")
    }

    /// Moves what is in the write-ahead log into the database. Best effort: the log only grows until the next one.
    fn checkpoint_sometimes(&self, commits: &AtomicU32) {
        if commits.fetch_add(1, Ordering::Relaxed) >= COMMITS_PER_CHECKPOINT {
            commits.store(0, Ordering::Relaxed);
            if let Some(open) = self.relaxed.as_ref().or(self.durable.as_ref()) {
                let _best_effort = open.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            }
        }
    }
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

/// What a child that was forked with open connections is told: it cannot use them, nor open its own beside them.
fn forked() -> rusqlite::Error {
    rusqlite::Error::InvalidQuery
}

/// The whole of writing: there is no statement that writes without looking.
// spec: STORE-1 4bc6, STORE-2 4ba9, STORE-3 1632
fn execute(connection: &Connection, swap: &Swap) -> rusqlite::Result<Swapped> {
    const CREATE: &str =
        "INSERT INTO session (handle, garbage_at, record) VALUES (?1, ?2, ?3) ON CONFLICT (handle) DO NOTHING";
    // The stamp is at a fixed place in every record; SQL counts bytes from 1.
    const REPLACE: &str =
        "UPDATE session SET garbage_at = ?2, record = ?3 WHERE handle = ?1 AND substr(record, 3, 16) = ?4";
    const REMOVE: &str = "DELETE FROM session WHERE handle = ?1 AND substr(record, 3, 16) = ?2";
    const { assert!(Stamp::AT == 2, "the statements above say where the stamp is") };

    let handle = swap.handle.as_bytes();
    let garbage_at = garbage_unit(swap.garbage_at).saturating_add(1);
    let changed = match (&swap.expected, &swap.new) {
        (None, Some(new)) => connection.prepare_cached(CREATE)?.execute(params![handle, garbage_at, new])?,
        (Some(expected), Some(new)) => {
            connection.prepare_cached(REPLACE)?.execute(params![handle, garbage_at, new, expected.as_bytes()])?
        }
        (Some(expected), None) => connection.prepare_cached(REMOVE)?.execute(params![handle, expected.as_bytes()])?,
        (None, None) => 1,
    };
    if changed == 1 { Ok(Swapped::Done) } else { stored(connection, swap.handle).map(Swapped::Conflict) }
}

/// Time in units so coarse that a touch seldom changes it. A timestamp has 48 bits: the conversion loses nothing.
fn garbage_unit(time: Timestamp) -> i64 {
    i64::try_from(time.as_unix_ms() >> GARBAGE_UNIT_BITS).unwrap_or(i64::MAX)
}

fn stored(connection: &Connection, handle: Handle) -> rusqlite::Result<Option<Vec<u8>>> {
    let mut statement = connection.prepare_cached("SELECT record FROM session WHERE handle = ?1")?;
    statement.query_row([handle.as_bytes()], |row| row.get(0)).optional()
}

/// What a failed statement says about whether it took place.
fn outcome(error: &rusqlite::Error) -> Swapped {
    match error.sqlite_error_code() {
        // A commit that met an I/O error may be in the log all the same.
        Some(ErrorCode::SystemIoFailure) | None => Swapped::Unknown,
        Some(_) => Swapped::Unavailable,
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connect(path: &Path, synchronous: &str) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_handler(Some(wait_a_little))?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(connection)
}

/// Creates, checks or refuses the file, and leaves it closed. Others may be doing the same: SQLite does not ask its busy
/// handler for all of it.
fn prepare(path: &Path) -> Result<(), OpenError> {
    let started = Instant::now();
    loop {
        match prepare_once(path) {
            Err(OpenError::Unreachable(_, error)) if is_busy(&error) && started.elapsed() < LOCK_PATIENCE => {
                thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}

fn prepare_once(path: &Path) -> Result<(), OpenError> {
    let unreachable = |error| OpenError::Unreachable(path.to_owned(), error);
    create_private(path);
    let connection = connect(path, "FULL").map_err(|error| refusal(path, error))?;
    with_patience(LOCK_PATIENCE, || {
        if identity(&connection).map_err(|error| refusal(path, error))? == Identity::Empty {
            let created = create_schema(&connection).map_err(unreachable)?;
            if !created {
                return check(path, &connection);
            }
        }
        check(path, &connection)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(unreachable)
    })
}

#[derive(PartialEq)]
enum Identity {
    Empty,
    Ours(i64),
    Foreign,
}

fn identity(connection: &Connection) -> rusqlite::Result<Identity> {
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    let (application, version) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
    Ok(match (application, version, tables) {
        (APPLICATION_ID, version, _) => Identity::Ours(version),
        (0, 0, 0) => Identity::Empty,
        _ => Identity::Foreign,
    })
}

fn check(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    match identity(connection).map_err(|error| refusal(path, error))? {
        Identity::Ours(version) if version > SCHEMA_VERSION => Err(OpenError::Newer(path.to_owned())),
        Identity::Ours(_) => Ok(()),
        Identity::Empty | Identity::Foreign => Err(OpenError::Foreign(path.to_owned())),
    }
}

/// Writes the schema unless another process was faster.
fn create_schema(connection: &Connection) -> rusqlite::Result<bool> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let created = identity(connection).and_then(|identity| {
        let empty = identity == Identity::Empty;
        if empty { connection.execute_batch(SCHEMA).map(|()| true) } else { Ok(false) }
    });
    connection.execute_batch(if created.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    created
}

fn refusal(path: &Path, error: rusqlite::Error) -> OpenError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => OpenError::Damaged(path.to_owned()),
        _ => OpenError::Unreachable(path.to_owned(), error),
    }
}

/// Sessions are nobody else's business. What goes wrong here shows when SQLite opens the file.
fn create_private(path: &Path) {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let _shown_by_sqlite = options.open(path);
}

thread_local! {
    /// Until when this thread waits for a lock; none when it must not.
    static WAITS_UNTIL: Cell<Option<Instant>> = const { Cell::new(None) };
    static JITTER: Cell<u32> = const { Cell::new(0x9e37_79b9) };
}

fn with_patience<T>(patience: Duration, work: impl FnOnce() -> T) -> T {
    WAITS_UNTIL.set(Instant::now().checked_add(patience));
    let result = work();
    WAITS_UNTIL.set(None);
    result
}

/// SQLite's own handler sleeps longer and longer, and newcomers overtake. Short random sleeps are fair enough.
fn wait_a_little(_: i32) -> bool {
    let patient = WAITS_UNTIL.get().is_some_and(|until| Instant::now() < until);
    if patient {
        let mut x = JITTER.get() ^ std::process::id();
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        JITTER.set(x);
        thread::sleep(Duration::from_micros(20 + u64::from(x & 0x1ff)));
    }
    patient
}
