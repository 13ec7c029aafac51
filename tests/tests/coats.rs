//! Sessions that live in their cookies: each rule as a story, and each thing that a cookie cannot keep pinned down.

use std::collections::BTreeMap;
use std::time::Duration;

use coatroom_core::staged::{Staged, Waiting};
use coatroom_core::{
    Beyond, Carry, Cause, Change, Concurrency, CookieSettings, Error, Event, Handle, KeyRing, Kind, Limit, Loaded,
    Place, Policy, PolicyError, Reuse, Rotation, Rules, Session, Settings, State, Value,
};
use coatroom_store::memory::Memory;
use coatroom_store::{Driver, Refused};
use coatroom_tests::browser::{Browser, Id, read_line};
use coatroom_tests::house::{Done, House, Outcome, error, login, set};
use coatroom_tests::record::{Front, Previous};
use coatroom_tests::scenarios::{IDLE, SECOND, settings};
use coatroom_tests::targets::coat;
use coatroom_tests::world::RING;

const PLACES: [Place; 2] = [Place::Cookie, Place::CookieAndDenyList];

fn at(place: Place) -> Settings {
    Settings { place, ..settings() }
}

fn house(place: Place) -> House {
    House::new(at(place))
}

/// Alice, who came as a visitor with something in her cart, and was seen once since.
fn alice(place: Place) -> House {
    let mut house = house(place);
    house.run(|session| set(session, "cart", 1)).unwrap();
    house.run(|session| login(session, "alice")).unwrap();
    house.run(|_| ()).unwrap();
    house.now += 20 * SECOND;
    house
}

/// What the jar of this browser says at this house.
fn who(house: &House, browser: &Browser) -> Option<String> {
    let mut staged = house.open_with(&browser.header());
    staged.session().unwrap().principal().map(|principal| principal.name().to_owned())
}

fn get(house: &House, key: &str) -> Option<Value> {
    house.open().session().unwrap().get(key)
}

fn value(browser: &Browser, kind: Kind) -> &str {
    match kind {
        Kind::Login => browser.login.as_deref().unwrap(),
        Kind::Visitor => browser.visitor.as_deref().unwrap(),
    }
}

fn id(text: &str) -> Id {
    Id::read(&text[..88]).unwrap()
}

fn handle(house: &House, kind: Kind) -> Handle {
    id(value(&house.browser, kind)).handle
}

/// What is found with these cookies: state, whether it is live, events.
fn found(house: &House, header: &str) -> (Option<State>, bool, Vec<Event>) {
    let mut staged = house.open_with(header);
    let session = staged.session().unwrap();
    (session.state(), session.is_live(), session.trace().events)
}

/// An exchange by this browser that overlaps with whatever happens until [`House::finish_at`].
fn begin(house: &House, handler: impl FnOnce(&mut Session)) -> Staged {
    let mut staged = house.open();
    handler(staged.session().unwrap());
    staged
}

fn deliver(browser: &mut Browser, done: &Done) {
    done.cookies.iter().for_each(|line| browser.obey(line));
}

#[test]
// spec: COAT-1 f582
fn the_text_of_a_store_says_where_sessions_live() {
    let texts = [
        ("cookie", (Place::Cookie, None)),
        ("cookie+deny:sqlite:/a b", (Place::CookieAndDenyList, Some("sqlite:/a b"))),
        ("cookie-until-login+redis://host", (Place::CookieUntilLogin, Some("redis://host"))),
        ("sqlite:cookie", (Place::Store, Some("sqlite:cookie"))),
        ("cookies", (Place::Store, Some("cookies"))),
        ("cookie+deny:", (Place::CookieAndDenyList, Some(""))),
    ];
    for (text, place) in texts {
        assert_eq!(Place::parse(text), place, "{text}");
    }
}

#[test]
// spec: COAT-1 f582, COAT-5 350e
fn a_session_in_its_cookie_asks_no_store_from_the_first_visit_to_the_logout() {
    let mut house = house(Place::Cookie);
    house.run(|session| set(session, "cart", 1)).unwrap();
    assert!(house.browser.login.is_none() && house.browser.visitor.is_some());
    house.run(|session| login(session, "alice")).unwrap();
    assert!(house.browser.visitor.is_none());
    house.run(|session| set(session, "note", 2)).unwrap();
    let mut staged = house.open();
    let session = staged.session().unwrap();
    assert_eq!((session.get("cart"), session.get("note")), (Some(1.into()), Some(2.into())));
    assert_eq!((session.state(), session.trace().trips), (Some(State::Active), 0));
    session.require_role("user").unwrap();
    session.logout();
    house.finish(staged).unwrap();
    assert_eq!(house.browser, Browser::default());
    assert!(house.store.records.is_empty());
}

