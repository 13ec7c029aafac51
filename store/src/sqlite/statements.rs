//! Every statement on sessions and principals.

use coatroom_core::{Announcement, Entry, Handle, Listing, NOT_BEFORE_KEPT, Stamp, Swap, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::feed::Line;
use crate::{Entered, Swapped};

/// Times of garbage are rounded up to about 17 minutes, so that a touch seldom moves an index entry.
const GARBAGE_UNIT_BITS: u32 = 20;

/// The whole of writing: there is no statement that writes without looking. Index and record change together.
// spec: STORE-1 4bc6, STORE-2 4ba9, STORE-3 1632
pub(super) fn swap(connection: &Connection, swap: &Swap) -> rusqlite::Result<Swapped> {
    match &swap.listing {
        Listing::Keep => write(connection, swap, None),
        Listing::Leave(_) => write(connection, swap, Some(None)),
        Listing::Enter(entry) => in_transaction(connection, || {
            if !admits(connection, entry)? {
                return Ok(Swapped::Full);
            }
            let before = before(connection, entry)?;
            match write(connection, swap, Some(Some(&entry.principal)))? {
                Swapped::Done => listed(connection, entry, before).map(Swapped::Entered),
                refused => Ok(refused),
            }
        }),
    }
}

/// Writes the record, and whose it is if that changes.
fn write(connection: &Connection, swap: &Swap, principal: Option<Option<&str>>) -> rusqlite::Result<Swapped> {
    const CREATE: &str = "INSERT INTO session (handle, garbage_at, record, principal) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (handle) DO NOTHING";
    // The stamp is at a fixed place in every record; SQL counts bytes from 1.
    const REPLACE: &str =
        "UPDATE session SET garbage_at = ?2, record = ?3 WHERE handle = ?1 AND substr(record, 3, 16) = ?4";
    // SQLite writes the index of what is assigned, though it stays as it was: a second page for each commit.
    const REPLACE_RECORD: &str =
        "UPDATE session SET record = ?3 WHERE handle = ?1 AND +garbage_at = ?2 AND substr(record, 3, 16) = ?4";
    const REPLACE_AND_LIST: &str = "UPDATE session SET garbage_at = ?2, record = ?3, principal = ?5
        WHERE handle = ?1 AND substr(record, 3, 16) = ?4";
    const REMOVE: &str = "DELETE FROM session WHERE handle = ?1 AND substr(record, 3, 16) = ?2";
    const { assert!(Stamp::AT == 2, "the statements above say where the stamp is") };

    let handle = swap.handle.as_bytes();
    let garbage_at = garbage_unit(swap.garbage_at).saturating_add(1);
    let changed = match (&swap.expected, &swap.new, principal) {
        (None, Some(new), principal) => {
            connection.prepare_cached(CREATE)?.execute(params![handle, garbage_at, new, principal.flatten()])?
        }
        (Some(expected), Some(new), None) => {
            let values = params![handle, garbage_at, new, expected.as_bytes()];
            match connection.prepare_cached(REPLACE_RECORD)?.execute(values)? {
                0 => connection.prepare_cached(REPLACE)?.execute(values)?,
                changed => changed,
            }
        }
        (Some(expected), Some(new), Some(principal)) => connection
            .prepare_cached(REPLACE_AND_LIST)?
            .execute(params![handle, garbage_at, new, expected.as_bytes(), principal])?,
        (Some(expected), None, _) => {
            connection.prepare_cached(REMOVE)?.execute(params![handle, expected.as_bytes()])?
        }
        (None, None, _) => 1,
    };
    if changed == 1 { Ok(Swapped::Done) } else { stored(connection, swap.handle).map(Swapped::Conflict) }
}

/// Makes an entry of a record that is there.
pub(super) fn enter(connection: &Connection, entry: &Entry) -> rusqlite::Result<Option<Entered>> {
    in_transaction(connection, || {
        if !admits(connection, entry)? {
            return Ok(None);
        }
        let list = "UPDATE session SET principal = ?2 WHERE handle = ?1";
        let before = before(connection, entry)?;
        connection.prepare_cached(list)?.execute(params![entry.handle.as_bytes(), entry.principal])?;
        listed(connection, entry, before).map(Some)
    })
}

/// Whether the entry leaves the principal within the number that it allows.
fn admits(connection: &Connection, entry: &Entry) -> rusqlite::Result<bool> {
    const SQL: &str = "SELECT count(*) FROM session WHERE principal = ?1 AND garbage_at > ?2 AND handle != ?3";
    let Some(most) = entry.at_most else { return Ok(true) };
    let mut count = connection.prepare_cached(SQL)?;
    let now = garbage_unit(entry.now);
    let others: u32 = count.query_row(params![entry.principal, now, entry.handle.as_bytes()], |row| row.get(0))?;
    Ok(others < most)
}

/// Who is listed while this one is not yet.
fn before(connection: &Connection, entry: &Entry) -> rusqlite::Result<Option<Vec<Handle>>> {
    const IS_LISTED: &str = "SELECT 1 FROM session WHERE handle = ?1 AND principal = ?2";
    const OTHERS: &str =
        "SELECT handle FROM session WHERE principal = ?1 AND garbage_at > ?2 ORDER BY garbage_at LIMIT ?3";
    if entry.names == 0 {
        return Ok(Some(Vec::new()));
    }
    if connection.prepare_cached(IS_LISTED)?.exists(params![entry.handle.as_bytes(), entry.principal])? {
        return Ok(None);
    }
    let mut others = connection.prepare_cached(OTHERS)?;
    let values = params![entry.principal, garbage_unit(entry.now), entry.names];
    others.query_map(values, |row| row.get(0).map(Handle::from_bytes))?.collect::<rusqlite::Result<_>>().map(Some)
}

fn listed(connection: &Connection, entry: &Entry, before: Option<Vec<Handle>>) -> rusqlite::Result<Entered> {
    const COUNT: &str = "SELECT count(*) FROM session WHERE principal = ?1 AND garbage_at > ?2";
    const REVOKED: &str = "SELECT not_before FROM principal WHERE name = ?1";
    let count = connection
        .prepare_cached(COUNT)?
        .query_row(params![entry.principal, garbage_unit(entry.now)], |row| row.get(0))?;
    let revoked = connection.prepare_cached(REVOKED)?.query_row([&entry.principal], moment).optional()?;
    Ok(Entered { revoked: revoked.unwrap_or_default(), ago: None, count, before })
}

pub(super) fn sessions(connection: &Connection, principal: &str) -> rusqlite::Result<Vec<Handle>> {
    let mut select = connection.prepare_cached("SELECT handle FROM session WHERE principal = ?1")?;
    select.query_map([principal], |row| row.get(0).map(Handle::from_bytes))?.collect()
}

pub(super) fn leave(connection: &Connection, principal: &str, handle: Handle) -> rusqlite::Result<()> {
    const SQL: &str = "UPDATE session SET principal = NULL WHERE handle = ?1 AND principal = ?2";
    connection.prepare_cached(SQL)?.execute(params![handle.as_bytes(), principal]).map(drop)
}

pub(super) fn bar(connection: &Connection, principal: &str, now: Timestamp) -> rusqlite::Result<Timestamp> {
    const SQL: &str = "INSERT INTO principal (name, not_before) VALUES (?1, ?2)
        ON CONFLICT (name) DO UPDATE SET not_before = max(not_before + 1, excluded.not_before) RETURNING not_before";
    connection.prepare_cached(SQL)?.query_row(params![principal, ms(now)], moment)
}

pub(super) fn announce(connection: &Connection, said: &Announcement, forget_at: Timestamp) -> rusqlite::Result<()> {
    const SQL: &str = "INSERT INTO announced (forget_at, announcement) VALUES (?1, ?2)";
    connection.prepare_cached(SQL)?.execute(params![ms(forget_at), said.to_bytes()]).map(drop)
}

/// Numbers follow the order of the commits, for one writes at a time. A cursor beyond the last number is that of another
/// file, and leads to the beginning of this one.
// spec: FEED-3 19a1
pub(super) fn announced(connection: &Connection, since: u64, max: i64) -> rusqlite::Result<(u64, Vec<Line>)> {
    const LAST: &str = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'announced'), 0)";
    const SQL: &str = "SELECT number, announcement FROM announced WHERE number > ?1 ORDER BY number LIMIT ?2";
    let last: i64 = connection.prepare_cached(LAST)?.query_row([], |row| row.get(0))?;
    let since = i64::try_from(since).ok().filter(|since| *since <= last).unwrap_or_default();
    let mut select = connection.prepare_cached(SQL)?;
    let number = |row: &Row<'_>| row.get::<_, i64>(0).map(|number| u64::try_from(number).unwrap_or_default());
    let lines = select.query_map([since, max], |row| Ok((number(row)?, row.get(1)?)))?;
    Ok((u64::try_from(since).unwrap_or_default(), lines.collect::<rusqlite::Result<_>>()?))
}

