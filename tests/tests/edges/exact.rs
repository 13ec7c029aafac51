//! Borders that are exact to the millisecond, the byte and the call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use coatroom_core::staged::Staged;
use coatroom_core::value::Encoded;
use coatroom_core::{
    Announcement, Change, Closing, CookieSettings, Error, KeyRing, Kind, Loaded, NOT_BEFORE_KEPT, Place, Policy,
    PolicyError, Rotation, SameSite, Session, Settings, Subject, Timestamp, Value,
};
use coatroom_tests::house::{House, error, login, set};
use coatroom_tests::rng::Fixed;
use coatroom_tests::scenarios::settings;
use coatroom_tests::world::RING;

use super::forge::{NOW, SECOND, Sheet, close, handle, id, logged_in, open, rules};

/// How an exchange with this header and handler ends, where only alice's login is stored.
fn ends(header: &str, handler: impl FnOnce(&mut Session)) -> Option<Error> {
    let mut house = House::new(settings());
    house.store.records.insert(handle(), Sheet::login().bytes().into());
    let mut staged = house.open_with(header);
    handler(staged.session().unwrap());
    error(house.finish(staged))
}

#[test]
// spec: COOK-13 1359
fn a_login_cookie_that_came_twice_is_neither_replaced_nor_cleared() {
    let twice = format!("__Host-id={0}; __Host-id={0}", id(5));
    assert_eq!(ends(&twice, |session| login(session, "bob")), Some(Error::DuplicateCookie));
    assert_eq!(ends(&twice, Session::logout), Some(Error::DuplicateCookie));
}

#[test]
// spec: COOK-13 1359
fn a_visitor_cookie_that_came_twice_hinders_nothing_but_a_logout() {
    let twice = format!("__Host-id={}; __Host-visitor=a; __Host-visitor=b", id(5));
    assert_eq!(ends(&twice, |session| set(session, "n", 1)), None);
    assert_eq!(ends(&twice, Session::logout), Some(Error::DuplicateCookie));
}

#[test]
// spec: COOK-7 03b4
fn cookies_of_others_are_nobodys() {
    for header in ["theme=dark", "a=1; b=2; c=3", "id=x; visitor=y; ID=z"] {
        assert_eq!(ends(header, |session| set(session, "n", 1)), None, "{header}");
    }
}

#[test]
// spec: TIME-9 4c66
fn an_exchange_that_closes_at_the_very_limit_writes_the_end() {
    for (later, ended) in [(0, false), (1, true)] {
        // So soon that nothing else is due.
        let sheet = Sheet { deadline: NOW + 10, ..Sheet::login() };
        let mut staged = open(&rules(settings()), &id(5), &sheet.bytes(), NOW);
        close(&mut staged, NOW + 9 + later);
        assert_eq!(staged.swap().is_ok(), ended);
    }
}

#[test]
fn endings_that_were_asked_for_are_told_from_other_writes() {
    let is_ending = |handler: fn(&mut Session)| {
        let mut staged = logged_in();
        handler(staged.session().unwrap());
        let closing = staged.take_session().unwrap().close(Timestamp::from_unix_ms(NOW), &mut Fixed::new(1));
        let Closing::Save(save) = closing else { panic!("a swap") };
        save.is_ending()
    };
    assert!(is_ending(Session::logout));
    assert!(!is_ending(|session| set(session, "n", 1)));
}

#[test]
// spec: WRITE-11 c612
fn a_write_in_doubt_is_so_no_longer_once_another_has_taken_its_place() {
    let after = |version: u64| {
        let mut staged = logged_in();
        set(staged.session().unwrap(), "n", 1);
        close(&mut staged, NOW);
        let theirs = Sheet { version, commits: [2; 32], ..Sheet::login() };
        staged.reloaded(Loaded::Found(theirs.bytes())).unwrap();
        staged.gave_up(Error::Busy).unwrap();
        staged.failure().unwrap().error
    };
    assert_eq!([after(9), after(10)], [Error::Unknown, Error::Busy]);
}

#[test]
// spec: COAT-4 4d5c
fn a_cookie_may_have_the_4096_bytes_that_browsers_keep() {
    let fits = |same_site: SameSite, text: usize| {
        let cookies = CookieSettings { same_site, ..CookieSettings::default() };
        let mut house = House::new(Settings { place: Place::Cookie, cookies, ..settings() });
        let done = house.run(|session| session.set("much", Value::Text("x".repeat(text))).unwrap());
        done.map(|done| done.cookies[0].len())
    };
    // The text grows by four characters for three bytes, so only with another word beside it does one come to each length.
    let longest = |site| (2_600..2_900).map_while(|text| fits(site, text).ok()).last();
    let lengths = [SameSite::Lax, SameSite::None, SameSite::Strict].map(longest);
    assert_eq!(lengths.into_iter().max(), Some(Some(4096)));
}

