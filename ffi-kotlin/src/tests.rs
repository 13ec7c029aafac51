//! The border from the Rust side: a store of an application played by hand.

mod hostile;
mod numbered;

use std::collections::HashMap;

use coatroom_core::Stamp;
use coatroom_core::value::Writer;

use crate::{
    Answer, Ask, Call, Coatroom, Config, Exchange, Given, Head, ListingParts, ManualClock, Policy, Refusal, Remember,
    Step, View,
};

const KEYS: &str = "1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE";
const NOW: i64 = 1_700_000_000_000;

fn config(store: Option<&str>, policy: Policy) -> Config {
    Config {
        store: store.map(str::to_owned),
        keys: KEYS.to_owned(),
        enters_with_swap: true,
        policy,
        remember: None,
        announce: false,
    }
}

fn coatroom(store: Option<&str>) -> std::sync::Arc<Coatroom> {
    Coatroom::new(config(store, Policy::default()), Some(ManualClock::new(NOW, Some(vec![7])))).unwrap()
}

/// A batch of edits: each a word with texts, and at most one integer at the end.
fn batch(edits: &[(&str, &[&str], Option<i64>)]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.list(edits.len());
    for (word, texts, int) in edits {
        writer.list([1, texts.len(), usize::from(int.is_some())].iter().sum());
        writer.text(word);
        for text in *texts {
            writer.text(text);
        }
        if let Some(int) = int {
            writer.int(*int);
        }
    }
    writer.into_bytes()
}

fn login() -> Vec<u8> {
    let mut writer = Writer::default();
    writer.list(1);
    writer.list(4);
    writer.text("login");
    writer.text("alice");
    writer.list(1);
    writer.text("admin");
    writer.int(2);
    writer.into_bytes()
}

fn view(step: Step) -> View {
    if let Step::Open { view } = step { view } else { panic!("not open: {step:?}") }
}

fn code<T: core::fmt::Debug>(refused: Result<T, Refusal>) -> String {
    refused.unwrap_err().code().to_owned()
}

/// The store of an application.
#[derive(Default)]
struct Shelf {
    records: HashMap<String, Vec<u8>>,
    handles: Vec<String>,
}

impl Shelf {
    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Load { handle } => match self.records.get(&handle) {
                Some(record) => Answer::Found { record: record.clone() },
                None => Answer::Absent,
            },
            Ask::Swap { handle, expected, record, listing, .. } => {
                let present = self.records.get(&handle);
                let stamp = present.and_then(|record| Stamp::of(record)).map(|stamp| stamp.as_bytes().to_vec());
                if stamp != expected {
                    return Answer::Conflict { record: present.cloned() };
                }
                match record {
                    Some(record) => self.records.insert(handle.clone(), record),
                    None => self.records.remove(&handle),
                };
                let ListingParts::Enter { entry } = listing else { return Answer::Done };
                self.handles.push(entry.handle);
                Answer::Entered { revoked_ms: 0, ago_ms: None, count: 1, before: Some(Vec::new()) }
            }
            Ask::Sessions { .. } => Answer::Handles { handles: self.handles.clone() },
            Ask::Bar { now_ms, .. } => Answer::Moment { ms: now_ms },
            _ => Answer::Done,
        }
    }

    fn run(&mut self, mut step: Step, answer: impl Fn(Answer) -> Result<Step, Refusal>) -> Result<Step, Refusal> {
        while let Step::Ask { ask } = step {
            step = answer(self.answer(ask))?;
        }
        Ok(step)
    }

    fn commit(&mut self, exchange: &Exchange, edits: &[u8]) -> Result<Vec<String>, Refusal> {
        let step = exchange.commit(edits, Head::default())?;
        match self.run(step, |answer| exchange.answer(answer))? {
            Step::Closed { closed } => Ok(closed.set_cookies),
            other => panic!("not closed: {other:?}"),
        }
    }

    fn open(&mut self, coatroom: &Coatroom, cookies: &[u8]) -> (std::sync::Arc<Exchange>, View) {
        let begun = coatroom.begin(cookies, false).unwrap();
        let step = self.run(begun.step, |answer| begun.exchange.answer(answer)).unwrap();
        (begun.exchange, view(step))
    }
}

