//! Canonical CBOR, token by token: one strict reader, one writer (RFC 8949 section 4.2.1).

use alloc::vec::Vec;
use core::cmp::Ordering;

use minicbor::{Decoder, Encoder};

use crate::bugs::{Bug, planted};
use crate::value::{ValueError, key_order};

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
    // spec: VAL-2 59d7
    pub fn key(&mut self, last: &mut Option<&'a str>) -> Result<&'a str, ValueError> {
        let Token::Text(key) = self.token()? else { return Err(ValueError::NotCanonical) };
        match last.replace(key) {
            Some(before) if key_order(before, key) != Ordering::Less => Err(ValueError::NotCanonical),
            _ => Ok(key),
        }
    }

    /// Checks and passes over one value with at most `depth` levels of nesting.
    // spec: VAL-3 915a, VAL-4 8576
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

    // spec: VAL-1 3a73, VAL-2 59d7
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
    // spec: VAL-2 59d7
    fn argument(&mut self, additional: u8) -> Option<u64> {
        let (argument, least) = match additional {
            0..=0x17 => return Some(u64::from(additional)),
            0x18 => (u64::from(u8::from_be_bytes(self.array()?)), 0x18),
            0x19 => (u64::from(u16::from_be_bytes(self.array()?)), 0x100),
            0x1a => (u64::from(u32::from_be_bytes(self.array()?)), 0x1_0000),
            0x1b => (u64::from_be_bytes(self.array()?), 0x1_0000_0000),
            _ => return None,
        };
        (argument >= least || planted(Bug::LooseCbor)).then_some(argument)
    }

    /// A finite float whose encoding, which begins at `start`, is the shortest that keeps it.
    // spec: VAL-1 3a73, VAL-2 59d7
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

    // spec: VAL-5 4807
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
    // spec: VAL-1 3a73, VAL-2 59d7
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
// spec: VAL-2 59d7
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