/// The first column, in milliseconds.
fn moment(row: &Row<'_>) -> rusqlite::Result<Timestamp> {
    Ok(Timestamp::from_unix_ms(u64::try_from(row.get::<_, i64>(0)?).unwrap_or_default()))
}

/// Handles in the order of their rows, from one row on, and the row of the last.
pub(super) fn scan(connection: &Connection, from: i64, max: i64) -> rusqlite::Result<(Vec<Handle>, Option<i64>)> {
    let mut select =
        connection.prepare_cached("SELECT handle, rowid FROM session WHERE rowid > ?1 ORDER BY rowid LIMIT ?2")?;
    let mut rows = select.query([from, max])?;
    let (mut handles, mut last) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        handles.push(Handle::from_bytes(row.get(0)?));
        last = Some(row.get(1)?);
    }
    Ok((handles, last))
}

// spec: STORE-7 250a
pub(super) fn sweep(connection: &Connection, now: Timestamp, max: i64) -> rusqlite::Result<usize> {
    const SESSIONS: &str = "DELETE FROM session WHERE rowid IN
        (SELECT rowid FROM session WHERE garbage_at <= ?1 ORDER BY garbage_at LIMIT ?2)";
    const PRINCIPALS: &str = "DELETE FROM principal WHERE rowid IN
        (SELECT rowid FROM principal WHERE not_before < ?1 LIMIT ?2)";
    const ANNOUNCED: &str = "DELETE FROM announced WHERE number IN
        (SELECT number FROM announced WHERE forget_at <= ?1 ORDER BY number LIMIT ?2)";
    let kept_since = ms(now).saturating_sub(i64::try_from(NOT_BEFORE_KEPT.as_millis()).unwrap_or(i64::MAX));
    connection.prepare_cached(PRINCIPALS)?.execute([kept_since, max])?;
    connection.prepare_cached(ANNOUNCED)?.execute([ms(now), max])?;
    connection.prepare_cached(SESSIONS)?.execute(params![garbage_unit(now), max])
}

/// As one step, also for other processes.
fn in_transaction<T>(connection: &Connection, work: impl FnOnce() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let done = work().and_then(|done| connection.prepare_cached("COMMIT")?.execute([]).map(|_| done));
    if done.is_err() {
        // What cannot be rolled back is by the end of the connection.
        let _harmless = connection.execute_batch("ROLLBACK");
    }
    done
}

/// A timestamp has 48 bits: the conversion loses nothing.
fn ms(time: Timestamp) -> i64 {
    i64::try_from(time.as_unix_ms()).unwrap_or(i64::MAX)
}

/// Time in units so coarse that a touch seldom changes it.
fn garbage_unit(time: Timestamp) -> i64 {
    i64::try_from(time.as_unix_ms() >> GARBAGE_UNIT_BITS).unwrap_or(i64::MAX)
}

pub(super) fn stored(connection: &Connection, handle: Handle) -> rusqlite::Result<Option<Vec<u8>>> {
    let mut statement = connection.prepare_cached("SELECT record FROM session WHERE handle = ?1")?;
    statement.query_row([handle.as_bytes()], |row| row.get(0)).optional()
}
