//! Bytes as a stored record, met by a genuine id, with a handler that writes.

use std::sync::{Arc, LazyLock};

use rand_core::TryRng;

use coatroom_core::{Closing, Error, Event, Handle, Listed, Loaded, Opening, Rules, Session, State, Timestamp, Value};

use crate::rng::Fixed;
use crate::scenarios::LEASE;
use crate::targets::checks::{self, Asked};
use crate::targets::choices::Choices;
use crate::targets::mint::{self, Claim, at};
use crate::targets::seal;
use crate::targets::strict::{self, Reading, Verdict, Whole};
use crate::world::START;

const SKEW: u64 = 2_000;
const ACTIVATION: u64 = 60_000;

static RULES: LazyLock<[Arc<Rules>; 2]> = LazyLock::new(|| {
    [false, true].map(|activates| {
        mint::rules(|settings| {
            settings.activation = activates.then_some(std::time::Duration::from_millis(ACTIVATION));
            settings.size = 1024;
        })
    })
});

const HANDLE: [u8; 12] = [9; 12];

/// Ids that may be presented: the generation, then each byte of the secret.
const IDS: [(u32, u8); 6] = [(0, 0), (1, 1), (2, 2), (3, 3), (2, 9), (u32::MAX, 4)];

/// The headers of all ids, in the login and in the visitor cookie.
static HEADERS: LazyLock<Vec<(Claim, [String; 2])>> = LazyLock::new(|| {
    let header = |(generation, secret)| {
        let claim = Claim { handle: HANDLE, generation, key: 513, secret: [secret; 32] };
        (claim, ["__Host-id", "__Host-visitor"].map(|name| format!("{name}={}", claim.text().unwrap())))
    };
    IDS.into_iter().map(header).collect()
});

/// Where an exchange draws the token of its turn from.
fn turns() -> Fixed {
    Fixed::new(2)
}

fn token() -> [u8; 8] {
    turns().try_next_u64().unwrap().to_le_bytes()
}

/// What the handler does with the session it gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Does {
    Nothing,
    Set,
    Clear,
    Add,
    Login,
    Elevate,
    Rotate,
    Logout,
}

const DOES: [Does; 8] =
    [Does::Nothing, Does::Set, Does::Clear, Does::Add, Does::Login, Does::Elevate, Does::Rotate, Does::Logout];

/// Any bytes read as the second reader says: damaged is absent and never written over, newer and from the future are
/// unavailable, and everything else opens exactly to the id that it was issued for. What is written then is the record that
/// was read, changed as asked and in its only form.
pub fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let (claim, headers) = &HEADERS[choices.below(IDS.len())];
    let how = choices.byte();
    let (visitor, does) = (how & 1 == 1, DOES[usize::from(how >> 1 & 7)]);
    let activation = (how & 16 != 0).then_some(ACTIVATION);
    let serial = how & 32 != 0;
    let opened = choices.of(&[0, 1_000, 15_000, 100_000, 1_000_000]);
    let closed = opened + choices.of(&[0, 500, 11_000, 100_000]);
    let record = choices.rest();
    let plain = seal::open(record, HANDLE).map(|(_, _, plain)| plain);
    let reading = Reading::of(plain.as_deref().unwrap_or(record));
    let is_sealed = record.first() == Some(&2) && strict::tail_at(record).is_some();
    let absent = if is_sealed && plain.is_none() { Event::Unopened } else { Event::Damaged };
    let handle = Handle::from_bytes(HANDLE);

    let rules = &RULES[usize::from(activation.is_some())];
    let header = headers[usize::from(visitor)].as_bytes();
    let opening =
        if serial { rules.open_serial(header, at(opened), &mut turns()) } else { rules.open(header, at(opened)) };
    let Opening::Load(load) = opening else { panic!() };
    let opening = load.found(Loaded::Found(record.to_vec()));
    let ahead = |whole: &Whole| whole.latest() > START + opened + SKEW;
    let unavailable = match &reading {
        Reading::Newer => Some(Event::Newer(handle)),
        Reading::Whole(whole) if ahead(whole) => Some(Event::ClockBehind(handle)),
        _ => None,
    };
    let whole = if let Reading::Whole(whole) = &reading { Some(&**whole) } else { None };
    let now = whole.map_or(0, |whole| whole.seen).max(START + opened);
    let verdict = whole.map(|whole| (whole, whole.judge(claim, now, activation)));
    let plain = plain.as_deref().unwrap_or(record);
    let mut stored = plain.to_vec();
    let session = match (opening, unavailable) {
        (Opening::Wait(_), None) => {
            let (whole, verdict) = verdict.unwrap();
            return assert!(serial && verdict.is_live() && whole.is_leased(None, now, SKEW), "waits for nothing");
        }
        (Opening::Take(take), None) => {
            let (whole, verdict) = verdict.unwrap();
            assert!(serial && verdict.is_live() && !whole.is_leased(None, now, SKEW), "takes another's turn");
            let new = checks::swap(take.swap(), Some(plain), Asked { turn: true, ..Asked::default() }).unwrap();
            let lease = Some((token(), (now + LEASE).min(Timestamp::MAX.as_unix_ms())));
            assert!(new.lease == lease && new.data == whole.data && new.confirmed == whole.confirmed);
            stored = take.swap().new.clone().unwrap();
            let Opening::Ready(session) = take.saved() else { panic!("a turn that has not begun") };
            session
        }
        (Opening::Unavailable(failure), None) => {
            let (whole, verdict) = verdict.unwrap();
            assert!(serial && verdict.is_live() && whole.version == u64::MAX, "{:?}", failure.error);
            return assert_eq!(failure.error, Error::Unavailable);
        }
        (Opening::Unavailable(failure), Some(event)) => {
            return assert_eq!((failure.error, failure.events), (Error::Unavailable, vec![event]));
        }
        (Opening::Ready(session), None) => session,
        (opening, expected) => panic!("{opening:?}, expected {expected:?}"),
    };
    opens(&session, verdict, visitor, handle, absent(handle));
    let reading = Reading::of(&stored);
    let whole = if let Reading::Whole(whole) = &reading { Some(&**whole) } else { None };
    acts(session, does, stored, whole, (opened, closed), serial.then(token));
}

