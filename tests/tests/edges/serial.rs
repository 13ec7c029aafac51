//! Serial mode: turns that are taken, waited for, outlived and given back.

use coatroom_core::staged::{Staged, Waiting};
use coatroom_core::{
    Change, Concurrency, Error, Event, Kind, Loaded, Policy, Rotation, Session, Settings, Timestamp, Value,
};
use coatroom_tests::house::{House, login, set};
use coatroom_tests::record::Front;
use coatroom_tests::rng::{Dry, Fixed};
use coatroom_tests::scenarios::{IDLE, LEASE, SKEW, settings};

use super::forge::{NOW, Sheet, handle, id, open, rules};

/// Opens an exchange that is to take its turn, as far as the load.
fn ask(house: &House, seed: u64) -> Staged {
    let now = Timestamp::from_unix_ms(house.now);
    let opening = house.rules.open_serial(house.browser.header().as_bytes(), now, &mut Fixed::new(seed << 32));
    let mut staged = Staged::from(opening);
    while let Waiting::Load(handle) = staged.waiting() {
        staged.found(house.store.load(handle)).unwrap();
    }
    staged
}

/// One that has its turn.
pub fn begin(house: &mut House, seed: u64) -> Staged {
    let mut staged = ask(house, seed);
    house.store.swap(staged.swap().unwrap()).unwrap();
    staged.saved().unwrap();
    assert_eq!(staged.waiting(), Waiting::Handler);
    staged
}

/// Looks again after a pause.
fn look(house: &House, staged: &mut Staged) {
    let Waiting::Turn(handle) = staged.waiting() else { panic!("{staged:?} waits for no turn") };
    staged.found_after(house.store.load(handle), Timestamp::from_unix_ms(house.now)).unwrap();
}

/// Reads, adds one and sets, as handlers do.
fn count(staged: &mut Staged) -> i64 {
    let session = staged.session().unwrap();
    let before = if let Some(Value::Int(before)) = session.get("n") { before } else { 0 };
    session.set("n", before + 1).unwrap();
    before + 1
}

fn lease(house: &House) -> Option<(u64, u64)> {
    house.front(Kind::Login).lease
}

fn n(house: &House) -> Option<Value> {
    house.value(Kind::Login, "n")
}

/// Closes with a write of data, until it has to wait.
fn write(house: &mut House, key: &str) -> Staged {
    let mut staged = house.open();
    staged.session().unwrap().set(key, 7).unwrap();
    house.close(staged)
}

#[test]
// spec: SER-1 0cb4, SER-5 a33a
fn of_two_that_read_add_and_set_in_turn_both_count() {
    let mut house = House::logged_in(settings());
    let mut first = begin(&mut house, 1);
    let mut second = ask(&house, 2);
    assert_eq!(count(&mut first), 1);
    look(&house, &mut second);
    assert!(matches!(second.waiting(), Waiting::Turn(_)), "the turn of another is not over");
    let done = house.finish(first).unwrap();
    assert_eq!((done.written, lease(&house)), (vec![Change::Data], None));
    look(&house, &mut second);
    house.store.swap(second.swap().unwrap()).unwrap();
    second.saved().unwrap();
    assert_eq!(count(&mut second), 2);
    house.finish(second).unwrap();
    assert_eq!((n(&house), lease(&house)), (Some(Value::Int(2)), None));
}

#[test]
// spec: SER-1 0cb4
fn an_exchange_takes_its_turn_for_unsafe_methods_of_a_serial_policy() {
    let takes =
        |concurrency, method| Policy::try_from(Settings { concurrency, ..settings() }).unwrap().takes_turns(method);
    for method in ["POST", "PUT", "PATCH", "DELETE", "LOCK"] {
        assert!(takes(Concurrency::Serial, method) && !takes(Concurrency::Merge, method));
    }
    assert!(["GET", "HEAD", "OPTIONS", "TRACE"].iter().all(|method| !takes(Concurrency::Serial, method)));
}

#[test]
// spec: SER-1 0cb4, SER-2 884b
fn without_a_live_session_there_is_no_turn_to_take_and_without_random_bytes_none_is_taken() {
    let mut house = House::new(settings());
    let opening = house.rules.open_serial(b"", Timestamp::from_unix_ms(house.now), &mut Dry);
    let mut nobody = Staged::from(opening);
    assert_eq!(count(&mut nobody), 1);
    house.finish(nobody).unwrap();
    assert_eq!(house.front(Kind::Visitor).lease, None);
    let header = house.browser.header();
    let dry = Staged::from(house.rules.open_serial(header.as_bytes(), Timestamp::from_unix_ms(house.now), &mut Dry));
    assert_eq!(dry.failure().unwrap().error, Error::NoRandomness);
    house.store.records.clear();
    assert_eq!(ask(&house, 1).waiting(), Waiting::Handler, "a dead id has no turn to take");
}