#[test]
// spec: COAT-5 350e
fn a_read_sets_no_cookie_and_a_touch_sets_one() {
    for place in PLACES {
        let mut house = alice(place);
        assert_eq!(house.run(|_| ()).unwrap().written, [Change::Touched]);
        let quiet = house.run(|session| drop(session.get("cart"))).unwrap();
        assert!(quiet.cookies.is_empty() && quiet.written.is_empty());
    }
}

#[test]
// spec: COAT-5 350e, CLAIM-7 3c2e
fn every_limit_holds_inside_the_seal() {
    for place in PLACES {
        let mut house = alice(place);
        let old = house.browser.clone();
        house.now += IDLE - 20 * SECOND - 1;
        assert_eq!(house.user().as_deref(), Some("alice"));
        house.now += 1;
        assert_eq!(found(&house, &old.header()).0, Some(State::Expired));
        // Used every minute, over at its deadline.
        let mut house = alice(place);
        for _ in 0..30 {
            house.run(|_| ()).unwrap();
            house.now += 50 * SECOND;
        }
        assert_eq!(found(&house, &house.browser.header()), (Some(State::Expired), false, vec![]));
        // A first id that nobody showed in time.
        let activation = Some(Duration::from_secs(10));
        let mut house = House::new(Settings { activation, ..at(place) });
        house.run(|session| login(session, "alice")).unwrap();
        house.now += 10 * SECOND;
        assert_eq!(found(&house, &house.browser.header()).0, Some(State::Expired));
    }
}

#[test]
// spec: COAT-5 350e, COAT-7 a7fd
fn an_old_cookie_that_is_over_ends_no_newer_one() {
    for place in PLACES {
        let mut house = alice(place);
        let old = house.browser.clone();
        house.now += IDLE / 2;
        house.run(|_| ()).unwrap();
        house.now += IDLE / 2;
        let before = house.store.records.clone();
        let mut staged = house.open_with(&old.header());
        assert!(!staged.session().unwrap().is_live());
        house.finish_at(staged, house.now).unwrap();
        assert!(house.store.records == before);
        assert_eq!(house.user().as_deref(), Some("alice"));
    }
}

#[test]
// spec: COAT-2 25a7, CLAIM-10 1b5f
fn the_cookie_is_the_documented_bytes_and_shows_nothing() {
    let mut house = alice(Place::Cookie);
    house.run(|session| session.set("note", "nobody else's business").unwrap()).unwrap();
    let text = value(&house.browser, Kind::Login).to_owned();
    let (number, _, record) = coat::open(&text).unwrap();
    assert_eq!((number, &text[88..89]), (1, "."));
    let front = Front::read(&record).unwrap();
    assert_eq!((record[0], front.principal.as_deref()), (1, Some("alice")));
    let again = coat::text(&id(&text), &record, 1, [9; 24]);
    house.browser.login = Some(again);
    assert_eq!(get(&house, "note"), Some("nobody else's business".into()));
    let open = coatroom_tests::browser::unbase64(&text[89..]).unwrap();
    for hidden in [&b"alice"[..], b"nobody", b"cart"] {
        assert!(!open.windows(hidden.len()).any(|window| window == hidden));
    }
}

#[test]
// spec: COAT-3 9c05, CLAIM-9 72e0
fn whatever_is_changed_in_a_cookie_it_opens_nothing_and_costs_nothing() {
    for place in PLACES {
        let mut house = alice(place);
        let text = value(&house.browser, Kind::Login).to_owned();
        let stored = house.store.records.clone();
        let mut changed = vec![format!("{text}A"), format!("{text}="), text.replace('.', ""), text.replace('.', "=")];
        changed.extend((0..text.len()).map(|length| text[..length].to_owned()));
        changed.extend((0..text.len()).map(|place| {
            let other = if &text[place..=place] == "A" { "B" } else { "A" };
            format!("{}{other}{}", &text[..place], &text[place + 1..])
        }));
        changed.push(format!("{}.{}", &text[..88], "A".repeat(4_100)));
        for text in changed {
            house.browser.login = Some(text.clone());
            let staged = house.open();
            let done = house.finish_at(staged, house.now).unwrap();
            assert!(done.cookies.is_empty() && done.written.is_empty(), "{text}");
            assert_eq!(house.user(), None, "{text}");
            // What another has logged in to meanwhile is none of its business.
            house.browser.login = None;
            assert!(house.store.records == stored);
        }
    }
}

#[test]
// spec: COAT-3 9c05
fn an_id_alone_and_a_cookie_for_another_place_are_no_session() {
    let plain = House::logged_in(settings());
    let sealed = alice(Place::Cookie);
    let header = |text: &str| format!("__Host-id={text}");
    let junk = |house: &House, text: &str| found(house, &header(text)) == (None, false, vec![Event::Junk(Kind::Login)]);
    assert!(junk(&sealed, &value(&sealed.browser, Kind::Login)[..88]));
    assert!(junk(&sealed, value(&plain.browser, Kind::Login)));
    assert!(junk(&plain, value(&sealed.browser, Kind::Login)));
}

