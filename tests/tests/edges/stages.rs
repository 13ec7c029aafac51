//! Calls out of turn: refused, and nothing changes.

use std::sync::Arc;

use coatroom_core::staged::{Staged, Waiting};
use coatroom_core::{Error, Listed, Loaded, Rules, Timestamp};
use coatroom_tests::rng::Fixed;
use coatroom_tests::scenarios::{settings, take_save};

use super::forge::{NOW, Sheet, close, handle, id, open, rules};

const CALLS: [&str; 15] = [
    "found",
    "found_after",
    "session",
    "close",
    "swap",
    "saved",
    "entered",
    "full",
    "entry",
    "conflicted",
    "reloaded",
    "gave_up",
    "reply",
    "failure",
    "take",
];

/// Makes one call, and says whether it was in turn.
fn call(staged: &mut Staged, name: &str) -> Result<(), Error> {
    match name {
        "found" => staged.found(Loaded::Absent),
        "found_after" => staged.found_after(Loaded::Absent, Timestamp::from_unix_ms(NOW)),
        "session" => staged.session().map(drop),
        "close" => staged.close(Timestamp::from_unix_ms(NOW), &mut Fixed::new(5)),
        "swap" => staged.swap().map(drop),
        "saved" => staged.saved(),
        "entered" => staged.entered(Listed::default()),
        "full" => staged.full(),
        "entry" => staged.entry().map(drop),
        "conflicted" => staged.conflicted(None),
        "reloaded" => staged.reloaded(Loaded::Absent),
        "gave_up" => staged.gave_up(Error::Busy),
        "reply" => staged.reply().map(drop),
        "failure" => staged.failure().map(drop),
        _ => match (staged.take_session(), staged.take_closing(), staged.take_opening()) {
            (Err(error), Err(same), Err(third)) if error == same && error == third => Err(error),
            _ => Ok(()),
        },
    }
}

/// An exchange in each stage, with what it waits for and the calls that are in turn.
fn stages() -> Vec<(Staged, Waiting, &'static [&'static str])> {
    let rules = rules(settings());
    let record = Sheet::login().bytes();
    let opened = || open(&rules, &id(5), &record, NOW);
    let loading = rules.open(format!("__Host-id={}", id(5)).as_bytes(), Timestamp::from_unix_ms(NOW));
    let saving = || {
        let mut staged = opened();
        staged.session().unwrap().set("a", 2).unwrap();
        close(&mut staged, NOW);
        staged
    };
    let taking = || open_serial(&rules, &record, 6);
    let taken = taking().swap().unwrap().new.clone().unwrap();
    let held = open_serial(&rules, &taken, 7);
    let queued = || {
        let mut staged = open(&rules, &id(5), &taken, NOW);
        staged.session().unwrap().set("a", 2).unwrap();
        close(&mut staged, NOW);
        staged
    };
    let (mut done, mut failed, mut away) = (saving(), saving(), saving());
    done.entered(Listed::default()).unwrap();
    failed.gave_up(Error::Busy).unwrap();
    away.take_closing().unwrap();
    let mut entering = opened();
    entering.session().unwrap().login("alice", &[""; 0], 1).unwrap();
    close(&mut entering, NOW);
    entering.saved().unwrap();
    vec![
        (entering, Waiting::Entry, &["entry", "entered", "gave_up", "take"]),
        (loading.into(), Waiting::Load(handle()), &["found", "take"]),
        (opened(), Waiting::Handler, &["session", "close", "take"]),
        (saving(), Waiting::Swap, &["swap", "saved", "entered", "full", "conflicted", "reloaded", "gave_up", "take"]),
        (taking(), Waiting::Swap, &["swap", "saved", "conflicted", "reloaded", "gave_up", "take"]),
        (held, Waiting::Turn(handle()), &["found_after", "gave_up", "take"]),
        (queued(), Waiting::Turn(handle()), &["found_after", "gave_up", "take"]),
        (done, Waiting::Done, &["reply"]),
        (failed, Waiting::Failed, &["failure"]),
        (away, Waiting::Away, &[]),
    ]
}

/// An exchange that is to take its turn.
fn open_serial(rules: &Arc<Rules>, record: &[u8], seed: u64) -> Staged {
    let (header, now) = (format!("__Host-id={}", id(5)), Timestamp::from_unix_ms(NOW));
    let mut staged = Staged::from(rules.open_serial(header.as_bytes(), now, &mut Fixed::new(seed)));
    staged.found(Loaded::Found(record.to_vec())).unwrap();
    staged
}

#[test]
fn a_call_out_of_turn_is_refused_and_changes_nothing() {
    for (mut staged, waiting, in_turn) in stages() {
        for name in CALLS.iter().filter(|name| !in_turn.contains(name)) {
            assert_eq!(call(&mut staged, name), Err(Error::WrongStage), "{name} while {waiting:?}");
            assert_eq!(staged.waiting(), waiting, "after {name}");
        }
        assert_eq!(format!("{staged:?}"), format!("Staged({waiting:?})"));
    }
}

#[test]
fn a_call_in_turn_is_taken() {
    for (number, (_, waiting, in_turn)) in stages().into_iter().enumerate() {
        for name in in_turn {
            let (mut staged, ..) = stages().swap_remove(number);
            assert_eq!(call(&mut staged, name), Ok(()), "{name} while {waiting:?}");
        }
    }
}

#[test]
fn what_was_taken_out_can_be_put_back() {
    let rules = rules(settings());
    let mut staged = open(&rules, &id(5), &Sheet::login().bytes(), NOW);
    let mut session = staged.take_session().unwrap();
    assert_eq!(staged.waiting(), Waiting::Away);
    session.set("a", 2).unwrap();
    staged = session.close(Timestamp::from_unix_ms(NOW), &mut Fixed::new(5)).into();
    let save = take_save(&mut staged);
    staged = save.entered(Listed::default()).into();
    assert_eq!(staged.waiting(), Waiting::Done);
}
