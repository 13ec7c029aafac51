//! What a commit meets that was not there when its exchange was opened.

use coatroom_core::staged::Staged;
use coatroom_core::{Concurrency, Error, Kind, Listed, Loaded, Rotation, Session, Settings, Swap, Timestamp};
use coatroom_tests::house::{House, login, set};
use coatroom_tests::record::Front;
use coatroom_tests::scenarios::settings;

use super::forge::{NOW, Previous, Sheet, close, digest, id, logged_in, open, rules, secret};

/// Alice, whose id of generation 4 is being replaced by one that cannot be derived from it.
fn foreign_successor() -> Vec<u8> {
    Sheet { previous: Previous::Pending(digest(secret(4))), confirmed: 0, ..Sheet::login() }.bytes()
}

/// Sets a value over this record of another writer.
fn meets(record: &Sheet) -> Staged {
    let mut staged = logged_in();
    staged.session().unwrap().set("a", 2).unwrap();
    close(&mut staged, NOW);
    staged.conflicted(Some(Sheet { version: 10, commits: [2; 32], ..record.clone() }.bytes())).unwrap();
    staged
}

#[test]
// spec: ROT-4 97ec
fn a_successor_that_the_presented_id_does_not_derive_is_not_answered() {
    let mut staged = open(&rules(settings()), &id(4), &foreign_successor(), NOW);
    close(&mut staged, NOW);
    assert_eq!(staged.reply().unwrap().set_cookies().count(), 0);
}

#[test]
// spec: LOGIN-1 3794, LOGIN-6 5d77
fn a_change_of_privilege_by_an_id_that_is_being_replaced_sends_its_own_id() {
    let changes: [fn(&mut Session); 2] = [|session| login(session, "alice"), |session| session.elevate(2).unwrap()];
    for change in changes {
        let mut house = House::logged_in(settings());
        let mut late = house.open();
        house.run(|session| assert_eq!(session.rotate(), Rotation::Rotated)).unwrap();
        change(late.session().unwrap());
        house.finish(late).unwrap();
        assert_eq!(house.user().as_deref(), Some("alice"));
    }
}

#[test]
// spec: TIME-9 4c66, WRITE-8 561b
fn a_write_that_meets_a_record_past_its_limit_is_refused_and_writes_the_end_down() {
    let mut staged = meets(&Sheet { deadline: NOW, ..Sheet::login() });
    let ended = staged.swap().unwrap().new.as_deref().and_then(Front::read).unwrap();
    assert_eq!(ended.version, 11);
    assert!(ended.is_ended());
    staged.entered(Listed::default()).unwrap();
    assert_eq!(staged.failure().unwrap().error, Error::Ended);
}

#[test]
// spec: WRITE-6 b7e4
fn a_strict_exchange_that_read_everything_is_refused_only_when_data_changed() {
    let strict = Settings { concurrency: Concurrency::Strict, ..settings() };
    for (theirs, refused) in [(&b"\xa1\x61a\x01"[..], false), (b"\xa1\x61a\x02", true)] {
        let reads: [fn(&mut Session); 3] = [|s| drop(s.keys()), |s| drop(s.get("a")), Session::clear];
        for read in reads {
            let mut staged = open(&rules(strict.clone()), &id(5), &Sheet::login().bytes(), NOW);
            let session = staged.session().unwrap();
            read(session);
            session.set("b", 2).unwrap();
            close(&mut staged, NOW);
            let other = Sheet { version: 10, commits: [2; 32], data: theirs, ..Sheet::login() };
            staged.conflicted(Some(other.bytes())).unwrap();
            assert_eq!(staged.failure().ok().map(|failure| failure.error), refused.then_some(Error::Conflict));
        }
    }
}

#[test]
// spec: COOK-11 b110
fn a_logout_clears_both_cookies_however_many_logins_follow() {
    let mut told = Vec::new();
    for logins in [&["carol"][..], &["bob", "carol"]] {
        let mut staged = logged_in();
        let session = staged.session().unwrap();
        session.logout();
        logins.iter().for_each(|name| login(session, name));
        close(&mut staged, NOW);
        while staged.swap().is_ok() {
            staged.entered(Listed::default()).unwrap();
        }
        let names = |line: &str| line.split('=').next().map(str::to_owned);
        told.push(staged.reply().unwrap().set_cookies().filter_map(names).collect::<Vec<_>>());
    }
    assert_eq!(told[0].len(), 2, "{told:?}");
    assert_eq!(told[0], told[1]);
}

#[test]
// spec: LOGIN-6 5d77
fn an_elevation_is_an_authentication_of_now() {
    let mut staged = logged_in();
    let session = staged.session().unwrap();
    let before = session.principal().unwrap().authenticated_at();
    session.elevate(2).unwrap();
    let after = session.principal().unwrap();
    assert_eq!((after.level(), after.authenticated_at().as_unix_ms()), (2, NOW));
    assert!(before < after.authenticated_at());
}

#[test]
fn what_was_created_is_in_the_trace_of_the_reply() {
    let mut house = House::new(settings());
    let mut staged = house.open();
    set(staged.session().unwrap(), "a", 1);
    let mut staged = house.close(staged);
    let made = staged.swap().unwrap().handle;
    staged.entered(Listed::default()).unwrap();
    let trace = staged.reply().unwrap().trace().clone();
    assert_eq!((trace.handle, trace.generation), (Some(made), Some(0)));
    assert_eq!(trace.absolute_left, Some(settings().absolute));
    assert_eq!(trace.idle_left, settings().idle);
}

