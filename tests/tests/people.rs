//! Principals and their devices on the engines of this process, and on a store whose index is apart from its records.

use std::sync::Arc;

use coatroom_core::{Entry, Error, Handle, Listing, Loaded, Settings, Swap, Timestamp};
use coatroom_store::memory::Memory;
#[cfg(feature = "sqlite")]
use coatroom_store::sqlite::Sqlite;
use coatroom_store::{Cursor, Engine, Entered, NotListed, Store, Swapped, Unavailable, Wait};
use coatroom_tests::house::House;
use coatroom_tests::people::{self, everything, stories};

/// As on a cluster: the record in one place, the index in another.
#[derive(Default)]
struct Apart {
    records: Memory,
    index: Memory,
}

impl Store for Apart {
    fn enters_with_swap(&self) -> bool {
        false
    }

    async fn load(&self, handle: Handle) -> Loaded {
        Engine::load(&self.records, handle)
    }

    async fn swap(&self, swap: &Swap) -> Swapped {
        let swap = Swap { listing: Listing::Keep, ..swap.clone() };
        Engine::swap(&self.records, &swap, Wait::Patiently).unwrap()
    }

    async fn enter(&self, entry: &Entry) -> Result<Entered, NotListed> {
        Engine::enter(&self.index, entry)
    }

    async fn sessions(&self, principal: &str) -> Result<Vec<Handle>, Unavailable> {
        Engine::sessions(&self.index, principal)
    }

    async fn leave(&self, principal: &str, handle: Handle) -> Result<(), Unavailable> {
        Engine::leave(&self.index, principal, handle)
    }

    async fn bar(&self, principal: &str, now: Timestamp) -> Result<Timestamp, Unavailable> {
        Engine::bar(&self.index, principal, now)
    }

    async fn scan(&self, from: Option<Cursor>, max: usize) -> Result<(Vec<Handle>, Option<Cursor>), Unavailable> {
        Engine::scan(&self.records, from, max)
    }

    async fn sweep(&self, now: Timestamp, max: usize) -> Result<usize, Unavailable> {
        Engine::sweep(&self.records, now, max)
    }
}

#[test]
// spec: IDX-3 763e
fn a_list_of_devices_shows_the_live_logins_of_one_principal() {
    people::a_list_of_devices_shows_the_live_logins_of_one_principal(&Arc::new(Memory::default()));
}

#[test]
// spec: IDX-3 763e, IDX-5 75ca
fn one_session_is_revoked_by_its_owner_alone() {
    people::one_session_is_revoked_by_its_owner_alone(&Arc::new(Memory::default()));
}

#[test]
// spec: IDX-3 763e, CLAIM-8 6865
fn all_others_or_all_are_revoked() {
    people::all_others_or_all_are_revoked(&Arc::new(Memory::default()));
}

#[test]
// spec: IDX-4 667d, CLAIM-8 6865
fn a_login_under_way_does_not_survive_a_revocation_of_all() {
    people::a_login_under_way_does_not_survive_a_revocation_of_all(&Arc::new(Memory::default()));
}

#[test]
// spec: IDX-4 667d
fn a_login_after_a_revocation_of_all_stands() {
    people::a_login_after_a_revocation_of_all_stands(&Arc::new(Memory::default()));
}

#[test]
// spec: IDX-4 667d
fn a_login_right_after_its_own_revocation_stands() {
    people::a_login_right_after_its_own_revocation_stands(&Arc::new(Memory::default()));
}

#[test]
// spec: LIMIT-1 3719
fn a_limit_refuses_and_makes_room_for_what_is_over() {
    people::a_limit_refuses_and_makes_room_for_what_is_over(&Arc::new(Memory::default()));
}

#[test]
// spec: LIMIT-1 3719
fn a_limit_evicts() {
    people::a_limit_evicts(&Arc::new(Memory::default()));
}