#[test]
// spec: WRITE-5 6dbe
fn an_update_of_a_value_that_nobody_changed_runs_once() {
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let mut house = House::logged_in(settings());
    house
        .run(|session| {
            let function = move |_: Option<&[u8]>| {
                counted.fetch_add(1, Ordering::SeqCst);
                Encoded::from_bytes(vec![7]).map(Some).map_err(Error::Value)
            };
            session.update("n", Box::new(function)).unwrap();
        })
        .unwrap();
    assert_eq!((runs.load(Ordering::SeqCst), house.value(Kind::Login, "n")), (1, Some(Value::Int(7))));
}

#[test]
// spec: VAL-1 3a73, VAL-2 59d7
fn a_float_is_finite_and_in_its_shortest_form() {
    let reads = |bytes: &[u8]| Encoded::from_bytes(bytes.to_vec()).is_ok();
    assert!(reads(b"\xf9\x3e\x00") && reads(b"\xfa\x47\xc3\x50\x01") && reads(b"\xfb\x3f\xf1\x99\x99\x99\x99\x99\x9a"));
    assert!(!reads(b"\xf9\x7c\x00") && !reads(b"\xf9\x7e\x00"), "endless, and not a number");
    assert!(!reads(b"\xfa\x3f\xc0\x00\x00") && !reads(b"\xfb\x3f\xf8\x00\x00\x00\x00\x00\x00"), "1.5, too long");
}

#[test]
fn an_ended_record_is_kept_for_a_tombstone() {
    let chosen = settings();
    let mut staged = logged_in();
    staged.session().unwrap().logout();
    close(&mut staged, NOW);
    let garbage_at = staged.swap().unwrap().garbage_at;
    assert_eq!(garbage_at, Timestamp::from_unix_ms(NOW).plus(chosen.tombstone));
}

#[test]
// spec: SER-5 a33a
fn what_a_replaced_id_calls_for_leaves_anothers_turn_alone() {
    let mut house = House::logged_in(settings());
    let mut late = house.open();
    set(late.session().unwrap(), "late", 1);
    house.run(|session| assert_eq!(session.rotate(), Rotation::Rotated)).unwrap();
    house.run(|_| ()).unwrap();
    house.now += 20_000;
    let mut turn = super::serial::begin(&mut house, 1);
    assert_eq!(error(house.finish(late)), Some(Error::Superseded));
    assert!(house.front(Kind::Login).lease.is_some());
    set(turn.session().unwrap(), "n", 1);
    house.finish(turn).unwrap();
}

#[test]
// spec: SER-3 4b53, WRITE-11 c612
fn a_write_in_doubt_that_meets_a_turn_where_the_store_went_back_is_unknown() {
    let mut house = House::logged_in(settings());
    let safe = house.store.clone();
    house.run(|session| set(session, "lost", 1)).unwrap();
    let mut doubtful: Staged = house.open();
    set(doubtful.session().unwrap(), "n", 1);
    let mut doubtful = house.close(doubtful);
    house.store = safe;
    let _turn = super::serial::begin(&mut house, 1);
    doubtful.reloaded(house.store.load(house.id(Kind::Login).handle)).unwrap();
    assert_eq!(doubtful.failure().unwrap().error, Error::Unknown);
}

#[test]
fn announcements_come_back_from_their_bytes_and_unknown_ones_do_not() {
    let at = Timestamp::from_unix_ms(NOW);
    for subject in [Subject::Session(handle()), Subject::Principal("ada".to_owned())] {
        let announcement = Announcement { subject, at };
        let bytes = announcement.to_bytes();
        assert_eq!(Announcement::from_bytes(&bytes), Some(announcement));
        assert_eq!(Announcement::from_bytes(&[&[9], &bytes[1..]].concat()), None);
    }
    assert_eq!(Announcement::from_bytes(b"\x01short"), None);
}

#[test]
// spec: SEC-1 89db
fn what_is_printed_for_people_says_whose_and_no_secret() {
    let ring = KeyRing::parse(RING).unwrap();
    let secret = RING.split_once(':').unwrap().1;
    let text = format!("{ring:?}");
    assert!(text == "[1]" && !text.contains(secret), "{text}");
    assert_eq!(format!("{:?}", Subject::Session(handle())), format!("Session({:?})", handle()));
    assert_eq!(format!("{:?}", Subject::Principal("ada".to_owned())), "Principal");
}

#[test]
// spec: IDX-4 667d
fn the_moment_of_a_revocation_is_kept_five_minutes_longer_than_any_login_lasts() {
    assert_eq!(NOT_BEFORE_KEPT.as_secs(), 24 * 3600 + 300);
}