#[test]
// spec: SER-2 884b
fn whether_a_turn_was_taken_is_told_by_its_token() {
    for landed in [true, false] {
        let mut house = House::logged_in(settings());
        let mut staged = ask(&house, 1);
        let swap = staged.swap().unwrap().clone();
        if landed {
            house.store.swap(&swap).unwrap();
        }
        staged.reloaded(house.store.load(swap.handle)).unwrap();
        if !landed {
            let again = staged.swap().unwrap().clone();
            assert!(again.expected == swap.expected && again != swap, "an attempt of its own");
            house.store.swap(&again).unwrap();
            staged.saved().unwrap();
        }
        assert_eq!(count(&mut staged), 1);
        assert_eq!(staged.session().unwrap().trace().trips, if landed { 3 } else { 4 });
        house.finish(staged).unwrap();
        assert_eq!((n(&house), lease(&house)), (Some(Value::Int(1)), None));
    }
}

#[test]
// spec: SER-2 884b
fn a_turn_that_was_refused_is_taken_on_what_is_stored_or_given_up() {
    let mut house = House::logged_in(settings());
    let mut late = ask(&house, 1);
    house.run(|session| set(session, "n", 5)).unwrap();
    let present = house.store.swap(late.swap().unwrap()).unwrap_err();
    late.conflicted(present).unwrap();
    house.store.swap(late.swap().unwrap()).unwrap();
    late.saved().unwrap();
    assert_eq!(count(&mut late), 6, "it sees what was written before its turn");
    house.finish(late).unwrap();

    let mut overtaken = ask(&house, 2);
    let _first = begin(&mut house, 3);
    let present = house.store.swap(overtaken.swap().unwrap()).unwrap_err();
    overtaken.conflicted(present).unwrap();
    overtaken.gave_up(Error::Busy).unwrap();
    assert_eq!(overtaken.failure().unwrap().error, Error::Busy);

    let mut ended = ask(&house, 4);
    house.run(Session::logout).unwrap();
    look(&house, &mut ended);
    assert!(!ended.session().unwrap().is_live());
}

#[test]
// spec: SER-3 4b53, SER-4 ef64
fn who_was_slower_than_its_turn_is_refused_once_others_wrote() {
    for serial in [true, false] {
        let mut house = House::logged_in(settings());
        let mut slow = begin(&mut house, 1);
        count(&mut slow);
        house.now += LEASE + SKEW;
        if serial {
            let mut next = begin(&mut house, 2);
            count(&mut next);
            house.finish(next).unwrap();
        } else {
            house.run(|session| set(session, "n", 1)).unwrap();
        }
        assert_eq!(lease(&house), None);
        assert_eq!(house.finish(slow).err(), Some(Error::Conflict));
        assert_eq!(n(&house), Some(Value::Int(1)));
    }
}

#[test]
// spec: SER-3 4b53
fn who_was_slower_than_its_turn_writes_if_nobody_else_did() {
    let mut house = House::logged_in(settings());
    let mut slow = begin(&mut house, 1);
    count(&mut slow);
    house.now += 2 * LEASE + SKEW;
    house.run(|_| ()).unwrap();
    assert!(lease(&house).is_some(), "a touch leaves a turn alone");
    house.finish(slow).unwrap();
    assert_eq!((n(&house), lease(&house)), (Some(Value::Int(1)), None));
}

#[test]
// spec: SER-3 4b53, SER-4 ef64
fn a_holder_is_refused_while_the_next_one_has_its_turn_and_leaves_it_alone() {
    let mut house = House::logged_in(settings());
    let mut slow = begin(&mut house, 1);
    count(&mut slow);
    house.now += LEASE + SKEW;
    let mut next = begin(&mut house, 2);
    let token = lease(&house);
    assert_eq!(house.finish(slow).err(), Some(Error::Conflict));
    assert_eq!(lease(&house), token);
    count(&mut next);
    house.finish(next).unwrap();
    assert_eq!(n(&house), Some(Value::Int(1)));
}

