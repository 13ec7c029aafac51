//! All schedules of a few exchanges, step by step.
//!
//! A world is expanded breadth first, so the first violation has a shortest trace. Two worlds of one depth with the same
//! fingerprint are one: the fingerprint covers every input that any exchange received, the store, the browsers, the clock
//! and all that the invariants look at, and the core is a function of those; so their futures are the same. The search is
//! finite because exchanges, clock moments and faults are; swaps are retried only after another swap was applied.

use std::collections::HashMap;

use crate::invariants::Violation;
use crate::world::{Phase, Step, World};

/// How far a search goes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Swaps whose answer may be lost, that may be lost themselves, or delayed.
    pub faults: usize,
    /// Whether the clock may move, and other exchanges run, between the handler's end and its first swap.
    pub split_close: bool,
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
    pub states: u64,
    /// Complete schedules, those that differ only in order included.
    pub schedules: f64,
    pub deepest: usize,
}

/// A broken claim and how to get there.
#[derive(Clone, Debug)]
pub struct Counterexample {
    pub violation: Violation,
    pub trace: Vec<Step>,
}

struct Node {
    world: World,
    faults: usize,
    moment: usize,
    ways: f64,
    path: u32,
}

impl Scenario {
    pub fn search(&self, bounds: Bounds) -> Result<Found, Box<Counterexample>> {
        let mut found = Found::default();
        let mut paths: Vec<(u32, Step)> = Vec::new();
        let start = Node { world: self.world.clone(), faults: bounds.faults, moment: 0, ways: 1.0, path: u32::MAX };
        let mut layer = vec![start];
        while !layer.is_empty() {
            found.states += layer.len() as u64;
            let mut next: Vec<Node> = Vec::new();
            let mut known: HashMap<(u128, usize), usize> = HashMap::new();
            for node in layer {
                let steps = self.enabled(&node, bounds);
                if steps.is_empty() {
                    found.schedules += node.ways;
                }
                for step in steps {
                    let path = u32::try_from(paths.len()).unwrap();
                    match self.take(&node, step) {
                        Err(violation) => {
                            paths.push((node.path, step));
                            return Err(Box::new(Counterexample { violation, trace: trace(&paths, path) }));
                        }
                        Ok(after) => {
                            let key = (after.world.fingerprint(self.first), after.faults);
                            let place = *known.entry(key).or_insert(next.len());
                            if let Some(same) = next.get_mut(place) {
                                same.ways += node.ways;
                            } else {
                                paths.push((node.path, step));
                                next.push(Node { path, ways: node.ways, ..after });
                            }
                        }
                    }
                }
            }
            found.deepest += usize::from(!next.is_empty());
            layer = next;
        }
        Ok(found)
    }

    fn take(&self, node: &Node, step: Step) -> Result<Node, Violation> {
        let mut world = node.world.clone();
        let (mut faults, mut moment) = (node.faults, node.moment);
        match step {
            Step::Tick => {
                world.now = self.moments[moment];
                moment += 1;
            }
            Step::SwapLost(_) | Step::SwapUnheard(_) | Step::SwapDelayed(_) => faults -= 1,
            _ => {}
        }
        world.step(step)?;
        Ok(Node { world, faults, moment, ways: node.ways, path: node.path })
    }

    fn enabled(&self, node: &Node, bounds: Bounds) -> Vec<Step> {
        let world = &node.world;
        let mut steps = Vec::new();
        let range = self.first..world.exchanges.len();
        // Closing touches nothing but the exchange itself: unless a pause before its first swap is wanted, that comes at once.
        let just_closed = range.clone().find(|&number| {
            let exchange = &world.exchanges[number];
            exchange.phase == Phase::Saving && exchange.inputs.said.is_empty()
        });
        let forced = just_closed.filter(|_| !bounds.split_close);
        let range = forced.map_or(range, |number| number..number + 1);
        for number in range {
            let Some(step) = world.next_of(number).filter(|step| world.is_timely(*step)) else { continue };
            steps.push(step);
            if let Step::Swap(_) = step
                && node.faults > 0
            {
                steps.extend([Step::SwapUnheard(number), Step::SwapLost(number), Step::SwapDelayed(number)]);
            }
        }
        if forced.is_some() {
            return steps;
        }
        for (place, (_, _, under_way)) in world.delayed.iter().enumerate() {
            if *under_way {
                steps.push(Step::Land(place));
            }
        }
        // Once nothing can happen any more, time does not matter.
        if node.moment < self.moments.len() && !steps.is_empty() {
            steps.push(Step::Tick);
        }
        steps
    }
}

fn trace(paths: &[(u32, Step)], mut at: u32) -> Vec<Step> {
    let mut steps = Vec::new();
    while let Some(&(before, step)) = paths.get(at as usize) {
        steps.push(step);
        at = before;
    }
    steps.reverse();
    steps
}
