//! The same servers, asked by threads that wait in the system for the answer.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use coatroom_core::{Entry, Handle, Loaded, Swap, Timestamp};
use coatroom_store::redis::confirmed;
use coatroom_store::{Cursor, Entered, NotListed, Store as _, Swapped, Unavailable, block_on_far};
use coatroom_tests::servers::{Cluster, Fault, Proxy, Redis, Server as _};
use coatroom_tests::suite::{all_but_sweeping, until};

use super::on_loop::{connections, store_over_tls, whatever_fails};
use super::{LIMIT, Store, cluster_url, driver, handle, login, record, settings, store, swap};

/// A store whose calls all wait on the thread that makes them.
pub(super) struct Waiting(pub(super) Store);

impl coatroom_store::Store for Waiting {
    async fn load(&self, handle: Handle) -> Loaded {
        block_on_far(self.0.load(handle))
    }

    async fn swap(&self, swap: &Swap) -> Swapped {
        block_on_far(self.0.swap(swap))
    }

    async fn enter(&self, entry: &Entry) -> Result<Entered, NotListed> {
        block_on_far(self.0.enter(entry))
    }

    async fn sessions(&self, principal: &str) -> Result<Vec<Handle>, Unavailable> {
        block_on_far(self.0.sessions(principal))
    }

    async fn leave(&self, principal: &str, handle: Handle) -> Result<(), Unavailable> {
        block_on_far(self.0.leave(principal, handle))
    }

    async fn bar(&self, principal: &str, now: Timestamp) -> Result<Timestamp, Unavailable> {
        block_on_far(self.0.bar(principal, now))
    }

    async fn scan(&self, from: Option<Cursor>, max: usize) -> Result<(Vec<Handle>, Option<Cursor>), Unavailable> {
        block_on_far(self.0.scan(from, max))
    }

    async fn sweep(&self, now: Timestamp, max: usize) -> Result<usize, Unavailable> {
        block_on_far(self.0.sweep(now, max))
    }

    fn enters_with_swap(&self) -> bool {
        self.0.enters_with_swap()
    }
}

#[test]
// spec: STORE-1 4bc6, STORE-2 4ba9, STORE-3 1632
fn a_server_and_a_cluster_pass_the_suite_on_threads_that_wait() {
    let server = Redis::start_with_tls(&[]);
    all_but_sweeping(&Waiting(store(&server.url())));
    server.call(&["FLUSHALL"]);
    all_but_sweeping(&Waiting(store_over_tls(&server)));
    let cluster = Cluster::start(&[]);
    all_but_sweeping(&Waiting(store(&cluster_url(&cluster))));
}

#[test]
// spec: STORE-3 1632, STORE-5 5484
fn whatever_fails_a_thread_that_waits_is_told_in_time() {
    whatever_fails(Waiting);
}

#[test]
fn records_larger_than_the_room_of_a_connection_arrive_whole() {
    let server = Redis::start_with_tls(&[]);
    for store in [store(&server.url()), store_over_tls(&server)] {
        held(&store, &server);
        let mut large = record(1, 1);
        large.resize(8 << 20, 7);
        assert_eq!(block_on_far(store.swap(&swap(handle(1), None, Some(&large)))), Swapped::Done);
        for _ in 0..2 {
            assert!(block_on_far(store.load(handle(1))) == Loaded::Found(large.clone()));
        }
        assert_eq!(block_on_far(store.swap(&swap(handle(1), Some(&large), None))), Swapped::Done);
        assert_eq!(connections(&server), 2, "on the connection that it began with");
        drop(store);
        until("no connection is left", Duration::from_secs(5), || connections(&server) == 0);
    }
}

#[test]
// spec: STORE-3 1632
fn an_answer_that_comes_too_late_is_nobodys() {
    let server = Redis::start(&[]);
    let proxy = Proxy::to(&server.address());
    let store = store(&proxy.url(&server.url()));
    held(&store, &server);
    let [one, other] = [record(1, 1), record(2, 2)];
    for (number, record) in [(1, &one), (2, &other)] {
        assert_eq!(block_on_far(store.swap(&swap(handle(number), None, Some(record)))), Swapped::Done);
    }
    proxy.set(Fault::Delay(LIMIT + Duration::from_millis(200)));
    assert_eq!(block_on_far(store.load(handle(1))), Loaded::Unavailable);
    proxy.set(Fault::None);
    until("the server is there again", Duration::from_secs(5), || {
        let loaded = block_on_far(store.load(handle(2)));
        assert!([Loaded::Unavailable, Loaded::Found(other.clone())].contains(&loaded), "{loaded:?}");
        loaded != Loaded::Unavailable
    });
}