#[test]
// spec: SER-4 ef64
fn data_of_others_waits_for_a_turn_to_end_or_to_run_out() {
    for given_back in [true, false] {
        let mut house = House::logged_in(settings());
        let holder = begin(&mut house, 1);
        let mut other = write(&mut house, "n");
        look(&house, &mut other);
        house.now += LEASE + SKEW - 1;
        look(&house, &mut other);
        assert!(matches!(other.waiting(), Waiting::Turn(_)), "a turn lasts for its time and the skew");
        if given_back {
            house.finish(holder).unwrap();
        } else {
            house.now += 1;
        }
        look(&house, &mut other);
        house.drive(other).unwrap();
        assert_eq!((n(&house), lease(&house)), (Some(Value::Int(7)), None));
    }
    let mut house = House::logged_in(settings());
    let _holder = begin(&mut house, 1);
    let mut other = write(&mut house, "n");
    other.gave_up(Error::Busy).unwrap();
    assert_eq!((other.failure().unwrap().error, n(&house)), (Error::Busy, None));
}

#[test]
// spec: SER-4 ef64
fn limits_pass_while_an_exchange_waits() {
    let mut house = House::logged_in(settings());
    let _holder = begin(&mut house, 1);
    let (mut early, mut late) = (ask(&house, 2), write(&mut house, "n"));
    house.now += IDLE;
    look(&house, &mut early);
    assert!(!early.session().unwrap().is_live());
    look(&house, &mut late);
    assert_eq!(house.drive(late).err(), Some(Error::Ended));
    assert!(house.front(Kind::Login).is_ended());
}

#[test]
// spec: SER-4 ef64
fn a_wait_that_cannot_be_judged_fails() {
    let mut house = House::logged_in(settings());
    let _holder = begin(&mut house, 1);
    for (loaded, error) in [(Loaded::Unavailable, Error::Unavailable), (Loaded::Absent, Error::Ended)] {
        let mut other = write(&mut house, "n");
        other.found_after(loaded, Timestamp::from_unix_ms(house.now)).unwrap();
        assert_eq!(other.failure().unwrap().error, error);
    }
}

#[test]
// spec: SER-4 ef64
fn what_writes_no_data_waits_for_nobody_and_keeps_the_turn_of_another() {
    let mut house = House::new(settings());
    house.run(|session| login(session, "alice")).unwrap();
    let _holder = begin(&mut house, 1);
    let token = lease(&house);
    house.run(|_| ()).unwrap();
    assert_eq!(lease(&house), token, "a confirmation");
    house.now += 30_000;
    let holder = begin(&mut house, 2);
    let token = lease(&house);
    house.run(|session| assert_eq!(session.rotate(), Rotation::Rotated)).unwrap();
    assert_eq!((lease(&house), house.front(Kind::Login).generation), (token, 1));
    house.run(|_| ()).unwrap();
    assert_eq!(lease(&house), token, "the confirmation that ends a rotation");
    house.finish(holder).unwrap();
}

#[test]
// spec: SER-4 ef64, WRITE-8 561b
fn a_change_of_privilege_waits_for_nobody_and_ends_the_turn_of_an_id_that_is_dead_by_then() {
    let changes: [fn(&mut Session); 2] = [|session| login(session, "alice"), |session| session.elevate(2).unwrap()];
    for change in changes {
        let mut house = House::logged_in(settings());
        let mut holder = begin(&mut house, 1);
        count(&mut holder);
        house.run(change).unwrap();
        assert_eq!((lease(&house), house.front(Kind::Login).generation), (None, 1));
        let front = house.front(Kind::Login);
        assert_eq!(house.finish(holder).err(), Some(Error::Superseded));
        assert_eq!((n(&house), house.front(Kind::Login)), (None, front), "nothing is written by an id from before");
    }
}

#[test]
// spec: SER-4 ef64
fn an_ending_waits_for_nobody() {
    let mut house = House::logged_in(settings());
    let mut holder = begin(&mut house, 1);
    count(&mut holder);
    let before = house.browser.clone();
    house.run(Session::logout).unwrap();
    house.browser = before;
    assert!(house.front(Kind::Login).is_ended() && lease(&house).is_none());
    assert_eq!(house.finish(holder).err(), Some(Error::Ended));
}

#[test]
// spec: SER-5 a33a
fn a_turn_in_which_nothing_is_written_ends_all_the_same() {
    type Handler = fn(&mut Session);
    let handlers: [(Handler, Option<Error>); 6] = [
        (|session| drop(session.get("n")), None),
        (|session| [set(session, "n", 1), session.discard()].into_iter().collect(), None),
        (|session| [set(session, "n", 1), session.head_sent()].into_iter().collect(), Some(Error::HeadSent)),
        (|session| set(session, "c", 1), None),
        (|session| session.update("n", refuses_again()).unwrap(), None),
        (|session| large(session), Some(Error::TooLarge { bytes: 0, limit: 0 })),
    ];
    for (handler, expected) in handlers {
        let mut house = House::logged_in(Settings { size: 1024, ..settings() });
        let mut staged = begin(&mut house, 1);
        handler(staged.session().unwrap());
        let outcome = house.finish(staged).err();
        let kind = |error: &Error| core::mem::discriminant(error);
        assert_eq!(outcome.as_ref().map(kind), expected.as_ref().map(kind));
        assert_eq!(lease(&house), None, "after {expected:?}");
    }
}

