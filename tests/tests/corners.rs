//! Rules that the stories of `rules.rs` pass by: small print, each by one small story.

use std::time::Duration;

use coatroom_core::staged::Waiting;
use coatroom_core::{
    Cause, Change, Client, Closing, CookieSettings, Denied, Error, Event, KeyRing, Kind, Loaded, NotOnRecord, Policy,
    Rotation, Rules, SameSite, Session, Settings, State, Timestamp, Value,
};
use coatroom_tests::browser::{Browser, Id, read_line};
use coatroom_tests::house::{House, error, login, set};
use coatroom_tests::record::{Front, Previous};
use coatroom_tests::rng::Fixed;
use coatroom_tests::scenarios::{IDLE, settings};
use coatroom_tests::world::{RING, START};

/// The same house under other settings: a new deployment.
fn redeploy(house: &mut House, settings: Settings) {
    house.rules = Rules::new(Policy::try_from(settings).unwrap(), KeyRing::parse(RING).unwrap());
}

/// The cookie lines of an exchange that creates a session, as bytes only.
fn lines(house: &mut House, handler: impl FnOnce(&mut Session)) -> Vec<String> {
    let mut staged = house.open();
    handler(staged.session().unwrap());
    let staged = house.close(staged);
    house.drive(staged).unwrap().cookies
}

// Cookies.

#[test]
// spec: COOK-6 7a78, COOK-5 2d59
fn the_longest_cookie_that_settings_allow_fits_in_what_browsers_keep() {
    let long = |first: &str, length: usize| format!("{first}{}", "x".repeat(length - first.len()));
    let cookies = CookieSettings {
        login: Some(long("__Secure-id", 256)),
        visitor: Some(long("__Secure-visitor", 256)),
        path: long("/", 1024),
        domain: Some(long("", 1024)),
        same_site: SameSite::Strict,
        max_age: Some(Duration::from_hours(400 * 24)),
    };
    let longest = Settings { cookies: cookies.clone(), ..settings() };
    let mut house = House::new(longest.clone());
    let lines = lines(&mut house, |session| login(session, "alice"));
    assert!(lines.iter().all(|line| line.len() > 2000 && line.len() <= 4096));
    for wrong in [
        CookieSettings { login: Some(long("__Secure-id", 257)), ..cookies.clone() },
        CookieSettings { path: long("/", 1025), ..cookies.clone() },
        CookieSettings { domain: Some(long("", 1025)), ..cookies },
    ] {
        assert!(Policy::try_from(Settings { cookies: wrong, ..longest.clone() }).is_err());
    }
}

#[test]
// spec: COOK-4 50f2
fn max_age_is_what_is_left_of_the_absolute_limit_and_never_zero() {
    let cookies = CookieSettings { max_age: Some(Duration::from_secs(500)), ..CookieSettings::default() };
    let settings = Settings { cookies, idle: None, ..settings() };
    let age = |line: &str| line.split("Max-Age=").nth(1).unwrap().split(';').next().unwrap().parse::<u64>().unwrap();
    let mut house = House::logged_in(settings);
    let told: Vec<u64> = [20_000, 500_001, 700_000, 999_999]
        .into_iter()
        .map(|after| {
            house.now = START + after;
            age(&lines(&mut house.clone(), |session| session.elevate(2).unwrap())[0])
        })
        .collect();
    assert_eq!(told, [500, 499, 300, 1]);
}

#[test]
// spec: COOK-19 3df9
fn a_cookie_is_set_for_an_id_that_is_issued_and_not_for_reading_and_writing_with_a_known_one() {
    let mut house = House::new(settings());
    assert_eq!(house.run(|session| login(session, "alice")).unwrap().cookies.len(), 1);
    assert!(house.run(|_| ()).unwrap().cookies.is_empty());
    assert!(house.run(|session| drop(session.get("a"))).unwrap().cookies.is_empty());
    assert!(house.run(|session| set(session, "a", 1)).unwrap().cookies.is_empty());
}

