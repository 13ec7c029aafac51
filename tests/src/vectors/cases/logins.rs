//! Logins, elevations, and what becomes of older ids.

use coatroom_core::Kind;
use serde_json::{Value, json};

use super::{failed, nobody, noticed, refused, tell, tell_under, wrote};
use crate::vectors::tape::{Case, Tape, just, login, set};

pub fn cases() -> Vec<Case> {
    [logins(), carried(), fixed(), again(), elevated(), listed()].into_iter().flatten().collect()
}

fn shopped(tape: &mut Tape) {
    tape.visit("1", json!([set("cart", 7), set("state", 8)]));
    tape.visit("2", json!([]));
}

fn logins() -> Vec<Case> {
    vec![
        tell("a login without a session makes one", |tape| {
            let came = tape.visit("1", json!([login("alice"), set("a", 1)]));
            wrote(&came, &["created", "logged in"]);
            assert!(tape.browser.login.is_some());
        }),
        tell("the roles and the level of a login are there in the next request", |tape| {
            let edit = json!({"edit": "login", "principal": "zoë", "roles": ["admin", "user"], "level": 2});
            tape.visit("1", json!([edit]));
            assert_eq!(tape.open("2")["handler"]["principal"]["roles"], json!(["admin", "user"]));
            tape.close("2");
        }),
        tell("a name of nothing is no principal", |tape| {
            tape.open("1");
            refused(&tape.edit("1", json!([login("")])), "bad-principal");
            wrote(&tape.close("1"), &[]);
        }),
        tell("a login by a dead login cookie falls back to the visitor's", |tape| {
            tape.log_in("alice");
            let login = tape.cookie(Kind::Login);
            tape.visit("out", json!([just("logout")]));
            tape.visit("1", json!([set("cart", 9)]));
            tape.browser.login = Some(login);
            assert_eq!(tape.open("2")["handler"]["data"]["cart"], "09");
            tape.close("2");
        }),
    ]
}

fn carried() -> Vec<Case> {
    let tale = |settings: Value, name: &str, kept: Value| {
        tell_under(settings, name, |tape| {
            shopped(tape);
            tape.visit("3", json!([login("alice"), set("after", 9)]));
            assert_eq!(tape.open("4")["handler"]["data"], kept);
            assert!(tape.browser.visitor.is_none());
            tape.close("4");
        })
    };
    vec![
        tale(json!({}), "a login carries the visitor's data", json!({"cart": "07", "state": "08", "after": "09"})),
        tale(json!({"carry": ["cart"]}), "a login carries the keys named", json!({"cart": "07", "after": "09"})),
        tale(json!({"carry": "none"}), "a login carries nothing if so told", json!({"after": "09"})),
    ]
}

fn fixed() -> Vec<Case> {
    vec![
        tell("the visitor's id is dead after the login", |tape| {
            shopped(tape);
            let planted = tape.cookie(Kind::Visitor);
            tape.visit("3", json!([login("alice")]));
            nobody(&tape.open_with("thief", format!("__Host-visitor={planted}").as_bytes()));
            wrote(&tape.start_closing("thief"), &[]);
        }),
        tell("a planted id never logs in, whichever cookie it comes in", |tape| {
            shopped(tape);
            let planted = tape.cookie(Kind::Visitor);
            tape.visit("3", json!([login("alice")]));
            nobody(&tape.open_with("thief", format!("__Host-id={planted}").as_bytes()));
            tape.start_closing("thief");
        }),
        tell("a login id in the visitor cookie counts for nothing", |tape| {
            tape.log_in("alice");
            let id = tape.cookie(Kind::Login);
            nobody(&tape.open_with("2", format!("__Host-visitor={id}").as_bytes()));
            noticed(&tape.start_closing("2"), "wrong cookie");
        }),
        tell("a visitor's id in the login cookie counts for nothing", |tape| {
            shopped(tape);
            let id = tape.cookie(Kind::Visitor);
            nobody(&tape.open_with("3", format!("__Host-id={id}").as_bytes()));
            noticed(&tape.start_closing("3"), "wrong cookie");
        }),
        tell("an anonymous write that a login overtakes is not in the new session", |tape| {
            shopped(tape);
            tape.open("slow");
            tape.edit("slow", json!([set("planted", 1)]));
            tape.visit("3", json!([login("alice")]));
            let came = tape.close("slow");
            failed(&came, "superseded");
        }),
    ]
}

