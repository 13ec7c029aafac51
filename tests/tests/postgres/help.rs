use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use coatroom_core::{Entry, Handle, Listing, Stamp, Swap, Timestamp};
use coatroom_store::block_on;
use coatroom_store::postgres::{Postgres, Settings};
use coatroom_tests::servers::{self, Server};

pub const NOW: Timestamp = Timestamp::from_unix_ms(1_767_225_600_000);
pub const HOUR: std::time::Duration = std::time::Duration::from_secs(3600);

/// One server for all tests that do it no harm.
pub fn shared() -> &'static servers::Postgres {
    static SERVER: OnceLock<servers::Postgres> = OnceLock::new();
    SERVER.get_or_init(|| servers::Postgres::start(&["shared_preload_libraries = 'pg_stat_statements'"]))
}

pub fn fresh_schema() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("s{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

pub fn settings(server: &servers::Postgres) -> Settings {
    Settings::parse(&server.url()).unwrap().schema(fresh_schema())
}

pub fn open(url: &str) -> Postgres {
    Postgres::new(Settings::parse(url).unwrap()).unwrap()
}

pub fn migrated(store: Postgres) -> Postgres {
    block_on(store.migrate()).unwrap();
    store
}

/// An empty store.
pub fn store(server: &servers::Postgres) -> Postgres {
    migrated(Postgres::new(settings(server)).unwrap())
}

/// A handle that nobody used before.
pub fn fresh() -> Handle {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let mut bytes = [7; 12];
    bytes[..8]
        .copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    Handle::from_bytes(bytes)
}

/// Any bytes with a stamp in their place.
pub fn record(version: u64, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![1, 0];
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.extend_from_slice(&[version as u8; 8]);
    bytes.extend_from_slice(rest);
    bytes
}

pub fn stamp(version: u64) -> Option<Stamp> {
    Stamp::of(&record(version, b""))
}

/// The write that follows version `from`, none being 0.
pub fn write(handle: Handle, from: u64, durable: bool) -> Swap {
    let expected = (from > 0).then(|| stamp(from)).flatten();
    let new = Some(record(from + 1, &[9; 200]));
    Swap { handle, expected, new, durable, garbage_at: NOW.plus(HOUR), listing: Listing::Keep }
}

pub fn entry(principal: &str, handle: Handle) -> Entry {
    Entry { principal: principal.to_owned(), handle, until: NOW.plus(HOUR), now: NOW, at_most: None, names: 0 }
}

/// A login: a create with an entry.
pub fn login(entry: Entry) -> Swap {
    Swap { listing: Listing::Enter(entry.clone()), ..write(entry.handle, 0, true) }
}
