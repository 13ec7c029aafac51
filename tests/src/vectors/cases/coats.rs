//! Sessions that live in their cookies, without any store.

use coatroom_core::Kind;
use serde_json::{Value, json};

use super::{MINUTE, failed, nobody, noticed, wrote};
use crate::vectors::tape::{Case, Tape, add, just, login, set};
use crate::world::{NEXT_KEY, RING};

pub fn cases() -> Vec<Case> {
    [visitors(), logins(), limits(), hostile()].into_iter().flatten().collect()
}

fn told(name: &str, story: impl FnOnce(&mut Tape)) -> Case {
    let mut tape = Tape::in_cookies(name, json!({}));
    story(&mut tape);
    assert!(tape.store().is_empty());
    tape.done()
}

/// Somebody who logged in under the first ring goes on under another one.
fn under(name: &str, ring: &str, story: impl FnOnce(&mut Tape)) -> Case {
    let mut before = Tape::in_cookies(name, json!({}));
    before.log_in("alice");
    let mut tape = before.goes_on(name, json!({}), ring);
    story(&mut tape);
    tape.done()
}

fn user(came: &Value) -> &Value {
    &came["handler"]["principal"]["name"]
}

fn visitors() -> Vec<Case> {
    vec![
        told("a visitor's session is all in its cookie", |tape| {
            wrote(&tape.visit("1", json!([set("cart", 7)])), &["created"]);
            assert_eq!(tape.open("2")["handler"]["data"]["cart"], "07");
            wrote(&tape.close("2"), &["confirmed"]);
            wrote(&tape.visit("3", json!([])), &[]);
        }),
        told("a write is a new cookie under a fresh nonce", |tape| {
            tape.visit("1", json!([add("n", 1)]));
            let before = tape.cookie(Kind::Visitor);
            wrote(&tape.visit("2", json!([add("n", 1)])), &["confirmed", "data"]);
            assert_ne!(tape.cookie(Kind::Visitor), before);
            assert_eq!(tape.open("3")["handler"]["data"]["n"], "02");
        }),
        told("of two at once the later answer stands", |tape| {
            tape.visit("1", json!([add("n", 1)]));
            tape.open("2");
            tape.open("3");
            tape.edit("2", json!([add("n", 1)]));
            tape.edit("3", json!([add("n", 10)]));
            tape.close("2");
            tape.close("3");
            assert_eq!(tape.open("4")["handler"]["data"]["n"], "0b");
        }),
        told("what is discarded sets no cookie", |tape| {
            let came = tape.visit("1", json!([set("cart", 7), just("discard")]));
            assert_eq!(came["done"]["cookies"], json!([]));
        }),
    ]
}

fn logins() -> Vec<Case> {
    vec![
        told("a login in a cookie", |tape| {
            tape.visit("1", json!([set("cart", 7)]));
            tape.visit("2", json!([login("alice")]));
            assert_eq!(user(&tape.open("3")), "alice");
            tape.close("3");
        }),
        told("what was a visitor's before the login is nobody's after it", |tape| {
            tape.visit("1", json!([set("cart", 7)]));
            let planted = tape.browser.clone();
            tape.log_in("alice");
            let before = tape.browser.clone();
            tape.browser = planted;
            assert_eq!(tape.open("planted")["handler"]["principal"], Value::Null);
            tape.edit("planted", json!([set("cart", 9)]));
            tape.close("planted");
            tape.browser = before;
            assert_eq!(tape.open("2")["handler"]["data"]["cart"], "07");
            tape.close("2");
        }),
        told("a logout clears the cookie, and a copy of it goes on: nothing here could know", |tape| {
            tape.log_in("alice");
            let copy = tape.browser.clone();
            tape.visit("1", json!([just("logout")]));
            nobody(&tape.open("2"));
            tape.close("2");
            tape.browser = copy;
            assert_eq!(user(&tape.open("3")), "alice");
        }),
        told("an elevation is in the next cookie", |tape| {
            tape.log_in("alice");
            tape.visit("1", json!([{"edit": "elevate", "level": 2}]));
            assert_eq!(tape.open("2")["handler"]["principal"]["level"], 2);
        }),
    ]
}

fn limits() -> Vec<Case> {
    let both = format!("{NEXT_KEY},{RING}");
    vec![
        under("a cookie of an older key opens, and the first key seals the next", &both, |tape| {
            assert_eq!(user(&tape.open("1")), "alice");
            tape.edit("1", json!([set("cart", 8)]));
            wrote(&tape.close("1"), &["data"]);
            assert_eq!(tape.open("2")["handler"]["data"]["cart"], "08");
        }),
        under("a cookie under a key that was withdrawn opens nothing", NEXT_KEY, |tape| {
            nobody(&tape.open("1"));
            noticed(&tape.close("1"), "junk id");
        }),
        told("no cookie opens when its limits are over", |tape| {
            tape.log_in("alice");
            tape.now += 366 * 24 * 60 * MINUTE;
            assert_eq!(user(&tape.open("1")), &Value::Null);
            tape.close("1");
        }),
        told("what no browser would keep is refused before the head", |tape| {
            tape.open("1");
            let long = [vec![0x79, 0x10, 0x00], vec![b'x'; 4096]].concat();
            let hex: String = long.iter().map(|byte| format!("{byte:02x}")).collect();
            tape.edit("1", json!([{"edit": "set", "key": "cart", "value": hex}]));
            failed(&tape.close("1"), "too-large");
        }),
    ]
}

fn hostile() -> Vec<Case> {
    vec![
        told("a character that was changed opens nothing", |tape| {
            tape.log_in("alice");
            let cookie = tape.cookie(Kind::Login);
            let (front, last) = cookie.split_at(cookie.len() - 5);
            let changed = if last.starts_with('A') { "B" } else { "A" };
            tape.browser.login = Some(format!("{front}{changed}{}", &last[1..]));
            nobody(&tape.open("1"));
            noticed(&tape.close("1"), "unopened record");
        }),
        told("a visitor's cookie is no login", |tape| {
            tape.visit("1", json!([set("cart", 7)]));
            tape.browser.login = Some(tape.cookie(Kind::Visitor));
            tape.browser.visitor = None;
            nobody(&tape.open("2"));
            tape.close("2");
        }),
        told("a cookie that came twice is none", |tape| {
            tape.log_in("alice");
            let cookie = tape.cookie(Kind::Login);
            nobody(&tape.open_with("1", format!("__Host-id={cookie}; __Host-id={cookie}").as_bytes()));
            tape.close("1");
        }),
    ]
}