#[test]
// spec: ID-4 9900, LIFE-7 2908, LIFE-4 4620
fn an_id_whose_record_is_gone_is_never_adopted() {
    for kind in [Kind::Login, Kind::Visitor] {
        let mut house = House::new(settings());
        match kind {
            Kind::Login => house.run(|session| login(session, "alice")).unwrap(),
            Kind::Visitor => house.run(|session| set(session, "a", 1)).unwrap(),
        };
        let presented = house.id(kind);
        house.store.records.clear();
        house.run(|session| set(session, "b", 1)).unwrap();
        let fresh = house.id(Kind::Visitor);
        assert!(fresh.handle != presented.handle && fresh.secret != presented.secret);
        assert_eq!(house.store.records.len(), 1);
    }
}

#[test]
// spec: COOK-17 b93e, LIFE-7 2908
fn a_dead_visitor_id_counts_as_absent() {
    let mut house = House::new(settings());
    house.run(|session| set(session, "a", 1)).unwrap();
    let old = house.browser.visitor.clone();
    house.run(|session| login(session, "alice")).unwrap();
    let alice = std::mem::replace(&mut house.browser, Browser { login: None, visitor: old });
    let done = house.run(|session| set(session, "b", 1)).unwrap();
    assert_eq!(done.cookies.len(), 1);
    assert_ne!(house.id(Kind::Visitor).handle, Id::read(alice.login.as_deref().unwrap()).unwrap().handle);
    assert_eq!((house.value(Kind::Visitor, "a"), house.value(Kind::Visitor, "b")), (None, Some(Value::Int(1))));
    house.browser = alice;
    assert_eq!(house.value(Kind::Login, "b"), None);
}

// Judging.

#[test]
// spec: LIFE-9 b646, LIFE-4 4620
fn the_state_told_is_that_of_the_presented_id() {
    let state = |house: &House| house.open().session().unwrap().state();
    let mut house = House::new(settings());
    assert_eq!(state(&house), None);
    house.run(|session| login(session, "alice")).unwrap();
    assert_eq!(state(&house), Some(State::Active));
    house.run(|_| ()).unwrap();
    assert_eq!(state(&house), Some(State::Active));
    house.now += 20_000;
    let old = house.browser.clone();
    house.run(|session| assert_eq!(session.rotate(), Rotation::Rotated)).unwrap();
    let new = std::mem::replace(&mut house.browser, old);
    assert_eq!(state(&house), Some(State::Regenerated));
    house.browser = new;
    house.run(Session::logout).unwrap();
    assert_eq!(state(&house), None, "the cookie is gone");

    let mut house = House::logged_in(settings());
    let kept = house.browser.clone();
    house.run(Session::logout).unwrap();
    house.browser = kept;
    assert_eq!(state(&house), Some(State::Destroyed));
    let mut house = House::logged_in(settings());
    house.now += 200_000;
    assert_eq!(state(&house), Some(State::Expired));
    house.run(|_| ()).unwrap();
    assert_eq!(state(&house), Some(State::Expired), "and once it is written down");
}

#[test]
// spec: LIFE-6 c808, LIFE-4 4620, ID-5 2023
fn an_id_that_its_record_never_issued_is_refused_and_changes_nothing() {
    let mut house = House::new(settings());
    house.run(|session| set(session, "a", 1)).unwrap();
    let handle = house.id(Kind::Visitor).handle;
    let visitor = house.browser.clone();
    let before = house.store.clone();
    house.run(|session| login(session, "alice")).unwrap();
    let first = house.browser.clone();
    // Another login from where the first one began: the same generation under another secret.
    house.store = before;
    house.browser = visitor.clone();
    house.run(|session| login(session, "alice")).unwrap();
    let second = std::mem::replace(&mut house.browser, first);
    let refused = |house: &mut House| {
        let record = house.store.get(handle).unwrap().to_vec();
        let done = house.run(|session| assert_eq!(session.state(), Some(State::Destroyed))).unwrap();
        assert!(matches!(done.events[..], [Event::Forged(forged)] if forged == handle));
        assert_eq!(house.store.get(handle).unwrap(), record);
    };
    refused(&mut house);
    // A generation above the current one: the store lost a login that was told.
    house.browser = second;
    house.run(|session| login(session, "alice")).unwrap();
    let told = house.browser.clone();
    house.run(|session| login(session, "alice")).unwrap();
    let newest = house.browser.clone();
    house.browser = told;
    let behind = house.store.get(handle).unwrap().to_vec();
    assert_eq!(Front::read(&behind).unwrap().generation, 3);
    house.browser = newest;
    let mut older = behind;
    older[69] = 2;
    older[117] = 2;
    house.store.records.insert(handle, older.into());
    refused(&mut house);
}

