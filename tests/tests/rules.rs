//! Single rules of the lifecycle, each by one small story.

use std::time::Duration;

use coatroom_core::staged::Staged;
use coatroom_core::{
    Carry, Cause, Change, Denied, Error, Event, KeyRing, Kind, Listed, Loaded, Policy, Rotation, Rules, Save, Session,
    Settings, State, Timestamp, Value,
};
use coatroom_tests::browser::{Browser, Id, read_line};
use coatroom_tests::house::{House, error, login, set};
use coatroom_tests::ops::adder;
use coatroom_tests::record::{Previous, data};
use coatroom_tests::rng::Dry;
use coatroom_tests::scenarios::{settings, take_save};
use coatroom_tests::world::{RING, START};

const NONE: &[Change] = &[];

// Cookies and their selection.

#[test]
// spec: COOK-18 0051, WRITE-14 1f29
fn a_session_that_was_never_written_is_neither_stored_nor_given_a_cookie() {
    let mut house = House::new(settings());
    let done = house.run(|session| drop(session.get("a"))).unwrap();
    assert!(done.cookies.is_empty() && done.written == NONE && house.store.records.is_empty());
}

#[test]
// spec: COOK-8 7c7f
fn the_login_cookie_is_looked_at_first_and_a_dead_one_falls_back_to_the_visitor() {
    let mut house = House::new(settings());
    house.run(|session| set(session, "a", 1)).unwrap();
    let visitor = house.browser.visitor.clone();
    house.browser = Browser::default();
    house.run(|session| login(session, "alice")).unwrap();
    house.browser.visitor = visitor;
    assert_eq!(house.user().as_deref(), Some("alice"));
    house.store.records.remove(&house.id(Kind::Login).handle);
    let mut staged = house.open();
    let session = staged.session().unwrap();
    assert_eq!((session.principal().cloned(), session.get("a")), (None, Some(Value::Int(1))));
}

#[test]
// spec: COOK-9 4619
fn an_id_counts_only_in_the_cookie_of_its_kind() {
    let mut house = House::logged_in(settings());
    let login = house.browser.login.clone().unwrap();
    let mut staged = house.open_with(&format!("__Host-visitor={login}"));
    assert!(!staged.session().unwrap().is_live());
    assert!(matches!(staged.session().unwrap().trace().events[..], [Event::WrongCookie(_)]));

    house.browser = Browser::default();
    house.run(|session| set(session, "a", 1)).unwrap();
    let visitor = house.browser.visitor.clone().unwrap();
    assert!(!house.open_with(&format!("__Host-id={visitor}")).session().unwrap().is_live());
}

#[test]
// spec: COOK-14 aa28, COOK-15 907f, LIFE-4 4620
fn a_write_by_a_regenerated_login_id_without_a_live_visitor_is_refused_and_with_one_it_goes_there() {
    let mut house = House::logged_in(settings());
    let old = house.browser.clone();
    house.run(|session| login(session, "alice")).unwrap();
    let new = std::mem::replace(&mut house.browser, old.clone());
    assert_eq!(error(house.run(|session| set(session, "a", 1))), Some(Error::Superseded));
    assert_eq!(error(house.run(|session| session.logout())), Some(Error::LogoutRefused));
    assert!(house.run(|session| drop(session.get("a"))).unwrap().cookies.is_empty());

    house.browser = Browser::default();
    house.run(|session| set(session, "b", 1)).unwrap();
    house.browser.login = old.login;
    let done = house.run(|session| set(session, "a", 1)).unwrap();
    assert!(done.cookies.is_empty());
    assert_eq!(house.value(Kind::Visitor, "a"), Some(Value::Int(1)));
    assert_eq!(error(house.run(Session::logout)), Some(Error::LogoutRefused));
    house.browser = new;
    assert_eq!(house.value(Kind::Login, "a"), None);
}

#[test]
// spec: COOK-12 3d06, COOK-16 bfe5, LIFE-5 6efa, END-2 b6ef
fn an_ended_login_id_starts_a_fresh_visitor_session_and_clears_nothing() {
    let mut house = House::logged_in(settings());
    let old = house.browser.clone();
    house.run(Session::logout).unwrap();
    house.browser = old;
    let done = house.run(|session| set(session, "a", 1)).unwrap();
    assert_eq!(done.cookies.len(), 1);
    assert_eq!(read_line(&done.cookies[0]).0, Kind::Visitor);
}

#[test]
// spec: COOK-13 1359
fn a_name_that_comes_twice_counts_as_absent_and_is_not_set() {
    let mut house = House::logged_in(settings());
    let header = house.browser.header();
    let twice = format!("{header}; {header}");
    let mut staged = house.open_with(&twice);
    assert!(!staged.session().unwrap().is_live());
    assert_eq!(staged.session().unwrap().trace().events, [Event::Duplicate(Kind::Login)]);
    login(staged.session().unwrap(), "alice");
    assert_eq!(error(house.finish(staged)), Some(Error::DuplicateCookie));

    let mut staged = house.open_with(&twice);
    set(staged.session().unwrap(), "a", 1);
    let done = house.finish(staged).unwrap();
    assert_eq!(done.cookies.iter().map(|line| read_line(line).0).collect::<Vec<_>>(), [Kind::Visitor]);

    let visitor = house.browser.visitor.clone().unwrap();
    let mut staged = house.open_with(&format!("{header}; __Host-visitor={visitor}; __Host-visitor=x"));
    assert!(staged.session().unwrap().is_live());
    staged.session().unwrap().logout();
    assert_eq!(error(house.finish(staged)), Some(Error::DuplicateCookie));
    assert_eq!(house.user().as_deref(), Some("alice"));
}

