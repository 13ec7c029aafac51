//! What the server itself counts: trips, kinds of updates, what is on disk when a write is acknowledged.

use std::thread;
use std::time::Duration;

use coatroom_core::{Entry, Handle, Listing, Loaded, Swap};
use coatroom_store::postgres::{Postgres, Settings};
use coatroom_store::{Store, Swapped, block_on};
use coatroom_tests::servers::{self, Server};

use crate::help::{HOUR, NOW, entry, fresh, fresh_schema, login, migrated, open, shared, stamp, store, write};

/// Statements that the server has run for one schema.
struct Counted<'a> {
    server: &'a servers::Postgres,
    schema: String,
    store: Postgres,
}

impl<'a> Counted<'a> {
    fn on(server: &'a servers::Postgres) -> Self {
        server.query("CREATE EXTENSION IF NOT EXISTS pg_stat_statements");
        let schema = fresh_schema();
        let store = migrated(open(&format!("{}?schema={schema}", server.url())));
        Self { server, schema, store }
    }

    fn statements(&self) -> u32 {
        let ours =
            format!("SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE query LIKE '%\"{}\"%'", self.schema);
        self.server.query(&ours).parse().unwrap()
    }

    /// How many statements on our tables `work` takes once every connection knows them.
    fn spent(&self, mut work: impl FnMut(&Postgres)) -> u32 {
        work(&self.store);
        let before = self.statements();
        work(&self.store);
        self.statements() - before
    }
}

#[test]
fn a_load_and_a_swap_are_one_statement_and_a_refused_swap_two() {
    let counted = Counted::on(shared());
    let handle = fresh();
    assert_eq!(block_on(counted.store.swap(&write(handle, 0, true))), Swapped::Done);
    let mut version = 1;
    let spent = |work: &dyn Fn(&Postgres)| counted.spent(work);
    assert_eq!(spent(&|store| drop(block_on(store.load(handle)))), 1);
    let done = counted.spent(|store| {
        assert_eq!(block_on(store.swap(&write(handle, version, false))), Swapped::Done);
        version += 1;
    });
    assert_eq!(done, 1);
    let refused = |store: &Postgres| {
        assert!(matches!(block_on(store.swap(&write(handle, 77, false))), Swapped::Conflict(Some(_))))
    };
    assert_eq!(spent(&refused), 2);
    assert_eq!(spent(&|store| assert_eq!(block_on(store.swap(&write(fresh(), 0, true))), Swapped::Done)), 1);
    assert_eq!(spent(&|store| drop(block_on(store.sessions("alice")))), 1);
    // The write and the answer of the index; the lock and the ends of the transaction name no table, and travel with them.
    assert_eq!(spent(&|store| drop(block_on(store.swap(&login(entry("alice", fresh())))))), 2);
}

#[test]
fn a_login_an_ending_and_a_revocation_are_one_trip_each() {
    let proxy = servers::Proxy::to(&shared().address());
    let schema = fresh_schema();
    let url = format!("{}?schema={schema}", proxy.url(&shared().url()));
    let limited = Settings::parse(&url).unwrap().time_limit(Duration::from_millis(400));
    let store = migrated(Postgres::new(limited).unwrap());
    // Where no answer comes back, all is done nevertheless: so nothing waited for an answer.
    let unheard = |work: &dyn Fn()| {
        proxy.set(servers::Fault::Swallow);
        work();
        proxy.set(servers::Fault::None);
        proxy.cut();
    };
    let handle = fresh();
    let known_once = || {
        let known = fresh();
        // Every statement is known on the connection by then.
        assert!(matches!(block_on(store.swap(&login(entry("alice", known)))), Swapped::Entered(_)));
        let ended = Swap { listing: Listing::Leave("alice".to_owned()), ..write(known, 1, true) };
        assert_eq!(block_on(store.swap(&ended)), Swapped::Done);
        block_on(store.bar("bob", NOW)).unwrap();
    };
    let entries = || shared().query(&format!("SELECT count(*) FROM {schema}.listed"));
    known_once();
    unheard(&|| assert_eq!(block_on(store.swap(&login(entry("alice", handle)))), Swapped::Unknown));
    assert_eq!(entries(), "1");
    known_once();
    let ended = Swap { listing: Listing::Leave("alice".to_owned()), ..write(handle, 1, true) };
    unheard(&|| assert_eq!(block_on(store.swap(&ended)), Swapped::Unknown));
    assert_eq!(entries(), "0");
    known_once();
    unheard(&|| assert!(block_on(store.bar("alice", NOW)).is_err()));
    assert_eq!(shared().query(&format!("SELECT count(*) FROM {schema}.barred")), "2");
}

