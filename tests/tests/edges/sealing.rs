//! Records that are encrypted before the store gets them.

use coatroom_core::staged::Staged;
use coatroom_core::{Client, Event, Handle, KeyRing, Kind, Policy, Rules, Session, Settings, Stamp, State, Value};
use coatroom_tests::house::{House, login, set};
use coatroom_tests::record::Front;
use coatroom_tests::scenarios::settings;
use coatroom_tests::targets::{mint, seal, strict};

const OLDER: &str = "513:YW4gb2xkZXIgdGVzdCBrZXksIG5vIHNlY3JldCBlaXRoZXI";
const TEXT: &str = "nobody else's business";

fn sealed() -> Settings {
    Settings { sealed: true, ..settings() }
}

/// Alice with some data and a device, in a house that seals.
fn house() -> House {
    let mut house = House::logged_in(sealed());
    house
        .run(|session| {
            session.set("note", TEXT).unwrap();
            session.set_client(Client { label: "a browser of hers".into(), address: "192.0.2.1".into() }).unwrap();
        })
        .unwrap();
    house
}

fn redeploy(house: &mut House, settings: Settings, ring: &str) {
    house.rules = Rules::new(Policy::try_from(settings).unwrap(), KeyRing::parse(ring).unwrap());
}

fn handle(house: &House) -> Handle {
    house.id(Kind::Login).handle
}

fn stored(house: &House) -> Vec<u8> {
    house.store.get(handle(house)).unwrap().to_vec()
}

fn note(house: &House) -> Option<Value> {
    house.open().session().unwrap().get("note")
}

/// With these bytes in the store nobody is logged in, this is reported, and a write goes elsewhere.
fn is_absent(house: &House, record: Vec<u8>, event: Event) -> bool {
    let mut house = house.clone();
    let handle = handle(&house);
    house.store.records.insert(handle, record.clone().into());
    let mut staged = house.open();
    let session = staged.session().unwrap();
    let found = (session.state(), session.is_live(), session.trace().events);
    set(session, "a", 1);
    house.finish(staged).unwrap();
    found == (Some(State::Destroyed), false, vec![event]) && house.store.get(handle) == Some(&record[..])
}

#[test]
// spec: SEAL-1 8b14, SEAL-3 7efc, CLAIM-10 1b5f
fn a_dump_of_the_store_shows_no_data_and_no_client_but_who_is_logged_in() {
    let house = house();
    let shows = |text: &str| stored(&house).windows(text.len()).any(|window| window == text.as_bytes());
    for text in [TEXT, "note", "a browser", "192.0.2.1"] {
        assert!(!shows(text), "{text}");
    }
    assert!(shows("alice"));
    assert_eq!(note(&house), Some(TEXT.into()));
    assert!(!Front::read(&stored(&house)).unwrap().is_ended());
}

#[test]
// spec: SEAL-1 8b14
fn sealing_costs_forty_two_bytes_a_record_and_stamps_stay_where_they_are() {
    let plain = seal::open(&stored(&house()), *handle(&house()).as_bytes()).unwrap().2;
    assert_eq!(stored(&house()).len(), plain.len() + 42);
    assert_eq!(Stamp::of(&stored(&house())), Stamp::of(&plain));
}

#[test]
// spec: SEAL-4 9c31, SEAL-1 8b14
fn every_bit_that_is_changed_behind_the_principal_or_in_the_floor_makes_a_record_absent() {
    let house = house();
    let record = stored(&house);
    let tail = strict::tail_at(&record).unwrap();
    assert!(record.len() - tail > 80);
    for place in (114..118).chain(tail..record.len()) {
        for bit in 0..8 {
            let mut changed = record.clone();
            changed[place] ^= 1 << bit;
            assert!(is_absent(&house, changed, Event::Unopened(handle(&house))), "byte {place}, bit {bit}");
        }
    }
}

#[test]
// spec: SEAL-4 9c31
fn a_sealed_record_that_is_cut_is_absent() {
    let house = house();
    let record = stored(&house);
    let tail = strict::tail_at(&record).unwrap();
    for length in 1..record.len() {
        let event = if length < tail { Event::Damaged } else { Event::Unopened }(handle(&house));
        assert!(is_absent(&house, record[..length].to_vec(), event), "{length}");
    }
}

#[test]
// spec: SEAL-4 9c31, SEAL-1 8b14
fn what_was_sealed_for_one_session_opens_in_no_other() {
    let mut house = house();
    let theirs = stored(&house);
    house.browser.login = None;
    house.run(|session| login(session, "alice")).unwrap();
    let own = stored(&house);
    // The front of the one with what the other had sealed.
    let at = |record: &[u8]| strict::tail_at(record).unwrap();
    let mixed = [&own[..at(&own)], &theirs[at(&theirs)..]].concat();
    assert!(is_absent(&house, mixed, Event::Unopened(handle(&house))));
    assert!(is_absent(&house, theirs, Event::Unopened(handle(&house))));
}

