//! A store that loses its newest writes, those that need not be on disk, while exchanges are under way.

use coatroom_core::{Error, Kind, Loaded, Rotation, Value};
use coatroom_tests::house::{House, error, set};
use coatroom_tests::scenarios::settings;

#[test]
// spec: WRITE-10 a015, CLAIM-3 4985
fn a_retry_does_not_leave_the_stamp_of_an_attempt_that_the_store_lost() {
    let mut house = House::logged_in(settings());
    let safe = house.store.clone();
    house.run(|session| set(session, "lost", 1)).unwrap();

    let mut retried = house.open();
    retried.session().unwrap().add("n", 1).unwrap();
    let mut retried = house.close(retried);
    let swap = retried.swap().unwrap().clone();
    house.store.swap(&swap).unwrap();
    let mut slow = house.open();
    set(slow.session().unwrap(), "slow", 1);

    house.store = safe;
    house.run(|session| set(session, "between", 1)).unwrap();
    retried.reloaded(house.store.load(swap.handle)).unwrap();
    assert_eq!(error(house.drive(retried)), None);
    let slow = house.close(slow);
    assert_eq!(error(house.drive(slow)), None);
    for key in ["between", "n", "slow"] {
        assert_eq!(house.value(Kind::Login, key), Some(Value::Int(1)), "{key}");
    }
}

#[test]
// spec: ROT-7 28ec, CLAIM-2 1248
fn a_replaced_id_found_past_its_grace_is_forgotten_by_a_store_that_lost_that_time() {
    let mut house = House::logged_in(settings());
    let old = house.browser.header();
    let mut late = house.open();
    set(late.session().unwrap(), "late", 1);
    house.run(|session| assert_eq!(session.rotate(), Rotation::Rotated)).unwrap();
    house.run(|_| ()).unwrap();
    let safe = house.store.clone();

    // A node whose clock is ahead writes when the grace is over there, and so the late exchange finds it over.
    let behind = house.now + 9_000;
    house.now = behind + 1_500;
    house.run(|session| set(session, "a", 1)).unwrap();
    let mut late = house.close_at(late, behind);
    let current = house.store.load(house.id(Kind::Login).handle);
    let Loaded::Found(record) = current else { panic!("a session") };
    late.conflicted(Some(record)).unwrap();

    // That write is lost. The clock of its own node says that the grace still runs.
    house.store = safe;
    assert_eq!(error(house.drive(late)), Some(Error::Superseded));
    let mut staged = house.open_at(&old, behind);
    assert!(!staged.session().unwrap().is_live());
}

#[test]
// spec: WRITE-11 c612
fn a_write_in_doubt_over_a_record_that_is_gone_is_unknown() {
    let mut house = House::logged_in(settings());
    let mut staged = house.open();
    set(staged.session().unwrap(), "n", 1);
    let mut staged = house.close(staged);
    staged.reloaded(Loaded::Absent).unwrap();
    assert_eq!(staged.failure().unwrap().error, Error::Unknown);
}
