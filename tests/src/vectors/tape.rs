//! Writes down what the core does in a story, with a browser, a store and a clock.

use coatroom_core::Kind;
use serde_json::{Map, Value, json};

use super::fields::{hex, unhex};
use super::player::Player;
use crate::browser::Browser;
use crate::world::{RING, START};

/// A case, written down.
pub struct Case {
    pub name: String,
    given: Value,
    steps: Vec<(String, String, Value, Value)>,
    then: Value,
}

/// A story under way.
pub struct Tape {
    name: String,
    given: Map<String, Value>,
    player: Player,
    steps: Vec<(String, String, Value, Value)>,
    pub browser: Browser,
    pub now: u64,
}

/// What the store does with a swap.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// What a store does.
    Plain,
    /// It took place, and no answer came.
    Unheard,
    /// It did not take place, and no answer came.
    Lost,
}

impl Tape {
    pub fn new(name: &str, settings: Value) -> Self {
        Self::with(name, settings, RING, Map::new())
    }

    /// Sessions that live in their cookies.
    pub fn in_cookies(name: &str, settings: Value) -> Self {
        Self::with(name, settings, RING, Map::from_iter([("place".to_owned(), json!("cookie"))]))
    }

    fn with(name: &str, settings: Value, keys: &str, mut given: Map<String, Value>) -> Self {
        let seed = hex(name.as_bytes());
        given.insert("keys".to_owned(), json!(keys));
        given.insert("settings".to_owned(), settings);
        given.insert("seed".to_owned(), json!(seed));
        let player = Player::new(Value::Object(given.clone()));
        let browser = Browser::default();
        Self { name: name.to_owned(), given, player, steps: Vec::new(), browser, now: START }
    }

    /// The story after this one, under other rules: same browser, same store, same time.
    pub fn goes_on(self, name: &str, settings: Value, keys: &str) -> Self {
        let place = self.given.get_key_value("place").map(|(name, place)| (name.clone(), place.clone()));
        let given = place.unwrap_or_else(|| ("store".to_owned(), json!(self.player.store)));
        Self { browser: self.browser, now: self.now, ..Self::with(name, settings, keys, Map::from_iter([given])) }
    }

    pub fn call(&mut self, call: &str, exchange: &str, args: Value) -> Value {
        let came = self.player.call(call, exchange, args.clone());
        self.steps.push((call.to_owned(), exchange.to_owned(), args, came.clone()));
        came
    }

    /// Opens an exchange with the cookies of the browser, and lets it load.
    pub fn open(&mut self, exchange: &str) -> Value {
        let header = self.browser.header();
        self.open_with(exchange, header.as_bytes())
    }

    pub fn open_with(&mut self, exchange: &str, cookies: &[u8]) -> Value {
        let mut came = self.call("open", exchange, json!({"cookies": hex(cookies), "now": self.now}));
        while let Some(handle) = came["load"].as_str() {
            let record = self.player.store.get(handle).cloned();
            came = self.call("found", exchange, json!({"record": record}));
        }
        came
    }

    pub fn edit(&mut self, exchange: &str, edits: Value) -> Value {
        self.call("edits", exchange, json!({"edits": edits}))
    }

    /// Closes the exchange, lets it write, and gives the browser the answer.
    pub fn close(&mut self, exchange: &str) -> Value {
        self.close_with(exchange, Answer::Plain)
    }

    /// The same where the store does something else with the first swap.
    pub fn close_with(&mut self, exchange: &str, answer: Answer) -> Value {
        let mut came = self.start_closing(exchange);
        if answer != Answer::Plain {
            let swap = came["swap"].clone();
            let handle = swap["handle"].as_str().unwrap();
            let record = match answer {
                Answer::Unheard => swap["new"].as_str().map(str::to_owned),
                _ => self.player.store.get(handle).cloned(),
            };
            came = self.call("unknown", exchange, json!({"record": record}));
        }
        self.finish(exchange, came)
    }

    pub fn start_closing(&mut self, exchange: &str) -> Value {
        self.call("close", exchange, json!({"now": self.now}))
    }

    /// Answers as a store does until the exchange is over.
    pub fn finish(&mut self, exchange: &str, mut came: Value) -> Value {
        loop {
            if let Some(swap) = came.get("swap").cloned() {
                let present = self.player.store.get(swap["handle"].as_str().unwrap()).cloned();
                let stamp = present.as_ref().map(|record| json!(hex(&unhex(record)[2..18])));
                came = if stamp.unwrap_or_default() == swap["expected"] {
                    self.call("saved", exchange, json!({}))
                } else {
                    self.call("conflicted", exchange, json!({"record": present}))
                };
            } else if came.get("entry").is_some() {
                came = self.call("entered", exchange, json!({"revoked": 0, "count": 1}));
            } else {
                break;
            }
        }
        for line in came["done"]["cookies"].as_array().into_iter().flatten() {
            self.browser.obey(line.as_str().unwrap());
        }
        came
    }

    /// A whole exchange.
    pub fn visit(&mut self, exchange: &str, edits: Value) -> Value {
        self.open(exchange);
        if edits.as_array().is_some_and(|edits| !edits.is_empty()) {
            self.edit(exchange, edits);
        }
        self.close(exchange)
    }

    /// Somebody logs in and presents the new id; time passes until it may rotate.
    pub fn log_in(&mut self, name: &str) {
        self.visit("login", json!([login(name)]));
        self.visit("first", json!([]));
        self.now += 61_000;
    }

    /// What is stored, by handle.
    pub fn store(&self) -> Vec<(String, String)> {
        self.player.store.iter().map(|(handle, record)| (handle.clone(), record.clone())).collect()
    }

    /// The only record there is.
    pub fn record(&self) -> Vec<u8> {
        let store = self.store();
        assert_eq!(store.len(), 1);
        unhex(&store[0].1)
    }

    pub fn cookie(&self, kind: Kind) -> String {
        let jar = if kind == Kind::Login { &self.browser.login } else { &self.browser.visitor };
        jar.clone().unwrap()
    }

    pub fn done(self) -> Case {
        let then = json!({"store": self.player.store});
        Case { name: self.name, given: Value::Object(self.given), steps: self.steps, then }
    }
}

pub fn login(name: &str) -> Value {
    json!({"edit": "login", "principal": name, "roles": ["user"], "level": 1})
}

pub fn set(key: &str, value: i64) -> Value {
    let value = coatroom_core::Value::Int(value).encode().unwrap();
    json!({"edit": "set", "key": key, "value": hex(value.as_bytes())})
}

pub fn add(key: &str, n: i64) -> Value {
    json!({"edit": "add", "key": key, "n": n})
}

pub fn just(kind: &str) -> Value {
    json!({"edit": kind})
}

/// The text of a file: one step a line.
pub fn text_of(cases: &[Case]) -> String {
    let texts: Vec<_> = cases.iter().map(Case::text).collect();
    format!("{{\"cases\": [\n{}\n]}}\n", texts.join(",\n"))
}

impl Case {
    fn text(&self) -> String {
        let Self { name, given, steps, then } = self;
        let steps: Vec<_> = steps
            .iter()
            .map(|(call, exchange, args, expect)| {
                let (call, exchange) = (json!(call), json!(exchange));
                format!("  {{\"call\": {call}, \"exchange\": {exchange}, \"args\": {args}, \"expect\": {expect}}}")
            })
            .collect();
        let name = json!(name);
        format!(
            "{{\"name\": {name},\n \"given\": {given},\n \"steps\": [\n{}\n ],\n \"then\": {then}}}",
            steps.join(",\n")
        )
    }
}
