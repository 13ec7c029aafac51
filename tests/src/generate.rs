//! Whole histories as plain data, for properties and fuzz targets alike: policies, requests, faults and moves of the clock.
//!
//! A step names what it acts on by a number that is taken modulo what there is, so every part of a history is a history
//! too, and a failing one can be cut down step by step.

use coatroom_core::{Carry, Policy, Settings};
use std::time::Duration;

use crate::choices::Choices;
use crate::model::exchange::Call;
use crate::model::{self, Ms};

pub const BROWSERS: usize = 3;
pub const MOST_STEPS: usize = 60;

/// Everything that a history is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct History {
    pub policy: model::Policy,
    /// How far ahead the clock of the second node is.
    pub drift: i64,
    pub steps: Vec<Step>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// A browser sends a request to a node; it is opened, and the handler makes its calls.
    Ask {
        browser: u8,
        node: u8,
        how: How,
        calls: Vec<Call>,
    },
    /// An exchange under way takes its next step, and nothing goes wrong: it closes, its swap is answered, it asks what
    /// became of a swap, its response arrives.
    Go(u8),
    /// An exchange under way takes all its steps.
    Finish(u8),
    /// An exchange with a swap to send meets with a fault.
    Fault(u8, Fault),
    /// A delayed swap reaches the store after all.
    Land(u8),
    /// A response arrives once more.
    Again(u8),
    Wait(Ms),
    /// The clock moves to (or just before, or just after) a moment at which something changes by itself.
    Until(u8, i8),
    /// The clock is set back.
    Back(Ms),
    /// One browser gets a cookie of another (or of its own), under the same or the other name: planted, stolen, mixed up.
    Copy {
        from: u8,
        to: u8,
        kind: u8,
        as_kind: u8,
    },
    /// A browser presents an id that was issued before.
    Old {
        browser: u8,
        kind: u8,
        which: u8,
    },
    Junk {
        browser: u8,
        kind: u8,
    },
    /// Somebody with the key and a backup of the store makes an id with the right tag that the store never issued.
    Forge {
        browser: u8,
    },
    /// The store loses the last write that it was not told to keep.
    Forget,
    /// A record is damaged, or replaced by one of a newer format.
    Damage {
        which: u8,
        newer: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    Plain,
    LoginTwice,
    VisitorTwice,
    /// The store does not answer to loads.
    StoreAway,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The swap is applied, the answer lost.
    Unheard,
    /// The swap is lost.
    Lost,
    /// The swap is under way for a while yet.
    Delayed,
    /// The driver loses its patience.
    GivenUp,
}

/// A history: of random length, or as long as the bytes last.
pub fn history(choices: &mut Choices<'_>) -> History {
    let policy = policy(choices);
    let drift = choices.weighted(&[(5, 0), (1, 1_900), (1, -1_900), (1, -2_001), (1, 4_500)]);
    let mut steps = beginning(choices);
    let count = choices.within(6, MOST_STEPS);
    while steps.len() < count && !choices.is_over() {
        steps.push(step(choices));
    }
    History { policy, drift, steps }
}

/// What has happened before: nothing in half of the histories; in the others somebody is on the way to a replaced id, for
/// that takes more steps in order than chance would put together.
fn beginning(choices: &mut Choices<'_>) -> Vec<Step> {
    let how_far = choices.weighted(&[(4, 0), (1, 3), (1, 5), (2, 6), (2, 8), (2, 10), (1, 12)]);
    let ask = |call| Step::Ask { browser: 0, node: 0, how: How::Plain, calls: vec![call] };
    let all = [
        ask(Call::Login("ann", 1)),
        Step::Finish(0),
        Step::Copy { from: 0, to: 2, kind: 0, as_kind: 0 },
        ask(Call::Get("a")),
        Step::Finish(0),
        Step::Wait(20_000),
        ask(Call::Rotate),
        Step::Go(0),
        Step::Finish(0),
        ask(Call::Set("a", 1)),
        Step::Finish(0),
        Step::Wait(9_000),
    ];
    all.into_iter().take(how_far).collect()
}

pub fn policy(choices: &mut Choices<'_>) -> model::Policy {
    let idle = choices.of(&[None, Some(25_000), Some(60_000)]);
    let rotate_every = choices.of(&[None, None, Some(1_000), Some(30_000)]);
    model::Policy {
        idle,
        touch: choices.of(&[None, None, Some(0), Some(1_000), Some(20_000)]),
        absolute: choices.of(&[100_000, 100_000, 40_000]),
        activation: choices.of(&[None, None, Some(8_000)]),
        skew: 2_000,
        rotate_every,
        grace: 10_000,
        carry: choices.of(&[None, None, Some(&["a"] as &[&str]), Some(&[])]),
        reuse_ends: !choices.one_in(4),
        strict: choices.one_in(5),
        tombstone: !choices.one_in(3),
        sealed: choices.one_in(4),
    }
}

