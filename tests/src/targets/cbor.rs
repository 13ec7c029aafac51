//! The closed data model against a second reader and writer of deterministic CBOR (RFC 8949 sections 3 and 4.2.1).

use std::collections::BTreeMap;

use coatroom_core::Value;
use coatroom_core::value::{Encoded, MAX_DEPTH, Reader, ValueError};

/// Both readers accept the same bytes as the same value; what is accepted is the only encoding of its value; checking,
/// passing over and decoding agree; and what is too deep is refused whatever follows.
pub fn run(bytes: &[u8]) {
    let value = Value::decode(bytes);
    let expected = whole(bytes);
    match (&value, &expected) {
        (Ok(value), Some(expected)) => {
            assert!(same(value, expected), "decoded {value:?}, not {expected:?}");
            assert_eq!(write(expected), bytes, "not the only encoding of {expected:?}");
            assert_eq!(value.encode().unwrap().as_bytes(), bytes, "encodes otherwise than it was");
        }
        (Err(_), None) => {}
        _ => panic!("core: {value:?}, second reader: {expected:?}"),
    }
    let checked = Encoded::from_bytes(bytes.to_vec());
    assert_eq!(checked.is_ok(), value.is_ok(), "checking and decoding differ");
    assert_eq!(checked.as_ref().err(), value.as_ref().err(), "checking and decoding refuse differently");
    if let Err(error) = value {
        assert!(matches!(error, ValueError::NotCanonical | ValueError::TooDeep));
    } else {
        let mut reader = Reader::new(bytes);
        assert!(reader.skip(MAX_DEPTH).is_ok() && reader.is_at_end() && reader.position() == bytes.len());
    }
}

/// Equal, floats by their bits.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((k, a), (l, b))| k == l && same(a, b))
        }
        _ => a == b,
    }
}

/// The value that these bytes are, all of them.
pub fn whole(bytes: &[u8]) -> Option<Value> {
    let mut rest = bytes;
    let value = read(&mut rest, 32)?;
    rest.is_empty().then_some(value)
}

/// The map of a record: its values may each be as deep as a value may.
pub fn deep(bytes: &[u8]) -> Option<Value> {
    let mut rest = bytes;
    let value = read(&mut rest, 33)?;
    rest.is_empty().then_some(value)
}

/// The next value, and what is left after it.
pub fn read(rest: &mut &[u8], depth: usize) -> Option<Value> {
    let initial = take(rest, 1)?[0];
    let (major, low) = (initial >> 5, initial & 31);
    if major == 7 {
        return match low {
            20 => Some(Value::Bool(false)),
            21 => Some(Value::Bool(true)),
            22 => Some(Value::Null),
            25 => Some(half(number(rest, 2)?)).filter(|float| float.is_finite()).map(Value::Float),
            26 => {
                let float = f64::from(f32::from_bits(u32::try_from(number(rest, 4)?).unwrap()));
                (float.is_finite() && !fits_half(float)).then_some(Value::Float(float))
            }
            27 => {
                let float = f64::from_bits(number(rest, 8)?);
                (float.is_finite() && !fits_single(float)).then_some(Value::Float(float))
            }
            _ => None,
        };
    }
    let argument = argument(rest, low)?;
    match major {
        0 => (argument < 1 << 63).then_some(Value::Int(argument as i64)),
        1 => (argument < 1 << 63).then_some(Value::Int(-1 - argument as i64)),
        2 => Some(Value::Bytes(take(rest, argument)?.to_vec())),
        3 => String::from_utf8(take(rest, argument)?.to_vec()).ok().map(Value::Text),
        4 => {
            let depth = depth.checked_sub(1)?;
            (0..argument).map(|_| read(rest, depth)).collect::<Option<_>>().map(Value::List)
        }
        5 => {
            let depth = depth.checked_sub(1)?;
            let (mut map, mut last) = (BTreeMap::new(), None);
            for _ in 0..argument {
                let Value::Text(key) = read(rest, 0)? else { return None };
                let order = (key.len(), key.clone());
                if last.as_ref().is_some_and(|last| *last >= order) {
                    return None;
                }
                last = Some(order);
                map.insert(key, read(rest, depth)?);
            }
            Some(Value::Map(map))
        }
        _ => None,
    }
}

