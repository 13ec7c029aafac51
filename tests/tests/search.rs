//! Every schedule of two or three exchanges that overlap, on the shipped functions and shipped bytes.
//!
//! `COATROOM_SEARCH=2` and `=3` widen the bounds, to minutes and to hours.

use std::time::Instant;

use coatroom_tests::ops::Op;
use coatroom_tests::scenarios::{BEFORES, Before, FEW, FEWEST, REQUESTS, overlaps, timely};
use coatroom_tests::search::{Bounds, Found, Scenario};

fn width() -> u32 {
    std::env::var("COATROOM_SEARCH").ok().and_then(|width| width.parse().ok()).unwrap_or(1)
}

fn explore(title: &str, scenarios: &[Scenario], bounds: Bounds) {
    let start = Instant::now();
    let mut all = Found::default();
    for scenario in scenarios {
        match scenario.search(bounds) {
            Ok(found) => {
                if std::env::var_os("COATROOM_SEARCH_EACH").is_some() {
                    println!("{:>9} {}", found.states, scenario.name);
                }
                all.states += found.states;
                all.schedules += found.schedules;
                all.deepest = all.deepest.max(found.deepest);
            }
            Err(counterexample) => {
                panic!("{}\n{}\n{:?}", scenario.name, counterexample.violation, counterexample.trace);
            }
        }
    }
    println!(
        "{title}: {} scenarios, {} states, {:.3e} schedules, up to {} steps, {:.1} s",
        scenarios.len(),
        all.states,
        all.schedules,
        all.deepest,
        start.elapsed().as_secs_f32()
    );
    assert!(all.states > 0 && all.deepest > 0);
}

#[test]
fn no_schedule_of_two_exchanges_breaks_a_claim() {
    let bounds = Bounds { faults: if width() > 1 { 1 } else { 0 }, split_close: true };
    explore("two exchanges", &overlaps(&BEFORES, &REQUESTS, 2), bounds);
}

#[test]
fn no_lost_or_delayed_swap_breaks_a_claim() {
    let bounds = Bounds { faults: if width() > 2 { 2 } else { 1 }, split_close: false };
    let few = [Before::Visitor, Before::LoggedIn, Before::Pending, Before::NoTombstone];
    explore("two exchanges, a fault", &overlaps(if width() > 1 { &BEFORES } else { &few }, &FEW, 2), bounds);
}

#[test]
fn no_schedule_of_three_exchanges_breaks_a_claim() {
    let bounds = Bounds { faults: 0, split_close: width() > 2 };
    let (befores, requests) = match width() {
        1 => (&[Before::Planted, Before::LoggedIn][..], &FEWEST[..]),
        2 => (&BEFORES[..], &FEW[..]),
        _ => (&BEFORES[..], &REQUESTS[..]),
    };
    explore("three exchanges", &overlaps(befores, requests, 3), bounds);
}

#[test]
fn no_timely_schedule_with_rotations_logs_the_victim_out() {
    let rotate: &[Op] = &[Op::Rotate, Op::Add];
    let read: &[Op] = &[Op::Get("a")];
    let write: &[Op] = &[Op::Set("a")];
    let scenarios: Vec<_> = [Before::LoggedIn, Before::Pending]
        .into_iter()
        .flat_map(|before| {
            [[rotate, read, rotate], [rotate, rotate, rotate], [rotate, write, read]]
                .map(|requests| timely(before, &requests))
        })
        .collect();
    explore(
        "timely rotations",
        &scenarios,
        Bounds { faults: if width() > 1 { 1 } else { 0 }, split_close: width() > 1 },
    );
}
