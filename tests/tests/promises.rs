//! Every promise in `docs/stores.md` names a test that is there.

use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn every_promise_names_a_test_that_is_there() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs");
    let page = std::fs::read_to_string(docs.join("stores.md")).unwrap();
    let mut tests = 0;
    for link in page.split("[`").skip(1) {
        let Some((name, rest)) = link.split_once("`](").filter(|(name, _)| !name.contains(['/', '`'])) else {
            continue;
        };
        let path = rest.split(')').next().unwrap();
        if path.starts_with("https://") {
            continue;
        }
        let source = std::fs::read_to_string(docs.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        let is_there = [format!("fn {name}("), format!("def {name}(")].iter().any(|test| source.contains(test));
        assert!(is_there, "`{name}` is not in {path}");
        tests += 1;
    }
    assert!(tests > 10, "the page names tests: {tests}");

    let number = |line: &str| line.split_once(". [`").and_then(|(number, _)| number.parse::<u32>().ok());
    let listed: BTreeSet<u32> = page.lines().filter_map(number).collect();
    let inside = |part: &str| part.split_once(']').and_then(|(number, _)| number.parse().ok());
    let rows = page.lines().filter(|line| line.starts_with('|'));
    let cited: BTreeSet<u32> = rows.flat_map(|row| row.split('[').filter_map(inside).collect::<Vec<_>>()).collect();
    assert_eq!(cited, listed, "cells and list agree");
}