fn cookie(set_cookies: &[String]) -> Vec<u8> {
    set_cookies.first().unwrap().split(';').next().unwrap().as_bytes().to_vec()
}

#[test]
fn two_calls_are_a_whole_exchange_over_memory() {
    let coatroom = coatroom(Some("memory"));
    let begun = coatroom.begin(b"", false).unwrap();
    assert_eq!(view(begun.step).data, []);
    let Step::Closed { closed } = begun.exchange.commit(&login(), Head::default()).unwrap() else { panic!() };
    assert!(closed.touched && closed.vary.as_deref() == Some("Cookie"));
    let again = view(coatroom.begin(&cookie(&closed.set_cookies), false).unwrap().step);
    let alice = again.person.unwrap();
    assert_eq!((alice.name.as_str(), alice.roles, alice.level), ("alice", vec!["admin".to_owned()], 2));
}

#[test]
fn a_store_of_the_application_gives_what_one_of_ours_does_byte_for_byte() {
    let run = |edits: &[Vec<u8>]| {
        let (ours, theirs, mut shelf) = (coatroom(Some("memory")), coatroom(None), Shelf::default());
        let (mut here, mut there) = (Vec::new(), Vec::new());
        for batch in edits {
            let begun = ours.begin(&here, false).unwrap();
            let Step::Closed { closed } = begun.exchange.commit(batch, Head::default()).unwrap() else { panic!() };
            let (exchange, _) = shelf.open(&theirs, &there);
            let set_cookies = shelf.commit(&exchange, batch).unwrap();
            assert_eq!(closed.set_cookies, set_cookies);
            if !set_cookies.is_empty() {
                (here, there) = (cookie(&closed.set_cookies), cookie(&set_cookies));
            }
        }
    };
    run(&[login(), batch(&[("add", &["n"], Some(2))]), batch(&[("logout", &[], None)])]);
    run(&[batch(&[("add", &["n"], Some(2)), ("rotate", &[], None)]), login(), batch(&[("clear", &[], None)])]);
}

#[test]
fn an_exchange_that_lost_a_race_is_replayed_on_what_the_store_returned() {
    let (coatroom, mut shelf) = (coatroom(None), Shelf::default());
    let (first, _) = shelf.open(&coatroom, b"");
    let cookies = cookie(&shelf.commit(&first, &batch(&[("add", &["n"], Some(1))])).unwrap());
    let (slow, _) = shelf.open(&coatroom, &cookies);
    let (fast, _) = shelf.open(&coatroom, &cookies);
    shelf.commit(&fast, &batch(&[("add", &["n"], Some(10))])).unwrap();
    shelf.commit(&slow, &batch(&[("add", &["n"], Some(100))])).unwrap();
    let (_, seen) = shelf.open(&coatroom, &cookies);
    assert_eq!(seen.data.first().unwrap().value, [0x18, 111]);
}

#[test]
fn a_call_out_of_turn_changes_nothing() {
    let (coatroom, mut shelf) = (coatroom(None), Shelf::default());
    let (first, _) = shelf.open(&coatroom, b"");
    let cookies = cookie(&shelf.commit(&first, &login()).unwrap());
    assert_eq!(code(first.commit(&[], Head::default())), "wrong-stage");
    assert_eq!(code(first.answer(Answer::Done)), "wrong-stage");

    let begun = coatroom.begin(&cookies, false).unwrap();
    assert_eq!(code(begun.exchange.apply(&[])), "wrong-stage");
    assert_eq!(code(begun.exchange.commit(&[], Head::default())), "wrong-stage");
    // No answer to a load; the question stands.
    assert_eq!(code(begun.exchange.answer(Answer::Moment { ms: 1 })), "border");
    let seen = view(shelf.run(begun.step, |answer| begun.exchange.answer(answer)).unwrap());
    assert_eq!(seen.person.unwrap().name, "alice");
    assert_eq!(code(begun.exchange.answer(Answer::Absent)), "wrong-stage");
}

#[test]
fn a_store_that_cannot_say_is_never_nobody() {
    let (coatroom, mut shelf) = (coatroom(None), Shelf::default());
    let (first, _) = shelf.open(&coatroom, b"");
    let cookies = cookie(&shelf.commit(&first, &login()).unwrap());
    let begun = coatroom.begin(&cookies, false).unwrap();
    assert_eq!(code(begun.exchange.answer(Answer::Unavailable)), "unavailable");
    assert_eq!(code(begun.exchange.commit(&[], Head::default())), "wrong-stage");
}