/// State, events and liveness are those of the verdict.
fn opens(session: &Session, verdict: Option<(&Whole, Verdict)>, visitor: bool, handle: Handle, absent: Event) {
    let mut events = Vec::new();
    let mut live = false;
    let state = match verdict {
        None => {
            events.push(absent);
            State::Destroyed
        }
        Some((_, Verdict::Ended(1..=3))) => State::Expired,
        Some((_, Verdict::Ended(_))) => State::Destroyed,
        Some((_, Verdict::BelowFloor)) => State::Regenerated,
        Some((whole, _)) if whole.who.is_some() == visitor => {
            events.push(Event::WrongCookie(handle));
            State::Destroyed
        }
        Some((_, Verdict::Expired(_))) => State::Expired,
        Some((_, Verdict::Reuse)) => {
            events.push(Event::Reuse(handle));
            State::Regenerated
        }
        Some((_, Verdict::Forged)) => {
            events.push(Event::Forged(handle));
            State::Destroyed
        }
        Some((_, verdict)) => {
            live = true;
            if verdict == Verdict::Current { State::Active } else { State::Regenerated }
        }
    };
    assert_eq!((session.is_live(), session.state()), (live, Some(state)), "{verdict:?}");
    assert_eq!(session.trace().events, events);
}

/// The handler sees the data of the record, and closing writes what it asked for.
fn acts(
    mut session: Session,
    does: Does,
    mut stored: Vec<u8>,
    whole: Option<&Whole>,
    (opened, closed): (u64, u64),
    token: Option<[u8; 8]>,
) {
    let handle = Handle::from_bytes(HANDLE);
    let live = session.is_live();
    let seen = whole.filter(|_| live).map(|whole| whole.data.clone()).unwrap_or_default();
    assert!(session.keys().iter().eq(keys(&seen)), "other keys");
    for (key, value) in &seen {
        assert_eq!(session.get_encoded(key).as_deref(), Some(&value[..]), "another value of {key}");
    }
    let who = whole.filter(|_| live).and_then(|whole| whole.who.as_ref());
    let found = session.principal();
    assert_eq!(found.map(|found| found.name()), who.map(|who| &*who.name));
    assert!(
        found.map(|found| found.roles().collect()) == who.map(|who| who.roles.iter().map(|r| &**r).collect::<Vec<_>>())
    );
    let mut data = seen.clone();
    let one = Value::Int(1).encode().unwrap().as_bytes().to_vec();
    // The input may hold the very token that is drawn here.
    let turn = token.filter(|token| whole.and_then(|whole| whole.lease).is_some_and(|lease| lease.0 == *token));
    let mut asked = Asked { turn: turn.is_some(), ..Asked::default() };
    match does {
        Does::Nothing => {}
        Does::Set => {
            session.set("k", 1).unwrap();
            data.insert("k".into(), one);
            asked.data = true;
        }
        Does::Clear => {
            session.clear();
            data.clear();
            asked.data = true;
        }
        Does::Add => {
            let expected = match data.get("k").map(|value| Value::decode(value).unwrap()) {
                None => Some(1),
                Some(Value::Int(n)) => n.checked_add(1),
                Some(_) => None,
            };
            assert_eq!(session.add("k", 1).ok(), expected);
            expected.map(|sum| data.insert("k".into(), Value::Int(sum).encode().unwrap().as_bytes().to_vec()));
            asked.data = true;
        }
        Does::Login => {
            session.login("alice", &["b", "a"], 3).unwrap();
            asked.login = true;
        }
        Does::Elevate => assert_eq!(session.elevate(9).is_ok(), who.is_some()),
        Does::Rotate => drop(session.rotate()),
        Does::Logout => session.logout(),
    }
    asked.elevate = does == Does::Elevate;
    let now = whole.map_or(0, |whole| whole.seen).max(START + closed);
    let queues = live && asked.data && whole.is_some_and(|whole| whole.is_leased(turn, now, SKEW));
    let mut closing = session.close(at(closed), &mut Fixed::new(1));
    for _ in 0..4 {
        closing = match closing {
            Closing::Failed(failure) => {
                let expected = matches!(failure.error, Error::TooLarge { .. } | Error::Unavailable | Error::Superseded);
                // A write is refused once a limit passes while the handler runs, or the clock counts past its end.
                let ended = failure.error == Error::Ended && closed > opened;
                let logout = failure.error == Error::LogoutRefused && does == Does::Logout && !live;
                assert!(expected || ended || logout, "{:?}", failure.error);
                return;
            }
            Closing::Wait(_) => return assert!(queues, "waits for nothing"),
            Closing::Done(reply) => {
                let ids = checks::cookies(&reply);
                assert!(
                    ids.iter()
                        .all(|(_, id)| id.name() == handle || does == Does::Login || !live || does == Does::Logout)
                );
                return;
            }
            Closing::Enter(_) => panic!("entered with its swap"),
            Closing::Save(save) => {
                let shown = (save.swap().handle == handle).then_some(&stored[..]);
                assert!(shown.is_none() || whole.is_some(), "a damaged record is written over");
                let new = checks::swap(save.swap(), shown, asked);
                if let Some(new) = new.filter(|new| new.end.is_none()) {
                    // A login starts afresh after somebody else's, or when the id is over by now, and inherits nothing.
                    let afresh = live && does == Does::Login && save.swap().handle != handle;
                    assert!(!queues || new.data == seen, "data is written in the turn of another");
                    // A write that is refused past its grace leaves the data as it was, and the previous id behind.
                    let refused = |old: &Whole| old.previous.is_some() && old.generation == new.generation;
                    let forgets = whole.is_some_and(refused) && new.previous.is_none();
                    let expected = match (afresh, forgets) {
                        (true, _) => Default::default(),
                        (_, true) => seen.clone(),
                        (_, false) => data.clone(),
                    };
                    assert_eq!(new.data, expected, "other data is written");
                    let rotates = whole.is_some_and(|old| new.generation > old.generation && new.floor == old.floor);
                    assert!(!rotates || whole.is_some_and(|old| old.confirmed > 0), "an unconfirmed id is rotated");
                    assert!(new.write().len() <= 1024 || new.data == seen, "over its size limit");
                }
                if save.swap().handle == handle {
                    stored = save.swap().new.clone().unwrap_or_default();
                }
                save.entered(Listed::default())
            }
        };
    }
    panic!("no end");
}

/// In the order of their encodings.
fn keys(data: &std::collections::BTreeMap<String, Vec<u8>>) -> impl Iterator<Item = &String> {
    let mut keys: Vec<_> = data.keys().collect();
    keys.sort_by_key(|key| (key.len(), key.as_bytes()));
    keys.into_iter()
}
