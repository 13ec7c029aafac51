//! Replicas: what a promotion loses, what waiting for them changes, and who finds the new primary.

use std::thread;
use std::time::{Duration, Instant};

use coatroom_store::redis::{Settings, confirmed};
use coatroom_store::{Driver, block_on};
use coatroom_tests::servers::{Fault, Proxy, Redis, Sentinel, Server, wait_until};

use super::{Store, add, counted, driver, is_logged_in, login, settings, store, visitor};

fn log_out(driver: &Driver<Store>, cookie: &str) -> Option<u32> {
    let mut session = block_on(driver.open(cookie.as_bytes())).unwrap();
    session.logout();
    let (reply, replicas) = block_on(confirmed(driver.close(session)));
    reply.unwrap();
    replicas
}

fn waiting(url: &str) -> Store {
    Store::connect(settings(url).confirm_replicas(1, Duration::from_millis(300))).unwrap()
}

/// A replica that hears of its primary through a proxy.
fn replica_behind(primary: &Redis) -> (Proxy, Redis) {
    let proxy = Proxy::to(&primary.address());
    let replica = Redis::start(&[&format!("replicaof 127.0.0.1 {}", proxy.port())]);
    wait_until("a replica is in step", Duration::from_secs(10), || {
        replica.call(&["INFO", "replication"]).text().contains("master_link_status:up")
    });
    (proxy, replica)
}

/// Ends the primary and makes the replica one, as an operator does by hand.
fn promote(primary: &mut Redis, replica: &Redis) -> Driver<Store> {
    primary.kill9();
    replica.call(&["REPLICAOF", "NO", "ONE"]);
    driver(store(&replica.url()))
}

fn replicated(primary: &Redis) {
    primary.call(&["SET", "mark", "1"]);
    primary.call(&["WAIT", "1", "2000"]);
    thread::sleep(Duration::from_millis(50));
}

#[test]
fn a_promotion_undoes_a_logout_that_no_replica_had() {
    let mut primary = Redis::start(&[]);
    let (proxy, replica) = replica_behind(&primary);
    let before = driver(store(&primary.url()));
    let cookie = login(&before, "ada");
    replicated(&primary);
    proxy.set(Fault::Hang);
    assert_eq!(log_out(&before, &cookie), None, "nobody asked for a confirmation");
    assert!(!is_logged_in(&before, &cookie));
    let after = promote(&mut primary, &replica);
    assert!(is_logged_in(&after, &cookie), "what the documentation warns of");
}

#[test]
// spec: STORE-10 5846
fn waiting_for_replicas_says_that_a_logout_may_be_undone() {
    let mut primary = Redis::start(&[]);
    let (proxy, replica) = replica_behind(&primary);
    let before = driver(waiting(&primary.url()));
    let cookie = login(&before, "ada");
    replicated(&primary);
    proxy.set(Fault::Hang);
    assert_eq!(log_out(&before, &cookie), Some(0), "done, and confirmed by nobody");
    let after = promote(&mut primary, &replica);
    assert!(is_logged_in(&after, &cookie));
}

#[test]
// spec: STORE-10 5846
fn a_logout_that_a_replica_confirmed_survives_its_promotion() {
    let mut primary = Redis::start(&[]);
    let replica = Redis::replica_of(&primary, &[]);
    let before = driver(waiting(&primary.url()));
    let cookie = login(&before, "ada");
    assert_eq!(log_out(&before, &cookie), Some(1));
    let waits = primary.calls("wait");
    assert!(waits >= 1);
    let visitor = visitor(&before);
    assert!(add(&before, &visitor));
    assert_eq!(primary.calls("wait"), waits, "what may be lost is not waited for");
    let after = promote(&mut primary, &replica);
    assert!(!is_logged_in(&after, &cookie));
}

#[test]
fn a_revocation_says_how_many_replicas_confirmed_it() {
    let primary = Redis::start(&[]);
    let _replica = Redis::replica_of(&primary, &[]);
    let driver = driver(waiting(&primary.url()));
    let (revoked, replicas) = block_on(confirmed(driver.revoke_all("nobody")));
    assert_eq!((revoked.unwrap().ended, replicas), (0, Some(1)));
}

#[test]
fn a_wait_for_replicas_holds_up_nobody_else() {
    let primary = Redis::start(&[]);
    let replica = Redis::replica_of(&primary, &[]);
    let url = primary.url();
    let slow = Settings::parse(&url).unwrap().confirm_replicas(1, Duration::from_secs(3));
    let driver = driver(Store::connect(slow).unwrap());
    let (cookie, other) = (login(&driver, "ada"), visitor(&driver));
    replica.pause();
    thread::scope(|scope| {
        let logout = scope.spawn(|| log_out(&driver, &cookie));
        let started = Instant::now();
        let mut writes = 0;
        while !logout.is_finished() {
            assert!(add(&driver, &other));
            writes += 1;
        }
        assert!(started.elapsed() >= Duration::from_secs(2), "the wait takes its time");
        assert!(writes > 50, "{writes} writes meanwhile");
        assert_eq!(logout.join().unwrap(), Some(0), "{:?} {:?}", started.elapsed(), driver.store().trouble());
    });
    replica.resume();
}

#[test]
fn the_primary_that_the_sentinels_name_is_found_before_and_after_a_failover() {
    let mut primary = Redis::start(&[]);
    let _replica = Redis::replica_of(&primary, &[]);
    let sentinel = Sentinel::over(&primary);
    sentinel.wait_for_replicas(1);
    let url = format!("redis+sentinel://127.0.0.1:1,{}/{}", &sentinel.url()["redis://".len()..], Sentinel::NAME);
    let driver = driver(store(&url));
    let cookie = visitor(&driver);
    assert!(add(&driver, &cookie));
    replicated(&primary);
    primary.kill9();
    sentinel.fail_over(primary.port());
    let promoted = Instant::now();
    while !add(&driver, &cookie) {
        let trouble = driver.store().trouble();
        assert!(promoted.elapsed() < Duration::from_secs(20), "{trouble:?}\n{}", sentinel.log());
    }
    assert!(counted(&driver, &cookie) >= 2);
    // The old primary comes back as a replica, and is not taken for one: whatever is told is there. Connections may break once
    // more while Sentinel and servers come to terms.
    let before = counted(&driver, &cookie);
    primary.start_again();
    let (back, mut told) = (Instant::now(), 0);
    while told < 50 {
        told += i64::from(add(&driver, &cookie));
        let trouble = driver.store().trouble();
        assert!(back.elapsed() < Duration::from_secs(60), "{told} of 50: {trouble:?}\n{}", sentinel.log());
    }
    let after = counted(&driver, &cookie);
    assert!(after >= before + told, "{told} were told, and {before} became {after}");
    let wrong = store(&url.replace(Sentinel::NAME, "nobody"));
    assert!(!add(&self::driver(wrong), &cookie));
}
