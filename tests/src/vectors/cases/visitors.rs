//! Anonymous sessions, from the first visit to their limits.

use serde_json::json;

use super::{MINUTE, failed, nobody, noticed, tell, tell_under, wrote};
use crate::vectors::tape::{Case, add, just, set};

pub fn cases() -> Vec<Case> {
    [first_steps(), touches(), limits(), clocks()].into_iter().flatten().collect()
}

fn first_steps() -> Vec<Case> {
    vec![
        tell("a visit that writes nothing leaves no cookie", |tape| {
            nobody(&tape.open("1"));
            wrote(&tape.close("1"), &[]);
        }),
        tell("the first write makes a visitor session", |tape| {
            wrote(&tape.visit("1", json!([set("cart", 7)])), &["created"]);
            assert!(tape.browser.visitor.is_some() && tape.browser.login.is_none());
        }),
        tell("the second request presents the new id", |tape| {
            tape.visit("1", json!([set("cart", 7)]));
            tape.now += 1000;
            assert_eq!(tape.open("2")["handler"]["data"]["cart"], "07");
            wrote(&tape.close("2"), &["confirmed"]);
        }),
        tell("a read soon after writes nothing", |tape| {
            tape.visit("1", json!([set("cart", 7)]));
            tape.visit("2", json!([]));
            tape.now += 1000;
            wrote(&tape.visit("3", json!([])), &[]);
        }),
        tell("a second write keeps id and cookie", |tape| {
            tape.visit("1", json!([set("cart", 7)]));
            tape.visit("2", json!([]));
            let before = tape.browser.clone();
            wrote(&tape.visit("3", json!([set("cart", 8), add("visits", 2)])), &["data"]);
            assert_eq!(tape.browser, before);
        }),
        tell("what a discarded exchange wanted is not written", |tape| {
            wrote(&tape.visit("1", json!([set("cart", 7), just("discard")])), &[]);
        }),
    ]
}

fn touches() -> Vec<Case> {
    vec![
        tell("presence is written down after the touch span", |tape| {
            tape.visit("1", json!([set("cart", 7)]));
            tape.visit("2", json!([]));
            tape.now += MINUTE;
            wrote(&tape.visit("3", json!([])), &["touched"]);
        }),
        tell_under(json!({"touch_ms": 5000}), "a touch span of its own counts", |tape| {
            tape.visit("1", json!([set("cart", 7)]));
            tape.visit("2", json!([]));
            tape.now += 4999;
            wrote(&tape.visit("3", json!([])), &[]);
            tape.now += 1;
            wrote(&tape.visit("4", json!([])), &["touched"]);
        }),
    ]
}

fn limits() -> Vec<Case> {
    let near_the_end = json!({"idle_ms": 600_000, "absolute_ms": 900_000});
    vec![
        tell_under(json!({"idle_ms": 600_000}), "a millisecond before the idle limit the session lives", |tape| {
            tape.visit("1", json!([set("cart", 7)]));
            tape.now += 599_999;
            assert_eq!(tape.open("2")["handler"]["state"], "Active");
            tape.close("2");
        }),
        tell_under(json!({"idle_ms": 600_000}), "at the idle limit the session is over and its end is kept", |tape| {
            tape.visit("1", json!([set("cart", 7)]));
            tape.now += 600_000;
            let opened = tape.open("2");
            nobody(&opened);
            assert_eq!(opened["handler"]["state"], "Expired");
            wrote(&tape.close("2"), &["ended"]);
        }),
        tell_under(json!({"idle_ms": 600_000}), "a write after the end makes another session", |tape| {
            tape.visit("1", json!([set("cart", 7)]));
            tape.now += 600_000;
            wrote(&tape.visit("2", json!([set("cart", 8)])), &["ended", "created"]);
            assert_eq!(tape.store().len(), 2);
        }),
        tell_under(json!({"idle_ms": 600_000, "tombstone_ms": 0}), "without a tombstone the record goes", |tape| {
            tape.visit("1", json!([set("cart", 7)]));
            tape.now += 600_000;
            tape.visit("2", json!([]));
            assert!(tape.store().is_empty());
        }),
        tell_under(near_the_end, "use does not move the absolute limit", |tape| {
            tape.visit("1", json!([set("cart", 7)]));
            tape.now += 450_000;
            tape.visit("2", json!([]));
            tape.now += 450_000;
            assert_eq!(tape.open("3")["handler"]["state"], "Expired");
            tape.close("3");
        }),
        tell_under(json!({"idle_ms": null}), "without an idle limit only the absolute one counts", |tape| {
            tape.visit("1", json!([set("cart", 7)]));
            tape.now += 11 * 60 * MINUTE;
            assert_eq!(tape.open("2")["handler"]["state"], "Active");
            tape.close("2");
        }),
        tell_under(json!({"activation_ms": 120_000}), "an id that nobody presents in time is over", |tape| {
            tape.visit("1", json!([set("cart", 7)]));
            tape.now += 120_000;
            nobody(&tape.open("2"));
            tape.close("2");
        }),
        tell("a limit that passes while the handler runs ends the exchange", |tape| {
            tape.visit("1", json!([set("cart", 7)]));
            tape.open("2");
            tape.edit("2", json!([set("cart", 8)]));
            tape.now += 30 * MINUTE;
            failed(&tape.close("2"), "ended");
        }),
    ]
}

fn clocks() -> Vec<Case> {
    vec![
        tell("a clock that is a little behind is taken to be where the record is", |tape| {
            tape.visit("1", json!([set("cart", 7)]));
            tape.now -= 4000;
            assert_eq!(tape.open("2")["handler"]["state"], "Active");
            tape.close("2");
        }),
        tell("a clock that is far behind can judge nothing", |tape| {
            tape.visit("1", json!([set("cart", 7)]));
            tape.now -= 3_600_000;
            let came = tape.open("2");
            failed(&came, "unavailable");
            noticed(&came, "clock behind");
        }),
    ]
}
