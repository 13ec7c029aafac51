//! What is changed by its handle, without any of its ids: revoked, forestalled, given another name.

use std::time::Duration;

use coatroom_core::{Beyond, ByHandle, Cause, Closing, Error, Failure, Limit, Loaded, Save, Settings, Timestamp};
use coatroom_tests::record::Front;
use coatroom_tests::rng::{Dry, Fixed};
use coatroom_tests::scenarios::settings;

use super::forge::{NOW, Sheet, handle, rules};

const fn now() -> Timestamp {
    Timestamp::from_unix_ms(NOW)
}

fn renaming() -> ByHandle {
    rules(settings()).rename(handle(), "alice", "ada", now(), &mut Fixed::new(1)).unwrap()
}

fn forestalling() -> ByHandle {
    rules(settings()).forestall(handle(), now(), &mut Fixed::new(1)).unwrap()
}

fn save(closing: Closing) -> Save {
    let Closing::Save(save) = closing else { panic!("a swap") };
    save
}

fn written(save: &Save) -> Front {
    Front::read(save.swap().new.as_ref().unwrap()).unwrap()
}

fn failed(closing: Closing) -> Option<Error> {
    if let Closing::Failed(failure) = closing { Some(failure.error) } else { None }
}

/// Whether it came to an end without any write.
fn wrote_nothing(closing: Closing) -> bool {
    matches!(closing, Closing::Done(reply) if reply.trace().written.is_empty())
}

#[test]
fn without_random_bytes_nothing_is_asked_of_the_store() {
    let refused = |asked: Result<ByHandle, Failure>| asked.err().map(|failure| failure.error);
    let rules = rules(settings());
    for asked in [
        rules.revoke(handle(), Some("alice"), Cause::Revoked, now(), &mut Dry),
        rules.forestall(handle(), now(), &mut Dry),
        rules.rename(handle(), "alice", "ada", now(), &mut Dry),
    ] {
        assert_eq!(refused(asked), Some(Error::NoRandomness));
    }
}

#[test]
// spec: SEC-1 89db
fn it_prints_its_handle_and_nobodys_name() {
    assert_eq!(renaming().handle(), handle());
    assert_eq!(format!("{:?}", renaming()), format!("ByHandle({})", handle()));
}

#[test]
fn what_is_not_there_needs_no_change_and_what_cannot_be_read_gets_none() {
    assert!(wrote_nothing(renaming().found(Loaded::Absent)));
    assert!(wrote_nothing(renaming().found(Loaded::Found(Sheet::ended(1).bytes()))));
    assert!(wrote_nothing(forestalling().found(Loaded::Found(Sheet::login().bytes()))));
    for asked in [renaming(), forestalling()] {
        assert_eq!(failed(asked.found(Loaded::Unavailable)), Some(Error::Unavailable));
    }
}

#[test]
// spec: IDX-8 b396
fn a_new_name_is_given_to_the_login_as_it_is_stored_by_then_and_to_nobody_elses() {
    let first = save(renaming().found(Loaded::Found(Sheet::login().bytes())));
    assert_eq!(written(&first).version, 10);
    let later = Sheet { version: 12, ..Sheet::login() };
    let second = save(first.conflicted(Some(later.bytes())));
    assert_eq!(written(&second).version, 13);
    let theirs = Sheet { version: 14, principal: Some(("bob", vec!["user"])), ..Sheet::login() };
    assert_eq!(failed(second.conflicted(Some(theirs.bytes()))), Some(Error::NotTheirs));
}

#[test]
// spec: IDX-8 b396
fn no_limit_refuses_a_new_name_or_makes_another_give_way() {
    for beyond in [Beyond::Refuse, Beyond::EvictOldest] {
        let limited = rules(Settings { limit: Some(Limit { sessions: 1, beyond }), ..settings() });
        let renaming = limited.rename(handle(), "alice", "ada", now(), &mut Fixed::new(1)).unwrap();
        let save = save(renaming.found(Loaded::Found(Sheet::login().bytes())));
        let entry = save.swap().listing.entry().unwrap();
        assert_eq!((&*entry.principal, entry.handle, entry.at_most, entry.names), ("ada", handle(), None, 0));
    }
}

#[test]
// spec: WRITE-2 c432
fn a_swap_that_another_has_overtaken_is_made_anew_and_was_no_trip() {
    let first = save(renaming().found(Loaded::Found(Sheet::login().bytes())));
    let second = save(first.overtaken(Sheet { version: 11, ..Sheet::login() }.bytes()));
    assert_eq!(written(&second).version, 12);
    let Closing::Enter(enter) = second.saved() else { panic!("a login is entered under its new name") };
    let Closing::Done(reply) = enter.entered(coatroom_core::Listed::default()) else { panic!("all is done") };
    assert_eq!(reply.trace().trips, 3, "a load, a swap and an entry");
}

#[test]
fn what_keeps_a_session_from_being_made_outlasts_the_shortest_tombstone() {
    let kept = |tombstone: Duration| {
        let rules = rules(Settings { tombstone, ..settings() });
        let asked = rules.forestall(handle(), now(), &mut Fixed::new(1)).unwrap();
        save(asked.found(Loaded::Absent)).swap().garbage_at.as_unix_ms() - NOW
    };
    let least = kept(Duration::ZERO);
    assert!(least >= 60_000, "{least}");
    assert_eq!(kept(Duration::from_millis(least + 1)), least + 1);
}
