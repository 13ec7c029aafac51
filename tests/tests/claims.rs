//! The claims of the library as properties: random walks through worlds in which each of them is at risk, and hostile
//! bytes where a cookie or a record should be.

use std::sync::Arc;

use coatroom_core::staged::{Staged, Waiting};
use coatroom_core::value::Encoded;
use coatroom_core::{Closing, Error, Event, Handle, Kind, Listed, Loaded, Opening, Rules, Stamp, Timestamp, Value};
use coatroom_tests::browser::{Id, NAMES, read_line};
use coatroom_tests::ops::{Op, any_op, any_value, key, name, quiet_op};
use coatroom_tests::record::{Front, data};
use coatroom_tests::rng::Fixed;
use coatroom_tests::scenarios::{BEFORES, Before, settings};
use coatroom_tests::walk::{Move, waits, walk_of};
use coatroom_tests::world::{ATTACKER, Phase, START, Script, Setup, Step, THIEF, Trouble, VICTIM, World};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

/// `COATROOM_CASES` widens every property.
fn cases(default: u32) -> ProptestConfig {
    let cases = std::env::var("COATROOM_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(default);
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 4096, ..ProptestConfig::default() }
}

/// Walks, and fails on the first claim that is broken, whichever it is.
fn walk(before: Before, moves: &[Move], faults: bool, change: impl FnOnce(&mut Setup)) -> TestCaseResult {
    let mut world = before.world(change).unwrap();
    world.walk(moves, faults).map_err(|violation| TestCaseError::fail(violation.to_string()))
}

fn any_before() -> impl Strategy<Value = Before> {
    prop::sample::select(BEFORES.to_vec())
}

fn victim() -> impl Strategy<Value = usize> + Clone {
    Just(VICTIM)
}

fn anybody() -> impl Strategy<Value = usize> + Clone {
    prop_oneof![3 => Just(VICTIM), 1 => Just(ATTACKER), 1 => Just(THIEF)]
}

