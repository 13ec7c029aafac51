//! Rotation, its grace, and the reuse of a replaced id.

use serde_json::json;

use super::{MINUTE, nobody, noticed, tell, tell_under, wrote};
use crate::vectors::tape::{Answer, Case, Tape, just, set};

pub fn cases() -> Vec<Case> {
    [asked_for(), in_grace(), reused(), around()].into_iter().flatten().collect()
}

/// A login that rotated; the browser holds the new id, unless its cookie was lost. The header with the old one.
fn rotated(tape: &mut Tape, lost: bool) -> String {
    tape.log_in("alice");
    let old = tape.browser.clone();
    tape.visit("rotate", json!([just("rotate")]));
    assert_ne!(tape.browser, old);
    if lost {
        tape.browser = old.clone();
    }
    old.header()
}

fn asked_for() -> Vec<Case> {
    vec![
        tell("a rotation that is asked for changes the id", |tape| {
            tape.log_in("alice");
            tape.open("1");
            assert_eq!(tape.edit("1", json!([just("rotate")]))["results"], json!(["rotated"]));
            wrote(&tape.close("1"), &["rotated"]);
        }),
        tell("a rotation is due by itself after its span", |tape| {
            tape.log_in("alice");
            tape.now += 15 * MINUTE;
            wrote(&tape.visit("1", json!([])), &["rotated"]);
        }),
        tell("a new id must be presented before it rotates", |tape| {
            tape.visit("login", json!([crate::vectors::tape::login("alice")]));
            tape.open("1");
            assert_eq!(tape.edit("1", json!([just("rotate")]))["results"], json!(["pending"]));
            tape.close("1");
        }),
        tell("a second rotation has to wait", |tape| {
            rotated(tape, false);
            tape.visit("1", json!([]));
            tape.now += 59_999;
            tape.open("2");
            assert_eq!(tape.edit("2", json!([just("rotate")]))["results"], json!(["postponed"]));
            tape.close("2");
        }),
        tell("a visitor's id does not rotate", |tape| {
            tape.visit("1", json!([set("cart", 7)]));
            tape.visit("2", json!([]));
            tape.now += 20 * MINUTE;
            tape.open("3");
            assert_eq!(tape.edit("3", json!([just("rotate")]))["results"], json!(["postponed"]));
            wrote(&tape.close("3"), &["touched"]);
        }),
        tell_under(json!({"rotate_every_ms": null}), "no rotation is due where none is wanted", |tape| {
            tape.log_in("alice");
            tape.now += 25 * MINUTE;
            wrote(&tape.visit("1", json!([])), &["touched"]);
        }),
    ]
}

fn in_grace() -> Vec<Case> {
    vec![
        tell("a lost response costs nothing, for the answer is the same again", |tape| {
            rotated(tape, true);
            tape.now += 5000;
            assert_eq!(tape.open("1")["handler"]["state"], "Regenerated");
            let came = tape.close("1");
            assert_eq!(came["done"]["cookies"].as_array().map(Vec::len), Some(1));
            assert_eq!(tape.open("2")["handler"]["state"], "Active");
            wrote(&tape.close("2"), &["confirmed"]);
        }),
        tell("two rotations at once give the same id", |tape| {
            tape.log_in("alice");
            for exchange in ["1", "2"] {
                tape.open(exchange);
                tape.edit(exchange, json!([just("rotate")]));
            }
            let cookies = ["1", "2"].map(|exchange| tape.close(exchange)["done"]["cookies"].clone());
            assert_eq!(cookies[0], cookies[1]);
        }),
        tell("the old id reads and writes through its grace, and sets no cookie", |tape| {
            let old = rotated(tape, false);
            tape.visit("1", json!([]));
            tape.now += 29_999;
            tape.open_with("2", old.as_bytes());
            tape.edit("2", json!([set("cart", 7)]));
            let came = tape.start_closing("2");
            let came = tape.finish("2", came);
            wrote(&came, &["data"]);
            assert_eq!(came["done"]["cookies"], json!([]));
        }),
        tell("a logout by the old id ends the successor as well", |tape| {
            let old = rotated(tape, false);
            tape.visit("1", json!([]));
            tape.open_with("2", old.as_bytes());
            tape.edit("2", json!([just("logout")]));
            let came = tape.start_closing("2");
            wrote(&tape.finish("2", came), &["ended"]);
        }),
    ]
}

fn reused() -> Vec<Case> {
    let past_grace = |tape: &mut Tape| {
        let old = rotated(tape, false);
        tape.visit("1", json!([]));
        tape.now += 30_000;
        let opened = tape.open_with("thief", old.as_bytes());
        nobody(&opened);
        assert_eq!(opened["handler"]["state"], "Regenerated");
        tape.start_closing("thief")
    };
    vec![
        tell("the first refusal of an old id forgets it", |tape| {
            let came = past_grace(tape);
            assert!(came.get("swap").is_some());
            tape.finish("thief", came);
        }),
        tell("an old id past its grace ends the session", |tape| {
            let old = rotated(tape, false);
            tape.visit("1", json!([]));
            tape.now += 90_000;
            tape.visit("2", json!([just("rotate")]));
            tape.visit("3", json!([]));
            nobody(&tape.open_with("thief", old.as_bytes()));
            let came = tape.start_closing("thief");
            noticed(&tape.finish("thief", came), "reuse");
            nobody(&tape.open("4"));
            tape.close("4");
        }),
        tell_under(json!({"reuse": "danger-refuse-only"}), "reuse can be merely refused", |tape| {
            let came = past_grace(tape);
            noticed(&tape.finish("thief", came), "reuse");
            assert_eq!(tape.open("4")["handler"]["principal"]["name"], "alice");
            tape.close("4");
        }),
        tell("an id from before the login is refused without an end", |tape| {
            tape.visit("1", json!([set("cart", 7)]));
            tape.visit("2", json!([]));
            let planted = tape.browser.header();
            tape.log_in("alice");
            nobody(&tape.open_with("thief", planted.as_bytes()));
            let came = tape.start_closing("thief");
            tape.finish("thief", came);
            assert_eq!(tape.open("3")["handler"]["principal"]["name"], "alice");
            tape.close("3");
        }),
    ]
}

fn around() -> Vec<Case> {
    vec![
        tell("a response whose head is gone carries no new id", |tape| {
            tape.log_in("alice");
            tape.now += 15 * MINUTE;
            wrote(&tape.visit("1", json!([just("head_sent")])), &["touched"]);
        }),
        tell("a rotation of unknown outcome is recognised by its commit", |tape| {
            tape.log_in("alice");
            tape.open("1");
            tape.edit("1", json!([just("rotate")]));
            wrote(&tape.close_with("1", Answer::Unheard), &["rotated"]);
        }),
        tell("an exchange that closes long after it opened hands out no derived id", |tape| {
            rotated(tape, true);
            tape.open("slow");
            tape.now += 30_001;
            assert_eq!(tape.close("slow")["done"]["cookies"], json!([]));
        }),
    ]
}
