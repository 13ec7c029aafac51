//! Every schedule of two to four exchanges that overlap, on the shipped functions and shipped bytes.
//!
//! `COATROOM_SEARCH=2` searches the wide families. `COATROOM_SHARD=3/16` searches the third sixteenth of all scenarios, so
//! that a long search can be taken in parts: each prints its own count, and the counts add up. `COATROOM_FAMILY` names the
//! one family to search; `mixed` is all of them in an order that nobody chose, which finds a defect soonest.

use std::time::Instant;

use coatroom_tests::families::{Family, Width, families, mixed};
use coatroom_tests::search::Found;
use coatroom_tests::store::StoreBug;

fn width() -> Width {
    let wide = std::env::var("COATROOM_SEARCH").is_ok_and(|width| width != "1");
    if wide { Width::Assure } else { Width::Test }
}

/// Which part of how many, from 0.
fn shard() -> (usize, usize) {
    let Ok(shard) = std::env::var("COATROOM_SHARD") else { return (0, 1) };
    let numbers = shard.split_once('/').and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
    let (part, of): (usize, usize) = numbers.expect("COATROOM_SHARD is of the form 3/16");
    assert!((1..=of).contains(&part), "COATROOM_SHARD counts from 1");
    (part - 1, of)
}

fn explore(family: &Family) -> Found {
    let start = Instant::now();
    let (part, of) = shard();
    let mut all = Found::default();
    let (mut scenarios, mut largest) = (0, 0);
    for spec in family.specs.iter().skip(part).step_by(of) {
        match spec.search() {
            Ok(found) => {
                if std::env::var_os("COATROOM_SEARCH_EACH").is_some() {
                    println!("{:>9} {}", found.states, spec.scenario().name);
                }
                all.add(&found);
                scenarios += 1;
                largest = largest.max(found.states);
            }
            Err(counterexample) => {
                let told = spec.scenario().tell(&counterexample.trace, spec.bounds);
                panic!("{told}\n{}", counterexample.violation);
            }
        }
    }
    println!(
        "{:>9}: {scenarios} scenarios, {} states (largest {largest}), {} steps, {} ends, up to {} deep, {:.1} s",
        family.name,
        all.states,
        all.steps,
        all.ends,
        all.deepest,
        start.elapsed().as_secs_f32()
    );
    all
}

#[test]
fn no_schedule_breaks_a_claim() {
    let start = Instant::now();
    let wanted = std::env::var("COATROOM_FAMILY").ok();
    let mut all = Found::default();
    let mut families = families(width());
    if wanted.as_deref() == Some("mixed") {
        families = vec![Family { name: "mixed", specs: mixed(families) }];
    }
    for family in families.iter().filter(|family| wanted.as_deref().is_none_or(|name| name == family.name)) {
        all.add(&explore(family));
    }
    let (part, of) = shard();
    println!(
        "shard {}/{of}: {} distinct states, {} steps, {:.0} s",
        part + 1,
        all.states,
        all.steps,
        start.elapsed().as_secs_f32()
    );
    assert!(all.states > 0 && all.deepest > 0);
    if (width(), of, wanted) == (Width::Test, 1, None) {
        assert!(all.states >= 4_000_000, "a search that became small shows little: {} states", all.states);
    }
}

#[test]
fn the_search_finds_every_defect_of_a_store() {
    let specs = mixed(families(Width::Test));
    for bug in StoreBug::ALL {
        let mut found = specs.iter().enumerate().filter_map(|(at, spec)| {
            let mut scenario = spec.scenario();
            scenario.world.store.bug = Some(bug);
            Some((at, scenario.search(spec.bounds).err()?))
        });
        let (at, counterexample) = found.next().unwrap_or_else(|| panic!("{bug:?} is not found"));
        println!(
            "{bug:?}: after {at} scenarios, by {} steps: {}",
            counterexample.trace.len(),
            counterexample.violation
        );
    }
}