#[test]
// spec: COAT-2 25a7, COAT-3 9c05
fn a_record_opens_beside_its_own_id_alone() {
    for place in PLACES {
        let house = alice(place);
        let mut other = alice(place);
        other.browser = Browser::default();
        other.seed = 900;
        other.run(|session| login(session, "bob")).unwrap();
        let (mine, theirs) = (value(&house.browser, Kind::Login), value(&other.browser, Kind::Login));
        let mixed = format!("{}.{}", &mine[..88], &theirs[89..]);
        let (state, live, events) = found(&house, &format!("__Host-id={mixed}"));
        assert_eq!((state, live), (Some(State::Destroyed), false));
        assert_eq!(events, [Event::Unopened(id(mine).handle)]);
    }
}

#[test]
// spec: COAT-2 25a7, KEY-3 e373
fn keys_go_round_and_a_withdrawn_one_opens_nothing() {
    const NEW: &str = "2:YW5vdGhlciBvYnZpb3VzIHRlc3Qga2V5LCBubyBzZWNyZXQ";
    let mut house = alice(Place::Cookie);
    let old = house.browser.clone();
    let rules = |ring: &str| House::with_ring(at(Place::Cookie), ring).rules;
    house.rules = rules(&format!("{NEW},{RING}"));
    assert_eq!(who(&house, &old).as_deref(), Some("alice"));
    house.run(|session| set(session, "a", 1)).unwrap();
    house.rules = rules(NEW);
    assert_eq!((who(&house, &house.browser).as_deref(), who(&house, &old)), (Some("alice"), None));
    // Of the same number, and another key.
    house.rules = rules(&NEW.replace("2:YW5v", "2:YW5w"));
    assert_eq!(who(&house, &house.browser), None);
}

#[test]
// spec: COAT-5 350e, COOK-9 4619
fn a_cookie_counts_only_under_its_own_name() {
    for place in PLACES {
        let mut house = house(place);
        house.run(|session| set(session, "a", 1)).unwrap();
        let visitor = value(&house.browser, Kind::Visitor).to_owned();
        assert!(!found(&house, &format!("__Host-id={visitor}")).1);
        house.run(|session| login(session, "alice")).unwrap();
        let login = value(&house.browser, Kind::Login).to_owned();
        let (state, live, events) = found(&house, &format!("__Host-visitor={login}"));
        assert_eq!((state, live, events), (Some(State::Destroyed), false, vec![Event::WrongCookie(id(&login).handle)]));
    }
}

#[test]
// spec: COAT-4 4d5c
fn what_no_browser_would_keep_is_refused_before_anything_is_written() {
    for place in PLACES {
        let mut house = alice(place);
        let (before, stored) = (house.browser.clone(), house.store.records.clone());
        let most = most(&house);
        let line = fill(&mut house.clone(), most).unwrap().cookies.remove(0);
        assert!((4090..=4096).contains(&line.len()), "{}", line.len());
        assert!(most > 2_600, "{most}");
        let refused = error(fill(&mut house, most + 1));
        assert!(matches!(refused, Some(Error::TooLarge { bytes, limit: 4096 }) if bytes > 4096), "{refused:?}");
        // A login that cannot be kept changes nothing either, nor does one that leaves a visitor's session behind.
        let long = "a".repeat(4_000);
        let refused = error(house.run(|session| session.login(&long, &["user"], 1).unwrap()));
        assert!(matches!(refused, Some(Error::TooLarge { .. })));
        assert!(house.browser == before && house.store.records == stored);
        assert_eq!(house.user().as_deref(), Some("alice"));
        let mut house = self::house(place);
        house.run(|session| set(session, "cart", 1)).unwrap();
        let refused = error(house.run(|session| session.login(&long, &["user"], 1).unwrap()));
        assert!(matches!(refused, Some(Error::TooLarge { .. })));
        assert!(get(&house, "cart").is_some() && house.store.records.is_empty());
    }
}

/// Puts a text of this length into the session.
fn fill(house: &mut House, bytes: usize) -> Outcome {
    house.run(|session| session.set("much", Value::Text("x".repeat(bytes))).unwrap())
}

/// The longest that its cookie can hold.
fn most(house: &House) -> usize {
    let (mut fits, mut bursts) = (1, 4096);
    while bursts - fits > 1 {
        let middle = usize::midpoint(fits, bursts);
        let place = if fill(&mut house.clone(), middle).is_ok() { &mut fits } else { &mut bursts };
        *place = middle;
    }
    fits
}

