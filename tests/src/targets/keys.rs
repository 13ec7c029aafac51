//! Bytes as the text of a key ring.

use std::num::NonZeroU16;

use coatroom_core::{KeyError, KeyRing, Opening, Policy, Rules};

use crate::scenarios::settings;
use crate::targets::mint::{self, Claim, at};

/// A ring is accepted or refused, at the very position, as a second reading of the text says. An accepted one verifies
/// with each of its keys under its own number only, and prints nothing but numbers.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let ring = KeyRing::parse(text);
    match (ring, read(text)) {
        (Err(error), Err(expected)) => {
            assert_eq!(error, expected);
            assert!(error.to_string().is_ascii());
        }
        (Ok(ring), Ok(keys)) => {
            assert_eq!(format!("{ring:?}"), format!("{:?}", keys.iter().map(|key| key.0).collect::<Vec<_>>()));
            let rules = Rules::new(Policy::try_from(settings()).unwrap(), ring);
            for (number, material) in &keys {
                for claimed in [*number, number ^ 1] {
                    let claim = Claim { handle: [1; 12], generation: 0, key: claimed, secret: [7; 32] };
                    let id = mint::with_tag(&claim.signed(), &mint::tagger(material));
                    let opening = rules.open(format!("__Host-id={id}").as_bytes(), at(0));
                    let same = keys.iter().any(|(other, key)| *other == claimed && key == material);
                    assert_eq!(matches!(opening, Opening::Load(_)), same, "key {number} as {claimed}");
                }
            }
        }
        (ring, expected) => panic!("core: {ring:?}, second reader: {:?}", expected.map(|keys| keys.len())),
    }
}

fn read(text: &str) -> Result<Vec<(u16, Vec<u8>)>, KeyError> {
    let mut keys: Vec<(u16, Vec<u8>)> = Vec::new();
    let mut position = 0;
    for line in text.split('\n') {
        for entry in line.split(',') {
            let entry = entry.trim_matches(char::is_whitespace);
            if entry.is_empty() {
                continue;
            }
            position += 1;
            let (number, material) = key(entry).ok_or(KeyError::Malformed { position })?;
            if material.len() < 32 {
                return Err(KeyError::Short { position });
            }
            if keys.iter().any(|(other, _)| *other == number) {
                return Err(KeyError::Duplicate { position });
            }
            keys.push((number, material));
        }
    }
    if keys.is_empty() { Err(KeyError::Empty) } else { Ok(keys) }
}

fn key(entry: &str) -> Option<(u16, Vec<u8>)> {
    let colon = entry.find(':')?;
    let mut number = 0_u32;
    for digit in entry[..colon].chars() {
        number = (number * 10 + digit.to_digit(10)?).min(1 << 20);
    }
    let number = NonZeroU16::new(u16::try_from(number).ok()?)?.get();
    Some((number, mint::unbase64(&entry.as_bytes()[colon + 1..])?))
}