#[test]
// spec: COOK-10 2607, COOK-11 b110, LOGIN-2 0c3e
fn login_sets_the_login_cookie_and_removes_a_visitor_cookie_that_was_sent() {
    let mut house = House::new(settings());
    house.run(|session| set(session, "a", 1)).unwrap();
    let done = house.run(|session| login(session, "alice")).unwrap();
    let lines: Vec<_> = done.cookies.iter().map(|line| (read_line(line).0, read_line(line).2)).collect();
    assert_eq!(lines, [(Kind::Login, false), (Kind::Visitor, true)]);
    assert_eq!(house.value(Kind::Login, "a"), Some(Value::Int(1)));
    let done = house.run(Session::logout).unwrap();
    let lines: Vec<_> = done.cookies.iter().map(|line| (read_line(line).0, read_line(line).2)).collect();
    assert_eq!(lines, [(Kind::Login, true), (Kind::Visitor, true)]);
}

#[test]
// spec: COOK-12 3d06, TIME-8 c1bc, COOK-14 aa28
fn only_a_logout_clears_a_cookie() {
    for (name, past) in [("idle", 100_000), ("absolute", 2_000_000)] {
        let mut house = House::logged_in(settings());
        house.now += past;
        let done = house.run(|session| drop(session.get("a"))).unwrap();
        assert!(done.cookies.is_empty(), "{name}");
        assert!(house.front(Kind::Login).is_ended(), "{name}");
    }
}

// Limits.

#[test]
// spec: TIME-2 8846, TIME-11 a2f9, LIFE-4 4620
fn the_idle_limit_ends_access_exactly_when_it_is_reached() {
    for (left, works) in [(1, true), (0, false)] {
        let mut house = House::new(settings());
        house.run(|session| login(session, "alice")).unwrap();
        house.now += 100_000 - left;
        assert_eq!(house.user().is_some(), works, "{left} ms left");
        let state = house.open().session().unwrap().state();
        assert_eq!(state == Some(State::Expired), !works);
    }
}

#[test]
// spec: TIME-3 cd01, TIME-11 a2f9, LOGIN-5 2b46, ROT-8 2467, LIFE-4 4620
fn the_absolute_limit_ends_access_exactly_when_it_is_reached_and_only_a_full_login_moves_it() {
    let short = || Settings { idle: None, absolute: Duration::from_secs(30), ..settings() };
    for (left, works) in [(1, true), (0, false)] {
        let mut house = House::logged_in(short());
        house.run(|session| assert_eq!(session.rotate(), Rotation::Rotated)).unwrap();
        house.run(|session| session.elevate(3).unwrap()).unwrap();
        house.now = START + 30_000 - left;
        assert_eq!(house.user().is_some(), works, "{left} ms left");
    }
    let mut house = House::logged_in(short());
    house.run(|session| login(session, "alice")).unwrap();
    house.now = START + 50_000 - 1;
    assert!(house.user().is_some());
    house.now += 1;
    assert!(house.user().is_none());
}

#[test]
// spec: TIME-6 8cae, WRITE-8 561b
fn a_commit_is_judged_by_the_later_reading() {
    let mut house = House::new(settings());
    house.run(|session| login(session, "alice")).unwrap();
    for (left, refused) in [(1, None), (0, Some(Error::Ended))] {
        let mut staged = house.open();
        set(staged.session().unwrap(), "a", 1);
        let at = house.now + 100_000 - left;
        assert_eq!(error(house.finish_at(staged, at)), refused, "{left} ms left");
        house.now = at;
    }
}

#[test]
// spec: TIME-8 c1bc, WRITE-20 620d, WRITE-17 01cf
fn once_found_expired_the_end_is_written_whatever_a_conflict_shows_and_even_if_the_exchange_is_refused() {
    for head_sent in [false, true] {
        let mut house = House::new(settings());
        house.run(|session| login(session, "alice")).unwrap();
        let slow = house.open();
        let mut slow = house.close_at(slow, START + 99_999);
        house.now += 100_000;
        let mut finder = house.open();
        let session = finder.session().unwrap();
        assert_eq!(session.state(), Some(State::Expired));
        if head_sent {
            session.head_sent();
            set(session, "a", 1);
        }
        let swap = slow.swap().unwrap().clone();
        house.store.swap(&swap).unwrap();
        slow.entered(Listed::default()).unwrap();
        let finder = house.close(finder);
        assert_eq!(error(house.drive(finder)), head_sent.then_some(Error::HeadSent));
        assert!(house.front(Kind::Login).is_ended());
    }
}

#[test]
// spec: TIME-8 c1bc
fn the_end_that_a_passed_limit_calls_for_is_not_written_over_a_login_that_came_first() {
    let mut house = House::logged_in(settings());
    house.now += 79_999;
    let mut prompt = house.open();
    login(prompt.session().unwrap(), "alice");
    house.now += 1;
    let late = house.open();
    let late = house.close(late);
    assert!(late.swap().is_ok(), "the end is about to be written");
    let before = house.now - 1;
    let mut prompt = house.close_at(prompt, before);
    house.store.swap(&prompt.swap().unwrap().clone()).unwrap();
    prompt.entered(Listed::default()).unwrap();
    assert_eq!(error(house.drive(late)), None);
    assert!(!house.front(Kind::Login).is_ended());
}

