//! The calls that nearly every exchange makes, over a border that carries numbers and bytes alone: that of `jni`.
//!
//! A number stands for an object. It is given once, so one whose object is gone, or that never was one, finds nothing. What
//! comes back is what uniffi would write, behind a byte that says whether it was done ([`DONE`]), [`REFUSED`], or [`FAILED`]:
//! with a panic, which ends here.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use coatroom_core::Error;
use uniffi::{Lift, Lower};

use crate::UniFfiTag;
use crate::coatroom::{Coatroom, Drivers};
use crate::error::Refusal;
use crate::exchange::Exchange;
use crate::wire::{Begun, Head, Step};

/// What the call gives follows.
pub const DONE: u8 = 0;
/// The [`Refusal`] follows.
pub const REFUSED: u8 = 1;
/// The message of a panic follows.
pub const FAILED: u8 = 2;

/// Room for what most calls give.
const USUAL_BYTES: usize = 512;

static COATROOMS: Numbers<Weak<Coatroom>> = Numbers::new();
static EXCHANGES: Numbers<Arc<Exchange>> = Numbers::new();

/// As [`Coatroom::begin`], over a store of this library: the view, and the number of the exchange.
pub fn begin(coatroom: i64, cookies: &[u8], serial: bool) -> Vec<u8> {
    coded(|bytes| {
        let coatroom = COATROOMS.get(coatroom).and_then(|coatroom| coatroom.upgrade()).ok_or_else(closed)?;
        if matches!(coatroom.inner.drivers, Drivers::Away(_)) {
            return Err(elsewhere());
        }
        let Begun { exchange, step: Step::Open { view } } = coatroom.begin(cookies, serial)? else {
            return Err(elsewhere());
        };
        write(view, bytes);
        write(EXCHANGES.put(exchange), bytes);
        Ok(())
    })
}

/// As [`Exchange::apply`]: the view.
pub fn apply(exchange: i64, edits: &[u8]) -> Vec<u8> {
    coded(|bytes| {
        write(exchange_numbered(exchange)?.apply(edits)?, bytes);
        Ok(())
    })
}

/// As [`Exchange::commit`], and the number is gone whatever it comes to: the step. No bytes are an empty [`Head`].
pub fn commit(exchange: i64, edits: &[u8], head: &[u8]) -> Vec<u8> {
    coded(|bytes| {
        let exchange = EXCHANGES.take(exchange).ok_or(Error::WrongStage)?;
        let head = if head.is_empty() { Head::default() } else { read_head(head)? };
        write(exchange.commit(edits, head)?, bytes);
        Ok(())
    })
}

/// Lets go of an exchange, if it is there still: nothing is written.
pub fn drop(exchange: i64) {
    _ = EXCHANGES.take(exchange);
}

/// The exchange with a number, for the calls that few make.
#[uniffi::export]
pub fn exchange_numbered(exchange: i64) -> Result<Arc<Exchange>, Refusal> {
    EXCHANGES.get(exchange).ok_or_else(|| Error::WrongStage.into())
}

/// How many exchanges have a number: begun, and neither committed nor dropped.
#[uniffi::export]
pub fn exchanges_numbered() -> u64 {
    EXCHANGES.len()
}

#[uniffi::export]
impl Coatroom {
    /// The number by which [`begin`] knows it as long as it lives.
    pub fn number(self: Arc<Self>) -> i64 {
        *self.number.get_or_init(|| COATROOMS.put(Arc::downgrade(&self)))
    }
}

impl Drop for Coatroom {
    fn drop(&mut self) {
        if let Some(number) = self.number.get() {
            _ = COATROOMS.take(*number);
        }
    }
}

/// Runs a call; what it gives, refuses or fails with comes as bytes.
pub(crate) fn coded(call: impl FnOnce(&mut Vec<u8>) -> Result<(), Refusal>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    bytes.push(DONE);
    let outcome = catch_unwind(AssertUnwindSafe(|| call(&mut bytes)));
    if let Ok(Ok(())) = outcome {
        return bytes;
    }
    bytes.clear();
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(refusal)) => {
            bytes.push(REFUSED);
            write(refusal, &mut bytes);
        }
        Err(panic) => {
            bytes.push(FAILED);
            write(message(&*panic), &mut bytes);
        }
    }
    bytes
}

fn write<T: Lower<UniFfiTag>>(value: T, bytes: &mut Vec<u8>) {
    T::write(value, bytes);
}

fn read_head(mut bytes: &[u8]) -> Result<Head, Refusal> {
    let head = <Head as Lift<UniFfiTag>>::try_read(&mut bytes);
    head.map_err(|_| Refusal::border("the head is not one: write it with this library"))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned())
}

fn elsewhere() -> Refusal {
    Refusal::border("a store of the application is asked by other calls")
}

fn closed() -> Refusal {
    Refusal::border("this Coatroom is closed: close it when no request can come any more")
}

/// Objects by number, in parts that are locked apart. Numbers begin with 1 and are never given again.
pub(crate) struct Numbers<T> {
    last: AtomicI64,
    parts: [Mutex<BTreeMap<i64, T>>; PARTS],
}

const PARTS: usize = 16;

impl<T: Clone> Numbers<T> {
    pub(crate) const fn new() -> Self {
        Self { last: AtomicI64::new(0), parts: [const { Mutex::new(BTreeMap::new()) }; PARTS] }
    }

    pub(crate) fn put(&self, object: T) -> i64 {
        let number = self.last.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        self.part(number).insert(number, object);
        number
    }

    fn get(&self, number: i64) -> Option<T> {
        self.part(number).get(&number).cloned()
    }

    pub(crate) fn take(&self, number: i64) -> Option<T> {
        self.part(number).remove(&number)
    }

    pub(crate) fn len(&self) -> u64 {
        let lens = self.parts.iter().map(|part| part.lock().unwrap_or_else(PoisonError::into_inner).len());
        u64::try_from(lens.sum::<usize>()).unwrap_or(u64::MAX)
    }

    fn part(&self, number: i64) -> MutexGuard<'_, BTreeMap<i64, T>> {
        let [first, ..] = &self.parts;
        let at = usize::from(number.to_le_bytes()[0]) % PARTS;
        self.parts.get(at).unwrap_or(first).lock().unwrap_or_else(PoisonError::into_inner)
    }
}