fn again() -> Vec<Case> {
    vec![
        tell("a second login of the same user keeps the data and kills the older id", |tape| {
            tape.log_in("alice");
            tape.visit("1", json!([set("cart", 7)]));
            let old = tape.browser.clone();
            tape.visit("2", json!([login("alice")]));
            assert_ne!(tape.browser, old);
            assert_eq!(tape.open("3")["handler"]["data"]["cart"], "07");
            tape.close("3");
            nobody(&tape.open_with("thief", old.header().as_bytes()));
            tape.start_closing("thief");
        }),
        tell("the login of another user starts a fresh session", |tape| {
            tape.log_in("alice");
            tape.visit("1", json!([set("cart", 7)]));
            wrote(&tape.visit("2", json!([login("bob")])), &["ended", "created", "logged in"]);
            assert_eq!(tape.open("3")["handler"]["data"], json!({}));
            tape.close("3");
        }),
        tell("a login moves the absolute limit", |tape| {
            tape.log_in("alice");
            tape.now += 20 * 60_000;
            tape.visit("1", json!([login("alice")]));
            assert_eq!(tape.open("2")["handler"]["state"], "Active");
            tape.close("2");
        }),
    ]
}

fn elevated() -> Vec<Case> {
    let elevate = || json!({"edit": "elevate", "level": 3});
    vec![
        tell("an elevation changes the level and the id", |tape| {
            tape.log_in("alice");
            let old = tape.browser.clone();
            wrote(&tape.visit("1", json!([elevate()])), &["elevated"]);
            assert_ne!(tape.browser, old);
            assert_eq!(tape.open("2")["handler"]["principal"]["level"], 3);
            tape.close("2");
            nobody(&tape.open_with("old", old.header().as_bytes()));
            tape.start_closing("old");
        }),
        tell("nobody can be elevated without a login", |tape| {
            tape.open("1");
            refused(&tape.edit("1", json!([elevate()])), "not-logged-in");
            tape.close("1");
        }),
    ]
}

fn listed() -> Vec<Case> {
    let at_the_entry = |tape: &mut Tape| {
        tape.open("1");
        tape.edit("1", json!([login("alice")]));
        let came = tape.start_closing("1");
        assert_eq!(came["swap"]["listing"]["enter"]["principal"], "alice");
        tape.call("saved", "1", json!({}))
    };
    let refuse = json!({"limit": ["refuse", 2]});
    vec![
        tell("a login that a revocation of all overtook is refused and ended", |tape| {
            assert!(at_the_entry(tape).get("entry").is_some());
            let args = json!({"revoked": tape.now + 1, "count": 1});
            let came = tape.call("entered", "1", args);
            assert!(came.get("swap").is_some());
            failed(&tape.finish("1", came), "revoked");
            assert!(tape.browser.login.is_none());
        }),
        tell("a revocation of long ago bars no login", |tape| {
            at_the_entry(tape);
            let args = json!({"revoked": tape.now - 60_000, "count": 3});
            let came = tape.call("entered", "1", args);
            wrote(&came, &["created", "logged in"]);
        }),
        tell_under(refuse, "a login says how many others there may be", |tape| {
            tape.open("1");
            tape.edit("1", json!([login("alice")]));
            let came = tape.start_closing("1");
            assert_eq!(came["swap"]["listing"]["enter"]["at_most"], 2);
            wrote(&tape.finish("1", came), &["created", "logged in"]);
        }),
    ]
}
