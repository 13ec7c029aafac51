//! Records and the index of principals in PostgreSQL (14 or newer), for any number of processes and hosts.
//!
//! ```no_run
//! use coatroom_store::postgres::{Postgres, Settings};
//!
//! # async fn start() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Postgres::new(Settings::parse("postgres://shop@db.internal/shop?sslmode=require")?)?;
//! store.migrate().await?;          // once per release, by whoever may create tables
//! # Ok(()) }
//! ```
//!
//! **Trips.** A load is one SELECT, a swap one statement; only one that is refused spends a second, which says what is
//! stored instead. A login writes record and entry and reads the index in one trip.
//!
//! **What survives.** Creating, logging in, rotating, ending and revoking are acknowledged when they are as safe as
//! `synchronous_commit = on` makes them: they survive the death of the server and a power failure, and a failover where
//! `synchronous_standby_names` names the standby that takes over. Where it names none, a failover may lose the newest of
//! them, and an ended session may live again. Data and the time of the last use are acknowledged before they are on disk:
//! a crash of the server or of its host loses less than a second of them (three times `wal_writer_delay`), and nothing
//! else. What this server or the database is set to is never lowered for a durable write.
//!
//! **Outcomes.** Each swap is sent at most once. It is [`Swapped::Unavailable`] when it was not sent, or when the server
//! said that it was rolled back, and [`Swapped::Unknown`] when the connection was lost or no answer came in time. A
//! connection about which anything is in doubt is closed; the next operation makes another. Operations that may be
//! repeated are, once, after a lost connection. Nothing takes longer than [`Settings::time_limit`].
//!
//! **Tables.** [`Postgres::migrate`] runs the files beside this one; whoever prefers runs them by hand:
//!
//! ```sql
#![doc = include_str!("schema/1-sessions.sql")]
#![doc = include_str!("schema/2-principals.sql")]
#![doc = include_str!("schema/3-feed.sql")]
//! ```
//!
//! **Poolers.** PgBouncer in transaction mode needs [`Settings::unnamed_statements`], whatever its version: then nothing that
//! belongs to a connection is used. Session locks never are. LISTEN is, where verifiers of access tokens hear of endings at once, and
//! only without that setting: a pooler would keep what it says to itself. NOTIFY passes poolers.
//!
//! **Runtime.** The futures can be polled from anywhere. Connections live on a thread of the engine's own, or on the
//! program's runtime ([`Settings::runtime`]). After a fork the child makes its own.

mod connections;
mod listen;
mod schema;
mod settings;
mod sql;
mod swap;

pub use schema::SchemaError;
pub use settings::{Settings, SettingsError};

use core::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coatroom_core::{Announcement, Entry, Handle, Loaded, NOT_BEFORE_KEPT, Swap, Timestamp};
use sha2::{Digest, Sha256};
use tokio_postgres::Row;

use crate::feed::{increment, number_of};
use crate::runtime::PerProcess;
use crate::{Cursor, Entered, Increment, Listening, NotAnnounced, NotListed, Nudge, Store, Swapped, Unavailable};
use connections::{Connections, Dialler, Failure, Tls, Values};
use sql::{Sql, Statements};
use swap::Written;

/// Times of garbage are rounded up to about 17 minutes, so that a touch seldom moves an index entry.
const GARBAGE_UNIT_BITS: u32 = 20;
/// What those who announce queue for. No principal is kept under it: it is neither a name in UTF-8 nor long enough.
const FEED: &[u8] = b"\xfffeed";
/// Names up to this length are keys as they are.
const LONGEST_NAME: usize = 255;

/// An engine on a PostgreSQL server. Share one between all requests.
pub struct Postgres {
    settings: Settings,
    tls: Tls,
    statements: Statements,
    connections: PerProcess<Connections>,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Postgres").field(&self.settings).finish()
    }
}

