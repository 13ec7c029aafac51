//! Whether the time that an id takes tells how much of it is right. `scripts/assure/timing` runs this.
//!
//!     timing tag 10000000      |t| between ids that are wrong in the first and in the last byte of their tag
//!     timing digest 10000000   the same with the digest in the record
//!     timing tag count 15      opens a hundred ids that are wrong in byte 15, for a counter of instructions
//!
//! Measured is what ships, through the public API: `Rules::open` compares the tag, `Load::found` the digest. As in dudect
//! (Reparaz, Balasch, Verbauwhede 2017), each sample picks its class at random, and Welch's t is taken of all samples and
//! of those below several percentiles, since an interrupt says nothing about a comparison.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    reason = "a measurement may fail, and counts far less than 2^52"
)]

use core::convert::Infallible;
use core::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use coatroom_core::{Closing, KeyRing, Listed, Load, Loaded, Opening, Policy, Rules, Settings, Timestamp};
use rand_core::{TryCryptoRng, TryRng};

const NOW: Timestamp = Timestamp::from_unix_ms(1_767_225_600_000);
/// Where a record keeps the digest of the current id.
const DIGEST_AT: usize = 70;
/// Where a `Cookie` header of one id has the last six bits of the byte `n` of the tag, for `n` of 0, 3, .. 15.
const TAG_AT: usize = "__Host-id=".len() + 67;
const CROPS: [f64; 7] = [1.0, 0.999, 0.99, 0.95, 0.9, 0.75, 0.5];

struct Still;

impl TryRng for Still {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(4)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(4)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill(4);
        Ok(())
    }
}

impl TryCryptoRng for Still {}

/// Somebody logged in.
struct House {
    rules: Arc<Rules>,
    header: Vec<u8>,
    record: Vec<u8>,
}

impl House {
    fn new() -> Self {
        let keys = KeyRing::parse("1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE").unwrap();
        let rules = Rules::new(Policy::try_from(Settings::default()).unwrap(), keys);
        let Opening::Ready(mut session) = rules.open(b"", NOW) else { panic!("no cookie needs no load") };
        session.login("ada", &["admin"], 1).unwrap();
        let Closing::Save(save) = session.close(NOW, &mut Still) else { panic!("a login is written") };
        let record = save.swap().new.clone().unwrap();
        let Closing::Done(reply) = save.entered(Listed::default()) else { panic!("one swap is all") };
        let header = reply.set_cookies().next().unwrap().split(';').next().unwrap().as_bytes().to_vec();
        assert!(header.starts_with(b"__Host-id=") && header.len() == TAG_AT + 21, "the id has moved");
        Self { rules, header, record }
    }

    /// The header, wrong in one byte of the tag: one of 0, 3, .. 15.
    fn wrong_tag(&self, byte: usize) -> Vec<u8> {
        assert!(byte.is_multiple_of(3), "this byte shares its characters with others");
        let mut header = self.header.clone();
        let character = &mut header[TAG_AT + byte / 3 * 4];
        *character = if *character == b'A' { b'B' } else { b'A' };
        header
    }

    /// The record, wrong in one byte of the digest.
    fn wrong_digest(&self, byte: usize) -> Vec<u8> {
        let mut record = self.record.clone();
        record[DIGEST_AT + byte] ^= 0x55;
        record
    }

    fn load(&self) -> Load {
        match self.rules.open(black_box(&self.header), NOW) {
            Opening::Load(load) => load,
            _ => panic!("an id of ours is looked up"),
        }
    }

    /// The time that the comparison and what surrounds it take, in nanoseconds.
    fn time_tag(&self, header: &[u8]) -> u32 {
        let start = Instant::now();
        let opening = self.rules.open(black_box(header), NOW);
        let took = start.elapsed();
        assert!(matches!(black_box(opening), Opening::Ready(_)), "a wrong tag is no id");
        took.subsec_nanos()
    }

    fn time_digest(&self, record: &[u8]) -> u32 {
        let (load, found) = (self.load(), Loaded::Found(record.to_vec()));
        let start = Instant::now();
        let opening = black_box(load).found(found);
        let took = start.elapsed();
        let Opening::Ready(mut session) = black_box(opening) else { panic!("the record is there") };
        assert!(session.principal().is_none(), "a wrong secret is nobody");
        took.subsec_nanos()
    }
}

/// Number, mean and sum of squared distances from it, by Welford.
#[derive(Clone, Copy, Default)]
struct Moments(f64, f64, f64);

impl Moments {
    fn add(&mut self, value: f64) {
        let Self(count, mean, squares) = self;
        *count += 1.0;
        let distance = value - *mean;
        *mean += distance / *count;
        *squares += distance * (value - *mean);
    }
}

fn welch([a, b]: [Moments; 2]) -> f64 {
    let variance = |Moments(count, _, squares): Moments| squares / (count - 1.0) / count;
    let spread = (variance(a) + variance(b)).sqrt();
    if spread == 0.0 { 0.0 } else { (a.1 - b.1) / spread }
}

/// The largest |t| of all crops, after a line for each.
fn largest_t(samples: &[(u8, u32)]) -> f64 {
    let mut sorted: Vec<u32> = samples.iter().map(|&(_, took)| took).collect();
    sorted.sort_unstable();
    let mut largest = 0.0_f64;
    for (share, kept) in CROPS.into_iter().zip(CROPS.map(|share| kept(sorted.len(), share))) {
        let (limit, mut classes) = (sorted[kept - 1], [Moments::default(); 2]);
        for &(class, took) in samples.iter().filter(|&&(_, took)| took <= limit) {
            classes[usize::from(class)].add(f64::from(took));
        }
        let t = welch(classes);
        println!(
            "  up to {limit:>8} ns ({:>5.1} %): means {:.2} and {:.2} ns, t {t:+.2}",
            share * 100.0,
            classes[0].1,
            classes[1].1
        );
        largest = largest.max(t.abs());
    }
    largest
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length")]
fn kept(length: usize, share: f64) -> usize {
    ((length as f64 * share) as usize).clamp(1, length)
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (house, is_tag) = (House::new(), words[0] == "tag");
    let make = |byte| if is_tag { house.wrong_tag(byte) } else { house.wrong_digest(byte) };
    let time = |input: &[u8]| if is_tag { house.time_tag(input) } else { house.time_digest(input) };
    if words[1] == "count" {
        let input = make(words[2].parse().unwrap());
        for _ in 0..100 {
            black_box(time(&input));
        }
        return;
    }
    let classes = [make(0), make(if is_tag { 15 } else { 31 })];
    // Both come from the same place in memory.
    let mut input = classes[0].clone();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::from(std::process::id());
    let samples: usize = words[1].parse().unwrap();
    let mut taken = Vec::with_capacity(samples);
    for number in 0..samples + samples / 100 {
        // Xorshift (Marsaglia 2003): it need only be unrelated to what the machine does.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let class = u8::from(random >> 63 == 1);
        input.copy_from_slice(&classes[usize::from(class)]);
        let took = time(&input);
        // The first ones warm up.
        if number >= samples / 100 {
            taken.push((class, took));
        }
    }
    println!("{}: {samples} samples, first byte wrong or last byte wrong", words[0]);
    println!("{} largest |t| {:.2}", words[0], largest_t(&taken));
}
