//! Bytes as calls of the staged interface, in any order.

use std::sync::{Arc, LazyLock};

use coatroom_core::staged::{Staged, Waiting};
use coatroom_core::{Error, Listed, Loaded, Opening, Rules};

use crate::ops::Op;
use crate::rng::{Dry, Fixed};
use crate::targets::choices::Choices;
use crate::targets::mint::{self, Claim, at};
use crate::targets::strict::{Who, Whole};
use crate::world::START;

static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| mint::rules(|_| ()));

/// A login, and a visitor.
static HEADERS: LazyLock<[String; 4]> = LazyLock::new(|| {
    let id = |byte| Claim { handle: [byte; 12], generation: 0, key: 1, secret: [byte; 32] }.text().unwrap();
    let (login, visitor) = (format!("__Host-id={}", id(1)), format!("__Host-visitor={}", id(2)));
    [String::new(), login.clone(), visitor.clone(), format!("{login}; {visitor}")]
});

static RECORDS: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    [1, 2].map(|byte| {
        let who = (byte == 1).then(|| Who { name: "alice".into(), ..Who::default() });
        let times =
            Whole { created: START, seen: START, issued: START, deadline: START + 1_000_000, ..Whole::default() };
        Whole { version: 1, digest: mint::digest(&[byte; 32]), who, ..times }.write()
    })
});

#[derive(Clone, Debug)]
enum Call {
    Found(Loaded),
    Session(Op),
    Close(bool),
    Swap,
    Saved,
    Conflicted(Option<Vec<u8>>),
    Reloaded(Loaded),
    GaveUp,
    Reply,
    Failure,
    TakeSession,
    TakeClosing,
    Entered,
    Full,
    Entry,
}

/// A call out of turn is [`Error::WrongStage`] and changes nothing: what comes of an exchange that got all the calls is what
/// comes of one that got only those in turn. Whatever was taken out leaves nothing to call until it is back.
pub fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let header = &HEADERS[choices.below(4)];
    let open = || Staged::from(RULES.open(header.as_bytes(), at(1)));
    let (mut all, mut proper) = (open(), open());
    while !choices.is_empty() {
        let call = call(&mut choices);
        let before = all.waiting();
        let result = make(&call, &mut all);
        if in_turn(&call, before) {
            assert_eq!(result, Ok(()), "{call:?} while waiting for {before:?}");
            make(&call, &mut proper).unwrap();
        } else {
            assert_eq!(result, Err(Error::WrongStage), "{call:?} while waiting for {before:?}");
            assert_eq!(all.waiting(), before);
        }
        assert_eq!(all.waiting(), proper.waiting(), "after {call:?}");
        assert_eq!(all.swap().ok(), proper.swap().ok());
        assert_ne!(all.waiting(), Waiting::Away);
    }
    match (all.reply(), proper.reply()) {
        (Ok(a), Ok(b)) => assert!(a.trace() == b.trace() && a.set_cookies().eq(b.set_cookies())),
        (a, b) => assert_eq!(a.err(), b.err()),
    }
    assert_eq!(all.failure().ok(), proper.failure().ok());
}

fn in_turn(call: &Call, waiting: Waiting) -> bool {
    match call {
        Call::Found(_) => matches!(waiting, Waiting::Load(_)),
        Call::Session(_) | Call::Close(_) | Call::TakeSession => waiting == Waiting::Handler,
        Call::Swap | Call::Saved | Call::Conflicted(_) | Call::Reloaded(_) | Call::Full => waiting == Waiting::Swap,
        Call::Entered | Call::GaveUp | Call::TakeClosing => matches!(waiting, Waiting::Swap | Waiting::Entry),
        Call::Entry => waiting == Waiting::Entry,
        Call::Reply => waiting == Waiting::Done,
        Call::Failure => waiting == Waiting::Failed,
    }
}

fn make(call: &Call, staged: &mut Staged) -> Result<(), Error> {
    match call.clone() {
        Call::Found(loaded) => staged.found(loaded),
        Call::Session(op) => staged.session().map(|session| op.apply(session, 1)),
        Call::Close(true) => staged.close(at(2), &mut Fixed::new(1)),
        Call::Close(false) => staged.close(at(2), &mut Dry),
        Call::Swap => staged.swap().map(drop),
        Call::Saved => staged.saved(),
        Call::Entered => staged.entered(Listed::default()),
        Call::Full => staged.full(),
        Call::Entry => staged.entry().map(drop),
        Call::Conflicted(record) => staged.conflicted(record),
        Call::Reloaded(loaded) => staged.reloaded(loaded),
        Call::GaveUp => staged.gave_up(Error::Busy),
        Call::Reply => staged.reply().map(drop),
        Call::Failure => staged.failure().map(drop),
        Call::TakeSession => {
            let session = staged.take_session()?;
            is_away(staged);
            *staged = Opening::Ready(session).into();
            Ok(())
        }
        Call::TakeClosing => {
            let closing = staged.take_closing()?;
            is_away(staged);
            *staged = closing.into();
            Ok(())
        }
    }
}

fn is_away(staged: &mut Staged) {
    assert_eq!(staged.waiting(), Waiting::Away);
    assert_eq!(staged.session().err(), Some(Error::WrongStage));
    assert_eq!(staged.close(at(2), &mut Fixed::new(1)), Err(Error::WrongStage));
    assert_eq!(staged.saved(), Err(Error::WrongStage));
    assert_eq!(staged.take_session().err(), Some(Error::WrongStage));
}

fn call(choices: &mut Choices<'_>) -> Call {
    match choices.below(20) {
        0..3 => Call::Found(loaded(choices)),
        3..6 => Call::Session(choices.of(&[
            Op::Set("a"),
            Op::Login("alice"),
            Op::Logout,
            Op::Rotate,
            Op::Add,
            Op::Elevate,
            Op::Strict,
            Op::HeadSent,
            Op::Discard,
        ])),
        6 | 7 => Call::Close(!choices.one_in(8)),
        8 => Call::Saved,
        9 => Call::Conflicted(if let Loaded::Found(record) = loaded(choices) { Some(record) } else { None }),
        10 => Call::Reloaded(loaded(choices)),
        11 => Call::GaveUp,
        12 => Call::Swap,
        13 => Call::Failure,
        14 => Call::TakeSession,
        15 => Call::TakeClosing,
        16 => Call::Entered,
        17 => Call::Entry,
        18 => Call::Full,
        _ => Call::Reply,
    }
}

fn loaded(choices: &mut Choices<'_>) -> Loaded {
    match choices.below(6) {
        0 => Loaded::Absent,
        1 => Loaded::Unavailable,
        2 => Loaded::Found(choices.some(4).to_vec()),
        which => Loaded::Found(RECORDS[which % 2].clone()),
    }
}
