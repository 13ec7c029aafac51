//! The vectors of whole exchanges that all languages play: the core still does what they say, and the runner would
//! notice if it did not.

use coatroom_tests::vectors::{files, folder, outcome_kinds, play};
use serde_json::Value;

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

fn index() -> Vec<(String, usize)> {
    let index: Value = serde_json::from_str(&read("index.json")).unwrap();
    let files = index["files"].as_object().unwrap();
    files.iter().map(|(name, count)| (name.clone(), count.as_u64().unwrap().try_into().unwrap())).collect()
}

#[test]
// spec: CLAIM-11 f3a7
fn every_case_plays_as_it_is_written() {
    let mut cases = 0;
    for (name, count) in index() {
        assert_eq!(play(&read(&name)), Ok(count), "{name}");
        cases += count;
    }
    println!("{cases} cases");
    assert!(cases >= 60);
}

#[test]
fn the_files_are_what_the_core_does() {
    let files = files();
    for (name, text) in &files {
        assert!(read(name) == *text, "{name} has drifted: run `make spec` and read the difference");
    }
    let mut there: Vec<_> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".json"))
        .collect();
    let mut known: Vec<_> = files.into_iter().map(|(name, _)| name).collect();
    there.sort();
    known.sort();
    assert_eq!(there, known);
}

#[test]
fn names_are_their_cases_own_and_every_outcome_occurs() {
    let mut names = Vec::new();
    let mut kinds = Vec::new();
    for (name, _) in index() {
        let file: Value = serde_json::from_str(&read(&name)).unwrap();
        for case in file["cases"].as_array().unwrap() {
            names.push(case["name"].as_str().unwrap().to_owned());
            for step in case["steps"].as_array().unwrap() {
                kinds.extend(step["expect"].as_object().unwrap().keys().cloned());
            }
        }
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
    kinds.retain(|kind| kind != "error" && kind != "results");
    kinds.sort();
    kinds.dedup();
    let mut expected = outcome_kinds();
    expected.sort_unstable();
    assert_eq!(kinds, expected);
}

/// One byte in what is expected, one field more, a call that nobody knows: each makes the runner fail.
#[test]
fn a_difference_is_noticed() {
    let text = read("visitors.json");
    let changes = [
        ("\"durable\":true", "\"durable\":false"),
        ("\"written\":[\"created\"]", "\"written\":[]"),
        ("SameSite=Lax", "SameSite=lax"),
        ("\"then\": {\"store\":{\"", "\"then\": {\"store\":{\"00\":\"\",\""),
    ];
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        assert!(play(&text.replacen(from, to, 1)).is_err(), "{from}");
    }
    let unknown = [("\"call\": \"saved\"", "\"call\": \"kept\""), ("\"now\":", "\"extra\":1,\"now\":")];
    for (from, to) in unknown {
        let text = text.replacen(from, to, 1);
        let quiet = std::panic::catch_unwind(|| play(&text));
        assert!(!matches!(quiet, Ok(Ok(_))), "{from}");
    }
}