#[test]
// spec: COAT-4 4d5c
fn a_touch_that_no_longer_fits_is_left_out_and_the_cookie_stays_good() {
    let mut house = alice(Place::Cookie);
    let most = most(&house);
    fill(&mut house, most).unwrap();
    let cookies = CookieSettings { max_age: Some(Duration::from_hours(24)), ..settings().cookies };
    let longer = Settings { cookies, ..at(Place::Cookie) };
    let elsewhere = Rules::new(Policy::try_from(longer).unwrap(), KeyRing::parse(RING).unwrap());
    house.rules = elsewhere;
    house.now += IDLE / 2;
    let read = house.run(|session| drop(session.get("much"))).unwrap();
    assert!(read.cookies.is_empty(), "{:?}", read.cookies);
    assert_eq!(house.user().as_deref(), Some("alice"));
    let refused = error(house.run(|session| set(session, "n", 1)));
    assert!(matches!(refused, Some(Error::TooLarge { .. })), "{refused:?}");
}

#[test]
// spec: COAT-3 9c05
fn a_cookie_of_a_newer_format_is_unavailable_and_one_of_another_form_is_nobody() {
    let house = alice(Place::Cookie);
    let id = id(value(&house.browser, Kind::Login));
    let shown = |record: &[u8]| {
        let header = format!("__Host-id={}", coat::text(&id, record, 1, [7; 24]));
        let mut staged = house.open_with(&header);
        match staged.failure() {
            Ok(failure) => Err(failure.error),
            Err(_) => Ok(staged.session().unwrap().is_live()),
        }
    };
    assert_eq!(shown(&[3, 1, 2]), Err(Error::Unavailable));
    assert_eq!([shown(&[2, 1, 2]), shown(&[0]), shown(&[])], [Ok(false), Ok(false), Ok(false)]);
}

#[test]
// spec: COAT-8 4b97, CLAIM-1 2a35, LOGIN-2 0c3e
fn a_planted_cookie_never_logs_in_and_shares_no_handle_with_the_login_that_began_with_it() {
    for place in PLACES {
        let mut house = house(place);
        house.run(|session| set(session, "cart", 1)).unwrap();
        let planted = house.browser.clone();
        house.run(|session| login(session, "victim")).unwrap();
        assert_eq!(get(&house, "cart"), Some(1.into()));
        let victim = house.browser.clone();
        assert_eq!(who(&house, &planted), None);
        // The planter logs in with what was planted, as itself.
        house.browser = planted;
        house.run(|session| login(session, "mallory")).unwrap();
        let mallory = id(value(&house.browser, Kind::Login));
        assert_ne!(mallory.handle, id(value(&victim, Kind::Login)).handle);
        assert_eq!(who(&house, &victim).as_deref(), Some("victim"));
        let mut own = house.clone();
        own.browser = victim;
        own.run(|session| set(session, "secret", 2)).unwrap();
        assert_eq!(get(&house, "secret"), None);
        assert_eq!(get(&house, "cart").is_some(), place == Place::Cookie);
    }
}

#[test]
// spec: COAT-8 4b97, LOGIN-2 0c3e, LOGIN-4 e450
fn of_two_logins_that_began_with_one_visitor_the_second_inherits_nothing_where_there_is_a_list() {
    for place in PLACES {
        let mut house = house(place);
        house.run(|session| set(session, "cart", 1)).unwrap();
        let first = begin(&house, |session| login(session, "alice"));
        let second = begin(&house, |session| login(session, "mallory"));
        let now = house.now;
        let (first, second) = (house.finish_at(first, now).unwrap(), house.finish_at(second, now).unwrap());
        for (done, name, inherits) in [(first, "alice", true), (second, "mallory", place == Place::Cookie)] {
            house.browser = Browser::default();
            deliver(&mut house.browser, &done);
            assert_eq!((house.user().as_deref(), get(&house, "cart").is_some()), (Some(name), inherits));
        }
    }
}

#[test]
// spec: COAT-8 4b97, LOGIN-2 0c3e
fn a_login_carries_what_the_policy_says() {
    for place in [Place::Cookie, Place::CookieAndDenyList, Place::CookieUntilLogin] {
        for (carry, kept) in [(Carry::All, 3), (Carry::Nothing, 1), (Carry::Keys(vec!["a".into()]), 2)] {
            let mut house = House::new(Settings { carry, ..at(place) });
            house.run(|session| ["a", "b"].into_iter().for_each(|key| set(session, key, 1))).unwrap();
            house
                .run(|session| {
                    login(session, "alice");
                    set(session, "c", 1);
                })
                .unwrap();
            assert_eq!(house.open().session().unwrap().keys().len(), kept);
        }
    }
}

