//! What a record can hold and what it cannot: data, names, client details.

use std::collections::BTreeMap;

use coatroom_core::staged::Staged;
use coatroom_core::value::{Encoded, ValueError};
use coatroom_core::{Carry, Change, Client, Error, Listed, Settings, Value};
use coatroom_tests::ops::adder;
use coatroom_tests::record::data;
use coatroom_tests::scenarios::settings;

use super::forge::{NOW, Sheet, close, id, logged_in, nobody, open, open_header, rules, written};

fn values(staged: Staged) -> BTreeMap<String, Value> {
    data(&written(staged).unwrap())
}

#[test]
fn names_that_a_record_cannot_hold_are_refused() {
    let long = "x".repeat(65_535);
    let longer = "x".repeat(65_536);
    let mut staged = nobody();
    let session = staged.session().unwrap();
    for (name, role) in [("", "user"), (&longer, "user"), ("alice", ""), ("alice", &longer)] {
        assert_eq!(session.login(name, &[role], 1), Err(Error::BadPrincipal));
    }
    let many: Vec<_> = (0..65_536).map(|number| number.to_string()).collect();
    assert_eq!(session.login("alice", &many, 1), Err(Error::BadPrincipal));
    assert_eq!(session.login("alice", &many[1..], 1), Ok(()));
    assert_eq!(session.login(&long, &[&long], 1), Ok(()));
    let client = |label: &str, address: &str| Client { label: label.to_owned(), address: address.to_owned() };
    assert_eq!(session.set_client(client(&longer, "")), Err(Error::BadPrincipal));
    assert_eq!(session.set_client(client("", &longer)), Err(Error::BadPrincipal));
    assert_eq!(session.set_client(client(&long, &long)), Ok(()));
}

#[test]
fn client_details_are_written_alone_and_stay_until_the_end() {
    let details = || Client { label: "Firefox on Linux".into(), address: "192.0.2.7".into() };
    let mut staged = nobody();
    staged.session().unwrap().set_client(details()).unwrap();
    let record = written(staged).unwrap();
    let tail = b"\x00\x10Firefox on Linux\x00\x09192.0.2.7\xa0";
    assert!(record.ends_with(tail));

    let sheet = Sheet { label: b"Firefox on Linux", address: b"192.0.2.7", ..Sheet::login() };
    let opened = || open(&rules(settings()), &id(5), &sheet.bytes(), NOW);
    let mut staged = opened();
    staged.session().unwrap().set_client(details()).unwrap();
    assert_eq!(written(staged), None, "nothing changed");
    let mut staged = opened();
    staged.session().unwrap().set("b", 1).unwrap();
    assert!(written(staged).unwrap().ends_with(b"\x00\x10Firefox on Linux\x00\x09192.0.2.7\xa2\x61a\x01\x61b\x01"));
    let mut staged = opened();
    staged.session().unwrap().set_client(Client { label: "tv".into(), ..details() }).unwrap();
    close(&mut staged, NOW);
    assert!(staged.swap().unwrap().new.as_ref().unwrap().ends_with(b"\x00\x02tv\x00\x09192.0.2.7\xa1\x61a\x01"));
    staged.entered(Listed::default()).unwrap();
    assert_eq!(staged.reply().unwrap().trace().written, [Change::Data]);
    let mut staged = opened();
    staged.session().unwrap().logout();
    let ended = written(staged).unwrap();
    assert!(ended.ends_with(b"alice\x00\x00\x00\x00\x00\x00\xa0"));
}

#[test]
fn additions_are_exact_wherever_the_sum_fits() {
    let mut staged = nobody();
    let session = staged.session().unwrap();
    session.set("n", -5).unwrap();
    assert_eq!(session.add("n", i64::MAX), Ok(i64::MAX - 5));
    assert_eq!(session.add("n", 3), Ok(i64::MAX - 2));
    assert_eq!(session.add("n", 3), Err(Error::NotAddable));
    assert_eq!(session.get("n"), Some(Value::Int(i64::MAX - 2)));
    assert_eq!(values(staged), [("n".to_owned(), Value::Int(i64::MAX - 2))].into());

    let low = Sheet { data: b"\xa1\x61n\x24", ..Sheet::login() };
    let mut staged = open(&rules(settings()), &id(5), &low.bytes(), NOW);
    let session = staged.session().unwrap();
    assert_eq!(session.add("n", i64::MAX), Ok(i64::MAX - 5));
    assert_eq!(session.add("n", 3), Ok(i64::MAX - 2), "more than one addition can hold");
    assert_eq!(session.get("n"), Some(Value::Int(i64::MAX - 2)));
    assert_eq!(values(staged)["n"], Value::Int(i64::MAX - 2));

    let mut staged = logged_in();
    let session = staged.session().unwrap();
    session.set("t", "text").unwrap();
    assert_eq!(session.add("t", 1), Err(Error::NotAddable));
    assert_eq!((session.add("a", 2), session.add("a", 3), session.add("new", 4)), (Ok(3), Ok(6), Ok(4)));
    session.update("a", adder(10)).unwrap();
    assert_eq!((session.get("a"), session.add("a", 1)), (Some(Value::Int(16)), Ok(17)));
    session.remove("new");
    assert_eq!((session.get("new"), session.add("new", 1)), (None, Ok(1)));
    let values = values(staged);
    assert_eq!((&values["a"], &values["new"]), (&Value::Int(17), &Value::Int(1)));
}

