//! Reading an object of JSON such that nothing in it is passed over: what was not taken is an error.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// What is left of an object.
pub struct Fields(Map<String, Value>);

impl Fields {
    pub fn of(value: Value) -> Self {
        match value {
            Value::Object(fields) => Self(fields),
            other => panic!("{other} is no object"),
        }
    }

    pub fn maybe(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    pub fn must(&mut self, name: &str) -> Value {
        self.maybe(name).unwrap_or_else(|| panic!("`{name}` is missing beside {:?}", self.0))
    }

    pub fn text(&mut self, name: &str) -> String {
        string(self.must(name))
    }

    pub fn bytes(&mut self, name: &str) -> Vec<u8> {
        unhex(&self.text(name))
    }

    pub fn number(&mut self, name: &str) -> u64 {
        let value = self.must(name);
        value.as_u64().unwrap_or_else(|| panic!("`{name}` is {value}"))
    }

    pub fn list(&mut self, name: &str) -> Vec<Value> {
        match self.must(name) {
            Value::Array(list) => list,
            other => panic!("`{name}` is {other}"),
        }
    }

    /// All of it, where every value is a text.
    pub fn into_texts(self) -> BTreeMap<String, String> {
        self.0.into_iter().map(|(name, value)| (name, string(value))).collect()
    }

    pub fn end(self) {
        assert!(self.0.is_empty(), "unknown fields: {:?}", self.0);
    }
}

pub fn string(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => panic!("{other} is no text"),
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).filter(|_| !digit.is_ascii_uppercase()).expect("lower-case hex") as u8)
        .collect();
    assert!(digits.len().is_multiple_of(2), "{text} has half a byte");
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