/// The same policy for the core.
pub fn core_policy(policy: &model::Policy) -> Policy {
    let span = Duration::from_millis;
    let settings = Settings {
        idle: policy.idle.map(span),
        touch: policy.touch.map(span),
        absolute: span(policy.absolute),
        activation: policy.activation.map(span),
        skew: span(policy.skew),
        rotate_every: policy.rotate_every.map(span),
        grace: span(policy.grace),
        carry: match policy.carry {
            None => Carry::All,
            Some([]) => Carry::Nothing,
            Some(keys) => Carry::Keys(keys.iter().map(|key| (*key).to_owned()).collect()),
        },
        concurrency: if policy.strict { coatroom_core::Concurrency::Strict } else { coatroom_core::Concurrency::Merge },
        tombstone: span(if policy.tombstone { 3_600_000 } else { 0 }),
        sealed: policy.sealed,
        ..Settings::default()
    };
    let settings = if policy.reuse_ends { settings } else { settings.danger_refuse_reuse_only() };
    Policy::try_from(settings).unwrap()
}

pub fn step(choices: &mut Choices<'_>) -> Step {
    // Mostly the first browser, so that exchanges meet.
    let browser = |choices: &mut Choices<'_>| choices.weighted(&[(5, 0), (1, 1), (1, 2)]);
    let kind = |choices: &mut Choices<'_>| choices.weighted(&[(3, 0), (1, 1)]);
    let any = |choices: &mut Choices<'_>| choices.below(256) as u8;
    // Rare: what leaves little of a session to go on with.
    match choices.weighted(&[
        (48, 0),
        (60, 1),
        (16, 2),
        (10, 3),
        (3, 4),
        (2, 5),
        (12, 6),
        (16, 7),
        (2, 8),
        (6, 9),
        (6, 10),
        (2, 11),
        (2, 12),
        (3, 13),
        (1, 14),
    ]) {
        0 => Step::Ask {
            browser: browser(choices),
            node: choices.weighted(&[(2, 0), (1, 1)]),
            how: choices.weighted(&[
                (30, How::Plain),
                (1, How::LoginTwice),
                (1, How::VisitorTwice),
                (1, How::StoreAway),
            ]),
            calls: (0..choices.weighted(&[(2, 0), (6, 1), (3, 2), (1, 3), (1, 4)])).map(|_| call(choices)).collect(),
        },
        1 => Step::Go(any(choices)),
        2 => Step::Finish(any(choices)),
        3 => Step::Fault(any(choices), choices.of(&[Fault::Unheard, Fault::Lost, Fault::Delayed, Fault::GivenUp])),
        4 => Step::Land(any(choices)),
        5 => Step::Again(any(choices)),
        6 => {
            let most = choices.of(&[10, 3_000, 12_000, 25_000]);
            Step::Wait(1 + choices.below(most) as Ms)
        }
        7 => Step::Until(any(choices), choices.of(&[0, 0, -1, 1])),
        8 => Step::Back(1 + choices.below(3_000) as Ms),
        9 => Step::Copy {
            from: browser(choices),
            to: choices.below(BROWSERS) as u8,
            kind: kind(choices),
            as_kind: choices.weighted(&[(4, 0), (3, 1)]),
        },
        10 => Step::Old { browser: browser(choices), kind: kind(choices), which: any(choices) },
        11 => Step::Junk { browser: browser(choices), kind: kind(choices) },
        12 => Step::Forge { browser: browser(choices) },
        13 => Step::Forget,
        _ => Step::Damage { which: any(choices), newer: choices.one_in(2) },
    }
}

/// One call of a handler.
pub fn call(choices: &mut Choices<'_>) -> Call {
    let key = |choices: &mut Choices<'_>| choices.weighted(&[(3, "a"), (2, "bb"), (1, "c")]);
    let small = |choices: &mut Choices<'_>| 1 + choices.below(9) as i64;
    match choices.below(40) {
        0..4 => Call::Get(key(choices)),
        4 => Call::Keys,
        5..10 => Call::Set(key(choices), small(choices)),
        10 => Call::SetText(key(choices)),
        11 => Call::Set(key(choices), i64::MAX - 5),
        12..16 => Call::Add(key(choices), small(choices)),
        16..18 => Call::Bump(key(choices), small(choices)),
        18 => Call::Flip(key(choices)),
        19..21 => Call::Remove(key(choices)),
        21 => Call::Clear,
        22 => Call::Label(choices.below(3) as u8),
        23..28 => Call::Login(choices.weighted(&[(4, "ann"), (1, "bob")]), choices.below(3) as u8),
        28 => Call::Elevate(choices.below(4) as u8),
        29..34 => Call::Rotate,
        34..36 => Call::Logout,
        36 => Call::Discard,
        37 => Call::Strict,
        38 => Call::HeadSent,
        _ => Call::Get("a"),
    }
}
