//! Key rings, and records that are sealed.

use serde_json::json;

use super::{nobody, noticed, tell_under, wrote};
use crate::vectors::fields::hex;
use crate::vectors::tape::{Case, Tape, just, set};
use crate::world::{NEXT_KEY, RING};

pub fn cases() -> Vec<Case> {
    [rings(), sealed()].into_iter().flatten().collect()
}

/// Somebody who logged in under the first ring goes on under another one.
fn under(name: &str, settings: serde_json::Value, ring: &str, story: impl FnOnce(&mut Tape)) -> Case {
    let mut before = Tape::new(name, settings.clone());
    before.visit("cart", json!([set("cart", 7)]));
    before.log_in("alice");
    let mut tape = before.goes_on(name, settings, ring);
    story(&mut tape);
    tape.done()
}

fn rings() -> Vec<Case> {
    let both = format!("{NEXT_KEY},{RING}");
    vec![
        under("a new first key logs nobody out", json!({}), &both, |tape| {
            assert_eq!(tape.open("1")["handler"]["principal"]["name"], "alice");
            tape.close("1");
        }),
        under("a rotation issues the id under the first key", json!({}), &both, |tape| {
            let before = tape.browser.clone();
            tape.visit("1", json!([just("rotate")]));
            assert_ne!(tape.browser, before);
            assert_eq!(tape.open("2")["handler"]["state"], "Active");
            tape.close("2");
        }),
        under("an id under a key that was withdrawn is junk", json!({}), NEXT_KEY, |tape| {
            nobody(&tape.open("1"));
            noticed(&tape.close("1"), "junk id");
        }),
        under("what an older key sealed opens, and is sealed anew by the first", sealing(), &both, |tape| {
            assert_eq!(tape.open("1")["handler"]["data"]["cart"], "07");
            tape.edit("1", json!([set("cart", 8)]));
            wrote(&tape.close("1"), &["data"]);
        }),
    ]
}

fn sealing() -> serde_json::Value {
    json!({"sealed": true})
}

fn sealed() -> Vec<Case> {
    vec![
        tell_under(sealing(), "a sealed record shows neither keys nor values", |tape| {
            tape.visit("1", json!([set("cart", 7), {"edit": "set", "key": "word", "value": "667365637265"}]));
            let record = tape.record();
            assert!(record[0] == 2 && !record.windows(4).any(|part| part == b"cart"));
            assert_eq!(tape.open("2")["handler"]["data"]["cart"], "07");
            tape.close("2");
        }),
        tell_under(sealing(), "a sealed record is sealed by another nonce each time", |tape| {
            tape.visit("1", json!([set("cart", 7)]));
            let before = tape.record();
            tape.visit("2", json!([set("cart", 7)]));
            assert_ne!(before[before.len() - 24..], tape.record()[before.len() - 24..]);
        }),
        switched_on(),
        tell_under(sealing(), "a sealed record that was changed does not open", |tape| {
            tape.visit("1", json!([set("cart", 7)]));
            let mut record = tape.record();
            *record.last_mut().unwrap() ^= 1;
            let header = tape.browser.header();
            tape.call("open", "2", json!({"cookies": hex(header.as_bytes()), "now": tape.now}));
            nobody(&tape.call("found", "2", json!({"record": hex(&record)})));
            noticed(&tape.start_closing("2"), "unopened record");
        }),
    ]
}

fn switched_on() -> Case {
    let name = "sealing that is switched on ends what was not sealed";
    let mut before = Tape::new(name, json!({}));
    before.log_in("alice");
    let mut tape = before.goes_on(name, sealing(), RING);
    nobody(&tape.open("1"));
    noticed(&tape.close("1"), "unsealed record");
    tape.done()
}
