//! Bytes as the calls of a handler and as the records that others wrote meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use coatroom_core::value::Encoded;
use coatroom_core::{Carry, Closing, Error, Listed, Loaded, Opening, Rules, Session, UpdateFn, Value};

use crate::rng::Fixed;
use crate::targets::choices::Choices;
use crate::targets::mint::{self, Claim, at};
use crate::targets::strict::{Who, Whole};
use crate::targets::{cbor, checks};
use crate::world::START;

type Data = BTreeMap<String, Value>;

static CARRIES: LazyLock<[(Carry, Arc<Rules>); 3]> = LazyLock::new(|| {
    [Carry::All, Carry::Keys(vec!["a".into(), "n".into()]), Carry::Nothing]
        .map(|carry| (carry.clone(), mint::rules(|settings| settings.carry = carry)))
});

const CLAIM: Claim = Claim { handle: [4; 12], generation: 0, key: 1, secret: [0; 32] };

static ID: LazyLock<String> = LazyLock::new(|| CLAIM.text().unwrap());

const KEYS: [&str; 5] = ["a", "n", "", "key", "\u{e9}"];

/// One call, and all that it can do to a map.
#[derive(Clone, Debug)]
enum Call {
    Set(&'static str, Value),
    Remove(&'static str),
    Clear,
    Add(&'static str, i64),
    Update(&'static str, Change),
    Login,
}

#[derive(Clone, Debug)]
enum Change {
    To(Value),
    Append,
    Away,
    /// Refuses whatever is not a list.
    ListOnly,
}

/// After any calls and any conflicts, what is written is what the same calls make of the record that was met last, by a
/// plain model that runs them one by one; or the exchange is refused whole, exactly when a call cannot apply there.
pub fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let (carry, rules) = &CARRIES[choices.below(3)];
    let login = choices.one_in(2);
    let first = data(&mut choices);
    let mut record = Whole {
        version: 1,
        created: START,
        seen: START,
        deadline: START + 1_000_000,
        digest: CLAIM.digest(),
        issued: START,
        confirmed: START,
        who: login.then(|| Who { name: "alice".into(), ..Who::default() }),
        ..Whole::default()
    };
    fill(&mut record, &first);
    let header = format!("{}={}", if login { "__Host-id" } else { "__Host-visitor" }, *ID);
    let Opening::Load(load) = rules.open(header.as_bytes(), at(1)) else { panic!() };
    let Opening::Ready(mut session) = load.found(Loaded::Found(record.write())) else { panic!() };

    let mut calls = Vec::new();
    let mut view = first;
    for _ in 0..choices.below(12) {
        let call = call(&mut choices);
        let expected = model(&[&calls[..], std::slice::from_ref(&call)].concat(), &view_of(&record), carry, login);
        let worked = apply(&call, &mut session);
        assert_eq!(worked.is_ok(), expected.is_ok(), "{call:?}: {worked:?}, model: {expected:?}");
        if let Ok(after) = expected {
            calls.push(call);
            view = after;
        }
        looks(&mut session, &view);
    }
    let mut closing = session.close(at(2), &mut Fixed::new(1));
    for round in 0..5 {
        let expected = model(&settled(&calls), &view_of(&record), carry, login);
        closing = match closing {
            Closing::Failed(failure) => {
                assert!(matches!(failure.error, Error::NotAddable | Error::UpdateRefused), "{:?}", failure.error);
                return assert!(expected.is_err(), "refused, but {expected:?}");
            }
            Closing::Wait(_) => panic!("nobody has a turn"),
            Closing::Done(_) => return assert_eq!(Ok(view_of(&record)), expected, "nothing written for {calls:?}"),
            Closing::Enter(_) => panic!("entered with its swap"),
            Closing::Save(save) => {
                let asked = checks::Asked { data: true, login: true, ..Default::default() };
                let new = checks::swap(save.swap(), Some(&record.write()), asked).unwrap();
                let expected = expected.unwrap_or_else(|()| panic!("{calls:?} cannot apply in round {round}"));
                assert_eq!(view_of(&new), expected, "after {calls:?}");
                if choices.one_in(2) && round < 4 {
                    record.version += 1;
                    let others = data(&mut choices);
                    fill(&mut record, &others);
                    save.conflicted(Some(record.write()))
                } else {
                    let Closing::Done(reply) = save.entered(Listed::default()) else { panic!("one write is enough") };
                    return drop(checks::cookies(&reply));
                }
            }
        }
    }
}

/// What the handler sees is what the model has.
fn looks(session: &mut Session, view: &Data) {
    for key in KEYS {
        let found = session.get_encoded(key).map(|bytes| cbor::whole(&bytes).expect("not canonical"));
        assert_eq!(found.as_ref(), view.get(key), "{key}");
    }
    assert_eq!(session.keys().len(), view.len());
}

/// What is left of the calls for a replay: within the calls before the login, and within those after it, what was written
/// over is gone, and neighbouring additions are one.
fn settled(calls: &[Call]) -> Vec<Call> {
    let mut settled: Vec<Call> = Vec::new();
    let mut from = 0;
    for call in calls {
        let key = call.key();
        let same = |other: &Call| other.key() == key;
        match call {
            Call::Login if from == 0 => from = settled.len() + 1,
            Call::Login => continue,
            Call::Clear => settled.truncate(from),
            Call::Set(..) | Call::Remove(_) => {
                let later = settled.split_off(from);
                settled.extend(later.into_iter().filter(|other| !same(other)));
            }
            Call::Add(_, n) => {
                if let Some(Call::Add(_, before)) = settled[from..].iter_mut().rev().find(|other| same(other))
                    && let Some(sum) = before.checked_add(*n)
                {
                    *before = sum;
                    continue;
                }
            }
            Call::Update(..) => {}
        }
        settled.push(call.clone());
    }
    settled
}

impl Call {
    fn key(&self) -> Option<&'static str> {
        match self {
            Self::Set(key, _) | Self::Remove(key) | Self::Add(key, _) | Self::Update(key, _) => Some(key),
            Self::Clear | Self::Login => None,
        }
    }
}

fn model(calls: &[Call], from: &Data, carry: &Carry, logged_in: bool) -> Result<Data, ()> {
    let mut data = from.clone();
    // Only the last login parts what is carried from what is not, and it looks at all that came before it at once.
    let mut carried = false;
    for call in calls {
        match call {
            Call::Set(key, value) => drop(data.insert((*key).into(), value.clone())),
            Call::Remove(key) => drop(data.remove(*key)),
            Call::Clear => data.clear(),
            Call::Add(key, n) => {
                let sum = match data.get(*key) {
                    None => Some(*n),
                    Some(Value::Int(present)) => present.checked_add(*n),
                    Some(_) => None,
                };
                data.insert((*key).into(), Value::Int(sum.ok_or(())?));
            }
            Call::Update(key, change) => match changed(change, data.get(*key))? {
                Some(value) => drop(data.insert((*key).into(), value)),
                None => drop(data.remove(*key)),
            },
            Call::Login if logged_in || carried => {}
            Call::Login => {
                carried = true;
                data.retain(|key, _| match carry {
                    Carry::All => true,
                    Carry::Keys(keys) => keys.contains(key),
                    Carry::Nothing => false,
                });
            }
        }
    }
    Ok(data)
}

fn changed(change: &Change, present: Option<&Value>) -> Result<Option<Value>, ()> {
    match (change, present) {
        (Change::To(value), _) => Ok(Some(value.clone())),
        (Change::Away, _) => Ok(None),
        (_, Some(Value::List(items))) => Ok(Some(Value::List([&items[..], &[Value::Null]].concat()))),
        (Change::Append, _) => Ok(Some(Value::List(Vec::new()))),
        (Change::ListOnly, _) => Err(()),
    }
}

fn apply(call: &Call, session: &mut Session) -> Result<(), Error> {
    match call.clone() {
        Call::Set(key, value) => session.set(key, value),
        Call::Remove(key) => {
            session.remove(key);
            Ok(())
        }
        Call::Clear => {
            session.clear();
            Ok(())
        }
        Call::Add(key, n) => session.add(key, n).map(drop),
        Call::Update(key, change) => session.update(key, function(change)),
        Call::Login => session.login("alice", &[] as &[&str], 1),
    }
}

fn function(change: Change) -> UpdateFn {
    Box::new(move |present| {
        let present = present.map(|bytes| cbor::whole(bytes).unwrap());
        let next = changed(&change, present.as_ref()).map_err(|()| Error::UpdateRefused)?;
        next.map(|value| Encoded::from_bytes(cbor::write(&value)).map_err(Error::from)).transpose()
    })
}

fn call(choices: &mut Choices<'_>) -> Call {
    let kind = choices.below(12);
    let key = choices.of(&KEYS);
    match kind {
        0 | 1 => Call::Set(key, value(choices)),
        2 => Call::Remove(key),
        3 => Call::Clear,
        4..7 => Call::Add(key, number(choices)),
        7 => Call::Update(key, Change::To(value(choices))),
        8 => Call::Update(key, Change::Append),
        9 => Call::Update(key, Change::ListOnly),
        10 => Call::Update(key, Change::Away),
        _ => Call::Login,
    }
}

fn number(choices: &mut Choices<'_>) -> i64 {
    choices.of(&[0, 1, -1, 7, i64::MAX, i64::MIN, i64::MAX - 1, 1 << 40])
}

/// A few shapes of their own, or whatever the bytes decode to.
fn value(choices: &mut Choices<'_>) -> Value {
    match choices.below(8) {
        0 => Value::Null,
        1..4 => Value::Int(number(choices)),
        4 => Value::Text("text".into()),
        5 => Value::List(vec![Value::Float(0.5), Value::Bool(true)]),
        6 => Value::Map([("aa".into(), Value::Null), ("b".into(), Value::Bytes(vec![0]))].into()),
        _ => {
            let length = choices.below(32);
            cbor::whole(choices.some(length)).unwrap_or(Value::Float(-0.0))
        }
    }
}

fn data(choices: &mut Choices<'_>) -> Data {
    (0..choices.below(5)).map(|_| (choices.of(&KEYS).to_owned(), value(choices))).collect()
}

fn fill(record: &mut Whole, data: &Data) {
    record.data = data.iter().map(|(key, value)| (key.clone(), cbor::write(value))).collect();
}

fn view_of(record: &Whole) -> Data {
    record.data.iter().map(|(key, value)| (key.clone(), cbor::whole(value).unwrap())).collect()
}
