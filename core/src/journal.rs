//! What an exchange wants to change, kept apart from what it read: replayed on whatever record the store holds by then.

use alloc::borrow::{Cow, ToOwned};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::bugs::{Bug, planted};
use crate::data::Pair;
use crate::error::Error;
use crate::value::{Encoded, Reader, Token, key_order};

/// A function from the present value of a key to the next one; nothing means absent. Run again after a conflict.
pub type UpdateFn = Box<dyn FnMut(Option<&[u8]>) -> Result<Option<Encoded>, Error> + Send>;

/// Changes in normal form: what was overwritten within the exchange is gone, so its size is that of its outcome.
///
/// Keys are independent of each other, so one list per key keeps everything that the order of calls can mean; `clear`
/// is a write to every key present at replay.
#[derive(Default)]
pub(crate) struct Journal {
    cleared: bool,
    keys: BTreeMap<String, Change>,
}

#[derive(Default)]
struct Change {
    start: Start,
    then: Vec<Then>,
}

#[derive(Default)]
enum Start {
    #[default]
    Keep,
    Set(Encoded),
    Remove,
}

enum Then {
    Add(i64),
    Update(Update),
}

struct Update {
    function: UpdateFn,
    /// The last input and output: the function runs again only when the input differs.
    before: Option<Encoded>,
    after: Option<Encoded>,
}

impl Journal {
    pub(crate) fn is_empty(&self) -> bool {
        !self.cleared && self.keys.is_empty()
    }

    /// The keys that are written by name.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    pub(crate) fn set(&mut self, key: &str, value: Encoded) {
        self.keys.insert(key.to_owned(), Change { start: Start::Set(value), then: Vec::new() });
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.keys.insert(key.to_owned(), Change { start: Start::Remove, then: Vec::new() });
    }

    // spec: WRITE-4 1b2f
    pub(crate) fn clear(&mut self) {
        self.cleared = true;
        self.keys.clear();
    }

    /// Adds to the integer at `key`, which is `present` in this exchange; an absent key starts at 0. Returns the sum.
    // spec: WRITE-3 1359
    pub(crate) fn add(&mut self, key: &str, n: i64, present: Option<&[u8]>) -> Result<i64, Error> {
        let sum = sum(present, n)?;
        let change = self.keys.entry(key.to_owned()).or_default();
        match (&mut change.start, change.then.last_mut()) {
            (Start::Set(value), None) => *value = Encoded::from_int(sum),
            (_, Some(Then::Add(before))) if before.checked_add(n).is_some() => *before = before.saturating_add(n),
            _ => change.then.push(Then::Add(n)),
        }
        Ok(sum)
    }

    /// Runs `function` on the `present` value of `key`, and keeps it for a replay.
    // spec: WRITE-5 21e0
    pub(crate) fn update(&mut self, key: &str, present: Option<&[u8]>, mut function: UpdateFn) -> Result<(), Error> {
        let after = function(present)?;
        let before = present.map(Encoded::from_checked);
        self.keys.entry(key.to_owned()).or_default().then.push(Then::Update(Update { function, before, after }));
        Ok(())
    }

    /// What `key` holds in this exchange, given what it held before these changes.
    pub(crate) fn look<'a>(&'a self, key: &str, base: Option<&'a [u8]>) -> Option<Cow<'a, [u8]>> {
        let base = if self.cleared { None } else { base }.map(Cow::Borrowed);
        let Some(change) = self.keys.get(key) else { return base };
        let start = match &change.start {
            Start::Keep => base,
            Start::Set(value) => Some(Cow::Borrowed(value.as_bytes())),
            Start::Remove => None,
        };
        change.then.iter().fold(start, |value, then| match then {
            // The sum was checked when `add` was called; nothing under it can have changed since.
            Then::Add(n) => {
                sum(value.as_deref(), *n).ok().map(|sum| Cow::Owned(Encoded::from_int(sum).as_bytes().to_owned()))
            }
            Then::Update(update) => update.after.as_ref().map(|after| Cow::Borrowed(after.as_bytes())),
        })
    }

    /// The entries after these changes; refused whole when one of them cannot apply.
    // spec: WRITE-1 e9ba, WRITE-2 c432, WRITE-4 1b2f, WRITE-9 839c
    pub(crate) fn replay<'a>(&mut self, mut pairs: Vec<Pair<'a>>) -> Result<Vec<Pair<'a>>, Error> {
        if self.cleared {
            pairs.clear();
        }
        let mut added = Vec::new();
        let mut removed = Vec::new();
        for (key, change) in &mut self.keys {
            let place = pairs.binary_search_by(|(other, _)| key_order(other, key)).ok();
            let present = place.and_then(|at| pairs.get(at)).map(|(_, value)| value.as_ref());
            let next = change.replay(present)?;
            match (place.and_then(|at| pairs.get_mut(at)), next) {
                (Some((_, value)), Some(next)) => *value = Cow::Owned(next),
                (None, Some(next)) => added.push((Cow::Owned(key.clone()), Cow::Owned(next))),
                (Some(_), None) => removed.extend(place),
                (None, None) => {}
            }
        }
        removed.sort_unstable();
        let mut places = 0..;
        pairs.retain(|_| places.next().is_none_or(|at| removed.binary_search(&at).is_err()));
        if !added.is_empty() {
            pairs.append(&mut added);
            pairs.sort_by(|(a, _), (b, _)| key_order(a, b));
        }
        Ok(pairs)
    }
}

impl Change {
    // spec: WRITE-2 c432
    fn replay(&mut self, present: Option<&[u8]>) -> Result<Option<Vec<u8>>, Error> {
        let mut value = match &self.start {
            Start::Keep => present.map(ToOwned::to_owned),
            Start::Set(value) => Some(value.as_bytes().to_owned()),
            Start::Remove => None,
        };
        for then in &mut self.then {
            value = match then {
                Then::Add(n) => Some(Encoded::from_int(sum(value.as_deref(), *n)?).as_bytes().to_owned()),
                Then::Update(update) => update.replay(value.as_deref())?.map(|value| value.as_bytes().to_owned()),
            };
        }
        Ok(value)
    }
}

impl Update {
    // spec: WRITE-5 21e0
    fn replay(&mut self, present: Option<&[u8]>) -> Result<Option<&Encoded>, Error> {
        if self.before.as_ref().map(Encoded::as_bytes) != present && !planted(Bug::UpdateNotRerun) {
            self.after = (self.function)(present)?;
            self.before = present.map(Encoded::from_checked);
        }
        Ok(self.after.as_ref())
    }
}

// spec: WRITE-3 1359, WRITE-9 839c
fn sum(present: Option<&[u8]>, n: i64) -> Result<i64, Error> {
    let present = match present.map(|bytes| Reader::new(bytes).token()) {
        None => 0,
        Some(Ok(Token::Int(value))) => value,
        Some(_) => return Err(Error::NotAddable),
    };
    if planted(Bug::AddWraps) {
        return Ok(present.wrapping_add(n));
    }
    present.checked_add(n).ok_or(Error::NotAddable)
}