#[test]
// spec: LIFE-8 5fb5, LOGIN-6 5d77, LOGIN-1 3794
fn an_id_in_its_grace_logs_in_and_elevates_like_the_current_one() {
    for elevate in [false, true] {
        let mut house = House::logged_in(settings());
        let old = house.browser.clone();
        house.run(|session| assert_eq!(session.rotate(), Rotation::Rotated)).unwrap();
        house.run(|_| ()).unwrap();
        let new = std::mem::replace(&mut house.browser, old.clone());
        let handle = house.id(Kind::Login).handle;
        house.run(|session| if elevate { session.elevate(3).unwrap() } else { login(session, "alice") }).unwrap();
        assert_eq!(house.id(Kind::Login).handle, handle);
        assert_eq!(house.user().as_deref(), Some("alice"));
        for dead in [old, new] {
            house.browser = dead;
            assert_eq!(house.user(), None);
        }
        house.run(|session| assert_eq!(session.elevate(3), Err(Error::NotLoggedIn))).unwrap();
    }
}

#[test]
// spec: TIME-5 3f66, ROT-7 28ec
fn a_refused_id_is_no_use_of_its_session() {
    let mut house = House::logged_in(settings().danger_refuse_reuse_only());
    let old = house.browser.clone();
    house.run(|session| assert_eq!(session.rotate(), Rotation::Rotated)).unwrap();
    house.run(|_| ()).unwrap();
    house.now += 10_000;
    let new = std::mem::replace(&mut house.browser, old);
    let seen = house.front(Kind::Login).seen;
    house.run(|_| ()).unwrap();
    assert_eq!((house.front(Kind::Login).seen, house.front(Kind::Login).previous), (seen, Previous::None));
    let record = house.store.records.clone();
    house.now += 10_000;
    house.run(|_| ()).unwrap();
    assert_eq!(house.store.records, record);
    house.browser = new;
    assert_eq!(house.user().as_deref(), Some("alice"));
}

#[test]
// spec: REUSE-2 b0f2
fn an_id_below_the_floor_is_refused_without_a_reaction_also_if_a_login_came_in_between() {
    for logs_in in [false, true] {
        let mut house = House::logged_in(settings());
        let old = house.browser.clone();
        house.run(|session| assert_eq!(session.rotate(), Rotation::Rotated)).unwrap();
        house.run(|_| ()).unwrap();
        house.now += 10_000;
        let thief = house.open_with(&old.header());
        if logs_in {
            house.run(|session| login(session, "alice")).unwrap();
        }
        let thief = house.close(thief);
        house.drive(thief).unwrap();
        assert_eq!(house.user().is_some(), logs_in);

        let record = house.store.records.clone();
        let new = std::mem::replace(&mut house.browser, old);
        assert_eq!(house.user(), None);
        house.run(|_| ()).unwrap();
        assert_eq!(house.store.records, record);
        house.browser = new;
    }
}

// Writes.

