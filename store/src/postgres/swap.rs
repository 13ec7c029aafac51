//! A swap: one statement, and a second one to say what is stored instead.

use std::sync::atomic::{AtomicBool, Ordering};

use coatroom_core::{Entry, Handle, Listed, Listing, Stamp, Swap};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::connections::{Connections, Failure, Lease};
use super::sql::{Sql, Statements};
use super::{garbage_unit, ms, name};
use crate::Swapped;

/// The values of a swap, as the statements number them.
struct Values<'a> {
    handle: &'a [u8],
    durable: bool,
    expected: Option<&'a [u8]>,
    garbage_at: i64,
    new: Option<&'a [u8]>,
    principal: Option<Vec<u8>>,
    until: i64,
    now: i64,
    others: i64,
}

impl<'a> Values<'a> {
    fn of(swap: &'a Swap) -> Self {
        let (principal, until, now, others) = match &swap.listing {
            Listing::Keep => (None, 0, 0, 0),
            Listing::Enter(entry) => (Some(name(&entry.principal)), ms(entry.until), ms(entry.now), others(entry)),
            Listing::Leave(principal) => (Some(name(principal)), 0, 0, 0),
        };
        Self {
            handle: swap.handle.as_bytes(),
            durable: swap.durable,
            expected: swap.expected.as_ref().map(|stamp| stamp.as_bytes().as_slice()),
            garbage_at: garbage_unit(swap.garbage_at).saturating_add(1),
            new: swap.new.as_deref(),
            principal,
            until,
            now,
            others,
        }
    }

    fn of_entry(entry: &'a Entry) -> Self {
        Self {
            handle: entry.handle.as_bytes(),
            durable: true,
            expected: None,
            garbage_at: 0,
            new: None,
            principal: Some(name(&entry.principal)),
            until: ms(entry.until),
            now: ms(entry.now),
            others: others(entry),
        }
    }

    fn list(&self) -> [&(dyn ToSql + Sync); 9] {
        let Self { handle, durable, expected, garbage_at, new, principal, until, now, others } = self;
        [handle, durable, expected, garbage_at, new, principal, until, now, others]
    }
}

fn others(entry: &Entry) -> i64 {
    entry.at_most.map_or(i64::MAX, i64::from)
}

/// What became of a write that may make an entry.
#[derive(Debug)]
pub(super) enum Written {
    Done,
    Entered(Listed),
    Refused,
}

/// `sent` is set before anything is sent that may change anything.
// spec: STORE-1 4bc6, STORE-2 4ba9, STORE-3 1632
pub(super) async fn swap(
    connections: &Connections,
    statements: &Statements,
    swap: &Swap,
    sent: &AtomicBool,
) -> Swapped {
    let Some(mut lease) = connections.lease().await else { return Swapped::Unavailable };
    let change = match (&swap.expected, &swap.new) {
        (None, Some(_)) => &statements.create,
        (Some(_), Some(_)) => &statements.replace,
        (Some(_), None) => &statements.remove,
        (None, None) => {
            return match stored(&mut lease, statements, swap.handle).await {
                Ok(None) => Swapped::Done,
                Ok(found) => Swapped::Conflict(found),
                Err(_) => Swapped::Unavailable,
            };
        }
    };
    let values = Values::of(swap);
    let written = match &swap.listing {
        Listing::Enter(entry) if swap.new.is_some() => {
            let sql = if entry.at_most.is_some() { &change.entering_if_room } else { &change.entering };
            enter(&mut lease, statements, sql, &values, entry, sent).await
        }
        Listing::Leave(_) => alone(&mut lease, &change.leaving, &values, sent).await,
        Listing::Keep | Listing::Enter(_) => alone(&mut lease, &change.alone, &values, sent).await,
    };
    match written {
        Ok(Written::Done) => Swapped::Done,
        Ok(Written::Entered(listed)) => Swapped::Entered(listed),
        Ok(Written::Refused) => {
            // Nothing of it is in doubt any more.
            sent.store(false, Ordering::Relaxed);
            refused(&mut lease, statements, swap).await
        }
        Err(Failure::Overtaken) => {
            sent.store(false, Ordering::Relaxed);
            drop(lease);
            let Some(mut lease) = connections.lease().await else { return Swapped::Unavailable };
            refused(&mut lease, statements, swap).await
        }
        Err(Failure::NotDone) => Swapped::Unavailable,
        Err(Failure::Unknown) => {
            connections.distrust_idle();
            Swapped::Unknown
        }
    }
}

/// Makes an entry, alone.
pub(super) async fn enter_alone(
    connections: &Connections,
    statements: &Statements,
    entry: &Entry,
) -> Result<Written, Failure> {
    let mut lease = connections.lease().await.ok_or(Failure::NotDone)?;
    let sql = if entry.at_most.is_some() { &statements.enter_if_room } else { &statements.enter };
    enter(&mut lease, statements, sql, &Values::of_entry(entry), entry, &AtomicBool::new(false)).await
}

