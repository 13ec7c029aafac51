//! The index of principals, also under races.

use std::sync::Barrier;
use std::thread;

use coatroom_core::{Entry, Listing, Loaded, Swap, Timestamp};
use coatroom_store::postgres::Postgres;
use coatroom_store::{NotListed, Store, Swapped, block_on};

use crate::help::{HOUR, NOW, entry, fresh, login, shared, store, write};

const NEVER: Timestamp = Timestamp::from_unix_ms(0);

/// When all sessions were revoked last, and how many are listed.
fn shown(answer: Swapped) -> (Timestamp, u32) {
    let Swapped::Entered(entered) = answer else { panic!("{answer:?}") };
    (entered.revoked, entered.count)
}

#[test]
fn an_entry_comes_with_the_login_and_goes_with_the_ending() {
    let store = store(shared());
    let [one, two] = [fresh(), fresh()];
    assert_eq!(shown(block_on(store.swap(&login(entry("alice", one))))), (NEVER, 1));
    assert_eq!(shown(block_on(store.swap(&login(entry("alice", two))))), (NEVER, 2));
    assert_eq!(shown(block_on(store.swap(&login(entry("bob", fresh()))))), (NEVER, 1));
    let taken = block_on(store.swap(&login(entry("carol", one))));
    assert!(matches!(taken, Swapped::Conflict(Some(_))), "{taken:?}");
    assert_eq!(block_on(store.sessions("carol")), Ok(vec![]), "a refused login lists nothing");

    let ended = Swap { listing: Listing::Leave("alice".to_owned()), ..write(one, 1, true) };
    assert_eq!(block_on(store.swap(&ended)), Swapped::Done);
    assert_eq!(block_on(store.sessions("alice")), Ok(vec![two]));
    let removed = Swap { new: None, listing: Listing::Leave("alice".to_owned()), ..write(two, 1, true) };
    assert_eq!(block_on(store.swap(&removed)), Swapped::Done);
    assert_eq!(block_on(store.sessions("alice")), Ok(vec![]));
    assert_eq!(block_on(store.load(two)), Loaded::Absent);
}

#[test]
fn a_limit_counts_other_sessions_that_are_not_over() {
    let store = store(shared());
    let limited = |handle| Entry { at_most: Some(2), ..entry("alice", handle) };
    let [one, two, three] = [fresh(), fresh(), fresh()];
    assert!(matches!(block_on(store.swap(&login(limited(one)))), Swapped::Entered(_)));
    assert!(matches!(block_on(store.swap(&login(limited(two)))), Swapped::Entered(_)));
    assert_eq!(block_on(store.swap(&login(limited(three)))), Swapped::Full);
    assert_eq!(block_on(store.load(three)), Loaded::Absent, "what found no room was not written");
    assert_eq!(block_on(store.enter(&limited(three))), Err(NotListed::Full));
    assert_eq!(block_on(store.enter(&limited(one))).map(|listed| listed.count), Ok(2), "not against itself");
    // One that exists and logs in meets the limit too, and a conflict before the limit.
    assert_eq!(block_on(store.swap(&write(three, 0, true))), Swapped::Done);
    let again = Swap { listing: Listing::Enter(limited(three)), ..write(three, 1, true) };
    assert_eq!(block_on(store.swap(&again)), Swapped::Full);
    let stale = Swap { listing: Listing::Enter(limited(three)), ..write(three, 7, true) };
    assert!(matches!(block_on(store.swap(&stale)), Swapped::Conflict(Some(_))));
    // Once the others are over, there is room.
    let later = Entry { now: NOW.plus(HOUR), until: NOW.plus(2 * HOUR), ..limited(three) };
    let again = Swap { listing: Listing::Enter(later), ..write(three, 1, true) };
    assert_eq!(shown(block_on(store.swap(&again))), (NEVER, 1));
}

