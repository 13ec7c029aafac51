//! What those who run a site are told: each step once, by its handle, and nothing that opens a session or names a person.

#[path = "observe/listener.rs"]
mod listener;
#[path = "observe/site.rs"]
mod site;

use coatroom_core::{Beyond, Closing, Concurrency, Error, Limit, Opening, Reuse, Rotation, Session, Settings};
use coatroom_tests::browser::Browser;
use tracing::Level;

use listener::{Heard, Told, listening};
use site::{Act, Site, error, login};

/// What was told of sessions: all but calls of the store and exchanges that went well.
fn steps(told: Vec<Told>) -> Vec<Told> {
    let is_step = |told: &Told| !told.is_span && !["store call", "exchange done"].contains(&told.what.as_str());
    told.into_iter().filter(is_step).collect()
}

fn names(told: &[Told]) -> String {
    told.iter().map(|told| told.what.as_str()).collect::<Vec<_>>().join(", ")
}

#[test]
// spec: EVT-1 f23d, EVT-2 a367
fn each_step_of_a_life_is_told_once_by_its_handle_and_at_the_level_of_who_has_to_act() {
    listening(|heard| {
        let (site, mut browser) = (Site::new(heard), Browser::default());
        let handle = site.run(&mut browser, |session| session.set("n", 1).unwrap()).unwrap().trace().handle.unwrap();
        site.run(&mut browser, |_| ()).unwrap();
        site.run(&mut browser, |session| login(session, "alice")).unwrap();
        site.run(&mut browser, |_| ()).unwrap();
        site.wait(61_000);
        site.run(&mut browser, |session| assert_eq!(session.rotate(), Rotation::Rotated)).unwrap();
        site.run(&mut browser, |_| ()).unwrap();
        site.run(&mut browser, |session| session.elevate(2).unwrap()).unwrap();
        site.run(&mut browser, Session::logout).unwrap();

        let steps = steps(heard.take());
        let life = "created, presented, logged in, presented, rotated, presented, elevated, ended";
        assert_eq!(names(&steps), life);
        assert!(steps.iter().all(|step| step.field("handle") == Some(&handle.to_string())), "{steps:?}");
        assert_eq!(steps.last().unwrap().field("cause"), Some("logout"));
        for step in &steps {
            let lasting = ["logged in", "elevated", "ended"].contains(&step.what.as_str());
            assert_eq!(step.level, if lasting { Level::INFO } else { Level::DEBUG }, "{step:?}");
        }
        for (key, figure) in [
            ("coatroom_exchanges_total{outcome=done}", 8.0),
            ("coatroom_transitions_total{to=created}", 1.0),
            ("coatroom_transitions_total{to=presented}", 3.0),
            ("coatroom_transitions_total{to=logged in}", 1.0),
            ("coatroom_transitions_total{to=rotated}", 1.0),
            ("coatroom_transitions_total{to=elevated}", 1.0),
            ("coatroom_ended_total{cause=logout}", 1.0),
            ("coatroom_store_seconds{operation=load,outcome=found}", 7.0),
            ("coatroom_store_seconds{operation=swap,outcome=done}", 8.0),
        ] {
            assert_eq!(heard.figure(key), figure, "{key} of {:?}", heard.keys());
        }
    });
}

/// A way to drive an exchange.
type Way = fn(&Site, &Browser);

#[test]
// spec: EVT-1 f23d
fn an_exchange_is_told_once_whichever_way_it_is_driven() {
    let ways: [(&str, Way); 5] = [
        ("asynchronously", |site, browser| drop(site.exchange(browser, |session| session.set("n", 1).unwrap()))),
        ("now", |site, browser| {
            let mut session = site.near.open_now(browser.header().as_bytes()).unwrap();
            session.set("n", 1).unwrap();
            site.near.close_now(session).unwrap();
        }),
        ("now, and nothing to write", |site, browser| {
            site.near.close_now(site.near.open_now(browser.header().as_bytes()).unwrap()).unwrap();
        }),
        ("without waiting", |site, browser| {
            let mut session = site.near.open_now(browser.header().as_bytes()).unwrap();
            session.set("n", 1).unwrap();
            let closing = site.near.finish_without_waiting(site.near.start_closing(session));
            assert!(matches!(closing, Closing::Done(_)));
        }),
        ("in turn, without waiting", |site, browser| {
            let opening = site.near.open_serial_without_waiting(browser.header().as_bytes());
            let Opening::Ready(session) = opening else { panic!("an engine answers at once") };
            site.near.close_now(session).unwrap();
        }),
    ];
    for (way, exchange) in ways {
        listening(|heard| {
            let site = Site::new(heard);
            let junk = Browser { login: Some("junk".into()), ..Browser::default() };
            exchange(&site, &junk);
            let told = heard.take();
            let count = |what| told.iter().filter(|told| told.what == what).count();
            assert_eq!((count("exchange done"), count("junk id")), (1, 1), "{way}: {told:?}");
            assert_eq!(heard.figure("coatroom_exchanges_total{outcome=done}"), 1.0, "{way}");
            assert_eq!(heard.figure("coatroom_junk_ids_total{cookie=login}"), 1.0, "{way}");
        });
    }
}