#[test]
fn principals_are_served_over_a_store_of_the_application() {
    let (coatroom, mut shelf) = (coatroom(None), Shelf::default());
    let (first, _) = shelf.open(&coatroom, b"");
    let cookies = cookie(&shelf.commit(&first, &login()).unwrap());
    let mut call = |call| {
        let work = coatroom.call(call).unwrap();
        match shelf.run(work.start().unwrap(), |answer| work.answer(answer)).unwrap() {
            Step::Given { given } => given,
            other => panic!("{other:?}"),
        }
    };
    let Given::Devices { devices } = call(Call::Devices { principal: "alice".into() }) else { panic!() };
    assert_eq!(devices.len(), 1);
    let all = Call::RevokeAll { principal: "alice".into(), but: None };
    assert_eq!(call(all), Given::Revoked { ended: 1, moment_ms: NOW });
    assert!(shelf.open(&coatroom, &cookies).1.person.is_none());
    assert_eq!(code(coatroom.call(Call::Revoke { principal: "alice".into(), handle: "?".into() })), "not-theirs");
    assert_eq!(code(coatroom.call(Call::Rename { old: "alice".into(), new: String::new() })), "bad-principal");
}

#[test]
fn bytes_that_are_no_batch_are_refused_and_nothing_is_written() {
    let coatroom = coatroom(Some("memory"));
    let good = batch(&[("add", &["n"], Some(2)), ("read", &["n"], None), ("strict", &[], None)]);
    let mut bad: Vec<Vec<u8>> = (1..good.len()).filter_map(|end| good.get(..end).map(<[u8]>::to_vec)).collect();
    bad.push([&good[..], &[0]].concat());
    bad.push(batch(&[("no such word", &[], None)]));
    bad.push(batch(&[("clear", &["too much"], None)]));
    bad.push(batch(&[("elevate", &[], Some(256))]));
    bad.push(vec![0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    for batch in bad {
        let begun = coatroom.begin(b"", false).unwrap();
        assert_eq!(code(begun.exchange.commit(&batch, Head::default())), "border", "{batch:x?}");
        assert_eq!(code(begun.exchange.commit(&[], Head::default())), "wrong-stage");
    }
    let begun = coatroom.begin(b"", false).unwrap();
    begun.exchange.commit(&good, Head::default()).unwrap();
}

#[test]
fn an_edit_with_too_many_parts_does_nothing() {
    let coatroom = coatroom(Some("memory"));
    let exchange = coatroom.begin(b"", false).unwrap().exchange;
    exchange.apply(&batch(&[("add", &["n"], Some(2))])).unwrap();
    assert_eq!(code(exchange.apply(&batch(&[("clear", &["too much"], None)]))), "border");
    assert_eq!(exchange.apply(&[]).unwrap().data.len(), 1);
}

#[test]
fn a_credential_for_the_login_before_somebody_elses_is_not_made() {
    let remember = Some(Remember { span_ms: 1000, cookie: "kept".to_owned() });
    let coatroom = Coatroom::new(Config { remember, ..config(Some("memory"), Policy::default()) }, None).unwrap();
    let lines = |names: &[&str]| {
        let mut writer = Writer::default();
        writer.list(names.len() * 2);
        for name in names {
            writer.list(4);
            writer.text("login");
            writer.text(name);
            writer.list(0);
            writer.int(1);
            writer.list(1);
            writer.text(if *name == "alice" { "remember" } else { "who" });
        }
        let exchange = coatroom.begin(b"", false).unwrap().exchange;
        let Step::Closed { closed } = exchange.commit(&writer.into_bytes(), Head::default()).unwrap() else { panic!() };
        closed.set_cookies.iter().filter(|line| line.starts_with("__Host-kept=")).count()
    };
    assert_eq!((lines(&["alice"]), lines(&["alice", "bob"])), (1, 0));
}

#[test]
fn a_peeked_session_that_nobody_used_leaves_the_response_alone() {
    let coatroom = coatroom(Some("memory"));
    let commit = |edits: &[u8]| match coatroom.begin(b"", false).unwrap().exchange.commit(edits, Head::default()) {
        Ok(Step::Closed { closed }) => closed,
        other => panic!("{other:?}"),
    };
    assert!(!commit(&[]).touched);
    for looked in [("read", &["a"][..]), ("keys", &[]), ("who", &[])] {
        assert!(commit(&batch(&[(looked.0, looked.1, None)])).touched, "{looked:?}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_at_start() {
    let start = |store, policy| code(Coatroom::new(config(store, policy), None));
    assert_eq!(start(Some("nonsense"), Policy::default()), "config");
    for policy in [
        Policy { idle: Some(-1), ..Policy::default() },
        Policy { carry: Some("some".into()), ..Policy::default() },
        Policy { limit: Some(3), ..Policy::default() },
        Policy { preset: Some("aal3".into()), idle: Some(0), ..Policy::default() },
        Policy { same_site: Some("Lax".into()), ..Policy::default() },
    ] {
        assert_eq!(start(None, policy), "config");
    }
}

#[test]
fn nothing_that_crosses_shows_an_id_or_a_value_in_its_debug_text() {
    let coatroom = coatroom(Some("memory"));
    let begun = coatroom.begin(b"", false).unwrap();
    let step = begun.exchange.commit(&login(), Head::default()).unwrap();
    let text = format!("{coatroom:?} {begun:?} {step:?}");
    let Step::Closed { closed } = step else { panic!() };
    let id = String::from_utf8(cookie(&closed.set_cookies)).unwrap();
    let (_, id) = id.split_once('=').unwrap();
    assert!(!text.contains(id) && !text.contains("obviously"), "{text}");
}

/// Bytes by a linear congruential generator (Knuth, MMIX): enough to damage a batch with.
fn damaged(seed: u64, batch: &[u8]) -> Vec<u8> {
    let mut state = seed;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap().checked_rem(below).unwrap_or(0)
    };
    let mut bytes = batch.to_vec();
    for _ in 0..=draw(3) {
        let at = draw(bytes.len());
        match draw(3) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), u8::try_from(draw(256)).unwrap()),
            _ => bytes.get_mut(at).into_iter().for_each(|byte| *byte = u8::try_from(draw(256)).unwrap()),
        }
    }
    bytes
}

