//! Seeds, in two modes. How many, and from which on: `COATROOM_SEEDS`, `COATROOM_FIRST_SEED`; one alone, with all that
//! happened in it: `COATROOM_SEED`.

use coatroom_sim::{Counts, Defect, Mode, Outcome, run};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect(name))
}

fn seeds(default: u64) -> core::ops::Range<u64> {
    let first = number("COATROOM_FIRST_SEED").unwrap_or(0);
    match number("COATROOM_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + number("COATROOM_SEEDS").unwrap_or(default),
    }
}

fn all(mode: Mode, test: &str, default: u64) {
    let alone = number("COATROOM_SEED").is_some();
    let (mut sums, mut done) = (Counts::default(), 0);
    for seed in seeds(default) {
        let Outcome { violation, counts, log } = run(seed, mode, None);
        if alone {
            log.iter().for_each(|line| println!("{line}"));
        }
        if let Some(violation) = violation {
            let last = log.len().saturating_sub(if alone { 0 } else { 12 });
            log[last..].iter().for_each(|line| println!("{line}"));
            panic!(
                "{violation}\n  again: COATROOM_SEED={seed} cargo test -p coatroom-sim --test sim {test} -- --nocapture"
            );
        }
        sums += counts;
        done += 1;
        if done % 1000 == 0 {
            println!("{mode:?}, {done} seeds: {sums:?}");
        }
    }
    println!("{mode:?}, {done} seeds: {sums:?}");
    let missing: Vec<_> = HAPPEN.into_iter().filter(|what| sums.of(what) == 0).collect();
    assert!(done < 100 || missing.is_empty(), "never happened: {missing:?}");
}

/// What has to happen in a hundred runs, or they were about nothing: faults, outcomes, events.
const HAPPEN: [&str; 35] = [
    "links cut",
    "links cut one way",
    "links held",
    "links lossy",
    "links slow",
    "disks full",
    "index silent",
    "calls of the index failed",
    "revoked all",
    "crashes of the store",
    "crashes of nodes",
    "writes lost",
    "requests doubled",
    "swaps in doubt",
    "swaps refused",
    "acknowledged",
    "turns waited for",
    "turns lost",
    "unavailable",
    "unknown",
    "ended",
    "superseded",
    "created",
    "presented",
    "rotated",
    "replaced ids admitted",
    "logged in",
    "elevated",
    "logged out",
    "ended by a limit",
    "ended for reuse",
    "ended on request",
    "reuse",
    "data",
    "touched",
];

#[test]
fn nothing_is_broken_while_the_network_is() {
    all(Mode::Safety, "nothing_is_broken", 200);
}

#[test]
fn everything_works_once_the_network_does() {
    all(Mode::Liveness, "everything_works", 150);
}

/// Each with a seed from which on it is met soon.
const DEFECTS: [(Defect, u64); 9] = [
    (Defect::LostSwap, 0),
    (Defect::UpsertAfterRemoval, 0),
    (Defect::VersionAlone, 0),
    (Defect::AcknowledgedBeforeDurable, 0),
    (Defect::TimeoutMeansRefused, 0),
    (Defect::TimeoutMeansDone, 0),
    (Defect::UnavailableMeansAbsent, 0),
    (Defect::UnheardEntryStands, 0),
    (Defect::ListTooShort, 0),
];

#[test]
fn every_planted_defect_of_store_and_client_is_caught() {
    let found = |(defect, from)| {
        let found = (from..from + number("COATROOM_SEEDS").unwrap_or(60))
            .find_map(|seed| Some((seed, run(seed, Mode::Safety, Some(defect)).violation?)));
        println!("{defect:?}: {found:?}");
        found.is_some()
    };
    let missed: Vec<_> = DEFECTS.into_iter().filter(|&defect| !found(defect)).collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// The same seed is the same run, line for line: else no failing seed could be had again.
#[test]
fn a_seed_is_one_run() {
    for mode in [Mode::Safety, Mode::Liveness] {
        assert_eq!(run(7, mode, None).log, run(7, mode, None).log);
    }
}