#[test]
// spec: COAT-7 a7fd
fn a_coat_that_is_over_asks_for_no_write() {
    let mut house = House::new(Settings { place: Place::CookieAndDenyList, ..settings() });
    house.run(|session| login(session, "alice")).unwrap();
    house.run(|_| ()).unwrap();
    let before = house.store.records.clone();
    house.now += 10_000 * SECOND;
    let done = house.run(|_| ()).unwrap();
    assert!(!done.written.contains(&Change::Ended) && house.store.records == before, "{:?}", done.written);
}

#[test]
// spec: POL-2 2d84, POL-7 9ee7
fn spans_and_sizes_are_what_the_policy_says_to_the_last() {
    let refused = |chosen: Settings| matches!(Policy::try_from(chosen), Err(PolicyError::Span { .. }));
    let ms = Duration::from_millis;
    let (least, most) = (ms(1), Duration::from_hours(400 * 24));
    let ends = |absolute: Duration| Settings { absolute, idle: None, touch: None, ..settings() };
    assert!(!refused(ends(most)) && refused(ends(most + least)) && refused(ends(Duration::ZERO)));
    let lease = |lease: Duration| Settings { lease, ..settings() };
    let most = Duration::from_mins(5);
    assert!(!refused(lease(least)) && !refused(lease(most)));
    assert!(refused(lease(Duration::ZERO)) && refused(lease(most + least)));
    let rotates =
        |span: Duration| Settings { rotate_every: Some(span), grace: ms(1), skew: Duration::ZERO, ..settings() };
    assert!(!refused(rotates(ms(2))) && refused(rotates(Duration::ZERO)));
    let size = |size: usize| Settings { size, ..settings() };
    assert!(refused(size(511)) && !refused(size(512)) && !refused(size(16 << 20)) && refused(size((16 << 20) + 1)));
}

#[test]
// spec: POL-3 bf55
fn an_assurance_level_is_kept_to_the_millisecond() {
    let more = Duration::from_millis(1);
    let refused = |chosen: Settings| matches!(Policy::try_from(chosen), Err(PolicyError::Assurance { .. }));
    for level in [Settings::aal1(), Settings::aal2(), Settings::aal3()] {
        assert!(!refused(level.clone()));
        assert!(refused(Settings { absolute: level.absolute + more, ..level.clone() }));
        let longer = level.idle.map(|idle| idle + more);
        assert_eq!(refused(Settings { idle: longer, ..level.clone() }), level.idle.is_some());
        assert_eq!(refused(Settings { idle: None, touch: None, ..level.clone() }), level.idle.is_some());
    }
}

#[test]
// spec: COOK-13 1359
fn a_login_leaves_alone_a_visitor_cookie_that_came_twice() {
    let cookies = |header: &str| {
        let mut house = House::new(settings());
        let mut staged = house.open_with(header);
        login(staged.session().unwrap(), "bob");
        let now = house.now;
        house.finish_at(staged, now).unwrap().cookies.len()
    };
    assert_eq!([cookies("__Host-visitor=a"), cookies("__Host-visitor=a; __Host-visitor=b")], [2, 1]);
}

#[test]
// spec: COOK-15 907f, HTTP-1 99c4
fn an_answer_without_a_head_has_no_cookie_and_one_with_a_cookie_depends_on_the_session() {
    let mut house = House::logged_in(settings());
    let old = house.browser.header();
    house.run(|session| assert_eq!(session.rotate(), Rotation::Rotated)).unwrap();
    // The answer to the rotation is asked for again with the id from before.
    for (head_sent, expected) in [(false, (1, true)), (true, (0, false))] {
        let mut staged = house.open_with(&old);
        if head_sent {
            staged.session().unwrap().head_sent();
        }
        let staged = house.close(staged);
        let reply = staged.reply().unwrap();
        assert_eq!((reply.set_cookies().count(), reply.is_touched()), expected);
    }
}

#[test]
fn a_look_at_a_session_shows_what_closing_it_would_write() {
    let mut staged = logged_in();
    let session = staged.session().unwrap();
    assert_eq!(session.peek().trace.written, []);
    set(session, "n", 1);
    assert_eq!(session.peek().trace.written, [Change::Data]);
}

#[test]
// spec: KEY-1 d259
fn a_foreign_character_anywhere_makes_a_text_no_key() {
    for length in [44, 64, 128, 132] {
        let text = "_".repeat(length);
        assert!(KeyRing::parse(&format!("1:{text}")).is_ok());
        for at in 0..length {
            // A stranger whose bits would be those of what it replaces.
            let foreign = format!("1:{}!{}", &text[..at], &text[at + 1..]);
            assert!(KeyRing::parse(&foreign).is_err(), "{length} {at}");
        }
    }
}
