//! The model in `spec/model` and the shipped functions, tied by a thousand traces of each that are kept in
//! `spec/vectors/traces`. Each step must do again what was written down, to exchanges, records and browsers alike.
//! `spec/traces` makes both sets, checks those of the code against the model, and ties as many more as are wanted.

use std::collections::BTreeSet;

use coatroom_tests::traces::{record, replay};

const OF_THE_MODEL: &str = include_str!("../../spec/vectors/traces/model.txt");
const OF_THE_CODE: &str = include_str!("../../spec/vectors/traces/code.txt");

const TRACES: usize = 1000;
const STEPS: usize = 40 * TRACES;

#[test]
fn what_the_model_does_the_code_does() {
    match replay(OF_THE_MODEL) {
        Ok(played) => assert_eq!(played, (TRACES, STEPS)),
        Err(difference) => panic!("{difference}"),
    }
}

#[test]
fn what_the_code_did_for_the_model_it_still_does() {
    match replay(OF_THE_CODE) {
        Ok(played) => assert_eq!(played, (TRACES, STEPS)),
        Err(difference) => panic!("{difference}"),
    }
}

/// So the seeds of further traces mean what they meant.
#[test]
fn the_same_seeds_give_the_same_traces() {
    let again: String = (1..=TRACES as u64).map(record).collect();
    let mut lines = again.lines().zip(OF_THE_CODE.lines()).enumerate();
    assert_eq!(lines.find(|(_, (again, kept))| again != kept), None);
    assert_eq!(again.len(), OF_THE_CODE.len());
}

/// What must not be missing from a thousand traces, by where it stands in a line.
const KINDS: [&str; 17] = [
    "send",
    "double",
    "open",
    "open-fails",
    "close",
    "swapped",
    "unheard",
    "lost",
    "delayed",
    "land",
    "reload",
    "deliver",
    "tick",
    "plant",
    "copy",
    "move",
    "crash",
];
const OPS: [&str; 9] =
    ["put:a", "put:b", "add", "login:alice", "login:bob", "login:mallory", "elevate", "rotate", "logout"];
const STATES: [&str; 5] = ["None", "Active", "Expired", "Destroyed", "Regenerated"];
const ANSWERS: [&str; 6] = ["ok", "superseded", "ended", "logout-refused", "unavailable", "unknown"];
const COOKIES: [&str; 3] = ["-", "clear", "id"];
const ENDS: [&str; 6] = ["logout", "idle", "absolute", "reuse", "replaced", "gone"];
const PREVIOUS: [&str; 3] = ["-", "pending", "grace"];

/// Which of these words, each after the name of its place, occur in the text.
fn words(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut note = |place: &str, word: &str| {
        found.insert(format!("{place} {word}"));
    };
    for (step, did) in text.lines().filter_map(|line| line.split_once('\t')) {
        let step: Vec<_> = step.split(' ').collect();
        note("step", step[0]);
        if let ["send", _, _, ops] = step[..] {
            ops.split(',').for_each(|op| note("op", op));
        }
        for part in did.split(" | ") {
            match part.split(' ').collect::<Vec<_>>()[..] {
                ["open", state, ..] => note("state", state),
                ["answered", error, login, visitor] => {
                    note("answer", error);
                    note("login", if login.contains('.') { "id" } else { login });
                    note("visitor", if visitor.contains('.') { "id" } else { visitor });
                }
                [.., "gone"] => note("end", "gone"),
                [.., previous, _, _, end, _] => {
                    note("previous", previous.split('@').next().unwrap());
                    note("end", end.split('@').next().unwrap());
                }
                _ => {}
            }
        }
    }
    found
}

fn expected() -> BTreeSet<String> {
    let places: [(&str, &[&str]); 8] = [
        ("step", &KINDS),
        ("op", &OPS),
        ("state", &STATES),
        ("answer", &ANSWERS),
        ("login", &COOKIES),
        ("visitor", &COOKIES),
        ("end", &ENDS),
        ("previous", &PREVIOUS),
    ];
    places.iter().flat_map(|(place, words)| words.iter().map(move |word| format!("{place} {word}"))).collect()
}

#[test]
fn every_kind_of_step_reply_and_end_occurs_in_both() {
    for text in [OF_THE_MODEL, OF_THE_CODE] {
        let found = words(text);
        let missing: Vec<_> = expected().difference(&found).cloned().collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
