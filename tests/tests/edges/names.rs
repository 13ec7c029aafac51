//! What programs match on and people read: every name is stable, every message says what to do.

use std::collections::BTreeSet;

use coatroom_core::lifecycle::{Effect, Input};
use coatroom_core::value::ValueError;
use coatroom_core::{
    Announcement, Cause, Change, Closing, CookieError, Error, Event, KeyError, Kind, Listed, Listing, Loaded, Opening,
    PolicyError, Remedy, State, Subject, Timestamp,
};
use coatroom_tests::rng::Fixed;
use coatroom_tests::scenarios::settings;

use super::forge::{NOW, Sheet, handle, id, logged_in, rules};

#[test]
fn every_error_has_its_code_its_status_and_a_sentence_of_its_own() {
    use Remedy::{AskAgain, MendTheCall, RetryLater};
    let table = [
        (Error::Value(ValueError::TooDeep), "value", MendTheCall, 500),
        (Error::BadPrincipal, "bad-principal", MendTheCall, 500),
        (Error::NotLoggedIn, "not-logged-in", MendTheCall, 500),
        (Error::HeadSent, "head-sent", MendTheCall, 500),
        (Error::WrongStage, "wrong-stage", MendTheCall, 500),
        (Error::NotAddable, "not-addable", AskAgain, 409),
        (Error::UpdateRefused, "update-refused", AskAgain, 409),
        (Error::TooLarge { bytes: 70_001, limit: 65_536 }, "too-large", AskAgain, 409),
        (Error::Conflict, "conflict", AskAgain, 409),
        (Error::Ended, "ended", AskAgain, 409),
        (Error::Superseded, "superseded", AskAgain, 409),
        (Error::LogoutRefused, "logout-refused", AskAgain, 409),
        (Error::DuplicateCookie, "duplicate-cookie", AskAgain, 409),
        (Error::Revoked, "revoked", AskAgain, 409),
        (Error::LimitReached, "limit-reached", AskAgain, 409),
        (Error::NotTheirs, "not-theirs", AskAgain, 409),
        (Error::Unlisted, "unlisted", MendTheCall, 500),
        (Error::Unavailable, "unavailable", RetryLater, 503),
        (Error::Busy, "busy", RetryLater, 503),
        (Error::Unknown, "unknown", RetryLater, 503),
        (Error::NoRandomness, "no-randomness", RetryLater, 503),
    ];
    for (error, code, remedy, status) in table {
        assert_eq!((error.code(), error.remedy(), error.status()), (code, remedy, status));
    }
    are_sentences(table.map(|(error, ..)| error.to_string()));
    let text = Error::TooLarge { bytes: 70_001, limit: 65_536 }.to_string();
    assert!(text.contains("70001") && text.contains("65536"), "{text}");
    assert_eq!(Error::from(ValueError::TooDeep).to_string(), ValueError::TooDeep.to_string());
}

#[test]
fn refusals_at_start_say_what_is_wrong_and_where() {
    are_sentences([
        KeyError::Empty.to_string(),
        KeyError::Malformed { position: 3 }.to_string(),
        KeyError::Short { position: 3 }.to_string(),
        KeyError::Duplicate { position: 3 }.to_string(),
        CookieError::Name.to_string(),
        CookieError::SameName.to_string(),
        CookieError::Prefix { expected: "__Host-" }.to_string(),
        CookieError::Attribute.to_string(),
        CookieError::InsecureSameSiteNone.to_string(),
        CookieError::MaxAge.to_string(),
        PolicyError::Span { field: "idle", rule: "less than `absolute`" }.to_string(),
        PolicyError::Assurance { field: "idle" }.to_string(),
        ValueError::NotFinite.to_string(),
        ValueError::TooDeep.to_string(),
        ValueError::NotCanonical.to_string(),
    ]);
    for position in [
        KeyError::Malformed { position: 3 }.to_string(),
        KeyError::Short { position: 3 }.to_string(),
        KeyError::Duplicate { position: 3 }.to_string(),
    ] {
        assert!(position.contains("key 3 "), "{position}");
    }
    assert!(CookieError::Prefix { expected: "__Host-" }.to_string().contains("`__Host-`"));
    assert_eq!(PolicyError::Span { field: "idle", rule: "short" }.to_string(), "`idle` must be short");
    assert!(PolicyError::Assurance { field: "idle" }.to_string().starts_with("`idle` "));
    assert_eq!(PolicyError::Cookie(CookieError::MaxAge).to_string(), CookieError::MaxAge.to_string());
}

/// Each is a sentence, and no two are the same.
fn are_sentences<const N: usize>(texts: [String; N]) {
    assert!(texts.iter().all(|text| text.contains(' ') && text.len() > 20), "{texts:?}");
    assert_eq!(texts.iter().collect::<BTreeSet<_>>().len(), N);
}