#[test]
fn keys_are_listed_in_the_order_of_the_record_with_what_this_exchange_changed() {
    let sheet = Sheet { data: b"\xa3\x61a\x01\x61b\x02\x62aa\x03", ..Sheet::login() };
    let mut staged = open(&rules(settings()), &id(5), &sheet.bytes(), NOW);
    let session = staged.session().unwrap();
    assert_eq!(session.keys(), ["a", "b", "aa"]);
    session.remove("b");
    session.set("ab", 1).unwrap();
    session.set("c", 1).unwrap();
    assert_eq!(session.keys(), ["a", "c", "aa", "ab"]);
    session.clear();
    assert_eq!(session.keys(), [""; 0]);
    session.set("z", 1).unwrap();
    assert_eq!((session.keys(), session.get("a")), (vec!["z".to_owned()], None));
    assert_eq!(values(staged), [("z".to_owned(), Value::Int(1))].into());
}

#[test]
fn a_login_shows_what_is_carried_and_what_follows_it() {
    let sheet = Sheet { data: b"\xa2\x61a\x01\x61b\x02", ..Sheet::visitor() };
    let header = format!("__Host-visitor={}", id(0));
    let carries = [
        (Carry::All, vec!["a", "b", "c", "after"]),
        (Carry::Keys(vec!["b".into(), "c".into()]), vec!["b", "c", "after"]),
        (Carry::Nothing, vec!["after"]),
    ];
    for (carry, kept) in carries {
        let rules = rules(Settings { carry, ..settings() });
        let mut staged = open_header(&rules, &header, &sheet.bytes(), NOW);
        let session = staged.session().unwrap();
        session.set("c", 3).unwrap();
        session.login::<&str>("alice", &[], 1).unwrap();
        session.set("after", 4).unwrap();
        session.update("after", adder(0)).unwrap();
        assert_eq!(session.keys(), kept);
        let values = values(staged);
        let mut keys: Vec<_> = values.keys().map(String::as_str).collect();
        keys.sort_unstable_by_key(|key| (key.len(), *key));
        assert_eq!(keys, kept);
    }
}

#[test]
fn sizes_are_refused_one_byte_above_their_limits() {
    let rules = rules(Settings { size: 512, ..settings() });
    let mut staged = open_header(&rules, "", &[], NOW);
    let session = staged.session().unwrap();
    let text = |bytes: usize| Encoded::from_bytes([&[0x79, 1, 0], &[b'x'; 256][..], &vec![0; bytes]].concat());
    assert!(text(1).is_err(), "one value only");
    // 119 bytes of front, one for nobody, four for no client, one for the map, and two for the key.
    let room = 512 - 119 - 1 - 4 - 1 - 2 - 3;
    let value = |bytes: usize| Value::Text("x".repeat(bytes));
    assert_eq!(session.set("k", value(512 - 1 - 3)), Ok(()));
    assert_eq!(session.set("k", value(512 - 3)), Err(Error::TooLarge { bytes: 513, limit: 512 }));
    session.set("k", value(room)).unwrap();
    close(&mut staged, NOW);
    assert_eq!(staged.swap().unwrap().new.as_ref().unwrap().len(), 512);
    let mut staged = open_header(&rules, "", &[], NOW);
    staged.session().unwrap().set("k", value(room + 1)).unwrap();
    close(&mut staged, NOW);
    assert_eq!(staged.failure().unwrap().error, Error::TooLarge { bytes: 513, limit: 512 });
}

#[test]
fn what_is_no_value_is_refused_where_it_is_set() {
    let mut staged = nobody();
    let session = staged.session().unwrap();
    for float in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(session.set("f", float), Err(Error::Value(ValueError::NotFinite)));
    }
    for bytes in [&[0xf9, 0x3c][..], &[0xfa, 0, 0], &[0xfb, 0, 0, 0, 0, 0, 0, 0], &[0x1c], &[0x5f], &[0x18]] {
        assert_eq!(Value::decode(bytes), Err(ValueError::NotCanonical), "{bytes:x?}");
    }
    assert_eq!(session.keys(), [""; 0]);
}

#[test]
fn values_of_every_kind_are_read_back_as_they_were_set() {
    let list = Value::List(vec![Value::Null, Value::Bool(false), Value::Bool(true), Value::Int(-1)]);
    let map = Value::Map([("k".to_owned(), list.clone()), (String::new(), Value::Bytes(vec![0, 255]))].into());
    let floats = [0.5, 65_504.0, 65_505.0, 1.0e10, 0.1, f64::MAX, f64::MIN_POSITIVE, 5.0e-324, -0.0];
    let integers = [0, 23, 24, 255, 256, 65_535, 65_536, 0xffff_ffff, 0x1_0000_0000, i64::MAX, -24, -25, i64::MIN];
    let texts = [0, 23, 24, 255, 256].map(|length| Value::Text("x".repeat(length)));
    let values = [list, map].into_iter().chain(texts);
    let values = values.chain(floats.map(Value::Float)).chain(integers.map(Value::Int));
    let values: Vec<_> = values.chain([Value::Null, Value::Bool(false), Value::Bool(true)]).collect();
    let mut staged = nobody();
    let session = staged.session().unwrap();
    for (number, value) in values.iter().enumerate() {
        session.set(&number.to_string(), value.clone()).unwrap();
        assert_eq!(session.get(&number.to_string()).as_ref(), Some(value));
    }
    let record = written(staged).unwrap();
    for (key, value) in data(&record) {
        assert_eq!(value, values[key.parse::<usize>().unwrap()]);
        assert_eq!(Encoded::from_bytes(value.encode().unwrap().as_bytes().to_vec()), value.encode());
    }
}
