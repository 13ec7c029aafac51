//! The key-value data of a record, indexed but not decoded.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::ops::Range;

use zeroize::Zeroize;

use crate::value::{MAX_DEPTH, Reader, Token, ValueError, Writer};

/// A canonical CBOR map at the end of `bytes`, with the place of each entry, in the order of their keys.
#[derive(Clone)]
pub(crate) struct Data {
    bytes: Vec<u8>,
    start: usize,
    entries: Vec<Entry>,
    /// It was sealed, and is wiped on drop.
    secret: bool,
}

impl Drop for Data {
    fn drop(&mut self) {
        self.wipe();
    }
}

#[derive(Clone)]
struct Entry {
    key: Range<usize>,
    value: Range<usize>,
}

/// One key and its encoded value, borrowed from a record or owned by a journal.
pub(crate) type Pair<'a> = (Cow<'a, str>, Cow<'a, [u8]>);

impl Data {
    /// Indexes the map that fills `bytes` from `start` on. Every byte is checked, none is decoded into a value.
    // spec: VAL-3 915a, VAL-5 4807, REC-3 e864
    pub(crate) fn parse(bytes: Vec<u8>, start: usize, secret: bool) -> Result<Self, ValueError> {
        let map = bytes.get(start..).ok_or(ValueError::NotCanonical)?;
        let mut reader = Reader::new(map);
        let Token::Map(pairs) = reader.token()? else { return Err(ValueError::NotCanonical) };
        // At most as many as the input can hold, whatever it claims.
        let room = usize::try_from(pairs).unwrap_or(usize::MAX).min(map.len() / 2);
        let mut entries = Vec::with_capacity(room);
        let mut last = None;
        for _ in 0..pairs {
            let key = reader.key(&mut last)?;
            let value_from = reader.position().saturating_add(start);
            reader.skip(MAX_DEPTH)?;
            let value_to = reader.position().saturating_add(start);
            // The text of a key ends where its value begins.
            entries.push(Entry { key: value_from.saturating_sub(key.len())..value_from, value: value_from..value_to });
        }
        if reader.is_at_end() { Ok(Self { bytes, start, entries, secret }) } else { Err(ValueError::NotCanonical) }
    }

    /// The place of data that is yet to be read.
    pub(crate) const fn none() -> Self {
        Self { bytes: Vec::new(), start: 0, entries: Vec::new(), secret: false }
    }

    pub(crate) fn empty() -> Self {
        Self { bytes: encode(&[]), start: 0, entries: Vec::new(), secret: false }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&[u8]> {
        // The same order as `key_order`, without looking at the text as text.
        let order = |entry: &Entry| (entry.key.len(), self.slice(&entry.key)).cmp(&(key.len(), key.as_bytes()));
        let at = self.entries.binary_search_by(order).ok()?;
        self.entries.get(at).map(|entry| self.slice(&entry.value))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.entries.iter().map(|entry| (self.key(entry), self.slice(&entry.value)))
    }

    pub(crate) fn pairs(&self) -> Vec<Pair<'_>> {
        self.iter().map(|(key, value)| (Cow::Borrowed(key), Cow::Borrowed(value))).collect()
    }

    /// The map as stored.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Leaves nothing behind of what was sealed.
    // spec: SEAL-6 9ff8
    fn wipe(&mut self) {
        if self.secret {
            self.bytes.zeroize();
        }
    }

    fn key(&self, entry: &Entry) -> &str {
        core::str::from_utf8(self.slice(&entry.key)).unwrap_or_default()
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }
}

/// The map of `pairs`, which are in the order of their keys, without doubles.
// spec: VAL-3 915a
pub(crate) fn encode(pairs: &[Pair<'_>]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.map(pairs.len());
    for (key, value) in pairs {
        writer.text(key);
        writer.encoded(value);
    }
    writer.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    // spec: SEAL-6 9ff8
    fn what_was_sealed_is_wiped_copies_included_and_nothing_else_is() {
        for secret in [true, false] {
            let data = Data::parse(b"\xa1\x61a\x01".to_vec(), 0, secret).unwrap();
            for mut data in [data.clone(), data] {
                data.wipe();
                assert_eq!(data.bytes.is_empty(), secret);
            }
        }
    }
}
