//! Records that somebody with write access to the store could have left there, and ids of somebody with the key.

use coatroom_core::staged::Staged;
use coatroom_core::{
    Cause, Change, Error, Event, Handle, Held, Listed, Loaded, Rotation, Settings, Stamp, State, Timestamp, holder,
};
use coatroom_tests::record::Front;
use coatroom_tests::rng::Fixed;
use coatroom_tests::scenarios::{SKEW, settings};

use super::forge::{
    NOW, Previous, SECOND, Sheet, close, digest, handle, id, id_with, open, open_header, rules, secret, written,
};

/// The state in which an id is found, whether it opens the session, and what is reported.
fn judged(sheet: &Sheet, id: &str) -> (Option<State>, bool, Vec<Event>) {
    let mut staged = open(&rules(settings()), id, &sheet.bytes(), NOW);
    let session = staged.session().unwrap();
    let trace = session.trace();
    (trace.state, session.is_live(), trace.events)
}

#[test]
fn an_id_is_judged_by_its_generation_and_its_secret_in_this_order() {
    let sheet = Sheet::in_grace();
    let (forged, reuse) = (vec![Event::Forged(handle())], vec![Event::Reuse(handle())]);
    let stranger = [9; 32];
    let (destroyed, replaced) = (Some(State::Destroyed), Some(State::Regenerated));
    assert_eq!(judged(&sheet, &id(6)), (destroyed, false, forged.clone()));
    assert_eq!(judged(&sheet, &id(u32::MAX)), (destroyed, false, forged.clone()));
    assert_eq!(judged(&sheet, &id(5)), (Some(State::Active), true, vec![]));
    assert_eq!(judged(&sheet, &id_with(5, stranger)), (destroyed, false, forged.clone()));
    assert_eq!(judged(&sheet, &id(4)), (replaced, true, vec![]));
    assert_eq!(judged(&sheet, &id_with(4, stranger)), (destroyed, false, forged));
    assert_eq!(judged(&sheet, &id(3)), (replaced, false, reuse.clone()));
    assert_eq!(judged(&sheet, &id_with(3, stranger)), (replaced, false, reuse.clone()));
    assert_eq!(judged(&sheet, &id(2)), (replaced, false, vec![]));
    assert_eq!(judged(&sheet, &id_with(2, stranger)), (replaced, false, vec![]));
    let over = Sheet { previous: Previous::Until(digest(secret(4)), NOW), ..sheet.clone() };
    assert_eq!(judged(&over, &id(4)), (replaced, false, reuse.clone()));
    assert_eq!(judged(&Sheet::login(), &id(4)), (replaced, false, reuse));
    let pending = Sheet { confirmed: 0, previous: Previous::Pending(digest(secret(4))), ..sheet };
    assert_eq!(judged(&pending, &id(4)), (replaced, true, vec![]));
    // The first presentation: by then the id is Active.
    assert_eq!(judged(&pending, &id(5)), (Some(State::Active), true, vec![]));
}

#[test]
fn an_id_that_was_never_issued_starts_a_fresh_session_and_changes_nothing() {
    let mut staged = open(&rules(settings()), &id(6), &Sheet::login().bytes(), NOW);
    staged.session().unwrap().set("a", 1).unwrap();
    close(&mut staged, NOW);
    assert_ne!(staged.swap().unwrap().handle, handle());
    staged.entered(Listed::default()).unwrap();
    assert_eq!(staged.reply().unwrap().trace().written, [Change::Created]);
}

#[test]
fn every_cause_is_read_back_as_the_state_that_it_leads_to() {
    let states = [0, 1, 2, 3, 4, 5].map(|cause| judged(&Sheet::ended(cause), &id(5)).0.unwrap());
    let [destroyed, expired] = [State::Destroyed, State::Expired];
    assert_eq!(states, [destroyed, expired, expired, expired, destroyed, destroyed]);
    let reports = [0, 5].map(|cause| judged(&Sheet::ended(cause), &id(2)));
    assert!(reports.iter().all(|report| *report == (Some(destroyed), false, vec![])), "for every id alike");
}

