//! What has ended, in a verifier: small enough to be kept whole, and brought up to date by increments.

use core::fmt;
use core::mem::{replace, swap};
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use coatroom_core::{Announcement, Handle, Subject, Timestamp};

use crate::claims::Claims;

/// One for each first byte of a handle. Handles are random, so shelves fill alike.
const SHELVES: usize = 256;
/// Shelves that are tidied with each increment.
const TIDIED: usize = 4;

/// Ended sessions and barred principals, as far as this verifier has heard. Share one between all threads.
pub struct Revocations {
    kept: Duration,
    known: RwLock<Known>,
}

struct Known {
    shelves: Vec<Shelf>,
    /// By the second up to which their tokens are refused.
    principals: HashMap<Box<str>, u32>,
    up_to_date: Option<Timestamp>,
    tidied: usize,
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations").field("sessions", &self.len()).finish_non_exhaustive()
    }
}

impl Revocations {
    /// Nothing is known yet, and so nothing is up to date. What no live token can concern any more is forgotten: `lifetime`
    /// and `leeway` are those of the verifier.
    #[must_use]
    pub fn new(lifetime: Duration, leeway: Duration) -> Self {
        let known =
            Known { shelves: vec![Shelf::default(); SHELVES], principals: HashMap::new(), up_to_date: None, tidied: 0 };
        Self { kept: lifetime.saturating_add(leeway), known: RwLock::new(known) }
    }

    /// Takes in an increment of the feed. Doing it twice is doing it once, and the order does not matter.
    ///
    /// `asked_at` is what the clock read *before* the store was asked, if with this increment all is known that was announced
    /// until then; none if there is more to be fetched.
    // spec: TOKEN-13 0b79
    pub fn learn<'a>(
        &self,
        increment: impl IntoIterator<Item = &'a Announcement>,
        asked_at: Option<Timestamp>,
        now: Timestamp,
    ) {
        let mut known = self.write();
        for announcement in increment {
            let until = second(announcement.at);
            match &announcement.subject {
                Subject::Session(handle) => known.end(*handle, until),
                Subject::Principal(name) => {
                    let place = known.principals.entry(name.as_str().into()).or_default();
                    *place = until.max(*place);
                }
            }
        }
        known.up_to_date = known.up_to_date.max(asked_at);
        known.tidy(second(now.minus(self.kept)));
    }

    /// When everything that was announced had been heard, by the clock that [`Revocations::learn`] was told.
    pub fn up_to_date(&self) -> Option<Timestamp> {
        self.read().up_to_date
    }

    /// How many ended sessions are known.
    pub fn len(&self) -> usize {
        self.read().shelves.iter().map(|shelf| shelf.held).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a session has ended, as far as its tokens issued at `issued_at` are concerned.
    pub fn has_ended(&self, handle: Handle, issued_at: Timestamp) -> bool {
        self.read().until(handle).is_some_and(|until| second(issued_at) <= until)
    }

    /// Bytes of memory that the handles take.
    pub fn bytes(&self) -> usize {
        let known = self.read();
        let lines: usize = known.shelves.iter().map(|shelf| shelf.lines.capacity()).sum();
        let shelves = known.shelves.capacity().saturating_mul(size_of::<Shelf>());
        lines.saturating_mul(size_of::<u128>()).saturating_add(shelves)
    }

    /// Whether the token is of a session or principal that has ended since it was issued, or in the same second.
    // spec: TOKEN-12 c154
    pub(crate) fn refuse(&self, claims: &Claims) -> bool {
        if planted!(RevocationsUnread) {
            return false;
        }
        let issued_at = second(claims.issued_at);
        let known = self.read();
        let covers = |until: u32| {
            if planted!(SameSecondPasses) { issued_at < until } else { issued_at <= until }
        };
        known.until(claims.handle).is_some_and(covers)
            || (!known.principals.is_empty() && known.principals.get(&*claims.principal).copied().is_some_and(covers))
    }

    /// Whether all that had ended `within` before `now` is known. A clock that went back is no proof of it.
    // spec: TOKEN-13 0b79
    pub(crate) fn is_up_to_date(&self, now: Timestamp, within: Duration) -> bool {
        let Some(up_to_date) = self.read().up_to_date else { return planted!(NeverHeardIsFresh) };
        now.since(up_to_date) <= within && up_to_date <= now.plus(within)
    }

    /// No code that can panic runs under the lock, so a poisoned one holds whole lines all the same.
    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn end(&mut self, handle: Handle, until: u32) {
        if let Some(shelf) = self.shelves.get_mut(shelf_of(handle)) {
            shelf.end(handle, until);
        }
    }

    fn until(&self, handle: Handle) -> Option<u32> {
        self.shelves.get(shelf_of(handle))?.until(handle)
    }

    /// Forgets what is older than `oldest`: no token that could be refused by it is alive.
    // spec: TOKEN-14 7844
    fn tidy(&mut self, oldest: u32) {
        for _ in 0..TIDIED {
            self.tidied = self.tidied.wrapping_add(1) & (SHELVES - 1);
            let Some(next) = self.shelves.get_mut(self.tidied) else { return };
            next.forget(oldest);
        }
        if self.tidied & (SHELVES / 16 - 1) < TIDIED {
            self.principals.retain(|_, until| *until >= oldest);
        }
    }
}

fn shelf_of(handle: Handle) -> usize {
    let [first, ..] = *handle.as_bytes();
    usize::from(first)
}

/// Lines of a handle and the second up to which its tokens are refused, in 16 bytes: as numbers they are in the order of
/// handles. Each lies at the place that its handle's share of all handles points to, or as near behind it as there was room,
/// so that one read of memory finds it. 0 is no line.
#[derive(Clone, Default)]
struct Shelf {
    lines: Vec<u128>,
    /// To which handles point; what found no room lies behind them.
    places: usize,
    held: usize,
}

