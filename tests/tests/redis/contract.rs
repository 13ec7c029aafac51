//! The contract of a store, the index of principals, and what each step costs in trips.

use std::sync::Arc;

use coatroom_core::{Listing, Loaded, Swap, Timestamp};
use coatroom_store::{Cursor, Entered, NotListed, Store as _, Swapped, block_on};
use coatroom_tests::people;
use coatroom_tests::servers::{Cluster, Redis, Reply, Server};
use coatroom_tests::suite::all_but_sweeping;
use coatroom_tests::suite::feed::{holds, misses_none};

use super::{Store, add, at, cluster_url, driver, entry, handle, is_logged_in, login, record, store, swap, visitor};

#[test]
// spec: STORE-1 4bc6, STORE-2 4ba9, STORE-3 1632
fn one_server_passes_the_suite() {
    let server = Redis::start(&[]);
    suite(&server.url());
    index(&store(&server.url()));
    scans(&store(&server.url()));
    revocations(store(&server.url()));
    people(&server.url());
}

#[test]
// spec: STORE-1 4bc6, STORE-2 4ba9, STORE-3 1632
fn a_cluster_passes_the_suite() {
    let cluster = Cluster::start(&[]);
    let url = cluster_url(&cluster);
    suite(&url);
    index(&store(&url));
    scans(&store(&url));
    revocations(store(&url));
    people(&url);
}

/// Among its records are some that no build wrote, so it has a store of its own.
fn suite(url: &str) {
    all_but_sweeping(&Store::connect(super::settings(url).prefix("suite:")).unwrap());
}

/// Stories that every store is held to, among them logins that race with revocations, each in a store of its own.
fn people(url: &str) {
    let of_its_own = |prefix: &str| Arc::new(Store::connect(super::settings(url).prefix(prefix)).unwrap());
    people::stories(&of_its_own("stories:"));
    people::everything(&of_its_own("everything:"));
}

/// Entries made by a swap or alone, their number, the limit, and the bar.
fn index(store: &Store) {
    // A principal may be any text; braces steer the slot of a key.
    for (first, principal) in [(30, "ada"), (40, "} {a}\u{0}"), (50, "")] {
        let shown = |entered: Entered| (entered.revoked, entered.count);
        let enter = |number, at_most| block_on(store.enter(&entry(principal, number, at_most))).map(shown);
        let listed = |count| Ok((Timestamp::default(), count));
        let sessions = || {
            let mut sessions = block_on(store.sessions(principal)).unwrap();
            sessions.sort();
            sessions
        };
        assert_eq!(sessions(), []);
        assert_eq!(enter(first, None), listed(1));
        assert_eq!(enter(first, None), listed(1), "twice is once");
        assert_eq!(enter(first + 1, Some(1)), Err(NotListed::Full));
        assert_eq!(enter(first + 1, Some(2)), listed(2));
        assert_eq!(enter(first + 1, Some(1)), Err(NotListed::Full), "the limit counts the other one");
        assert_eq!(sessions(), [handle(first), handle(first + 1)]);

        let [before, last] = [at(7), at(3)].map(|now| block_on(store.bar(principal, now)).unwrap());
        assert!(before < last, "by the clock of the server, and never twice the same");
        assert_eq!(enter(first, None), Ok((last, 2)));
        assert_eq!(sessions(), [handle(first), handle(first + 1)], "and is no session");

        assert_eq!(block_on(store.leave(principal, handle(first))), Ok(()));
        assert_eq!(sessions(), [handle(first + 1)]);
        let mut late = entry(principal, first, Some(1));
        late.now = at(200);
        late.until = at(300);
        assert_eq!(block_on(store.enter(&late)).map(|listed| listed.count), Ok(1), "garbage does not count");
        let mut renewed = entry(principal, first, Some(1));
        renewed.until = at(50);
        assert_eq!(block_on(store.enter(&renewed)), Err(NotListed::Full), "an entry is not shortened");
        entered_with_the_record(store, principal, first, last);
    }
}

