//! What a handler sees of its session, down to the last accessor.

use std::time::Duration;

use coatroom_core::{
    Change, Client, CookieError, CookieSettings, Denied, Error, Kind, Listed, Policy, PolicyError, Rotation, Session,
    Settings, State, Timestamp,
};
use coatroom_tests::ops::adder;
use coatroom_tests::scenarios::settings;

use super::forge::{
    NOW, Previous, SECOND, Sheet, close, digest, handle, id, logged_in, nobody, open, open_header, rules, secret,
    written,
};

type Step = fn(&mut Session);

#[test]
fn a_handler_sees_who_is_logged_in_since_when_and_as_what() {
    let mut staged = logged_in();
    let session = staged.session().unwrap();
    let principal = session.principal().unwrap();
    assert_eq!((principal.name(), principal.level()), ("alice", 1));
    assert_eq!(principal.roles().collect::<Vec<_>>(), ["editor", "user"]);
    assert_eq!(principal.authenticated_at(), Timestamp::from_unix_ms(NOW - 60 * SECOND));
    assert_eq!(session.handle(), Some(handle()));
    assert_eq!(session.require_role("editor"), Ok(()));
    assert_eq!(session.require_role("admin"), Err(Denied::Forbidden));
    assert_eq!(session.require_role("edito"), Err(Denied::Forbidden));
    session.logout();
    assert_eq!(session.require_role("editor"), Err(Denied::NotLoggedIn));
    let mut staged = nobody();
    let session = staged.session().unwrap();
    assert_eq!((session.handle(), session.principal()), (None, None));
    assert_eq!(session.require_role("editor"), Err(Denied::NotLoggedIn));
    session.login("bob", &["user", "editor", "user"], 3).unwrap();
    let principal = session.principal().unwrap();
    assert_eq!((principal.name(), principal.level()), ("bob", 3));
    assert_eq!(principal.authenticated_at(), Timestamp::from_unix_ms(NOW));
    assert_eq!(principal.roles().collect::<Vec<_>>(), ["editor", "user"]);
    assert_eq!(session.require_role("user"), Ok(()));
}

#[test]
// spec: FRESH-1 a65a
fn a_login_is_fresh_for_so_long_and_a_remembered_one_never() {
    let mut staged = logged_in();
    let session = staged.session().unwrap();
    let (now, minute) = (Timestamp::from_unix_ms(NOW), Duration::from_secs(60));
    assert_eq!(session.require_fresh(minute, now), Ok(()));
    assert_eq!(session.require_fresh(minute - Duration::from_millis(1), now), Err(Denied::NotFresh));
    assert_eq!((session.require_level(1), session.require_level(2)), (Ok(()), Err(Denied::LevelTooLow)));
    session.elevate(2).unwrap();
    assert_eq!((session.require_fresh(Duration::ZERO, now), session.require_level(2)), (Ok(()), Ok(())));
    session.login("alice", &["editor"], 0).unwrap();
    assert_eq!(session.require_fresh(minute, now), Err(Denied::NotFresh));
    session.logout();
    assert_eq!(session.require_fresh(minute, now), Err(Denied::NotLoggedIn));
    assert_eq!(session.require_level(0), Err(Denied::NotLoggedIn));
}

#[test]
fn an_elevation_after_a_login_in_the_same_exchange_raises_that_login() {
    let mut staged = nobody();
    let session = staged.session().unwrap();
    assert_eq!(session.elevate(2), Err(Error::NotLoggedIn));
    session.login::<&str>("alice", &[], 1).unwrap();
    session.elevate(2).unwrap();
    assert_eq!(session.principal().unwrap().level(), 2);
    session.logout();
    assert_eq!(session.elevate(2), Err(Error::NotLoggedIn));
    let mut staged = logged_in();
    staged.session().unwrap().logout();
    assert_eq!(staged.session().unwrap().elevate(2), Err(Error::NotLoggedIn));
    let mut staged =
        open_header(&rules(settings()), &format!("__Host-visitor={}", id(0)), &Sheet::visitor().bytes(), NOW);
    assert_eq!(staged.session().unwrap().elevate(2), Err(Error::NotLoggedIn));
}

