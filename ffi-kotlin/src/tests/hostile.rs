//! Whatever the other side hands over: damaged cookies, batches and records, and answers that are none.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::{Shelf, batch, coatroom, code, cookie, damaged, login};
use crate::{Answer, Ask, Exchange, Head, Refusal, Step, Updater};

/// No exchange needs more questions than these; whoever is asked for ever lets go of it.
const QUESTIONS: usize = 40;

/// An answer by chance: the true one, a damaged one, or one to another question.
fn answer(shelf: &mut Shelf, ask: Ask, seed: u64) -> Answer {
    let record = || {
        let stored = shelf.records.values().next().cloned().unwrap_or_default();
        damaged(seed, &stored)
    };
    match seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60 {
        0 => Answer::Found { record: record() },
        1 => Answer::Absent,
        2 => Answer::Unavailable,
        3 => Answer::Conflict { record: Some(record()) },
        4 => Answer::Conflict { record: None },
        5 => Answer::Unknown,
        6 => Answer::Full,
        7 => Answer::Moment { ms: i64::MIN },
        8 => Answer::Handles { handles: vec!["?".into(), "AAAAAAAAAAAAAAAA".into()] },
        9 => Answer::Entered {
            revoked_ms: i64::MAX,
            ago_ms: Some(i64::MIN),
            count: u32::MAX,
            before: Some(vec!["AAAAAAAAAAAAAAAA".into()]),
        },
        _ => shelf.answer(ask),
    }
}

/// Goes on to the end, to the handler or to the last question. A misfit leaves the question as it was.
fn drive(shelf: &mut Shelf, exchange: &Exchange, first: Step, seed: u64) -> Option<Result<Step, Refusal>> {
    let mut step = first;
    for turn in 0..QUESTIONS {
        let Step::Ask { ask } = step else { return Some(Ok(step)) };
        let chance = seed.wrapping_mul(41).wrapping_add(u64::try_from(turn).unwrap());
        step = match exchange.answer(answer(shelf, ask.clone(), chance)) {
            Ok(next) => next,
            Err(refused) if refused.code() == "border" => Step::Ask { ask },
            Err(refused) => return Some(Err(refused)),
        };
    }
    None
}

#[test]
// spec: CLAIM-9 72e0
fn nothing_that_is_handed_over_panics_or_leaves_an_exchange_in_between() {
    let coatroom = coatroom(None);
    let mut shelf = Shelf::default();
    let (first, _) = shelf.open(&coatroom, b"");
    let cookies = cookie(&shelf.commit(&first, &login()).unwrap());
    let edits = batch(&[("add", &["n"], Some(2)), ("rotate", &[], None), ("client", &["phone", "192.0.2.1"], None)]);
    let (mut opened, mut closed, mut refused) = (0_u32, 0_u32, 0_u32);
    for seed in 0..4000 {
        let header = if seed % 3 == 0 { damaged(seed, &cookies) } else { cookies.clone() };
        let begun = coatroom.begin(&header, seed % 5 == 0).unwrap();
        let exchange = begun.exchange;
        let Some(Ok(Step::Open { .. })) = drive(&mut shelf, &exchange, begun.step, seed) else { continue };
        opened = opened.saturating_add(1);
        let edits = if seed % 4 == 0 { damaged(seed, &edits) } else { edits.clone() };
        let end = match exchange.commit(&edits, Head::default()) {
            Ok(step) => drive(&mut shelf, &exchange, step, !seed),
            Err(early) => Some(Err(early)),
        };
        match end {
            Some(Ok(Step::Closed { .. })) => closed = closed.saturating_add(1),
            Some(Err(_)) => refused = refused.saturating_add(1),
            Some(Ok(other)) => panic!("{other:?}"),
            None => continue,
        }
        assert_eq!(code(exchange.apply(&[])), "wrong-stage");
        assert_eq!(code(exchange.answer(Answer::Done)), "wrong-stage");
    }
    assert!(opened > 1000 && closed > 100 && refused > 100, "{opened} {closed} {refused}");
}

/// Every function that is exported runs in this guard: a panic becomes an answer, in a build whose panics unwind.
#[test]
fn a_panic_behind_the_border_is_an_answer() {
    let mut status = uniffi::RustCallStatus::default();
    let _nothing: () = uniffi::rust_call(&mut status, || panic!("of this library"));
    assert_eq!(status.code as i8, uniffi::RustCallStatusCode::UnexpectedError as i8);
}

struct Panics;

impl Updater for Panics {
    fn update(&self, _: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, Refusal> {
        panic!("in the middle of an exchange");
    }
}

#[test]
fn an_exchange_in_which_something_panicked_is_over_and_the_others_go_on() {
    let coatroom = coatroom(Some("memory"));
    let [broken, sound] = [(); 2].map(|()| coatroom.begin(b"", false).unwrap().exchange);
    assert!(catch_unwind(AssertUnwindSafe(|| broken.update("a", Arc::new(Panics)))).is_err());
    assert_eq!(code(broken.apply(&[])), "wrong-stage");
    assert_eq!(code(broken.commit(&[], Head::default())), "wrong-stage");
    sound.commit(&login(), Head::default()).unwrap();
}