#[test]
// spec: TIME-9 4c66
fn a_slow_exchange_does_not_end_a_session_that_others_used_or_renewed_meanwhile() {
    for renew in [false, true] {
        let mut house = House::logged_in(settings());
        let mut slow = house.open();
        set(slow.session().unwrap(), "slow", 1);
        house.now += 60_000;
        house
            .run(|session| {
                if renew {
                    login(session, "alice")
                }
            })
            .unwrap();
        house.now += 60_000;
        let slow = house.close(slow);
        assert_eq!(error(house.drive(slow)), renew.then_some(Error::Superseded));
        assert_eq!(house.user().as_deref(), Some("alice"));
        assert_eq!(house.value(Kind::Login, "slow").is_some(), !renew);
    }
}

#[test]
// spec: TIME-4 c482, WRITE-14 1f29
fn presence_counts_as_use_but_is_written_only_when_due() {
    let mut house = House::logged_in(settings());
    assert_eq!(house.run(|_| ()).unwrap().written, [Change::Touched]);
    assert_eq!(house.run(|_| ()).unwrap().written, NONE);
    house.now += 999;
    assert_eq!(house.run(|_| ()).unwrap().written, NONE);
    house.now += 1;
    assert_eq!(house.run(|_| ()).unwrap().written, [Change::Touched]);
}

#[test]
// spec: TIME-10 9be5
fn a_session_whose_first_id_is_never_presented_dies_when_activation_says_so() {
    let activation = || Settings { activation: Some(Duration::from_secs(5)), ..settings() };
    for (wait, works) in [(4_999, true), (5_000, false)] {
        let mut house = House::new(activation());
        house.run(|session| login(session, "alice")).unwrap();
        house.now += wait;
        assert_eq!(house.user().is_some(), works);
    }
    let mut house = House::logged_in(activation());
    house.now += 50_000;
    assert!(house.user().is_some());
}

#[test]
// spec: TIME-7 b2f4, TIME-4 c482
fn a_clock_behind_the_record_is_raised_to_it_and_too_far_behind_is_unavailable() {
    let mut house = House::logged_in(settings());
    house.run(|_| ()).unwrap();
    let header = house.browser.header();
    let mut near = house.open_at(&header, house.now - 2_000);
    assert!(near.session().unwrap().is_live());
    set(near.session().unwrap(), "a", 1);
    let seen = house.front(Kind::Login).seen;
    let earlier = house.now - 1_000;
    house.finish_at(near, earlier).unwrap();
    assert_eq!(house.front(Kind::Login).seen, seen);
    let far = house.open_at(&header, house.now - 2_001);
    let failure = far.failure().unwrap();
    assert_eq!(failure.error, Error::Unavailable);
    assert!(matches!(failure.events[..], [Event::ClockBehind(_)]));
}

// Rotation.

#[test]
// spec: ROT-4 97ec, ROT-5 64fb, ROT-9 f305, ROT-2 8346
fn a_rotation_is_answered_the_same_by_all_until_it_is_confirmed() {
    let mut house = House::logged_in(settings());
    let old = house.browser.clone();
    let parallel: Vec<_> = (0..3).map(|_| house.open()).collect();
    let mut told = Vec::new();
    for mut staged in parallel {
        assert_eq!(staged.session().unwrap().rotate(), Rotation::Rotated);
        let staged = house.close(staged);
        told.push(house.drive(staged).unwrap().cookies);
    }
    let late = house.open();
    let late = house.close(late);
    told.push(house.drive(late).unwrap().cookies);
    assert!(told.iter().all(|cookies| cookies.len() == 1 && *cookies == told[0]), "{told:?}");
    assert_eq!(house.front(Kind::Login).previous, Previous::Pending);

    house.run(|session| assert_eq!(session.rotate(), Rotation::Pending)).unwrap();
    assert!(house.browser.login != old.login);
    let done = house.run(|session| assert_eq!(session.rotate(), Rotation::Pending)).unwrap();
    assert_eq!(done.written, [Change::Confirmed]);
    assert_eq!(house.front(Kind::Login).previous, Previous::Until(house.now + 10_000));
}

#[test]
// spec: ROT-2 8346
fn a_rotation_waits_for_two_graces_after_the_confirmation() {
    let mut house = House::new(settings());
    house.run(|session| login(session, "alice")).unwrap();
    house.run(|session| assert_eq!(session.rotate(), Rotation::Pending)).unwrap();
    house.now += 19_999;
    house.run(|session| assert_eq!(session.rotate(), Rotation::Postponed)).unwrap();
    house.now += 1;
    let done = house.run(|session| assert_eq!(session.rotate(), Rotation::Rotated)).unwrap();
    assert!(done.written.contains(&Change::Rotated));
}

