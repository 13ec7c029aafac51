//! Choices that follow from a seed.

use core::time::Duration;

use coatroom_tests::rng::Fixed;
use rand_core::TryRng;

/// One stream of choices.
#[derive(Clone, Debug)]
pub struct Dice(Fixed);

impl Dice {
    pub fn new(seed: u64, stream: u64) -> Self {
        Self(Fixed::new(seed.rotate_left(17) ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93)))
    }

    pub fn word(&mut self) -> u64 {
        let Ok(word) = self.0.try_next_u64();
        word
    }

    /// From 0 to `n`, without it.
    pub fn below(&mut self, n: u64) -> u64 {
        self.word() % n.max(1)
    }

    /// An index into something of this length.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}