#[test]
// spec: SEAL-1 8b14
fn what_was_sealed_before_a_login_does_not_open_after_it() {
    let mut house = house();
    let before = stored(&house);
    house.run(|session| login(session, "alice")).unwrap();
    let after = stored(&house);
    let at = |record: &[u8]| strict::tail_at(record).unwrap();
    let mixed = [&after[..at(&after)], &before[at(&before)..]].concat();
    assert!(is_absent(&house, mixed, Event::Unopened(handle(&house))));
    assert_eq!(note(&house), Some(TEXT.into()));
}

#[test]
// spec: SEAL-2 c06e
fn every_attempt_seals_under_a_nonce_of_its_own() {
    let mut house = house();
    let mut nonces = Vec::new();
    let mut note = |bytes: &[u8], handle: Handle| nonces.push(seal::open(bytes, *handle.as_bytes()).unwrap().1);
    // As somebody else: an ending and a create, each refused a few times.
    let mut staged = house.open();
    login(staged.session().unwrap(), "bob");
    let mut staged = house.close(staged);
    for _ in 0..2 {
        for _ in 0..3 {
            let swap = staged.swap().unwrap().clone();
            note(swap.new.as_deref().unwrap(), swap.handle);
            staged.conflicted(house.store.get(swap.handle).map(<[u8]>::to_vec)).unwrap();
        }
        let swap = staged.swap().unwrap().clone();
        note(swap.new.as_deref().unwrap(), swap.handle);
        house.store.swap(&swap).unwrap();
        staged.saved().unwrap();
    }
    assert_eq!(nonces.len(), 8);
    nonces.sort_unstable();
    nonces.dedup();
    assert_eq!(nonces.len(), 8);
}

#[test]
// spec: SEAL-3 7efc, SEAL-1 8b14
fn a_record_without_data_and_an_ended_one_are_sealed_too() {
    let mut house = House::new(sealed());
    house.run(|session| login(session, "alice")).unwrap();
    let handle = handle(&house);
    let opens = |house: &House| seal::open(house.store.get(handle).unwrap(), *handle.as_bytes()).is_some();
    assert!(opens(&house));
    house.run(Session::logout).unwrap();
    assert!(opens(&house) && Front::read(house.store.get(handle).unwrap()).unwrap().is_ended());
}

#[test]
// spec: SEAL-3 7efc
fn a_policy_that_seals_takes_what_is_not_sealed_for_absent() {
    let mut house = House::logged_in(settings());
    redeploy(&mut house, sealed(), coatroom_tests::world::RING);
    assert!(is_absent(&house, stored(&house), Event::Unsealed(handle(&house))));
    // Somebody who may write to the store cannot pass a record of their own for a sealed one.
    let mut named = stored(&house);
    named[0] = 2;
    assert!(is_absent(&house, named, Event::Unopened(handle(&house))));
}

#[test]
// spec: SEAL-5 da17
fn a_policy_that_does_not_seal_opens_what_is_sealed_and_writes_it_plain() {
    let mut house = house();
    redeploy(&mut house, settings(), coatroom_tests::world::RING);
    assert_eq!(note(&house), Some(TEXT.into()));
    house.run(|session| set(session, "a", 1)).unwrap();
    assert_eq!(house.value(Kind::Login, "note"), Some(TEXT.into()));
    assert_eq!(house.value(Kind::Login, "a"), Some(Value::Int(1)));
}

#[test]
// spec: SEAL-3 7efc, SEAL-4 9c31, KEY-4 af29
fn the_first_key_seals_every_key_opens_and_a_withdrawn_one_does_not() {
    let mut house = House::with_ring(sealed(), OLDER);
    house.run(|session| session.set("note", TEXT).unwrap()).unwrap();
    house.run(|session| login(session, "alice")).unwrap();
    redeploy(&mut house, sealed(), mint::RING);
    assert_eq!(note(&house), Some(TEXT.into()));
    let number = |house: &House| seal::open(&stored(house), *handle(house).as_bytes()).unwrap().0;
    assert_eq!(number(&house), 513);
    let older = stored(&house);
    // A login gives the client an id that the first key signs, and seals under it.
    house.run(|session| login(session, "alice")).unwrap();
    assert_eq!(number(&house), 1);
    redeploy(&mut house, sealed(), mint::RING.split(',').next().unwrap());
    assert_eq!(note(&house), Some(TEXT.into()));
    assert!(is_absent(&house, older, Event::Unopened(handle(&house))));
}

#[test]
// spec: SEAL-4 9c31, WRITE-2 c432
fn a_write_that_meets_a_record_which_does_not_open_is_refused_and_leaves_it_alone() {
    let house = house();
    let mut staged = house.open();
    set(staged.session().unwrap(), "a", 1);
    let mut staged: Staged = house.clone().close(staged);
    let mut changed = stored(&house);
    *changed.last_mut().unwrap() ^= 1;
    staged.conflicted(Some(changed)).unwrap();
    let failure = staged.failure().unwrap();
    assert_eq!(failure.error, coatroom_core::Error::Ended);
    assert!(failure.events.contains(&Event::Unopened(handle(&house))));
}
