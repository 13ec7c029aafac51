//! base64url without padding (RFC 4648 section 5), free of branches and table look-ups on the data: it carries secrets.
//!
//! Each value has one text: another one for the same bytes is refused, or a credential could be changed and still count.

use alloc::string::String;
use alloc::vec::Vec;

/// What is long goes in blocks, of which the compiler does many characters at once.
const BLOCK_CHARS: usize = 64;
const BLOCK_BYTES: usize = 48;

/// The text of `bytes`.
// spec: ID-1 bd5d, ID-7 ac74
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
    for block in blocks {
        text.extend_from_slice(&encode_block::<BLOCK_BYTES, BLOCK_CHARS>(block));
    }
    // A handle has twelve bytes.
    let (blocks, rest) = rest.as_chunks::<12>();
    for block in blocks {
        text.extend_from_slice(&encode_block::<12, 16>(block));
    }
    for chunk in rest.chunks(3) {
        let mut padded = [0; 3];
        for (place, byte) in padded.iter_mut().zip(chunk) {
            *place = *byte;
        }
        let characters = split(padded).map(encode_six);
        // One byte fills two characters, two fill three.
        text.extend_from_slice(characters.get(..=chunk.len()).unwrap_or_default());
    }
    String::from_utf8(text).unwrap_or_default()
}

/// The bytes of `text`, or nothing when it has a foreign character, an impossible length or set bits after the last byte.
// spec: KEY-1 d259
#[must_use]
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let (blocks, rest) = text.as_chunks::<BLOCK_CHARS>();
    let mut bytes = Vec::with_capacity(text.len().div_ceil(4).saturating_mul(3));
    bytes.resize(blocks.len().saturating_mul(BLOCK_BYTES), 0);
    let mut wrong = 0;
    for (place, block) in bytes.as_chunks_mut::<BLOCK_BYTES>().0.iter_mut().zip(blocks) {
        wrong |= decode_block(block, place);
    }
    for group in rest.chunks(4) {
        // A shorter group is filled up with zero bits, which then must be all that follows its last byte.
        let mut padded = [b'A'; 4];
        for (place, character) in padded.iter_mut().zip(group) {
            *place = *character;
        }
        let values = padded.map(decode_six);
        let [whole @ .., rest] = join(values);
        let [first, second] = whole;
        wrong |= values.iter().fold(0, |wrong, value| wrong | value);
        match group.len() {
            4 => bytes.extend_from_slice(&[first, second, rest]),
            3 if rest == 0 => bytes.extend_from_slice(&whole),
            2 if rest == 0 && second == 0 => bytes.push(first),
            _ => return None,
        }
    }
    (wrong <= 0x3f).then_some(bytes)
}

/// The fixed-size form of [`decode`] for whole groups: `text` must have exactly `CHARS` characters, `4 / 3` of `BYTES`.
// spec: ID-1 bd5d, ID-3 a335
pub(crate) fn decode_exact<const CHARS: usize, const BYTES: usize>(text: &[u8]) -> Option<[u8; BYTES]> {
    const { assert!(CHARS.is_multiple_of(4) && CHARS / 4 * 3 == BYTES, "whole groups") };
    let mut bytes = [0; BYTES];
    let wrong = decode_block::<CHARS, BYTES>(text.try_into().ok()?, &mut bytes);
    (wrong <= 0x3f).then_some(bytes)
}

/// Decodes whole groups; all bits of their values: above 63 if there is a foreign character.
fn decode_block<const CHARS: usize, const BYTES: usize>(text: &[u8; CHARS], bytes: &mut [u8; BYTES]) -> u8 {
    // One step at a time over all characters, so that the compiler can do many at once.
    let values = text.map(decode_six);
    let (pairs, last) = values.as_chunks::<8>();
    let (places, last_place) = bytes.as_chunks_mut::<6>();
    for (place, pair) in places.iter_mut().zip(pairs) {
        *place = join_two(*pair);
    }
    if let (Some(place), Some(group)) = (last_place.first_chunk_mut(), last.first_chunk()) {
        *place = join(*group);
    }
    values.iter().fold(0, |wrong, value| wrong | value)
}