fn entered_with_the_record(store: &Store, principal: &str, first: u8, revoked: Timestamp) {
    let (old, new) = (record(1, first), record(2, first));
    let handle = handle(first + 5);
    let mut entering = entry(principal, first + 5, Some(2));
    entering.until = at(100);
    let login = |expected: Option<&[u8]>, new: &[u8], at_most| Swap {
        listing: Listing::Enter(coatroom_core::Entry { at_most, ..entering.clone() }),
        ..swap(handle, expected, Some(new))
    };
    let is_listed = || block_on(store.sessions(principal)).unwrap().contains(&handle);
    if !store.enters_with_swap() {
        assert_eq!(block_on(store.swap(&login(None, &old, Some(1)))), Swapped::Done);
        assert!(!is_listed(), "the entry is made afterwards");
        return;
    }
    assert_eq!(block_on(store.swap(&login(None, &old, Some(1)))), Swapped::Full);
    assert_eq!(block_on(store.load(handle)), Loaded::Absent, "nothing is written");
    assert_eq!(block_on(store.swap(&login(Some(&old), &new, None))), Swapped::Conflict(None));
    assert!(!is_listed());
    let answer = block_on(store.swap(&login(None, &old, None)));
    let Swapped::Entered(entered) = answer else { panic!("{answer:?}") };
    assert_eq!((entered.revoked, entered.count), (revoked, 3));
    assert!(entered.ago.is_some_and(|ago| ago.as_secs() < 60), "{entered:?}");
    assert!(is_listed());
    let conflict = Swapped::Conflict(Some(old.clone()));
    assert_eq!(block_on(store.swap(&login(None, &new, Some(0)))), conflict, "what is stored goes before the limit");
    let mut ending = swap(handle, Some(&old), Some(&new));
    ending.listing = Listing::Leave(principal.to_owned());
    assert_eq!(block_on(store.swap(&ending)), Swapped::Done);
    assert!(!is_listed());
}

/// Every record is met, in bounded parts, and nothing of other applications.
fn scans(store: &Store) {
    let all = |store: &Store| {
        let (mut handles, mut from, mut parts) = (Vec::new(), None::<Cursor>, 0);
        loop {
            let (more, next) = block_on(store.scan(from.take(), 100)).unwrap();
            assert!(more.len() <= 400, "{} at a time", more.len());
            handles.extend(more);
            parts += 1;
            match next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
        handles.sort();
        handles.dedup();
        (handles, parts)
    };
    let (before, _) = all(store);
    for number in 0..1000_u32 {
        let handle =
            coatroom_core::Handle::from_bytes([&[9; 8][..], &number.to_be_bytes()].concat().try_into().unwrap());
        assert_eq!(block_on(store.swap(&swap(handle, None, Some(&record(1, 1))))), Swapped::Done);
    }
    let (handles, parts) = all(store);
    assert_eq!(handles.len(), before.len() + 1000);
    assert!(parts >= 4, "{parts} parts");
}

/// The questions that every site has, through the driver.
fn revocations(store: Store) {
    let driver = driver(store);
    let cookies: Vec<String> = (0..3).map(|_| login(&driver, "grace")).collect();
    let other = login(&driver, "edsger");
    let devices = block_on(driver.devices("grace")).unwrap();
    assert_eq!(devices.len(), 3);
    assert!(block_on(driver.revoke("grace", devices[0].handle)).unwrap());
    assert_eq!(cookies.iter().filter(|cookie| is_logged_in(&driver, cookie)).count(), 2);
    block_on(driver.revoke_all("grace")).unwrap();
    assert_eq!(cookies.iter().filter(|cookie| is_logged_in(&driver, cookie)).count(), 0);
    assert!(block_on(driver.devices("grace")).unwrap().is_empty());
    assert!(is_logged_in(&driver, &other));
    assert!(block_on(driver.revoke_everything()).unwrap() >= 1);
    assert!(!is_logged_in(&driver, &other));
}

/// What the nodes themselves say that they were asked.
struct Trips<'a>(&'a [Redis]);

impl Trips<'_> {
    /// Commands by clients: those that scripts call do not count, as none of ours calls them on the way of success.
    fn of(&self, work: impl FnOnce()) -> (u64, u64, u64) {
        for node in self.0 {
            node.call(&["CONFIG", "RESETSTAT"]);
        }
        work();
        let sum = |command: &str| self.0.iter().map(|node| node.calls(command)).sum::<u64>();
        (sum("get"), sum("evalsha"), sum("eval"))
    }
}