#[test]
fn a_revocation_shows_in_every_later_entry_by_a_moment_of_its_own() {
    let store = store(shared());
    let mut last = NEVER;
    for _ in 0..100 {
        let moment = block_on(store.bar("alice", NOW)).unwrap();
        assert!(moment > last);
        let answer = block_on(store.swap(&login(entry("alice", fresh()))));
        let Swapped::Entered(entered) = answer else { panic!("{answer:?}") };
        assert_eq!(entered.revoked, moment);
        assert!(entered.ago.is_some_and(|ago| ago.as_secs() < 60), "{entered:?}");
        last = moment;
    }
}

#[test]
fn any_name_is_a_principal_of_its_own() {
    let store = store(shared());
    let long = "x".repeat(65_535);
    let names = ["", "a", "A", "a ", "\0", "a\0b", "'; DROP TABLE session; --", "\u{ff}", "ä", &long[1..], &long];
    let entered: Vec<_> = names.iter().map(|name| (name, fresh())).collect();
    for (name, handle) in &entered {
        assert!(matches!(block_on(store.swap(&login(entry(name, *handle)))), Swapped::Entered(_)));
    }
    for (name, handle) in &entered {
        assert_eq!(block_on(store.sessions(name)), Ok(vec![*handle]));
        block_on(store.leave(name, *handle)).unwrap();
        block_on(store.leave(name, *handle)).unwrap();
        assert_eq!(block_on(store.sessions(name)), Ok(vec![]));
    }
}

/// Logins against revocations of the same few principals: each login learns of the revocation, or is in its list.
pub fn racing(store: &Postgres, rounds: u64) {
    const LOGINS: usize = 3;
    let start = Barrier::new(LOGINS + 1);
    let misses: u64 = thread::scope(|scope| {
        let log_in = || {
            let one = |round: u64| {
                let handle = fresh();
                start.wait();
                let answer = block_on(store.swap(&login(entry(&format!("p{round}"), handle))));
                start.wait();
                (handle, shown(answer).0 > NEVER)
            };
            (0..rounds).map(one).collect::<Vec<_>>()
        };
        let logins: Vec<_> = (0..LOGINS).map(|_| scope.spawn(log_in)).collect();
        let revoke = |round: u64| {
            let principal = format!("p{round}");
            start.wait();
            block_on(store.bar(&principal, NOW)).unwrap();
            let listed = block_on(store.sessions(&principal)).unwrap();
            start.wait();
            listed
        };
        let revoked: Vec<_> = (0..rounds).map(revoke).collect();
        let missed =
            |(round, (handle, told)): (usize, &(_, bool))| u64::from(!told && !revoked[round].contains(handle));
        logins.into_iter().map(|login| login.join().unwrap().iter().enumerate().map(missed).sum::<u64>()).sum()
    });
    assert_eq!(misses, 0, "logins that neither learnt of the revocation nor were in its list");
}

#[test]
fn a_login_that_races_with_a_revocation_learns_of_it_or_is_listed() {
    racing(&store(shared()), 1000);
}

#[test]
fn racing_logins_never_exceed_a_limit_that_refuses() {
    const THREADS: usize = 6;
    let store = store(shared());
    let start = Barrier::new(THREADS);
    for round in 0..100 {
        let principal = format!("p{round}");
        let entered: usize = thread::scope(|scope| {
            let log_in = || {
                start.wait();
                let answer = block_on(store.swap(&login(Entry { at_most: Some(2), ..entry(&principal, fresh()) })));
                assert!(matches!(answer, Swapped::Entered(_) | Swapped::Full), "{answer:?}");
                usize::from(answer != Swapped::Full)
            };
            let logins: Vec<_> = (0..THREADS).map(|_| scope.spawn(log_in)).collect();
            logins.into_iter().map(|login| login.join().unwrap()).sum()
        });
        assert_eq!((entered, block_on(store.sessions(&principal)).unwrap().len()), (2, 2));
    }
}