fn cloned<S: Strategy + 'static>(strategy: impl Fn() -> S) -> impl Strategy<Value = S::Value> + Clone
where
    S::Value: 'static,
{
    Arc::new(strategy())
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    // spec: CLAIM-1 2a35
    fn a_planted_id_never_logs_in(moves in walk_of(anybody(), cloned(any_op), waits()), faults: bool) {
        walk(Before::Planted, &moves, faults, |_| ())?;
    }

    #[test]
    // spec: CLAIM-2 1248, END-2 b6ef, LIFE-5 6efa
    fn a_dead_id_never_works_again(before in any_before(), moves in walk_of(anybody(), cloned(any_op), waits())) {
        walk(before, &moves, false, |_| ())?;
    }

    #[test]
    // spec: CLAIM-3 4985, WRITE-1 e9ba, WRITE-2 c432, WRITE-3 1359
    fn an_acknowledged_write_is_there_once_until_written_over(
        before in any_before(),
        moves in walk_of(victim(), cloned(|| prop_oneof![
            3 => Just(Op::Add),
            3 => Just(Op::Update),
            3 => key().prop_map(Op::Set),
            1 => name().prop_map(Op::Login),
            1 => Just(Op::Rotate),
        ]), waits()),
    ) {
        walk(before, &moves, true, |_| ())?;
    }

    #[test]
    // spec: CLAIM-4 ac55
    fn a_rotation_never_logs_an_honest_client_out(
        before in prop::sample::select(vec![Before::LoggedIn, Before::JustLoggedIn, Before::Pending]),
        moves in walk_of(victim(), cloned(quiet_op), prop_oneof![4 => 0..6_000_u64, 1 => 20_000..25_000_u64]),
        faults: bool,
    ) {
        walk(before, &moves, faults, |setup| (setup.quiet, setup.timely) = (true, true))?;
    }

    #[test]
    // spec: CLAIM-5 e4c7, COOK-1 a5d0
    fn a_login_that_arrived_stays_whatever_anonymous_responses_come_later(
        before in prop::sample::select(vec![Before::Nobody, Before::Visitor, Before::Planted]),
        moves in walk_of(anybody(), cloned(|| prop_oneof![
            key().prop_map(Op::Get),
            key().prop_map(Op::Set),
            Just(Op::Add),
            Just(Op::Discard),
        ]), waits()),
        at: prop::sample::Index,
    ) {
        let mut moves = moves;
        moves.insert(at.index(moves.len()), Move::Ask(VICTIM, vec![Op::Set("a"), Op::Login("alice")]));
        walk(before, &moves, true, |setup| setup.one_login = true)?;
    }

    #[test]
    // spec: CLAIM-6 15b5
    fn a_copied_login_id_is_noticed_after_the_grace(
        before in prop::sample::select(vec![Before::Copied, Before::Grace]),
        moves in walk_of(anybody(), cloned(quiet_op), waits()),
    ) {
        walk(before, &moves, false, |_| ())?;
    }

    #[test]
    // spec: CLAIM-7 3c2e
    fn no_access_at_or_after_a_limit_and_only_a_login_moves_the_absolute_one(
        before in prop::sample::select(vec![Before::NearTheEnd, Before::PendingNearTheEnd, Before::Visitor]),
        moves in walk_of(victim(), cloned(any_op), waits()),
    ) {
        walk(before, &moves, true, |_| ())?;
    }

    #[test]
    // spec: CLAIM-3 4985, SER-1 0cb4, SER-3 4b53, SER-4 ef64, SER-5 a33a
    fn what_is_read_added_and_set_in_turn_is_there_once_and_nobody_waits_longer_than_a_turn_lasts(
        before in any_before(),
        moves in walk_of(victim(), cloned(|| prop_oneof![
            5 => Just(Op::ReadAdd),
            1 => Just(Op::Add),
            1 => key().prop_map(Op::Set),
            1 => name().prop_map(Op::Login),
            1 => Just(Op::Elevate),
            1 => Just(Op::Rotate),
            1 => Just(Op::Logout),
            1 => Just(Op::Discard),
            1 => Just(Op::HeadSent),
        ]), prop_oneof![4 => 0..2_500_u64, 1 => 3_900..10_000_u64, 1 => 20_000..21_000_u64]),
        faults: bool,
    ) {
        walk(before, &moves, faults, |_| ())?;
    }

    #[test]
    // spec: CLAIM-11 f3a7
    fn same_inputs_lead_to_same_bytes(before in any_before(), moves in walk_of(anybody(), cloned(any_op), waits())) {
        let ends: Vec<_> = (0..2)
            .map(|_| {
                let mut world = before.world(|_| ()).unwrap();
                let result = world.walk(&moves, true);
                (world.fingerprint(0), world.store.records, world.browsers, result)
            })
            .collect();
        prop_assert_eq!(&ends[0], &ends[1]);
    }
}

/// A world with somebody logged in and data in the record, and the cookie header that opens it.
fn logged_in() -> (World, String, Id) {
    let world = Before::LoggedIn.world(|_| ()).unwrap();
    let header = world.browsers[VICTIM].header();
    let id = Id::in_header(&header, NAMES[0].1).unwrap();
    (world, header, id)
}

/// Opens on these bytes while the store gives this record for everything; closes with a write. Returns the handles that
/// were loaded, and what was swapped.
fn live_on(rules: &Arc<Rules>, header: &[u8], record: &Loaded) -> (Vec<Handle>, Vec<coatroom_core::Swap>, Vec<Event>) {
    let (mut loads, mut swaps) = (Vec::new(), Vec::new());
    let now = Timestamp::from_unix_ms(START + 30_000);
    let mut opening = rules.open(header, now);
    let mut session = loop {
        opening = match opening {
            Opening::Ready(session) => break session,
            Opening::Load(load) => {
                loads.push(load.handle());
                load.found(record.clone())
            }
            Opening::Unavailable(failure) => return (loads, swaps, failure.events),
            Opening::Take(_) | Opening::Wait(_) => panic!("an exchange that takes no turn"),
        }
    };
    session.keys();
    let _ = session.add("n", 1);
    let _ = session.set("a", 1);
    let mut closing = session.close(now, &mut Fixed::new(9));
    loop {
        closing = match closing {
            Closing::Save(save) => {
                swaps.push(save.swap().clone());
                save.entered(Listed::default())
            }
            Closing::Done(reply) => return (loads, swaps, reply.trace().events.clone()),
            Closing::Enter(enter) => enter.entered(Listed::default()),
            Closing::Failed(failure) => return (loads, swaps, failure.events),
            Closing::Wait(_) => return (loads, swaps, Vec::new()),
        }
    }
}

