//! Which steps a search takes, and when two worlds are one. Everything that a search leaves out is left out here, for a
//! reason that `tests/reductions.rs` checks on the code:
//!
//! | what is left out | because | test |
//! |---|---|---|
//! | the exchange of the core as part of a state | it follows from its inputs, bytes and times | `the_same_inputs_come_to_the_same` |
//! | worlds with the fingerprint of one that is known | the fingerprint covers all that any later step or invariant reads | `worlds_of_one_fingerprint_have_the_same_future` |
//! | the past of an exchange that is answered | only its cookies, and what it promised, are still read | same |
//! | what was promised in a session that has ended | an ended session stays ended, which is a claim of its own | same |
//! | a pause between the sending and the arrival of the last request of a browser | its cookies cannot change any more | `an_arrival_reads_nothing_but_the_request_the_ring_and_the_clock` |
//! | a pause between the reading of the clock and the first load, where not asked for | it makes a clock that is behind, which the nodes have | `only_arrivals_and_closings_read_the_clock` |
//! | a pause between the handler's end and the first swap, where not asked for | same | same |
//! | a tick after the last closing of a world that promises no times | nothing reads the clock any more | same |
//! | the delivery of a response without cookies as a step of its own | it changes no browser | `a_response_without_cookies_changes_no_browser` |
//! | a crash before anything was swapped, and a request that is lost | such an exchange has changed nothing: the world is one with an exchange less | `before_its_first_swap_an_exchange_changes_nothing_but_itself` |
//! | the order in which equal requests of one browser to one node are sent | exchanges differ in nothing but random bytes and the marks they write | `equal_requests_may_change_places` |
//! | a change of key ring on a node at which no request is to arrive | an exchange keeps the ring it was opened with | `an_arrival_reads_nothing_but_the_request_the_ring_and_the_clock` |
//! | trouble that can no longer befall anything | no step uses it | `worlds_of_one_fingerprint_have_the_same_future` |

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::exchange::{Exchange, Phase, Said};
use crate::fold::Fold;
use crate::ops::Op;
use crate::record::Front;
use crate::world::{NODES, Step, Trouble, World};

/// Where an exchange may pause, so that others run and the clock moves in between.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pauses {
    /// Between the reading of the clock and the first load.
    pub open: bool,
    /// Between the handler's end and the first swap.
    pub close: bool,
}

impl World {
    /// What can happen next, but for the clock. Exchanges before `from` are over.
    pub fn possible(&self, from: usize, pauses: Pauses) -> Vec<Step> {
        let mut steps = Vec::new();
        if let Some(number) = self.in_one_go(from, pauses) {
            self.steps_of(number, &mut steps);
            return steps;
        }
        for number in from..self.exchanges.len() {
            if !self.waits_for_its_equal(from, number) {
                self.steps_of(number, &mut steps);
            }
            self.accidents_of(number, &mut steps);
        }
        steps.extend((0..self.delayed.len()).map(Step::Land));
        if self.trouble.cuts > 0 {
            steps.extend((1..=self.unsynced.len()).map(Step::Cut));
        }
        for node in 0..NODES {
            let matters = |exchange: &Arc<Exchange>| exchange.script.node == node && exchange.phase <= Phase::Sent;
            if self.rings[node] + 1 < self.setup.rings.len() && self.exchanges[from..].iter().any(matters) {
                steps.push(Step::Ring(node));
            }
        }
        steps
    }

    fn steps_of(&self, number: usize, steps: &mut Vec<Step>) {
        let Some(step) = self.next_of(number).filter(|step| self.is_timely(*step)) else { return };
        steps.push(step);
        if let Step::Swap(_) = step {
            if self.trouble.faults > 0 {
                steps.extend([Step::SwapUnheard(number), Step::SwapLost(number)]);
            }
            if self.trouble.delays > 0 {
                steps.push(Step::SwapDelayed(number));
            }
        }
    }

    fn accidents_of(&self, number: usize, steps: &mut Vec<Step>) {
        let exchange = &self.exchanges[number];
        let left_something = match exchange.phase {
            Phase::Open | Phase::Queued => exchange.token.is_some(),
            Phase::Saving => exchange.inputs.said.contains(&Said::Saved) || exchange.token.is_some(),
            phase => matches!(phase, Phase::Uncertain | Phase::Answered),
        };
        if self.trouble.crashes > 0 && left_something {
            steps.push(Step::Crash(number));
        }
        if self.can_double(number) && self.is_timely(Step::Again(number)) {
            steps.push(Step::Again(number));
        }
    }

    fn can_double(&self, number: usize) -> bool {
        let exchange = &self.exchanges[number];
        let sets = exchange.answer.as_ref().is_some_and(|answer| !answer.cookies.is_empty());
        self.trouble.doubles > 0 && exchange.phase == Phase::Delivered && sets && !self.doubled.contains(&number)
    }

    /// The exchange that goes on before anything else happens.
    pub fn in_one_go(&self, from: usize, pauses: Pauses) -> Option<usize> {
        (from..self.exchanges.len()).find(|&number| {
            let exchange = &self.exchanges[number];
            match exchange.phase {
                Phase::Sent => self.is_last_of_its_browser(from, number),
                Phase::Loading => !pauses.open && exchange.inputs.loads.is_empty(),
                Phase::Saving => !pauses.close && exchange.inputs.said.is_empty(),
                _ => false,
            }
        })
    }

