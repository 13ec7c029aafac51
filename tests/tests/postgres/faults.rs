//! Outages, halts, connections cut and answers that never come.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use coatroom_core::Loaded;
use coatroom_store::postgres::{Postgres, Settings};
use coatroom_store::{Driver, Store, Swapped, block_on};
use coatroom_tests::faults::{self, Outage};
use coatroom_tests::servers::{self, Fault, Proxy, Server, wait_until};
use coatroom_tests::suite::{contract, counting, rules};

use crate::help::{fresh, fresh_schema, migrated, open, record, settings, shared, store, write};

const SECOND: Duration = Duration::from_secs(1);
/// What a busy machine adds to a limit.
const SLACK: Duration = Duration::from_millis(800);

fn patient_for(server: &servers::Postgres, limit: Duration) -> Postgres {
    migrated(Postgres::new(settings(server).time_limit(limit)).unwrap())
}

/// The answer, and how long it took.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    (work(), started.elapsed())
}

#[test]
// spec: STORE-3 1632
fn a_server_that_is_killed_stopped_or_halted_loses_nothing() {
    let mut server = servers::Postgres::start(&[]);
    let store = store(&server);
    for outage in [Outage::Kill, Outage::Stop, Outage::Pause(SECOND / 2)] {
        faults::outages(&store, &mut server, outage, true);
    }
    faults::comes_back(&store, &mut server, SECOND / 5, 5 * SECOND);
}

#[test]
fn an_outage_of_five_seconds_is_over_within_a_second_of_the_servers_return() {
    let mut server = servers::Postgres::start(&[]);
    let store = store(&server);
    let handle = fresh();
    assert_eq!(block_on(store.swap(&write(handle, 0, true))), Swapped::Done);
    server.kill9();
    let (began, mut asked) = (Instant::now(), 0);
    while began.elapsed() < 5 * SECOND {
        let (loaded, took) = timed(|| block_on(store.load(handle)));
        assert_eq!(loaded, Loaded::Unavailable);
        assert!(took < 2 * SECOND + SLACK, "{took:?}");
        let swapped = block_on(store.swap(&write(handle, 1, true)));
        assert_eq!(swapped, Swapped::Unavailable, "nothing was sent");
        asked += 1;
        thread::sleep(Duration::from_millis(20));
    }
    assert!(asked > 20, "an outage is answered at once, not waited for: {asked}");
    server.start_again();
    let (loaded, took) = timed(|| block_on(store.load(handle)));
    assert_eq!((loaded, took < SECOND), (Loaded::Found(record(1, &[9; 200])), true), "{took:?}");
    assert_eq!(block_on(store.swap(&write(handle, 1, true))), Swapped::Done);
}

#[test]
fn idle_connections_that_died_with_the_server_cost_a_load_nothing() {
    let mut server = servers::Postgres::start(&[]);
    let store = store(&server);
    let handle = fresh();
    assert_eq!(block_on(store.swap(&write(handle, 0, true))), Swapped::Done);
    // As many connections as there may be.
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| (0..20).for_each(|_| drop(block_on(store.load(handle)))));
        }
    });
    server.restart();
    for _ in 0..20 {
        assert!(matches!(block_on(store.load(handle)), Loaded::Found(_)));
    }
}

#[test]
fn a_server_that_halts_holds_nobody_longer_than_the_limit() {
    let server = servers::Postgres::start(&[]);
    let limit = Duration::from_millis(500);
    let store = patient_for(&server, limit);
    let handle = fresh();
    assert_eq!(block_on(store.swap(&write(handle, 0, true))), Swapped::Done);
    assert_eq!(block_on(store.swap(&write(handle, 1, true))), Swapped::Done);
    server.pause();
    let (swapped, took) = timed(|| block_on(store.swap(&write(handle, 2, true))));
    assert_eq!(swapped, Swapped::Unknown, "sent, and not answered");
    assert!(took >= limit && took < limit + SLACK, "{took:?}");
    for _ in 0..3 {
        let (loaded, took) = timed(|| block_on(store.load(handle)));
        assert_eq!(loaded, Loaded::Unavailable);
        assert!(took < limit + SLACK, "{took:?}");
        let (swapped, took) = timed(|| block_on(store.swap(&write(fresh(), 0, true))));
        assert_eq!(swapped, Swapped::Unavailable, "no connection, so nothing was sent");
        assert!(took < limit + SLACK, "{took:?}");
    }
    server.resume();
    let resumed = Instant::now();
    while block_on(store.load(handle)) == Loaded::Unavailable {
        assert!(resumed.elapsed() < SECOND, "not within a second");
    }
}