#[test]
// spec: ROT-4 97ec, COOK-14 aa28
fn an_exchange_that_closes_more_than_a_grace_after_it_opened_answers_no_rotation() {
    for (took, told) in [(10_000, 1), (10_001, 0)] {
        let mut house = House::logged_in(settings());
        let rotating = {
            let mut staged = house.open();
            staged.session().unwrap().rotate();
            house.close(staged)
        };
        house.drive(rotating).unwrap();
        let late = house.open();
        let at = house.now + took;
        assert_eq!(house.finish_at(late, at).unwrap().cookies.len(), told, "after {took} ms");
    }
}

/// A rotation, delivered and confirmed; returns the browser that missed it.
fn rotate_and_confirm(house: &mut House) -> Browser {
    let old = house.browser.clone();
    house.run(|session| assert_eq!(session.rotate(), Rotation::Rotated)).unwrap();
    house.run(|_| ()).unwrap();
    old
}

#[test]
// spec: ROT-6 d69f, REUSE-1 3573, COOK-14 aa28, COOK-12 3d06, LIFE-4 4620
fn a_replaced_id_reads_and_writes_in_its_grace_and_is_reuse_from_then_on() {
    for (wait, works) in [(9_999, true), (10_000, false)] {
        let mut house = House::logged_in(settings());
        let old = rotate_and_confirm(&mut house);
        house.now += wait;
        let new = std::mem::replace(&mut house.browser, old);
        let done = house.run(|session| {
            assert_eq!(session.state(), Some(State::Regenerated));
            assert_eq!(session.is_live(), works);
            if works {
                set(session, "a", 1);
            }
        });
        let done = done.unwrap();
        assert!(done.cookies.is_empty());
        assert_eq!(done.events.iter().any(|event| matches!(event, Event::Reuse(_))), !works);
        house.browser = new;
        assert_eq!(house.user().is_some(), works);
        assert_eq!(house.front(Kind::Login).cause, (!works).then_some(4));
    }
}

#[test]
// spec: ROT-5 64fb
fn the_grace_never_outlasts_the_session() {
    let mut house = House::logged_in(Settings { idle: None, absolute: Duration::from_secs(25), ..settings() });
    rotate_and_confirm(&mut house);
    assert_eq!(house.front(Kind::Login).previous, Previous::Until(START + 25_000));
}

#[test]
// spec: REUSE-1 3573, WRITE-20 620d, COOK-15 907f
fn reuse_ends_the_session_even_if_the_exchange_is_refused() {
    let mut house = House::logged_in(settings());
    let old = rotate_and_confirm(&mut house);
    house.now += 10_000;
    house.browser = old;
    assert_eq!(error(house.run(Session::logout)), Some(Error::LogoutRefused));
    assert!(house.front(Kind::Login).is_ended());
}

#[test]
// spec: ROT-7 28ec, REUSE-4 0f0e, POL-4 713a
fn where_reuse_is_merely_refused_the_previous_id_is_forgotten_so_no_clock_brings_it_back() {
    let mut house = House::logged_in(settings().danger_refuse_reuse_only());
    let old = rotate_and_confirm(&mut house);
    house.now += 10_000;
    let new = std::mem::replace(&mut house.browser, old.clone());
    assert_eq!(house.user(), None);
    house.run(|_| ()).unwrap();
    house.now -= 1_000;
    assert_eq!(house.user(), None);
    house.browser = new;
    assert_eq!(house.user().as_deref(), Some("alice"));
}

#[test]
// spec: REUSE-3 8d76, ROT-7 28ec, WRITE-8 561b
fn an_id_whose_write_was_refused_past_its_grace_is_forgotten_by_every_clock() {
    let mut house = House::logged_in(settings());
    let old = rotate_and_confirm(&mut house);
    let new = std::mem::replace(&mut house.browser, old);
    let mut slow = house.open();
    set(slow.session().unwrap(), "a", 1);
    house.now += 10_000;
    assert_eq!(error(house.finish(slow)), Some(Error::Superseded));
    house.browser = new;
    assert_eq!(house.front(Kind::Login).previous, Previous::None);
    assert_eq!(house.user().as_deref(), Some("alice"));
}

#[test]
// spec: END-1 9a4d
fn a_logout_by_an_id_in_grace_or_one_that_was_rotated_meanwhile_ends_the_session() {
    let mut house = House::logged_in(settings());
    let mut under_way = house.open();
    let old = rotate_and_confirm(&mut house);
    let new = std::mem::replace(&mut house.browser, old);
    under_way.session().unwrap().logout();
    let done = house.finish(under_way).unwrap();
    assert_eq!(done.written, [Change::Ended]);
    house.browser = new;
    assert_eq!(house.user(), None);

    let mut house = House::logged_in(settings());
    let old = rotate_and_confirm(&mut house);
    let new = std::mem::replace(&mut house.browser, old);
    house.run(Session::logout).unwrap();
    house.browser = new;
    assert_eq!(house.user(), None);
}

// Privilege.

#[test]
// spec: END-3 5139
fn a_logout_reaches_across_a_login_of_the_same_principal_and_of_nobody_else() {
    let mut house = House::logged_in(settings());
    let mut logout = house.open();
    logout.session().unwrap().logout();
    house.run(|session| login(session, "alice")).unwrap();
    house.finish(logout).unwrap();

    let mut house = House::new(settings());
    house.run(|session| set(session, "a", 1)).unwrap();
    let mut logout = house.open();
    logout.session().unwrap().logout();
    house.run(|session| login(session, "alice")).unwrap();
    let logout = house.close(logout);
    assert_eq!(error(house.drive(logout)), Some(Error::LogoutRefused));
    assert_eq!(house.user().as_deref(), Some("alice"));
}