#[test]
// spec: WRITE-15 bde4
fn setting_what_is_there_already_writes_nothing() {
    let mut house = House::logged_in(settings());
    house.run(|session| set(session, "a", 1)).unwrap();
    assert!(house.run(|session| set(session, "a", 1)).unwrap().written.is_empty());
    assert_eq!(house.run(|session| set(session, "a", 2)).unwrap().written, [Change::Data]);
}

#[test]
// spec: WRITE-19 dc98
fn what_a_discarded_exchange_asked_for_is_not_written_and_what_it_noticed_is() {
    let mut house = House::new(settings());
    house.run(|session| login(session, "alice")).unwrap();
    let done = house.run(|session| {
        set(session, "a", 1);
        session.logout();
        login(session, "bob");
        session.discard();
    });
    assert_eq!(done.unwrap().written, [Change::Confirmed]);
    assert_eq!(house.user().as_deref(), Some("alice"));
    assert_eq!(house.value(Kind::Login, "a"), None);
}

#[test]
// spec: STORE-6 aac8
fn a_write_whose_loss_could_bring_a_dead_id_back_is_durable_and_no_other_is() {
    type Case = (fn(&mut House), fn(&mut Session), bool);
    let rotated: fn(&mut House) = |house| {
        house.run(|session| assert_eq!(session.rotate(), Rotation::Rotated)).unwrap();
    };
    let nothing: fn(&mut House) = |_| ();
    let cases: [Case; 8] = [
        (|house| house.browser = Browser::default(), |session| set(session, "a", 1), true),
        (nothing, |session| login(session, "alice"), true),
        (nothing, |session| session.elevate(2).unwrap(), true),
        (nothing, |session| assert_eq!(session.rotate(), Rotation::Rotated), true),
        (rotated, |_| (), true),
        (nothing, Session::logout, true),
        (nothing, |session| set(session, "a", 1), false),
        (|house| house.now += 5_000, |_| (), false),
    ];
    for (number, (before, handler, durable)) in cases.into_iter().enumerate() {
        let mut house = House::logged_in(settings());
        before(&mut house);
        let mut staged = house.open();
        handler(staged.session().unwrap());
        let staged = house.close(staged);
        assert_eq!(staged.swap().unwrap().durable, durable, "{number}");
    }
}

#[test]
// spec: STORE-7 250a, END-5 5fe9
fn a_record_is_garbage_only_after_its_limits_or_its_time_as_a_tombstone() {
    let mut house = House::new(settings());
    let garbage_at = |house: &mut House, handler: fn(&mut Session)| {
        let mut staged = house.open();
        handler(staged.session().unwrap());
        let staged = house.close(staged);
        let at = staged.swap().unwrap().garbage_at.as_unix_ms() - house.now;
        house.drive(staged).unwrap().cookies.iter().for_each(|line| house.browser.obey(line));
        at
    };
    assert_eq!(garbage_at(&mut house, |session| login(session, "alice")), 102_000, "idle and skew");
    house.now = START + 90_000;
    redeploy(&mut house, Settings { idle: None, ..settings() });
    assert_eq!(garbage_at(&mut house, |session| login(session, "alice")), 1_002_000, "absolute and skew");
    assert_eq!(garbage_at(&mut house, Session::logout), 3_600_000, "tombstone");
    redeploy(&mut house, Settings { tombstone: Duration::from_secs(1), ..settings() });
    house.run(|session| login(session, "alice")).unwrap();
    assert_eq!(garbage_at(&mut house, Session::logout), 1_000, "a tombstone shorter than the limits");
}

