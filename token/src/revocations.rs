//! What has ended, in a verifier: small enough to be kept whole, and brought up to date by increments.

use core::cmp::Ordering;
use core::fmt;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use coatroom_core::{Announcement, Handle, Subject, Timestamp};

use crate::claims::Claims;

/// Bits of a handle that choose its lines. Handles are random, so shelves fill alike.
const SHELF_BITS: u32 = 15;
const SHELVES: usize = 1 << SHELF_BITS;
/// Steps on a shelf, after which its lines are halved.
const FEW: usize = 64;
/// Shelves that are tidied with each increment.
const TIDIED: usize = 512;

/// Ended sessions and barred principals, as far as this verifier has heard. Share one between all threads.
pub struct Revocations {
    kept: Duration,
    known: RwLock<Known>,
}

struct Known {
    shelves: Vec<Vec<Line>>,
    /// By the second up to which their tokens are refused.
    principals: HashMap<Box<str>, u32>,
    up_to_date: Option<Timestamp>,
    tidied: usize,
}

/// A handle, and the second up to which its tokens are refused: 16 bytes, sorted by handle.
#[derive(Clone, Copy)]
struct Line {
    handle: [u8; 12],
    until: [u8; 4],
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
            Known { shelves: vec![Vec::new(); SHELVES], principals: HashMap::new(), up_to_date: None, tidied: 0 };
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
        self.read().shelves.iter().map(Vec::len).sum()
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
        let lines: usize = known.shelves.iter().map(Vec::capacity).sum();
        let shelves = known.shelves.capacity().saturating_mul(size_of::<Vec<Line>>());
        lines.saturating_mul(size_of::<Line>()).saturating_add(shelves)
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
        let handle = *handle.as_bytes();
        let Some(lines) = self.shelves.get_mut(shelf_of(handle)) else { return };
        match place_of(lines, handle) {
            Ok(at) => {
                if let Some(line) = lines.get_mut(at) {
                    line.until = until.max(u32::from_be_bytes(line.until)).to_be_bytes();
                }
            }
            Err(at) => {
                // Grown by little at a time: a shelf that doubled would waste half of itself.
                if lines.len() == lines.capacity() {
                    lines.reserve_exact((lines.len() >> 4).max(4));
                }
                lines.insert(at, Line { handle, until: until.to_be_bytes() });
            }
        }
    }

    fn until(&self, handle: Handle) -> Option<u32> {
        let handle = *handle.as_bytes();
        let lines = self.shelves.get(shelf_of(handle))?;
        let at = place_of(lines, handle).ok()?;
        lines.get(at).map(|line| u32::from_be_bytes(line.until))
    }

    /// Forgets what is older than `oldest`: no token that could be refused by it is alive.
    // spec: TOKEN-14 7844
    fn tidy(&mut self, oldest: u32) {
        for _ in 0..TIDIED {
            self.tidied = self.tidied.wrapping_add(1) & (SHELVES - 1);
            let Some(lines) = self.shelves.get_mut(self.tidied) else { return };
            lines.retain(|line| u32::from_be_bytes(line.until) >= oldest);
            if lines.capacity() > lines.len().saturating_mul(2).saturating_add(8) {
                lines.shrink_to_fit();
            }
        }
        if self.tidied & (SHELVES / 16 - 1) < TIDIED {
            self.principals.retain(|_, until| *until >= oldest);
        }
    }
}

fn shelf_of(handle: [u8; 12]) -> usize {
    let [a, b, ..] = handle;
    usize::from(u16::from_be_bytes([a, b]) >> (u16::BITS - SHELF_BITS))
}

/// Where a handle is among sorted lines, or would be. They are random, so it is within a few lines of where its share of all
/// handles of the shelf puts it: one or two reads of memory, where halving takes one for each half.
fn place_of(lines: &[Line], handle: [u8; 12]) -> Result<usize, usize> {
    let [_, b, c, d, e, ..] = handle;
    let within = u32::from_be_bytes([b, c, d, e]).wrapping_shl(SHELF_BITS - u8::BITS);
    let share = u64::from(within).saturating_mul(u64::try_from(lines.len()).unwrap_or(u64::MAX)) >> u32::BITS;
    let mut at = usize::try_from(share).unwrap_or_default();
    for _ in 0..FEW {
        let before = at.checked_sub(1).and_then(|before| Some(lines.get(before)?.handle.cmp(&handle)));
        match (before, lines.get(at).map(|line| line.handle.cmp(&handle))) {
            (_, Some(Ordering::Equal)) => return Ok(at),
            (_, Some(Ordering::Less)) => at = at.saturating_add(1),
            (Some(Ordering::Greater | Ordering::Equal), _) => at = at.saturating_sub(1),
            _ => return Err(at),
        }
    }
    lines.binary_search_by(|line| line.handle.cmp(&handle))
}

/// Whole seconds, as tokens count them.
fn second(time: Timestamp) -> u32 {
    u32::try_from(time.as_unix_ms().checked_div(1000).unwrap_or_default()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Line, place_of};

    #[test]
    fn a_place_is_found_however_the_handles_of_a_shelf_are_spread() {
        for spread in [1_u64, 7919, 1 << 40, 0x000f_ffff_ffff_ffff / 250] {
            let handle = |number: u64| {
                let mut handle = [0; 12];
                handle[..8].copy_from_slice(&(number * spread).to_be_bytes());
                handle
            };
            let lines: Vec<_> = (0..250).map(|number| Line { handle: handle(2 * number), until: [0; 4] }).collect();
            let lines = if spread > 1 << 50 { &lines[..125] } else { &lines[..] };
            for number in 0..lines.len() as u64 * 2 + 3 {
                let expected = lines.binary_search_by(|line| line.handle.cmp(&handle(number)));
                assert_eq!(place_of(lines, handle(number)), expected, "{spread} {number}");
            }
            assert_eq!(place_of(&[], handle(1)), Err(0));
        }
    }
}