impl Postgres {
    /// An engine on the server that the settings name. Connects to nothing yet.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let settings = settings.checked()?;
        let tls = Tls::new(&settings)?;
        let statements = Statements::new(&settings.quoted_schema(), settings.unnamed);
        Ok(Self { settings, tls, statements, connections: PerProcess::new() })
    }

    /// Makes the tables, or brings those of an older version up to date, keeping what is in them. Does nothing where there
    /// is nothing to do; processes that do it at the same time queue. May take as long as building an index does.
    pub async fn migrate(&self) -> Result<(), SchemaError> {
        let connections = self.connections().ok_or_else(SchemaError::no_thread)?;
        schema::migrated(&connections.dialler, &self.settings).await
    }

    /// Whether the server can be reached and the tables are of this version. Until they are, every operation is
    /// unavailable.
    pub async fn check(&self) -> Result<(), SchemaError> {
        let connections = self.connections().ok_or_else(SchemaError::no_thread)?;
        schema::checked(&connections.dialler, &self.settings).await
    }

    fn connections(&self) -> Option<&Connections> {
        self.connections.get(|| Connections::new(&self.settings, &self.tls)).ok()
    }

    /// The result of a statement that may be repeated, and is when the connection turns out to be lost.
    async fn rows(&self, sql: &Sql, values: Values<'_>) -> Result<Vec<Row>, Unavailable> {
        let connections = self.connections().ok_or(Unavailable)?;
        let asking = async {
            match once(connections, sql, values).await {
                Err(Failure::Unknown) => {
                    connections.distrust_idle();
                    once(connections, sql, values).await
                }
                result => result,
            }
        };
        connections.dialler.within(self.settings.time_limit, asking).await.and_then(Result::ok).ok_or(Unavailable)
    }

    /// A change of the index alone, which may be repeated, and is when the connection turns out to be lost.
    async fn change(&self, sql: &Sql, values: swap::Values<'_>) -> Result<Written, Unavailable> {
        let connections = self.connections().ok_or(Unavailable)?;
        let once = async || {
            let mut lease = connections.lease().await.ok_or(Failure::NotDone)?;
            swap::under_lock(&mut lease, &self.statements, sql, &values, &AtomicBool::new(false)).await
        };
        let changing = async {
            match once().await {
                Err(Failure::Unknown) => {
                    connections.distrust_idle();
                    once().await
                }
                result => result,
            }
        };
        connections.dialler.within(self.settings.time_limit, changing).await.and_then(Result::ok).ok_or(Unavailable)
    }
}

async fn once(connections: &Connections, sql: &Sql, values: Values<'_>) -> Result<Vec<Row>, Failure> {
    let mut lease = connections.lease().await.ok_or(Failure::NotDone)?;
    let ready = lease.ready(sql).await?;
    lease.begin();
    let answer = lease.send(&ready, values).await;
    lease.answered();
    let rows = answer?;
    lease.settled();
    Ok(rows)
}

impl Store for Postgres {
    async fn load(&self, handle: Handle) -> Loaded {
        let Ok(rows) = self.rows(&self.statements.load, &[&handle.as_bytes().as_slice()]).await else {
            return Loaded::Unavailable;
        };
        match rows.first().map(|row| row.try_get(0)) {
            Some(Ok(record)) => Loaded::Found(record),
            Some(Err(_)) => Loaded::Unavailable,
            None => Loaded::Absent,
        }
    }

    async fn swap(&self, swap: &Swap) -> Swapped {
        let Some(connections) = self.connections() else { return Swapped::Unavailable };
        let sent = AtomicBool::new(false);
        let swapping = swap::swap(connections, &self.statements, swap, &sent);
        match connections.dialler.within(self.settings.time_limit, swapping).await {
            Some(swapped) => swapped,
            None if sent.load(Ordering::Relaxed) => Swapped::Unknown,
            None => Swapped::Unavailable,
        }
    }

    async fn enter(&self, entry: &Entry) -> Result<Entered, NotListed> {
        let Statements { enter, enter_if_room, .. } = &self.statements;
        let sql = if entry.at_most.is_some() { enter_if_room } else { enter };
        match self.change(sql, swap::Values::of_entry(entry)).await? {
            Written::Entered(entered) => Ok(entered),
            Written::Refused => Err(NotListed::Full),
            Written::Done => Err(NotListed::Unavailable),
        }
    }

    async fn sessions(&self, principal: &str) -> Result<Vec<Handle>, Unavailable> {
        let rows = self.rows(&self.statements.sessions, &[&name(principal)]).await?;
        rows.iter().map(handle_of).collect()
    }

    async fn leave(&self, principal: &str, handle: Handle) -> Result<(), Unavailable> {
        let values = swap::Values::of_principal(principal, handle.as_bytes(), false);
        self.change(&self.statements.leave, values).await.map(drop)
    }

    async fn bar(&self, principal: &str, _: Timestamp) -> Result<Timestamp, Unavailable> {
        match self.change(&self.statements.bar, swap::Values::of_principal(principal, &[], true)).await? {
            Written::Entered(entered) => Ok(entered.revoked),
            Written::Refused | Written::Done => Err(Unavailable),
        }
    }

