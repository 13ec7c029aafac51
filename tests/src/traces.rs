//! Traces in one text form, played on the shipped functions: what each step did is written down, and nothing else of it
//! is kept. The same form comes from the model in `spec/model`, so that two texts are compared and nothing is translated.
//!
//! A trace is a line that names the limits and the clocks, then one line for each step: the step, a tab, what it did to
//! the exchange, to records and to browsers (`Seen` in `world.qnt`). `spec/vectors/traces/README.md` explains the words.

mod player;
mod walk;

use std::sync::Arc;
use std::time::Duration;

use coatroom_core::{Carry, KeyRing, Policy, Reuse, Rules, Settings};

use crate::ops::Op;
use crate::world::RING;

pub use player::Player;
pub use walk::record;

/// One thing that happens. Numbers are those of exchanges, but for a landing (of delayed swaps) and a crash (of handles).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    Send { browser: usize, node: usize, ops: Vec<Op> },
    Double { exchange: usize, node: usize },
    Open(usize),
    OpenFails(usize),
    Close(usize),
    Swapped(usize),
    Unheard(usize),
    Lost(usize),
    Delayed(usize),
    Land(usize),
    Reload(usize),
    Deliver(usize),
    Tick(u64),
    Plant { login: bool },
    Copy,
    Move,
    Crash { handle: usize, left: usize },
}

pub const BROWSERS: [&str; 3] = ["victim", "attacker", "thief"];
const VICTIM: usize = 0;
const ATTACKER: usize = 1;
const THIEF: usize = 2;
const NODES: [&str; 2] = ["A", "B"];
const OPS: [(&str, Op); 9] = [
    ("put:a", Op::Set("a")),
    ("put:b", Op::Set("b")),
    ("add", Op::Add),
    ("login:alice", Op::Login("alice")),
    ("login:bob", Op::Login("bob")),
    ("login:mallory", Op::Login("mallory")),
    ("elevate", Op::Elevate),
    ("rotate", Op::Rotate),
    ("logout", Op::Logout),
];

impl Step {
    /// Reads a step; nothing when it is not exactly one.
    pub fn read(line: &str) -> Option<Self> {
        let words: Vec<_> = line.split(' ').collect();
        let number = |word: &str| word.parse::<usize>().ok();
        let named = |names: &[&str], word: &str| names.iter().position(|name| *name == word);
        Some(match words[..] {
            ["send", browser, node, ops] => {
                let op = |word| OPS.iter().find(|(name, _)| *name == word).map(|(_, op)| *op);
                let ops = if ops == "-" { Some(Vec::new()) } else { ops.split(',').map(op).collect() }?;
                Self::Send { browser: named(&BROWSERS, browser)?, node: named(&NODES, node)?, ops }
            }
            ["double", exchange, node] => Self::Double { exchange: number(exchange)?, node: named(&NODES, node)? },
            ["open", it] => Self::Open(number(it)?),
            ["open-fails", it] => Self::OpenFails(number(it)?),
            ["close", it] => Self::Close(number(it)?),
            ["swapped", it] => Self::Swapped(number(it)?),
            ["unheard", it] => Self::Unheard(number(it)?),
            ["lost", it] => Self::Lost(number(it)?),
            ["delayed", it] => Self::Delayed(number(it)?),
            ["land", it] => Self::Land(number(it)?),
            ["reload", it] => Self::Reload(number(it)?),
            ["deliver", it] => Self::Deliver(number(it)?),
            ["tick", it] => Self::Tick(it.parse().ok()?),
            ["plant", cookie @ ("login" | "visitor")] => Self::Plant { login: cookie == "login" },
            ["copy"] => Self::Copy,
            ["move"] => Self::Move,
            ["crash", handle, left] => Self::Crash { handle: number(handle)?, left: number(left)? },
            _ => return None,
        })
    }

    pub fn write(&self) -> String {
        match self {
            Self::Send { browser, node, ops } => {
                let name = |op: &Op| OPS.iter().find(|(_, known)| known == op).expect("an op of traces").0;
                let ops: Vec<_> = ops.iter().map(name).collect();
                let ops = if ops.is_empty() { "-".to_owned() } else { ops.join(",") };
                format!("send {} {} {ops}", BROWSERS[*browser], NODES[*node])
            }
            Self::Double { exchange, node } => format!("double {exchange} {}", NODES[*node]),
            Self::Open(it) => format!("open {it}"),
            Self::OpenFails(it) => format!("open-fails {it}"),
            Self::Close(it) => format!("close {it}"),
            Self::Swapped(it) => format!("swapped {it}"),
            Self::Unheard(it) => format!("unheard {it}"),
            Self::Lost(it) => format!("lost {it}"),
            Self::Delayed(it) => format!("delayed {it}"),
            Self::Land(it) => format!("land {it}"),
            Self::Reload(it) => format!("reload {it}"),
            Self::Deliver(it) => format!("deliver {it}"),
            Self::Tick(it) => format!("tick {it}"),
            Self::Plant { login } => format!("plant {}", if *login { "login" } else { "visitor" }),
            Self::Copy => "copy".to_owned(),
            Self::Move => "move".to_owned(),
            Self::Crash { handle, left } => format!("crash {handle} {left}"),
        }
    }
}

