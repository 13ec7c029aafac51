//! What racing threads see of single records, written down and put into one order.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use coatroom_core::{Handle, Loaded};
use coatroom_store::{Store, Swapped, block_on};
use rand_core::TryRng;

use super::{fresh, record, stamp, swap};
use crate::linear::{Access, Event, Register, check};
use crate::rng::Fixed;

const THREADS: u64 = 4;
const RECORDS: usize = 3;

/// What several threads do to a few records of a store.
#[derive(Debug)]
pub struct Scribes<'a, S> {
    store: &'a S,
    durable: bool,
    handles: Vec<Handle>,
    clock: AtomicU64,
    /// Every record that was ever sent, by its number.
    sent: Mutex<Vec<Vec<u8>>>,
    seen: Mutex<HashMap<Handle, Vec<Event<Access>>>>,
    acknowledged: AtomicUsize,
    is_over: AtomicBool,
}

/// Threads that create, replace, remove and load the same few records at once: what each saw can be put into one order.
pub fn linearizable<S: Store>(store: &S, durable: bool, calls: usize) {
    let scribes = Scribes::new(store, durable);
    scribes.work(|| scribes.until_acknowledged(calls.div_ceil(4)));
    scribes.check();
}

impl<'a, S: Store> Scribes<'a, S> {
    pub fn new(store: &'a S, durable: bool) -> Self {
        Self {
            store,
            durable,
            handles: (0..RECORDS).map(|_| fresh()).collect(),
            clock: AtomicU64::new(0),
            sent: Mutex::new(vec![Vec::new()]),
            seen: Mutex::default(),
            acknowledged: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        }
    }

    /// Works while `meanwhile` runs on this thread.
    pub fn work(&self, meanwhile: impl FnOnce()) {
        thread::scope(|scope| {
            let _ends_also_by_panic = EndOf(&self.is_over);
            (0..THREADS).for_each(|seed| drop(scope.spawn(move || self.scribe(seed))));
            meanwhile();
        });
    }

    /// How many swaps the store has acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Waits until so many more swaps are acknowledged: the store is at work.
    pub fn until_acknowledged(&self, more: usize) {
        let before = self.acknowledged();
        super::until("swaps are acknowledged", Duration::from_secs(30), || self.acknowledged() >= before + more);
    }

    /// Loads every record once more, and puts what was seen of each into one order.
    pub fn check(self) {
        for handle in &self.handles {
            let began = self.tick();
            let last = Access::Load(self.number(block_on(self.store.load(*handle))).expect("the store is there"));
            self.note(*handle, Event { call: last, began, ended: Some(self.tick()) });
        }
        for history in self.seen.into_inner().unwrap_or_else(PoisonError::into_inner).into_values() {
            check::<Register>(None, &history).unwrap_or_else(|complaint| panic!("one record: {complaint}"));
        }
    }

    fn scribe(&self, seed: u64) {
        let mut dice = dice(seed);
        let mut known: HashMap<Handle, Option<u64>> = HashMap::new();
        while !self.is_over.load(Ordering::Relaxed) {
            let handle = self.handles[dice(RECORDS as u64) as usize];
            let base = *known.entry(handle).or_default();
            let before = match dice(8) {
                0 | 1 => self.load(handle, base),
                // From the future, for this record at least.
                2 => self.swap(handle, Some(self.sent(base)), dice(4) > 0).or(Some(base)),
                _ => self.swap(handle, base, dice(4) > 0),
            };
            match before {
                Some(before) => drop(known.insert(handle, before)),
                // Others are waiting for the same store.
                None => thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    /// What is there, as far as can be told.
    fn load(&self, handle: Handle, before: Option<u64>) -> Option<Option<u64>> {
        let began = self.tick();
        let Some(found) = self.number(block_on(self.store.load(handle))) else { return Some(before) };
        self.note(handle, Event { call: Access::Load(found), began, ended: Some(self.tick()) });
        Some(found)
    }

    /// What is there afterwards; none if that is not known.
    fn swap(&self, handle: Handle, expected: Option<u64>, replaces: bool) -> Option<Option<u64>> {
        let new = (replaces || expected.is_none()).then(|| self.sent(expected));
        let bytes = |number: Option<u64>| number.map(|number| self.locked()[number as usize].clone());
        let base = bytes(expected).and_then(|record| stamp(&record));
        let swap = swap(handle, base, bytes(new).as_deref(), self.durable);
        let began = self.tick();
        let answer = block_on(self.store.swap(&swap));
        let ended = Some(self.tick());
        let (call, ended, after) = match answer {
            Swapped::Done => (Access::Swapped(expected, new), ended, Some(new)),
            Swapped::Conflict(current) => {
                let found = current.map(|record| self.number_of(&record));
                (Access::Refused(expected, found), ended, Some(found))
            }
            Swapped::Unknown => (Access::Swapped(expected, new), None, None),
            Swapped::Unavailable => return None,
            other => panic!("an answer to another question: {other:?}"),
        };
        if let (Access::Swapped(..), Some(_)) = (&call, ended) {
            self.acknowledged.fetch_add(1, Ordering::SeqCst);
        }
        self.note(handle, Event { call, began, ended });
        after
    }

    /// The number of a new record that may follow another.
    fn sent(&self, base: Option<u64>) -> u64 {
        let mut sent = self.locked();
        let number = sent.len() as u64;
        let version = base.and_then(|base| stamp(&sent[base as usize])).map_or(0, |stamp| version(stamp.as_bytes()));
        sent.push(record(version + 1, number, &number.to_be_bytes()));
        number
    }

    fn number(&self, loaded: Loaded) -> Option<Option<u64>> {
        match loaded {
            Loaded::Found(record) => Some(Some(self.number_of(&record))),
            Loaded::Absent => Some(None),
            Loaded::Unavailable => None,
        }
    }

    fn number_of(&self, found: &[u8]) -> u64 {
        let number = found.last_chunk().map(|bytes| u64::from_be_bytes(*bytes)).expect("a record of ours");
        let sent = self.locked();
        assert_eq!(sent.get(number as usize).map(Vec::as_slice), Some(found), "a record comes back as it was sent");
        number
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn note(&self, handle: Handle, event: Event<Access>) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).entry(handle).or_default().push(event);
    }
}

/// Says that it is over when dropped.
pub(super) struct EndOf<'a>(pub(super) &'a AtomicBool);

impl Drop for EndOf<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn version(stamp: &[u8; 16]) -> u64 {
    u64::from_be_bytes(*stamp.first_chunk().expect("a stamp begins with the version"))
}

/// Numbers below what is asked for, the same for each seed.
pub(super) fn dice(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut rng = Fixed::new(seed);
    move |below| rng.try_next_u64().unwrap() % below
}
