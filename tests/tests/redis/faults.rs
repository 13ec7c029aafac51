//! Servers that end, halt, refuse, or answer to nobody.

use std::thread;
use std::time::{Duration, Instant};

use coatroom_core::{Listing, Loaded, Swap};
use coatroom_store::{Store as _, Swapped, Unavailable, block_on_far as block_on};
use coatroom_tests::faults::{self, Outage};
use coatroom_tests::servers::{Fault, Proxy, Redis, Server};
use tokio::runtime::{Builder, Runtime};

use super::{LIMIT, Store, add, counted, driver, handle, is_logged_in, login, record, store, swap, visitor};

#[test]
// spec: STORE-3 1632
fn a_server_that_is_killed_stopped_or_halted_loses_nothing() {
    let mut server = Redis::start(&["appendonly yes", "appendfsync always"]);
    let store = store(&server.url());
    for outage in [Outage::Kill, Outage::Stop, Outage::Pause(LIMIT / 2)] {
        faults::outages(&store, &mut server, outage, true);
    }
    faults::comes_back(&store, &mut server, Duration::from_millis(200), Duration::from_secs(1));
}

#[test]
// spec: STORE-3 1632, STORE-5 5484
fn a_bad_network_is_survived() {
    let server = Redis::start(&[]);
    let proxy = Proxy::to(&server.address());
    let store = store(&format!("redis://{}", proxy.address()));
    faults::slow_replies(&store, &proxy);
    faults::cut_replies(&store, &proxy);
    faults::counting_through_cuts(&store, &proxy);
    faults::never_hangs(&store, &proxy, Duration::from_secs(5));
}

/// What a machine that is busy with other tests may add to a time limit.
const SPARE: Duration = Duration::from_millis(700);

fn within<T>(limit: Duration, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = work();
    assert!(started.elapsed() < limit, "{:?} and not {limit:?}", started.elapsed());
    result
}

#[test]
// spec: STORE-5 5484
fn an_outage_of_five_seconds_is_over_within_a_second_of_the_return() {
    let mut server = Redis::start(&["appendonly yes", "appendfsync always"]);
    let driver = driver(store(&server.url()));
    let cookie = visitor(&driver);
    assert!(add(&driver, &cookie));
    server.kill9();
    let down = Instant::now();
    let mut refused_at_once = 0;
    while down.elapsed() < Duration::from_secs(5) {
        let refused = Instant::now();
        let loaded = within(LIMIT + SPARE, || block_on(driver.store().load(handle(1))));
        assert_eq!(loaded, Loaded::Unavailable);
        refused_at_once += u32::from(refused.elapsed() < LIMIT / 4);
        let new = swap(handle(1), None, Some(&record(1, 1)));
        let swapped = within(LIMIT + SPARE, || block_on(driver.store().swap(&new)));
        // The connection may have ended under the first one.
        assert!(matches!(swapped, Swapped::Unavailable | Swapped::Unknown), "{swapped:?}");
        thread::sleep(Duration::from_millis(20));
    }
    assert!(refused_at_once > 10, "an old outage is told at once");
    assert!(driver.store().trouble().is_some());
    server.start_again();
    within(Duration::from_secs(1), || while !add(&driver, &cookie) {});
    assert_eq!(counted(&driver, &cookie), 2, "what was acknowledged is there");
}

#[test]
fn a_server_that_halts_is_waited_for_no_longer_than_the_limit() {
    let server = Redis::start(&[]);
    let store = store(&server.url());
    // The script is known by then, so that it is sent and run in one step.
    assert_eq!(block_on(store.swap(&swap(handle(3), None, Some(&record(1, 1))))), Swapped::Done);
    // So is this thread's own connection, which is made once the server is known to be there.
    assert_eq!(block_on(store.load(handle(1))), Loaded::Absent);
    server.pause();
    let create = swap(handle(1), None, Some(&record(1, 1)));
    assert_eq!(within(LIMIT + SPARE, || block_on(store.swap(&create))), Swapped::Unknown, "it was sent");
    for _ in 0..3 {
        assert_eq!(within(LIMIT + SPARE, || block_on(store.load(handle(1)))), Loaded::Unavailable);
        let other = swap(handle(2), None, Some(&record(1, 1)));
        assert_eq!(within(LIMIT + SPARE, || block_on(store.swap(&other))), Swapped::Unavailable, "it was not");
    }
    server.resume();
    within(Duration::from_secs(1), || while block_on(store.load(handle(1))) == Loaded::Unavailable {});
    // What was sent before the halt is carried out after it, on whatever connection it waits.
    within(Duration::from_secs(1), || while block_on(store.load(handle(1))) == Loaded::Absent {});
    assert_eq!(block_on(store.load(handle(2))), Loaded::Absent);
}

