//! Bytes as overlapping exchanges over a store that lies: wrong, older and damaged records, records of others, newer
//! formats, writes that never took place, conflicts that never were.

use std::sync::{Arc, LazyLock};

use coatroom_core::staged::{Staged, Waiting};
use coatroom_core::{Error, Handle, Kind, Listed, Loaded, Rules};

use crate::browser::NAMES;
use crate::ops::Op;
use crate::rng::Fixed;
use crate::scenarios::enter;
use crate::store::Store;
use crate::targets::checks::{self, Asked};
use crate::targets::choices::Choices;
use crate::targets::mint::{self, Claim, at};
use crate::targets::strict::Reading;
use crate::world::START;

static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| mint::rules(|_| ()));

const MOST: usize = 8;

/// Where a record has the id of its newest commit, and those of the last four.
const COMMIT: std::ops::Range<usize> = 10..18;
const COMMITS: std::ops::Range<usize> = 10..42;

/// Whatever a store says: nobody panics and every exchange comes to an end; an id opens nothing but a record that admits it;
/// a record that cannot be read is not written over; what is swapped is based on what was shown last; no cookie names an id
/// whose record was neither acknowledged nor shown; and no secret is in a record or in what is printed.
pub fn run(bytes: &[u8]) {
    let mut scene = Scene::default();
    let mut choices = Choices::new(bytes);
    while !choices.is_empty() {
        match choices.below(8) {
            0 | 1 => scene.begin(&mut choices),
            2 => scene.now += choices.of(&[1, 500, 9_000, 21_000, 100_000]),
            _ => {
                let number = choices.below(MOST);
                if number < scene.exchanges.len() {
                    scene.advance(number, &mut choices);
                }
            }
        }
    }
    // From here on every answer is the first choice, which is the honest one.
    for number in 0..scene.exchanges.len() {
        for steps in 0.. {
            if !scene.advance(number, &mut choices) {
                break;
            }
            assert!(steps < 64, "no end");
        }
    }
}

#[derive(Default)]
struct Scene {
    now: u64,
    store: Store,
    /// Everything that was ever under a handle.
    past: Vec<(Handle, Vec<u8>)>,
    ids: Vec<(Kind, Claim)>,
    exchanges: Vec<Exchange>,
}

struct Exchange {
    staged: Staged,
    presented: Vec<(Kind, Claim)>,
    ops: Vec<Op>,
    serial: bool,
    opened_at: u64,
    /// Records that were acknowledged or shown, in this order.
    heard: Vec<(Handle, Vec<u8>)>,
    /// Records that it wanted to be written.
    wanted: Vec<(Handle, Vec<u8>)>,
    over: bool,
}

impl Scene {
    fn begin(&mut self, choices: &mut Choices<'_>) {
        if self.exchanges.len() == MOST {
            return;
        }
        let mut presented = Vec::new();
        let mut header = String::new();
        for (name, kind) in NAMES {
            let known = choices.below(self.ids.len() + 1);
            if let Some((other, claim)) = known.checked_sub(1).and_then(|at| self.ids.iter().rev().nth(at)) {
                // Now and then in the wrong cookie, but no handle in both: then two records of it would be under way.
                let fresh = presented.iter().all(|(_, before): &(Kind, Claim)| before.handle != claim.handle);
                if fresh && (*other == kind || choices.one_in(8)) {
                    presented.push((kind, *claim));
                    header += &format!("{name}={}; ", claim.text().unwrap());
                }
            }
        }
        let ops = (0..choices.below(4)).map(|_| op(choices)).collect();
        // Every third one takes its turn.
        let (number, now) = (self.exchanges.len(), at(self.now));
        let serial = number % 3 == 2;
        let staged = Staged::from(if serial {
            RULES.open_serial(header.as_bytes(), now, &mut Fixed::new((number as u64 + 1) << 32))
        } else {
            RULES.open(header.as_bytes(), now)
        });
        let (heard, wanted, opened_at) = (Vec::new(), Vec::new(), self.now);
        self.exchanges.push(Exchange { staged, presented, ops, serial, opened_at, heard, wanted, over: false });
    }

