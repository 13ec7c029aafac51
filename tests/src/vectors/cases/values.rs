//! Values of each kind, and bytes that are none.

use std::collections::BTreeMap;

use coatroom_core::Value;
use serde_json::json;

use super::{refused, tell, tell_under};
use crate::vectors::fields::hex;
use crate::vectors::tape::{Case, just};

pub fn cases() -> Vec<Case> {
    let kinds = kinds().into_iter().map(|(name, values)| kept(name, &values));
    let others = others().into_iter().map(|(name, bytes)| not_taken(name, &bytes));
    kinds.chain(others).chain([deepest(), keys()]).collect()
}

fn kinds() -> Vec<(&'static str, Vec<Value>)> {
    let ints = [0, 1, 23, 24, 255, 256, 65_535, 65_536, 4_294_967_295, 4_294_967_296, i64::MAX, -1, -24, -25, i64::MIN];
    let floats = [0.0, -0.0, 1.0, 1.5, -4.0, 65_504.0, 100_000.0, 1.1, 1e300, 5e-324, f64::MAX, f64::MIN_POSITIVE];
    let map = |entries: &[(&str, Value)]| {
        Value::Map(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect::<BTreeMap<_, _>>())
    };
    let cart = map(&[
        ("items", Value::List(vec![map(&[("sku", "coat".into()), ("count", 2.into()), ("price", 99.5.into())])])),
        ("note", Value::Null),
        ("gift", true.into()),
        ("größe", "L".into()),
    ]);
    vec![
        ("nothing, true and false are kept", vec![Value::Null, true.into(), false.into()]),
        ("integers are kept in their shortest form", ints.map(Value::Int).to_vec()),
        ("floats stay floats, in their shortest form", floats.map(Value::Float).to_vec()),
        ("texts are kept", ["", "a", "\u{0}", "Grüße, 世界 🧥", "aaaaaaaaaaaaaaaaaaaaaaaa"].map(Value::from).to_vec()),
        ("bytes are kept", vec![Value::Bytes(vec![]), Value::Bytes((0..=255).collect())]),
        (
            "lists are kept",
            vec![Value::List(vec![]), Value::List(vec![1.into(), "a".into(), Value::List(vec![Value::Null])])],
        ),
        ("maps are kept in the order of their keys", vec![map(&[]), map(&[("aa", 1.into()), ("b", 2.into())]), cart]),
    ]
}

fn kept(name: &str, values: &[Value]) -> Case {
    tell(name, |tape| {
        let edits: Vec<_> = values
            .iter()
            .zip(b'a'..)
            .map(|(value, key)| {
                let value = hex(value.encode().unwrap().as_bytes());
                json!({"edit": "set", "key": char::from(key).to_string(), "value": value})
            })
            .collect();
        let count = edits.len();
        tape.visit("1", json!(edits));
        let data = tape.open("2")["handler"]["data"].clone();
        assert_eq!(data.as_object().map(serde_json::Map::len), Some(count));
        tape.close("2");
    })
}

fn others() -> Vec<(&'static str, Vec<u8>)> {
    let deeper = [vec![0x81; 33], vec![0xf6]].concat();
    vec![
        ("no bytes are no value", vec![]),
        ("an integer in two bytes that fits in one is no value", vec![0x18, 0x17]),
        ("an integer beyond 63 bits is no value", vec![0x1b, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ("a float that is not a number is no value", vec![0xf9, 0x7e, 0]),
        ("an infinity is no value", vec![0xf9, 0x7c, 0]),
        ("a float that fits in fewer bytes is no value", vec![0xfa, 0x3f, 0x80, 0, 0]),
        ("a text that is not UTF-8 is no value", vec![0x62, 0xc3, 0x28]),
        ("a list without its length is no value", vec![0x9f, 0xff]),
        ("a map with a key twice is no value", vec![0xa2, 0x61, 0x61, 0, 0x61, 0x61, 0]),
        ("a map with a number for a key is no value", vec![0xa1, 1, 2]),
        ("a tag is no value", vec![0xc0, 0]),
        ("undefined is no value", vec![0xf7]),
        ("two values are not one", vec![0, 0]),
        ("a list that claims billions is no value", vec![0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ("33 levels are too deep", deeper),
    ]
}

fn not_taken(name: &str, bytes: &[u8]) -> Case {
    tell(name, |tape| {
        tape.open("1");
        refused(&tape.edit("1", json!([{"edit": "set", "key": "a", "value": hex(bytes)}])), "value");
        tape.close("1");
    })
}

fn deepest() -> Case {
    tell("32 levels are deep enough", |tape| {
        let value = hex(&[vec![0x81; 32], vec![0xf6]].concat());
        tape.visit("1", json!([{"edit": "set", "key": "a", "value": value}]));
        assert_eq!(tape.open("2")["handler"]["data"]["a"], value);
        tape.close("2");
    })
}

fn keys() -> Case {
    tell_under(json!({}), "any text is a key", |tape| {
        let set = |key: &str| json!({"edit": "set", "key": key, "value": "01"});
        tape.visit("1", json!([set(""), set("ключ"), set("a b=c; d"), set("\"\\\n"), just("strict")]));
        assert_eq!(tape.open("2")["handler"]["data"].as_object().map(serde_json::Map::len), Some(4));
        tape.close("2");
    })
}