#[test]
// spec: WRITE-10 a015, WRITE-11 c612
fn a_reply_that_is_cut_or_lost_leaves_every_addition_counted_once() {
    let server = Redis::start(&[]);
    let proxy = Proxy::to(&server.address());
    let driver = driver(store(&proxy.url(&server.url())));
    let cookie = visitor(&driver);
    let mut acknowledged = 0;
    for bytes in [0, 1, 3] {
        let mut session = block_on(driver.open(cookie.as_bytes())).unwrap();
        session.add("n", 1).unwrap();
        proxy.set(Fault::CutReplyAfter(bytes));
        acknowledged += i64::from(block_on(driver.close(session)).is_ok());
    }
    assert_eq!(acknowledged, 3, "the commit id tells");
    assert_eq!(counted(&driver, &cookie), 3);

    proxy.set(Fault::Swallow);
    let create = swap(handle(1), None, Some(&record(1, 1)));
    assert_eq!(within(LIMIT + SPARE, || block_on(driver.store().swap(&create))), Swapped::Unknown);
    proxy.set(Fault::None);
    within(Duration::from_secs(1), || while block_on(driver.store().load(handle(1))) == Loaded::Unavailable {});
    assert_eq!(block_on(driver.store().load(handle(1))), Loaded::Found(record(1, 1)), "it took place");
    let evals = server.calls("evalsha") + server.calls("eval");
    // A create and the first sending of the script, three additions, and the one above: each was sent once.
    assert_eq!(evals, 2 + 3 + 1, "no swap is sent twice");
}

#[test]
fn a_connection_that_was_lost_unnoticed_costs_a_load_nothing() {
    let server = Redis::start(&[]);
    let proxy = Proxy::to(&server.address());
    let url = proxy.url(&server.url());
    let store = Store::connect(super::settings(&url).time_limit(Duration::from_secs(5))).unwrap();
    for _ in 0..20 {
        assert_eq!(block_on(store.load(handle(1))), Loaded::Absent);
        proxy.cut();
    }
}

/// A server's refusals: nothing was done, and nothing is in doubt.
#[test]
fn a_refusal_is_no_doubt() {
    let refused = |store: &Store, number: u8| {
        let create = swap(handle(number), None, Some(&record(1, 1)));
        assert_eq!(block_on(store.swap(&create)), Swapped::Unavailable, "{:?}", store.trouble());
    };
    let primary = Redis::start(&[]);
    let replica = Redis::replica_of(&primary, &[]);
    let on_replica = store(&replica.url());
    refused(&on_replica, 1);
    assert!(on_replica.trouble().unwrap().contains("replica"));

    let lonely = Redis::start(&["min-replicas-to-write 1"]);
    let on_lonely = store(&lonely.url());
    refused(&on_lonely, 1);
    assert_eq!(block_on(on_lonely.load(handle(1))), Loaded::Absent);

    let locked = Redis::start(&["requirepass secret"]);
    let unknown = store(&locked.url());
    refused(&unknown, 1);
    assert_eq!(block_on(unknown.load(handle(1))), Loaded::Unavailable);
    let wrong = store(&locked.url().replace("redis://", "redis://:guess@"));
    refused(&wrong, 1);
    assert!(!wrong.trouble().unwrap().contains("guess"));
    let known = store(&locked.url().replace("redis://", "redis://:secret@"));
    assert_eq!(block_on(known.load(handle(1))), Loaded::Absent);
}

#[test]
fn a_full_server_refuses_new_sessions_and_still_ends_old_ones() {
    let server = Redis::start(&["maxmemory-policy noeviction"]);
    let driver = driver(store(&server.url()));
    let cookie = login(&driver, "ada");
    server.call(&["CONFIG", "SET", "maxmemory", "1"]);
    let create = swap(handle(1), None, Some(&record(1, 1)));
    assert_eq!(block_on(driver.store().swap(&create)), Swapped::Unavailable);
    assert!(!add(&driver, &cookie));
    assert!(is_logged_in(&driver, &cookie));
    let mut session = block_on(driver.open(cookie.as_bytes())).unwrap();
    session.logout();
    block_on(driver.close(session)).unwrap();
    server.call(&["CONFIG", "SET", "maxmemory", "0"]);
    assert!(!is_logged_in(&driver, &cookie));
    assert_eq!(block_on(driver.store().sessions("ada")), Ok(vec![]));
}

