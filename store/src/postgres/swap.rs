//! A swap: one statement, and a second one to say what is stored instead.

use std::sync::atomic::{AtomicBool, Ordering};

use coatroom_core::{Entry, Handle, Listing, Stamp, Swap, Timestamp};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::connections::{Connections, Failure, Lease};
use super::sql::{Change, Sql, Statements};
use super::{garbage_unit, ms, name};
use crate::{Entered, Swapped};

/// The values of a write, as the statements number them.
pub(super) struct Values<'a> {
    handle: &'a [u8],
    durable: bool,
    expected: Option<&'a [u8]>,
    garbage_at: i64,
    new: Option<&'a [u8]>,
    principal: Option<Vec<u8>>,
    until: i64,
    now: i64,
    others: i64,
    names: i64,
}

impl<'a> Values<'a> {
    fn of(swap: &'a Swap) -> Self {
        let of_index = match &swap.listing {
            Listing::Keep => Self { principal: None, ..Self::of_principal("", &[], false) },
            Listing::Enter(entry) => Self::of_entry(entry),
            Listing::Leave(principal) => Self::of_principal(principal, &[], false),
        };
        Self {
            handle: swap.handle.as_bytes(),
            durable: swap.durable,
            expected: swap.expected.as_ref().map(|stamp| stamp.as_bytes().as_slice()),
            garbage_at: garbage_unit(swap.garbage_at).saturating_add(1),
            new: swap.new.as_deref(),
            ..of_index
        }
    }

    /// For a change of the index alone.
    pub(super) fn of_principal(principal: &str, handle: &'a [u8], durable: bool) -> Self {
        let (principal, nothing) = (Some(name(principal)), None);
        let (garbage_at, until, now, others, names) = (0, 0, 0, 0, 0);
        Self { handle, durable, expected: nothing, garbage_at, new: nothing, principal, until, now, others, names }
    }

    /// For the feed: whoever writes there queues for the lock that `feed` names.
    pub(super) fn of_feed(feed: &[u8], announcement: &'a [u8], forget_at: i64) -> Self {
        let principal = Some(feed.to_vec());
        Self { principal, garbage_at: forget_at, ..Self::of_principal("", announcement, true) }
    }

    pub(super) fn of_entry(entry: &'a Entry) -> Self {
        let alone = Self::of_principal(&entry.principal, entry.handle.as_bytes(), true);
        let (until, now, others) = (ms(entry.until), ms(entry.now), others(entry));
        Self { until, now, others, names: entry.names.into(), ..alone }
    }

    fn list(&self) -> [&(dyn ToSql + Sync); 9] {
        let Self { handle, durable, expected, garbage_at, new, principal, until, now, others, .. } = self;
        [handle, durable, expected, garbage_at, new, principal, until, now, others]
    }
}

fn others(entry: &Entry) -> i64 {
    entry.at_most.map_or(i64::MAX, i64::from)
}

/// What became of a write.
#[derive(Debug)]
pub(super) enum Written {
    Done,
    Entered(Entered),
    Refused,
}

