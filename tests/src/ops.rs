//! What a handler may do with its session, and generators of it.

use coatroom_core::value::Encoded;
use coatroom_core::{Session, UpdateFn, Value};
use proptest::prelude::*;

/// One call on the session. Written values carry the mark of their exchange, so that a record tells who wrote it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Op {
    Get(&'static str),
    /// Sets the key to the mark.
    Set(&'static str),
    /// Adds the share of this exchange to `n`.
    Add,
    /// Reads `n`, adds the share of this exchange, and sets it: right for an exchange that has its turn.
    ReadAdd,
    /// Adds the share of this exchange to `u` through a function.
    Update,
    Remove(&'static str),
    Clear,
    Login(&'static str),
    Elevate,
    Rotate,
    Logout,
    Discard,
    Strict,
    HeadSent,
}

/// What exchange number `exchange` writes where it sets a key.
pub fn mark(exchange: usize) -> i64 {
    1000 + i64::try_from(exchange).unwrap()
}

/// What it adds: a power of eight, so that a sum shows how often each was added. There is room for 20 exchanges.
pub fn share(exchange: usize) -> i64 {
    1 << (3 * exchange)
}

/// How often the share of `exchange` is in `sum`.
pub fn times(sum: i64, exchange: usize) -> i64 {
    sum >> (3 * exchange) & 7
}

impl Op {
    /// Whether it changes data, or who is logged in.
    pub fn writes(&self) -> bool {
        !matches!(self, Self::Get(_) | Self::Rotate | Self::Logout | Self::Discard | Self::Strict | Self::HeadSent)
    }

    /// Refusals of single calls are the handler's to see; here it carries on.
    pub fn apply(self, session: &mut Session, exchange: usize) {
        match self {
            Self::Get(key) => drop(session.get(key)),
            Self::Set(key) => drop(session.set(key, mark(exchange))),
            Self::Add => drop(session.add("n", share(exchange))),
            Self::ReadAdd => {
                let present = match session.get("n") {
                    Some(Value::Int(present)) => present,
                    _ => 0,
                };
                let _refusal = session.set("n", present + share(exchange));
            }
            Self::Update => drop(session.update("u", adder(share(exchange)))),
            Self::Remove(key) => session.remove(key),
            Self::Clear => session.clear(),
            Self::Login(name) => drop(session.login(name, &["user"], 1)),
            Self::Elevate => drop(session.elevate(2)),
            Self::Rotate => drop(session.rotate()),
            Self::Logout => session.logout(),
            Self::Discard => session.discard(),
            Self::Strict => session.strict(),
            Self::HeadSent => session.head_sent(),
        }
    }
}

/// The function that adds `n`.
pub fn adder(n: i64) -> UpdateFn {
    Box::new(move |present| {
        let present = match present.map(Value::decode) {
            Some(Ok(Value::Int(present))) => present,
            _ => 0,
        };
        Ok(Some(Encoded::from_bytes(Value::Int(present + n).encode()?.as_bytes().to_vec())?))
    })
}

/// Any call that a handler may make, the common ones more often.
pub fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => key().prop_map(Op::Get),
        4 => key().prop_map(Op::Set),
        3 => Just(Op::Add),
        2 => Just(Op::Update),
        1 => key().prop_map(Op::Remove),
        1 => Just(Op::Clear),
        3 => name().prop_map(Op::Login),
        1 => Just(Op::Elevate),
        3 => Just(Op::Rotate),
        1 => Just(Op::Logout),
        1 => Just(Op::Discard),
        1 => Just(Op::Strict),
        1 => Just(Op::HeadSent),
    ]
}

/// Calls that change nothing about who is logged in.
pub fn quiet_op() -> impl Strategy<Value = Op> {
    prop_oneof![key().prop_map(Op::Get), key().prop_map(Op::Set), Just(Op::Add), Just(Op::Update), Just(Op::Rotate)]
}

pub fn key() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("a"), Just("b"), Just("c")]
}

pub fn name() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => Just("alice"), 1 => Just("bob")]
}

/// What one handler does: a few calls, of which at most one is a login, and a change of mind comes last.
pub fn handler(op: impl Strategy<Value = Op>) -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op, 0..5).prop_map(|mut ops| {
        let mut logins = 0;
        ops.retain(|op| {
            logins += usize::from(matches!(op, Op::Login(_)));
            !matches!(op, Op::Login(_)) || logins == 1
        });
        ops.sort_by_key(|op| *op == Op::Discard);
        ops
    })
}

/// Values of the closed model, nested a little.
pub fn any_value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(Value::Float),
        any::<f32>().prop_filter("finite", |float| float.is_finite()).prop_map(|float| Value::Float(float.into())),
        ".{0,20}".prop_map(Value::Text),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
    ];
    scalar.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            prop::collection::btree_map(".{0,8}", inner, 0..6).prop_map(Value::Map),
        ]
    })
}