#[test]
fn a_touch_or_a_write_of_data_changes_no_index() {
    let counted = Counted::on(shared());
    let handle = fresh();
    assert_eq!(block_on(counted.store.swap(&write(handle, 0, true))), Swapped::Done);
    for version in 1..=200 {
        // A minute later each time, of which the coarse time of garbage takes note every 17 minutes.
        let garbage_at = NOW.plus(HOUR + Duration::from_secs(version));
        let touch = Swap { garbage_at, ..write(handle, version, false) };
        assert_eq!(block_on(counted.store.swap(&touch)), Swapped::Done);
    }
    let sql = format!(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE schemaname = '{}' AND relname = 'session'",
        counted.schema
    );
    // The server reports what a connection did within a second of its end.
    drop(counted.store);
    let done = || shared().query(&sql);
    servers::wait_until("the statistics", Duration::from_secs(10), || done().starts_with("200|"));
    let hot: u32 = done().split_once('|').unwrap().1.parse().unwrap();
    // A page that is full of versions which somebody may still see sends one to the next page.
    assert!(hot >= 150, "{hot} of 200 updates were heap-only");
}

/// How far the log that is on disk lags behind what was written, in bytes.
fn lag(server: &servers::Postgres) -> i64 {
    server.query("SELECT pg_current_wal_insert_lsn() - pg_current_wal_flush_lsn()").parse().unwrap()
}

#[test]
// spec: STORE-6 aac8
fn durable_writes_are_on_disk_when_they_are_acknowledged_and_others_do_not_wait() {
    // A server that waits for nobody, and whose background writer sleeps as long as it may.
    let lines = [
        "synchronous_commit = off",
        "wal_writer_delay = 10s",
        "wal_writer_flush_after = 1GB",
        "autovacuum = off",
        "bgwriter_delay = 10s",
    ];
    let server = servers::Postgres::start(&lines);
    let store = store(&server);
    let handle = fresh();
    let mut lagged = 0;
    for version in 0..20 {
        let durable = version % 2 == 0;
        assert_eq!(block_on(store.swap(&write(handle, version, durable))), Swapped::Done);
        let lag = lag(&server);
        assert!(!durable || lag == 0, "a durable write was acknowledged {lag} bytes before it was on disk");
        lagged += u32::from(!durable && lag > 0);
    }
    assert!(lagged >= 8, "writes of data waited for the disk");
    let on_disk = |what: &str| assert_eq!(lag(&server), 0, "{what}");
    block_on(store.swap(&login(entry("alice", fresh()))));
    on_disk("a login");
    block_on(store.bar("alice", NOW)).unwrap();
    on_disk("a revocation");
    block_on(store.enter(&entry("alice", handle))).unwrap();
    on_disk("an entry");
    let ended = Swap { listing: Listing::Leave("alice".to_owned()), ..write(handle, 20, true) };
    assert_eq!(block_on(store.swap(&ended)), Swapped::Done);
    on_disk("an ending");
}

#[test]
fn a_sweep_removes_garbage_alone_and_a_bounded_number_at_a_time() {
    let store = store(shared());
    let garbage: Vec<Handle> = (0..100).map(|_| fresh()).collect();
    for handle in &garbage {
        assert!(matches!(block_on(store.swap(&login(entry("alice", *handle)))), Swapped::Entered(_)));
    }
    let kept = fresh();
    let entered = Listing::Enter(Entry { until: NOW.plus(9 * HOUR), ..entry("alice", kept) });
    let later = Swap { garbage_at: NOW.plus(9 * HOUR), listing: entered, ..write(kept, 0, true) };
    assert!(matches!(block_on(store.swap(&later)), Swapped::Entered(_)));
    assert_eq!(block_on(store.sweep(NOW, 1000)), Ok(0));
    assert_eq!(block_on(store.sessions("alice")).unwrap().len(), 101);
    let mut batches = Vec::new();
    while batches.last() != Some(&0) {
        batches.push(block_on(store.sweep(NOW.plus(3 * HOUR), 30)).unwrap());
    }
    assert_eq!(batches, [30, 30, 30, 10, 0]);
    assert!(garbage.iter().all(|handle| block_on(store.load(*handle)) == Loaded::Absent));
    assert!(matches!(block_on(store.load(kept)), Loaded::Found(_)));
    assert_eq!(block_on(store.sessions("alice")), Ok(vec![kept]));
}

