//! Logouts, and ends that others wrote.

use coatroom_core::Kind;
use serde_json::json;

use super::{failed, nobody, noticed, tell, tell_under, wrote};
use crate::vectors::tape::{Case, just, login, set};

pub fn cases() -> Vec<Case> {
    [logouts(), races()].into_iter().flatten().collect()
}

fn logouts() -> Vec<Case> {
    vec![
        tell("a logout ends the session and clears both cookies", |tape| {
            tape.log_in("alice");
            let old = tape.browser.header();
            let came = tape.visit("out", json!([just("logout")]));
            wrote(&came, &["ended"]);
            assert_eq!(came["done"]["cookies"].as_array().map(Vec::len), Some(2));
            let opened = tape.open_with("thief", old.as_bytes());
            nobody(&opened);
            assert_eq!(opened["handler"]["state"], "Destroyed");
            tape.start_closing("thief");
        }),
        tell("a logout without a session is acknowledged", |tape| {
            wrote(&tape.visit("out", json!([just("logout")])), &[]);
        }),
        tell("what follows a logout goes to a fresh session", |tape| {
            tape.log_in("alice");
            wrote(&tape.visit("out", json!([just("logout"), set("hint", 1)])), &["ended", "created"]);
            assert!(tape.browser.login.is_none() && tape.browser.visitor.is_some());
        }),
        tell("a login after a logout in one exchange starts afresh", |tape| {
            tape.log_in("alice");
            tape.visit("1", json!([set("cart", 7)]));
            tape.visit("2", json!([just("logout"), login("bob")]));
            let opened = tape.open("3");
            assert_eq!(opened["handler"]["principal"]["name"], "bob");
            assert_eq!(opened["handler"]["data"], json!({}));
            tape.close("3");
        }),
        tell("a logout leaves the index", |tape| {
            tape.log_in("alice");
            tape.open("out");
            tape.edit("out", json!([just("logout")]));
            let came = tape.start_closing("out");
            assert_eq!(came["swap"]["listing"]["leave"], "alice");
            tape.finish("out", came);
        }),
        tell_under(json!({"tombstone_ms": 0}), "without a tombstone a logout removes the record", |tape| {
            tape.log_in("alice");
            tape.visit("out", json!([just("logout")]));
            assert!(tape.store().is_empty());
        }),
    ]
}

fn races() -> Vec<Case> {
    vec![
        tell("a logout wins over a write in between", |tape| {
            tape.log_in("alice");
            tape.open("out");
            tape.edit("out", json!([just("logout")]));
            tape.visit("write", json!([set("a", 1)]));
            wrote(&tape.close("out"), &["ended"]);
        }),
        tell("a logout wins over another login of the same user", |tape| {
            tape.log_in("alice");
            tape.open("out");
            tape.edit("out", json!([just("logout")]));
            tape.visit("again", json!([login("alice")]));
            wrote(&tape.close("out"), &["ended"]);
        }),
        tell("two logouts at once are both acknowledged", |tape| {
            tape.log_in("alice");
            for exchange in ["1", "2"] {
                tape.open(exchange);
                tape.edit(exchange, json!([just("logout")]));
            }
            tape.close("1");
            assert!(tape.close("2").get("done").is_some());
        }),
        tell("a visitor's logout does not end the login that came between", |tape| {
            tape.visit("1", json!([set("cart", 7)]));
            tape.visit("2", json!([]));
            tape.open("out");
            tape.edit("out", json!([just("logout")]));
            tape.visit("3", json!([login("alice")]));
            failed(&tape.close("out"), "logout-refused");
        }),
        tell("a logout of unknown outcome is recognised by its commit", |tape| {
            use crate::vectors::tape::Answer;
            tape.log_in("alice");
            tape.open("out");
            tape.edit("out", json!([just("logout")]));
            wrote(&tape.close_with("out", Answer::Unheard), &["ended"]);
        }),
        tell("an id of a session that somebody else ended is over without a reaction", |tape| {
            tape.log_in("alice");
            let id = tape.cookie(Kind::Login);
            tape.visit("out", json!([just("logout")]));
            tape.browser.login = Some(id);
            let came = tape.visit("late", json!([set("a", 1)]));
            wrote(&came, &["created"]);
            noticed(&came, "created");
        }),
    ]
}