#[test]
// spec: STORE-5 5484
fn an_answer_that_comes_in_many_pieces_is_waited_for_no_longer_than_the_limit() {
    let server = Redis::start(&[]);
    let proxy = Proxy::to(&server.address());
    let store = store(&proxy.url(&server.url()));
    held(&store, &server);
    let mut large = record(1, 1);
    large.resize(4 << 20, 7);
    assert_eq!(block_on_far(store.swap(&swap(handle(1), None, Some(&large)))), Swapped::Done);
    // No piece is as late as the limit, and all of them together are.
    proxy.set(Fault::Delay(LIMIT / 4));
    let started = Instant::now();
    assert_eq!(block_on_far(store.load(handle(1))), Loaded::Unavailable);
    assert!((LIMIT..LIMIT * 3 / 2).contains(&started.elapsed()), "{:?}", started.elapsed());
}

#[test]
fn a_connection_that_ended_while_nobody_held_it_leaves_nothing_in_doubt() {
    let server = Redis::start(&[]);
    let store = store(&server.url());
    held(&store, &server);
    for version in 1..=3 {
        assert_eq!(end_those_held(&server), 1);
        thread::sleep(Duration::from_millis(20));
        let create = swap(handle(version), None, Some(&record(1, 1)));
        assert_eq!(block_on_far(store.swap(&create)), Swapped::Done);
    }
}

#[test]
fn threads_that_wait_at_once_have_a_connection_each_and_few_are_kept() {
    const THREADS: usize = 40;
    const KEPT: usize = 32;
    let server = Redis::start(&[]);
    let (store, together) = (store(&server.url()), Barrier::new(THREADS));
    held(&store, &server);
    server.pause();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                together.wait();
                block_on_far(store.load(handle(1)))
            });
        }
        thread::sleep(LIMIT / 4);
        server.resume();
    });
    until("all but a few have ended", Duration::from_secs(5), || connections(&server) <= 1 + KEPT);
    assert!(connections(&server) > 2, "more than one was asked on");
    assert_eq!(block_on_far(store.load(handle(1))), Loaded::Absent);
}

#[test]
fn a_server_that_takes_no_more_connections_is_asked_on_the_one_that_all_have() {
    let server = Redis::start(&[]);
    let store = store(&server.url());
    assert_eq!(block_on_far(store.load(handle(1))), Loaded::Absent);
    // The one that asks for this is over then.
    server.call(&["CONFIG", "SET", "maxclients", "1"]);
    for version in 1..=3 {
        let create = swap(handle(version), None, Some(&record(1, 1)));
        assert_eq!(block_on_far(store.swap(&create)), Swapped::Done, "{:?}", store.trouble());
        assert!(store.trouble().is_some(), "it was asked for another one");
    }
}

#[test]
fn a_thread_that_waits_for_replicas_is_told_how_many_confirmed() {
    let primary = Redis::start(&[]);
    let replica = Redis::replica_of(&primary, &[]);
    until("the replica is in step", Duration::from_secs(10), || {
        replica.call(&["INFO", "replication"]).text().contains("master_link_status:up")
    });
    let confirming = settings(&primary.url()).confirm_replicas(1, LIMIT);
    let driver = driver(Store::connect(confirming).unwrap());
    let cookie = login(&driver, "ada");
    let before = connections(&primary);
    let mut session = block_on_far(driver.open(cookie.as_bytes())).unwrap();
    session.logout();
    let (reply, replicas) = block_on_far(confirmed(driver.close(session)));
    assert_eq!((reply.is_ok(), replicas), (true, Some(1)));
    assert_eq!(connections(&primary), before, "on the connection that this thread has anyway");
}

/// Has this thread ask on a connection of its own, of which there is none before the server is known to be there.
fn held(store: &Store, server: &Redis) {
    assert_eq!(block_on_far(store.load(handle(1))), Loaded::Absent);
    for number in 200..203 {
        let create = swap(handle(number), None, Some(&record(1, 1)));
        assert_eq!(block_on_far(store.swap(&create)), Swapped::Done);
        assert_eq!(block_on_far(store.swap(&swap(handle(number), Some(&record(1, 1)), None))), Swapped::Done);
    }
    assert_eq!(connections(server), 2, "the one that all have, and this thread's");
}

/// Ends the connections that swapped last; how many.
fn end_those_held(server: &Redis) -> usize {
    let all = server.call(&["CLIENT", "LIST"]);
    let of = |line: &str, name: &str| {
        line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('=')).unwrap().to_owned()
    };
    let text = all.text();
    let held: Vec<_> = text.lines().filter(|line| !line.is_empty() && of(line, "cmd").starts_with("eval")).collect();
    for line in &held {
        server.call(&["CLIENT", "KILL", "ID", &of(line, "id")]);
    }
    held.len()
}