async fn alone(lease: &mut Lease<'_>, sql: &Sql, values: &Values<'_>, sent: &AtomicBool) -> Result<Written, Failure> {
    let ready = lease.ready(sql).await?;
    lease.begin();
    sent.store(true, Ordering::Relaxed);
    let rows = lease.send(&ready, values.list().get(..sql.types.len()).unwrap_or_default()).await?;
    lease.settled();
    Ok(if rows.is_empty() { Written::Refused } else { Written::Done })
}

/// A write with an entry, and what the index says then, in one trip: everything is sent before anything is awaited.
///
/// Why a login and a revocation that overlap cannot miss each other. Each is a write and then a read, in this order: the
/// login writes its entry (W1) and reads *not before* (R1); the revocation writes *not before* (W2, [`Store::bar`]) and
/// reads the entries (R2, [`Store::sessions`]). Each of the four has a transaction and so a snapshot of its own. The
/// server begins R1 only when W1 is committed and visible to every snapshot taken from then on; `sessions` is called
/// when `bar` was answered, so the same holds for R2 and W2. If R1 does not see W2, its snapshot was taken before W2 was
/// visible; then W1, visible before that snapshot, is visible to R2, whose snapshot is taken after W2 was visible. So at
/// least one sees the other, without any lock. One statement for both W1 and R1 would not do: under READ COMMITTED its
/// snapshot is taken before its own commit, and both could read the past.
///
/// Where the entry limits how many there are, logins of one principal queue for a lock, and count after they have it: the
/// lock is a statement of its own, so that the statement which counts has a snapshot from after the lock was granted, and it
/// is released after the commit is visible. The transaction says READ COMMITTED, whatever the database's default is.
/// W1 and R1 stay apart: R1 follows the `COMMIT`.
///
/// [`Store::bar`]: crate::Store::bar
/// [`Store::sessions`]: crate::Store::sessions
async fn enter(
    lease: &mut Lease<'_>,
    statements: &Statements,
    sql: &Sql,
    values: &Values<'_>,
    entry: &Entry,
    sent: &AtomicBool,
) -> Result<Written, Failure> {
    let list = values.list();
    let write_values = list.get(..sql.types.len()).unwrap_or_default();
    let read_values: [&(dyn ToSql + Sync); 2] = [&values.principal, &values.now];
    let (write, read) = (lease.ready(sql).await?, lease.ready(&statements.listed).await?);
    let (written, listed) = if entry.at_most.is_none() {
        lease.begin();
        sent.store(true, Ordering::Relaxed);
        tokio::join!(biased; lease.send(&write, write_values), lease.send(&read, &read_values))
    } else {
        let lock_values: [&(dyn ToSql + Sync); 1] = [&values.principal];
        let lock = lease.ready(&statements.lock).await?;
        lease.begin();
        sent.store(true, Ordering::Relaxed);
        let (begun, locked, written, committed, listed) = tokio::join!(
            biased;
            lease.order("BEGIN ISOLATION LEVEL READ COMMITTED"),
            lease.send(&lock, &lock_values),
            lease.send(&write, write_values),
            lease.order("COMMIT"),
            lease.send(&read, &read_values)
        );
        // Without a transaction around it the write would have committed by itself.
        let begun = begun.map_err(|_| Failure::Unknown);
        let written = begun.and(locked).and(written);
        (written.and_then(|rows| committed.map(|()| rows)), listed)
    };
    let rows = written?;
    let listed = listed.ok().and_then(|rows| listed_of(&rows));
    if listed.is_some() {
        lease.settled();
    }
    if rows.is_empty() {
        return Ok(Written::Refused);
    }
    // Without the second answer the entry stands all the same, and the caller asks for it again.
    Ok(listed.map_or(Written::Done, Written::Entered))
}

fn listed_of(rows: &[Row]) -> Option<Listed> {
    let row = rows.first()?;
    let (not_before, count) = (row.try_get::<_, i64>(0).ok()?, row.try_get::<_, i64>(1).ok()?);
    let not_before = coatroom_core::Timestamp::from_unix_ms(u64::try_from(not_before).unwrap_or_default());
    Some(Listed { not_before, count: u32::try_from(count).unwrap_or(u32::MAX) })
}

/// What a swap that did not take place is answered with.
async fn refused(lease: &mut Lease<'_>, statements: &Statements, swap: &Swap) -> Swapped {
    let Ok(current) = stored(lease, statements, swap.handle).await else { return Swapped::Unavailable };
    let as_expected = match (&current, swap.expected) {
        (Some(current), Some(expected)) => Stamp::of(current) == Some(expected),
        (current, expected) => current.is_none() && expected.is_none(),
    };
    let limited = matches!(&swap.listing, Listing::Enter(entry) if entry.at_most.is_some());
    match (as_expected, limited) {
        (false, _) => Swapped::Conflict(current),
        (true, true) => Swapped::Full,
        // Nobody wrote, and yet the write did not take place: the server rolled it back.
        (true, false) => Swapped::Unavailable,
    }
}

async fn stored(lease: &mut Lease<'_>, statements: &Statements, handle: Handle) -> Result<Option<Vec<u8>>, Failure> {
    let ready = lease.ready(&statements.load).await?;
    lease.begin();
    let rows = lease.send(&ready, &[&handle.as_bytes().as_slice()]).await?;
    lease.settled();
    rows.first().map(|row| row.try_get(0).map_err(|_| Failure::Unknown)).transpose()
}