#[test]
// spec: LIMIT-1 3719
fn of_logins_that_race_as_many_stay_as_the_limit_allows() {
    people::of_logins_that_race_as_many_stay_as_the_limit_allows(&Arc::new(Memory::default()));
}

#[test]
// spec: LIMIT-1 3719
fn two_logins_beyond_a_limit_do_not_end_each_other() {
    people::two_logins_beyond_a_limit_do_not_end_each_other();
}

#[test]
// spec: LIMIT-2 29e3
fn a_login_whose_answer_was_lost_takes_no_place() {
    people::a_login_whose_answer_was_lost_takes_no_place::<Memory>(true);
    people::a_login_whose_answer_was_lost_takes_no_place::<Apart>(true);
    people::a_login_whose_answer_was_lost_takes_no_place::<Memory>(false);
    people::a_login_whose_answer_was_lost_takes_no_place::<Apart>(false);
}

#[test]
// spec: IDX-8 b396
fn a_principal_gets_another_name() {
    people::a_principal_gets_another_name(&Arc::new(Memory::default()));
}

#[test]
// spec: IDX-6 5449
fn reuse_revokes_all_where_the_policy_says_so() {
    people::reuse_revokes_all_where_the_policy_says_so(&Arc::new(Memory::default()));
}

#[test]
// spec: IDX-2 e0df
fn an_entry_outlives_an_anonymous_record() {
    people::an_entry_outlives_an_anonymous_record(&Arc::new(Memory::default()));
}

#[test]
// spec: CLAIM-8 6865, IDX-1 7e62
fn no_login_slips_through_a_revocation() {
    people::no_login_slips_through_a_revocation(&Arc::new(Memory::default()));
}

#[test]
// spec: IDX-3 763e
fn everything_is_revoked_but_visitors() {
    everything(&Arc::new(Memory::default()));
}

#[test]
// spec: IDX-7 d24a
fn a_login_that_was_under_way_for_a_day_is_refused() {
    let mut house = House::new(Settings::default());
    let mut slow = house.open();
    slow.session().unwrap().login("ann", &[""; 0], 1).unwrap();
    house.now += 24 * 60 * 60 * 1000;
    assert_eq!(house.finish(slow).err(), Some(Error::Revoked));
    let mut slow = house.open();
    slow.session().unwrap().login("ann", &[""; 0], 1).unwrap();
    house.now += 24 * 60 * 60 * 1000 - 1;
    assert!(house.finish(slow).is_ok());
}

#[test]
#[cfg(feature = "sqlite")]
// spec: IDX-2 e0df, IDX-3 763e
fn sqlite_knows_who_is_logged_in_where() {
    let folder = tempfile::tempdir().unwrap();
    stories(&Arc::new(Sqlite::new(folder.path().join("stories.db")).unwrap()));
    everything(&Arc::new(Sqlite::new(folder.path().join("everything.db")).unwrap()));
}

#[test]
// spec: IDX-1 7e62, IDX-3 763e
fn a_store_with_its_index_apart_knows_who_is_logged_in_where() {
    stories(&Arc::new(Apart::default()));
    everything(&Arc::new(Apart::default()));
}

#[test]
// spec: CLAIM-8 6865, IDX-4 667d
fn a_record_ahead_of_the_clock_does_not_hide_a_revocation() {
    let mut house = House::new(Settings::default());
    house.now += 2000;
    house.run(|session| session.set("k", 1).unwrap()).unwrap();
    house.now -= 2000;
    let mut login = house.open();
    login.session().unwrap().login("ann", &[""; 0], 1).unwrap();
    let mut login = house.close(login);
    let revoked = Timestamp::from_unix_ms(house.now + 1);
    house.store.swap(&login.swap().unwrap().clone()).unwrap();
    login.entered(coatroom_core::Listed { revoked, not_before: revoked, count: 1 }).unwrap();
    assert!(house.drive(login).err() == Some(Error::Revoked), "opened before, and told");
}