/// Whatever a record became, it is used as it is, or reads as absent, or as unavailable; and unless it was used, nothing is
/// written over it.
fn is_left_alone_unless_readable(damaged: Vec<u8>) -> TestCaseResult {
    let (world, header, id) = logged_in();
    let (_, swaps, events) = live_on(&world.setup.rules, header.as_bytes(), &Loaded::Found(damaged.clone()));
    let unread =
        events.iter().any(|event| matches!(event, Event::Damaged(_) | Event::Newer(_) | Event::ClockBehind(_)));
    if unread {
        prop_assert!(swaps.iter().all(|swap| swap.handle != id.handle), "an unreadable record is written over");
    } else {
        prop_assert!(Front::read(&damaged).is_some(), "bytes that are no record were used as one");
        let expected = Stamp::of(&damaged);
        prop_assert!(swaps.iter().all(|swap| swap.handle != id.handle || swap.expected == expected));
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    // spec: CLAIM-9 72e0, ERR-2 7c11, COOK-7 03b4
    fn no_bytes_in_place_of_a_cookie_header_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let (loads, ..) = live_on(&Setup::of(settings()).rules, &bytes, &Loaded::Absent);
        prop_assert!(loads.is_empty());
    }

    #[test]
    // spec: CLAIM-9 72e0, ID-3 a335, ERR-2 7c11
    fn no_text_in_place_of_an_id_asks_the_store(
        id in prop_oneof!["[A-Za-z0-9_-]{88}", "[ -~]{0,100}", "[A-Za-z0-9_=;, \"-]{80,96}"],
        other in "[ -~]{0,40}",
        name in prop::sample::select(vec!["__Host-id", "__Host-visitor"]),
    ) {
        let header = format!("{other}; {name}={id}; {other}");
        let (loads, ..) = live_on(&Setup::of(settings()).rules, header.as_bytes(), &Loaded::Absent);
        prop_assert!(loads.is_empty());
    }

    #[test]
    // spec: ID-3 a335, ID-2 5b7c
    fn a_changed_bit_of_an_id_asks_no_store(bit in 0_usize..88 * 8) {
        let (world, header, _) = logged_in();
        let mut bytes = header.into_bytes();
        let start = bytes.len() - 88;
        bytes[start + bit / 8] ^= 1 << (bit % 8);
        let (loads, ..) = live_on(&world.setup.rules, &bytes, &Loaded::Absent);
        prop_assert!(loads.is_empty());
    }

    #[test]
    // spec: CLAIM-9 72e0, REC-3 e864, REC-4 ee90
    fn no_bytes_in_place_of_a_record_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..600), front in 0_usize..4) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut().filter(|_| front > 0) {
            *first = 1;
        }
        is_left_alone_unless_readable(bytes)?;
    }

    #[test]
    // spec: CLAIM-9 72e0, REC-2 d46f, REC-3 e864, REC-4 ee90
    fn no_damage_to_a_record_does_harm(
        cut in prop::option::of(any::<prop::sample::Index>()),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0_u32..8), 0..4),
        tail in prop::collection::vec(any::<u8>(), 0..3),
    ) {
        let (world, _, id) = logged_in();
        let mut bytes = world.store.get(id.handle).unwrap().to_vec();
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        for (at, bit) in flips {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
        }
        bytes.extend(tail);
        is_left_alone_unless_readable(bytes)?;
    }

    #[test]
    // spec: VAL-3 915a, VAL-1 3a73, REC-1 14f3
    fn every_value_makes_the_round_trip_through_a_record(
        pairs in prop::collection::btree_map(".{0,12}", any_value(), 0..6),
    ) {
        let mut world = World::new(Setup::of(settings()));
        let number = world.begin(VICTIM, &[]).unwrap();
        let mut staged = world.rebuild(number);
        for (key, value) in &pairs {
            staged.session().unwrap().set(key, value.clone()).unwrap();
        }
        staged.close(Timestamp::from_unix_ms(START), &mut Fixed::new(1)).unwrap();
        let Ok(swap) = staged.swap().cloned() else {
            prop_assert!(pairs.is_empty());
            return Ok(());
        };
        let record = swap.new.unwrap();
        prop_assert_eq!(&data(&record), &pairs);
        staged.entered(Listed::default()).unwrap();
        let line = staged.reply().unwrap().set_cookies().next().unwrap().to_owned();
        world.browsers[VICTIM].obey(&line);
        world.store.records.insert(swap.handle, record.into());
        let mut again = world.probe(&world.browsers[VICTIM].header());
        let session = again.session().unwrap();
        for (key, value) in &pairs {
            let (read, encoded) = (session.get(key), value.encode().unwrap());
            prop_assert_eq!(read.as_ref(), Some(value));
            let stored = session.get_encoded(key).unwrap().into_owned();
            prop_assert_eq!(&stored[..], encoded.as_bytes());
        }
        prop_assert_eq!(session.keys().len(), pairs.len());
    }

    #[test]
    // spec: VAL-2 59d7
    fn whatever_decodes_encodes_to_the_same_bytes(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let decoded = Value::decode(&bytes);
        prop_assert_eq!(decoded.is_ok(), Encoded::from_bytes(bytes.clone()).is_ok());
        if let Ok(value) = decoded {
            let encoded = value.encode().unwrap();
            prop_assert_eq!(encoded.as_bytes(), &bytes[..]);
        }
    }
}

