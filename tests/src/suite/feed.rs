//! What every store with a feed of endings has to keep to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use coatroom_core::{Announcement, Handle, Subject, Timestamp};
use coatroom_store::{Cursor, Store, block_on};

const START: Timestamp = Timestamp::from_unix_ms(crate::world::START);

/// Until then everything is kept, by whichever clock.
const FAR: Timestamp = Timestamp::from_unix_ms(4_000_000_000_000);

/// An announcement of its own.
pub fn said(n: u64) -> Announcement {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&n.to_be_bytes());
    Announcement { subject: Subject::Session(Handle::from_bytes(bytes)), at: START }
}

/// What every engine with a feed has to keep to.
pub fn holds<S: Store + 'static>(store: &Arc<S>) {
    let announced = |since, max| block_on(store.announced(since, max)).unwrap();
    let empty = announced(None, 10);
    assert_eq!((empty.announcements.len(), empty.more), (0, false));
    for n in 0..25 {
        block_on(store.announce(&said(n), FAR)).unwrap();
    }
    let (mut since, mut seen) = (Some(empty.next), Vec::new());
    loop {
        let increment = announced(since, 10);
        assert!(increment.announcements.len() <= 10);
        seen.extend(increment.announcements);
        since = Some(increment.next);
        if !increment.more {
            break;
        }
    }
    assert_eq!(seen, (0..25).map(said).collect::<Vec<_>>());
    assert_eq!(announced(since.clone(), 10).announcements, []);
    let principal = Announcement { subject: Subject::Principal("Åda".repeat(400)), at: START };
    block_on(store.announce(&principal, FAR)).unwrap();
    assert_eq!(announced(since, 10).announcements, [principal]);
    // A cursor of another feed.
    assert_eq!(announced(Some(Cursor(vec![0xff; 8])), 100).announcements.len(), 26);
    assert_eq!(announced(Some(Cursor(b"?".to_vec())), 100).announcements.len(), 26);
}

/// Many announce at once while somebody follows: nobody is stepped over.
pub fn misses_none<S: Store + 'static>(store: &Arc<S>) {
    const EACH: u64 = 200;
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let store = Arc::clone(store);
            thread::spawn(move || {
                for n in 0..EACH {
                    block_on(store.announce(&said(1_000_000 + writer * EACH + n), FAR)).unwrap();
                }
            })
        })
        .collect();
    let (mut since, mut seen) = (None, BTreeSet::new());
    let mut done = false;
    loop {
        let increment = block_on(store.announced(since, 50)).unwrap();
        seen.extend(increment.announcements.iter().map(Announcement::to_bytes));
        since = Some(increment.next);
        if !increment.more {
            if done {
                break;
            }
            done = writers.iter().all(thread::JoinHandle::is_finished);
        }
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let all = (0..4 * EACH).map(|n| said(1_000_000 + n).to_bytes());
    assert_eq!(all.filter(|one| !seen.contains(one)).count(), 0);
}

/// What is due goes, and nothing else.
pub fn forgets<S: Store + 'static>(store: &Arc<S>) {
    let later = START.plus(Duration::from_secs(10));
    block_on(store.announce(&said(7_000_001), START.plus(Duration::from_secs(9)))).unwrap();
    block_on(store.announce(&said(7_000_002), START.plus(Duration::from_secs(11)))).unwrap();
    let has = |n| block_on(store.announced(None, 10_000)).unwrap().announcements.contains(&said(n));
    block_on(store.sweep(START.plus(Duration::from_secs(8)), 10_000)).unwrap();
    assert_eq!((has(7_000_001), has(7_000_002)), (true, true));
    block_on(store.sweep(later, 10_000)).unwrap();
    assert_eq!((has(7_000_001), has(7_000_002)), (false, true));
}
