//! base64url without padding (RFC 4648 section 5), of tokens and public keys, and once at start of signing keys.
//!
//! Each value has one text: another one for the same bytes is refused, or a token could be changed and still count.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const FOREIGN: u8 = 0xff;
const VALUES: [u8; 256] = values();

const fn values() -> [u8; 256] {
    let mut values = [FOREIGN; 256];
    let mut rest: &[u8] = ALPHABET;
    let mut value = 0_u8;
    while let [character, more @ ..] = rest {
        let (_, at) = values.split_at_mut(*character as usize);
        if let [place, ..] = at {
            *place = value;
        }
        value = value.wrapping_add(1);
        rest = more;
    }
    values
}

/// Writes the text of `bytes` at the end of `text`.
pub(crate) fn encode_into(text: &mut String, bytes: &[u8]) {
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, &byte| (group << 8) | u32::from(byte));
        let (group, chars) = match chunk.len() {
            1 => (group << 16, 2),
            2 => (group << 8, 3),
            _ => (group, 4),
        };
        for shift in [18, 12, 6, 0].into_iter().take(chars) {
            let six = usize::try_from((group >> shift) & 0x3f).unwrap_or_default();
            text.push(char::from(ALPHABET.get(six).copied().unwrap_or_default()));
        }
    }
}

/// The text of `bytes`.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    encode_into(&mut text, bytes);
    text
}

/// The bytes of `text`, or nothing when it has a foreign character, an impossible length or set bits after the last byte.
// spec: TOKEN-4 0830
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len().div_ceil(4).saturating_mul(3));
    let (whole, rest) = text.as_chunks::<4>();
    let mut wrong = 0;
    for group in whole {
        let [a, b, c, d] = group.map(value);
        wrong |= a | b | c | d;
        bytes.extend_from_slice(&[(a << 2) | (b >> 4), (b << 4) | (c >> 2), (c << 6) | d]);
    }
    match *rest {
        [] => {}
        [a, b] => {
            let [a, b] = [a, b].map(value);
            wrong |= a | b | left_over(b & 0x0f);
            bytes.push((a << 2) | (b >> 4));
        }
        [a, b, c] => {
            let [a, b, c] = [a, b, c].map(value);
            wrong |= a | b | c | left_over(c & 0x03);
            bytes.extend_from_slice(&[(a << 2) | (b >> 4), (b << 4) | (c >> 2)]);
        }
        _ => return None,
    }
    (wrong <= 0x3f).then_some(bytes)
}

/// [`decode`] where the size is known.
pub(crate) fn decode_exact<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    decode(text)?.try_into().ok()
}

/// Bits behind the last byte are zero, or the text is not canonical.
fn left_over(bits: u8) -> u8 {
    if bits == 0 { 0 } else { FOREIGN }
}

fn value(character: u8) -> u8 {
    VALUES.get(usize::from(character)).copied().unwrap_or(FOREIGN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    // spec: TOKEN-4 0830
    fn every_length_makes_the_round_trip_and_only_the_canonical_text_is_accepted() {
        for length in 0..80_u8 {
            let bytes: Vec<u8> = (0..length).map(|n| n.wrapping_mul(151)).collect();
            let text = encode(&bytes);
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(&bytes[..]));
            for at in 0..text.len() {
                for character in 0..=u8::MAX {
                    let mut changed = text.clone().into_bytes();
                    changed[at] = character;
                    let same = changed == text.as_bytes();
                    assert_eq!(decode(&changed).as_deref() == Some(&bytes[..]), same, "{text} {at} {character}");
                }
            }
        }
        for refused in ["A", "AB", "AAB", "AA==", "A+==", "AA\n", "AAAA=", "AA/A", "AA+A", "A A", "\u{ff}AAA"] {
            assert_eq!(decode(refused.as_bytes()), None, "{refused:?}");
        }
    }
}
