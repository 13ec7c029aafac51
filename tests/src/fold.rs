//! Fingerprints of 128 bits, fast enough to be taken at every step: two lanes of multiply-and-fold under different
//! constants. Nobody chooses the bytes that go in, so no more is asked than that chance makes no two of them equal.

use std::hash::{Hash, Hasher};

#[derive(Clone, Copy, Debug)]
pub struct Fold([u64; 2]);

const KEYS: [[u64; 2]; 2] =
    [[0x2d35_8dcc_aa6c_78a5, 0x8bb8_4b93_962e_acc9], [0x4b33_a62e_d433_d4a3, 0x4d5a_2da5_1de1_aa47]];

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

impl Default for Fold {
    fn default() -> Self {
        Self([0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db])
    }
}

impl Fold {
    pub fn of(value: &(impl Hash + ?Sized)) -> u128 {
        let mut fold = Self::default();
        value.hash(&mut fold);
        fold.whole()
    }

    fn add(&mut self, a: u64, b: u64) {
        for (lane, keys) in self.0.iter_mut().zip(KEYS) {
            *lane = fold(a ^ keys[0] ^ lane.rotate_left(23), b ^ keys[1] ^ *lane);
        }
    }

    pub fn whole(mut self) -> u128 {
        self.add(0x5bd1_e995, 0x1b87_3593);
        self.add(self.0[1], self.0[0]);
        u128::from(self.0[0]) << 64 | u128::from(self.0[1])
    }
}

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.whole() as u64
    }

    fn write(&mut self, bytes: &[u8]) {
        let word = |part: &[u8]| {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            u64::from_le_bytes(word)
        };
        for part in bytes.chunks(16) {
            let (a, b) = part.split_at(part.len().min(8));
            self.add(word(a), word(b));
        }
        self.add(bytes.len() as u64, 0x71);
    }

    fn write_u8(&mut self, value: u8) {
        self.add(value.into(), 1);
    }

    fn write_u32(&mut self, value: u32) {
        self.add(value.into(), 4);
    }

    fn write_u64(&mut self, value: u64) {
        self.add(value, 8);
    }

    fn write_u128(&mut self, value: u128) {
        self.add(value as u64, (value >> 64) as u64);
    }

    fn write_usize(&mut self, value: usize) {
        self.add(value as u64, 8);
    }

    fn write_isize(&mut self, value: isize) {
        self.add(value as u64, 8);
    }
}

/// For keys that are fingerprints already.
#[derive(Clone, Copy, Default, Debug)]
pub struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only fingerprints are kept so");
    }

    fn write_u128(&mut self, value: u128) {
        self.0 = value as u64;
    }
}

pub type Build = std::hash::BuildHasherDefault<AsIs>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_the_input_moves_about_half_of_both_lanes() {
        let bytes = [7_u8; 40];
        let plain = Fold::of(&bytes[..]);
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes;
            other[bit / 8] ^= 1 << (bit % 8);
            let moved = plain ^ Fold::of(&other[..]);
            let (left, right) = (((moved >> 64) as u64).count_ones(), (moved as u64).count_ones());
            assert!((12..=52).contains(&left) && (12..=52).contains(&right), "bit {bit} moves {left} and {right}");
        }
    }

    #[test]
    fn lengths_and_borders_count() {
        assert_ne!(Fold::of(&[0_u8; 8][..]), Fold::of(&[0_u8; 16][..]));
        assert_ne!(Fold::of(&("ab", "c")), Fold::of(&("a", "bc")));
        assert_ne!(Fold::of(&[0_u64; 2]), Fold::of(&[0_u64; 3]));
    }
}