#[test]
fn every_event_has_its_name_and_the_handle_of_its_session() {
    let of_session = [
        (Event::Created(handle()), "created"),
        (Event::Presented(handle()), "presented"),
        (Event::Rotated(handle()), "rotated"),
        (Event::LoggedIn(handle()), "logged in"),
        (Event::Elevated(handle()), "elevated"),
        (Event::Ended(handle(), Cause::Logout), "ended"),
        (Event::Reuse(handle()), "reuse"),
        (Event::Forged(handle()), "forged id"),
        (Event::WrongCookie(handle()), "wrong cookie"),
        (Event::Damaged(handle()), "damaged record"),
        (Event::Unsealed(handle()), "unsealed record"),
        (Event::Unopened(handle()), "unopened record"),
        (Event::Newer(handle()), "newer record"),
        (Event::ClockBehind(handle()), "clock behind"),
    ];
    for (event, name) in of_session {
        assert_eq!((event.name(), event.handle()), (name, Some(handle())));
    }
    for (event, name) in [(Event::Junk(Kind::Login), "junk id"), (Event::Duplicate(Kind::Visitor), "duplicate cookie")]
    {
        assert_eq!((event.name(), event.handle()), (name, None));
    }
}

#[test]
fn every_cause_and_every_change_has_its_name() {
    let causes = [
        (Cause::Logout, "logout", State::Destroyed),
        (Cause::Idle, "idle", State::Expired),
        (Cause::Absolute, "absolute", State::Expired),
        (Cause::NotActivated, "not activated", State::Expired),
        (Cause::Reuse, "reuse", State::Destroyed),
        (Cause::Replaced, "replaced", State::Destroyed),
        (Cause::Revoked, "revoked", State::Destroyed),
        (Cause::Evicted, "evicted", State::Destroyed),
    ];
    for (cause, name, state) in causes {
        assert_eq!((cause.name(), cause.state()), (name, state));
    }
    let changes = [
        (Change::Created, "created"),
        (Change::Data, "data"),
        (Change::LoggedIn, "logged in"),
        (Change::Elevated, "elevated"),
        (Change::Rotated, "rotated"),
        (Change::Confirmed, "confirmed"),
        (Change::Touched, "touched"),
        (Change::Ended, "ended"),
        (Change::Released, "released"),
        (Change::Renamed, "renamed"),
    ];
    for (change, name) in changes {
        assert_eq!(change.name(), name);
    }
}

#[test]
fn the_twenty_cells_of_the_life_of_an_id_are_these() {
    use Effect::{AnswerSuccessor, CarryData, EndSuccessor, None as Nothing, StartFresh};
    use State::{Active, Created, Destroyed, Expired, Regenerated};
    let rows = [
        (Created, [(Active, Nothing), (Expired, Nothing), (Destroyed, Nothing), (Regenerated, CarryData)]),
        (Active, [(Active, Nothing), (Expired, Nothing), (Destroyed, Nothing), (Regenerated, CarryData)]),
        (Expired, [(Expired, Nothing), (Expired, Nothing), (Destroyed, Nothing), (Regenerated, StartFresh)]),
        (Destroyed, [(Destroyed, Nothing), (Destroyed, Nothing), (Destroyed, Nothing), (Regenerated, StartFresh)]),
        (
            Regenerated,
            [
                (Regenerated, Nothing),
                (Regenerated, Nothing),
                (Regenerated, EndSuccessor),
                (Regenerated, AnswerSuccessor),
            ],
        ),
    ];
    assert_eq!(rows.map(|(state, _)| state), State::ALL);
    for (state, cells) in rows {
        let table = Input::ALL.map(|input| (state.on(input).next, state.on(input).effect));
        assert_eq!(table, cells, "{}", state.name());
    }
    assert_eq!(State::ALL.map(State::name), ["Created", "Active", "Expired", "Destroyed", "Regenerated"]);
    assert_eq!(Input::ALL.map(Input::name), ["Present", "Elapse", "Destroy", "Regenerate"]);
    assert_eq!(Nothing.words(), "");
    are_sentences([CarryData, StartFresh, EndSuccessor, AnswerSuccessor].map(|effect| effect.words().to_owned()));
}

#[test]
fn a_loaded_record_prints_its_size_and_nothing_of_itself() {
    let loaded = [Loaded::Found(vec![171; 4]), Loaded::Absent, Loaded::Unavailable];
    assert_eq!(loaded.map(|loaded| format!("{loaded:?}")), ["Found(4)", "Absent", "Unavailable"]);
}