#[test]
// spec: LOGIN-3 2223
fn a_login_replaces_somebody_else_by_a_fresh_session() {
    let mut house = House::logged_in(settings());
    house.run(|session| set(session, "a", 1)).unwrap();
    let alice = house.browser.clone();
    let done = house.run(|session| {
        set(session, "before", 1);
        login(session, "bob");
        assert_eq!(session.keys(), Vec::<String>::new());
        set(session, "after", 1);
    });
    assert!(done.unwrap().events.iter().any(|event| matches!(event, Event::Ended(_, Cause::Replaced))));
    assert_eq!(house.user().as_deref(), Some("bob"));
    assert_eq!(data(house.store.get(house.id(Kind::Login).handle).unwrap()).keys().collect::<Vec<_>>(), ["after"]);
    house.browser = alice;
    assert_eq!(house.user(), None);
}

#[test]
// spec: LOGIN-4 e450
fn a_login_overtaken_by_another_starts_afresh_with_what_followed_it() {
    let mut house = House::new(settings());
    house.run(|session| set(session, "a", 1)).unwrap();
    let mut slow = house.open();
    let session = slow.session().unwrap();
    set(session, "before", 1);
    login(session, "bob");
    set(session, "after", 1);
    house.run(|session| login(session, "alice")).unwrap();
    let alice = house.id(Kind::Login).handle;
    house.finish(slow).unwrap();
    assert_ne!(house.id(Kind::Login).handle, alice);
    assert_eq!(house.user().as_deref(), Some("bob"));
    assert_eq!(data(house.store.get(house.id(Kind::Login).handle).unwrap()).keys().collect::<Vec<_>>(), ["after"]);
}

#[test]
// spec: LOGIN-4 e450, LOGIN-2 0c3e
fn a_login_that_starts_afresh_takes_nothing_along_from_between_an_elevation_and_itself() {
    let mut house = House::logged_in(settings());
    let mut slow = house.open();
    let session = slow.session().unwrap();
    session.elevate(2).unwrap();
    set(session, "before", 1);
    login(session, "alice");
    set(session, "after", 1);
    assert_eq!(session.keys(), ["after", "before"]);
    house.run(Session::logout).unwrap();
    house.finish(slow).unwrap();
    assert_eq!(data(house.store.get(house.id(Kind::Login).handle).unwrap()).keys().collect::<Vec<_>>(), ["after"]);
}

#[test]
// spec: WRITE-8 561b, LOGIN-1 3794
fn a_write_from_before_a_login_is_refused_whole() {
    let mut house = House::new(settings());
    house.run(|session| set(session, "a", 1)).unwrap();
    let mut slow = house.open();
    set(slow.session().unwrap(), "slow", 1);
    house.run(|session| login(session, "alice")).unwrap();
    let slow = house.close(slow);
    assert_eq!(error(house.drive(slow)), Some(Error::Superseded));
    assert_eq!(house.value(Kind::Login, "slow"), None);
}

#[test]
// spec: LOGIN-2 0c3e, WRITE-2 c432
fn a_write_acknowledged_while_a_login_is_under_way_is_carried_with_the_rest() {
    for (carry, kept) in
        [(Carry::All, vec!["a", "b"]), (Carry::Keys(vec!["b".into()]), vec!["b"]), (Carry::Nothing, vec![])]
    {
        let mut house = House::new(Settings { carry, ..settings() });
        house.run(|session| set(session, "a", 1)).unwrap();
        let mut slow = house.open();
        login(slow.session().unwrap(), "alice");
        house.run(|session| set(session, "b", 1)).unwrap();
        house.finish(slow).unwrap();
        let keys: Vec<_> = data(house.store.get(house.id(Kind::Login).handle).unwrap()).into_keys().collect();
        assert_eq!(keys, kept);
    }
}

#[test]
// spec: LOGIN-1 3794, LOGIN-5 2b46, LOGIN-6 5d77, LOGIN-9 c39d
fn an_elevation_changes_the_id_and_no_limit_and_needs_somebody() {
    let mut house = House::logged_in(settings());
    let (old, deadline) = (house.browser.clone(), house.front(Kind::Login).deadline);
    house.run(|session| session.elevate(3).unwrap()).unwrap();
    assert_eq!(house.front(Kind::Login).deadline, deadline);
    house.browser = old;
    assert_eq!(house.user(), None);
    let mut nobody = House::new(settings());
    nobody.run(|session| assert_eq!(session.elevate(3), Err(Error::NotLoggedIn))).unwrap();
    nobody.run(|session| assert_eq!(session.require_role("user"), Err(Denied::NotLoggedIn))).unwrap();
}

// Data.

