//! What a session takes in memory and in SQLite, and what sweeping SQLite costs those who are served meanwhile:
//! `cargo bench -p coatroom-store --bench space`; `SESSIONS=1000000` for the size at which the figures are stated, `-- sweep` for
//! the sweep alone.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a bench may fail, and prints"
)]
#![expect(clippy::arithmetic_side_effects, clippy::integer_division, reason = "small numbers")]

mod beside;

use core::time::Duration;
use std::env;
use std::path::Path;
use std::process::Command;

use coatroom_core::{Entry, Handle, KeyRing, Listing, Loaded, Policy, Rules, Settings, Stamp, Swap, Timestamp};
use coatroom_store::memory::Memory;
use coatroom_store::sqlite::Sqlite;
use coatroom_store::{Driver, Engine, Host, Swapped, Wait};

const KEYS: &str = "1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE";
const KINDS: [&str; 3] = ["anonymous", "logged-in", "sealed"];
const NOBODY: [&str; 0] = [];
const BATCH: usize = 500;

fn main() {
    let count = env::var("SESSIONS").map_or(100_000, |count| count.parse().unwrap());
    if let Ok(kind) = env::var("COATROOM_BENCH_KIND") {
        return memory(&kind, count);
    }
    // `cargo test --all-targets` only wants to know that it starts.
    if !env::args().any(|argument| argument == "--bench") {
        return;
    }
    if !env::args().any(|argument| argument == "sweep") {
        for kind in KINDS {
            // A process of its own, for what one left behind would count for the next.
            let mut child = Command::new(env::current_exe().unwrap());
            assert!(child.env("COATROOM_BENCH_KIND", kind).status().unwrap().success());
        }
        for kind in KINDS {
            sqlite(kind, count);
        }
    }
    sweep(count);
}

/// Sessions of 200 bytes of data.
fn fill<E: Engine>(engine: E, kind: &str, count: usize) -> Driver<E> {
    let settings = Settings { sealed: kind == "sealed", ..Settings::default() };
    let driver = Driver::new(Rules::new(Policy::try_from(settings).unwrap(), KeyRing::parse(KEYS).unwrap()), engine);
    for number in 0..count {
        let mut session = driver.open_now(b"").unwrap();
        session.set("cart", "x".repeat(200)).unwrap();
        if kind == "logged-in" {
            session.login(&format!("user{number}"), &NOBODY, 1).unwrap();
        }
        driver.close_now(session).unwrap();
    }
    driver
}

fn memory(kind: &str, count: usize) {
    let before = resident();
    let filled = fill(Memory::default(), kind, count);
    println!("memory, {count} {kind} sessions: {} B each", (resident() - before) / count);
    drop(filled);
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}

/// Made in memory and copied, for the disk is waited for at every login otherwise.
fn sqlite(kind: &str, count: usize) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sessions.db");
    let store = Sqlite::new(&file).unwrap();
    let filled = fill(Memory::default(), kind, count);
    let (now, mut from) = (filled.host().now(), None);
    let garbage_at = now.plus(Duration::from_mins(30));
    for number in 0.. {
        let (handles, next) = Engine::scan(filled.store(), from, BATCH).unwrap();
        for (at, handle) in handles.into_iter().enumerate() {
            let Loaded::Found(record) = Engine::load(filled.store(), handle) else { panic!("it was found just now") };
            let principal = format!("user{}", number * count + at);
            let entry = Entry { principal, handle, until: garbage_at, now, at_most: None, names: 0 };
            let listing = if kind == "logged-in" { Listing::Enter(entry) } else { Listing::Keep };
            let swap = Swap { handle, expected: None, new: Some(record), durable: false, garbage_at, listing };
            assert!(matches!(store.swap(&swap, Wait::Patiently), Some(Swapped::Done | Swapped::Entered(_))));
        }
        from = next;
        if from.is_none() {
            break;
        }
    }
    println!("SQLite, {count} {kind} sessions: {} B each", size(&file) / count);
}

/// With what is still in the log.
fn size(file: &Path) -> usize {
    let logged = std::fs::metadata(file.with_extension("db-wal")).map_or(0, |log| log.len());
    usize::try_from(std::fs::metadata(file).unwrap().len() + logged).unwrap()
}

/// Latencies of serving with and without a sweep of so many expired sessions beside it.
fn sweep(count: usize) {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::new(folder.path().join("sessions.db")).unwrap();
    let [soon, late] = [1, 1 << 40].map(Timestamp::from_unix_ms);
    for number in 0..count {
        let mut handle = [0xEE; 12];
        // Spread like random ones.
        handle[..8].copy_from_slice(&(number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
        assert_eq!(store.swap(&write(Handle::from_bytes(handle), 0, soon), Wait::Patiently), Some(Swapped::Done));
    }
    let exchange = |handle, version| {
        drop(Engine::load(&store, handle));
        assert_eq!(store.swap(&write(handle, version, late), Wait::Patiently), Some(Swapped::Done));
    };
    let now = Timestamp::from_unix_ms(1 << 32);
    beside::compare("SQLite", count, exchange, |most| Engine::sweep(&store, now, most).unwrap());
}

fn write(handle: Handle, from: u64, garbage_at: Timestamp) -> Swap {
    let record = |version: u64| {
        let mut bytes = vec![1, 0];
        bytes.extend_from_slice(&version.to_be_bytes());
        bytes.resize(300, 7);
        bytes
    };
    let expected = (from > 0).then(|| Stamp::of(&record(from))).flatten();
    Swap { handle, expected, new: Some(record(from + 1)), durable: false, garbage_at, listing: Listing::Keep }
}