/// The limits of a trace and how far the clocks of its nodes are ahead, in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    pub idle: u64,
    pub touch: u64,
    pub absolute: u64,
    pub skew: u64,
    pub grace: u64,
    pub rotate_every: u64,
    pub carry_all: bool,
    pub reuse_ends: bool,
    pub tombstone: bool,
    pub ahead: [i64; 2],
}

impl Limits {
    pub fn read(line: &str) -> Option<Self> {
        let words: Vec<i64> =
            line.strip_prefix("limits ")?.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
        let [idle, touch, absolute, skew, grace, rotate_every, carry, reuse, tombstone, a, b] = words[..] else {
            return None;
        };
        let flag = |word: i64| [false, true].into_iter().find(|flag| i64::from(*flag) == word);
        Some(Self {
            idle: idle.try_into().ok()?,
            touch: touch.try_into().ok()?,
            absolute: absolute.try_into().ok()?,
            skew: skew.try_into().ok()?,
            grace: grace.try_into().ok()?,
            rotate_every: rotate_every.try_into().ok()?,
            carry_all: flag(carry)?,
            reuse_ends: flag(reuse)?,
            tombstone: flag(tombstone)?,
            ahead: [a, b],
        })
    }

    pub fn write(&self) -> String {
        let flags = [self.carry_all, self.reuse_ends, self.tombstone].map(u8::from);
        format!(
            "limits {} {} {} {} {} {} {} {} {} {} {}",
            self.idle,
            self.touch,
            self.absolute,
            self.skew,
            self.grace,
            self.rotate_every,
            flags[0],
            flags[1],
            flags[2],
            self.ahead[0],
            self.ahead[1]
        )
    }

    fn rules(&self) -> Arc<Rules> {
        let span = |seconds: u64| (seconds > 0).then_some(Duration::from_secs(seconds));
        let mut settings = Settings {
            idle: span(self.idle),
            touch: span(self.touch),
            absolute: Duration::from_secs(self.absolute),
            skew: Duration::from_secs(self.skew),
            rotate_every: span(self.rotate_every),
            grace: Duration::from_secs(self.grace),
            carry: if self.carry_all { Carry::All } else { Carry::Nothing },
            reuse: Reuse::Destroy,
            tombstone: if self.tombstone { Duration::from_secs(3600) } else { Duration::ZERO },
            ..Settings::default()
        };
        if !self.reuse_ends {
            settings = settings.danger_refuse_reuse_only();
        }
        Rules::new(Policy::try_from(settings).expect("limits that hold together"), KeyRing::parse(RING).unwrap())
    }
}

/// Plays every trace of a text; says how many traces and steps there were, or where the first of them differ.
pub fn replay(text: &str) -> Result<(usize, usize), String> {
    let (mut traces, mut steps, mut different) = (0, 0, Vec::new());
    for trace in text.split_inclusive('\n').collect::<Vec<_>>().chunk_by(|_, next| !next.starts_with("limits ")) {
        traces += 1;
        match play(trace) {
            Ok(played) => steps += played,
            Err(difference) => different.push(difference),
        }
    }
    if different.is_empty() {
        return Ok((traces, steps));
    }
    let first = different[..different.len().min(3)].join("\n");
    Err(format!("{first}\n{} of {traces} traces differ", different.len()))
}

fn play(lines: &[&str]) -> Result<usize, String> {
    let first = lines[0].trim_end();
    let mut player = Player::new(Limits::read(first).ok_or_else(|| format!("no limits: {first}"))?);
    for (at, line) in lines.iter().enumerate().skip(1) {
        let (step, told) = line.trim_end_matches('\n').split_once('\t').ok_or_else(|| format!("no step: {line}"))?;
        let step = Step::read(step).ok_or_else(|| format!("no such step: {step}"))?;
        let did = player.step(&step);
        if did.as_deref() != Ok(told) {
            let log = lines[..=at].concat();
            return Err(format!("{log}but now\n\t{}\n", did.unwrap_or_else(|error| error)));
        }
    }
    Ok(lines.len() - 1)
}