/// The head of a list: how many items follow.
pub fn list(rest: &mut &[u8]) -> Option<u64> {
    let initial = take(rest, 1)?[0];
    if initial >> 5 == 4 { argument(rest, initial & 31) } else { None }
}

/// In its shortest form.
fn argument(rest: &mut &[u8], low: u8) -> Option<u64> {
    match low {
        0..24 => Some(u64::from(low)),
        24 => number(rest, 1).filter(|&n| n > 23),
        25 => number(rest, 2).filter(|&n| n > 0xff),
        26 => number(rest, 4).filter(|&n| n > 0xffff),
        27 => number(rest, 8).filter(|&n| n > 0xffff_ffff),
        _ => None,
    }
}

fn take<'a>(rest: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    Some(taken)
}

fn number(rest: &mut &[u8], bytes: u64) -> Option<u64> {
    Some(take(rest, bytes)?.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
}

/// RFC 8949 appendix D.
fn half(bits: u64) -> f64 {
    let (exponent, mantissa) = ((bits >> 10 & 31) as i32, (bits & 0x3ff) as f64);
    let size = match exponent {
        0 => mantissa * 2_f64.powi(-24),
        31 => f64::INFINITY,
        _ => (mantissa + 1024.0) * 2_f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -size } else { size }
}

/// Half precision has 11 bits of mantissa, none below 2^-24, and ends at 65504.
fn fits_half(float: f64) -> bool {
    let exponent = ((float.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(-14);
    let units = float.abs() * 2_f64.powi(10 - exponent);
    float.abs() <= 65504.0 && units.fract() == 0.0
}

fn fits_single(float: f64) -> bool {
    f64::from(float as f32).to_bits() == float.to_bits()
}

/// The only encoding of a value.
pub fn write(value: &Value) -> Vec<u8> {
    match value {
        Value::Null => vec![0xf6],
        Value::Bool(value) => vec![0xf4 + u8::from(*value)],
        Value::Int(value) if *value < 0 => head(1, !value as u64),
        Value::Int(value) => head(0, *value as u64),
        Value::Float(value) if fits_half(*value) => [&[0xf9][..], &to_half(*value).to_be_bytes()].concat(),
        Value::Float(value) if fits_single(*value) => [&[0xfa][..], &(*value as f32).to_be_bytes()].concat(),
        Value::Float(value) => [&[0xfb][..], &value.to_be_bytes()].concat(),
        Value::Text(text) => [head(3, text.len() as u64), text.clone().into_bytes()].concat(),
        Value::Bytes(bytes) => [head(2, bytes.len() as u64), bytes.clone()].concat(),
        Value::List(items) => items.iter().fold(head(4, items.len() as u64), |out, item| [out, write(item)].concat()),
        Value::Map(map) => {
            let mut pairs: Vec<_> =
                map.iter().map(|(key, value)| [write(&key.as_str().into()), write(value)]).collect();
            pairs.sort();
            [head(5, map.len() as u64), pairs.concat().concat()].concat()
        }
    }
}

/// The bits of a float that fits.
fn to_half(float: f64) -> u16 {
    let sign = u16::from(float.is_sign_negative()) << 15;
    let exponent = (float.to_bits() >> 52 & 0x7ff) as i32 - 1023;
    let size = if exponent < -14 {
        (float.abs() * 2_f64.powi(24)) as u16
    } else {
        ((exponent + 15) as u16) << 10 | (float.to_bits() >> 42 & 0x3ff) as u16
    };
    sign | size
}

fn head(major: u8, argument: u64) -> Vec<u8> {
    let bytes = argument.to_be_bytes();
    let (low, from) = match argument {
        0..24 => (bytes[7], 8),
        24..=0xff => (24, 7),
        0x100..=0xffff => (25, 6),
        0x1_0000..=0xffff_ffff => (26, 4),
        _ => (27, 0),
    };
    [&[major << 5 | low], &bytes[from..]].concat()
}
