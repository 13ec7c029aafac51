//! A second writer and reader of batches of edits, from the table in `ffi-kotlin/src/edits.rs`, and what a plain map makes
//! of them.

use std::collections::BTreeMap;

use coatroom_core::Value;

use crate::targets::cbor;
use crate::targets::choices::Choices;

pub const PEOPLE: [&str; 3] = ["alice", "bob", ""];
const KEYS: [&str; 5] = ["a", "n", "", "key", "\u{e9}"];
/// Stands in values, and must stand in no error.
pub const VALUE: &str = "kept from errors";

/// One thing that a handler did.
#[derive(Clone, PartialEq, Debug)]
pub enum Edit {
    Read(String),
    Keys,
    Who,
    Set(String, Vec<u8>),
    Remove(String),
    Clear,
    Add(String, i64),
    Strict,
    Login(String, Vec<String>, i64),
    Remember,
    Elevate(i64),
    Logout,
    Rotate,
    Client(String, String),
    Revoked(i64),
    HeadSent,
    Discard,
}

impl Edit {
    fn write(&self) -> Value {
        let text = |text: &String| Value::Text(text.clone());
        let (word, parts) = match self {
            Self::Read(key) => ("read", vec![text(key)]),
            Self::Keys => ("keys", vec![]),
            Self::Who => ("who", vec![]),
            Self::Set(key, value) => ("set", vec![text(key), Value::Bytes(value.clone())]),
            Self::Remove(key) => ("remove", vec![text(key)]),
            Self::Clear => ("clear", vec![]),
            Self::Add(key, n) => ("add", vec![text(key), Value::Int(*n)]),
            Self::Strict => ("strict", vec![]),
            Self::Login(name, roles, level) => {
                ("login", vec![text(name), Value::List(roles.iter().map(text).collect()), Value::Int(*level)])
            }
            Self::Remember => ("remember", vec![]),
            Self::Elevate(level) => ("elevate", vec![Value::Int(*level)]),
            Self::Logout => ("logout", vec![]),
            Self::Rotate => ("rotate", vec![]),
            Self::Client(label, address) => ("client", vec![text(label), text(address)]),
            Self::Revoked(ms) => ("revoked", vec![Value::Int(*ms)]),
            Self::HeadSent => ("head-sent", vec![]),
            Self::Discard => ("discard", vec![]),
        };
        Value::List([vec![word.into()], parts].concat())
    }

    fn read(value: Value) -> Option<Self> {
        let Value::List(items) = value else { return None };
        let (word, parts) = items.split_first()?;
        let Value::Text(word) = word else { return None };
        Some(match (word.as_str(), parts) {
            ("read", [Value::Text(key)]) => Self::Read(key.clone()),
            ("keys", []) => Self::Keys,
            ("who", []) => Self::Who,
            ("set", [Value::Text(key), Value::Bytes(value)]) => Self::Set(key.clone(), value.clone()),
            ("remove", [Value::Text(key)]) => Self::Remove(key.clone()),
            ("clear", []) => Self::Clear,
            ("add", [Value::Text(key), Value::Int(n)]) => Self::Add(key.clone(), *n),
            ("strict", []) => Self::Strict,
            ("login", [Value::Text(name), Value::List(roles), Value::Int(level @ 0..=255)]) => {
                let role = |role: &Value| if let Value::Text(role) = role { Some(role.clone()) } else { None };
                Self::Login(name.clone(), roles.iter().map(role).collect::<Option<_>>()?, *level)
            }
            ("remember", []) => Self::Remember,
            ("elevate", [Value::Int(level @ 0..=255)]) => Self::Elevate(*level),
            ("logout", []) => Self::Logout,
            ("rotate", []) => Self::Rotate,
            ("client", [Value::Text(label), Value::Text(address)]) => Self::Client(label.clone(), address.clone()),
            ("revoked", [Value::Int(ms)]) => Self::Revoked(*ms),
            ("head-sent", []) => Self::HeadSent,
            ("discard", []) => Self::Discard,
            _ => return None,
        })
    }

    fn made(choices: &mut Choices<'_>) -> Self {
        let key = |choices: &mut Choices<'_>| choices.of(&KEYS).to_owned();
        match choices.below(24) {
            0 => Self::Read(key(choices)),
            1 => Self::Keys,
            2 => Self::Who,
            3..6 => Self::Set(key(choices), value(choices)),
            6 => Self::Remove(key(choices)),
            7 => Self::Clear,
            8..11 => Self::Add(key(choices), number(choices)),
            11 => Self::Strict,
            12..15 => {
                let roles = (0..choices.below(3)).map(|_| choices.of(&["buyer", "admin", ""]).to_owned()).collect();
                Self::Login(choices.of(&PEOPLE).to_owned(), roles, choices.of(&[1, 0, 2, 255, 256, -1]))
            }
            15 | 16 => Self::Remember,
            17 => Self::Elevate(choices.of(&[2, 0, 255, 256, i64::MIN])),
            18 => Self::Logout,
            19 => Self::Rotate,
            20 => Self::Client(key(choices), key(choices)),
            21 => Self::Revoked(number(choices)),
            22 => Self::HeadSent,
            _ => Self::Discard,
        }
    }
}

fn number(choices: &mut Choices<'_>) -> i64 {
    choices.of(&[1, 0, -1, 7, i64::MAX, i64::MIN, i64::MAX - 1, 1 << 40])
}

