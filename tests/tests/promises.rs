//! Every promise in `docs/stores.md` names a test that is there.

use std::collections::BTreeSet;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn sources(folder: &Path, text: &mut String) {
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|kind| kind == "rs" || kind == "py") {
            *text += &std::fs::read_to_string(path).unwrap();
        }
    }
}

#[test]
fn every_promise_names_a_test_that_is_there() {
    let page = std::fs::read_to_string(root().join("docs/stores.md")).unwrap();
    let mut tests = String::new();
    ["tests/tests", "ffi-python/tests"].iter().for_each(|folder| sources(&root().join(folder), &mut tests));

    let numbered = |line: &str| {
        let (number, rest) = line.split_once(". `")?;
        Some((number.parse::<u32>().ok()?, rest.strip_suffix('`')?.to_owned()))
    };
    let listed: Vec<(u32, String)> = page.lines().filter_map(numbered).collect();
    for (number, name) in &listed {
        let is_there = [format!("fn {name}("), format!("def {name}(")].iter().any(|test| tests.contains(test));
        assert!(is_there, "{number}. `{name}` is no test");
    }
    let inside = |part: &str| part.split_once(']').and_then(|(number, _)| number.parse().ok());
    let rows = page.lines().filter(|line| line.starts_with('|'));
    let cited: BTreeSet<u32> = rows.flat_map(|row| row.split('[').filter_map(inside).collect::<Vec<_>>()).collect();
    let numbers: BTreeSet<u32> = listed.iter().map(|(number, _)| *number).collect();
    assert_eq!((cited, listed.len()), (numbers.clone(), numbers.len()), "cells and list agree");
}