#[test]
// spec: COAT-9 35a5, COAT-1 f582, COAT-13 914c
fn until_login_nothing_is_stored_and_a_login_moves_in() {
    let mut house = house(Place::CookieUntilLogin);
    house.run(|session| set(session, "cart", 1)).unwrap();
    house.run(|session| set(session, "cart", 2)).unwrap();
    assert!(house.store.records.is_empty());
    let visitor = house.browser.clone();
    house.run(|session| login(session, "alice")).unwrap();
    assert!(house.browser.visitor.is_none());
    assert_eq!(value(&house.browser, Kind::Login).len(), 88);
    assert_eq!((house.store.records.len(), house.value(Kind::Login, "cart")), (1, Some(2.into())));
    // It has all that a session in a store has.
    house.run(|_| ()).unwrap();
    house.now += 20 * SECOND;
    let mut rotation = Rotation::Postponed;
    house.run(|session| rotation = session.rotate()).unwrap();
    assert_eq!(rotation, Rotation::Rotated);
    let thief = house.browser.clone();
    house.run(Session::logout).unwrap();
    assert_eq!(who(&house, &thief), None);
    // What a visitor held is the visitor's still.
    house.browser = visitor;
    assert_eq!((house.user(), get(&house, "cart")), (None, Some(2.into())));
    house.run(|session| set(session, "cart", 3)).unwrap();
    assert_eq!(house.store.records.len(), 1);
}

#[test]
// spec: COAT-10 4ee8
fn an_id_in_a_sealed_cookie_does_not_rotate() {
    for place in PLACES {
        let mut house = House::new(Settings { rotate_every: Some(Duration::from_secs(30)), ..at(place) });
        house.run(|session| login(session, "alice")).unwrap();
        house.run(|_| ()).unwrap();
        let before = id(value(&house.browser, Kind::Login));
        house.now += 60 * SECOND;
        let mut rotation = Rotation::Rotated;
        house.run(|session| rotation = session.rotate()).unwrap();
        assert_eq!((rotation, id(value(&house.browser, Kind::Login))), (Rotation::Postponed, before));
    }
}

#[test]
// spec: COAT-6 40ad, COAT-7 a7fd, CLAIM-2 1248
fn with_a_list_a_logout_is_final_for_every_copy() {
    let mut house = alice(Place::CookieAndDenyList);
    let older = house.browser.clone();
    house.run(|session| set(session, "a", 1)).unwrap();
    let thief = house.browser.clone();
    let late = begin(&house, |session| set(session, "b", 1));
    house.run(Session::logout).unwrap();
    for copy in [&older, &thief] {
        assert_eq!(found(&house, &copy.header()).0, Some(State::Destroyed));
    }
    // Not even what was under way brings it back.
    let now = house.now;
    let done = house.finish_at(late, now).unwrap();
    deliver(&mut house.browser, &done);
    assert_eq!(house.user(), None);
    // As long as any copy opens: it is kept until then, whatever a policy says of ended records.
    let thiefs = handle_of(&thief);
    let front = Front::read(house.store.get(thiefs).unwrap()).unwrap();
    assert!(front.is_ended());
}

fn handle_of(browser: &Browser) -> Handle {
    id(value(browser, Kind::Login)).handle
}

#[test]
// spec: COAT-7 a7fd
fn the_list_remembers_an_end_until_the_last_deadline_of_any_copy() {
    let tombstone = Duration::ZERO;
    let mut house = House::new(Settings { tombstone, ..at(Place::CookieAndDenyList) });
    house.run(|session| login(session, "alice")).unwrap();
    let deadline = Front::read(&coat::open(value(&house.browser, Kind::Login)).unwrap().2).unwrap().deadline;
    // Shorter from now on; the cookies from before say otherwise.
    let absolute = Duration::from_secs(200);
    let shorter = Settings { tombstone, absolute, ..at(Place::CookieAndDenyList) };
    house.rules = House::new(shorter).rules;
    house.run(|session| login(session, "alice")).unwrap();
    for handler in [Session::logout as fn(&mut Session), |session| session.elevate(2).unwrap()] {
        let mut staged = house.open();
        handler(staged.session().unwrap());
        let staged = house.clone().close(staged);
        let swap = staged.swap().unwrap();
        assert!(swap.durable && swap.new.is_some());
        assert!(swap.garbage_at.as_unix_ms() >= deadline, "{}", swap.garbage_at.as_unix_ms());
    }
}

#[test]
// spec: COAT-6 40ad, COAT-7 a7fd, LOGIN-6 5d77
fn with_a_list_an_elevation_and_a_new_login_leave_every_older_copy_dead() {
    let mut house = alice(Place::CookieAndDenyList);
    for handler in
        [|session: &mut Session| session.elevate(2).unwrap(), |session: &mut Session| login(session, "alice")]
    {
        let before = house.browser.clone();
        house.run(handler).unwrap();
        assert_eq!(found(&house, &before.header()).0, Some(State::Regenerated));
        assert_eq!(handle_of(&before), handle_of(&house.browser));
        assert_eq!((house.user().as_deref(), get(&house, "cart")), (Some("alice"), Some(1.into())));
        // A write by the old one is refused, and no cookie answers it.
        let now = house.now;
        let mut staged = house.open_with(&before.header());
        set(staged.session().unwrap(), "a", 1);
        assert_eq!(error(house.finish_at(staged, now)), Some(Error::Superseded));
    }
    // Both at once: one of them stands.
    let first = begin(&house, |session| session.elevate(3).unwrap());
    let second = begin(&house, |session| session.elevate(4).unwrap());
    let now = house.now;
    let first = house.finish_at(first, now).unwrap();
    assert_eq!(error(house.finish_at(second, now)), Some(Error::Superseded));
    deliver(&mut house.browser, &first);
    assert_eq!(house.user().as_deref(), Some("alice"));
}