#[test]
// spec: WRITE-6 b7e4
fn strict_refuses_a_changed_key_that_was_read_or_set_and_nothing_else() {
    type Handler = fn(&mut Session);
    let strict: [(Handler, bool); 6] = [
        (|session| drop(session.get("a")), true),
        (|session| set(session, "a", 9), true),
        (|session| drop(session.keys()), true),
        (|session| drop(session.get("b")), false),
        (|session| assert!(session.add("a", 1).is_ok()), false),
        (|session| assert!(session.update("a", adder(1)).is_ok()), false),
    ];
    for (number, (handler, refused)) in strict.into_iter().enumerate() {
        let mut house = House::logged_in(settings());
        house.run(|session| set(session, "a", 1)).unwrap();
        let mut slow = house.open();
        slow.session().unwrap().strict();
        handler(slow.session().unwrap());
        set(slow.session().unwrap(), "c", 1);
        house.now += 5_000;
        house.run(|session| set(session, "a", 2)).unwrap();
        let slow = house.close(slow);
        assert_eq!(error(house.drive(slow)), refused.then_some(Error::Conflict), "{number}");
    }
}

#[test]
// spec: WRITE-7 a0fe
fn touch_confirmation_and_rotation_never_make_a_strict_write_fail() {
    let mut house = House::logged_in(Settings { concurrency: coatroom_core::Concurrency::Strict, ..settings() });
    house.run(|session| set(session, "a", 1)).unwrap();
    let mut slow = house.open();
    let seen = slow.session().unwrap().get("a");
    set(slow.session().unwrap(), "a", 2);
    assert_eq!(seen, Some(Value::Int(1)));
    rotate_and_confirm(&mut house);
    house.now += 5_000;
    house.run(|_| ()).unwrap();
    let slow = house.close(slow);
    assert_eq!(error(house.drive(slow)), None);
}

#[test]
// spec: WRITE-7 a0fe
fn a_strict_exchange_that_writes_no_data_is_not_refused() {
    let mut house = House::logged_in(Settings { concurrency: coatroom_core::Concurrency::Strict, ..settings() });
    let mut slow = house.open();
    let _ = slow.session().unwrap().get("a");
    house.run(|session| set(session, "a", 2)).unwrap();
    house.now += 5_000;
    let slow = house.close(slow);
    assert_eq!(error(house.drive(slow)), None);
}

#[test]
// spec: WRITE-4 1b2f, WRITE-5 6dbe, WRITE-1 e9ba
fn an_update_runs_again_on_the_fresh_value_and_a_clear_spares_what_came_before_it_was_replayed_on() {
    let mut house = House::logged_in(settings());
    house.run(|session| set(session, "u", 1)).unwrap();
    let mut slow = house.open();
    slow.session().unwrap().update("u", adder(10)).unwrap();
    house.run(|session| set(session, "u", 100)).unwrap();
    house.finish(slow).unwrap();
    assert_eq!(house.value(Kind::Login, "u"), Some(Value::Int(110)));

    let mut slow = house.open();
    slow.session().unwrap().clear();
    set(slow.session().unwrap(), "kept", 1);
    house.run(|session| set(session, "meanwhile", 1)).unwrap();
    house.finish(slow).unwrap();
    let keys: Vec<_> = data(house.store.get(house.id(Kind::Login).handle).unwrap()).into_keys().collect();
    assert_eq!(keys, ["kept"]);
}

#[test]
// spec: WRITE-3 1359, WRITE-9 839c
fn a_replay_that_cannot_apply_is_refused_whole() {
    let mut house = House::logged_in(settings());
    let mut slow = house.open();
    slow.session().unwrap().add("n", 1).unwrap();
    set(slow.session().unwrap(), "also", 1);
    house.run(|session| session.set("n", "text").unwrap()).unwrap();
    let slow = house.close(slow);
    assert_eq!(error(house.drive(slow)), Some(Error::NotAddable));
    assert_eq!(house.value(Kind::Login, "also"), None);
    house.run(|session| set(session, "n", i64::MAX)).unwrap();
    house.run(|session| assert_eq!(session.add("n", 1), Err(Error::NotAddable))).unwrap();
}

#[test]
// spec: REC-9 78b2, WRITE-9 839c, WRITE-21 44b9
fn a_record_over_its_size_limit_is_refused_whole() {
    let mut house = House::logged_in(Settings { size: 1024, ..settings() });
    let big = |session: &mut Session, key: &str| session.set(key, vec![0; 400]).unwrap();
    house.run(|session| big(session, "a")).unwrap();
    assert_eq!(house.run(|session| session.set("b", vec![0; 2000]).map_err(drop).unwrap_or(())).unwrap().written, NONE);
    assert!(matches!(
        error(house.run(|session| (big(session, "b"), big(session, "c")).0)),
        Some(Error::TooLarge { .. })
    ));
    assert_eq!(house.value(Kind::Login, "b"), None);
    // Whoever cannot have the fresh session that is asked for keeps the old one.
    for ending in [Session::logout, |session: &mut Session| login(session, "bob")] {
        let refused = house.run(|session| {
            ending(session);
            (0..3).for_each(|n| big(session, &format!("{n}")));
        });
        assert!(matches!(error(refused), Some(Error::TooLarge { .. })));
        assert_eq!(house.user().as_deref(), Some("alice"));
    }
}

// Stores that answer late, wrongly or not at all.

/// Closes an exchange that adds one, up to its first swap, applied or not.
fn adding(house: &mut House, applied: bool) -> (Save, Staged) {
    let mut staged = house.open();
    staged.session().unwrap().add("n", 1).unwrap();
    let mut staged = house.close(staged);
    let swap = staged.swap().unwrap().clone();
    if applied {
        house.store.swap(&swap).unwrap();
    }
    (take_save(&mut staged), staged)
}

