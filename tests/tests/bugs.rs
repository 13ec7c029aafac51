//! The search must find every defect that is planted in the core or in the store of these tests, wherever it looks first.
//!
//! `RUSTFLAGS='--cfg coatroom_bugs' cargo test -p coatroom-tests --target-dir target/bugs --test bugs -- --nocapture`
#![cfg(coatroom_bugs)]

use std::rc::Rc;
use std::time::Instant;

use coatroom_core::{Bug, plant};
use coatroom_tests::families::{Width, families, mixed};
use coatroom_tests::ops::any_op;
use coatroom_tests::scenarios::{BEFORES, Spec};
use coatroom_tests::search::Scenario;
use coatroom_tests::store::StoreBug;
use coatroom_tests::walk::{waits, walk_of};
use coatroom_tests::world::{ATTACKER, THIEF, VICTIM};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// The first counterexample, as one line of the table.
fn find(scenarios: &[(Spec, Scenario)], bug: Option<StoreBug>) -> Option<String> {
    let start = Instant::now();
    scenarios.iter().enumerate().find_map(|(at, (spec, scenario))| {
        let mut scenario = scenario.clone();
        scenario.world.store.bug = bug;
        let counterexample = scenario.search(spec.bounds).err()?;
        let (steps, millis) = (counterexample.trace.len(), start.elapsed().as_millis());
        Some(format!("{steps:>2} steps {millis:>6} ms {at:>5} before  {}", counterexample.violation))
    })
}

/// How many random walks it takes, by the second kind of harness: none of its own searching, the same invariants.
fn stumble(bug: Option<Bug>) -> Option<usize> {
    let anybody = prop_oneof![2 => Just(VICTIM), 1 => Just(ATTACKER), 1 => Just(THIEF)];
    let walks = walk_of(anybody, Rc::new(any_op()), waits());
    let mut runner = TestRunner::deterministic();
    plant(None);
    let worlds: Vec<_> = BEFORES.iter().map(|before| before.world(|_| ()).unwrap()).collect();
    plant(bug);
    (1..=6000).find(|number| {
        let moves = walks.new_tree(&mut runner).unwrap().current();
        worlds[number % worlds.len()].clone().walk(&moves, true).is_err()
    })
}

/// The planted bug is one for the whole process, so all of them go through one test.
#[test]
fn the_search_finds_every_planted_bug() {
    let mut missed = Vec::new();
    let mut stumbled = 0;
    let mut line = |bug: String, found: Option<String>| {
        println!("{bug:<28} {}", found.as_deref().unwrap_or("NOT FOUND"));
        if found.is_none() {
            missed.push(bug);
        }
    };
    assert_eq!(stumble(None), None, "the walks fail without any defect");
    // The beginnings are made without the defect: it has to be found in what overlaps.
    plant(None);
    let scenarios: Vec<_> =
        mixed(families(Width::Test)).into_iter().map(|spec| (spec.clone(), spec.scenario())).collect();
    for bug in Bug::ALL {
        let walks = stumble(Some(bug)).map_or("-".to_owned(), |walks| walks.to_string());
        stumbled += usize::from(walks != "-");
        line(format!("{bug:?}"), find(&scenarios, None).map(|found| format!("{walks:>5} walks {found}")));
    }
    plant(None);
    for bug in StoreBug::ALL {
        line(format!("store: {bug:?}"), find(&scenarios, Some(bug)));
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
    // Walks make no promise, but a harness that finds hardly anything is broken.
    assert!(stumbled >= Bug::ALL.len() / 2, "walks found only {stumbled}");
}