#[test]
fn a_swap_whose_answer_is_cut_is_unknown_and_a_load_is_asked_again() {
    let proxy = Proxy::to(&shared().address());
    let store = migrated(open(&format!("{}?schema={}", proxy.url(&shared().url()), fresh_schema())));
    for bytes in [0, 1, 4, 5, 12, 24] {
        let handle = fresh();
        // The statement is known on the connection by then.
        assert_eq!(block_on(store.swap(&write(handle, 0, true))), Swapped::Done);
        assert_eq!(block_on(store.swap(&write(handle, 1, true))), Swapped::Done);
        proxy.set(Fault::CutReplyAfter(bytes));
        assert_eq!(block_on(store.swap(&write(handle, 2, true))), Swapped::Unknown, "cut after {bytes} bytes");
        let done = Loaded::Found(record(3, &[9; 200]));
        wait_until("the swap that nobody heard of", SECOND, || block_on(store.load(handle)) == done);
        proxy.set(Fault::CutReplyAfter(bytes));
        assert_eq!(block_on(store.load(handle)), done, "cut after {bytes} bytes");
    }
}

#[test]
fn what_is_acknowledged_through_lost_answers_is_there_once() {
    let proxy = Proxy::to(&shared().address());
    let url = format!("{}?schema={}", proxy.url(&shared().url()), fresh_schema());
    let settings = Settings::parse(&url).unwrap().time_limit(Duration::from_millis(150)).unnamed_statements();
    let driver = Driver::new(rules(), migrated(Postgres::new(settings).unwrap()));
    let mut session = block_on(driver.open(b"")).unwrap();
    session.set("n", 0).unwrap();
    let reply = block_on(driver.close(session)).unwrap();
    let cookie = reply.set_cookies().next().unwrap().split(';').next().unwrap().to_owned();
    let faults = [Fault::None, Fault::CutReplyAfter(0), Fault::Swallow, Fault::CutReplyAfter(30), Fault::Hang];
    let (mut acknowledged, mut unknown) = (0, 0);
    for round in 0..40 {
        proxy.set(Fault::None);
        let mut session = loop {
            if let Ok(session) = block_on(driver.open(cookie.as_bytes())) {
                break session;
            }
        };
        session.add("n", 1).unwrap();
        proxy.set(faults[round % faults.len()]);
        let healed = AtomicBool::new(false);
        let closed = thread::scope(|scope| {
            scope.spawn(|| {
                while !healed.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(200));
                    proxy.set(Fault::None);
                }
            });
            let closed = block_on(driver.close(session));
            healed.store(true, Ordering::SeqCst);
            closed
        });
        match closed {
            Ok(_) => acknowledged += 1,
            Err(_) => unknown += 1,
        }
    }
    proxy.set(Fault::None);
    let mut session = block_on(driver.open(cookie.as_bytes())).unwrap();
    let Some(coatroom_core::Value::Int(counted)) = session.get("n") else { panic!("the count is gone") };
    assert!(acknowledged <= counted && counted <= acknowledged + unknown, "{acknowledged} {counted} {unknown}");
    assert!(acknowledged >= 30, "doubts are cleared up by a load: {acknowledged}");
}

#[test]
fn statements_that_wait_for_a_lock_are_given_up_here_and_at_the_server() {
    let limit = Duration::from_millis(300);
    let (server, schema) = (shared(), fresh_schema());
    let url = format!("{}?schema={schema}", server.url());
    let store = migrated(Postgres::new(Settings::parse(&url).unwrap().time_limit(limit)).unwrap());
    let handle = fresh();
    assert_eq!(block_on(store.swap(&write(handle, 0, true))), Swapped::Done);
    assert_eq!(block_on(store.swap(&write(handle, 1, true))), Swapped::Done);
    let lock = format!("BEGIN; LOCK TABLE {schema}.session IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(4)");
    thread::scope(|scope| {
        scope.spawn(|| server.query(&lock));
        let held = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE '%EXCLUSIVE%'";
        wait_until("the table is locked", 10 * SECOND, || server.query(held) == "1");
        for expected in [Swapped::Unknown, Swapped::Unavailable, Swapped::Unavailable] {
            let (swapped, took) = timed(|| block_on(store.swap(&write(handle, 2, true))));
            assert_eq!(swapped, expected, "a connection that does not know the statement yet cannot send it");
            assert!(took < limit + SLACK, "{took:?}");
            assert_eq!(block_on(store.load(handle)), Loaded::Unavailable);
        }
        let waiting = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%\"{schema}\"%'"
        );
        wait_until("nothing waits at the server any more", SECOND, || server.query(&waiting) == "0");
    });
    assert_eq!(block_on(store.load(handle)), Loaded::Found(record(2, &[9; 200])), "what was given up was not done");
}