#[test]
fn a_bar_outlives_every_login_that_may_ask_for_it() {
    let store = store(shared());
    let day = 24 * HOUR;
    let moment = block_on(store.bar("alice", NOW)).unwrap();
    let revoked = || block_on(store.enter(&entry("alice", Handle::from_bytes([1; 12])))).unwrap().revoked;
    block_on(store.sweep(moment.plus(day), 10)).unwrap();
    assert_eq!(revoked(), moment);
    block_on(store.sweep(moment.plus(3 * day), 10)).unwrap();
    assert_eq!(revoked().as_unix_ms(), 0);
}

#[test]
fn a_sweep_neither_waits_for_a_write_nor_removes_what_it_saved() {
    let counted = Counted::on(shared());
    let (saved, garbage) = (fresh(), fresh());
    for handle in [saved, garbage] {
        assert_eq!(block_on(counted.store.swap(&write(handle, 0, true))), Swapped::Done);
    }
    // Somebody holds one of both while the sweep passes.
    let schema = &counted.schema;
    let hex: String = saved.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let hold = format!("BEGIN; SELECT FROM {schema}.session WHERE handle = '\\x{hex}' FOR UPDATE; SELECT pg_sleep(1)");
    thread::scope(|scope| {
        scope.spawn(|| shared().query(&hold));
        let held =
            format!("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE '%{schema}.%'");
        servers::wait_until("the row is held", Duration::from_secs(10), || shared().query(&held) == "1");
        assert_eq!(block_on(counted.store.sweep(NOW.plus(3 * HOUR), 100)), Ok(1));
    });
    assert_eq!(block_on(counted.store.load(garbage)), Loaded::Absent);
    let renewed = Swap { garbage_at: NOW.plus(9 * HOUR), ..write(saved, 1, false) };
    assert_eq!(block_on(counted.store.swap(&renewed)), Swapped::Done);
    assert_eq!(block_on(counted.store.sweep(NOW.plus(3 * HOUR), 100)), Ok(0));
    assert!(matches!(block_on(counted.store.load(saved)), Loaded::Found(_)));
}

#[test]
fn sweeping_while_serving_fails_no_request() {
    let store = store(shared());
    thread::scope(|scope| {
        let serve = |_| {
            for _ in 0..50 {
                let handle = fresh();
                for version in 0..4 {
                    let garbage_at = NOW.plus(9 * HOUR);
                    let swap = Swap { garbage_at, ..write(handle, version, false) };
                    assert_eq!(block_on(store.swap(&swap)), Swapped::Done);
                }
                let ended = Swap { garbage_at: NOW, ..write(handle, 4, true) };
                assert_eq!(block_on(store.swap(&ended)), Swapped::Done);
            }
        };
        let serving: Vec<_> = (0..3).map(|number| scope.spawn(move || serve(number))).collect();
        let mut removed = 0;
        while serving.iter().any(|serving| !serving.is_finished()) || removed < 150 {
            removed += block_on(store.sweep(NOW.plus(3 * HOUR), 7)).unwrap();
        }
        assert_eq!(removed, 150);
    });
}

#[test]
fn a_scan_meets_every_record_once_in_bounded_batches() {
    let store = store(shared());
    let mut all: Vec<Handle> = (0..100).map(|_| fresh()).collect();
    for handle in &all {
        assert_eq!(block_on(store.swap(&write(*handle, 0, false))), Swapped::Done);
    }
    let (mut met, mut from) = (Vec::new(), None);
    loop {
        let (handles, next) = block_on(store.scan(from, 7)).unwrap();
        assert!(handles.len() <= 7);
        met.extend(handles);
        from = next;
        if from.is_none() {
            break;
        }
    }
    all.sort();
    assert_eq!(met, all);
}

#[test]
fn a_record_of_64_kib_is_compared_and_kept_like_any_other() {
    let store = store(shared());
    let (handle, noise) = (fresh(), |seed: u32| (0..65_500_u32).map(move |at| (at.wrapping_mul(seed) >> 13) as u8));
    let big = |version: u64, seed| crate::help::record(version, &noise(seed).collect::<Vec<_>>());
    let swap = |from: u64, seed| Swap { new: Some(big(from + 1, seed)), ..write(handle, from, false) };
    for version in 0..10 {
        assert_eq!(block_on(store.swap(&swap(version, 0x9e37_79b1))), Swapped::Done);
    }
    let stale = Swap { expected: stamp(9), ..swap(9, 3) };
    let current = big(10, 0x9e37_79b1);
    assert_eq!(block_on(store.swap(&stale)), Swapped::Conflict(Some(current.clone())));
    assert_eq!(block_on(store.load(handle)), Loaded::Found(current));
}
