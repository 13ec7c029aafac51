//! The core against the model, over random histories.
//!
//! `COATROOM_CASES` sets how many histories (50,000 unless given), `COATROOM_SEED` which ones: runs with different seeds
//! share no history, so their counts add up. A failure prints the command that repeats it, and the history cut down.

use std::time::Instant;

use coatroom_tests::choices::Choices;
use coatroom_tests::duel::{Tally, run, shrink};
use coatroom_tests::generate::{Fault, History, How, Step, history, policy};
use coatroom_tests::model::Policy;
use coatroom_tests::model::exchange::Call;
use coatroom_tests::store::StoreBug;

const DEFAULT_CASES: u64 = 50_000;

/// What the histories of a default run must have agreed on, each at least ten times.
const REACHED: [&str; 32] = [
    "absolute",
    "busy",
    "clock behind",
    "confirmed",
    "conflict",
    "created",
    "damaged record",
    "data",
    "duplicate cookie",
    "duplicate-cookie",
    "elevated",
    "ended",
    "forged id",
    "head-sent",
    "idle",
    "junk id",
    "logged in",
    "logout",
    "logout-refused",
    "newer record",
    "not activated",
    "not-addable",
    "opened before the confirmation",
    "opened in grace",
    "replaced",
    "reuse",
    "rotated",
    "superseded",
    "touched",
    "unavailable",
    "unknown",
    "wrong cookie",
];

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// History `number` of this seed.
fn of(seed: u64, number: u64) -> History {
    history(&mut Choices::random(seed << 40 | number))
}

#[test]
fn core_and_model_agree_on_everything_that_a_user_can_see() {
    let (seed, from) = (number("COATROOM_SEED", 1), number("COATROOM_FROM", 0));
    let cases = number("COATROOM_CASES", DEFAULT_CASES);
    let start = Instant::now();
    let mut steps = 0;
    let mut tally = Tally::new();
    for number in from..from + cases {
        let history = of(seed, number);
        steps += history.steps.len();
        if run(&history, None, &mut tally).is_err() {
            let (history, difference) = shrink(&history, None);
            let steps: Vec<String> = history.steps.iter().map(|step| format!("    {step:?}")).collect();
            panic!(
                "{difference}\nrepeat with: COATROOM_SEED={seed} COATROOM_FROM={number} COATROOM_CASES=1 \
                 cargo test -p coatroom-tests --test properties\n{:?}, drift {}\n{}",
                history.policy,
                history.drift,
                steps.join("\n")
            );
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{tally:?}");
    println!("seed {seed}: {cases} histories, {steps} steps in {seconds:.1} s");
    let missed = REACHED.into_iter().filter(|what| tally.get(what).is_none_or(|times| *times < 10));
    assert_eq!(missed.filter(|_| cases >= DEFAULT_CASES).collect::<Vec<_>>(), [""; 0], "too seldom reached");
}

#[test]
fn a_store_that_does_not_compare_is_found_out() {
    // No power fails here.
    for bug in StoreBug::ALL.into_iter().filter(|bug| *bug != StoreBug::NothingDurable) {
        let found = (0..DEFAULT_CASES).find(|number| run(&of(1, *number), Some(bug), &mut Tally::new()).is_err());
        assert!(found.is_some(), "{bug:?}");
    }
}

/// Histories on which the two once disagreed.
fn agree(change: impl FnOnce(&mut Policy), drift: i64, steps: &[Step]) {
    let mut policy = policy(&mut Choices::bytes(&[]));
    change(&mut policy);
    let history = History { policy, drift, steps: steps.to_vec() };
    run(&history, None, &mut Tally::new()).unwrap();
}

fn ask(calls: &[Call]) -> Step {
    Step::Ask { browser: 0, node: 0, how: How::Plain, calls: calls.to_vec() }
}

#[test]
fn a_write_in_doubt_stays_in_doubt_when_nobody_can_judge_what_is_stored() {
    let damage = Step::Damage { which: 0, newer: true };
    let write = [ask(&[Call::Login("ann", 1)]), Step::Finish(0), ask(&[Call::Add("a", 1)]), Step::Go(0)];
    for fault in [Fault::Unheard, Fault::Lost] {
        agree(|_| (), 0, &[&write[..], &[Step::Fault(0, fault), damage.clone(), Step::Go(0)]].concat());
    }
    agree(|_| (), 0, &[&write[..], &[damage, Step::Go(0)]].concat());
}

#[test]
fn an_elevation_is_seen_by_the_exchange_that_asked_for_it() {
    agree(|_| (), 0, &[ask(&[Call::Login("ann", 1)]), Step::Finish(0), Step::Wait(9), ask(&[Call::Elevate(3)])]);
}