#[test]
fn a_statement_that_is_cancelled_was_not_done_and_one_whose_connection_is_ended_is_unknown() {
    let (server, schema) = (shared(), fresh_schema());
    let store = migrated(open(&format!("{}?schema={schema}", server.url())));
    for (end, outcome) in [("pg_cancel_backend", Swapped::Unavailable), ("pg_terminate_backend", Swapped::Unknown)] {
        let handle = fresh();
        assert_eq!(block_on(store.swap(&write(handle, 0, true))), Swapped::Done);
        assert_eq!(block_on(store.swap(&write(handle, 1, true))), Swapped::Done);
        let hold = format!("BEGIN; SELECT FROM {schema}.session FOR UPDATE; SELECT pg_sleep(1.5)");
        let waits = format!("FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%\"{schema}\"%'");
        thread::scope(|scope| {
            scope.spawn(|| server.query(&hold));
            let held =
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE '%FOR UPDATE%'";
            wait_until("the row is held", 10 * SECOND, || server.query(held) != "0");
            let swapping = scope.spawn(|| block_on(store.swap(&write(handle, 2, true))));
            wait_until("the swap waits", SECOND, || server.query(&format!("SELECT count(*) {waits}")) == "1");
            server.query(&format!("SELECT {end}(pid) {waits}"));
            assert_eq!(swapping.join().unwrap(), outcome, "{end}");
        });
        assert_eq!(block_on(store.load(handle)), Loaded::Found(record(2, &[9; 200])));
    }
}

#[test]
fn a_database_that_repeats_its_reads_answers_collisions_as_conflicts() {
    let url = format!("{}?schema={}", shared().url(), fresh_schema());
    let options = "&options=-c%20default_transaction_isolation%3Drepeatable%5C%20read";
    let store = migrated(open(&format!("{url}{options}")));
    contract(&store);
    counting(&store, 4, 50);
}

#[test]
fn a_server_that_takes_no_writes_says_so_and_still_answers_loads() {
    let server = servers::Postgres::start(&[]);
    let store = store(&server);
    let handle = fresh();
    assert_eq!(block_on(store.swap(&write(handle, 0, true))), Swapped::Done);
    server.query("ALTER DATABASE postgres SET default_transaction_read_only = on");
    // The setting counts for new connections.
    server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'coatroom'");
    assert_eq!(block_on(store.swap(&write(handle, 1, true))), Swapped::Unavailable);
    assert!(matches!(block_on(store.load(handle)), Loaded::Found(_)));
}

#[test]
fn a_server_without_a_free_connection_leaves_no_swap_in_doubt() {
    let server = servers::Postgres::start(&["max_connections = 6"]);
    let store = store(&server);
    let handles: Vec<_> = (0..16).map(|_| fresh()).collect();
    thread::scope(|scope| {
        for handle in &handles {
            scope.spawn(|| {
                for version in 0..5 {
                    // Of what is unavailable nothing was done: the same swap may be sent again.
                    while block_on(store.swap(&write(*handle, version, false))) != Swapped::Done {}
                }
            });
        }
    });
    for handle in &handles {
        assert_eq!(block_on(store.load(*handle)), Loaded::Found(record(5, &[9; 200])));
    }
}

/// What one writer was told before the server died.
struct Told {
    handle: coatroom_core::Handle,
    durable: u64,
    newest: Vec<(Instant, u64)>,
}

fn write_until_it_dies(store: &Postgres) -> Told {
    let mut told = Told { handle: fresh(), durable: 0, newest: Vec::new() };
    for version in 0.. {
        let durable = version % 7 == 0;
        if block_on(store.swap(&write(told.handle, version, durable))) != Swapped::Done {
            break;
        }
        told.newest.push((Instant::now(), version + 1));
        if durable {
            told.durable = version + 1;
        }
    }
    told
}

#[test]
// spec: STORE-6 aac8
fn kill_9_of_the_server_loses_nothing_durable_and_less_than_a_second_of_the_rest() {
    let mut server = servers::Postgres::start(&[]);
    let store = store(&server);
    for round in 0..3 {
        let (told, killed) = thread::scope(|scope| {
            let writers: Vec<_> = (0..3).map(|_| scope.spawn(|| write_until_it_dies(&store))).collect();
            thread::sleep(Duration::from_millis(1300 + 170 * round));
            let killed = Instant::now();
            server.kill9();
            (writers.into_iter().map(|writer| writer.join().unwrap()).collect::<Vec<_>>(), killed)
        });
        server.start_again();
        for told in told {
            let Loaded::Found(stored) = block_on(store.load(told.handle)) else { panic!("the record is gone") };
            let stored = u64::from_be_bytes(stored[2..10].try_into().unwrap());
            assert!(told.durable > 0 && stored >= told.durable, "{stored} of {}", told.durable);
            let old = told.newest.iter().rfind(|(at, _)| *at + SECOND < killed).map_or(0, |(_, version)| *version);
            assert!(stored >= old, "{stored}, and {old} was written a second before");
        }
    }
}