#[test]
// spec: WRITE-10 a015, WRITE-11 c612, REC-7 d895
fn an_unknown_outcome_is_recognised_through_four_later_writes_and_then_given_up() {
    for (others, expected) in [(0, None), (3, None), (4, Some(Error::Unknown))] {
        for heard in [false, true] {
            let mut house = House::logged_in(settings());
            house.run(|_| ()).unwrap();
            let (save, _) = adding(&mut house, true);
            for n in 0..others {
                house.run(|session| set(session, "other", n)).unwrap();
            }
            let present = house.store.get(save.swap().handle).unwrap().to_vec();
            // A store may also refuse a swap that it applied before, when its client repeats it.
            let closing = if heard && others < 4 {
                save.conflicted(Some(present))
            } else {
                save.reloaded(Loaded::Found(present))
            };
            assert_eq!(error(house.drive(Staged::from(closing))), expected, "{others} {heard}");
            assert_eq!(house.value(Kind::Login, "n"), Some(Value::Int(1)));
        }
    }
}

#[test]
// spec: WRITE-11 c612
fn a_write_that_was_lost_is_sent_again_and_one_that_nobody_can_tell_is_unknown() {
    let mut house = House::logged_in(settings());
    let (save, _) = adding(&mut house, false);
    let present = house.store.load(save.swap().handle);
    house.drive(Staged::from(save.reloaded(present))).unwrap();
    assert_eq!(house.value(Kind::Login, "n"), Some(Value::Int(1)));

    let (save, _) = adding(&mut house, true);
    assert_eq!(error(house.drive(Staged::from(save.reloaded(Loaded::Unavailable)))), Some(Error::Unknown));

    let (save, _) = adding(&mut house, false);
    assert_eq!(error(house.drive(Staged::from(save.gave_up(Error::Busy)))), Some(Error::Busy));
}

#[test]
// spec: WRITE-10 a015
fn the_commit_is_looked_for_before_the_floor() {
    let mut house = House::new(settings());
    house.run(|session| set(session, "a", 1)).unwrap();
    let (save, _) = adding(&mut house, true);
    house.run(|session| login(session, "alice")).unwrap();
    let present = house.store.load(save.swap().handle);
    assert_eq!(error(house.drive(Staged::from(save.reloaded(present)))), None);
}

#[test]
// spec: WRITE-13 2f77
fn a_create_of_unknown_outcome_is_tried_again_only_under_another_handle_and_secret() {
    let mut house = House::new(settings());
    let (first, _) = adding(&mut house, true);
    let handle = first.swap().handle;
    let present = house.store.load(handle);
    let mut staged = Staged::from(first.reloaded(present));
    assert_ne!(staged.swap().unwrap().handle, handle);
    let second = take_save(&mut staged);
    let done = house.drive(Staged::from(second.conflicted(Some(vec![1])))).unwrap();
    assert_eq!(Id::read(read_line(&done.cookies[0]).1).map(|id| id.handle == handle), Some(false));
}

#[test]
// spec: WRITE-12 8880
fn a_settled_doubt_about_one_record_is_no_doubt_about_the_next() {
    // The end of an expired login is of unknown outcome, and turns out to be somebody else's; then the visitor record is
    // so much further on that it could not be recognised.
    let mut house = House::new(settings());
    house.run(|session| login(session, "alice")).unwrap();
    let login_cookie = house.browser.login.take();
    house.now += 99_000;
    house.run(|session| set(session, "a", 1)).unwrap();
    for n in 0..8 {
        house.run(|session| set(session, "b", n)).unwrap();
    }
    house.browser.login = login_cookie;
    house.now += 1_000;
    let mut slow = house.open();
    set(slow.session().unwrap(), "slow", 1);
    let mut slow = house.close(slow);
    let expire = take_save(&mut slow);
    house.run(|session| set(session, "b", 9)).unwrap();
    let ended = house.store.load(expire.swap().handle);
    assert_eq!(error(house.drive(Staged::from(expire.reloaded(ended)))), None);
    assert_eq!(house.value(Kind::Visitor, "slow"), Some(Value::Int(1)));
}

#[test]
// spec: END-5 5fe9, WRITE-11 c612
fn an_ending_goes_on_until_the_store_answers_and_a_removal_is_an_ending() {
    for tombstone in [Duration::ZERO, Duration::from_secs(60)] {
        let mut house = House::logged_in(Settings { tombstone, ..settings() });
        let mut staged = house.open();
        staged.session().unwrap().logout();
        let mut staged = house.close(staged);
        let save = take_save(&mut staged);
        assert!(save.is_ending());
        assert_eq!(save.swap().new.is_none(), tombstone.is_zero());
        let swap = save.swap().clone();
        house.store.swap(&swap).unwrap();
        let present = house.store.load(swap.handle);
        let done = house.drive(Staged::from(save.reloaded(present))).unwrap();
        assert_eq!(done.cookies.len(), 2);
        assert_eq!(house.user(), None);
    }
}

