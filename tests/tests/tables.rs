//! The tables in the clauses, read from their pages and held against the code.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use coatroom_core::lifecycle::{Effect, Input};
use coatroom_core::value::ValueError;
use coatroom_core::{
    Assurance, Carry, Cause, Concurrency, CookieSettings, Error, Event, Handle, Kind, Policy, Reuse, SameSite,
    Settings, State,
};

/// The rows of the table in a clause, without its head.
fn table(page: &str, clause: &str) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec/clauses").join(page);
    let text = fs::read_to_string(path).unwrap();
    let (_, body) = text.split_once(&format!("\n#### {clause}\n")).unwrap();
    let body = body.split("\n####").next().unwrap();
    let rows = body.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
// spec: LIFE-1 aad4, LIFE-2 ac29
fn every_cell_of_the_lifecycle_is_what_the_clause_says() {
    let rows = table("lifecycle-and-judging.md", "LIFE-2");
    assert_eq!(rows.len(), State::ALL.len());
    for (row, state) in rows.iter().zip(State::ALL) {
        assert_eq!(row[0], state.name());
        for (cell, input) in row[1..].iter().zip(Input::ALL) {
            let step = state.on(input);
            let also = match step.effect {
                Effect::None => "",
                Effect::CarryData => ", successor carries the data",
                Effect::StartFresh => ", successor carries nothing",
                Effect::EndSuccessor => "; within the grace the successor's session ends, else refused",
                Effect::AnswerSuccessor => "; refused, the answer is the successor",
            };
            assert_eq!(*cell, format!("{}{also}", step.next.name()), "{state:?} {input:?}");
        }
    }
}

#[test]
// spec: LIFE-3 2614
fn the_printed_page_of_the_lifecycle_says_the_same() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec/lifecycle.md");
    let page = fs::read_to_string(page).unwrap();
    for state in State::ALL {
        let also = |effect: Effect| Some(effect.words()).filter(|words| !words.is_empty());
        let cell = |input| {
            let step = state.on(input);
            also(step.effect).map_or(step.next.name().to_owned(), |words| format!("{} ({words})", step.next.name()))
        };
        let row = Input::ALL.map(cell).join(" | ");
        assert!(page.contains(&format!("| **{}** | {row} |", state.name())), "{row}");
    }
}

#[test]
// spec: ERR-1 63c2
fn every_error_has_the_status_that_the_clause_says() {
    let errors = [
        Error::Value(ValueError::TooDeep),
        Error::NotAddable,
        Error::UpdateRefused,
        Error::TooLarge { bytes: 2, limit: 1 },
        Error::BadPrincipal,
        Error::NotLoggedIn,
        Error::HeadSent,
        Error::WrongStage,
        Error::Unlisted,
        Error::Conflict,
        Error::Ended,
        Error::Superseded,
        Error::LogoutRefused,
        Error::DuplicateCookie,
        Error::Revoked,
        Error::LimitReached,
        Error::NotTheirs,
        Error::Unavailable,
        Error::Busy,
        Error::Unknown,
        Error::NoRandomness,
    ];
    let mut said = BTreeMap::new();
    for row in table("errors-events-privacy.md", "ERR-1") {
        let codes = row[1].split('`').skip(1).step_by(2);
        said.extend(codes.map(|code| (code.to_owned(), row[0].parse().unwrap())));
    }
    let is: BTreeMap<_, u16> = errors.iter().map(|error| (error.code().to_owned(), error.status())).collect();
    assert_eq!(is, said);
}

#[test]
// spec: EVT-1 f23d
fn every_event_has_the_name_that_the_clause_says_and_the_handle_where_there_is_one() {
    let handle = Handle::from_bytes([7; 12]);
    let events = [
        Event::Created(handle),
        Event::Presented(handle),
        Event::Rotated(handle),
        Event::LoggedIn(handle),
        Event::Elevated(handle),
        Event::Ended(handle, Cause::Idle),
        Event::Reuse(handle),
        Event::Junk(Kind::Login),
        Event::Duplicate(Kind::Visitor),
        Event::Forged(handle),
        Event::WrongCookie(handle),
        Event::Damaged(handle),
        Event::Unsealed(handle),
        Event::Unopened(handle),
        Event::Newer(handle),
        Event::ClockBehind(handle),
    ];
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec/clauses/errors-events-privacy.md");
    let page = fs::read_to_string(path).unwrap();
    let clause = page.split("#### EVT-1").nth(1).unwrap().split('>').next().unwrap();
    let clause = clause.split_whitespace().collect::<Vec<_>>().join(" ");
    let said: Vec<_> = clause.split('`').skip(1).step_by(2).collect();
    assert_eq!(events.map(Event::name).to_vec(), said);
    for event in events {
        let of_a_cookie = matches!(event, Event::Junk(_) | Event::Duplicate(_));
        assert_eq!(event.handle(), (!of_a_cookie).then_some(handle));
    }
}

#[test]
// spec: POL-1 7884
fn the_defaults_are_those_of_the_clause() {
    let settings = Settings::default();
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    assert_eq!(settings.idle, Some(minutes(30)));
    assert_eq!(settings.touch, None);
    assert_eq!(settings.absolute, minutes(12 * 60));
    assert_eq!(settings.activation, None);
    assert_eq!(settings.skew, Duration::from_secs(5));
    assert_eq!(settings.rotate_every, Some(minutes(15)));
    assert_eq!(settings.grace, Duration::from_secs(30));
    assert_eq!(settings.carry, Carry::All);
    assert_eq!(settings.reuse, Reuse::Destroy);
    assert_eq!(settings.concurrency, Concurrency::Merge);
    assert_eq!(settings.size, 65_536);
    assert_eq!(settings.tombstone, minutes(60));
    let cookies = CookieSettings {
        login: None,
        visitor: None,
        path: "/".to_owned(),
        domain: None,
        same_site: SameSite::Lax,
        max_age: None,
    };
    assert_eq!(settings.cookies, cookies);
    assert_eq!(settings.danger, coatroom_core::Danger::default());
    let policy = Policy::try_from(settings).unwrap();
    assert_eq!([Kind::Login, Kind::Visitor].map(|kind| policy.cookie_name(kind)), ["__Host-id", "__Host-visitor"]);
}

#[test]
// spec: POL-3 bf55
fn each_preset_has_the_limits_of_its_level() {
    let hours = |hours: u64| Duration::from_secs(3600 * hours);
    let limits = |settings: Settings| (settings.absolute, settings.idle, settings.assurance);
    assert_eq!(limits(Settings::aal1()), (hours(30 * 24), None, Some(Assurance::Aal1)));
    assert_eq!(limits(Settings::aal2()), (hours(24), Some(hours(1)), Some(Assurance::Aal2)));
    assert_eq!(limits(Settings::aal3()), (hours(12), Some(hours(1) / 4), Some(Assurance::Aal3)));
}