impl Shelf {
    fn end(&mut self, handle: Handle, until: u32) {
        let line = line(handle, until.max(1));
        let (mut at, found) = self.find(handle);
        if found {
            if let Some(known) = self.lines.get_mut(at) {
                *known = line.max(*known);
            }
            return;
        }
        // Seven eighths full at the most, and grown by little at a time: one that doubled would waste half of itself.
        if self.held.saturating_mul(8) >= self.places.saturating_mul(7) {
            self.spread(self.places.saturating_add(self.places >> 4).saturating_add(8), 0);
            (at, _) = self.find(handle);
        }
        self.insert(at, line);
    }

    fn until(&self, handle: Handle) -> Option<u32> {
        match self.find(handle) {
            (at, true) => self.lines.get(at).map(|line| until(*line)),
            _ => None,
        }
    }

    fn forget(&mut self, oldest: u32) {
        let kept = self.lines.iter().filter(|line| **line != 0 && until(**line) >= oldest).count();
        if kept < self.held {
            self.spread(kept.saturating_add(kept >> 2), oldest);
        }
    }

    /// Lays the lines that are not older out anew.
    fn spread(&mut self, places: usize, oldest: u32) {
        let mut lines = Vec::new();
        lines.reserve_exact(places.saturating_add(16));
        lines.resize(places, 0);
        let before = replace(self, Self { lines, places, held: 0 });
        let mut end = 0;
        for line in before.lines.into_iter().filter(|line| *line != 0 && until(*line) >= oldest) {
            // They come in their order, so there is room behind the one before.
            end = self.place_of(line).max(end);
            self.insert(end, line);
            end = end.saturating_add(1);
        }
    }

    /// Where the first line lies that is not before this handle's, or could lie; and whether it is this handle's.
    fn find(&self, handle: Handle) -> (usize, bool) {
        let first = line(handle, 0);
        let mut at = self.place_of(first);
        loop {
            match self.lines.get(at) {
                Some(&line) if line != 0 && line < first => at = at.saturating_add(1),
                found => {
                    // Of the handle that is all zeros, no line would look like one.
                    let is_its = |line: &u128| *line != 0 && line >> u32::BITS == first >> u32::BITS;
                    return (at, found.is_some_and(is_its));
                }
            }
        }
    }

    /// What lies there moves on, up to the first free place.
    fn insert(&mut self, at: usize, mut line: u128) {
        self.held = self.held.saturating_add(1);
        for place in self.lines.iter_mut().skip(at) {
            swap(place, &mut line);
            if line == 0 {
                return;
            }
        }
        if self.lines.len() == self.lines.capacity() {
            self.lines.reserve_exact(16);
        }
        self.lines.push(line);
    }

    /// By the four bytes after the one that chose the shelf.
    fn place_of(&self, line: u128) -> usize {
        let [_, b, c, d, e, ..] = line.to_be_bytes();
        let places = u64::try_from(self.places).unwrap_or(u64::MAX);
        let place = u64::from(u32::from_be_bytes([b, c, d, e])).saturating_mul(places) >> u32::BITS;
        usize::try_from(place).unwrap_or_default()
    }
}

fn line(handle: Handle, until: u32) -> u128 {
    let mut bytes = [0; 16];
    let (first, last) = bytes.split_at_mut(12);
    first.copy_from_slice(handle.as_bytes());
    last.copy_from_slice(&until.to_be_bytes());
    u128::from_be_bytes(bytes)
}

fn until(line: u128) -> u32 {
    let [.., a, b, c, d] = line.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// Whole seconds, as tokens count them.
fn second(time: Timestamp) -> u32 {
    u32::try_from(time.as_unix_ms().checked_div(1000).unwrap_or_default()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use coatroom_core::Handle;

    use super::Shelf;

    #[test]
    fn a_line_is_found_however_the_handles_of_a_shelf_are_spread() {
        for spread in [1_u64, 7919, 1 << 40, 0x00ff_ffff_ffff_ffff / 500] {
            let handle = |number: u64| {
                let mut handle = [0; 12];
                handle[..8].copy_from_slice(&(number * spread).to_be_bytes());
                Handle::from_bytes(handle)
            };
            let (mut shelf, mut expected) = (Shelf::default(), BTreeMap::new());
            for step in 0..750 {
                // Even ones, in no order and 0 not first, some of them twice; some seconds go back.
                let (number, until) = ((step * 37 + 11) % 250 * 2, 10 + (step * 31 % 97) as u32);
                shelf.end(handle(number), until);
                let known = expected.entry(number).or_insert(until);
                *known = until.max(*known);
                assert_eq!(shelf.held, expected.len());
            }
            for oldest in [0, 20, 60, 106, 107] {
                shelf.forget(oldest);
                expected.retain(|_, until| *until >= oldest);
                assert_eq!(shelf.held, expected.len());
                for number in 0..500 {
                    let found = shelf.until(handle(number));
                    assert_eq!(found, expected.get(&number).copied(), "{spread} {oldest} {number}");
                }
            }
            assert_eq!(shelf.lines.len(), 0);
        }
    }

    #[test]
    fn the_handle_of_zeros_is_as_any_other() {
        let (zeros, other) = (Handle::from_bytes([0; 12]), Handle::from_bytes([0xFF; 12]));
        let mut shelf = Shelf::default();
        shelf.end(other, 7);
        assert_eq!(shelf.until(zeros), None);
        shelf.end(zeros, 8);
        assert_eq!((shelf.held, shelf.until(zeros), shelf.until(other)), (2, Some(8), Some(7)));
    }
}