#[test]
// spec: EVT-1 f23d
fn what_a_stranger_can_bring_about_at_will_is_no_warning() {
    listening(|heard| {
        let site = Site::new(heard);
        site.open_with("__Host-id=junk; __Host-visitor=1; __Host-visitor=2");
        let steps = steps(heard.take());
        assert_eq!(names(&steps), "junk id, duplicate cookie");
        assert_eq!(steps.iter().map(|step| step.field("cookie")).collect::<Vec<_>>(), [Some("login"), Some("visitor")]);
        assert!(steps.iter().all(|step| step.level == Level::DEBUG && step.field("handle").is_none()), "{steps:?}");
        assert_eq!(heard.figure("coatroom_odd_cookies_total{event=duplicate cookie}"), 1.0);
    });
}

#[test]
// spec: EVT-1 f23d, REUSE-1 3573
fn a_copied_id_is_a_warning_and_the_end_of_all_that_follows_from_it_is_told() {
    listening(|heard| {
        let site = Site::with(heard, |settings| settings.reuse = Reuse::RevokeAll);
        let (mut browser, handle) = site.login("alice");
        let (_, other) = site.login("alice");
        site.run(&mut browser, |_| ()).unwrap();
        let copy = browser.clone();
        site.wait(61_000);
        site.run(&mut browser, |session| assert_eq!(session.rotate(), Rotation::Rotated)).unwrap();
        site.run(&mut browser, |_| ()).unwrap();
        site.wait(61_000);
        heard.take();
        site.exchange(&copy, |_| ()).unwrap();
        let steps = steps(heard.take());
        assert_eq!(names(&steps), "reuse, ended, ended, all revoked");
        let of = |at: usize| (steps[at].level, steps[at].field("handle"), steps[at].field("cause"));
        let (handle, other) = (handle.to_string(), other.to_string());
        assert_eq!(of(0), (Level::WARN, Some(handle.as_str()), None));
        assert_eq!(of(1), (Level::INFO, Some(handle.as_str()), Some("reuse")));
        assert_eq!(of(2), (Level::INFO, Some(other.as_str()), Some("revoked")));
        assert_eq!(steps[3].field("ended"), Some("1"));
        assert_eq!(heard.figure("coatroom_reuse_total"), 1.0);
        assert_eq!(heard.figure("coatroom_ended_total{cause=reuse}"), 1.0);
        assert_eq!(heard.figure("coatroom_ended_total{cause=revoked}"), 1.0);
    });
}

#[test]
// spec: EVT-1 f23d
fn changes_by_handle_are_told_as_the_exchanges_are() {
    listening(|heard| {
        let beyond = Limit { sessions: 2, beyond: Beyond::EvictOldest };
        let site = Site::with(heard, |settings| settings.limit = Some(beyond));
        let logins = ["alice"; 3].map(|name| {
            site.wait(1000);
            site.login(name).1.to_string()
        });
        let told = steps(heard.take());
        let evicted = told.iter().find(|step| step.field("cause") == Some("evicted")).unwrap();
        assert_eq!((evicted.level, evicted.field("handle")), (Level::INFO, Some(logins[0].as_str())));

        assert_eq!(site.rename("alice", "carol"), 2);
        assert_eq!(site.revoke_all("carol"), 2);
        let told = steps(heard.take());
        assert_eq!(names(&told), "renamed, renamed, ended, ended, all revoked");
        let mut handles: Vec<_> = told.iter().filter_map(|step| step.field("handle")).collect();
        handles.sort_unstable();
        handles.dedup();
        assert_eq!(handles.len(), 2);
        assert_eq!(heard.figure("coatroom_transitions_total{to=renamed}"), 2.0);
        assert_eq!(heard.figure("coatroom_changes_total{outcome=done}"), 5.0);
        assert_eq!(heard.figure("coatroom_ended_total{cause=revoked}"), 2.0);
    });
}