/// Every way in which bytes could show up in a text: as they are, as hex, as a Debug list, as base64url.
fn shows(text: &str, id_text: &str, id: &Id) -> bool {
    let hex: String = id.secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = id.secret.iter().take(4).map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    let text_of_secret = &id_text[25..66];
    [&hex, &hex.to_uppercase(), &list].iter().any(|form| text.contains(form.as_str())) || text.contains(text_of_secret)
}

#[test]
// spec: CLAIM-10 1b5f, SEC-1 89db, ID-5 2023
fn no_id_and_no_secret_shows_in_a_record_a_debug_output_an_event_or_an_error() {
    let mut world = Before::LoggedIn.world(|_| ()).unwrap();
    let mut texts = Vec::new();
    let mut ids = vec![world.browsers[VICTIM].login.clone().unwrap()];
    for ops in [&[Op::Rotate][..], &[], &[Op::Login("alice")], &[Op::Logout, Op::Set("a")], &[Op::Set("b")]] {
        let number = world.add(VICTIM, ops);
        while let Some(step) = world.next_of(number) {
            world.step(step).unwrap();
            let mut staged = world.rebuild(number);
            texts.push(format!("{staged:?} {:?} {:?}", staged.waiting(), staged.swap()));
            if let Ok(session) = staged.session() {
                texts.push(format!("{session:?} {:?} {:?}", session.trace(), session.principal().cloned()));
            }
            texts.push(format!("{:?} {:?}", staged.reply().ok(), staged.failure().ok()));
            if let Ok(Closing::Save(save)) = staged.take_closing() {
                texts.push(format!("{save:?}"));
            }
            texts.push(format!("{:?}", world.setup.rules));
            texts.push(format!(
                "{:?}",
                world.setup.rules.open(world.browsers[VICTIM].header().as_bytes(), Timestamp::default())
            ));
        }
        let answer = world.exchanges[number].answer.clone().unwrap();
        texts.push(format!("{:?}", answer.events));
        ids.extend(
            answer.cookies.iter().map(|line| read_line(line)).filter(|line| !line.2).map(|line| line.1.to_owned()),
        );
    }
    assert!(ids.len() > 3 && texts.len() > 40);
    for id_text in ids.iter().filter(|text| text.len() == 88) {
        let id = Id::read(id_text).unwrap();
        for text in &texts {
            assert!(!shows(text, id_text, &id), "{text}");
            assert!(!text.contains(id_text.as_str()), "{text}");
        }
        for record in world.store.records.values() {
            assert!(!record.windows(32).any(|window| window == id.secret));
        }
    }
    let loaded = format!("{:?}", Loaded::Found(vec![1, 2, 3, 4]));
    assert!(!loaded.contains("2, 3"), "{loaded}");
}

