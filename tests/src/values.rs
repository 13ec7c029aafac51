//! Values, damage and a second writer of values, for properties and fuzz targets alike.

use std::collections::BTreeMap;

use coatroom_core::Value;

use crate::choices::Choices;

/// Any value, nested at most so deep.
pub fn value(choices: &mut Choices<'_>, depth: usize) -> Value {
    let nests = if depth == 0 { 0 } else { 3 };
    match choices.weighted(&[(1, 0), (1, 1), (3, 2), (3, 3), (2, 4), (1, 5), (nests, 6), (nests, 7)]) {
        0 => Value::Null,
        1 => Value::Bool(choices.one_in(2)),
        2 => Value::Int(int(choices)),
        3 => Value::Float(float(choices)),
        4 => Value::Text(text(choices, 30)),
        5 => {
            let count = choices.of(&[0, 1, 23, 24, 255, 256]);
            Value::Bytes(choices.some_bytes(count))
        }
        6 => Value::List((0..choices.below(5)).map(|_| value(choices, depth - 1)).collect()),
        _ => Value::Map((0..choices.below(5)).map(|_| (text(choices, 9), value(choices, depth - 1))).collect()),
    }
}

/// Integers of every size, and those next to the borders between encodings.
pub fn int(choices: &mut Choices<'_>) -> i64 {
    let size = choices.below(64) as u32;
    let border = 1_i64.checked_shl(size).unwrap_or(0);
    match choices.below(4) {
        0 => choices.of(&[0, 23, 24, 255, 256, 65_535, 65_536, 4_294_967_295, 4_294_967_296, i64::MAX]),
        1 => choices.of(&[-1, -24, -25, -256, -257, -65_536, -65_537, -4_294_967_296, -4_294_967_297, i64::MIN]),
        2 => border.wrapping_sub(1),
        _ => choices.word().cast_signed() >> size,
    }
}

/// Finite floats that need half, single or double precision.
pub fn float(choices: &mut Choices<'_>) -> f64 {
    let word = choices.word();
    let float = match choices.below(3) {
        0 => half(word as u16),
        1 => f64::from(f32::from_bits(word as u32)),
        _ => f64::from_bits(word),
    };
    if float.is_finite() { float } else { 0.5 }
}

/// Text with characters of every length.
pub fn text(choices: &mut Choices<'_>, most: usize) -> String {
    const CHARACTERS: [char; 12] = ['a', 'b', 'z', '0', ' ', '"', '\\', '\0', 'é', '\u{7ff}', '中', '🧥'];
    (0..choices.below(most)).map(|_| choices.of(&CHARACTERS)).collect()
}

/// The number that these sixteen bits are in half precision (IEEE 754 section 3.4).
pub fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 => f64::INFINITY,
        _ => (1.0 + fraction / 1024.0) * 2_f64.powi(exponent - 15),
    };
    if bits >> 15 == 1 { -size } else { size }
}

/// A second writer, from RFC 8949 section 4.2.1: shortest heads, shortest floats, keys in the order of their encodings.
#[derive(Debug)]
pub struct Writer {
    halves: BTreeMap<u64, u16>,
}

impl Default for Writer {
    fn default() -> Self {
        let finite = (0..=u16::MAX).filter(|bits| bits >> 10 & 31 != 31);
        Self { halves: finite.map(|bits| (half(bits).to_bits(), bits)).collect() }
    }
}

impl Writer {
    pub fn write(&self, value: &Value) -> Vec<u8> {
        match value {
            Value::Null => vec![0xf6],
            Value::Bool(value) => vec![0xf4 + u8::from(*value)],
            Value::Int(value) if *value < 0 => head(1, !value.cast_unsigned()),
            Value::Int(value) => head(0, value.cast_unsigned()),
            Value::Float(value) => self.float(*value),
            Value::Text(value) => [head(3, value.len() as u64), value.clone().into_bytes()].concat(),
            Value::Bytes(value) => [head(2, value.len() as u64), value.clone()].concat(),
            Value::List(items) => {
                let items: Vec<Vec<u8>> = items.iter().map(|item| self.write(item)).collect();
                [head(4, items.len() as u64), items.concat()].concat()
            }
            Value::Map(map) => {
                let pair = |(key, value): (&String, &Value)| (self.write(&Value::Text(key.clone())), self.write(value));
                let sorted: BTreeMap<Vec<u8>, Vec<u8>> = map.iter().map(pair).collect();
                let pairs: Vec<Vec<u8>> = sorted.into_iter().map(|(key, value)| [key, value].concat()).collect();
                [head(5, map.len() as u64), pairs.concat()].concat()
            }
        }
    }

    fn float(&self, value: f64) -> Vec<u8> {
        let single = value as f32;
        if let Some(half) = self.halves.get(&value.to_bits()) {
            [&[0xf9], &half.to_be_bytes()[..]].concat()
        } else if f64::from(single).to_bits() == value.to_bits() {
            [&[0xfa], &single.to_be_bytes()[..]].concat()
        } else {
            [&[0xfb], &value.to_be_bytes()[..]].concat()
        }
    }
}

fn head(major: u8, argument: u64) -> Vec<u8> {
    let bytes = argument.to_be_bytes();
    let major = major << 5;
    match argument {
        0..24 => vec![major | bytes[7]],
        24..0x100 => vec![major | 24, bytes[7]],
        0x100..0x1_0000 => [&[major | 25], &bytes[6..]].concat(),
        0x1_0000..0x1_0000_0000 => [&[major | 26], &bytes[4..]].concat(),
        _ => [&[major | 27], &bytes[..]].concat(),
    }
}

/// Damages bytes a little: bits, bytes, cuts, and pieces of themselves.
pub fn damage(choices: &mut Choices<'_>, bytes: &mut Vec<u8>) {
    for _ in 0..choices.within(1, 3) {
        let at = choices.below(bytes.len().max(1));
        match choices.below(6) {
            0 | 1 if !bytes.is_empty() => bytes[at] ^= 1 << choices.below(8),
            2 if !bytes.is_empty() => {
                bytes[at] = choices.of(&[0, 1, 2, 0x18, 0x7f, 0x80, 0xa0, 0xf6, 0xf9, 0xfb, 0xff])
            }
            3 if !bytes.is_empty() => drop(bytes.remove(at)),
            4 => bytes.insert(at.min(bytes.len()), choices.byte()),
            _ if choices.one_in(3) => bytes.truncate(at),
            _ => {
                let piece: Vec<u8> = bytes.iter().skip(at).take(4).copied().collect();
                bytes.extend(piece);
            }
        }
    }
}
