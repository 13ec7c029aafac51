//! The file: created, migrated, checked or refused.

use core::fmt;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use coatroom_core::holder;
use rusqlite::{Connection, ErrorCode, params};

use super::LOCK_PATIENCE;
use super::process::connect;
use super::waiting::{is_busy, with_patience};

/// "Coat", so that no other program's file is taken for ours.
const APPLICATION_ID: i64 = 0x436f_6174;
const SCHEMA_VERSION: i64 = 2;
const SCHEMA: &str = "
    CREATE TABLE session (
        handle BLOB NOT NULL UNIQUE,
        garbage_at INTEGER NOT NULL,
        record BLOB NOT NULL,
        principal TEXT
    ) STRICT;
    CREATE INDEX session_garbage ON session (garbage_at);
    CREATE INDEX session_principal ON session (principal) WHERE principal IS NOT NULL;
    CREATE TABLE principal (name TEXT NOT NULL UNIQUE, not_before INTEGER NOT NULL) STRICT;
    PRAGMA application_id = 0x436f6174;
    PRAGMA user_version = 2;";
/// Beside the versions: a build that does not know of it neither needs nor touches it. Numbers are never used again.
const FEED: &str = "
    CREATE TABLE IF NOT EXISTS announced (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        forget_at INTEGER NOT NULL,
        announcement BLOB NOT NULL
    ) STRICT;";
/// Version 1 had no index of principals; each record says whose it is.
const FROM_VERSION_1: &str = "
    ALTER TABLE session ADD COLUMN principal TEXT;
    CREATE INDEX session_principal ON session (principal) WHERE principal IS NOT NULL;
    CREATE TABLE principal (name TEXT NOT NULL UNIQUE, not_before INTEGER NOT NULL) STRICT;
    PRAGMA user_version = 2;";

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

/// Creates, checks or refuses the file, and leaves it closed. Others may be doing the same: SQLite does not ask its busy
/// handler for all of it.
pub(super) fn prepare(path: &Path) -> Result<(), OpenError> {
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
        migrate(&connection).map_err(unreachable)?;
        connection.execute_batch(FEED).map_err(unreachable)?;
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

/// Brings a file of an older version up to this one, unless another process was faster.
fn migrate(connection: &Connection) -> rusqlite::Result<()> {
    let is_old = |connection| Ok(matches!(identity(connection)?, Identity::Ours(version) if version < SCHEMA_VERSION));
    if !is_old(connection)? {
        return Ok(());
    }
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let migrated = is_old(connection).and_then(|old| if old { from_version_1(connection) } else { Ok(()) });
    connection.execute_batch(if migrated.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    migrated
}

fn from_version_1(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(FROM_VERSION_1)?;
    let mut all = connection.prepare("SELECT rowid, record FROM session")?;
    let mut list = connection.prepare("UPDATE session SET principal = ?2 WHERE rowid = ?1")?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(principal) = holder(&row.get::<_, Vec<u8>>(1)?) {
            list.execute(params![row.get::<_, i64>(0)?, principal])?;
        }
    }
    Ok(())
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