#[test]
// spec: STORE-5 5484
fn a_store_that_cannot_answer_is_never_taken_for_nobody() {
    let (world, header, _) = logged_in();
    let mut staged = Staged::from(world.setup.rules.open(header.as_bytes(), Timestamp::from_unix_ms(world.now)));
    assert!(matches!(staged.waiting(), Waiting::Load(_)));
    staged.found(Loaded::Unavailable).unwrap();
    assert_eq!(staged.failure().unwrap().error, coatroom_core::Error::Unavailable);
}

/// A world in which the store may lose its newest writes, and some answers do not come.
fn losing(change: impl FnOnce(&mut Setup)) -> World {
    let mut world = Before::LoggedIn.world(change).unwrap();
    world.trouble = Trouble { faults: 1, cuts: 1, ..Trouble::default() };
    world
}

#[test]
// spec: WRITE-10 a015, CLAIM-3 4985
fn acknowledged_writes_outlast_the_retry_of_a_write_that_the_store_lost() {
    let schedule = |world: &mut World| {
        world.run(VICTIM, &[Op::Add])?;
        let retried = world.begin(VICTIM, &[Op::Add])?;
        world.step(Step::Close(retried))?;
        world.step(Step::SwapUnheard(retried))?;
        let slow = world.begin(VICTIM, &[Op::Set("b")])?;
        world.step(Step::Cut(2))?;
        world.run(VICTIM, &[Op::Set("a")])?;
        world.finish(retried)?;
        world.finish(slow)
    };
    schedule(&mut losing(|_| ())).unwrap();
}

#[test]
// spec: ROT-7 28ec, CLAIM-2 1248
fn a_replaced_id_that_was_refused_stays_dead_when_the_store_loses_the_time_that_told() {
    let schedule = |world: &mut World| {
        world.browsers[THIEF] = world.browsers[VICTIM].clone();
        let copied = Id::in_header(&world.browsers[THIEF].header(), Kind::Login).unwrap();
        let copy = |ops| Script { browser: THIEF, ops, node: 1, ..Script::default() };
        let late = world.add_script(copy(vec![Op::Set("a")]));
        while world.exchanges[late].phase < Phase::Open {
            world.step(world.next_of(late).unwrap())?;
        }
        world.run(VICTIM, &[Op::Rotate])?;
        world.run(VICTIM, &[])?;
        world.now += world.setup.grace() + 500;
        world.run(VICTIM, &[Op::Set("b")])?;
        world.step(Step::Close(late))?;
        world.step(Step::Swap(late))?;
        world.step(Step::Cut(1))?;
        world.finish(late)?;
        assert_eq!(world.exchanges[late].answer.as_ref().unwrap().error, Some(Error::Superseded));
        world.dead.insert((Kind::Login, copied));
        let again = world.add_script(copy(vec![]));
        world.finish(again)
    };
    // A node's clock is behind by less than clocks may differ.
    schedule(&mut losing(|setup| setup.clocks[1] = -1_500)).unwrap();
}