#[test]
fn login_and_elevation_write_the_time_at_which_they_are_committed() {
    for elevates in [false, true] {
        let mut staged = logged_in();
        let session = staged.session().unwrap();
        if elevates {
            session.elevate(7).unwrap()
        } else {
            session.login("alice", &["user"], 7).unwrap()
        }
        close(&mut staged, NOW + 3 * SECOND);
        let record = staged.swap().unwrap().new.clone().unwrap();
        let fresh = Sheet { generation: 6, ..Sheet::login() };
        assert_eq!((record[119], record[120], &record[121..127]), (1, 7, &(NOW + 3 * SECOND).to_be_bytes()[2..]));
        assert_eq!(record[66..70], fresh.generation.to_be_bytes());
        assert_eq!(record[102..108], (NOW + 3 * SECOND).to_be_bytes()[2..], "issued");
        assert_eq!(record[48..54], (NOW + 3 * SECOND).to_be_bytes()[2..], "seen");
    }
}

#[test]
fn every_accessor_makes_the_response_depend_on_the_session() {
    let accessors: [(&str, Step); 21] = [
        ("get", |s| _ = s.get("a")),
        ("get_encoded", |s| _ = s.get_encoded("a").is_some()),
        ("keys", |s| _ = s.keys()),
        ("set", |s| _ = s.set("a", 1)),
        ("remove", |s| s.remove("b")),
        ("clear", Session::clear),
        ("add", |s| _ = s.add("a", 0)),
        ("update", |s| _ = s.update("a", adder(0))),
        ("login", |s| _ = s.login::<&str>("alice", &[], 1)),
        ("elevate", |s| _ = s.elevate(1)),
        ("logout", Session::logout),
        ("rotate", |s| _ = s.rotate()),
        ("set_client", |s| _ = s.set_client(Client::default())),
        ("principal", |s| _ = s.principal().is_some()),
        ("require_role", |s| _ = s.require_role("a")),
        ("is_live", |s| _ = s.is_live()),
        ("state", |s| _ = s.state()),
        ("handle", |s| _ = s.handle()),
        ("trace", |s| _ = s.trace()),
        ("peek, which a binding does before anybody asks", |s| _ = s.peek()),
        ("nothing at all", |_| ()),
    ];
    for (name, access) in accessors {
        let mut staged = logged_in();
        access(staged.session().unwrap());
        close(&mut staged, NOW);
        while staged.swap().is_ok() {
            staged.entered(Listed::default()).unwrap();
        }
        let reply = staged.reply().unwrap();
        assert_eq!(reply.is_touched(), !name.starts_with("peek") && name != "nothing at all", "{name}");
        assert_eq!(reply.vary(None).is_some(), reply.is_touched());
    }
}