#[test]
fn a_server_that_was_killed_kept_what_was_acknowledged() {
    for fsync in ["always", "everysec"] {
        let mut server = Redis::start(&["appendonly yes", &format!("appendfsync {fsync}")]);
        let driver = driver(store(&server.url()));
        let cookie = visitor(&driver);
        let mut acknowledged = 0;
        for round in 0..4 {
            let killer = thread::scope(|scope| {
                let writer = scope.spawn(|| {
                    let mut acknowledged = 0;
                    while add(&driver, &cookie) {
                        acknowledged += 1;
                    }
                    acknowledged
                });
                thread::sleep(Duration::from_millis(100 + 30 * round));
                server.kill9();
                writer.join().unwrap()
            });
            acknowledged += killer;
            server.start_again();
            within(Duration::from_secs(3), || while !add(&driver, &cookie) {});
            acknowledged += 1;
        }
        let counted = counted(&driver, &cookie);
        assert!((acknowledged..=acknowledged + 4).contains(&counted), "{fsync}: {counted} of {acknowledged}");
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn one_store_serves_runtimes_one_after_another_and_threads_without_any() {
    let server = Redis::start(&[]);
    let store = store(&server.url());
    for _ in 0..3 {
        let loaded = runtime().block_on(async {
            // The connection ends with the runtime.
            store.load(handle(1)).await
        });
        assert_eq!(loaded, Loaded::Absent);
        assert_eq!(block_on(store.load(handle(1))), Loaded::Absent);
    }
}

#[test]
fn who_blocks_a_runtime_on_itself_is_answered_all_the_same() {
    let server = Redis::start(&[]);
    let store = store(&server.url());
    runtime().block_on(async {
        assert_eq!(store.load(handle(1)).await, Loaded::Absent);
        // What an application must not do: the runtime stands still meanwhile.
        assert_eq!(within(LIMIT, || block_on(store.load(handle(1)))), Loaded::Absent);
    });
}

#[test]
fn an_executor_that_holds_its_runtime_up_gets_an_error_in_time() {
    let server = Redis::start(&[]);
    let store = store(&server.url());
    runtime().block_on(async {
        assert_eq!(store.load(handle(1)).await, Loaded::Absent);
        // Someone else's `block_on`, which this crate knows nothing of.
        let loaded = within(LIMIT + SPARE, || foreign_block_on(store.load(handle(1))));
        assert_eq!(loaded, Loaded::Unavailable);
    });
}

#[test]
fn every_exchange_can_be_spawned_on_a_runtime_of_many_threads() {
    fn spawnable<F: Future + Send>(_: &F) {}
    let server = Redis::start(&[]);
    let driver = driver(store(&server.url()));
    let closing = async {
        let session = driver.open(b"").await.unwrap();
        driver.close(session).await
    };
    spawnable(&closing);
    spawnable(&driver.revoke_all("ada"));
    spawnable(&driver.revoke_everything());
    spawnable(&driver.rename_principal("ada", "grace"));
    assert!(block_on(closing).is_ok());
}

fn foreign_block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = std::pin::pin!(future);
    let waker = std::sync::Arc::new(Unpark(thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn the_index_of_a_server_that_is_away_is_unavailable() {
    let mut server = Redis::start(&[]);
    let store = store(&server.url());
    assert_eq!(block_on(store.sessions("ada")), Ok(vec![]));
    server.stop();
    assert_eq!(block_on(store.sessions("ada")), Err(Unavailable));
    assert_eq!(block_on(store.leave("ada", handle(1))), Err(Unavailable));
    assert_eq!(block_on(store.bar("ada", super::at(1))), Err(Unavailable));
    assert_eq!(block_on(store.scan(None, 10)), Err(Unavailable));
    let leaving = Swap { listing: Listing::Leave("ada".to_owned()), ..swap(handle(1), Some(&record(1, 1)), None) };
    assert_eq!(block_on(store.swap(&leaving)), Swapped::Unavailable);
    assert!(block_on(store.warnings()).is_err());
}
