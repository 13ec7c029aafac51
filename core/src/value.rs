//! The closed data model: what a session can hold, in deterministic CBOR (RFC 8949 section 4.2.1).
//!
//! One way to write each value: shortest integers and floats, definite lengths, map keys sorted and unique, no tags.
//! Anything else is refused, so equal values are equal bytes, and no decoder can be talked into anything.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;

pub use crate::cbor::{Reader, Token, Writer};

/// Levels of lists and maps inside one value.
pub const MAX_DEPTH: usize = 32;

/// A value of a session.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer from -2^63 to 2^63 - 1.
    Int(i64),
    /// A finite float; `1.0` stays a float.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Value>),
    /// A map with text keys.
    Map(BTreeMap<String, Value>),
}

/// Why something is not a value of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ValueError {
    /// A float is not a number, or infinite.
    NotFinite,
    /// Lists and maps are nested more than [`MAX_DEPTH`] deep.
    TooDeep,
    /// The bytes are not one value in its only encoding.
    NotCanonical,
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFinite => "a float is infinite or not a number: store a finite one, or text",
            Self::TooDeep => "lists and maps are nested more than 32 deep: flatten the value",
            Self::NotCanonical => "the bytes are not one value in deterministic CBOR: encode them with this library",
        })
    }
}

impl core::error::Error for ValueError {}

/// One value in its only encoding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encoded(Vec<u8>);

impl Encoded {
    /// Accepts bytes that are exactly one value in its only encoding.
    // spec: VAL-2 59d7, VAL-3 915a
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, ValueError> {
        let mut reader = Reader::new(&bytes);
        reader.skip(MAX_DEPTH)?;
        if reader.is_at_end() { Ok(Self(bytes)) } else { Err(ValueError::NotCanonical) }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A 64-bit integer has exactly one encoding and no nesting: nothing to check.
    pub(crate) fn from_int(value: i64) -> Self {
        let mut writer = Writer::default();
        writer.int(value);
        Self(writer.into_bytes())
    }

    pub(crate) fn from_checked(bytes: &[u8]) -> Self {
        Self(bytes.to_owned())
    }
}

impl Value {
    /// The only encoding of this value.
    pub fn encode(&self) -> Result<Encoded, ValueError> {
        let mut writer = Writer::default();
        self.write(&mut writer, MAX_DEPTH)?;
        Ok(Encoded(writer.into_bytes()))
    }

    /// The value of canonical bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, ValueError> {
        let mut reader = Reader::new(bytes);
        let value = Self::read(&mut reader, MAX_DEPTH)?;
        if reader.is_at_end() { Ok(value) } else { Err(ValueError::NotCanonical) }
    }

    // spec: VAL-1 3a73, VAL-4 8576
    fn write(&self, writer: &mut Writer, depth: usize) -> Result<(), ValueError> {
        match self {
            Self::Null => writer.null(),
            Self::Bool(value) => writer.bool(*value),
            Self::Int(value) => writer.int(*value),
            Self::Float(value) => writer.float(*value)?,
            Self::Text(value) => writer.text(value),
            Self::Bytes(value) => writer.bytes(value),
            Self::List(items) => {
                let depth = depth.checked_sub(1).ok_or(ValueError::TooDeep)?;
                writer.list(items.len());
                items.iter().try_for_each(|item| item.write(writer, depth))?;
            }
            Self::Map(map) => {
                let depth = depth.checked_sub(1).ok_or(ValueError::TooDeep)?;
                writer.map(map.len());
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_by(|(a, _), (b, _)| key_order(a, b));
                for (key, value) in entries {
                    writer.text(key);
                    value.write(writer, depth)?;
                }
            }
        }
        Ok(())
    }

    // spec: VAL-1 3a73, VAL-4 8576, VAL-5 4807
    fn read(reader: &mut Reader<'_>, depth: usize) -> Result<Self, ValueError> {
        Ok(match reader.token()? {
            Token::Null => Self::Null,
            Token::Bool(value) => Self::Bool(value),
            Token::Int(value) => Self::Int(value),
            Token::Float(value) => Self::Float(value),
            Token::Text(value) => Self::Text(value.to_owned()),
            Token::Bytes(value) => Self::Bytes(value.to_owned()),
            Token::List(items) => {
                let depth = depth.checked_sub(1).ok_or(ValueError::TooDeep)?;
                let mut list = Vec::new();
                for _ in 0..items {
                    list.push(Self::read(reader, depth)?);
                }
                Self::List(list)
            }
            Token::Map(items) => {
                let depth = depth.checked_sub(1).ok_or(ValueError::TooDeep)?;
                let mut map = BTreeMap::new();
                let mut last = None;
                for _ in 0..items {
                    let key = reader.key(&mut last)?;
                    map.insert(key.to_owned(), Self::read(reader, depth)?);
                }
                Self::Map(map)
            }
        })
    }
}

