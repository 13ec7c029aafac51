//! Cookie headers that no browser of ours sends.

use coatroom_core::Kind;
use serde_json::{Value, json};

use super::{nobody, noticed, tell};
use crate::vectors::tape::{Case, Tape, set};

pub fn cases() -> Vec<Case> {
    [junk(), ids(), twice()].into_iter().flatten().collect()
}

/// Nothing is loaded for this header, and it is noticed.
fn header(name: &str, cookies: &[u8], event: Option<&str>) -> Case {
    tell(name, |tape| {
        nothing_of(tape, "1", cookies, event);
    })
}

fn nothing_of(tape: &mut Tape, exchange: &str, cookies: &[u8], event: Option<&str>) -> Value {
    let hex = crate::vectors::fields::hex(cookies);
    let came = tape.call("open", exchange, json!({"cookies": hex, "now": tape.now}));
    nobody(&came);
    let came = tape.start_closing(exchange);
    match event {
        Some(event) => noticed(&came, event),
        None => assert_eq!(came["done"]["events"], json!([])),
    }
    came
}

fn junk() -> Vec<Case> {
    let long = [b"__Host-id=".as_slice(), &[b'A'; 5000]].concat();
    vec![
        header("an empty header is nobody", b"", None),
        header("a header of separators is nobody", b";;; ; =;==; ,", None),
        header("cookies of others are nobody's business", b"theme=dark; _ga=GA1.2.3; Host-id=x", None),
        header("an empty value is junk", b"__Host-id=", Some("junk id")),
        header("a short value is junk", b"__Host-id=AAAA", Some("junk id")),
        header("a value of thousands of characters is junk", &long, Some("junk id")),
        header("bytes that are no text are junk", b"__Host-visitor=\xff\xfe\x00\x80", Some("junk id")),
        header("a name in another case is another cookie", b"__host-id=AAAA", None),
    ]
}

fn ids() -> Vec<Case> {
    let changed = |name: &str, change: fn(&mut Vec<u8>)| {
        tell(name, |tape| {
            tape.visit("1", json!([set("a", 1)]));
            let mut id = tape.cookie(Kind::Visitor).into_bytes();
            change(&mut id);
            let cookies = [b"__Host-visitor=".as_slice(), &id].concat();
            nothing_of(tape, "2", &cookies, Some("junk id"));
        })
    };
    vec![
        changed("an id with another tag is junk", |id| id[80] = if id[80] == b'A' { b'B' } else { b'A' }),
        changed("an id with another handle is junk", |id| id[3] = if id[3] == b'A' { b'B' } else { b'A' }),
        changed("an id under a key that nobody has is junk", |id| id[23] = b'9'),
        changed("an id in the other alphabet is junk", |id| id[5] = b'+'),
        changed("an id with padding is junk", |id| id.push(b'=')),
        changed("an id that was cut is junk", |id| id.truncate(87)),
        tell("an id in quotes is what the quotes say", |tape| {
            tape.visit("1", json!([set("a", 1)]));
            let quoted = format!("__Host-visitor=\"{}\"", tape.cookie(Kind::Visitor));
            tape.open_with("2", quoted.as_bytes());
            let came = tape.start_closing("2");
            tape.finish("2", came);
        }),
    ]
}

fn twice() -> Vec<Case> {
    vec![
        tell("a cookie that comes twice counts as absent", |tape| {
            tape.visit("1", json!([set("a", 1)]));
            let id = tape.cookie(Kind::Visitor);
            let cookies = format!("__Host-visitor={id}; __Host-visitor={id}");
            nothing_of(tape, "2", cookies.as_bytes(), Some("duplicate cookie"));
        }),
        tell("a write that would set a doubled cookie is refused", |tape| {
            tape.open_with("1", b"__Host-visitor=a; __Host-visitor=b");
            tape.edit("1", json!([set("a", 1)]));
            super::failed(&tape.start_closing("1"), "duplicate-cookie");
        }),
        tell("a doubled visitor cookie leaves the login cookie its worth", |tape| {
            tape.log_in("alice");
            let cookies = format!("__Host-visitor=a; __Host-visitor=b; {}", tape.browser.header());
            let came = tape.open_with("1", cookies.as_bytes());
            assert_eq!(came["handler"]["principal"]["name"], "alice");
            let came = tape.start_closing("1");
            tape.finish("1", came);
        }),
    ]
}
