//! Redis against the suite, and what it promises beyond it, on real servers.

mod access;
mod called;
mod cluster;
mod contract;
mod faults;
mod on_loop;
mod push;
mod replicas;
mod socket;
mod waiting;

use std::time::{Duration, Instant};

use coatroom_core::{Entry, Handle, Listing, Stamp, Swap, Timestamp};
use coatroom_store::redis::{Redis as Store, Settings};
use coatroom_store::{Driver, block_on_far as block_on};
use coatroom_tests::servers::{Cluster, Redis};
use coatroom_tests::suite::rules;

const NO_ROLES: [&str; 0] = [];
/// Shorter than the default, so that what does not answer is not waited for as long.
const LIMIT: Duration = Duration::from_millis(800);

fn settings(url: &str) -> Settings {
    Settings::parse(url).unwrap().time_limit(LIMIT)
}

fn store(url: &str) -> Store {
    Store::connect(settings(url)).unwrap()
}

fn cluster_url(cluster: &Cluster) -> String {
    let addresses: Vec<String> = cluster.nodes.iter().map(Redis::address).collect();
    format!("redis+cluster://{}", addresses.join(","))
}

fn driver(store: Store) -> Driver<Store> {
    Driver::new(rules(), store)
}

fn handle(number: u8) -> Handle {
    Handle::from_bytes([number; 12])
}

fn record(version: u64, commit: u8) -> Vec<u8> {
    [&[1, 0][..], &version.to_be_bytes(), &[commit; 8], b"the rest"].concat()
}

fn swap(handle: Handle, expected: Option<&[u8]>, new: Option<&[u8]>) -> Swap {
    let expected = expected.map(|record| Stamp::of(record).unwrap());
    let new = new.map(<[u8]>::to_vec);
    Swap { handle, expected, new, durable: true, garbage_at: at(100), listing: Listing::Keep }
}

/// So many seconds after a day in spring.
fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_ms(1_775_000_000_000 + 1000 * seconds)
}

fn entry(principal: &str, number: u8, at_most: Option<u32>) -> Entry {
    Entry { principal: principal.to_owned(), handle: handle(number), until: at(100), now: at(0), at_most, names: 9 }
}

/// A session with one number in it; what the client holds.
fn visitor(driver: &Driver<Store>) -> String {
    let mut session = block_on(driver.open(b"")).unwrap();
    session.set("n", 0).unwrap();
    cookie(block_on(driver.close(session)).unwrap().set_cookies().next().unwrap())
}

/// A session that is logged in.
fn login(driver: &Driver<Store>, principal: &str) -> String {
    let mut session = block_on(driver.open(b"")).unwrap();
    session.login(principal, &NO_ROLES, 1).unwrap();
    let reply = block_on(driver.close(session)).unwrap();
    let cookie = cookie(reply.set_cookies().find(|line| line.starts_with("__Host-id=")).unwrap());
    // Once presented it is confirmed, and reads write nothing any more.
    let session = block_on(driver.open(cookie.as_bytes())).unwrap();
    block_on(driver.close(session)).unwrap();
    cookie
}

fn cookie(line: &str) -> String {
    line.split(';').next().unwrap().to_owned()
}

fn is_logged_in(driver: &Driver<Store>, cookie: &str) -> bool {
    block_on(driver.open(cookie.as_bytes())).unwrap().principal().is_some()
}

fn add(driver: &Driver<Store>, cookie: &str) -> bool {
    let Ok(mut session) = block_on(driver.open(cookie.as_bytes())) else { return false };
    session.add("n", 1).unwrap();
    block_on(driver.close(session)).is_ok()
}

/// Whoever promotes a server cuts its connections, and for a moment after it nobody may answer.
fn counted(driver: &Driver<Store>, cookie: &str) -> i64 {
    let started = Instant::now();
    let mut session = loop {
        match block_on(driver.open(cookie.as_bytes())) {
            Ok(session) => break session,
            Err(refused) => assert!(started.elapsed() < Duration::from_secs(20), "{refused}"),
        }
    };
    match session.get("n") {
        Some(coatroom_core::Value::Int(counted)) => counted,
        other => panic!("{other:?}"),
    }
}
