//! What a store may answer besides yes and no, and what it may hold.

use serde_json::json;

use super::{failed, nobody, noticed, tell, wrote};
use crate::vectors::fields::hex;
use crate::vectors::tape::{Answer, Case, Tape, login, set};

pub fn cases() -> Vec<Case> {
    [unknown(), silent(), damaged()].into_iter().flatten().collect()
}

fn unknown() -> Vec<Case> {
    vec![
        tell("a write that took place unheard is not repeated", |tape| {
            tape.visit("1", json!([set("a", 1)]));
            tape.visit("2", json!([]));
            tape.open("3");
            tape.edit("3", json!([crate::vectors::tape::add("n", 5)]));
            wrote(&tape.close_with("3", Answer::Unheard), &["data"]);
            assert_eq!(tape.open("4")["handler"]["data"]["n"], "05");
            tape.close("4");
        }),
        tell("a write that was lost is sent again", |tape| {
            tape.visit("1", json!([set("a", 1)]));
            tape.visit("2", json!([]));
            tape.open("3");
            tape.edit("3", json!([crate::vectors::tape::add("n", 5)]));
            wrote(&tape.close_with("3", Answer::Lost), &["data"]);
        }),
        tell("a create of unknown outcome is tried under another handle", |tape| {
            tape.open("1");
            tape.edit("1", json!([set("a", 1)]));
            tape.close_with("1", Answer::Unheard);
            assert_eq!(tape.store().len(), 2);
        }),
        tell("a create that meets a record takes another handle", |tape| {
            tape.open("1");
            tape.edit("1", json!([login("alice")]));
            let swap = tape.start_closing("1")["swap"].clone();
            let came = tape.call("conflicted", "1", json!({"record": swap["new"]}));
            assert_ne!(came["swap"]["handle"], swap["handle"]);
            tape.finish("1", came);
        }),
        tell("more than four writes by others hide whether ours took place", |tape| {
            tape.visit("1", json!([set("a", 1)]));
            tape.visit("2", json!([]));
            tape.open("3");
            tape.edit("3", json!([set("a", 2)]));
            tape.start_closing("3");
            for other in ["4", "5", "6", "7", "8"] {
                tape.visit(other, json!([crate::vectors::tape::add("b", 1)]));
            }
            let record = hex(&tape.record());
            failed(&tape.call("unknown", "3", json!({"record": record})), "unknown");
        }),
    ]
}

fn silent() -> Vec<Case> {
    vec![
        tell("a store that does not answer is not read as nobody", |tape| {
            tape.log_in("alice");
            let header = tape.browser.header();
            tape.call("open", "1", json!({"cookies": hex(header.as_bytes()), "now": tape.now}));
            failed(&tape.call("found", "1", json!({"unavailable": true})), "unavailable");
        }),
        tell("a mere touch that fails is let go", |tape| {
            tape.log_in("alice");
            tape.open("1");
            assert!(tape.start_closing("1").get("swap").is_some());
            wrote(&tape.call("unavailable", "1", json!({})), &[]);
        }),
        tell("a write that no store takes is an error", |tape| {
            tape.open("1");
            tape.edit("1", json!([set("a", 1)]));
            tape.start_closing("1");
            failed(&tape.call("unavailable", "1", json!({})), "unavailable");
        }),
    ]
}

/// What an exchange makes of this record under its handle.
fn holding(name: &str, change: impl FnOnce(&mut Vec<u8>), event: &str) -> Case {
    tell(name, |tape| {
        let came = hold(tape, change);
        if came.get("failed").is_some() {
            failed(&came, "unavailable");
            return noticed(&came, event);
        }
        nobody(&came);
        tape.edit("3", json!([set("b", 2)]));
        let came = tape.start_closing("3");
        let came = tape.finish("3", came);
        noticed(&came, event);
    })
}

fn hold(tape: &mut Tape, change: impl FnOnce(&mut Vec<u8>)) -> serde_json::Value {
    tape.visit("1", json!([set("a", 1)]));
    tape.visit("2", json!([]));
    let mut record = tape.record();
    change(&mut record);
    let header = tape.browser.header();
    tape.call("open", "3", json!({"cookies": hex(header.as_bytes()), "now": tape.now}));
    tape.call("found", "3", json!({"record": hex(&record)}))
}

fn damaged() -> Vec<Case> {
    vec![
        holding("an empty record is damaged", Vec::clear, "damaged record"),
        holding("a record that was cut is damaged", |record| record.truncate(record.len() - 1), "damaged record"),
        holding("a record with something behind it is damaged", |record| record.push(0), "damaged record"),
        holding("a record with an unknown state is damaged", |record| record[1] = 9, "damaged record"),
        holding("a record whose data are in another encoding is damaged", widen, "damaged record"),
        holding("a record of a later format is left alone", |record| record[0] = 3, "newer record"),
        holding("a record with another secret takes the id for forged", |record| record[70] ^= 1, "forged id"),
        tell("a record that is gone is nobody's", |tape| {
            tape.visit("1", json!([set("a", 1)]));
            let header = tape.browser.header();
            tape.call("open", "2", json!({"cookies": hex(header.as_bytes()), "now": tape.now}));
            nobody(&tape.call("found", "2", json!({"record": null})));
            wrote(&tape.start_closing("2"), &[]);
        }),
    ]
}

/// {"a": 1}, with the 1 written in two bytes.
fn widen(record: &mut Vec<u8>) {
    assert_eq!(record.pop(), Some(1));
    record.extend([0x18, 1]);
}
