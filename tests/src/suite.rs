//! The suite that every store must pass. A store of one's own passes it by calling [`contract`] with an empty store and
//! [`counting`] with a shared one, and [`sweeping`] if it is an [`Engine`].

use std::sync::Arc;
use std::thread;

use coatroom_core::{Handle, KeyRing, Listing, Loaded, Policy, Rules, Settings, Stamp, Swap, Timestamp};
use coatroom_store::{Driver, Engine, Store, Swapped, block_on};

/// Obviously a test key, not a secret.
pub const KEYS: &str = "1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE";

const NOW: Timestamp = Timestamp::from_unix_ms(1_767_225_600_000);

/// Rules with the defaults.
pub fn rules() -> Arc<Rules> {
    Rules::new(Policy::try_from(Settings::default()).unwrap(), KeyRing::parse(KEYS).unwrap())
}

/// Any bytes with a stamp in their place: a store looks at nothing else of a record.
fn record(version: u64, commit: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![1, 0];
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.extend_from_slice(&[commit; 8]);
    bytes.extend_from_slice(rest);
    bytes
}

fn stamp(record: &[u8]) -> Option<Stamp> {
    Some(Stamp::of(record).unwrap())
}

fn swap(handle: Handle, expected: Option<Stamp>, new: Option<&[u8]>, durable: bool) -> Swap {
    let garbage_at = NOW.plus(core::time::Duration::from_secs(3600));
    Swap { handle, expected, new: new.map(<[u8]>::to_vec), durable, garbage_at, listing: Listing::Keep }
}

/// Load and swap as the documentation of [`Store`] promises them. `store` must not hold the handles used here.
pub fn contract<S: Store>(store: &S) {
    let send = |swap: &Swap| block_on(store.swap(swap));
    let load = |handle| block_on(store.load(handle));
    for durable in [false, true] {
        let handle = Handle::from_bytes([if durable { 1 } else { 2 }; 12]);
        let neighbour = Handle::from_bytes([if durable { 3 } else { 4 }; 12]);
        let [first, second, third] =
            [record(1, 1, b""), record(2, 2, &vec![7; 65_536]), record(3, 3, b"\x00\xff'\"; DROP TABLE session")];

        assert_eq!(load(handle), Loaded::Absent);
        let into_nothing = swap(handle, stamp(&first), Some(&second), durable);
        assert_eq!(send(&into_nothing), Swapped::Conflict(None), "a swap never inserts");
        assert_eq!(load(handle), Loaded::Absent);

        assert_eq!(send(&swap(handle, None, Some(&first), durable)), Swapped::Done);
        assert_eq!(load(handle), Loaded::Found(first.clone()));
        let again = swap(handle, None, Some(&second), durable);
        assert_eq!(send(&again), Swapped::Conflict(Some(first.clone())), "a create never overwrites");

        assert_eq!(send(&swap(handle, stamp(&first), Some(&second), durable)), Swapped::Done);
        assert_eq!(load(handle), Loaded::Found(second.clone()));
        assert_eq!(load(neighbour), Loaded::Absent);
        for other in [&first, &record(2, 9, b""), &record(3, 2, b""), &record(1, 2, b"")] {
            let refused = swap(handle, stamp(other), Some(&third), durable);
            let current = Swapped::Conflict(Some(second.clone()));
            assert_eq!(send(&refused), current, "version and commit id both count");
            assert_eq!(send(&swap(handle, stamp(other), None, durable)), current, "for a removal as well");
        }
        assert_eq!(load(handle), Loaded::Found(second.clone()), "a refused swap changes nothing");

        assert_eq!(send(&swap(handle, stamp(&second), None, durable)), Swapped::Done);
        assert_eq!(load(handle), Loaded::Absent);
        let late = swap(handle, stamp(&second), Some(&third), durable);
        assert_eq!(send(&late), Swapped::Conflict(None), "nothing brings a removed record back");
        assert_eq!(load(handle), Loaded::Absent);
        assert_eq!(send(&swap(handle, None, Some(&third), durable)), Swapped::Done);
        assert_eq!(load(handle), Loaded::Found(third));
    }
}

/// Threads that count on one session through the driver: every acknowledged addition is there, each once.
pub fn counting<S: Store>(store: S, threads: usize, each: usize) {
    let driver = Driver::new(rules(), store);
    let mut session = block_on(driver.open(b"")).unwrap();
    session.set("n", 0).unwrap();
    let reply = block_on(driver.close(session)).unwrap();
    let cookie = reply.set_cookies().next().unwrap().split(';').next().unwrap().to_owned();

    let acknowledged: usize = thread::scope(|scope| {
        let work = || {
            let one = || {
                let mut session = block_on(driver.open(cookie.as_bytes())).unwrap();
                session.add("n", 1).unwrap();
                usize::from(block_on(driver.close(session)).is_ok())
            };
            (0..each).map(|_| one()).sum::<usize>()
        };
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).sum()
    });
    let mut session = block_on(driver.open(cookie.as_bytes())).unwrap();
    let counted = session.get("n");
    assert_eq!(counted, Some(i64::try_from(acknowledged).unwrap().into()));
    assert_eq!(acknowledged, threads * each, "nobody had to give up");
}

/// A sweep removes garbage and nothing else, a bounded number at a time.
pub fn sweeping<E: Engine>(engine: &E) {
    let created = |number: u8, garbage_at: Timestamp| {
        let handle = Handle::from_bytes([number; 12]);
        let swap = Swap { garbage_at, ..swap(handle, None, Some(&record(1, number, b"")), false) };
        assert_eq!(block_on(Store::swap(engine, &swap)), Swapped::Done);
        handle
    };
    let hours = |hours: u64| NOW.plus(core::time::Duration::from_secs(3600 * hours));
    let garbage: Vec<Handle> = (0..100).map(|number| created(number, hours(1))).collect();
    let kept = created(200, hours(9));
    assert_eq!(engine.sweep(NOW, 1000).unwrap(), 0);
    let mut removed = 0;
    for _ in 0..200 {
        let now = engine.sweep(hours(3), 10).unwrap();
        assert!(now <= 20, "bounded: {now}");
        removed += now;
    }
    assert_eq!(removed, garbage.len());
    assert!(garbage.into_iter().all(|handle| Engine::load(engine, handle) == Loaded::Absent));
    assert!(matches!(Engine::load(engine, kept), Loaded::Found(_)));
}