#[test]
// spec: CLAIM-9 72e0
fn no_batch_however_damaged_panics_or_leaves_the_exchange_in_between() {
    let coatroom = coatroom(Some("memory"));
    let whole = [
        login(),
        batch(&[("add", &["n"], Some(2)), ("client", &["phone", "192.0.2.1"], None), ("rotate", &[], None)]),
        batch(&[("remove", &["n"], None), ("logout", &[], None), ("revoked", &[], Some(NOW)), ("discard", &[], None)]),
    ];
    let mut refused = 0_u32;
    for seed in 0..6000_u64 {
        for batch in &whole {
            let begun = coatroom.begin(b"", false).unwrap();
            let outcome = begun.exchange.commit(&damaged(seed, batch), Head::default());
            refused = refused.saturating_add(u32::from(outcome.is_err()));
            assert_eq!(code(begun.exchange.apply(&[])), "wrong-stage");
        }
    }
    assert!(refused > 6000, "{refused}");
}

#[test]
// spec: WRITE-20 620d
fn an_edit_that_is_refused_does_not_spare_a_session_that_was_found_over() {
    let clock = ManualClock::new(NOW, Some(vec![7]));
    for batched in [batch(&[("add", &["n"], Some(1)), ("elevate", &[], Some(999))]), vec![0xff]] {
        clock.set(NOW);
        let coatroom = Coatroom::new(config(None, Policy::default()), Some(std::sync::Arc::clone(&clock))).unwrap();
        let mut shelf = Shelf::default();
        let (first, _) = shelf.open(&coatroom, b"");
        let cookies = cookie(&shelf.commit(&first, &login()).unwrap());
        clock.set(NOW + 100 * 3_600_000);
        let (late, _) = shelf.open(&coatroom, &cookies);
        let before = shelf.records.clone();
        assert!(shelf.commit(&late, &batched).is_err());
        assert_ne!(shelf.records, before, "the end was written down");
        assert_eq!(shelf.records.len(), before.len(), "and nothing else");
    }
}