#[test]
// spec: SEC-1 89db
fn every_stage_prints_what_it_is_and_no_secret() {
    let rules = rules(settings());
    let header = format!("__Host-id={}", id(5));
    let Opening::Load(load) = rules.open(header.as_bytes(), Timestamp::from_unix_ms(NOW)) else { panic!("an id") };
    let name = handle();
    assert_eq!(format!("{load:?}"), format!("Load({name})"));
    let Opening::Ready(mut session) = load.found(Loaded::Found(Sheet::login().bytes())) else { panic!("found") };
    assert_eq!(format!("{session:?}"), format!("Session {{ state: Some(Active), handle: Some({name}), .. }}"));
    let principal = format!("{:?}", session.principal().unwrap());
    assert!(principal.contains("alice") && principal.contains(r#"["editor", "user"]"#), "{principal}");
    session.set("a", 2).unwrap();
    let Closing::Save(save) = session.close(Timestamp::from_unix_ms(NOW), &mut Fixed::new(5)) else {
        panic!("a write")
    };
    let bytes = save.swap().new.as_ref().unwrap().len();
    let (swap, text) = (format!("{:?}", save.swap()), format!("{save:?}"));
    assert!(swap.starts_with(&format!("Swap {{ handle: {name}, expected: Some(")), "{swap}");
    assert!(swap.ends_with(&format!("bytes: Some({bytes}), .. }}")), "{swap}");
    assert_eq!(text, format!("Save({swap})"));
    let Closing::Done(reply) = save.entered(Listed::default()) else { panic!("one write") };
    assert!(format!("{reply:?}").starts_with("Reply { set_cookies: 0, touched: true, trace: Trace {"), "{reply:?}");
    assert_eq!(format!("{:?}", logged_in()), "Staged(Handler)");
}

#[test]
// spec: SEC-1 89db
fn what_waits_for_its_turn_or_for_the_index_prints_no_principal_and_no_value() {
    let now = Timestamp::from_unix_ms(NOW);
    let header = format!("__Host-id={}", id(5));
    let Opening::Load(load) = rules(settings()).open_serial(header.as_bytes(), now, &mut Fixed::new(1)) else {
        panic!("an id")
    };
    let Opening::Take(take) = load.found(Loaded::Found(Sheet::login().bytes())) else { panic!("a turn") };
    assert_eq!(format!("{take:?}"), format!("Take({:?})", take.swap()));
    let leased = take.swap().new.clone().unwrap();
    let found = |record: Vec<u8>| {
        let Opening::Load(load) = rules(settings()).open(header.as_bytes(), now) else { panic!("an id") };
        let Opening::Ready(session) = load.found(Loaded::Found(record)) else { panic!("found") };
        session
    };
    let mut session = found(leased);
    session.set("a", 2).unwrap();
    let peek = format!("{:?}", session.peek());
    assert!(peek.starts_with("Peek { keys: 1, trace: Trace {") && !peek.contains("alice"), "{peek}");
    let Closing::Wait(queued) = session.close(now, &mut Fixed::new(2)) else { panic!("another has its turn") };
    assert_eq!(format!("{queued:?}"), format!("Queued({})", handle()));
    let mut session = found(Sheet::visitor().bytes());
    session.login("bob", &["user"], 1).unwrap();
    let Closing::Save(save) = session.close(now, &mut Fixed::new(3)) else { panic!("a login") };
    let listing = &save.swap().listing;
    let name = listing.entry().unwrap().handle;
    assert_eq!(format!("{listing:?} {:?}", listing.entry().unwrap()), format!("Enter Entry {{ handle: {name}, .. }}"));
    assert_eq!([Listing::Keep, Listing::Leave("bob".into())].map(|listing| format!("{listing:?}")), ["Keep", "Leave"]);
    let Closing::Enter(enter) = save.saved() else { panic!("not entered yet") };
    assert_eq!(format!("{enter:?}"), format!("Enter({:?})", enter.entry()));
}

#[test]
fn an_announcement_is_these_bytes_and_others_are_none() {
    let at = Timestamp::from_unix_ms(0x0102_0304_0506);
    let session = Announcement { subject: Subject::Session(handle()), at };
    let principal = Announcement { subject: Subject::Principal("ada".to_owned()), at };
    let bytes =
        [[&[1, 1, 2, 3, 4, 5, 6][..], handle().as_bytes()].concat(), b"\x02\x01\x02\x03\x04\x05\x06ada".to_vec()];
    for (announcement, bytes) in [session, principal].iter().zip(&bytes) {
        assert_eq!(announcement.to_bytes(), *bytes);
        assert_eq!(Announcement::from_bytes(bytes).as_ref(), Some(announcement));
    }
    for other in [&bytes[0][..18], &bytes[1][..6], &[3, 1, 2, 3, 4, 5, 6], &[2, 1, 2, 3, 4, 5, 6, 0xff]] {
        assert_eq!(Announcement::from_bytes(other), None, "{other:?}");
    }
    let shown =
        [Subject::Session(handle()), Subject::Principal("ada".to_owned())].map(|subject| format!("{subject:?}"));
    assert_eq!(shown, [format!("Session({})", handle()), "Principal".to_owned()]);
}
