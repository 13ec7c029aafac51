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

use minicbor::{Decoder, Encoder};

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
        Self(writer.bytes)
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
        Ok(Encoded(writer.bytes))
    }

    /// The value of canonical bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, ValueError> {
        let mut reader = Reader::new(bytes);
        let value = Self::read(&mut reader, MAX_DEPTH)?;
        if reader.is_at_end() { Ok(value) } else { Err(ValueError::NotCanonical) }
    }

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
pub fn key_order(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// One step of reading: a whole scalar, or the head of a list or map whose items follow.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Token<'a> {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A finite float.
    Float(f64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// This many items follow.
    List(u64),
    /// This many pairs of key and value follow.
    Map(u64),
}

/// Reads canonical bytes token by token, for bindings that build their own objects. Allocates nothing.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    length: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, length: bytes.len() }
    }

    /// The next token; refuses every encoding but the only one.
    pub fn token(&mut self) -> Result<Token<'a>, ValueError> {
        self.next().ok_or(ValueError::NotCanonical)
    }

    /// The next map key, which must sort after `last`; `last` becomes this key.
    pub fn key(&mut self, last: &mut Option<&'a str>) -> Result<&'a str, ValueError> {
        let Token::Text(key) = self.token()? else { return Err(ValueError::NotCanonical) };
        match last.replace(key) {
            Some(before) if key_order(before, key) != Ordering::Less => Err(ValueError::NotCanonical),
            _ => Ok(key),
        }
    }

    /// Checks and passes over one value with at most `depth` levels of nesting.
    pub fn skip(&mut self, depth: usize) -> Result<(), ValueError> {
        match self.token()? {
            Token::List(items) => {
                let depth = depth.checked_sub(1).ok_or(ValueError::TooDeep)?;
                (0..items).try_for_each(|_| self.skip(depth))
            }
            Token::Map(items) => {
                let depth = depth.checked_sub(1).ok_or(ValueError::TooDeep)?;
                let mut last = None;
                (0..items).try_for_each(|_| {
                    self.key(&mut last)?;
                    self.skip(depth)
                })
            }
            _ => Ok(()),
        }
    }

    /// Bytes read so far.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.length.saturating_sub(self.rest.len())
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    fn next(&mut self) -> Option<Token<'a>> {
        let start = self.rest;
        let (&initial, rest) = start.split_first()?;
        self.rest = rest;
        match initial {
            0xf4 => return Some(Token::Bool(false)),
            0xf5 => return Some(Token::Bool(true)),
            0xf6 => return Some(Token::Null),
            0xf9..=0xfb => return self.float(start),
            _ => {}
        }
        let argument = self.argument(initial & 0x1f)?;
        match initial >> 5 {
            0 => i64::try_from(argument).ok().map(Token::Int),
            1 => i64::try_from(argument).ok().map(|n| Token::Int(!n)),
            2 => self.take(argument).map(Token::Bytes),
            3 => self.take(argument).and_then(|bytes| core::str::from_utf8(bytes).ok()).map(Token::Text),
            4 => Some(Token::List(argument)),
            5 => Some(Token::Map(argument)),
            _ => None,
        }
    }

    /// The argument of a head (RFC 8949 section 3), in its shortest form or not at all.
    fn argument(&mut self, additional: u8) -> Option<u64> {
        let (argument, least) = match additional {
            0..=0x17 => return Some(u64::from(additional)),
            0x18 => (u64::from(u8::from_be_bytes(self.array()?)), 0x18),
            0x19 => (u64::from(u16::from_be_bytes(self.array()?)), 0x100),
            0x1a => (u64::from(u32::from_be_bytes(self.array()?)), 0x1_0000),
            0x1b => (u64::from_be_bytes(self.array()?), 0x1_0000_0000),
            _ => return None,
        };
        (argument >= least).then_some(argument)
    }

    /// A finite float whose encoding, which begins at `start`, is the shortest that keeps it.
    fn float(&mut self, start: &'a [u8]) -> Option<Token<'a>> {
        let mut decoder = Decoder::new(start);
        let value = match start.first()? {
            0xf9 => decoder.f16().ok().map(f64::from),
            0xfa => decoder.f32().ok().map(f64::from),
            _ => decoder.f64().ok(),
        }?;
        self.rest = start.get(decoder.position()..)?;
        (value.is_finite() && float_bytes(value) == decoder.position()).then_some(Token::Float(value))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*array)
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(taken)
    }
}

/// Writes the only encoding, for bindings that read their own objects.
///
/// The caller writes as many items as each head says, and map pairs in [`key_order`]; [`Encoded::from_bytes`] checks it.
#[derive(Default, Debug)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A null.
    pub fn null(&mut self) {
        self.put(|encoder| encoder.null().map(drop));
    }

    /// A boolean.
    pub fn bool(&mut self, value: bool) {
        self.put(|encoder| encoder.bool(value).map(drop));
    }

    /// An integer.
    pub fn int(&mut self, value: i64) {
        self.put(|encoder| encoder.i64(value).map(drop));
    }

    /// A finite float, in the shortest form that keeps it.
    pub fn float(&mut self, value: f64) -> Result<(), ValueError> {
        if !value.is_finite() {
            return Err(ValueError::NotFinite);
        }
        match (float_bytes(value), as_single(value)) {
            (3, Some(single)) => self.put(|encoder| encoder.f16(single).map(drop)),
            (5, Some(single)) => self.put(|encoder| encoder.f32(single).map(drop)),
            _ => self.put(|encoder| encoder.f64(value).map(drop)),
        }
        Ok(())
    }

    /// Text.
    pub fn text(&mut self, value: &str) {
        self.put(|encoder| encoder.str(value).map(drop));
    }

    /// Bytes.
    pub fn bytes(&mut self, value: &[u8]) {
        self.put(|encoder| encoder.bytes(value).map(drop));
    }

    /// The head of a list; `items` values follow.
    pub fn list(&mut self, items: usize) {
        self.put(|encoder| encoder.array(count(items)).map(drop));
    }

    /// The head of a map; `items` pairs of text and value follow, in [`key_order`].
    pub fn map(&mut self, items: usize) {
        self.put(|encoder| encoder.map(count(items)).map(drop));
    }

    /// An already encoded value.
    pub fn encoded(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
    }

    /// What was written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Writing to memory cannot fail: the error type has no value.
    fn put<E>(&mut self, write: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Result<(), E>) {
        let _infallible = write(&mut Encoder::new(&mut self.bytes));
    }
}

/// A length as CBOR counts it; `usize` is never wider than 64 bits.
fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Size of the shortest encoding of a float that loses nothing.
fn float_bytes(value: f64) -> usize {
    match as_single(value) {
        None => 9,
        Some(single) if is_half(single) => 3,
        Some(_) => 5,
    }
}

/// The same number in single precision, if there is one.
#[expect(clippy::cast_possible_truncation, reason = "the next line asks whether anything was lost")]
fn as_single(value: f64) -> Option<f32> {
    let single = value as f32;
    (f64::from(single).to_bits() == value.to_bits()).then_some(single)
}

/// Whether half precision holds this number exactly.
fn is_half(single: f32) -> bool {
    let mut place = [0; 3];
    let written = Encoder::new(place.as_mut_slice()).f16(single).is_ok();
    written && Decoder::new(&place).f16().is_ok_and(|back| back.to_bits() == single.to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// Appendix A of RFC 8949, as far as it lies in our model.
    #[test]
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
    fn a_list_that_claims_more_than_it_has_is_refused_at_once() {
        let claims = [0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(Value::decode(&claims), Err(ValueError::NotCanonical));
    }
}