#[test]
// spec: REC-4 ee90, REC-5 ad66
fn a_damaged_record_met_on_a_conflict_is_not_written_over() {
    let mut house = House::logged_in(settings());
    let mut staged = house.open();
    set(staged.session().unwrap(), "a", 1);
    let handle = house.id(Kind::Login).handle;
    house.store.records.insert(handle, vec![1; 30].into());
    let staged = house.close(staged);
    assert_eq!(error(house.drive(staged)), Some(Error::Ended));
    assert_eq!(house.store.get(handle), Some(&[1; 30][..]));

    house.store.records.insert(handle, vec![9; 30].into());
    let staged = house.open();
    assert_eq!(staged.failure().unwrap().error, Error::Unavailable);
    assert!(matches!(staged.failure().unwrap().events[..], [Event::Newer(_)]));
}

#[test]
// spec: WRITE-18 2fed
fn without_random_bytes_nothing_is_written_and_a_plain_read_needs_none() {
    let mut house = House::logged_in(settings());
    house.run(|_| ()).unwrap();
    let mut staged = house.open();
    staged.close(Timestamp::from_unix_ms(house.now), &mut Dry).unwrap();
    assert!(staged.reply().is_ok());
    let mut staged = house.open();
    set(staged.session().unwrap(), "a", 1);
    staged.close(Timestamp::from_unix_ms(house.now), &mut Dry).unwrap();
    assert_eq!(staged.failure().unwrap().error, Error::NoRandomness);
}

#[test]
// spec: WRITE-17 01cf, ROT-1 5391
fn after_the_head_is_gone_a_rotation_waits_and_a_write_is_an_error() {
    let mut house = House::logged_in(Settings { rotate_every: Some(Duration::from_secs(1)), ..settings() });
    let done = house.run(Session::head_sent).unwrap();
    assert!(done.cookies.is_empty() && !done.written.contains(&Change::Rotated));
    let refused = house.run(|session| {
        session.head_sent();
        set(session, "a", 1);
    });
    assert_eq!(error(refused), Some(Error::HeadSent));
    let done = house.run(Session::discard).unwrap();
    assert!(done.written.contains(&Change::Rotated));
}

// Keys and headers.

const OTHER: &str = "2:YW5vdGhlciBvYnZpb3VzbHkgdW5zZWNyZXQgdGVzdCBrZXk";

#[test]
// spec: KEY-5 59c3, KEY-3 e373, ID-3 a335
fn a_rotated_ring_logs_nobody_out_and_the_next_rotation_moves_to_its_first_key() {
    let mut house = House::logged_in(settings());
    let number = |house: &House| {
        let bytes = coatroom_tests::browser::unbase64(house.browser.login.as_deref().unwrap()).unwrap();
        u16::from_be_bytes([bytes[16], bytes[17]])
    };
    assert_eq!(number(&house), 1);
    let keys = KeyRing::parse(&format!("{OTHER},{RING}")).unwrap();
    house.rules = Rules::new(Policy::try_from(settings()).unwrap(), keys);
    assert_eq!(house.user().as_deref(), Some("alice"));
    house.run(|session| assert_eq!(session.rotate(), Rotation::Rotated)).unwrap();
    assert_eq!(number(&house), 2);
    assert_eq!(house.user().as_deref(), Some("alice"));
    let without = House::with_ring(settings(), RING);
    let staged = without.rules.open(house.browser.header().as_bytes(), Timestamp::from_unix_ms(house.now));
    assert!(matches!(staged, coatroom_core::Opening::Ready(_)), "an id under an unknown key asks no store");
}

#[test]
// spec: HTTP-1 99c4, HTTP-4 389d
fn a_response_that_touched_the_session_varies_by_cookie_and_is_not_stored() {
    let mut house = House::new(settings());
    let mut reply = |touch: bool| {
        let mut staged = house.open();
        if touch {
            staged.session().unwrap().get("a");
        }
        house.close(staged)
    };
    let (touched, untouched) = (reply(true), reply(false));
    let (touched, untouched) = (touched.reply().unwrap(), untouched.reply().unwrap());
    assert_eq!((untouched.vary(None), untouched.cache_control(None)), (None, None));
    for (present, vary) in [
        (None, Some("Cookie")),
        (Some(""), Some("Cookie")),
        (Some("Accept"), Some("Accept, Cookie")),
        (Some("Accept, cookie"), None),
        (Some("*"), None),
    ] {
        assert_eq!(touched.vary(present).as_deref(), vary, "{present:?}");
    }
    for (present, control) in [
        (None, Some("no-store")),
        (Some("public, max-age=60"), Some("no-store")),
        (Some("private, No-Store"), None),
        (Some("no-store"), None),
    ] {
        assert_eq!(touched.cache_control(present), control, "{present:?}");
    }
}

#[test]
// spec: COOK-2 1b91, COOK-3 c51b
fn cookie_lines_are_these_bytes() {
    let mut house = House::new(settings());
    let line = house.run(|session| set(session, "a", 1)).unwrap().cookies.remove(0);
    let id = house.browser.visitor.clone().unwrap();
    assert_eq!(line, format!("__Host-visitor={id}; Path=/; Secure; HttpOnly; SameSite=Lax"));
    let lines = house.run(|session| login(session, "alice")).unwrap().cookies;
    let id = house.browser.login.clone().unwrap();
    let gone = "Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; Secure; HttpOnly; SameSite=Lax";
    assert_eq!(lines[0], format!("__Host-id={id}; Path=/; Secure; HttpOnly; SameSite=Lax"));
    assert_eq!(lines[1], format!("__Host-visitor=; {gone}"));
}