#[test]
// spec: COAT-7 a7fd, LOGIN-3 2223
fn with_a_list_a_change_of_principal_ends_the_session_before() {
    let mut house = alice(Place::CookieAndDenyList);
    let before = house.browser.clone();
    house.run(|session| login(session, "bob")).unwrap();
    assert_eq!((house.user().as_deref(), get(&house, "cart")), (Some("bob"), None));
    assert_eq!(who(&house, &before), None);
}

#[test]
// spec: COAT-7 a7fd, END-3 5139
fn a_logout_reaches_across_an_elevation_that_came_in_between() {
    let mut house = alice(Place::CookieAndDenyList);
    let logout = begin(&house, Session::logout);
    house.run(|session| session.elevate(2).unwrap()).unwrap();
    let now = house.now;
    house.finish_at(logout, now).unwrap();
    assert_eq!(house.user(), None);
}

#[test]
// spec: COAT-6 40ad
fn a_list_that_went_back_in_time_says_nothing_of_newer_cookies() {
    let mut house = alice(Place::CookieAndDenyList);
    house.run(|session| session.elevate(2).unwrap()).unwrap();
    let list = house.store.records.clone();
    house.run(|session| session.elevate(3).unwrap()).unwrap();
    house.store.records = list;
    let level = |house: &House| house.open().session().unwrap().principal().map(|principal| principal.level());
    assert_eq!(level(&house), Some(3));
}

#[test]
// spec: COAT-6 40ad
fn the_list_holds_who_it_is_from_which_id_on_and_its_own_commits() {
    let mut house = alice(Place::CookieAndDenyList);
    // The login was the first.
    for write in 2..=3 {
        house.run(|session| session.elevate(write).unwrap()).unwrap();
        let id = id(value(&house.browser, Kind::Login));
        let record = &house.store.records[&id.handle];
        let entry = Front::read(record).unwrap();
        assert_eq!((entry.generation, entry.floor, entry.version), (id.generation, id.generation, u64::from(write)));
        let commits = record[10..42].chunks(8).filter(|commit| **commit != [0; 8]);
        assert_eq!(commits.count(), usize::from(write));
        assert_eq!((entry.confirmed, entry.previous, entry.lease), (house.now, Previous::None, None));
    }
}

#[test]
// spec: COAT-6 40ad
fn an_unreadable_entry_of_the_list_denies_and_a_list_out_of_reach_is_unavailable() {
    let house = alice(Place::CookieAndDenyList);
    let begins = || {
        Staged::from(
            house.rules.open(house.browser.header().as_bytes(), coatroom_core::Timestamp::from_unix_ms(house.now)),
        )
    };
    let mut staged = begins();
    assert_eq!(staged.waiting(), Waiting::Load(handle(&house, Kind::Login)));
    staged.found(Loaded::Found(vec![1, 2, 3])).unwrap();
    assert_eq!(staged.session().unwrap().state(), Some(State::Destroyed));
    let mut staged = begins();
    staged.found(Loaded::Unavailable).unwrap();
    assert_eq!(staged.failure().unwrap().error, Error::Unavailable);
    let mut staged = begins();
    staged.found(Loaded::Absent).unwrap();
    assert!(staged.session().unwrap().is_live());
}

#[test]
// spec: COAT-7 a7fd, WRITE-10 a015, WRITE-11 c612
fn a_write_to_the_list_whose_answer_was_lost_is_recognised_and_a_lost_one_is_sent_again() {
    for arrives in [true, false] {
        for (what, handler) in [("logout", Session::logout as fn(&mut Session)), ("login", |s| login(s, "alice"))] {
            let mut house = house(Place::CookieAndDenyList);
            house.run(|session| set(session, "cart", 1)).unwrap();
            let before = house.browser.clone();
            let staged = begin(&house, handler);
            let mut staged = house.close(staged);
            let swap = staged.swap().unwrap().clone();
            if arrives {
                house.store.swap(&swap).unwrap();
            }
            staged.reloaded(house.store.load(swap.handle)).unwrap();
            let done = house.drive(staged).unwrap();
            deliver(&mut house.browser, &done);
            assert_eq!(house.user().is_some(), what == "login");
            assert_eq!(get(&house, "cart").is_some(), what == "login");
            assert!(!found(&house, &before.header()).1);
        }
    }
}