#[test]
// spec: EVT-2 a367, STORE-5 5484
fn an_outage_is_a_warning_for_each_answer_and_nothing_that_it_prevented_is_told_as_done() {
    listening(|heard| {
        let site = Site::new(heard);
        let (browser, handle) = site.login("alice");
        heard.take();
        site.store().loads_fail(true);
        assert_eq!(site.open_with(&browser.header()), Some(Error::Unavailable));
        let told = steps(heard.take());
        assert_eq!(names(&told), "exchange refused");
        assert_eq!((told[0].level, told[0].field("error")), (Level::WARN, Some("unavailable")));
        site.store().loads_fail(false);

        let session = site.open(&browser);
        site.store().act(&[], Act::Refuse);
        assert_eq!(error(site.close(session, Session::logout)), Some(Error::Unavailable));
        let told = steps(heard.take());
        let (warnings, rest): (Vec<_>, Vec<_>) = told.into_iter().partition(|step| step.level == Level::WARN);
        assert_eq!(names(&warnings), "exchange refused");
        assert!(rest.len() > 100, "ten seconds of attempts");
        let handle = handle.to_string();
        let is_attempt = |step: &Told| step.what == "retry" && step.field("handle") == Some(&handle);
        assert!(rest.iter().all(is_attempt), "{rest:?}");
        assert_eq!(heard.figure("coatroom_ended_total{cause=logout}"), 0.0);
        assert_eq!(heard.figure("coatroom_exchanges_total{outcome=unavailable}"), 2.0);
        assert_eq!(heard.figure("coatroom_retries_total{why=outage}"), rest.len() as f64);
        assert_eq!(heard.figure("coatroom_store_seconds{operation=load,outcome=unavailable}"), 1.0);
    });
}

#[test]
fn conflicts_and_second_attempts_are_counted_by_what_they_meet() {
    listening(|heard| {
        let site = Site::with(heard, |settings| settings.concurrency = Concurrency::Serial);
        let (mut browser, _) = site.login("alice");
        site.run(&mut browser, |_| ()).unwrap();
        let (first, second) = (site.open(&browser), site.open(&browser));
        for session in [first, second] {
            site.close(session, |session| assert!(session.add("n", 1).is_ok())).unwrap();
        }
        assert_eq!(heard.figure("coatroom_conflicts_total{where=store}"), 1.0);

        site.store().act(&[Act::DoUnheard], Act::Obey);
        site.run(&mut browser, |session| assert!(session.add("n", 1).is_ok())).unwrap();
        assert_eq!(heard.figure("coatroom_retries_total{why=doubt}"), 1.0);

        let holder = site.open_serial(&browser).unwrap();
        assert_eq!(site.open_serial(&browser).err(), None, "the lease of a holder that does not close runs out");
        assert!(heard.figure("coatroom_retries_total{why=turn}") > 100.0);
        drop(holder);
        let told = heard.take();
        assert!(told.iter().filter(|told| told.what == "retry").all(|told| told.level == Level::DEBUG));
    });
}

#[test]
// spec: EVT-1 f23d
fn a_damaged_record_is_a_warning() {
    listening(|heard| {
        let site = Site::new(heard);
        let (browser, handle) = site.login("alice");
        site.store().damage(handle);
        heard.take();
        site.exchange(&browser, |_| ()).unwrap();
        let told = steps(heard.take());
        assert_eq!((names(&told).as_str(), told[0].level), ("damaged record", Level::WARN));
        assert_eq!(told[0].field("handle"), Some(handle.to_string().as_str()));
        assert_eq!(heard.figure("coatroom_unread_records_total{event=damaged record}"), 1.0);
    });
}

