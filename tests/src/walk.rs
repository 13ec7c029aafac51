//! Random walks through a world: longer than the search can go, with more exchanges, clock jumps and lost replies.

use proptest::prelude::*;

use crate::invariants::Violation;
use crate::ops::{Op, handler};
use crate::reductions::Pauses;
use crate::world::{Script, Step, Trouble, VICTIM, World};

/// One move of a walk.
#[derive(Clone, Debug)]
pub enum Move {
    /// A browser sends another request, which takes its turn if it reads, adds and sets.
    Ask(usize, Vec<Op>),
    /// One of the steps that are possible then, the faults included if the walk has any.
    Any(usize),
    /// An exchange that is under way goes on to its end, but for the delivery.
    Finish(usize),
    /// The clock moves on by so many milliseconds.
    Wait(u64),
}

const EVERYWHERE: Pauses = Pauses { open: true, close: true };

/// Room in the sums of the marks.
const MOST: usize = 18;

pub fn walk_of(
    browsers: impl Strategy<Value = usize> + Clone,
    op: impl Strategy<Value = Op> + Clone,
    waits: impl Strategy<Value = u64> + Clone,
) -> impl Strategy<Value = Vec<Move>> {
    let next = prop_oneof![
        2 => (browsers, handler(op)).prop_map(|(browser, ops)| Move::Ask(browser, ops)),
        8 => any::<prop::sample::Index>().prop_map(|index| Move::Any(index.index(1000))),
        1 => any::<prop::sample::Index>().prop_map(|index| Move::Finish(index.index(1000))),
        1 => waits.prop_map(Move::Wait),
    ];
    prop::collection::vec(next, 1..90)
}

/// Waits that cross every border of these worlds now and then, and mostly stay within the grace.
pub fn waits() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![4 => 0..6_000_u64, 2 => 9_990..10_010_u64, 2 => 20_000..30_000_u64, 1 => 99_000..101_000_u64]
}

impl World {
    /// Takes these moves, then lets every exchange come to its end and every response arrive.
    pub fn walk(&mut self, moves: &[Move], faults: bool) -> Result<(), Violation> {
        let before = self.exchanges.len();
        let some = if faults { 40 } else { 0 };
        self.trouble = Trouble { faults: some, delays: some, crashes: some / 10, ..Trouble::default() };
        for next in moves {
            match next {
                Move::Ask(browser, ops) if self.exchanges.len() < MOST => {
                    let own = |op: &Op| if let Op::Login(_) = op { Op::Login("mallory") } else { *op };
                    let ops: Vec<Op> = if *browser == VICTIM { ops.clone() } else { ops.iter().map(own).collect() };
                    let serial = ops.contains(&Op::ReadAdd);
                    self.add_script(Script { browser: *browser, ops, serial, ..Script::default() });
                }
                Move::Ask(..) => {}
                Move::Any(index) => {
                    let steps = self.possible(before, EVERYWHERE);
                    if !steps.is_empty() {
                        self.step(steps[index % steps.len()])?;
                    }
                }
                Move::Finish(index) => {
                    let number = index % self.exchanges.len().max(1);
                    while let Some(step) = self.exchanges.get(number).and_then(|_| self.next_of(number)) {
                        if matches!(step, Step::Deliver(_)) || !self.is_timely(step) {
                            break;
                        }
                        self.step(step)?;
                    }
                }
                Move::Wait(millis) => self.now += millis,
            }
        }
        self.trouble = Trouble::default();
        while let Some(step) = self.possible(before, EVERYWHERE).first() {
            self.step(*step)?;
        }
        Ok(())
    }
}