#[test]
// spec: COAT-13 914c
fn without_a_list_an_old_cookie_opens_what_it_holds_until_its_limits() {
    let mut house = alice(Place::Cookie);
    let copy = house.browser.clone();
    house.run(|session| set(session, "cart", 2)).unwrap();
    house.run(Session::logout).unwrap();
    assert_eq!(house.browser, Browser::default());
    // Played back after the logout: claim 2 does not hold.
    house.browser = copy;
    assert_eq!((house.user().as_deref(), get(&house, "cart")), (Some("alice"), Some(1.into())));
    house.now += IDLE;
    assert_eq!(house.user(), None);
}

#[test]
// spec: COAT-13 914c
fn no_copy_is_noticed_with_a_list_or_without() {
    for place in PLACES {
        let mut house = House::new(Settings { idle: None, ..at(place) });
        house.run(|session| login(session, "alice")).unwrap();
        house.run(|_| ()).unwrap();
        let thief = house.browser.clone();
        for _ in 0..5 {
            house.now += 30 * SECOND;
            house.run(|_| ()).unwrap();
            assert!(house.run(|session| _ = session.rotate()).unwrap().events.is_empty());
        }
        // Claim 6 does not hold: both are in use, and nobody learns of it.
        let mut both = [house.browser.clone(), thief];
        for browser in &mut both {
            house.browser = browser.clone();
            assert_eq!(house.user().as_deref(), Some("alice"));
        }
    }
}

#[test]
// spec: COAT-14 b2fa
fn of_two_writes_that_overlap_one_is_lost_and_a_mere_touch_undoes_one() {
    for place in PLACES {
        let mut house = alice(place);
        let first = begin(&house, |session| set(session, "a", 1));
        let second = begin(&house, |session| set(session, "b", 1));
        let touch = begin(&house, |_| ());
        let now = house.now;
        let [first, second, touch] = [first, second, touch].map(|staged| house.finish_at(staged, now).unwrap());
        let mut seen = BTreeMap::new();
        for (name, order) in [("second", [&first, &second]), ("first", [&second, &first]), ("touch", [&first, &touch])]
        {
            let mut house = house.clone();
            order.into_iter().for_each(|done| deliver(&mut house.browser, done));
            seen.insert(name, (get(&house, "a").is_some(), get(&house, "b").is_some()));
        }
        // Claim 3 does not hold.
        assert_eq!(
            seen,
            BTreeMap::from([("first", (true, false)), ("second", (false, true)), ("touch", (false, false))])
        );
    }
}

#[test]
// spec: COAT-14 b2fa
fn a_late_response_brings_a_logout_back_unless_there_is_a_list() {
    for place in PLACES {
        let mut house = alice(place);
        let late = begin(&house, |session| set(session, "a", 1));
        let now = house.now;
        let late = house.finish_at(late, now).unwrap();
        house.run(Session::logout).unwrap();
        deliver(&mut house.browser, &late);
        assert_eq!(house.user().is_some(), place == Place::Cookie);
    }
}

#[test]
// spec: COAT-5 350e, CLAIM-5 e4c7, COOK-10 2607
fn no_response_of_a_visitor_however_late_undoes_a_login() {
    for place in [Place::Cookie, Place::CookieAndDenyList, Place::CookieUntilLogin] {
        let mut house = house(place);
        house.run(|session| set(session, "cart", 1)).unwrap();
        let late = begin(&house, |session| set(session, "a", 1));
        let now = house.now;
        let late = house.finish_at(late, now).unwrap();
        house.run(|session| login(session, "alice")).unwrap();
        deliver(&mut house.browser, &late);
        assert!(late.cookies.iter().all(|line| read_line(line).0 == Kind::Visitor));
        assert_eq!(house.user().as_deref(), Some("alice"));
    }
}

#[test]
// spec: COAT-5 350e, COOK-13 1359
fn a_cookie_that_comes_twice_counts_as_absent() {
    let mut house = alice(Place::Cookie);
    let text = value(&house.browser, Kind::Login).to_owned();
    let twice = format!("__Host-id={text}; __Host-id={text}");
    assert_eq!(found(&house, &twice), (None, false, vec![Event::Duplicate(Kind::Login)]));
    let mut staged = house.open_with(&twice);
    login(staged.session().unwrap(), "alice");
    let now = house.now;
    assert_eq!(error(house.finish_at(staged, now)), Some(Error::DuplicateCookie));
}