#[test]
fn a_record_that_contradicts_itself_is_damaged() {
    let (login, grace, ended, visitor) = (Sheet::login(), Sheet::in_grace(), Sheet::ended(0), Sheet::visitor());
    let pending = Sheet { confirmed: 0, previous: Previous::Pending(digest(secret(4))), ..login.clone() };
    for whole in [&login, &grace, &ended, &pending] {
        assert_eq!(judged(whole, &id(5)).2, []);
    }
    let alice = |roles: &[&'static str]| Some(("alice", roles.to_vec()));
    let damaged = [
        ("format 0", Sheet { format: 0, ..login.clone() }),
        ("a state of its own", Sheet { state: 3, ..login.clone() }),
        ("logged in, and nobody is", Sheet { principal: None, ..login.clone() }),
        ("anonymous, and somebody is", Sheet { principal: alice(&[]), ..visitor.clone() }),
        ("a floor that is not reached", Sheet { floor: 6, ..login.clone() }),
        ("a previous id below the floor", Sheet { floor: 5, ..grace.clone() }),
        ("a previous id of no kind", Sheet { previous: Previous::Raw(3), ..login.clone() }),
        ("a nonce after the confirmation", Sheet { confirmed: NOW, ..pending.clone() }),
        ("a grace before the confirmation", Sheet { confirmed: 0, ..grace.clone() }),
        ("ended for no known cause", Sheet::ended(8)),
        ("ended with a previous id", Sheet { previous: grace.previous, ..ended.clone() }),
        ("ended with roles", Sheet { principal: alice(&["user"]), ..ended.clone() }),
        ("ended with a label", Sheet { label: b"tv", ..ended.clone() }),
        ("ended with an address", Sheet { address: b"::1", ..ended.clone() }),
        ("ended with data", Sheet { data: b"\xa1\x61a\x01", ..ended.clone() }),
        ("a principal without a name", Sheet { principal: Some(("", vec![])), ..login.clone() }),
        ("an empty role", Sheet { principal: alice(&[""]), ..login.clone() }),
        ("a role twice", Sheet { principal: alice(&["user", "user"]), ..login.clone() }),
        ("roles out of order", Sheet { principal: alice(&["user", "editor"]), ..login.clone() }),
        ("a label that is no text", Sheet { label: b"\xff", ..login.clone() }),
        ("no data", Sheet { data: b"", ..login.clone() }),
        ("data that is no map", Sheet { data: b"\x80", ..login.clone() }),
        ("data with a key of another kind", Sheet { data: b"\xa1\x01\x01", ..login.clone() }),
        ("data with keys out of order", Sheet { data: b"\xa2\x61b\x01\x61a\x01", ..login.clone() }),
        ("data with a key twice", Sheet { data: b"\xa2\x61a\x01\x61a\x01", ..login.clone() }),
        ("data that ends early", Sheet { data: b"\xa2\x61a\x01", ..login.clone() }),
        ("data with something after it", Sheet { data: b"\xa0\x00", ..login.clone() }),
    ];
    for (what, sheet) in damaged {
        let found = judged(&sheet, &id(5));
        assert_eq!(found, (Some(State::Destroyed), false, vec![Event::Damaged(handle())]), "{what}");
    }
}

#[test]
fn a_record_cut_anywhere_or_with_a_foreign_presence_byte_is_damaged() {
    for sheet in [Sheet::login(), Sheet::in_grace(), Sheet::ended(0), Sheet::visitor()] {
        let bytes = sheet.bytes();
        for length in 0..bytes.len() {
            let mut staged = open(&rules(settings()), &id(5), &bytes[..length], NOW);
            assert_eq!(staged.session().unwrap().trace().events, [Event::Damaged(handle())], "{length}");
        }
    }
    let mut bytes = Sheet::login().bytes();
    assert_eq!((bytes[118], bytes[119]), (0, 1));
    bytes[119] = 2;
    let mut staged = open(&rules(settings()), &id(5), &bytes, NOW);
    assert_eq!(staged.session().unwrap().trace().events, [Event::Damaged(handle())]);
}

#[test]
fn a_newer_format_is_unavailable_and_its_cookie_is_kept() {
    let staged = open(&rules(settings()), &id(5), &Sheet { format: 3, ..Sheet::login() }.bytes(), NOW);
    let failure = staged.failure().unwrap();
    assert_eq!((failure.error, &failure.events[..]), (Error::Unavailable, &[Event::Newer(handle())][..]));
}

#[test]
fn any_time_beyond_the_skew_makes_a_record_unavailable_and_none_within_it() {
    let skew = 2 * SECOND;
    let at = |at: u64| {
        let (login, ended) = (Sheet::login(), Sheet::ended(0));
        [
            Sheet { created: at, ..login.clone() },
            Sheet { seen: at, ..login.clone() },
            Sheet { issued: at, ..login.clone() },
            Sheet { confirmed: at, ..login },
            Sheet { end: Some((at, 0)), ..ended },
        ]
    };
    for sheet in at(NOW + skew) {
        assert!(open(&rules(settings()), &id(5), &sheet.bytes(), NOW).failure().is_err());
    }
    for sheet in at(NOW + skew + 1) {
        let staged = open(&rules(settings()), &id(5), &sheet.bytes(), NOW);
        let failure = staged.failure().unwrap();
        assert_eq!((failure.error, &failure.events[..]), (Error::Unavailable, &[Event::ClockBehind(handle())][..]));
    }
}

/// Closes after `change`; the store acknowledges everything. The outcome, and the front of the last record.
fn write(mut staged: Staged, change: impl FnOnce(&mut coatroom_core::Session)) -> (Option<Error>, Option<Front>) {
    change(staged.session().unwrap());
    close(&mut staged, NOW);
    let mut written = None;
    while let Ok(swap) = staged.swap() {
        written = swap.new.as_deref().and_then(Front::read);
        staged.entered(Listed::default()).unwrap();
    }
    (staged.failure().ok().map(|failure| failure.error), written)
}

#[test]
fn a_version_at_its_ceiling_refuses_every_write() {
    let last = Sheet { version: u64::MAX - 1, ..Sheet::login() }.bytes();
    let full = Sheet { version: u64::MAX, ..Sheet::login() }.bytes();
    let set = |session: &mut coatroom_core::Session| session.set("a", 2).unwrap();
    let (error, front) = write(open(&rules(settings()), &id(5), &last, NOW), set);
    assert_eq!((error, front.unwrap().version), (None, u64::MAX));
    assert_eq!(write(open(&rules(settings()), &id(5), &full, NOW), set), (Some(Error::Unavailable), None));
    let logout = coatroom_core::Session::logout;
    assert_eq!(write(open(&rules(settings()), &id(5), &full, NOW), logout), (Some(Error::Unavailable), None));
    let copied = open(&rules(settings()), &id(4), &full, NOW);
    assert_eq!(write(copied, |_| ()), (Some(Error::Unavailable), None));
    let merely = rules(settings().danger_refuse_reuse_only());
    let previous = Previous::Until(digest(secret(4)), NOW);
    let full = Sheet { version: u64::MAX, previous, ..Sheet::login() }.bytes();
    assert_eq!(write(open(&merely, &id(4), &full, NOW), |_| ()), (Some(Error::Unavailable), None));
}

#[test]
fn a_version_at_its_ceiling_gives_no_turn() {
    let header = format!("__Host-id={}", id(5));
    let now = Timestamp::from_unix_ms(NOW);
    let mut staged = Staged::from(rules(settings()).open_serial(header.as_bytes(), now, &mut Fixed::new(1)));
    staged.found(Loaded::Found(Sheet { version: u64::MAX, ..Sheet::login() }.bytes())).unwrap();
    assert_eq!(staged.failure().unwrap().error, Error::Unavailable);
}

#[test]
fn whose_a_stored_login_is_can_be_read_without_keys_or_clocks() {
    let of = |sheet: Sheet| holder(&sheet.bytes());
    assert_eq!(of(Sheet::login()).as_deref(), Some("alice"));
    assert_eq!(of(Sheet { deadline: NOW - 1, ..Sheet::login() }).as_deref(), Some("alice"), "it is not judged");
    assert_eq!((of(Sheet::visitor()), of(Sheet::ended(1))), (None, None));
    assert_eq!(of(Sheet { format: 9, ..Sheet::login() }), None);
    assert_eq!((holder(&[]), holder(&[1, 2, 3])), (None, None));
    let sealed = rules(Settings { sealed: true, ..settings() });
    let mut staged = open_header(&sealed, "", &[], NOW);
    staged.session().unwrap().login("ada", &["user"], 1).unwrap();
    assert_eq!(holder(&written(staged).unwrap()).as_deref(), Some("ada"));
}

#[test]
fn a_record_that_is_ahead_of_the_clock_is_described_as_unreadable() {
    let rules = rules(settings());
    let describe = |sheet: Sheet| rules.describe(handle(), sheet.bytes(), Timestamp::from_unix_ms(NOW));
    assert!(matches!(describe(Sheet { seen: NOW + SKEW, ..Sheet::login() }), Held::Login(_)));
    assert!(matches!(describe(Sheet { seen: NOW + SKEW + 1, ..Sheet::login() }), Held::Unreadable));
    assert!(matches!(describe(Sheet { format: 9, ..Sheet::login() }), Held::Unreadable));
}

#[test]
fn a_generation_at_its_ceiling_has_no_successor() {
    let (generation, digest) = (u32::MAX, digest(secret(u32::MAX)));
    let sheet = Sheet { generation, digest, ..Sheet::login() };
    let open = || open(&rules(settings()), &id(u32::MAX), &sheet.bytes(), NOW);
    assert_eq!(write(open(), |session| session.login("alice", &["user"], 1).unwrap()), (Some(Error::Superseded), None));
    assert_eq!(write(open(), |session| session.elevate(2).unwrap()), (Some(Error::Superseded), None));
    let (error, front) = write(open(), |session| {
        assert_eq!(session.rotate(), Rotation::Rotated);
        session.set("a", 2).unwrap();
    });
    let front = front.unwrap();
    assert_eq!((error, front.generation, front.previous), (None, u32::MAX, coatroom_tests::record::Previous::None));
}

#[test]
fn an_elevation_that_meets_a_record_of_nobody_is_refused() {
    let mut staged = open(&rules(settings()), &id(5), &Sheet::login().bytes(), NOW);
    staged.session().unwrap().elevate(2).unwrap();
    close(&mut staged, NOW);
    let nobody = Sheet { state: 0, version: 10, commits: [2; 32], principal: None, ..Sheet::login() };
    staged.conflicted(Some(nobody.bytes())).unwrap();
    assert_eq!(staged.failure().unwrap().error, Error::Superseded);
}

#[test]
fn reuse_that_a_login_overtook_ends_nothing() {
    let raised = Sheet { version: 10, commits: [2; 32], generation: 6, floor: 6, confirmed: 0, ..Sheet::login() };
    for settings in [settings(), settings().danger_refuse_reuse_only()] {
        let mut staged = open(&rules(settings), &id(4), &Sheet::in_grace().bytes(), NOW + 10 * SECOND);
        close(&mut staged, NOW + 10 * SECOND);
        assert!(staged.swap().is_ok(), "the reaction is under way");
        staged.conflicted(Some(raised.bytes())).unwrap();
        let reply = staged.reply().unwrap();
        assert_eq!((&reply.trace().written[..], &reply.trace().events[..]), (&[][..], &[Event::Reuse(handle())][..]));
    }
}

#[test]
fn a_reaction_to_what_has_ended_or_is_gone_meanwhile_is_done() {
    for met in [None, Some(Sheet { version: 10, commits: [2; 32], ..Sheet::ended(0) }.bytes())] {
        let mut staged = open(&rules(settings()), &id(3), &Sheet::login().bytes(), NOW);
        close(&mut staged, NOW);
        staged.conflicted(met).unwrap();
        assert_eq!(staged.reply().unwrap().trace().written, []);
    }
}

#[test]
fn the_ids_of_both_cookies_count_in_turn_and_only_once_each() {
    let rules = rules(settings());
    let visitor = Sheet::visitor().bytes();
    // The login cookie holds a visitor's id, and the visitor cookie the same one.
    let header = format!("__Host-id={0}; __Host-visitor={0}", id(0));
    let mut staged = open_header(&rules, &header, &visitor, NOW);
    let session = staged.session().unwrap();
    assert_eq!((session.is_live(), session.trace().trips), (true, 2));
    assert_eq!(session.trace().events, [Event::WrongCookie(handle())]);
    // Of two dead ids, the state is that of the login cookie.
    let dead = Sheet::ended(1).bytes();
    let header = format!("__Host-id={}; __Host-visitor={}", id(5), id(5));
    let mut staged = open_header(&rules, &header, &dead, NOW);
    assert_eq!(staged.session().unwrap().state(), Some(State::Expired));
    let mut staged = open_header(&rules, &format!("__Host-visitor={}", id(5)), &dead, NOW);
    assert_eq!(staged.session().unwrap().state(), Some(State::Expired));
    let mut staged = open_header(&rules, &format!("__Host-visitor={}", id(2)), &Sheet::login().bytes(), NOW);
    assert_eq!(
        (staged.session().unwrap().state(), staged.session().unwrap().trace().events),
        (Some(State::Regenerated), vec![])
    );
}

#[test]
fn each_limit_ends_the_session_at_its_millisecond_and_says_which_it_was() {
    let login = Sheet::login();
    let never = Sheet { idle: 0, ..login.clone() };
    let activated = Settings { activation: Some(std::time::Duration::from_secs(80)), ..settings() };
    let first = Sheet { floor: 5, confirmed: 0, ..login.clone() };
    let cases = [
        (settings(), &login, NOW + 100 * SECOND, Cause::Idle),
        (settings(), &never, NOW + 900 * SECOND, Cause::Absolute),
        (activated.clone(), &first, NOW + 20 * SECOND, Cause::NotActivated),
    ];
    for (settings, sheet, end, cause) in cases {
        for (now, live) in [(end - 1, true), (end, false)] {
            let mut staged = open(&rules(settings.clone()), &id(5), &sheet.bytes(), now);
            assert_eq!(staged.session().unwrap().is_live(), live, "{cause:?}");
            close(&mut staged, now);
            let ended = staged.swap().ok().and_then(|swap| Front::read(swap.new.as_deref()?)?.cause);
            let number =
                [Cause::Logout, Cause::Idle, Cause::Absolute, Cause::NotActivated].iter().position(|c| *c == cause);
            assert_eq!(ended.map(usize::from), if live { None } else { number });
        }
    }
    // Activation is about the first id of a login alone, and only until it is shown.
    for sheet in [Sheet { floor: 5, ..login.clone() }, Sheet { floor: 4, confirmed: 0, ..login }] {
        let mut staged = open(&rules(activated.clone()), &id(5), &sheet.bytes(), NOW + 20 * SECOND);
        assert!(staged.session().unwrap().is_live());
    }
}

#[test]
fn a_load_that_nobody_answers_and_a_swap_that_nobody_can_confirm_are_told_apart() {
    let rules = rules(settings());
    let mut staged = Staged::from(
        rules.open(format!("__Host-id={}", id(5)).as_bytes(), coatroom_core::Timestamp::from_unix_ms(NOW)),
    );
    staged.found(Loaded::Unavailable).unwrap();
    assert_eq!(staged.failure().unwrap().error, Error::Unavailable);
    for (doubt, error) in [(false, Error::Busy), (true, Error::Unknown)] {
        let mut staged = open(&rules, &id(5), &Sheet::login().bytes(), NOW);
        staged.session().unwrap().set("a", 2).unwrap();
        close(&mut staged, NOW);
        if doubt {
            staged.reloaded(Loaded::Found(Sheet::login().bytes())).unwrap();
        }
        staged.gave_up(Error::Busy).unwrap();
        assert_eq!(staged.failure().unwrap().error, error);
    }
}

#[test]
fn of_two_attempts_in_doubt_the_one_on_the_older_record_counts() {
    // The store loses a write between the two. The second may be the fifth before the last by now: nobody can tell.
    let lost = |version| Loaded::Found(Sheet { version, commits: [2; 32], ..Sheet::login() }.bytes());
    for (others, again) in [(4, true), (5, false)] {
        let mut staged = open(&rules(settings()), &id(5), &Sheet::login().bytes(), NOW);
        staged.session().unwrap().set("a", 2).unwrap();
        close(&mut staged, NOW);
        staged.reloaded(lost(Sheet::login().version - 1)).unwrap();
        assert!(staged.swap().is_ok(), "it is sent again");
        staged.reloaded(lost(Sheet::login().version - 1 + others)).unwrap();
        assert_eq!(staged.swap().is_ok(), again, "{others}");
        assert_eq!(staged.failure().is_ok(), !again);
    }
}

#[test]
fn a_previous_id_whose_grace_turns_out_to_run_is_not_forgotten() {
    let rules = rules(settings().danger_refuse_reuse_only());
    let now = NOW + 10 * SECOND;
    let refuse = || {
        let mut staged = open(&rules, &id(4), &Sheet::in_grace().bytes(), now);
        close(&mut staged, now);
        assert!(staged.swap().is_ok(), "it is about to be forgotten");
        staged
    };
    let met = |until: u64| {
        let previous = Previous::Until(digest(secret(4)), until);
        Some(Sheet { version: 10, commits: [2; 32], previous, ..Sheet::login() }.bytes())
    };
    let (mut runs, mut over) = (refuse(), refuse());
    runs.conflicted(met(now + 1)).unwrap();
    assert_eq!(runs.reply().unwrap().trace().written, []);
    over.conflicted(met(now)).unwrap();
    assert_eq!(over.swap().unwrap().new.as_ref().unwrap()[118], 0, "no previous id");
}

#[test]
fn somebody_elses_login_ends_no_session_that_a_third_has_taken_over() {
    let mut staged = open(&rules(settings()), &id(5), &Sheet::login().bytes(), NOW);
    staged.session().unwrap().login::<&str>("bob", &[], 1).unwrap();
    close(&mut staged, NOW);
    let (generation, floor, principal) = (6, 6, Some(("carol", vec![])));
    let taken = Sheet { version: 10, commits: [2; 32], generation, floor, confirmed: 0, principal, ..Sheet::login() };
    staged.conflicted(Some(taken.bytes())).unwrap();
    assert_eq!(staged.failure().unwrap().error, Error::Superseded);
}

#[test]
fn handle_and_stamp_are_the_bytes_that_a_store_keeps_and_compares() {
    let record = Sheet::login().bytes();
    let stamp = Stamp::of(&record).unwrap();
    assert_eq!((stamp.as_bytes(), Stamp::AT), (record[2..18].try_into().unwrap(), 2));
    assert_eq!(handle().as_bytes(), &[7; 12]);
    assert_eq!(Handle::parse(&handle().to_string()), Some(handle()));
    assert_eq!((Stamp::of(&record[..17]), Stamp::of(&record[..18])), (None, Some(stamp)));
}
