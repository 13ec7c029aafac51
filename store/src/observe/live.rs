//! About how many live sessions a process has seen: a sample of them, by their handles.
//!
//! Handles are random, so those that begin with `n` zero bits are one in `2^n`, evenly drawn. While there is room, `n` is 0
//! and the number is exact; whenever there is none, `n` grows. Each session of the sample is known with the moment at which
//! its limits pass, so it leaves when it ends, and also when nobody comes back.

use core::time::Duration;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use coatroom_core::Handle;

/// Sessions in the sample at most: about 200 KiB, for an error of about 2 %.
const MOST: usize = 4096;
/// The number is made up at most so often.
const EVERY: Duration = Duration::from_secs(1);

/// The sample of a process.
#[derive(Debug, Default)]
pub(super) struct Live {
    zeros: AtomicU32,
    sample: Mutex<Sample>,
}

#[derive(Debug, Default)]
struct Sample {
    until: HashMap<Handle, Duration>,
    told: Option<Duration>,
}

impl Live {
    /// At `now` sessions ended, and perhaps one was seen live, and is until its limits pass if it is not used again. What is
    /// to be told, if it is time. Waits for nobody: whoever comes at the same moment is missed.
    pub(super) fn follow(
        &self,
        ended: impl Iterator<Item = Handle>,
        seen: Option<(Handle, Duration)>,
        now: Duration,
    ) -> Option<f64> {
        let seen = seen.filter(|(handle, _)| self.samples(*handle));
        let mut ended = ended.filter(|handle| self.samples(*handle)).peekable();
        if seen.is_none() && ended.peek().is_none() {
            return None;
        }
        let mut sample = self.sample.try_lock().ok()?;
        sample.until.extend(seen);
        for handle in ended {
            sample.until.remove(&handle);
        }
        self.tell(&mut sample, now)
    }

    fn tell(&self, sample: &mut Sample, now: Duration) -> Option<f64> {
        let is_time = sample.told.is_none_or(|told| now.saturating_sub(told) >= EVERY);
        if !is_time && sample.until.len() <= MOST {
            return None;
        }
        sample.until.retain(|_, until| *until > now);
        while sample.until.len() > MOST {
            self.zeros.fetch_add(1, Ordering::Relaxed);
            sample.until.retain(|handle, _| self.samples(*handle));
        }
        if !is_time {
            return None;
        }
        sample.told = Some(now);
        let sampled = f64::from(u32::try_from(sample.until.len()).unwrap_or(u32::MAX));
        Some(sampled * f64::from(self.zeros.load(Ordering::Relaxed)).exp2())
    }

    fn samples(&self, handle: Handle) -> bool {
        let [a, b, c, d, ..] = *handle.as_bytes();
        u32::from_be_bytes([a, b, c, d]).leading_zeros() >= self.zeros.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    /// Handles as even as random ones.
    fn handle(n: u32) -> Handle {
        let mixed = u64::from(n).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&mixed.to_be_bytes());
        bytes[8..].copy_from_slice(&n.to_be_bytes());
        Handle::from_bytes(bytes)
    }

    fn seen(live: &Live, handle: Handle, until: Duration, now: Duration) -> Option<f64> {
        live.follow(core::iter::empty(), Some((handle, until)), now)
    }

    #[test]
    fn a_few_sessions_are_counted_exactly_once_each_until_they_end_or_their_limits_pass() {
        let (live, second) = (Live::default(), Duration::from_secs(1));
        (0..3).for_each(|n| _ = seen(&live, handle(n), HOUR, Duration::ZERO));
        assert_eq!(seen(&live, handle(0), HOUR + second, second), Some(3.0));
        assert_eq!(seen(&live, handle(1), HOUR, second), None, "told just now");
        assert_eq!(live.follow([handle(2)].into_iter(), Some((handle(2), HOUR)), second * 2), Some(2.0));
        assert_eq!(seen(&live, handle(5), HOUR * 3, HOUR), Some(2.0), "one is over, and one was used a second later");
    }

    #[test]
    fn many_sessions_are_estimated_within_a_tenth_in_bounded_room() {
        let live = Live::default();
        (0..200_000).for_each(|n| _ = seen(&live, handle(n), HOUR, Duration::ZERO));
        let of_sample = |mut from: core::ops::Range<u32>| handle(from.find(|n| live.samples(handle(*n))).unwrap());
        let told = seen(&live, of_sample(0..200_000), HOUR, Duration::from_secs(1)).unwrap();
        assert!((180_000.0..220_000.0).contains(&told), "{told}");
        assert!(live.sample.lock().unwrap().until.len() <= MOST);
        let told = live.follow((0..100_000).map(handle), None, Duration::from_secs(2)).unwrap();
        assert!((90_000.0..110_000.0).contains(&told), "{told}");
    }
}