    async fn scan(&self, from: Option<Cursor>, max: usize) -> Result<(Vec<Handle>, Option<Cursor>), Unavailable> {
        let after = from.map(|Cursor(bytes)| bytes).unwrap_or_default();
        let max = max.max(1);
        let values: Values<'_> = &[&after, &i64::try_from(max).unwrap_or(i64::MAX)];
        let rows = self.rows(&self.statements.scan, values).await?;
        let handles: Vec<Handle> = rows.iter().map(handle_of).collect::<Result<_, _>>()?;
        let last = handles.last().filter(|_| handles.len() >= max);
        let next = last.map(|handle| Cursor(handle.as_bytes().to_vec()));
        Ok((handles, next))
    }

    fn has_feed(&self) -> bool {
        true
    }

    // spec: FEED-3 19a1
    async fn announce(&self, announcement: &Announcement, forget_at: Timestamp) -> Result<(), NotAnnounced> {
        let bytes = announcement.to_bytes();
        let values = swap::Values::of_feed(FEED, &bytes, ms(forget_at));
        self.change(&self.statements.announce, values).await.map(drop).map_err(NotAnnounced::from)
    }

    async fn announced(&self, since: Option<Cursor>, max: usize) -> Result<Increment, NotAnnounced> {
        let since = number_of(since.as_ref());
        let values: Values<'_> =
            &[&i64::try_from(since).unwrap_or(i64::MAX), &i64::try_from(max).unwrap_or(i64::MAX).saturating_add(1)];
        let rows = self.rows(&self.statements.announced, values).await?;
        let line = |row: &Row| {
            let (number, bytes) = row.try_get::<_, i64>(0).ok().zip(row.try_get::<_, Vec<u8>>(1).ok())?;
            Some((u64::try_from(number).ok()?, bytes))
        };
        let lines: Option<Vec<_>> = rows.iter().map(line).collect();
        increment(lines.ok_or(NotAnnounced::Unavailable)?, since, max)
    }

    // spec: FEED-6 f2f5
    fn listen(&self, nudge: Nudge) -> Option<Listening> {
        if self.settings.unnamed {
            return None;
        }
        let dialler = Arc::new(Dialler::new(&self.settings, &self.tls).ok()?);
        let settings = Arc::new(self.settings.clone());
        let handle = dialler.handle.clone();
        let hear = move || {
            let (dialler, settings, nudge) = (Arc::clone(&dialler), Arc::clone(&settings), nudge.clone());
            async move { listen::hear(&dialler, &settings, &nudge).await }
        };
        Some(crate::listening::listen(&handle, hear))
    }

    async fn sweep(&self, now: Timestamp, max: usize) -> Result<usize, Unavailable> {
        // Longer than any login asks for, by more than clocks may differ.
        let forgotten = now.as_unix_ms().saturating_sub(ms_of(NOT_BEFORE_KEPT).saturating_mul(2));
        let forgotten = i64::try_from(forgotten).unwrap_or_default();
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        let rows = self.rows(&self.statements.sweep, &[&garbage_unit(now), &ms(now), &forgotten, &max]).await?;
        let removed = rows.first().and_then(|row| row.try_get::<_, i64>(0).ok()).ok_or(Unavailable)?;
        usize::try_from(removed).map_err(|_| Unavailable)
    }
}

fn handle_of(row: &Row) -> Result<Handle, Unavailable> {
    let bytes: &[u8] = row.try_get(0).map_err(|_| Unavailable)?;
    bytes.try_into().map(Handle::from_bytes).map_err(|_| Unavailable)
}

/// Under what a principal is kept: an index takes keys of some length only, and names may be longer. No name in UTF-8 has
/// the byte 255.
fn name(principal: &str) -> Vec<u8> {
    if principal.len() <= LONGEST_NAME {
        return principal.as_bytes().to_vec();
    }
    let mut key = vec![u8::MAX];
    key.extend_from_slice(&Sha256::digest(principal.as_bytes()));
    key
}

/// A timestamp has 48 bits: the conversion loses nothing.
fn ms(time: Timestamp) -> i64 {
    i64::try_from(time.as_unix_ms()).unwrap_or(i64::MAX)
}

fn ms_of(span: core::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Time in units so coarse that a touch seldom changes it.
fn garbage_unit(time: Timestamp) -> i64 {
    i64::try_from(time.as_unix_ms() >> GARBAGE_UNIT_BITS).unwrap_or(i64::MAX)
}