#[test]
// spec: WRITE-13 2f77
fn a_create_that_meets_a_record_goes_on_under_another_handle() {
    let mut house = House::new(settings());
    let mut staged = house.open();
    set(staged.session().unwrap(), "a", 1);
    let mut staged = house.close(staged);
    let taken = staged.swap().unwrap().handle;
    staged.conflicted(Some(Sheet::login().bytes())).unwrap();
    assert_ne!(staged.swap().unwrap().handle, taken);
    house.drive(staged).unwrap();
}

#[test]
// spec: WRITE-12 8880
fn a_write_in_doubt_over_a_store_that_does_not_answer_is_unknown() {
    let mut staged = logged_in();
    set(staged.session().unwrap(), "a", 2);
    close(&mut staged, NOW);
    staged.reloaded(Loaded::Unavailable).unwrap();
    assert_eq!(staged.failure().unwrap().error, Error::Unknown);
}

#[test]
fn what_is_removed_is_gone_and_what_is_beside_it_stays() {
    let mut house = House::logged_in(settings());
    house.run(|session| ["a", "b", "c"].iter().for_each(|key| set(session, key, 1))).unwrap();
    house.run(|session| ["b", "never"].iter().for_each(|key| session.remove(key))).unwrap();
    let values = ["a", "b", "c", "never"].map(|key| house.value(Kind::Login, key).is_some());
    assert_eq!(values, [true, false, true, false]);
}

#[test]
fn a_touch_that_is_given_up_costs_nothing_and_another_write_does() {
    let waits = || open(&rules(settings()), &id(5), &Sheet { seen: NOW - 60_000, ..Sheet::login() }.bytes(), NOW);
    let mut touch = waits();
    close(&mut touch, NOW);
    assert!(touch.swap().is_ok(), "a touch is due");
    touch.gave_up(Error::Busy).unwrap();
    assert_eq!(touch.reply().unwrap().trace().written, []);
    let mut write = waits();
    set(write.session().unwrap(), "a", 2);
    close(&mut write, NOW);
    write.gave_up(Error::Busy).unwrap();
    assert_eq!(write.failure().unwrap().error, Error::Busy);
}

#[test]
// spec: REC-3 e864
fn a_conflict_with_a_record_of_a_newer_format_writes_nothing() {
    let mut staged = logged_in();
    set(staged.session().unwrap(), "a", 2);
    close(&mut staged, NOW);
    staged.conflicted(Some(Sheet { format: 3, ..Sheet::login() }.bytes())).unwrap();
    assert_eq!(staged.failure().unwrap().error, Error::Unavailable);
}

#[test]
// spec: WRITE-6 b7e4
fn strictness_counts_from_where_it_was_asked_for() {
    for (early, refused) in [(true, None), (false, Some(Error::Conflict))] {
        let mut staged = logged_in();
        let session = staged.session().unwrap();
        if early {
            drop(session.get("a"));
        }
        session.strict();
        if !early {
            drop(session.get("a"));
        }
        set(session, "b", 2);
        close(&mut staged, NOW);
        let other = Sheet { version: 10, commits: [2; 32], data: b"\xa1\x61a\x02", ..Sheet::login() };
        staged.conflicted(Some(other.bytes())).unwrap();
        assert_eq!(staged.failure().ok().map(|failure| failure.error), refused);
    }
}

/// A second login of alice that is stored, and whose exchange does not know it yet.
fn stored_login() -> (House, Staged, Swap) {
    let mut house = House::logged_in(settings());
    let mut staged = house.open();
    login(staged.session().unwrap(), "alice");
    let staged = house.close(staged);
    let swap = staged.swap().unwrap().clone();
    house.store.swap(&swap).unwrap();
    (house, staged, swap)
}

#[test]
// spec: WRITE-10 a015, IDX-4 667d
fn the_end_of_a_login_that_is_barred_is_not_taken_for_the_login_itself() {
    let (mut house, mut staged, swap) = stored_login();
    let now = Timestamp::from_unix_ms(house.now);
    staged.entered(Listed { revoked: now, not_before: now, count: 1 }).unwrap();
    assert_ne!(staged.swap().unwrap().expected, swap.expected, "its end is to be written");
    // Somebody else writes first, and the login's commit id is still among the last four.
    let mut record = swap.new.unwrap();
    record[9] += 1;
    record.copy_within(10..34, 18);
    record[10..18].fill(9);
    house.store.records.insert(swap.handle, record.into());
    assert_eq!(house.drive(staged).err(), Some(Error::Revoked));
    assert!(house.store.get(swap.handle).and_then(Front::read).unwrap().is_ended());
}

#[test]
// spec: IDX-1 7e62, WRITE-10 a015
fn a_login_that_is_recognised_on_a_conflict_is_entered_before_it_is_told() {
    let (_house, mut staged, swap) = stored_login();
    // The answer was lost, and the swap was sent again.
    staged.conflicted(swap.new.clone()).unwrap();
    assert_eq!(staged.entry().map(|entry| entry.handle), Ok(swap.handle));
    staged.entered(Listed::default()).unwrap();
    assert!(staged.reply().is_ok());
}