macro_rules! value_from {
    ($($from:ty => $variant:ident),* $(,)?) => {
        $(impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        })*
    };
}
value_from!(bool => Bool, i64 => Int, i32 => Int, u32 => Int, f64 => Float, &str => Text, String => Text, Vec<u8> => Bytes);

/// The order of map keys: of their encodings, so shorter keys come first.
#[must_use]
// spec: VAL-2 59d7
pub fn key_order(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// Appendix A of RFC 8949, as far as it lies in our model.
    #[test]
    // spec: VAL-1 3a73, VAL-2 59d7
    fn values_encode_as_the_examples_of_rfc_8949_do() {
        let examples: [(Value, &[u8]); 16] = [
            (Value::Int(0), &[0x00]),
            (Value::Int(24), &[0x18, 0x18]),
            (Value::Int(1_000_000), &[0x1a, 0x00, 0x0f, 0x42, 0x40]),
            (Value::Int(i64::MIN), &[0x3b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            (Value::Int(-1), &[0x20]),
            (Value::Float(0.0), &[0xf9, 0x00, 0x00]),
            (Value::Float(-0.0), &[0xf9, 0x80, 0x00]),
            (Value::Float(1.0), &[0xf9, 0x3c, 0x00]),
            (Value::Float(1.1), &[0xfb, 0x3f, 0xf1, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a]),
            (Value::Float(65504.0), &[0xf9, 0x7b, 0xff]),
            (Value::Float(100_000.0), &[0xfa, 0x47, 0xc3, 0x50, 0x00]),
            (Value::Float(5.960_464_477_539_063e-8), &[0xf9, 0x00, 0x01]),
            (Value::Bool(true), &[0xf5]),
            (Value::Null, &[0xf6]),
            (Value::Bytes(vec![1, 2, 3, 4]), &[0x44, 1, 2, 3, 4]),
            (Value::Text("ü".into()), &[0x62, 0xc3, 0xbc]),
        ];
        for (value, bytes) in examples {
            assert_eq!(value.encode().unwrap().as_bytes(), bytes, "{value:?}");
            assert_eq!(Value::decode(bytes).unwrap(), value);
        }
    }

    #[test]
    // spec: VAL-1 3a73, VAL-2 59d7, VAL-3 915a
    fn any_other_encoding_is_refused() {
        let refused: [&[u8]; 20] = [
            &[],
            &[0x18, 0x17],
            &[0x19, 0x00, 0xff],
            &[0x38, 0x17],
            &[0x1b, 0x80, 0, 0, 0, 0, 0, 0, 0],
            &[0x3b, 0x80, 0, 0, 0, 0, 0, 0, 0],
            &[0xf9, 0x7c, 0x00],
            &[0xf9, 0x7e, 0x00],
            &[0xfa, 0x3f, 0x80, 0x00, 0x00],
            &[0xfb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0],
            &[0x7f, 0x61, 0x61, 0xff],
            &[0x9f, 0xff],
            &[0xbf, 0xff],
            &[0xc0, 0x00],
            &[0xf7],
            &[0x62, 0xc3, 0x28],
            &[0xa1, 0x01, 0x02],
            &[0xa2, 0x61, 0x62, 0x00, 0x61, 0x61, 0x00],
            &[0xa2, 0x61, 0x61, 0x00, 0x61, 0x61, 0x00],
            &[0x00, 0x00],
        ];
        for bytes in refused {
            assert!(Value::decode(bytes).is_err(), "{bytes:x?}");
            assert!(Encoded::from_bytes(bytes.to_vec()).is_err(), "{bytes:x?}");
        }
    }

    #[test]
    // spec: VAL-2 59d7, VAL-4 8576
    fn shorter_keys_sort_first_and_nesting_has_a_limit() {
        let map = Value::Map([("aa".to_owned(), Value::Null), ("b".to_owned(), Value::Null)].into());
        assert_eq!(map.encode().unwrap().as_bytes(), &[0xa2, 0x61, b'b', 0xf6, 0x62, b'a', b'a', 0xf6]);

        let nest = |levels: usize| (0..levels).fold(Value::Null, |inner, _| Value::List(vec![inner]));
        let deepest = nest(MAX_DEPTH).encode().unwrap();
        assert_eq!(Value::decode(deepest.as_bytes()).unwrap(), nest(MAX_DEPTH));
        assert_eq!(nest(MAX_DEPTH + 1).encode(), Err(ValueError::TooDeep));
        let deeper = [&[0x81][..], deepest.as_bytes()].concat();
        assert_eq!(Encoded::from_bytes(deeper), Err(ValueError::TooDeep));
    }

    #[test]
    // spec: VAL-5 4807
    fn a_list_that_claims_more_than_it_has_is_refused_at_once() {
        let claims = [0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(Value::decode(&claims), Err(ValueError::NotCanonical));
    }
}