fn value(choices: &mut Choices<'_>) -> Vec<u8> {
    match choices.below(5) {
        0 => cbor::write(&Value::Text(VALUE.into())),
        1 | 2 => cbor::write(&Value::Int(number(choices))),
        3 => cbor::write(&Value::List(vec![Value::Null, Value::Float(0.5)])),
        _ => {
            let length = choices.below(32);
            choices.some(length).to_vec()
        }
    }
}

/// A batch: as an application writes it, bent, or any bytes.
pub fn batch(choices: &mut Choices<'_>) -> Vec<u8> {
    let kind = choices.below(8);
    if kind == 0 {
        let length = choices.below(64);
        return choices.some(length).to_vec();
    }
    let edits = (0..choices.below(6)).map(|_| Edit::made(choices).write()).collect();
    let mut bytes = cbor::write(&Value::List(edits));
    if kind < 3 {
        let at = choices.below(bytes.len());
        match choices.below(4) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, choices.byte()),
            2 => bytes.extend_from_slice(choices.some(at % 4)),
            _ => bytes[at] = choices.byte(),
        }
    }
    bytes
}

/// The edits up to the first that is none, and whether there is no such.
pub fn read(bytes: &[u8]) -> (Vec<Edit>, bool) {
    let (mut rest, mut edits) = (bytes, Vec::new());
    if bytes.is_empty() {
        return (edits, true);
    }
    let Some(count) = cbor::list(&mut rest) else { return (edits, false) };
    for _ in 0..count {
        let Some(edit) = cbor::read(&mut rest, 4).and_then(Edit::read) else { return (edits, false) };
        edits.push(edit);
    }
    (edits, rest.is_empty())
}

/// What everybody can see of a session.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Seen {
    pub data: BTreeMap<String, Vec<u8>>,
    /// Name, roles, level.
    pub who: Option<(String, Vec<String>, u8)>,
}

/// The credential beside the session.
#[derive(Clone, Default, Debug)]
pub struct Remember {
    /// Whether logins are remembered here at all.
    pub can: bool,
    /// Whose login is.
    pub before: Option<String>,
    /// Whose is asked for.
    pub asked: Option<String>,
    /// Who logged in last.
    pub entered: Option<String>,
    pub has_left: bool,
}

impl Remember {
    /// Whose login is remembered once the exchange is closed.
    pub fn after(&self) -> Option<String> {
        let stays = |name: &String| !self.has_left && self.entered.as_ref().is_none_or(|entered| entered == name);
        self.asked.clone().or_else(|| self.before.clone().filter(stays))
    }
}

/// An exchange under way.
#[derive(Clone, Debug)]
pub struct Draft {
    pub before: Seen,
    pub seen: Seen,
    pub remember: Remember,
    pub head_sent: bool,
    /// The session was used.
    pub is_used: bool,
    pub sum: Option<i64>,
}

impl Draft {
    /// Does what a batch says, up to what is refused, and says the code of that.
    pub fn apply(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let (edits, is_whole) = read(bytes);
        self.sum = None;
        edits.into_iter().try_for_each(|edit| self.edit(edit))?;
        if is_whole { Ok(()) } else { Err("border") }
    }

    fn edit(&mut self, edit: Edit) -> Result<(), &'static str> {
        let uses = !matches!(edit, Edit::Strict | Edit::Revoked(_) | Edit::HeadSent | Edit::Discard);
        let Seen { data, who } = &mut self.seen;
        match edit {
            Edit::Read(_) | Edit::Keys | Edit::Who | Edit::Strict | Edit::Rotate => {}
            Edit::Client(..) | Edit::Revoked(_) => {}
            Edit::Set(key, value) => {
                cbor::whole(&value).ok_or("value")?;
                data.insert(key, value);
            }
            Edit::Remove(key) => drop(data.remove(&key)),
            Edit::Clear => data.clear(),
            Edit::Add(key, n) => {
                let present = data.get(&key).map_or(Some(Value::Int(0)), |value| cbor::whole(value));
                let Some(Value::Int(present)) = present else { return Err("not-addable") };
                self.sum = Some(present.checked_add(n).ok_or("not-addable")?);
                data.insert(key, cbor::write(&Value::Int(present + n)));
            }
            Edit::Login(name, mut roles, level) => {
                if name.is_empty() || roles.iter().any(String::is_empty) {
                    return Err("bad-principal");
                }
                roles.sort();
                roles.dedup();
                if who.as_ref().is_some_and(|(before, ..)| *before != name) {
                    data.clear();
                }
                // A credential is one of whoever is logged in.
                self.remember.asked = self.remember.asked.take().filter(|asked| *asked == name);
                self.remember.entered = Some(name.clone());
                *who = Some((name, roles, level as u8));
            }
            Edit::Remember if !self.remember.can => return Err("config"),
            Edit::Remember => match who {
                None => return Err("unauthenticated"),
                Some((_, _, 0)) => return Err("not-fresh"),
                Some((name, ..)) => self.remember.asked = Some(name.clone()),
            },
            Edit::Elevate(level) => who.as_mut().ok_or("not-logged-in")?.2 = level as u8,
            Edit::Logout => {
                self.seen = Seen::default();
                self.remember = Remember { asked: None, entered: None, has_left: true, ..self.remember.clone() };
            }
            Edit::HeadSent => self.head_sent = true,
            Edit::Discard => self.discard(),
        }
        self.is_used |= uses;
        Ok(())
    }

    pub fn discard(&mut self) {
        self.seen = self.before.clone();
        self.remember = Remember { asked: None, entered: None, has_left: false, ..self.remember.clone() };
    }
}
