//! Writes that meet, and writes that are refused.

use serde_json::json;

use super::{failed, refused, tell, tell_under, wrote};
use crate::vectors::fields::hex;
use crate::vectors::tape::{Case, Tape, add, just, login, set};

pub fn cases() -> Vec<Case> {
    [merged(), strict(), overtaken(), refusals(), turns()].into_iter().flatten().collect()
}

/// Two exchanges open at once; each asks for something, and they close one after the other. What came of the second.
fn at_once(tape: &mut Tape, first: serde_json::Value, second: serde_json::Value) -> serde_json::Value {
    tape.visit("before", json!([set("a", 1), set("b", 1)]));
    tape.visit("seen", json!([]));
    tape.open("1");
    tape.open("2");
    tape.edit("1", first);
    tape.edit("2", second);
    tape.close("1");
    tape.close("2")
}

fn kept(tape: &mut Tape) -> serde_json::Value {
    let data = tape.open("kept")["handler"]["data"].clone();
    tape.close("kept");
    data
}

fn merged() -> Vec<Case> {
    vec![
        tell("writes of different keys both survive", |tape| {
            at_once(tape, json!([set("a", 2)]), json!([set("b", 3)]));
            assert_eq!(kept(tape), json!({"a": "02", "b": "03"}));
        }),
        tell("the later write of a key wins", |tape| {
            at_once(tape, json!([set("a", 2)]), json!([set("a", 3)]));
            assert_eq!(kept(tape)["a"], "03");
        }),
        tell("additions are all counted", |tape| {
            at_once(tape, json!([add("a", 5), add("n", -3)]), json!([add("a", 6)]));
            assert_eq!(kept(tape), json!({"a": "0c", "b": "01", "n": "22"}));
        }),
        tell("a clearing takes what is there when it is written", |tape| {
            at_once(tape, json!([set("c", 4)]), json!([just("clear"), set("d", 5)]));
            assert_eq!(kept(tape), json!({"d": "05"}));
        }),
        tell("a removal and a write of another key both count", |tape| {
            at_once(tape, json!([{"edit": "remove", "key": "a"}]), json!([set("b", 9)]));
            assert_eq!(kept(tape), json!({"b": "09"}));
        }),
        tell("what a client is goes with the record", |tape| {
            let client = json!({"edit": "client", "label": "Firefox on Linux", "address": "192.0.2.7"});
            wrote(&tape.visit("1", json!([client])), &["created"]);
        }),
        tell("what an exchange wrote it reads", |tape| {
            tape.open("1");
            let get = |key: &str| json!({"edit": "get", "key": key});
            let came = tape.edit("1", json!([set("a", 1), add("a", 2), get("a"), get("b"), just("clear"), get("a")]));
            assert_eq!(came["results"], json!([null, 3, "03", null, null, null]));
            tape.close("1");
        }),
    ]
}

fn strict() -> Vec<Case> {
    let get = |key: &str| json!({"edit": "get", "key": key});
    vec![
        tell("a strict exchange is refused when a key that it read has changed", |tape| {
            failed(&at_once(tape, json!([set("a", 2)]), json!([just("strict"), get("a"), set("b", 3)])), "conflict");
            assert_eq!(kept(tape), json!({"a": "02", "b": "01"}));
        }),
        tell("a strict exchange goes through when other keys changed", |tape| {
            at_once(tape, json!([set("a", 2)]), json!([just("strict"), set("b", 3)]));
            assert_eq!(kept(tape), json!({"a": "02", "b": "03"}));
        }),
        tell("an addition never makes a strict exchange conflict", |tape| {
            at_once(tape, json!([add("a", 2)]), json!([just("strict"), add("a", 3)]));
            assert_eq!(kept(tape)["a"], "06");
        }),
    ]
}

fn overtaken() -> Vec<Case> {
    vec![
        tell("a write that a logout overtook is refused", |tape| {
            tape.log_in("alice");
            tape.open("slow");
            tape.edit("slow", json!([set("a", 1)]));
            tape.visit("out", json!([just("logout")]));
            failed(&tape.close("slow"), "ended");
        }),
        tell("a write that a login overtook is refused", |tape| {
            tape.log_in("alice");
            tape.open("slow");
            tape.edit("slow", json!([set("a", 1)]));
            tape.visit("again", json!([login("alice")]));
            failed(&tape.close("slow"), "superseded");
        }),
        tell("a write that a rotation overtook goes through", |tape| {
            tape.log_in("alice");
            tape.open("slow");
            tape.edit("slow", json!([set("a", 1)]));
            tape.visit("rotate", json!([just("rotate")]));
            wrote(&tape.close("slow"), &["data"]);
        }),
        tell("a replay that cannot add is refused whole", |tape| {
            let text = json!({"edit": "set", "key": "n", "value": "616e"});
            failed(&at_once(tape, json!([text]), json!([add("n", 1), set("b", 9)])), "not-addable");
            assert_eq!(kept(tape)["b"], "01");
        }),
    ]
}

fn refusals() -> Vec<Case> {
    let large = |bytes: usize| {
        let value = coatroom_core::Value::Bytes(vec![7; bytes]).encode().unwrap();
        json!({"edit": "set", "key": "large", "value": hex(value.as_bytes())})
    };
    vec![
        tell_under(json!({"size": 512}), "a value beyond the size is refused at once", |tape| {
            tape.open("1");
            refused(&tape.edit("1", json!([large(600)])), "too-large");
            tape.close("1");
        }),
        tell_under(json!({"size": 512}), "a record beyond the size is refused at the end", |tape| {
            tape.open("1");
            tape.edit("1", json!([large(450)]));
            failed(&tape.close("1"), "too-large");
            assert!(tape.store().is_empty());
        }),
        tell("nothing can be added to a text", |tape| {
            tape.visit("1", json!([{"edit": "set", "key": "n", "value": "616e"}]));
            tape.open("2");
            refused(&tape.edit("2", json!([add("n", 1)])), "not-addable");
            tape.close("2");
        }),
        tell("a sum keeps to 64 bits", |tape| {
            tape.open("1");
            tape.edit("1", json!([add("n", i64::MAX)]));
            refused(&tape.edit("1", json!([add("n", 1)])), "not-addable");
            tape.close("1");
        }),
        tell("a write after the head is gone is an error", |tape| {
            tape.open("1");
            tape.edit("1", json!([just("head_sent"), set("a", 1)]));
            failed(&tape.close("1"), "head-sent");
        }),
    ]
}

fn turns() -> Vec<Case> {
    vec![
        tell("an exchange that is over takes no edit and closes once", |tape| {
            tape.visit("1", json!([set("a", 1)]));
            refused(&tape.edit("1", json!([set("a", 2)])), "wrong-stage");
            refused(&tape.start_closing("1"), "wrong-stage");
        }),
        tell("an answer that nobody asked for changes nothing", |tape| {
            tape.open("1");
            for (call, args) in [("saved", json!({})), ("found", json!({"record": null})), ("unavailable", json!({}))] {
                refused(&tape.call(call, "1", args), "wrong-stage");
            }
            refused(&tape.call("conflicted", "1", json!({"record": null})), "wrong-stage");
            refused(&tape.call("unknown", "1", json!({"record": null})), "wrong-stage");
            wrote(&tape.close("1"), &[]);
        }),
        tell("a swap is acknowledged once", |tape| {
            tape.open("1");
            tape.edit("1", json!([set("a", 1)]));
            tape.start_closing("1");
            tape.call("saved", "1", json!({}));
            refused(&tape.call("saved", "1", json!({})), "wrong-stage");
        }),
    ]
}