#[test]
// spec: REC-10 e1a2
fn names_that_are_empty_or_too_long_are_refused() {
    let mut house = House::new(settings());
    let long = "x".repeat(65_536);
    house
        .run(|session| {
            assert_eq!(session.login::<&str>("", &[], 1), Err(Error::BadPrincipal));
            assert_eq!(session.login::<&str>(&long, &[], 1), Err(Error::BadPrincipal));
            assert_eq!(session.login("alice", &["user", ""], 1), Err(Error::BadPrincipal));
            assert_eq!(session.login("alice", &[long.as_str()], 1), Err(Error::BadPrincipal));
            for client in [
                Client { label: long.clone(), ..Client::default() },
                Client { address: long.clone(), ..Client::default() },
            ] {
                assert_eq!(session.set_client(client), Err(Error::BadPrincipal));
            }
        })
        .unwrap();
    assert!(house.store.records.is_empty());
    house.run(|session| session.login("alice", &["b", "a", "b"], 1).unwrap()).unwrap();
    let mut staged = house.open();
    assert_eq!(staged.session().unwrap().principal().unwrap().roles().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
// spec: ERR-3 8717
fn a_call_out_of_turn_is_refused_and_changes_nothing() {
    let mut house = House::logged_in(settings());
    let now = Timestamp::from_unix_ms(house.now);
    let mut staged = house.open();
    assert_eq!(staged.saved(), Err(Error::WrongStage));
    assert_eq!(staged.conflicted(None), Err(Error::WrongStage));
    assert_eq!(staged.reloaded(Loaded::Absent), Err(Error::WrongStage));
    assert_eq!(staged.found(Loaded::Absent), Err(Error::WrongStage));
    assert_eq!(staged.gave_up(Error::Busy), Err(Error::WrongStage));
    assert!(staged.swap().is_err() && staged.reply().is_err() && staged.failure().is_err());
    assert!(staged.take_closing().is_err());
    assert_eq!(staged.waiting(), Waiting::Handler);
    set(staged.session().unwrap(), "a", 1);
    let mut staged = house.close(staged);
    assert!(staged.session().is_err() && staged.take_session().is_err());
    assert_eq!(staged.close(now, &mut Fixed::new(1)), Err(Error::WrongStage));
    assert_eq!(staged.waiting(), Waiting::Swap);
    house.drive(staged).unwrap();
    assert_eq!(house.value(Kind::Login, "a"), Some(Value::Int(1)));
}

// Login and logout.

#[test]
// spec: LOGIN-7 94f7, LOGIN-6 5d77
fn the_record_says_who_is_logged_in_how_and_since_when() {
    let mut house = House::new(settings());
    let mut slow = house.open();
    slow.session().unwrap().login("alice", &["user"], 2).unwrap();
    house.now += 3_000;
    house.finish(slow).unwrap();
    let who = |house: &House| house.open().session().unwrap().principal().cloned().unwrap();
    let alice = who(&house);
    assert_eq!((alice.name(), alice.roles().collect::<Vec<_>>(), alice.level()), ("alice", vec!["user"], 2));
    assert_eq!(alice.authenticated_at().as_unix_ms(), house.now);
    house.now += 1_000;
    house.run(|session| session.elevate(3).unwrap()).unwrap();
    let alice = who(&house);
    assert_eq!((alice.name(), alice.roles().collect::<Vec<_>>(), alice.level()), ("alice", vec!["user"], 3));
    assert_eq!(alice.authenticated_at().as_unix_ms(), house.now);
    house.run(|session| session.login("alice", &["admin"], 1).unwrap()).unwrap();
    assert_eq!(who(&house).roles().collect::<Vec<_>>(), ["admin"]);
}

#[test]
// spec: LOGIN-8 6581
fn a_login_by_the_same_principal_keeps_data_and_handle_whatever_is_carried_from_visitors() {
    let mut house = House::logged_in(Settings { carry: coatroom_core::Carry::Nothing, ..settings() });
    house.run(|session| set(session, "a", 1)).unwrap();
    let before = house.id(Kind::Login);
    house.run(|session| login(session, "alice")).unwrap();
    let after = house.id(Kind::Login);
    assert_eq!((after.handle, after.generation), (before.handle, before.generation + 1));
    assert_eq!(house.value(Kind::Login, "a"), Some(Value::Int(1)));

    house.browser = Browser::default();
    house.run(|session| set(session, "a", 1)).unwrap();
    house.run(|session| login(session, "alice")).unwrap();
    assert_eq!(house.value(Kind::Login, "a"), None);
}

#[test]
// spec: LOGIN-4 e450, LIFE-8 5fb5, WRITE-8 561b
fn a_login_that_finds_its_session_over_starts_a_fresh_one() {
    for past in [0, 100_000] {
        let mut house = House::logged_in(settings());
        house.run(|session| set(session, "a", 1)).unwrap();
        let handle = house.id(Kind::Login).handle;
        let mut slow = house.open();
        login(slow.session().unwrap(), "alice");
        if past == 0 {
            house.run(Session::logout).unwrap();
        }
        house.now += past;
        house.finish(slow).unwrap();
        assert_ne!(house.id(Kind::Login).handle, handle);
        assert_eq!((house.user().as_deref(), house.value(Kind::Login, "a")), (Some("alice"), None));
    }
}

#[test]
// spec: LOGIN-9 c39d
fn a_role_is_asked_of_whoever_is_logged_in() {
    let mut house = House::logged_in(settings());
    house
        .run(|session| {
            assert_eq!(session.require_role("user"), Ok(()));
            assert_eq!(session.require_role("admin"), Err(Denied::Forbidden));
            session.logout();
            assert_eq!(session.require_role("user"), Err(Denied::NotLoggedIn));
        })
        .unwrap();
}

#[test]
fn a_login_is_on_record_once_the_store_has_it_and_until_it_ends() {
    let on_record = |house: &House, handler: fn(&mut Session)| {
        let mut staged = house.open();
        let session = staged.session().unwrap();
        handler(session);
        let found = session.on_record();
        found.map(|found| (found.handle, found.principal.name().to_owned(), found.opened_at, found.ends_at))
    };
    let mut house = House::new(settings());
    assert_eq!(on_record(&house, |_| ()), Err(NotOnRecord::Anonymous));
    assert_eq!(on_record(&house, |session| login(session, "alice")), Err(NotOnRecord::Unsaved));
    house.run(|session| set(session, "cart", 1)).unwrap();
    assert_eq!(on_record(&house, |_| ()), Err(NotOnRecord::Anonymous), "a visitor");
    house.run(|session| login(session, "alice")).unwrap();
    let (handle, began) = (house.id(Kind::Login).handle, house.now);
    house.now += 1_000;
    let times = [house.now, began + IDLE].map(Timestamp::from_unix_ms);
    assert_eq!(on_record(&house, |_| ()), Ok((handle, "alice".to_owned(), times[0], times[1])));
    assert_eq!(on_record(&house, |session| session.elevate(2).unwrap()), Err(NotOnRecord::Unsaved));
    assert_eq!(on_record(&house, Session::logout), Err(NotOnRecord::Ended));
    house.now += IDLE;
    assert_eq!(on_record(&house, |_| ()), Err(NotOnRecord::Ended));
    let said = [NotOnRecord::Anonymous, NotOnRecord::Ended, NotOnRecord::Unsaved].map(|reason| reason.to_string());
    assert!(said[0].contains("nobody") && said[1].contains("over") && said[2].contains("not saved"), "{said:?}");
}

#[test]
// spec: END-6 a23d, COOK-11 b110
fn what_is_set_after_a_logout_goes_to_a_fresh_session_and_nothing_from_before() {
    let mut house = House::logged_in(settings());
    house.run(|session| set(session, "a", 1)).unwrap();
    let old = house.id(Kind::Login).handle;
    let done = house.run(|session| {
        set(session, "before", 1);
        session.logout();
        assert_eq!(session.keys(), Vec::<String>::new());
        set(session, "after", 1);
    });
    let cookies = done.unwrap().cookies;
    assert_eq!(
        cookies.iter().map(|line| (read_line(line).0, read_line(line).2)).collect::<Vec<_>>(),
        [(Kind::Login, true), (Kind::Visitor, false)]
    );
    assert_ne!(house.id(Kind::Visitor).handle, old);
    let keys: Vec<_> =
        coatroom_tests::record::data(house.store.get(house.id(Kind::Visitor).handle).unwrap()).into_keys().collect();
    assert_eq!(keys, ["after"]);
}

#[test]
// spec: END-7 dcc3, COOK-11 b110, END-5 5fe9
fn a_logout_that_finds_nothing_to_end_is_acknowledged() {
    for tombstone in [Duration::ZERO, Duration::from_secs(60)] {
        let mut house = House::logged_in(Settings { tombstone, ..settings() });
        let mut late = house.open();
        late.session().unwrap().logout();
        let left = house.browser.clone();
        house.run(Session::logout).unwrap();
        assert_eq!(house.open_with(&left.header()).session().unwrap().state(), Some(State::Destroyed));
        assert_eq!(house.finish(late).unwrap().cookies.len(), 2);
        assert_eq!(house.run(Session::logout).unwrap().cookies.len(), 2, "nobody was there");
    }
}

// Rotation and time.

#[test]
// spec: ROT-1 5391
fn a_login_rotates_when_its_time_has_come_and_a_visitor_never() {
    let mut house = House::new(Settings { rotate_every: Some(Duration::from_secs(60)), ..settings() });
    house.run(|session| login(session, "alice")).unwrap();
    house.run(|_| ()).unwrap();
    for (after, rotates) in [(59_999, false), (60_000, true)] {
        house.now = START + after;
        let done = house.run(|_| ()).unwrap();
        assert_eq!(done.written.contains(&Change::Rotated), rotates, "after {after} ms");
        assert_eq!(done.cookies.len(), usize::from(rotates));
    }
    let mut house = House::new(Settings { rotate_every: Some(Duration::from_secs(60)), ..settings() });
    house.run(|session| set(session, "a", 1)).unwrap();
    house.run(|_| ()).unwrap();
    house.now += 90_000;
    let done = house.run(|session| assert_eq!(session.rotate(), Rotation::Postponed)).unwrap();
    assert!(done.cookies.is_empty() && !done.written.contains(&Change::Rotated));
}

#[test]
// spec: ROT-8 2467
fn a_rotation_keeps_principal_floor_limits_and_data() {
    let mut house = House::logged_in(settings());
    house.run(|session| set(session, "a", 1)).unwrap();
    let before = house.front(Kind::Login);
    house.run(|session| assert_eq!(session.rotate(), Rotation::Rotated)).unwrap();
    let after = house.front(Kind::Login);
    assert_eq!(after.generation, before.generation + 1);
    assert_eq!(
        (after.principal, after.floor, after.created, after.deadline, after.idle),
        (before.principal, before.floor, before.created, before.deadline, before.idle)
    );
    assert_eq!(house.value(Kind::Login, "a"), Some(Value::Int(1)));
}

#[test]
// spec: TIME-12 144d, LOGIN-5 2b46, TIME-3 cd01
fn other_limits_count_from_the_next_login_on() {
    let mut house = House::logged_in(settings());
    house.run(|_| ()).unwrap();
    let short = Duration::from_secs(10);
    redeploy(&mut house, Settings { idle: Some(short), absolute: Duration::from_secs(50), ..settings() });
    let front = house.front(Kind::Login);
    house.now += 99_999;
    assert_eq!(house.user().as_deref(), Some("alice"));
    house.run(|session| session.elevate(2).unwrap()).unwrap();
    assert_eq!((house.front(Kind::Login).idle, house.front(Kind::Login).deadline), (front.idle, front.deadline));
    house.run(|session| login(session, "alice")).unwrap();
    assert_eq!((house.front(Kind::Login).idle, house.front(Kind::Login).deadline), (10_000, house.now + 50_000));
    house.now += 10_000;
    assert_eq!(house.user(), None);
}

#[test]
// spec: POL-6 c7ec
fn a_touch_that_is_set_is_at_most_half_of_the_records_own_idle_limit() {
    let mut house = House::logged_in(settings());
    house.run(|_| ()).unwrap();
    let long = Some(Duration::from_secs(200));
    redeploy(&mut house, Settings { idle: long, touch: Some(Duration::from_secs(90)), ..settings() });
    house.now += 49_999;
    assert!(house.run(|_| ()).unwrap().written.is_empty());
    house.now += 1;
    assert_eq!(house.run(|_| ()).unwrap().written, [Change::Touched]);
}

#[test]
// spec: POL-1 7884, TIME-4 c482
fn without_a_touch_of_its_own_a_sixteenth_of_the_idle_limit_counts_and_a_minute_at_most() {
    for (idle, due) in [(Some(160), 10_000), (Some(16 * 90), 60_000), (None, 60_000)] {
        let idle = idle.map(Duration::from_secs);
        let mut house = House::logged_in(Settings { idle, touch: None, ..settings() });
        house.run(|session| set(session, "a", 1)).unwrap();
        house.now += due - 1;
        assert!(house.run(|_| ()).unwrap().written.is_empty());
        house.now += 1;
        assert_eq!(house.run(|_| ()).unwrap().written, [Change::Touched]);
    }
}

#[test]
// spec: TIME-1 cd5f
fn times_end_with_what_a_record_can_say() {
    let last = Timestamp::from_unix_ms((1 << 48) - 1);
    assert_eq!(Timestamp::from_unix_ms(1 << 48), last);
    assert_eq!(last.plus(Duration::from_millis(1)), last);
    assert_eq!(Timestamp::from_unix_ms(5).plus(Duration::MAX), last);
    assert_eq!(Timestamp::from_unix_ms(5).plus(Duration::from_millis(3)).as_unix_ms(), 8);
    assert_eq!([3, 6].map(|ms| Timestamp::from_unix_ms(5).minus(Duration::from_millis(ms)).as_unix_ms()), [2, 0]);
    let mut house = House::new(settings());
    house.now = u64::MAX;
    house.run(|session| login(session, "alice")).unwrap();
    assert_eq!(house.front(Kind::Login).deadline, (1 << 48) - 1);
    assert_eq!(house.user(), None, "at the end of time every limit has passed");
}

// Events.

#[test]
// spec: EVT-1 f23d, EVT-2 a367
fn a_life_reports_each_step_once_and_with_its_handle() {
    let mut house = House::new(settings());
    let mut told = house.run(|session| set(session, "a", 1)).unwrap().events;
    told.extend(house.run(|session| login(session, "alice")).unwrap().events);
    told.extend(house.run(|_| ()).unwrap().events);
    house.now += 20_000;
    told.extend(house.run(|session| assert_eq!(session.rotate(), Rotation::Rotated)).unwrap().events);
    told.extend(house.run(|session| set(session, "a", 2)).unwrap().events);
    told.extend(house.run(|session| session.elevate(2).unwrap()).unwrap().events);
    let handle = house.id(Kind::Login).handle;
    told.extend(house.run(Session::logout).unwrap().events);
    let names: Vec<_> = told.iter().map(|event| event.name()).collect();
    let life = "created, presented, logged in, presented, rotated, presented, elevated, ended";
    assert_eq!(names.join(", "), life);
    assert!(told.iter().all(|event| event.handle() == Some(handle)));
    assert_eq!(told.last(), Some(&Event::Ended(handle, Cause::Logout)));
}

#[test]
// spec: EVT-2 a367
fn a_write_that_was_refused_is_not_reported() {
    let mut house = House::logged_in(settings());
    let mut slow = house.open();
    slow.session().unwrap().logout();
    let mut slow = house.close(slow);
    let Closing::Save(save) = slow.take_closing().unwrap() else { panic!("nothing to save") };
    let closing = save.gave_up(Error::Unavailable);
    let Closing::Failed(failure) = closing else { panic!("a logout is no touch") };
    assert_eq!((failure.error, failure.events), (Error::Unavailable, vec![]));
    assert_eq!(error(house.run(|session| set(session, "a", 1))), None);
}
