//! Whole exchanges through the public API, commit included, beside their floor in the same run.
//!
//! The floor of a read is what cannot be left out: one HMAC over the signed part of an id, one SHA-256 of its secret, one
//! look-up in a hash map with a copy of the record. `make bench` prints the ratio to their sum.
#![expect(clippy::unwrap_used, reason = "a bench may fail")]

use core::hint::black_box;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::Mutex;

use coatroom_core::{KeyRing, Policy, Rules, Session, Settings};
use coatroom_store::memory::Memory;
use coatroom_store::sqlite::Sqlite;
use coatroom_store::{Driver, Engine};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

const KEYS: &str = "1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE";

fn driver<E: Engine>(engine: E, settings: Settings) -> Driver<E> {
    let rules = Rules::new(Policy::try_from(settings).unwrap(), KeyRing::parse(KEYS).unwrap());
    Driver::new(rules, engine)
}

/// Three keys, about 200 bytes of data, logged in, the id confirmed: what most requests of a site meet.
fn logged_in<E: Engine>(driver: &Driver<E>) -> String {
    let mut session = driver.open_now(b"").unwrap();
    session.set("views", 7).unwrap();
    session.set("name", "Ada Lovelace").unwrap();
    session.set("cart", "x".repeat(160)).unwrap();
    session.login("ada", &["admin"], 1).unwrap();
    let reply = driver.close_now(session).unwrap();
    let line = reply.set_cookies().find(|line| line.starts_with("__Host-id=")).unwrap().to_owned();
    let cookie = line.split(';').next().unwrap().to_owned();
    driver.close_now(driver.open_now(cookie.as_bytes()).unwrap()).unwrap();
    cookie
}

fn floor(c: &mut Criterion) {
    let mac = Hmac::<Sha256>::new_from_slice(&[7; 32]).unwrap();
    let map = Mutex::new(HashMap::from([([5_u8; 12], vec![9_u8; 400])]));
    c.bench_function("floor/hmac", |b| {
        b.iter(|| mac.clone().chain_update(black_box([1_u8; 50])).finalize().into_bytes());
    });
    c.bench_function("floor/sha-256", |b| b.iter(|| Sha256::digest(black_box([2_u8; 32]))));
    c.bench_function("floor/look-up", |b| b.iter(|| map.lock().unwrap().get(&black_box([5; 12])).cloned()));
}

fn read<E: Engine>(driver: &Driver<E>, cookie: &str) {
    let mut session: Session = driver.open_now(black_box(cookie.as_bytes())).unwrap();
    black_box(session.get_encoded("views"));
    black_box(session.get_encoded("name"));
    black_box(driver.close_now(session).unwrap());
}

fn write<E: Engine>(driver: &Driver<E>, cookie: &str) {
    let mut session = driver.open_now(black_box(cookie.as_bytes())).unwrap();
    session.add("views", 1).unwrap();
    black_box(driver.close_now(session).unwrap());
}

fn engine<E: Engine>(c: &mut Criterion, name: &str, driver: &Driver<E>) {
    let cookie = logged_in(driver);
    c.bench_function(&format!("{name}/read"), |b| b.iter(|| read(driver, &cookie)));
    c.bench_function(&format!("{name}/write"), |b| b.iter(|| write(driver, &cookie)));
    c.bench_function(&format!("{name}/anonymous"), |b| {
        b.iter(|| driver.close_now(driver.open_now(black_box(b"")).unwrap()).unwrap());
    });
    c.bench_function(&format!("{name}/first visit"), |b| {
        b.iter_batched(
            || driver.open_now(b"").unwrap(),
            |mut session| {
                session.set("views", 1).unwrap();
                driver.close_now(session).unwrap()
            },
            BatchSize::SmallInput,
        );
    });
}

fn memory(c: &mut Criterion) {
    engine(c, "memory", &driver(Memory::default(), Settings::default()));
    engine(c, "memory, sealed", &driver(Memory::default(), Settings { sealed: true, ..Settings::default() }));
}

fn sqlite(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = Sqlite::new(folder.path().join("sessions.db")).unwrap();
    engine(c, "sqlite", &driver(sqlite, Settings::default()));
}

criterion_group! {
    name = exchanges;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = floor, memory, sqlite
}
criterion_main!(exchanges);