#[test]
fn each_step_costs_as_many_trips_as_promised() {
    let server = Redis::start(&[]);
    let driver = driver(store(&server.url()));
    let nodes = [server];
    costs(&driver, &Trips(&nodes), 1);
}

#[test]
fn a_login_on_a_cluster_costs_one_trip_more() {
    let cluster = Cluster::start(&[]);
    let driver = driver(store(&cluster_url(&cluster)));
    costs(&driver, &Trips(&cluster.nodes), 2);
}

fn costs(driver: &coatroom_store::Driver<Store>, trips: &Trips<'_>, of_login: u64) {
    // Until every node knows every script, one is sent twice.
    for number in 0..40 {
        login(driver, &format!("warm{number}"));
    }
    let anonymous = || drop(block_on(driver.close(block_on(driver.open(b"")).unwrap())));
    assert_eq!(trips.of(anonymous), (0, 0, 0), "an anonymous exchange");
    let cookie = login(driver, "ada");
    assert_eq!(trips.of(|| assert!(is_logged_in(driver, &cookie))), (1, 0, 0), "a confirmed read");
    assert_eq!(trips.of(|| assert!(add(driver, &cookie))), (1, 1, 0), "a write");
    let visitor = visitor(driver);
    let log_in = || {
        let mut session = block_on(driver.open(visitor.as_bytes())).unwrap();
        session.login("ada", &super::NO_ROLES, 1).unwrap();
        block_on(driver.close(session)).unwrap();
    };
    assert_eq!(trips.of(log_in), (1, of_login, 0), "a login");
}

#[test]
fn a_collision_costs_one_trip() {
    let server = Redis::start(&[]);
    let driver = driver(store(&server.url()));
    let cookie = visitor(&driver);
    assert!(add(&driver, &cookie));
    let mut behind = block_on(driver.open(cookie.as_bytes())).unwrap();
    behind.add("n", 1).unwrap();
    assert!(add(&driver, &cookie));
    let nodes = [server];
    // The GET is the script's: it brings the record that the next attempt begins with.
    let trips = Trips(&nodes).of(|| drop(block_on(driver.close(behind)).unwrap()));
    assert_eq!(trips, (1, 2, 0));
    assert_eq!(super::counted(&driver, &cookie), 3);
}

#[test]
fn a_server_that_forgot_the_scripts_is_told_them_again() {
    let server = Redis::start(&[]);
    let driver = driver(store(&server.url()));
    let cookie = visitor(&driver);
    for flushed in 0..3 {
        server.call(&["SCRIPT", "FLUSH"]);
        assert!(add(&driver, &cookie));
        assert!(add(&driver, &cookie));
        assert_eq!(super::counted(&driver, &cookie), 2 * (flushed + 1));
    }
    assert_eq!(server.calls("eval"), 4, "once for each time it forgot, and at first");
}

#[test]
// spec: REC-4 ee90
fn what_is_no_record_is_never_written_over() {
    let server = Redis::start(&[]);
    let store = store(&server.url());
    let key = |number: u8| format!("coatroom:s:{}", handle(number));
    for (number, text) in [(1, ""), (2, "x"), (3, "twenty characters...")] {
        server.call(&["SET", &key(number), text]);
        let present = Swapped::Conflict(Some(text.as_bytes().to_vec()));
        assert_eq!(block_on(store.swap(&swap(handle(number), None, Some(&record(1, 1))))), present);
        assert_eq!(block_on(store.swap(&swap(handle(number), Some(&record(1, 1)), None))), present);
        assert_eq!(server.call(&["GET", &key(number)]).text(), text);
    }
    server.call(&["LPUSH", &key(4), "list"]);
    assert_eq!(block_on(store.load(handle(4))), Loaded::Unavailable);
    assert_eq!(block_on(store.swap(&swap(handle(4), None, Some(&record(1, 1))))), Swapped::Unknown);
    assert_eq!(server.call(&["TYPE", &key(4)]).text(), "list");
    // An index that is none fails before the record is written.
    server.call(&["SET", "coatroom:p:ada", "text"]);
    let login = Swap { listing: Listing::Enter(entry("ada", 5, None)), ..swap(handle(5), None, Some(&record(1, 1))) };
    assert_eq!(block_on(store.swap(&login)), Swapped::Unknown);
    assert_eq!(block_on(store.load(handle(5))), Loaded::Absent);
}