#[test]
fn a_trace_tells_what_was_found_and_what_closing_would_write() {
    let mut staged = logged_in();
    let trace = staged.session().unwrap().trace();
    assert_eq!((trace.state, trace.handle, trace.generation), (Some(State::Active), Some(handle()), Some(5)));
    assert_eq!((trace.trips, trace.written), (1, vec![]));
    assert_eq!(
        (trace.idle_left, trace.absolute_left),
        (Some(Duration::from_secs(100)), Some(Duration::from_secs(900)))
    );
    let plans: [(Step, &[Change]); 9] = [
        (
            |s| {
                s.login::<&str>("alice", &[], 1).unwrap();
                s.set("a", 1).unwrap();
            },
            &[Change::Data, Change::LoggedIn],
        ),
        (|s| s.set("a", 1).unwrap(), &[Change::Data]),
        (|s| s.set_client(Client::default()).unwrap(), &[Change::Data]),
        (|s| s.login::<&str>("alice", &[], 1).unwrap(), &[Change::LoggedIn]),
        (|s| s.elevate(1).unwrap(), &[Change::Elevated]),
        (|s| _ = s.rotate(), &[Change::Rotated]),
        (Session::logout, &[Change::Ended]),
        (|s| s.login::<&str>("bob", &[], 1).unwrap(), &[Change::Ended, Change::Created, Change::LoggedIn]),
        (
            |s| {
                s.logout();
                s.set("a", 1).unwrap();
            },
            &[Change::Ended, Change::Created, Change::Data],
        ),
    ];
    for (plan, changes) in plans {
        let mut staged = logged_in();
        plan(staged.session().unwrap());
        assert_eq!(staged.session().unwrap().trace().written, changes);
        staged.session().unwrap().discard();
        assert_eq!(staged.session().unwrap().trace().written, []);
    }
    let mut staged = nobody();
    let trace = staged.session().unwrap().trace();
    assert_eq!((trace.state, trace.handle, trace.generation, trace.trips), (None, None, None, 0));
    assert_eq!((trace.idle_left, trace.absolute_left), (None, None));
    staged.session().unwrap().login::<&str>("alice", &[], 1).unwrap();
    assert_eq!(staged.session().unwrap().trace().written, [Change::Created, Change::LoggedIn]);
    let mut copied = open(&rules(settings()), &id(4), &Sheet::login().bytes(), NOW);
    assert_eq!(copied.session().unwrap().trace().written, [Change::Ended]);
    let old = Sheet { seen: NOW - SECOND, confirmed: 0, ..Sheet::login() };
    let mut staged = open(&rules(settings()), &id(5), &old.bytes(), NOW);
    assert_eq!(staged.session().unwrap().trace().written, [Change::Confirmed, Change::Touched]);
}

#[test]
fn a_reply_tells_the_time_that_is_left_after_the_last_write() {
    let mut staged = open(&rules(settings()), &id(5), &Sheet::login().bytes(), NOW);
    staged.session().unwrap().set("a", 2).unwrap();
    close(&mut staged, NOW + 10 * SECOND);
    staged.entered(Listed::default()).unwrap();
    let trace = staged.reply().unwrap().trace().clone();
    assert_eq!((trace.trips, trace.handle, trace.generation), (2, Some(handle()), Some(5)));
    assert_eq!(
        (trace.idle_left, trace.absolute_left),
        (Some(Duration::from_secs(100)), Some(Duration::from_secs(890)))
    );
}

#[test]
fn a_rotation_says_whether_it_will_take_place() {
    let (confirmed, grace) = (NOW - 20 * SECOND, Previous::Until(digest(secret(4)), NOW + SECOND));
    let rotation = |sheet: Sheet, generation| {
        open(&rules(settings()), &id(generation), &sheet.bytes(), NOW).session().unwrap().rotate()
    };
    let login = Sheet { confirmed, ..Sheet::login() };
    assert_eq!(rotation(login.clone(), 5), Rotation::Rotated);
    assert_eq!(rotation(Sheet { confirmed: confirmed + 1, ..login.clone() }, 5), Rotation::Postponed);
    assert_eq!(rotation(Sheet { confirmed: 0, ..login.clone() }, 5), Rotation::Pending);
    assert_eq!(rotation(Sheet { previous: grace, ..login.clone() }, 4), Rotation::Postponed);
    let pending = Sheet { confirmed: 0, previous: Previous::Pending(digest(secret(4))), ..login.clone() };
    assert_eq!(rotation(pending, 4), Rotation::Pending);
    let visitor = open_header(&rules(settings()), &format!("__Host-visitor={}", id(0)), &Sheet::visitor().bytes(), NOW)
        .session()
        .unwrap()
        .rotate();
    assert_eq!((visitor, nobody().session().unwrap().rotate()), (Rotation::Postponed, Rotation::Postponed));
    let undone: [Step; 3] = [Session::head_sent, |s| s.elevate(1).unwrap(), Session::logout];
    for change in undone {
        let mut staged = logged_in();
        change(staged.session().unwrap());
        assert_eq!(staged.session().unwrap().rotate(), Rotation::Postponed);
    }
}

