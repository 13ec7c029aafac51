//! The stories, by the file that they go to. Each says in an assertion what its name claims.

mod coats;
mod endings;
mod hostile;
mod logins;
mod rotations;
mod sealing;
mod stores;
mod values;
mod visitors;
mod writes;

use serde_json::{Value, json};

use super::tape::{Case, Tape};

const MINUTE: u64 = 60_000;

/// Cases by the name of their file.
pub fn groups() -> Vec<(&'static str, Vec<Case>)> {
    vec![
        ("visitors", visitors::cases()),
        ("logins", logins::cases()),
        ("rotations", rotations::cases()),
        ("writes", writes::cases()),
        ("endings", endings::cases()),
        ("stores", stores::cases()),
        ("hostile", hostile::cases()),
        ("sealing", sealing::cases()),
        ("coats", coats::cases()),
        ("values", values::cases()),
    ]
}

/// One story under the default rules.
fn tell(name: &str, story: impl FnOnce(&mut Tape)) -> Case {
    tell_under(json!({}), name, story)
}

fn tell_under(settings: Value, name: &str, story: impl FnOnce(&mut Tape)) -> Case {
    let mut tape = Tape::new(name, settings);
    story(&mut tape);
    tape.done()
}

#[track_caller]
fn failed(came: &Value, error: &str) {
    assert_eq!(came["failed"]["error"], error, "{came}");
}

#[track_caller]
fn refused(came: &Value, error: &str) {
    assert_eq!(came["error"], error, "{came}");
}

#[track_caller]
fn wrote(came: &Value, changes: &[&str]) {
    assert_eq!(came["done"]["written"], json!(changes), "{came}");
}

#[track_caller]
fn noticed(came: &Value, event: &str) {
    let events = ["done", "failed"].iter().find_map(|kind| came[kind]["events"].as_array());
    assert!(events.is_some_and(|events| events.contains(&json!(event))), "{came}");
}

#[track_caller]
fn nobody(came: &Value) {
    assert_eq!((&came["handler"]["handle"], &came["handler"]["principal"]), (&Value::Null, &Value::Null), "{came}");
    assert_eq!(came["handler"]["data"], json!({}), "{came}");
}