fn large(session: &mut Session) {
    set(session, "a", 1);
    session.set("b", "x".repeat(900)).unwrap();
}

fn refuses_again() -> coatroom_core::UpdateFn {
    Box::new(|_| Ok(None))
}

#[test]
// spec: SER-5 a33a
fn a_turn_is_given_back_on_what_is_stored_by_then() {
    let mut house = House::logged_in(Settings { size: 1024, ..settings() });
    house.now += 30_000;
    let mut staged = begin(&mut house, 1);
    large(staged.session().unwrap());
    let staged = house.close(staged);
    house.run(|session| assert_eq!(session.rotate(), Rotation::Rotated)).unwrap();
    assert!(lease(&house).is_some());
    assert!(matches!(house.drive(staged).err(), Some(Error::TooLarge { .. })));
    assert_eq!((lease(&house), house.front(Kind::Login).generation), (None, 1));
}

#[test]
// spec: SER-5 a33a
fn a_turn_over_a_session_that_is_gone_leaves_nothing_to_give_back() {
    let mut house = House::logged_in(Settings { size: 1024, ..settings() });
    let mut staged = begin(&mut house, 1);
    count(&mut staged);
    house.store.records.clear();
    assert_eq!(house.finish(staged).err(), Some(Error::Ended));
    assert!(house.store.records.is_empty());
    let mut staged = ask(&house, 2);
    large(staged.session().unwrap());
    assert!(matches!(house.finish(staged).err(), Some(Error::TooLarge { .. })));
    assert!(house.store.records.is_empty());
}

#[test]
// spec: SER-5 a33a
fn a_logout_that_is_not_begun_gives_the_turn_back() {
    let mut house = House::logged_in(Settings { size: 512, ..settings() });
    let mut staged = begin(&mut house, 1);
    staged.session().unwrap().logout();
    staged.session().unwrap().set("b", "x".repeat(450)).unwrap();
    assert!(matches!(house.finish(staged).err(), Some(Error::TooLarge { .. })));
    assert!(!house.front(Kind::Login).is_ended() && lease(&house).is_none());
}

#[test]
// spec: SER-5 a33a
fn a_turn_that_cannot_be_given_back_runs_out_and_fails_nobody() {
    let mut house = House::logged_in(settings());
    let staged = begin(&mut house, 1);
    let mut staged = house.close(staged);
    staged.gave_up(Error::Unavailable).unwrap();
    assert!(staged.reply().is_ok() && lease(&house).is_some());
    house.now += LEASE + SKEW;
    begin(&mut house, 2);
}

#[test]
// spec: SER-5 a33a, SER-3 4b53
fn a_login_in_its_own_turn_ends_it() {
    let mut house = House::new(settings());
    house.run(|session| set(session, "n", 1)).unwrap();
    let mut staged = begin(&mut house, 1);
    count(&mut staged);
    login(staged.session().unwrap(), "alice");
    house.finish(staged).unwrap();
    assert_eq!((n(&house), lease(&house)), (Some(Value::Int(2)), None));
}

#[test]
// spec: REC-11 47c6
fn a_lease_is_these_bytes_and_no_ended_record_has_one() {
    let mut house = House::logged_in(settings());
    let before = house.store.get(house.id(Kind::Login).handle).unwrap().to_vec();
    let _holder = begin(&mut house, 1);
    let after = house.store.get(house.id(Kind::Login).handle).unwrap().to_vec();
    assert_eq!((before[118], after[118], after.len()), (0, 4, before.len() + 14));
    assert_eq!(after[119..127], after[10..18], "the token is the commit id of the write");
    assert_eq!(after[127..133], (house.now + LEASE).to_be_bytes()[2..]);
    assert_eq!(after[133..], before[119..]);
    let mut ended = Sheet::ended(0).bytes();
    ended[118] = 4;
    ended.splice(119..119, [1; 14]);
    let mut staged = open(&rules(settings()), &id(5), &ended, NOW);
    assert_eq!(staged.session().unwrap().trace().events, [Event::Damaged(handle())]);
    let unknown = Sheet { previous: super::forge::Previous::Raw(8), ..Sheet::login() }.bytes();
    let mut staged = open(&rules(settings()), &id(5), &unknown, NOW);
    assert_eq!(staged.session().unwrap().trace().events, [Event::Damaged(handle())]);
    assert!(Front::read(&after).is_some());
}