#[test]
fn a_periodic_rotation_is_due_when_the_id_is_as_old_as_the_policy_says() {
    for (age, due) in [(59, false), (60, true)] {
        let sheet = Sheet { issued: NOW - age * SECOND, ..Sheet::login() };
        let rules = rules(Settings { rotate_every: Some(Duration::from_secs(60)), ..settings() });
        let mut staged = open(&rules, &id(5), &sheet.bytes(), NOW);
        assert_eq!(staged.session().unwrap().trace().written == [Change::Rotated], due);
        close(&mut staged, NOW);
        assert_eq!(staged.swap().is_ok(), due);
    }
}

#[test]
fn a_cookie_that_came_twice_is_not_set_by_any_way() {
    for header in ["__Host-visitor=x; __Host-visitor=y", "__Host-visitor=; __Host-visitor=; __Host-visitor="] {
        let mut staged = open_header(&rules(settings()), header, &[], NOW);
        staged.session().unwrap().set("a", 1).unwrap();
        close(&mut staged, NOW);
        assert_eq!(staged.failure().unwrap().error, Error::DuplicateCookie);
    }
}

#[test]
fn presence_is_written_as_seldom_as_the_policy_says() {
    let touches = |settings: Settings, idle: u64, after: u64| {
        let sheet = Sheet { idle: idle * SECOND, seen: NOW - after, ..Sheet::login() };
        written(open(&rules(settings), &id(5), &sheet.bytes(), NOW)).is_some()
    };
    let at = |touch: Option<u64>| Settings { touch: touch.map(Duration::from_secs), ..settings() };
    // A sixteenth of the record's idle limit, at most a minute; a chosen span, at most half of it.
    for (touch, idle, due) in [(None, 160, 10), (None, 3200, 60), (None, 0, 60), (Some(5), 160, 5), (Some(5), 8, 4)] {
        assert!(!touches(at(touch), idle, due * SECOND - 1), "{touch:?} {idle}");
        assert!(touches(at(touch), idle, due * SECOND), "{touch:?} {idle}");
    }
    assert!(touches(at(Some(5)), 0, 5 * SECOND) && !touches(at(Some(5)), 0, 5 * SECOND - 1));
    let always = Settings { touch: Some(Duration::ZERO), ..settings() };
    assert!(touches(always.clone(), 100, 1) && !touches(always, 100, 0));
}

#[test]
fn development_over_plain_http_is_a_choice_by_name() {
    let policy = Policy::try_from(settings().danger_plain_http()).unwrap();
    assert_eq!((policy.cookie_name(Kind::Login), policy.cookie_name(Kind::Visitor)), ("id", "visitor"));
    let policy = Policy::try_from(settings()).unwrap();
    assert_eq!((policy.cookie_name(Kind::Login), policy.cookie_name(Kind::Visitor)), ("__Host-id", "__Host-visitor"));
}

#[test]
fn a_domain_is_a_bare_host_name() {
    let with = |domain: &str| {
        let cookies = CookieSettings { domain: Some(domain.to_owned()), ..CookieSettings::default() };
        Policy::try_from(Settings { cookies, ..settings() }).err()
    };
    for refused in ["", "a_b.example", "a,b.example", ".example.org", "exämple.org", &"x".repeat(1025)] {
        assert_eq!(with(refused), Some(PolicyError::Cookie(CookieError::Attribute)), "{refused}");
    }
    for taken in ["example.org", "a-b.example", "192.0.2.7", &"x".repeat(1024)] {
        assert_eq!(with(taken), None, "{taken}");
    }
}