#[test]
// spec: STORE-7 250a
fn what_is_garbage_expires_and_nothing_before() {
    let server = Redis::start(&[]);
    let ttl = |key: &str| match server.call(&["PTTL", key]) {
        coatroom_tests::servers::Reply::Integer(ms) => ms,
        other => panic!("{other:?}"),
    };
    let store = Store::connect(super::settings(&server.url()).slack(std::time::Duration::from_secs(900))).unwrap();
    let hours = |hours: i64| 3_600_000 * hours;
    // By the clock of the tests these ends are long past or far ahead: neither shortens what is kept from now on.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let ahead = Timestamp::from_unix_ms(u64::try_from(now.as_millis()).unwrap() + 7_200_000);
    for (number, garbage_at, least) in [(1, at(0), 890_000), (2, ahead, hours(2) + 890_000)] {
        let swap = Swap { garbage_at, ..swap(handle(number), None, Some(&record(1, 1))) };
        assert_eq!(block_on(store.swap(&swap)), Swapped::Done);
        let left = ttl(&format!("coatroom:s:{}", handle(number)));
        assert!((least..=least + 10_000).contains(&left), "{left} ms");
    }
    let mut long = entry("ada", 1, None);
    long.until = ahead;
    block_on(store.enter(&long)).unwrap();
    block_on(store.enter(&entry("ada", 2, None))).unwrap();
    assert!(ttl("coatroom:p:ada") > hours(2), "the index lasts as long as the longest session");
    block_on(store.bar("ada", ahead)).unwrap();
    assert!(ttl("coatroom:p:ada") > hours(25), "and as long as a bar matters");
}

#[test]
fn two_prefixes_are_two_stores() {
    let server = Redis::start(&[]);
    let [shop, blog] =
        ["shop*:", "blog:"].map(|prefix| Store::connect(super::settings(&server.url()).prefix(prefix)).unwrap());
    assert_eq!(block_on(shop.swap(&swap(handle(1), None, Some(&record(1, 1))))), Swapped::Done);
    server.call(&["SET", &format!("shopping:s:{}", handle(2)), "x"]);
    assert_eq!(block_on(blog.load(handle(1))), Loaded::Absent);
    assert_eq!(block_on(shop.scan(None, 100)), Ok((vec![handle(1)], None)));
    assert_eq!(block_on(blog.scan(None, 100)), Ok((vec![], None)));
}

#[test]
fn a_scan_begins_again_on_a_server_that_was_restarted() {
    let mut server = Redis::start(&["appendonly yes"]);
    let store = store(&server.url());
    for number in 0..=255 {
        assert_eq!(block_on(store.swap(&swap(handle(number), None, Some(&record(1, 1))))), Swapped::Done);
    }
    let (_, cursor) = block_on(store.scan(None, 100)).unwrap();
    assert!(cursor.is_some());
    server.restart();
    let (mut handles, mut from) = (Vec::new(), cursor);
    while let Some(cursor) = from {
        let (more, next) = block_on(store.scan(Some(cursor), 100)).unwrap();
        handles.extend(more);
        from = next;
    }
    handles.sort();
    handles.dedup();
    assert_eq!(handles.len(), 256, "a cursor of another run is worth nothing");
}

#[test]
// spec: FEED-3 19a1, FEED-4 8e92
fn the_feed_is_in_order_and_complete_on_one_server_and_in_a_cluster() {
    let server = Redis::start(&[]);
    let open = |url: &str, prefix: &str| Arc::new(Store::connect(super::settings(url).prefix(prefix)).unwrap());
    holds(&open(&server.url(), "a:"));
    misses_none(&open(&server.url(), "b:"));
    let cluster = Cluster::start(&[]);
    holds(&open(&cluster_url(&cluster), "a:"));
    let kept = match server.call(&["PTTL", "a:f"]) {
        Reply::Integer(kept) => kept,
        other => panic!("{other:?}"),
    };
    assert!(kept > 1_000_000_000, "as long as it was asked to be kept");
}