    /// One step of an exchange; whether there was one.
    fn advance(&mut self, number: usize, choices: &mut Choices<'_>) -> bool {
        match self.exchanges[number].staged.waiting() {
            Waiting::Load(handle) => {
                let answer = self.answer(handle, choices);
                let exchange = &mut self.exchanges[number];
                exchange.hears(handle, &answer);
                exchange.staged.found(answer).unwrap();
                exchange.is_admitted();
            }
            Waiting::Turn(_) if choices.one_in(8) => {
                self.exchanges[number].staged.gave_up(Error::Busy).unwrap();
            }
            Waiting::Turn(handle) => {
                // In the end every turn runs out.
                self.now += if choices.is_empty() { 9_000 } else { 0 };
                let answer = self.answer(handle, choices);
                let now = self.now;
                let exchange = &mut self.exchanges[number];
                exchange.hears(handle, &answer);
                exchange.opened_at = now;
                exchange.staged.found_after(answer, at(now)).unwrap();
                exchange.is_admitted();
            }
            Waiting::Handler => {
                let now = self.now;
                let exchange = &mut self.exchanges[number];
                let session = exchange.staged.session().unwrap();
                exchange.ops.iter().for_each(|op| op.apply(session, number));
                exchange.staged.close(at(now), &mut Fixed::new(number as u64 + 1)).unwrap();
            }
            Waiting::Swap => self.swap(number, choices),
            Waiting::Done | Waiting::Failed if !self.exchanges[number].over => self.end(number),
            _ => return false,
        }
        true
    }

    fn swap(&mut self, number: usize, choices: &mut Choices<'_>) {
        let exchange = &mut self.exchanges[number];
        let swap = exchange.staged.swap().unwrap().clone();
        exchange.wanted.extend(swap.new.clone().map(|new| (swap.handle, new)));
        let created = !exchange.presented.iter().any(|(_, claim)| claim.name() == swap.handle);
        let shown = exchange.heard.iter().rev().find(|(handle, _)| *handle == swap.handle);
        assert!(created || shown.is_some(), "a swap of what was never shown");
        checks::swap(&swap, shown.filter(|_| !created).map(|(_, record)| &record[..]), exchange.asked());
        for (_, claim) in &self.ids {
            let bytes = swap.new.as_deref().unwrap_or_default();
            assert!(!bytes.windows(32).any(|window| window == claim.secret), "a secret is stored");
        }
        match choices.below(8) {
            // A write that is lost without a word, and one that is not heard of.
            1 => self.exchanges[number].saved(&swap),
            2..5 => {
                let present = self.answer(swap.handle, choices);
                let exchange = &mut self.exchanges[number];
                exchange.hears(swap.handle, &present);
                let present = if let Loaded::Found(record) = present { Some(record) } else { None };
                exchange.staged.conflicted(present).unwrap();
            }
            5 | 6 => {
                if choices.one_in(2) {
                    let _refused = self.store(&swap);
                }
                let present = self.answer(swap.handle, choices);
                self.exchanges[number].hears(swap.handle, &present);
                self.exchanges[number].staged.reloaded(present).unwrap();
                enter(&mut self.exchanges[number].staged);
            }
            7 => self.exchanges[number].staged.gave_up(Error::Busy).unwrap(),
            _ => match self.store(&swap) {
                Ok(()) => self.exchanges[number].saved(&swap),
                Err(present) => {
                    let exchange = &mut self.exchanges[number];
                    exchange.hears(swap.handle, &present.clone().map_or(Loaded::Absent, Loaded::Found));
                    exchange.staged.conflicted(present).unwrap();
                }
            },
        }
    }

    fn store(&mut self, swap: &coatroom_core::Swap) -> Result<(), Option<Vec<u8>>> {
        self.store.swap(swap)?;
        self.past.extend(swap.new.clone().map(|new| (swap.handle, new)));
        Ok(())
    }

    /// What is there, or not quite.
    fn answer(&self, handle: Handle, choices: &mut Choices<'_>) -> Loaded {
        let mut record = match choices.below(10) {
            1 => return Loaded::Unavailable,
            2 => return Loaded::Absent,
            3 | 4 if !self.past.is_empty() => {
                let (_, record) = &self.past[choices.below(self.past.len().min(256))];
                return Loaded::Found(record.clone());
            }
            5 => choices.some(8).to_vec(),
            _ => match self.store.load(handle) {
                Loaded::Found(record) => record,
                other => return other,
            },
        };
        match choices.below(10) {
            1 => record.truncate(choices.below(256)),
            2 | 3 => {
                let (place, change) = (choices.below(256), choices.byte());
                if let Some(byte) = record.get_mut(place) {
                    *byte ^= change;
                }
            }
            4 => record.iter_mut().take(1).for_each(|format| *format = 3),
            _ => {}
        }
        Loaded::Found(record)
    }

