//! Bytes as a walk through a world of browsers and overlapping exchanges, over an honest store that loses replies.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::ops::Op;
use crate::scenarios::{BEFORES, Before};
use crate::targets::choices::Choices;
use crate::walk::Move;
use crate::world::{ATTACKER, THIEF, VICTIM, World};

/// Which promises the world keeps, and so which claims are at stake.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Promise {
    None,
    /// The victim alone, in time: no rotation logs it out.
    Timely,
    /// One login: nothing anonymous undoes it.
    OneLogin,
    /// Some take turns.
    Turns,
}

const KEYS: [&str; 3] = ["a", "b", "c"];

/// Beginnings, made once.
static WORLDS: LazyLock<Mutex<BTreeMap<(usize, Promise), World>>> = LazyLock::new(Mutex::default);

/// All the claims of [`crate::invariants`] hold after every step.
pub fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let (place, promise, faults) = beginning(&mut choices);
    let mut moves = Vec::new();
    while !choices.is_empty() && moves.len() < 90 {
        moves.push(next(&mut choices, promise));
    }
    if promise == Promise::OneLogin {
        moves.insert(moves.len() / 2, Move::Ask(VICTIM, vec![Op::Set("a"), Op::Login("alice")]));
    }
    let mut world = world(place, promise);
    if let Err(violation) = world.walk(&moves, faults) {
        panic!("{violation}, from {:?}, {promise:?}, faults: {faults}: {moves:?}", BEFORES[place]);
    }
}

fn beginning(choices: &mut Choices<'_>) -> (usize, Promise, bool) {
    let promise = choices.of(&[Promise::None, Promise::Turns, Promise::Timely, Promise::OneLogin]);
    let befores: &[Before] = match promise {
        Promise::None | Promise::Turns => &BEFORES,
        Promise::Timely => &[Before::LoggedIn, Before::JustLoggedIn, Before::Pending],
        Promise::OneLogin => &[Before::Nobody, Before::Visitor, Before::Planted],
    };
    let before = choices.of(befores);
    (BEFORES.iter().position(|other| *other == before).unwrap(), promise, choices.one_in(2))
}

fn world(place: usize, promise: Promise) -> World {
    let mut worlds = WORLDS.lock().unwrap_or_else(PoisonError::into_inner);
    let make = || {
        let made = BEFORES[place].world(|setup| match promise {
            Promise::None | Promise::Turns => {}
            Promise::Timely => (setup.quiet, setup.timely) = (true, true),
            Promise::OneLogin => setup.one_login = true,
        });
        made.unwrap_or_else(|violation| panic!("in the beginning {:?}: {violation}", BEFORES[place]))
    };
    worlds.entry((place, promise)).or_insert_with(make).clone()
}

fn next(choices: &mut Choices<'_>, promise: Promise) -> Move {
    match choices.below(12) {
        0 | 1 => {
            let browser = if promise == Promise::Timely {
                VICTIM
            } else {
                choices.of(&[VICTIM, VICTIM, VICTIM, ATTACKER, THIEF])
            };
            let mut ops: Vec<Op> = (0..choices.below(5)).map(|_| op(choices, promise)).collect();
            let mut logins = 0;
            ops.retain(|op| {
                logins += usize::from(matches!(op, Op::Login(_)));
                !matches!(op, Op::Login(_)) || logins == 1
            });
            ops.sort_by_key(|op| *op == Op::Discard);
            Move::Ask(browser, ops)
        }
        2..9 => Move::Any(choices.below(256)),
        9 | 10 => Move::Finish(choices.below(256)),
        _ => Move::Wait(wait(choices, promise)),
    }
}

fn op(choices: &mut Choices<'_>, promise: Promise) -> Op {
    let key = choices.of(&KEYS);
    let all = [
        Op::Get(key),
        Op::Set(key),
        Op::Add,
        Op::Discard,
        Op::Update,
        Op::Rotate,
        Op::Remove(key),
        Op::Clear,
        Op::Login("alice"),
        Op::Login("bob"),
        Op::Elevate,
        Op::Logout,
        Op::Strict,
        Op::HeadSent,
    ];
    match promise {
        Promise::None => choices.of(&all),
        Promise::Turns => choices.of(&all.map(|op| if let Op::Get(_) | Op::HeadSent = op { Op::ReadAdd } else { op })),
        Promise::Timely => choices.of(&[all[0], all[1], all[2], all[4], all[5]]),
        Promise::OneLogin => choices.of(&all[..4]),
    }
}

/// Around every border of these worlds, and mostly within the grace.
fn wait(choices: &mut Choices<'_>, promise: Promise) -> u64 {
    let fine = u64::from(choices.byte());
    if promise == Promise::Timely {
        return choices.of(&[0, 20_000]) + fine * 20;
    }
    let border = if promise == Promise::Turns { 3_872 } else { 9_872 };
    choices.of(&[0, 0, border, 20_000, 99_872]) + fine * choices.of(&[1, 20, 40])
}