#[test]
// spec: COAT-12 ce17
fn what_cookies_cannot_keep_is_refused_at_start() {
    let limit = Some(Limit { sessions: 1, beyond: Beyond::Refuse });
    let settings = |place, change: fn(&mut Settings)| {
        let mut settings = at(place);
        change(&mut settings);
        match Policy::try_from(settings) {
            Ok(_) => None,
            Err(PolicyError::Span { field, .. }) => Some(field),
            Err(other) => panic!("{other:?}"),
        }
    };
    for place in PLACES {
        assert_eq!(settings(place, |s| s.concurrency = Concurrency::Strict), Some("concurrency"));
        assert_eq!(settings(place, |s| s.concurrency = Concurrency::Serial), Some("concurrency"));
        assert_eq!(settings(place, |s| s.reuse = Reuse::RevokeAll), Some("reuse"));
        assert_eq!(Policy::try_from(Settings { limit, ..at(place) }).err().map(|_| ()), Some(()));
    }
    assert_eq!(settings(Place::CookieUntilLogin, |s| s.concurrency = Concurrency::Strict), Some("concurrency"));
    assert_eq!(settings(Place::CookieUntilLogin, |s| s.reuse = Reuse::RevokeAll), None);
    assert!(Policy::try_from(Settings { limit, ..at(Place::CookieUntilLogin) }).is_ok());
}

fn driver(place: Place) -> Driver<Memory> {
    Driver::new(House::new(Settings { place, ..Settings::default() }).rules, Memory::default())
}

fn log_in(driver: &Driver<Memory>, name: &str) -> String {
    let mut session = driver.open_now(b"").unwrap();
    login(&mut session, name);
    let reply = driver.close_now(session).unwrap();
    reply.set_cookies().next().unwrap().split(';').next().unwrap().to_owned()
}

fn user(driver: &Driver<Memory>, cookie: &str) -> Option<String> {
    let mut session = driver.open_now(cookie.as_bytes()).unwrap();
    session.principal().map(|principal| principal.name().to_owned())
}

#[test]
// spec: COAT-11 2527, IDX-3 763e, IDX-5 75ca, CLAIM-8 6865, IDX-8 b396
fn the_list_knows_who_is_logged_in_where() {
    let driver = driver(Place::CookieAndDenyList);
    let [one, two, other] = ["alice", "alice", "bob"].map(|name| log_in(&driver, name));
    let run = coatroom_store::block_on::<std::pin::Pin<Box<dyn Future<Output = ()>>>>;
    run(Box::pin(async {
        let devices = driver.devices("alice").await.unwrap();
        assert_eq!(devices.len(), 2);
        let first = Id::read(&one["__Host-id=".len()..][..88]).unwrap().handle;
        assert!(driver.revoke("alice", first).await.unwrap());
        assert_eq!((user(&driver, &one), user(&driver, &two).as_deref()), (None, Some("alice")));
        assert_eq!(driver.rename_principal("alice", "alicia").await.unwrap(), 1);
        assert_eq!(user(&driver, &two).as_deref(), Some("alicia"));
        assert_eq!(driver.revoke_all("alicia").await.unwrap().ended, 1);
        assert_eq!((user(&driver, &two), user(&driver, &other).as_deref()), (None, Some("bob")));
        assert_eq!(driver.revoke_everything().await.unwrap(), 1);
        assert_eq!(user(&driver, &other), None);
    }));
}

#[test]
// spec: COAT-7 a7fd, IDX-4 667d, CLAIM-8 6865
fn with_a_list_a_login_under_way_does_not_survive_a_revocation_of_all() {
    let driver = driver(Place::CookieAndDenyList);
    let mut session = driver.open_now(b"").unwrap();
    login(&mut session, "alice");
    coatroom_store::block_on(driver.revoke_all("alice")).unwrap();
    let Err(Refused(failure)) = driver.close_now(session) else { panic!("barred") };
    assert_eq!(failure.error, Error::Revoked);
    assert!(failure.events.iter().any(|event| matches!(event, Event::Ended(_, Cause::Revoked))));
}

#[test]
// spec: COAT-11 2527
fn without_a_list_nothing_is_said_of_others_sessions() {
    let driver = driver(Place::Cookie);
    let cookie = log_in(&driver, "alice");
    let handle = Id::read(&cookie["__Host-id=".len()..][..88]).unwrap().handle;
    let unlisted = |result: Result<(), Refused>| assert_eq!(result.unwrap_err().0.error, Error::Unlisted);
    let run = coatroom_store::block_on::<std::pin::Pin<Box<dyn Future<Output = ()>>>>;
    run(Box::pin(async {
        unlisted(driver.devices("alice").await.map(drop));
        unlisted(driver.revoke("alice", handle).await.map(drop));
        unlisted(driver.revoke_others("alice", handle).await.map(drop));
        unlisted(driver.revoke_all("alice").await.map(drop));
        unlisted(driver.revoke_everything().await.map(drop));
        unlisted(driver.rename_principal("alice", "bob").await.map(drop));
    }));
    assert_eq!(user(&driver, &cookie).as_deref(), Some("alice"));
}