    /// Whether the cookies of its browser cannot change before it is answered, so that it does not matter when it was sent.
    fn is_last_of_its_browser(&self, from: usize, number: usize) -> bool {
        let browser = self.exchanges[number].script.browser;
        let settled = |other: usize| {
            other == number
                || self.exchanges[other].script.browser != browser
                || self.exchanges[other].phase >= Phase::Delivered && !self.can_double(other)
        };
        !self.setup.timely && (from..self.exchanges.len()).all(settled)
    }

    /// Whether an equal request with a lower number is to be sent first.
    fn waits_for_its_equal(&self, from: usize, number: usize) -> bool {
        let exchange = &self.exchanges[number];
        let named = |number: usize| {
            let names = |script: &crate::world::Script| [script.repeats, script.after].contains(&Some(number));
            self.exchanges[from..].iter().any(|other| names(&other.script))
        };
        let equal = |other: usize| {
            self.exchanges[other].phase == Phase::Idle && self.exchanges[other].script == exchange.script
        };
        exchange.phase == Phase::Idle && (from..number).any(|other| equal(other) && !named(other) && !named(number))
    }

    /// Whether anything will read the clock yet.
    pub fn reads_the_clock_yet(&self, from: usize) -> bool {
        let last = if self.setup.timely { Phase::Answered } else { Phase::Queued };
        self.exchanges[from..].iter().any(|exchange| exchange.phase <= last)
    }

    /// A hash of all that the future of this world depends on, and all that its invariants look at.
    pub fn fingerprint(&self, from: usize) -> u128 {
        let mut fold = Fold::default();
        (self.now, &self.store.records, &*self.browsers, self.rings).hash(&mut fold);
        for exchange in &self.exchanges[from..] {
            self.fingerprint_of(exchange, &mut fold);
        }
        for (number, swap) in self.delayed.iter() {
            (number, swap.handle, &swap.new).hash(&mut fold);
        }
        let trouble = self.trouble_left(from);
        if trouble.cuts > 0 {
            self.unsynced.hash(&mut fold);
        }
        (trouble, &*self.undone, &*self.dead, &*self.deadlines).hash(&mut fold);
        fold.whole()
    }

    /// While an exchange runs, all that came into it counts. Once it is answered, only what it says and promised does, and
    /// once that is delivered, only what it promised; unless a swap of it is still under way.
    fn fingerprint_of(&self, exchange: &Exchange, fold: &mut Fold) {
        fold.write_u8(exchange.phase as u8);
        match exchange.phase {
            Phase::Idle => {}
            Phase::Sent => exchange.sent.hash(fold),
            Phase::Loading => (exchange.history, exchange.sent.1).hash(fold),
            Phase::Taking | Phase::Held | Phase::Open | Phase::Queued | Phase::Saving | Phase::Uncertain => {
                fold.write_u128(exchange.history);
            }
            Phase::Answered | Phase::Delivered | Phase::Crashed => {
                self.fingerprint_of_wish(exchange, fold);
                if exchange.phase == Phase::Answered || self.can_double(exchange.number) {
                    fold.write_u128(exchange.told);
                    fold.write_u64(exchange.inputs.closed_at * u64::from(self.setup.timely));
                }
                if self.delayed.iter().any(|(by, _)| *by == exchange.number) {
                    fold.write_u128(exchange.history);
                }
                // Something on the way may send its request again.
                if self.exchanges.iter().any(|other| other.may_repeat(exchange.number)) {
                    (&exchange.inputs.header, exchange.sent.1).hash(fold);
                }
            }
        }
    }

    fn fingerprint_of_wish(&self, exchange: &Exchange, fold: &mut Fold) {
        let writes =
            |op: &Op| matches!(op, Op::Set(_) | Op::Add | Op::ReadAdd | Op::Update | Op::Clear | Op::Remove(_));
        if !exchange.script.ops.iter().any(writes) {
            return;
        }
        let live = exchange.wish.acknowledged_at.filter(|handle| {
            let front = self.store.get(*handle).and_then(Front::read);
            front.is_some_and(|front| !front.is_ended())
        });
        (exchange.wish.from, live, exchange.wish.is_refused, exchange.opened.is_some()).hash(fold);
    }

    /// What can still befall anything.
    fn trouble_left(&self, from: usize) -> Trouble {
        let last = self.exchanges[from..].iter().map(|exchange| exchange.phase).min().unwrap_or(Phase::Delivered);
        let Trouble { faults, delays, crashes, cuts, doubles } = self.trouble;
        let swaps = last <= Phase::Uncertain;
        let answers = last <= Phase::Answered;
        let may_double = answers || (from..self.exchanges.len()).any(|number| self.can_double(number));
        Trouble {
            faults: if swaps { faults } else { 0 },
            delays: if swaps { delays } else { 0 },
            crashes: if answers { crashes } else { 0 },
            cuts: if swaps || !self.delayed.is_empty() || !self.unsynced.is_empty() { cuts } else { 0 },
            doubles: if may_double { doubles } else { 0 },
        }
    }
}

impl Exchange {
    fn may_repeat(&self, number: usize) -> bool {
        self.script.repeats == Some(number) && self.phase == Phase::Idle
    }
}
