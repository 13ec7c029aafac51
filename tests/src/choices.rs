//! A source of choices for generators: random ones from a seed, or the bytes of a fuzzer. A generator is a plain function
//! over it, so that properties and fuzz targets share every generator.

/// Where the choices come from.
#[derive(Clone, Debug)]
pub struct Choices<'a>(Source<'a>);

#[derive(Clone, Debug)]
enum Source<'a> {
    Random(u64),
    Bytes(&'a [u8]),
}

impl<'a> Choices<'a> {
    /// Random choices, the same for the same seed. They never end.
    pub const fn random(seed: u64) -> Self {
        Self(Source::Random(seed))
    }

    /// Choices made by these bytes, one byte for a small choice. After the last byte every choice is the first one.
    pub const fn bytes(bytes: &'a [u8]) -> Self {
        Self(Source::Bytes(bytes))
    }

    /// Whether the bytes are used up. Random choices never are.
    pub const fn is_over(&self) -> bool {
        matches!(self.0, Source::Bytes([]))
    }

    pub fn byte(&mut self) -> u8 {
        match &mut self.0 {
            Source::Random(_) => (self.word() >> 56) as u8,
            Source::Bytes(bytes) => match bytes.split_first() {
                Some((first, rest)) => {
                    *bytes = rest;
                    *first
                }
                None => 0,
            },
        }
    }

    pub fn word(&mut self) -> u64 {
        match &mut self.0 {
            // SplitMix64 (Steele, Lea, Flood 2014).
            Source::Random(state) => {
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let word = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                word ^ (word >> 31)
            }
            Source::Bytes(_) => (0..8).fold(0, |word, _| word << 8 | u64::from(self.byte())),
        }
    }

    /// A number below `end`, which is not 0. Few bytes for a small end; all numbers about equally often.
    pub fn below(&mut self, end: usize) -> usize {
        match &self.0 {
            Source::Random(_) => ((u128::from(self.word()) * end as u128) >> 64) as usize,
            Source::Bytes(_) if end <= 256 => usize::from(self.byte()) % end,
            Source::Bytes(_) => usize::try_from(self.word() % end as u64).unwrap_or_default(),
        }
    }

    /// A number from `low` to `high`, both included.
    pub fn within(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }

    /// One of these.
    pub fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// One of these, each as often as its number says.
    pub fn weighted<T: Copy>(&mut self, items: &[(usize, T)]) -> T {
        let mut at = self.below(items.iter().map(|(weight, _)| weight).sum());
        for &(weight, item) in items {
            match at.checked_sub(weight) {
                Some(rest) => at = rest,
                None => return item,
            }
        }
        items[0].1
    }

    /// So many bytes.
    pub fn some_bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }
}