fn encode_block<const BYTES: usize, const CHARS: usize>(bytes: &[u8; BYTES]) -> [u8; CHARS] {
    const { assert!(CHARS.is_multiple_of(4) && CHARS / 4 * 3 == BYTES, "whole groups") };
    let mut sixes = [0; CHARS];
    for (place, group) in sixes.as_chunks_mut::<4>().0.iter_mut().zip(bytes.as_chunks::<3>().0) {
        *place = split(*group);
    }
    sixes.map(encode_six)
}

/// Four values of six bits from three bytes.
fn split([a, b, c]: [u8; 3]) -> [u8; 4] {
    [a >> 2, (a << 4 | b >> 4) & 0x3f, (b << 2 | c >> 6) & 0x3f, c & 0x3f]
}

/// Three bytes from four values of six bits.
fn join([a, b, c, d]: [u8; 4]) -> [u8; 3] {
    [(a << 2) | (b >> 4), (b << 4) | (c >> 2), (c << 6) | d]
}

/// [`join`] of two groups at once: neighbours of 6 bits become 12, of 12 become 24, of 24 become 48.
fn join_two(values: [u8; 8]) -> [u8; 6] {
    let sixes = u64::from_be_bytes(values);
    let twelves = (sixes >> 2 & 0x0fc0_0fc0_0fc0_0fc0) | (sixes & 0x003f_003f_003f_003f);
    let halves = (twelves >> 4 & 0x00ff_f000_00ff_f000) | (twelves & 0x0000_0fff_0000_0fff);
    let [_, _, whole @ ..] = ((halves >> 8 & 0xffff_ff00_0000) | (halves & 0x00ff_ffff)).to_be_bytes();
    whole
}

/// The value of one character; above 63 for a foreign one.
fn decode_six(character: u8) -> u8 {
    // All ones when `low <= character < low + count`; a comparison becomes a flag, never a jump.
    let within = |low: u8, count: u8| 0_u8.wrapping_sub(u8::from(character.wrapping_sub(low) < count));
    let upper = within(b'A', 26) & character.wrapping_sub(65);
    let lower = within(b'a', 26) & character.wrapping_sub(71);
    let digit = within(b'0', 10) & character.wrapping_add(4);
    let minus = within(b'-', 1) & 62;
    let line = within(b'_', 1) & 63;
    let known = within(b'A', 26) | within(b'a', 26) | within(b'0', 10) | within(b'-', 1) | within(b'_', 1);
    upper | lower | digit | minus | line | (!known & 0x80)
}

/// The character of a value below 64.
fn encode_six(value: u8) -> u8 {
    // All ones when `value` is above the limit; a comparison becomes a flag, never a jump.
    let above = |limit: u8| 0_u8.wrapping_sub(u8::from(value > limit));
    let upper = value.wrapping_add(65);
    let lower = upper.wrapping_add(above(25) & 6);
    let digit = lower.wrapping_sub(above(51) & 75);
    let minus = digit.wrapping_sub(above(61) & 13);
    minus.wrapping_add(above(62) & 49)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    #[test]
    fn the_alphabet_is_that_of_rfc_4648_section_5_and_no_other() {
        for character in 0..=u8::MAX {
            let expected = ALPHABET.iter().position(|&c| c == character).map_or(0x80, |at| u8::try_from(at).unwrap());
            assert_eq!(decode_six(character), expected, "{character}");
        }
        for (value, &character) in (0..).zip(ALPHABET) {
            assert_eq!(encode_six(value), character);
        }
    }

    #[test]
    // spec: KEY-1 d259, ID-3 a335
    fn every_length_makes_the_round_trip_and_only_the_canonical_text_is_accepted() {
        for length in 0..200_u8 {
            let bytes: Vec<u8> = (0..length).map(|n| n.wrapping_mul(151)).collect();
            let text = encode(&bytes);
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(&bytes[..]));
        }
        assert_eq!(decode(b"AA").as_deref(), Some(&[0][..]));
        for refused in ["A", "AB", "AAB", "AA==", "A+==", "AA\n", "AAAA="] {
            assert_eq!(decode(refused.as_bytes()), None, "{refused:?}");
        }
        assert_eq!(decode_exact::<4, 3>(b"AAAA"), Some([0; 3]));
        for refused in ["AAA", "AAAAA", "AAAAAAAA", "AAA=", "AAA/"] {
            assert_eq!(decode_exact::<4, 3>(refused.as_bytes()), None, "{refused:?}");
        }
    }
}
