//! base64url without padding (RFC 4648 section 5), free of branches and table look-ups on the data: it carries secrets.

use alloc::string::String;
use alloc::vec::Vec;

/// The text of `bytes`.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, &byte| (group << 8) | u32::from(byte));
        let (group, chars) = match chunk.len() {
            1 => (group << 16, 2),
            2 => (group << 8, 3),
            _ => (group, 4),
        };
        for shift in [18, 12, 6, 0].into_iter().take(chars) {
            text.push(char::from(encode_six(group >> shift)));
        }
    }
    text
}

/// The bytes of `text`, or nothing when it has a foreign character, an impossible length or set bits after the last byte.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len().div_ceil(4).saturating_mul(3));
    let (groups, tail) = text.as_chunks::<4>();
    let mut wrong = 0;
    for group in groups {
        let (value, bad) = join(*group);
        wrong |= bad;
        let [_, a, b, c] = value.to_be_bytes();
        bytes.extend_from_slice(&[a, b, c]);
    }
    let (value, bad) = match *tail {
        [] => (0, 0),
        [a, b] => join([a, b, b'A', b'A']),
        [a, b, c] => join([a, b, c, b'A']),
        _ => return None,
    };
    let [_, a, b, c] = value.to_be_bytes();
    let rest = match tail.len() {
        0 => 0,
        2 => {
            bytes.push(a);
            b | c
        }
        _ => {
            bytes.extend_from_slice(&[a, b]);
            c
        }
    };
    ((wrong | bad) >= 0 && rest == 0).then_some(bytes)
}

/// The fixed-size form of [`decode`] for whole groups: `text` must be exactly `4 / 3` of `N`.
pub(crate) fn decode_exact<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let (groups, tail) = text.as_chunks::<4>();
    let mut bytes = [0; N];
    let (places, rest) = bytes.as_chunks_mut::<3>();
    if !tail.is_empty() || !rest.is_empty() || groups.len() != places.len() {
        return None;
    }
    let mut wrong = 0;
    for (group, place) in groups.iter().zip(places) {
        let (value, bad) = join(*group);
        wrong |= bad;
        let [_, a, b, c] = value.to_be_bytes();
        *place = [a, b, c];
    }
    (wrong >= 0).then_some(bytes)
}

/// 24 bits from four characters, and a negative number if one of them is foreign.
fn join(group: [u8; 4]) -> (u32, i32) {
    let [a, b, c, d] = group.map(decode_six);
    let value = (a << 18) | (b << 12) | (c << 6) | d;
    (value.cast_unsigned() & 0x00ff_ffff, a | b | c | d)
}

/// The value of one character, or -1.
fn decode_six(character: u8) -> i32 {
    let c = i32::from(character);
    // All ones when `low <= c <= high`: then exactly both differences are negative.
    let within =
        |low: i32, high: i32| (low.wrapping_sub(1).wrapping_sub(c) & c.wrapping_sub(high).wrapping_sub(1)) >> 8;
    // Each term adds `value + 1` in its own range, so that the sum starts from -1.
    let mut value = -1_i32;
    value = value.wrapping_add(within(0x41, 0x5a) & c.wrapping_sub(64));
    value = value.wrapping_add(within(0x61, 0x7a) & c.wrapping_sub(70));
    value = value.wrapping_add(within(0x30, 0x39) & c.wrapping_add(5));
    value = value.wrapping_add(within(0x2d, 0x2d) & 63);
    value.wrapping_add(within(0x5f, 0x5f) & 64)
}

/// The character of the six low bits of `value`.
fn encode_six(value: u32) -> u8 {
    let v = (value & 0x3f).cast_signed();
    let above = |limit: i32| limit.wrapping_sub(v) >> 8;
    let mut c = v.wrapping_add(65);
    c = c.wrapping_add(above(25) & 6);
    c = c.wrapping_sub(above(51) & 75);
    c = c.wrapping_sub(above(61) & 13);
    c = c.wrapping_add(above(62) & 49);
    let [low, ..] = c.to_le_bytes();
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    #[test]
    fn the_alphabet_is_that_of_rfc_4648_section_5_and_no_other() {
        for character in 0..=u8::MAX {
            let expected = ALPHABET.iter().position(|&c| c == character).map_or(-1, |at| i32::try_from(at).unwrap());
            assert_eq!(decode_six(character), expected, "{character}");
        }
        for (value, &character) in (0..).zip(ALPHABET) {
            assert_eq!(encode_six(value), character);
        }
    }

    #[test]
    fn every_length_makes_the_round_trip_and_only_the_canonical_text_is_accepted() {
        for length in 0..80_u8 {
            let bytes: Vec<u8> = (0..length).map(|n| n.wrapping_mul(151)).collect();
            let text = encode(&bytes);
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(&bytes[..]));
        }
        assert_eq!(decode(b"AA").as_deref(), Some(&[0][..]));
        for refused in ["A", "AB", "AAB", "AA==", "A+==", "AA\n", "AAAA="] {
            assert_eq!(decode(refused.as_bytes()), None, "{refused:?}");
        }
        assert_eq!(decode_exact::<3>(b"AAAA"), Some([0; 3]));
        for refused in ["AAA", "AAAAA", "AAAAAAAA", "AAA=", "AAA/"] {
            assert_eq!(decode_exact::<3>(refused.as_bytes()), None, "{refused:?}");
        }
    }
}
