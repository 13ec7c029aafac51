use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use coatroom_core::{Entry, Handle, Loaded, Swap, Timestamp};
use coatroom_store::{Store, Swapped, block_on};

use super::{fresh, hours, log_in, now, record, somebody, stamp, swap};

/// Load and swap as the documentation of [`Store`] promises them.
pub fn contract<S: Store>(store: &S) {
    let send = |swap: &Swap| block_on(store.swap(swap));
    let load = |handle| block_on(store.load(handle));
    for durable in [false, true] {
        let (handle, neighbour) = (fresh(), fresh());
        let [first, second, third] =
            [record(1, 1, b""), record(2, 2, &vec![7; 65_536]), record(3, 3, b"\x00\xff'\"; DROP TABLE session")];

        assert_eq!(load(handle), Loaded::Absent);
        let into_nothing = swap(handle, stamp(&first), Some(&second), durable);
        assert_eq!(send(&into_nothing), Swapped::Conflict(None), "a swap never inserts");
        let of_nothing = swap(handle, stamp(&first), None, durable);
        assert_eq!(send(&of_nothing), Swapped::Conflict(None), "what is not there is not removed");
        assert_eq!(load(handle), Loaded::Absent);

        assert_eq!(send(&swap(handle, None, Some(&first), durable)), Swapped::Done);
        assert_eq!(load(handle), Loaded::Found(first.clone()));
        for again in [&first, &second] {
            let again = swap(handle, None, Some(again), durable);
            assert_eq!(send(&again), Swapped::Conflict(Some(first.clone())), "a create never overwrites");
        }

        assert_eq!(send(&swap(handle, stamp(&first), Some(&second), durable)), Swapped::Done);
        assert_eq!(load(handle), Loaded::Found(second.clone()));
        assert_eq!(load(neighbour), Loaded::Absent);
        let past = [first.clone(), record(1, 2, b"")];
        let future = [record(3, 2, b""), record(u64::MAX, 2, b""), record(1 << 40, 2, b"")];
        let same_number = [record(2, 9, b""), record(2, u64::MAX, b"")];
        for other in past.iter().chain(&future).chain(&same_number) {
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
    stamps_are_bytes(store);
}

/// Stamps are compared as bytes, not as text nor as numbers that a store may round.
fn stamps_are_bytes<S: Store>(store: &S) {
    for bits in 0..64 {
        let handle = fresh();
        let stored = record(1 << bits, 1 << bits, b"");
        assert_eq!(block_on(store.swap(&swap(handle, None, Some(&stored), false))), Swapped::Done);
        for other in [record((1 << bits) ^ 1, 1 << bits, b""), record(1 << bits, (1 << bits) ^ 1, b"")] {
            let refused = swap(handle, stamp(&other), None, false);
            assert_eq!(block_on(store.swap(&refused)), Swapped::Conflict(Some(stored.clone())));
        }
        assert_eq!(block_on(store.swap(&swap(handle, stamp(&stored), None, false))), Swapped::Done);
    }
}

/// A scan meets every record that is there throughout, whatever comes and goes meanwhile, and it ends.
pub fn scanning<S: Store>(store: &S) {
    let create = |handle| assert_eq!(block_on(store.swap(&created(handle))), Swapped::Done);
    let kept: HashSet<Handle> = (0..300).map(|_| fresh()).collect();
    kept.iter().for_each(|handle| create(*handle));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let handle = fresh();
                create(handle);
                let removed = swap(handle, stamp(&record(1, 1, b"")), None, false);
                assert_eq!(block_on(store.swap(&removed)), Swapped::Done);
            }
        });
        for max in [1000, 20] {
            let (mut missing, mut from, mut batches) = (kept.clone(), None, 0);
            loop {
                let (handles, next) = block_on(store.scan(from, max)).expect("the store is there");
                missing.retain(|handle| !handles.contains(handle));
                batches += 1;
                assert!(batches < 20_000, "a scan ends");
                from = next;
                if from.is_none() {
                    break;
                }
            }
            assert!(missing.is_empty(), "with up to {max} at a time, {} of {} were missed", missing.len(), kept.len());
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

fn created(handle: Handle) -> Swap {
    swap(handle, None, Some(&record(1, 1, b"")), false)
}

/// A sweep removes garbage and nothing else, a bounded number at a time; also what the index says of sessions that are
/// over. A store that removes garbage by itself has nothing to sweep.
pub fn sweeping<S: Store>(store: &S) {
    let earlier = |span| Timestamp::from_unix_ms(now().as_unix_ms() - hours(span).as_millis() as u64);
    let later = now().plus(hours(9));
    let create = |garbage_at: Timestamp| {
        let handle = fresh();
        let swap = Swap { garbage_at, ..created(handle) };
        assert_eq!(block_on(store.swap(&swap)), Swapped::Done);
        handle
    };
    let is_there = |handle: &Handle| matches!(block_on(store.load(*handle)), Loaded::Found(_));
    let garbage: Vec<Handle> = (0..100).map(|_| create(earlier(3))).collect();
    let sweeps_itself = !is_there(&garbage[0]);
    let mut kept: Vec<Handle> = (0..20).map(|_| create(later)).collect();
    if !sweeps_itself {
        let renewed = create(earlier(3));
        let second = record(2, 2, b"");
        let again = Swap { garbage_at: later, ..swap(renewed, stamp(&record(1, 1, b"")), Some(&second), false) };
        assert_eq!(block_on(store.swap(&again)), Swapped::Done);
        kept.push(renewed);
    }
    let principal = somebody("over");
    let (over, goes_on) = (fresh(), fresh());
    for (handle, until) in [(over, earlier(3)), (goes_on, later)] {
        let entry = Entry { principal: principal.clone(), handle, until, now: earlier(4), at_most: None, names: 0 };
        log_in(store, &entry, Swap { garbage_at: until, ..created(handle) }).unwrap();
    }

    let sweep = |now, max| block_on(store.sweep(now, max)).expect("the store is there");
    sweep(earlier(5), 1000);
    assert!(sweeps_itself || garbage.iter().all(is_there), "not garbage yet");
    for _ in 0..500 {
        let removed = sweep(earlier(1), 10);
        assert!(removed <= 20, "bounded: {removed}");
    }
    assert!(!garbage.iter().any(is_there), "garbage is swept");
    assert!(kept.iter().all(is_there), "and nothing else");
    let sessions = block_on(store.sessions(&principal)).unwrap();
    assert!(sessions.contains(&goes_on));
    assert!(sweeps_itself || sessions == [goes_on], "an entry that is over is swept");
}
