//! The search must find every defect that is planted in the core or in the store of these tests.
//!
//! `RUSTFLAGS='--cfg coatroom_bugs' cargo test -p coatroom-tests --target-dir target/bugs --test bugs -- --nocapture`
#![cfg(coatroom_bugs)]

use std::rc::Rc;
use std::time::Instant;

use coatroom_core::{Bug, plant};
use coatroom_tests::ops::{Op, any_op};
use coatroom_tests::scenarios::{BEFORES, Before, REQUESTS, overlaps, scenario, timely};
use coatroom_tests::search::{Bounds, Scenario};
use coatroom_tests::store::StoreBug;
use coatroom_tests::walk::{waits, walk_of};
use coatroom_tests::world::{ATTACKER, THIEF, VICTIM};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

const WHOLE: Bounds = Bounds { faults: 0, split_close: true };
const READ: &[Op] = &[Op::Get("a")];
const ROTATE: &[Op] = &[Op::Rotate, Op::Add];

/// Where to look, so that a test build need not look everywhere.
fn haunt(bug: Bug) -> Option<(Vec<Scenario>, Bounds)> {
    let pairs = |before| (overlaps(&[before], &REQUESTS, 2), WHOLE);
    Some(match bug {
        Bug::KeepOldId | Bug::NoFloorCheck => pairs(Before::Planted),
        Bug::GraceBeyondDeadline => pairs(Before::PendingNearTheEnd),
        Bug::GraceForever | Bug::LogoutSparesSuccessor | Bug::ReuseIgnored => pairs(Before::Grace),
        Bug::RotationMovesDeadline | Bug::WriteBackWhole | Bug::ExpiryForgotten | Bug::StaleExpiry => {
            pairs(Before::LoggedIn)
        }
        Bug::CommitByOpening => pairs(Before::NearTheEnd),
        Bug::OneCookie => pairs(Before::Nobody),
        Bug::ReactionDropped => pairs(Before::Visitor),
        Bug::BlindRepeat => {
            (overlaps(&[Before::LoggedIn], &[READ, &[Op::Add]], 2), Bounds { faults: 1, split_close: false })
        }
        Bug::RotateTwice => {
            (vec![timely(Before::LoggedIn, &[ROTATE, ROTATE, READ])], Bounds { faults: 0, split_close: false })
        }
        Bug::RotateWithoutRest => {
            (vec![timely(Before::Pending, &[READ, READ, READ, ROTATE])], Bounds { faults: 0, split_close: false })
        }
        _ => return None,
    })
}

/// The first counterexample, as one line of the table.
fn find(scenarios: &[Scenario], bounds: Bounds) -> Option<String> {
    let start = Instant::now();
    scenarios.iter().find_map(|scenario| {
        let counterexample = scenario.search(bounds).err()?;
        let (steps, millis) = (counterexample.trace.len(), start.elapsed().as_millis());
        Some(format!("{steps:>2} steps {millis:>6} ms  {}  [{}]", counterexample.violation, scenario.name))
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
        println!("{bug:<22} {}", found.as_deref().unwrap_or("NOT FOUND"));
        if found.is_none() {
            missed.push(bug);
        }
    };
    assert_eq!(stumble(None), None, "the walks fail without any defect");
    for bug in Bug::ALL {
        // The beginnings are made without the defect: it has to be found in what overlaps.
        plant(None);
        let Some((scenarios, bounds)) = haunt(bug) else { continue };
        plant(Some(bug));
        let walks = stumble(Some(bug)).map_or("-".to_owned(), |walks| walks.to_string());
        stumbled += usize::from(walks != "-");
        line(format!("{bug:?}"), find(&scenarios, bounds).map(|found| format!("{walks:>5} walks {found}")));
    }
    plant(None);
    for bug in StoreBug::ALL {
        let before = if bug == StoreBug::BlindOverwrite { Before::LoggedIn } else { Before::NoTombstone };
        let scenarios: Vec<_> = [&[Op::Set("b")][..], &[Op::Add], &[Op::Logout]]
            .into_iter()
            .map(|ops| scenario(before, &[(VICTIM, &[Op::Add]), (VICTIM, ops)], Some(bug)))
            .collect();
        line(format!("store: {bug:?}"), find(&scenarios, WHOLE));
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
    // Walks make no promise, but a harness that finds hardly anything is broken.
    assert!(stumbled >= 10, "walks found only {stumbled}");
}
