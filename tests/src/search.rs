//! All schedules of a few exchanges, step by step.
//!
//! A scenario is expanded breadth first, so the first violation has a shortest trace. It is finite because its exchanges,
//! the moments that its clock can move to, its key rings and its budgets of trouble are; and because an exchange swaps again
//! only after another swap was applied, or lost at the cost of a budget. What is left out, and why, says `reductions`.
//!
//! Once nothing can happen any more, every browser asks twice again, one after the other, at once and after the grace: what
//! the overlap led to shows then, and the claims are checked there as well. Those worlds are not counted.

use std::collections::HashSet;

use crate::fold::Build;
use crate::invariants::Violation;
use crate::record::Front;
use crate::reductions::Pauses;
use crate::world::{START, Step, Trouble, World};

/// How far a search goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    pub trouble: Trouble,
    pub pauses: Pauses,
    /// The nodes that the exchanges after the overlap go to.
    pub nodes: usize,
}

/// A scenario: exchanges of the world from `first` on, and the moments that the clock can move to.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: String,
    pub world: World,
    pub first: usize,
    pub moments: Vec<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Found {
    /// Distinct worlds.
    pub states: u64,
    pub steps: u64,
    /// Worlds in which nothing can happen any more.
    pub ends: u64,
    pub deepest: usize,
    /// The most worlds that wait to be expanded, as a measure of memory.
    pub widest: usize,
}

impl Found {
    pub fn add(&mut self, other: &Self) {
        self.states += other.states;
        self.steps += other.steps;
        self.ends += other.ends;
        self.deepest = self.deepest.max(other.deepest);
        self.widest = self.widest.max(other.widest);
    }
}

/// A broken claim and how to get there.
#[derive(Clone, Debug)]
pub struct Counterexample {
    pub violation: Violation,
    pub trace: Vec<Step>,
}

#[derive(Clone)]
struct Node {
    world: World,
    moment: usize,
    path: u32,
}

struct Search<'a> {
    scenario: &'a Scenario,
    bounds: Bounds,
    known: HashSet<u128, Build>,
    /// How each world was reached: from which, by what.
    paths: Vec<(u32, Step)>,
    next: Vec<Node>,
    found: Found,
}

impl Scenario {
    pub fn search(&self, bounds: Bounds) -> Result<Found, Box<Counterexample>> {
        let mut world = self.world.clone();
        world.setup = world.setup.remembering().into();
        world.trouble = bounds.trouble;
        let mut search = Search {
            scenario: self,
            bounds,
            known: HashSet::default(),
            paths: Vec::new(),
            next: Vec::new(),
            found: Found::default(),
        };
        search.known.insert(world.fingerprint(self.first));
        search.found.states = 1;
        search.next.push(Node { world, moment: 0, path: u32::MAX });
        while !search.next.is_empty() {
            search.found.widest = search.found.widest.max(search.next.len());
            for node in std::mem::take(&mut search.next) {
                search.expand(node)?;
            }
            search.found.deepest += usize::from(!search.next.is_empty());
        }
        Ok(search.found)
    }

    /// A trace told again: each step, and what it did to the store and to the exchange.
    pub fn tell(&self, trace: &[Step], bounds: Bounds) -> String {
        let mut world = self.world.clone();
        world.trouble = bounds.trouble;
        let mut lines = vec![self.name.clone()];
        let mut moments = self.moments.iter();
        for step in trace {
            if *step == Step::Tick {
                world.now = *moments.next().unwrap();
            }
            let before = world.clone();
            let result = world.step(*step);
            lines.push(format!("{step:?} at {}", world.now - START));
            for (handle, record) in world.store.records.iter() {
                if before.store.records.get(handle) != Some(record) {
                    lines.push(format!("    {handle} holds {}", Front::read(record).unwrap()));
                }
            }
            for exchange in &world.exchanges[self.first..] {
                let answer = exchange.answer.as_ref().map(|answer| (answer.error, &answer.written, &answer.events));
                if before.exchanges[exchange.number].phase != exchange.phase {
                    lines.push(format!("    {} is {:?} {:?}", exchange.number, exchange.phase, answer));
                }
            }
            lines.extend(result.err().map(|violation| format!("    {violation}")));
        }
        lines.join("\n")
    }

    /// What can happen in this world, the clock included.
    pub fn enabled(&self, world: &World, moment: usize, pauses: Pauses) -> Vec<Step> {
        let mut steps = world.possible(self.first, pauses);
        let tick = !steps.is_empty() && moment < self.moments.len() && world.reads_the_clock_yet(self.first);
        if tick && world.in_one_go(self.first, pauses).is_none() {
            steps.push(Step::Tick);
        }
        steps
    }
}

impl Search<'_> {
    fn expand(&mut self, node: Node) -> Result<(), Box<Counterexample>> {
        let steps = self.scenario.enabled(&node.world, node.moment, self.bounds.pauses);
        if steps.is_empty() {
            self.found.ends += 1;
            let (asked, path) = (node.world.ask_again(self.bounds.nodes), node.path);
            return asked.map_err(|violation| self.counterexample(violation, path));
        }
        for step in steps {
            let mut next = node.clone();
            if step == Step::Tick {
                next.world.now = self.scenario.moments[next.moment];
                next.moment += 1;
            }
            self.found.steps += 1;
            let taken = next.world.step(step);
            if taken.is_ok() && next.world.in_one_go(self.scenario.first, self.bounds.pauses).is_some() {
                // Not a world of its own: the exchange goes on before anything else happens.
                next.path = self.reached(node.path, step);
                self.expand(next)?;
                continue;
            }
            if let Err(violation) = taken {
                let path = self.reached(node.path, step);
                return Err(self.counterexample(violation, path));
            }
            if self.known.insert(next.world.fingerprint(self.scenario.first)) {
                next.path = self.reached(node.path, step);
                self.found.states += 1;
                self.next.push(next);
            }
        }
        Ok(())
    }

    fn reached(&mut self, from: u32, step: Step) -> u32 {
        self.paths.push((from, step));
        u32::try_from(self.paths.len() - 1).unwrap()
    }

    fn counterexample(&self, violation: Violation, mut at: u32) -> Box<Counterexample> {
        let mut trace = Vec::new();
        while let Some(&(before, step)) = self.paths.get(at as usize) {
            trace.push(step);
            at = before;
        }
        trace.reverse();
        Box::new(Counterexample { violation, trace })
    }
}