    fn end(&mut self, number: usize) {
        let exchange = &mut self.exchanges[number];
        exchange.over = true;
        let printed = format!("{:?} {:?}", exchange.staged.reply(), exchange.staged.failure());
        for (_, claim) in &exchange.presented {
            let text = claim.text().unwrap();
            assert!(!printed.contains(&text[24..66]), "a secret is printed");
        }
        let Ok(reply) = exchange.staged.reply() else { return };
        for (kind, claim) in checks::cookies(reply) {
            let names = |(handle, record): &(Handle, Vec<u8>)| {
                let Reading::Whole(whole) = Reading::of(record) else { return false };
                let same = whole.generation == claim.generation && whole.digest == claim.digest();
                *handle == claim.name() && same && whole.who.is_some() == (kind == Kind::Login)
            };
            // A store that shows an exchange its own commit id is believed, whatever else it has bent in that record.
            let own: Vec<_> = exchange.wanted.iter().map(|(_, record)| &record[COMMIT]).collect();
            let bent = |(handle, _): &&(Handle, Vec<u8>)| {
                exchange.heard.iter().any(|(other, shown)| {
                    let commits = shown.get(COMMITS).into_iter().flat_map(|commits| commits.chunks(8));
                    other == handle && commits.into_iter().any(|shown| own.contains(&shown))
                })
            };
            let backed = exchange.heard.iter().any(names)
                || exchange.wanted.iter().filter(|record| names(record)).any(|record| bent(&record));
            assert!(backed, "a cookie before the commit");
            self.ids.push((kind, claim));
        }
    }
}

impl Exchange {
    fn hears(&mut self, handle: Handle, answer: &Loaded) {
        if let Loaded::Found(record) = answer {
            self.heard.push((handle, record.clone()));
        }
    }

    fn saved(&mut self, swap: &coatroom_core::Swap) {
        self.heard.extend(swap.new.clone().map(|new| (swap.handle, new)));
        // A turn that is taken enters nothing.
        if self.staged.entered(Listed::default()).is_err() {
            self.staged.saved().unwrap();
        }
    }

    /// A session is open only to an id that the record shown for it admits, in the cookie of its kind.
    fn is_admitted(&mut self) {
        let Ok(session) = self.staged.session() else { return };
        let Some(handle) = session.handle() else { return };
        let shown = self.heard.iter().rev().find(|(other, _)| *other == handle);
        let (_, shown) = shown.expect("open without a record");
        let Reading::Whole(whole) = Reading::of(shown) else { panic!("open on what cannot be read") };
        let now = whole.seen.max(START + self.opened_at);
        let admitted = self.presented.iter().any(|(kind, claim)| {
            let its_kind = whole.who.is_some() == (*kind == Kind::Login);
            claim.name() == handle && its_kind && whole.judge(claim, now, None).is_live()
        });
        assert!(admitted, "open to an id that the record does not admit");
        assert_eq!(session.principal().map(|found| found.name()), whole.who.as_ref().map(|who| &*who.name));
        assert_eq!(session.keys().len(), whole.data.len());
    }

    fn asked(&self) -> Asked {
        let has = |wanted: fn(&Op) -> bool| self.ops.iter().any(wanted);
        Asked {
            login: has(|op| matches!(op, Op::Login(_))),
            elevate: has(|op| *op == Op::Elevate),
            logout: has(|op| *op == Op::Logout),
            data: has(|op| matches!(op, Op::Set(_) | Op::Add | Op::Update | Op::Remove(_) | Op::Clear)),
            client: false,
            turn: self.serial,
        }
    }
}

fn op(choices: &mut Choices<'_>) -> Op {
    choices.of(&[
        Op::Set("a"),
        Op::Login("alice"),
        Op::Rotate,
        Op::Add,
        Op::Logout,
        Op::Get("a"),
        Op::Update,
        Op::Remove("a"),
        Op::Clear,
        Op::Login("bob"),
        Op::Elevate,
        Op::Strict,
        Op::Discard,
        Op::HeadSent,
    ])
}