/// `sent` is set while it is not known whether anything was changed.
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
        Listing::Enter(entry) if entry.at_most.is_some() && swap.new.is_some() => {
            under_lock(&mut lease, statements, &change.entering_if_room, &values, sent).await
        }
        Listing::Enter(_) if swap.new.is_some() => {
            under_lock(&mut lease, statements, &change.entering, &values, sent).await
        }
        Listing::Leave(_) => under_lock(&mut lease, statements, &change.leaving, &values, sent).await,
        Listing::Keep | Listing::Enter(_) => alone(&mut lease, change, &values, sent).await,
    };
    match written {
        Ok(Written::Entered(listed)) if swap.listing.entry().is_some() => Swapped::Entered(listed),
        Ok(Written::Done | Written::Entered(_)) => Swapped::Done,
        Ok(Written::Refused) => {
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

async fn alone(
    lease: &mut Lease<'_>,
    change: &Change,
    values: &Values<'_>,
    sent: &AtomicBool,
) -> Result<Written, Failure> {
    let sql = change.relaxed.as_ref().filter(|_| !values.durable).unwrap_or(&change.alone);
    let ready = lease.ready(sql).await?;
    lease.begin();
    sent.store(true, Ordering::Relaxed);
    let answer = lease.count(&ready, values.list().get(..sql.types.len()).unwrap_or_default()).await;
    lease.answered();
    let changed = answer?;
    lease.settled();
    Ok(if changed == 0 { Written::Refused } else { Written::Done })
}

/// A change of what the index says of a principal, and what it says then, in one trip: everything is sent before anything
/// is awaited.
///
/// All such changes of one principal queue for its lock. The lock is a statement of its own, for the snapshot of a statement
/// is taken before it waits: under READ COMMITTED, which the transaction asks for whatever the default of the database is,
/// the statements after it have snapshots from after the lock was granted. And it is released after the commit is visible
/// to all. So each of them sees all that went before it, and the index of a principal changes in one order.
///
/// Why a login and a revocation that overlap cannot miss each other: the login writes its entry and reads when all were revoked
/// under the lock; the revocation raises it under the lock ([`Store::bar`]) and reads the entries after that
/// was answered ([`Store::sessions`]). If the login had the lock first, its entry was visible before `bar` went on, and
/// `sessions` reads later still; if `bar` had it first, the login reads what it wrote.
///
/// [`Store::bar`]: crate::Store::bar
/// [`Store::sessions`]: crate::Store::sessions
pub(super) async fn under_lock(
    lease: &mut Lease<'_>,
    statements: &Statements,
    sql: &Sql,
    values: &Values<'_>,
    sent: &AtomicBool,
) -> Result<Written, Failure> {
    let list = values.list();
    let write_values = list.get(..sql.types.len()).unwrap_or_default();
    let lock_values: [&(dyn ToSql + Sync); 1] = [&values.principal];
    let read_values: [&(dyn ToSql + Sync); 4] = [&values.principal, &values.now, &values.handle, &values.names];
    let lock = lease.ready(&statements.lock).await?;
    let write = lease.ready(sql).await?;
    let read = lease.ready(&statements.listed).await?;
    lease.begin();
    sent.store(true, Ordering::Relaxed);
    let (begun, locked, written, read, committed, said) = tokio::join!(
        biased;
        lease.order("BEGIN ISOLATION LEVEL READ COMMITTED"),
        lease.send(&lock, &lock_values),
        lease.send(&write, write_values),
        lease.send(&read, &read_values),
        lease.order("COMMIT"),
        lease.say(sql.then.as_deref()),
    );
    lease.answered();
    // Without a transaction around it the write would have committed by itself.
    begun.map_err(|_| Failure::Unknown)?;
    // Whatever fails in a transaction makes its COMMIT a ROLLBACK.
    locked?;
    let (rows, listed) = (written?, read?);
    committed?;
    if said {
        lease.settled();
    }
    match rows.first() {
        None => Ok(Written::Refused),
        Some(row) => entered_of(row, &listed).map(Written::Entered).ok_or(Failure::Unknown),
    }
}

/// From what the write answered, where it made an entry whether there was none before, and what the index says then.
fn entered_of(written: &Row, rows: &[Row]) -> Option<Entered> {
    let row = rows.first()?;
    let number = |column| row.try_get::<_, i64>(column).ok().map(|it| u64::try_from(it).unwrap_or_default());
    let (revoked, now) = (Timestamp::from_unix_ms(number(0)?), Timestamp::from_unix_ms(number(2)?));
    let count = u32::try_from(number(1)?).unwrap_or(u32::MAX);
    let others: Vec<&[u8]> = row.try_get(3).ok()?;
    let others =
        others.into_iter().map(|bytes| bytes.try_into().map(Handle::from_bytes)).collect::<Result<_, _>>().ok()?;
    let before = written.try_get(0).is_ok_and(|is_new: bool| is_new).then_some(others);
    Some(Entered { revoked, ago: Some(now.since(revoked)), count, before })
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
    let answer = lease.send(&ready, &[&handle.as_bytes().as_slice()]).await;
    lease.answered();
    let rows = answer?;
    lease.settled();
    rows.first().map(|row| row.try_get(0).map_err(|_| Failure::Unknown)).transpose()
}
