//! Traces that the code makes: a walk at random, of which each step is possible. The model in `spec/model` then has to see
//! what the code did.

use super::{BROWSERS, Limits, Player, Step};
use crate::rng::Fixed;
use rand_core::TryRng;

/// Steps in a recorded trace.
const STEPS: usize = 40;
/// Exchanges in it, within the room that sums of shares have.
const EXCHANGES: usize = 14;

const HANDLERS: [&str; 17] = [
    "-",
    "-",
    "put:a",
    "put:b,add",
    "add",
    "put:a,login:alice,add",
    "login:alice",
    "login:bob,put:b",
    "elevate,add",
    "rotate",
    "rotate,add",
    "rotate",
    "logout",
    "logout,put:b",
    "put:a,elevate",
    "rotate,put:b",
    "add,login:alice,rotate",
];

const LOGGED_IN: [&str; 11] = [
    "send victim A put:a,login:alice",
    "open 0",
    "close 0",
    "swapped 0",
    "deliver 0",
    "send victim A -",
    "open 1",
    "close 1",
    "swapped 1",
    "deliver 1",
    "tick 24",
];
const ROTATED: [&str; 5] = ["send victim A rotate", "open 2", "close 2", "swapped 2", "deliver 2"];
const SHOWN: [&str; 5] = ["send victim B -", "open 3", "close 3", "swapped 3", "deliver 3"];
const PLANTED: [&str; 7] =
    ["send attacker A put:a", "open 0", "close 0", "swapped 0", "deliver 0", "plant visitor", "move"];
const VISITOR: [&str; 5] = ["send victim A put:a,add", "open 0", "close 0", "swapped 0", "deliver 0"];

/// How matters stand when chance takes over.
fn beginning(choice: usize) -> Vec<&'static str> {
    match choice {
        0 => Vec::new(),
        1 => VISITOR.to_vec(),
        2 => PLANTED.to_vec(),
        3 => LOGGED_IN.to_vec(),
        4 => [&LOGGED_IN[..], &["copy"]].concat(),
        5 => [&LOGGED_IN[..], &ROTATED[..4]].concat(),
        6 => [&LOGGED_IN[..], &["copy"], &ROTATED[..]].concat(),
        7 => [&LOGGED_IN[..], &["copy"], &ROTATED[..], &SHOWN[..]].concat(),
        _ => [&LOGGED_IN[..], &["copy"], &ROTATED[..], &SHOWN[..], &["tick 12"]].concat(),
    }
}

struct Chance(Fixed);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        let Ok(word) = self.0.try_next_u64();
        usize::try_from(word % most as u64).unwrap()
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    fn limits(&mut self) -> Limits {
        let skew = self.of(&[1, 2, 4]);
        Limits {
            idle: self.of(&[0, 50, 60]),
            touch: self.of(&[1, 4]),
            absolute: self.of(&[60, 90, 200]),
            skew,
            grace: self.of(&[9, 10, 12]),
            rotate_every: self.of(&[0, 0, 23, 30]),
            carry_all: self.flag(),
            reuse_ends: self.below(3) > 0,
            tombstone: self.below(3) > 0,
            // Now and then a clock that differs by more than it may.
            ahead: [0, self.of(&[0, 1, -1, skew as i64, -(skew as i64), 7, -7])],
        }
    }

    fn node(&mut self) -> usize {
        self.below(2)
    }

    /// A step that may or may not be possible.
    fn step(&mut self, player: &Player) -> Option<Step> {
        let busy = player.busy();
        let room = player.len() < EXCHANGES;
        let step = match self.below(24) {
            0..4 if room => {
                let browser = self.of(&[0, 0, 0, 1, 2]);
                let handler = self.of(&HANDLERS);
                let handler = if browser == 0 {
                    handler.to_owned()
                } else {
                    handler.replace("alice", "mallory").replace("bob", "mallory")
                };
                return Step::read(&format!("send {} {} {handler}", BROWSERS[browser], self.of(&["A", "B"])));
            }
            0..16 if !busy.is_empty() => {
                let number = self.of(&busy);
                player.natural(number)?
            }
            16 | 17 if !busy.is_empty() => {
                let number = self.of(&busy);
                self.of(&[Step::Unheard, Step::Lost, Step::Delayed] as &[fn(usize) -> Step])(number)
            }
            18 => Step::Land(self.below(3)),
            19 | 20 => Step::Tick(self.of(&[1, 3, 4, 8, 9, 10, 11, 12, 20, 24, 49, 61])),
            21 if room && !player.is_empty() => Step::Double { exchange: self.below(player.len()), node: self.node() },
            22 => match self.below(5) {
                4 => Step::Move,
                0 => Step::Plant { login: self.flag() },
                1 => Step::Copy,
                _ if !busy.is_empty() => Step::OpenFails(self.of(&busy)),
                _ => return None,
            },
            23 => Step::Crash { handle: 10 * self.below(4), left: self.of(&[1, 2]) },
            _ => return None,
        };
        Some(step)
    }
}

/// The trace of this seed, in text.
pub fn record(seed: u64) -> String {
    // Streams of neighbouring seeds overlap, so the seed of the walk is drawn.
    let Ok(drawn) = Fixed::new(seed).try_next_u64();
    let mut chance = Chance(Fixed::new(drawn));
    let limits = chance.limits();
    let mut player = Player::new(limits);
    let mut text = limits.write() + "\n";
    let mut steps = 0;
    let mut script: std::collections::VecDeque<_> = beginning(chance.below(9)).into();
    while steps < STEPS {
        let step = match script.pop_front() {
            Some(line) => Step::read(line),
            None => chance.step(&player),
        };
        // What a beginning meant to do may already be done, such as a rotation that another clock postponed.
        let Some(step) = step.filter(|step| player.is_possible(step)) else { continue };
        let did = player.step(&step).expect("a possible step");
        text += &format!("{}\t{did}\n", step.write());
        steps += 1;
    }
    text
}