#[test]
fn sessions_that_end_or_expire_are_counted_as_live_no_more() {
    listening(|heard| {
        let site = Site::new(heard);
        let mut browsers: Vec<_> = (0..5).map(|_| site.login("alice").0).collect();
        let live = || {
            site.wait(1000);
            site.login("bob");
            heard.figure("coatroom_sessions_live")
        };
        assert_eq!(live(), 6.0);
        site.run(&mut browsers[0], Session::logout).unwrap();
        assert_eq!(live(), 6.0, "one went, one came");
        site.wait(29 * 60_000);
        site.run(&mut browsers[1], |_| ()).unwrap();
        site.wait(60_000);
        assert_eq!(live(), 2.0, "who used theirs in the last half an hour");
    });
}

/// Whether nothing of this is told, whole or in hexadecimal or as a list of bytes.
fn assert_untold(heard: &Heard, told: &[Told], secrets: &[String]) {
    let mut texts = heard.keys();
    texts.extend(told.iter().map(|told| format!("{} {:?}", told.what, told.fields)));
    for text in &texts {
        for secret in secrets {
            assert!(!text.contains(secret.as_str()), "`{secret}` in {text}");
        }
    }
}

#[test]
// spec: SEC-1 89db, CLAIM-10 1b5f
fn no_id_secret_principal_client_or_data_is_told_at_any_level() {
    listening(|heard| {
        let limit = Limit { sessions: 2, beyond: Beyond::EvictIdlest };
        let private = |settings: &mut Settings| (settings.limit, settings.reuse) = (Some(limit), Reuse::RevokeAll);
        let site = Site::with(heard, private);
        let mut secrets = Vec::new();
        let mut shown = |browser: &Browser| secrets.extend(site::forms_of(browser));
        let mut browser = Browser::default();
        let mut copy = browser.clone();
        for number in 0..4 {
            site.run(&mut browser, |session| session.set("a private key", "a private value").unwrap()).unwrap();
            shown(&browser);
            site.run(&mut browser, |session| login(session, "somebody")).unwrap();
            shown(&browser);
            site.run(&mut browser, |_| ()).unwrap();
            copy = browser.clone();
            site.wait(61_000);
            site.run(&mut browser, |session| assert_eq!(session.rotate(), Rotation::Rotated)).unwrap();
            shown(&browser);
            site.run(&mut browser, |_| ()).unwrap();
            site.store().act(&[Act::DoUnheard, Act::Lose], Act::Obey);
            match number {
                0 => drop(site.run(&mut browser, |session| session.elevate(2).unwrap()).unwrap()),
                1 => drop(site.run(&mut browser, Session::logout).unwrap()),
                _ => {
                    drop(site.run(&mut browser, |session| session.set("another", "a private value").unwrap()).unwrap())
                }
            }
            shown(&browser);
            browser = Browser::default();
        }
        site.exchange(&Browser { login: Some("a junk cookie".into()), ..browser }, |_| ()).unwrap();
        site.wait(61_000);
        site.exchange(&copy, |_| ()).unwrap();
        site.wait(1000);
        let (ours, handle) = site.login("somebody");
        assert_eq!(site.rename("somebody", "somebody else"), 1);
        site.store().act(&[], Act::Refuse);
        let session = site.open(&ours);
        assert!(site.close(session, Session::logout).is_err());
        site.store().act(&[], Act::Obey);
        assert_eq!(site.revoke_all("somebody else"), 1);
        site.store().damage(handle);
        site.exchange(&ours, |_| ()).unwrap();

        let told = heard.take();
        for what in ["created", "reuse", "evicted", "renamed", "retry", "exchange refused", "store call", "junk id"] {
            assert!(told.iter().any(|told| told.what == what || told.field("cause") == Some(what)), "no {what}");
        }
        assert!(secrets.len() > 60);
        secrets.extend(site::PRIVATE.map(str::to_owned));
        secrets.extend(["somebody", "a private", "a junk cookie"].map(str::to_owned));
        assert_untold(heard, &told, &secrets);
    });
}

#[test]
fn every_metric_is_described() {
    listening(|heard| {
        let site = Site::new(heard);
        let (browser, handle) = site.login("alice");
        site.exchange(&browser, Session::logout).unwrap();
        site.store().damage(handle);
        site.open_with(&browser.header());
        let (told, described) = heard.names();
        assert!(told.len() > 4);
        assert!(told.iter().all(|name| described.contains(name)), "{told:?} of {described:?}");
        let page = include_str!("../../docs/observability.md");
        assert!(described.iter().all(|name| page.contains(name.as_str())), "the page names {described:?}");
    });
}
