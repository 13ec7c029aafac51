use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use coatroom_core::{Entry, Handle, Listing, Loaded, Swap, Timestamp};
use coatroom_store::{Entered, NotListed, Store, Swapped, block_on};

use super::{fresh, hours, log_in, now, record, somebody, stamp, swap};
use crate::linear::{Event, Object, check};

fn entry(principal: &str, handle: Handle) -> Entry {
    Entry { principal: principal.to_owned(), handle, until: now().plus(hours(12)), now: now(), at_most: None, names: 9 }
}

fn created(handle: Handle) -> Swap {
    swap(handle, None, Some(&record(1, 1, b"")), true)
}

fn sessions<S: Store>(store: &S, principal: &str) -> Vec<Handle> {
    let mut sessions = block_on(store.sessions(principal)).expect("the store is there");
    sessions.sort_unstable();
    sessions
}

fn sorted<const N: usize>(mut handles: [Handle; N]) -> [Handle; N] {
    handles.sort_unstable();
    handles
}

/// The index of principals, one call after the other.
pub fn index<S: Store>(store: &S) {
    logins_enter_and_endings_leave(store);
    refused_swaps_change_no_index(store);
    a_limit_counts_others_that_are_not_over(store);
    an_entry_names_those_before_it(store);
    revocations_have_moments_of_their_own(store);
    principals_are_told_apart(store);
}

fn logins_enter_and_endings_leave<S: Store>(store: &S) {
    let alice = somebody("alice");
    assert_eq!(sessions(store, &alice), []);
    let [one, two] = [fresh(), fresh()];
    let listed = |entered: Entered| (entered.revoked, entered.count);
    let never = Timestamp::default();
    assert_eq!(log_in(store, &entry(&alice, one), created(one)).map(listed), Some((never, 1)));
    assert!(matches!(block_on(store.load(one)), Loaded::Found(_)));
    assert_eq!(log_in(store, &entry(&alice, two), created(two)).map(listed), Some((never, 2)));
    assert_eq!(sessions(store, &alice), sorted([one, two]));
    let twice = block_on(store.enter(&entry(&alice, one)));
    assert_eq!(twice.map(listed), Ok((never, 2)), "entering twice is entering once");

    // Data leaves the entry alone, an ending takes it away.
    let data = swap(one, stamp(&record(1, 1, b"")), Some(&record(2, 2, b"n")), false);
    assert_eq!(block_on(store.swap(&data)), Swapped::Done);
    assert_eq!(sessions(store, &alice), sorted([one, two]));
    let ended = swap(one, stamp(&record(2, 2, b"")), Some(&record(3, 3, b"")), true);
    let ended = Swap { listing: Listing::Leave(alice.clone()), ..ended };
    assert_eq!(block_on(store.swap(&ended)), Swapped::Done);
    block_on(store.leave(&alice, one)).unwrap();
    assert_eq!(sessions(store, &alice), [two]);
    block_on(store.leave(&alice, one)).unwrap();
    block_on(store.leave(&somebody("nobody"), two)).unwrap();
    assert_eq!(sessions(store, &alice), [two]);
}

fn refused_swaps_change_no_index<S: Store>(store: &S) {
    let (alice, handle) = (somebody("alice"), fresh());
    log_in(store, &entry(&alice, handle), created(handle)).unwrap();
    let bob = somebody("bob");
    let refused = Swap { listing: Listing::Enter(entry(&bob, handle)), ..created(handle) };
    assert_eq!(block_on(store.swap(&refused)), Swapped::Conflict(Some(record(1, 1, b""))));
    assert_eq!(sessions(store, &bob), []);
    let stale = swap(handle, stamp(&record(9, 9, b"")), None, true);
    let refused = Swap { listing: Listing::Leave(alice.clone()), ..stale };
    assert_eq!(block_on(store.swap(&refused)), Swapped::Conflict(Some(record(1, 1, b""))));
    assert_eq!(sessions(store, &alice), [handle]);
}

fn a_limit_counts_others_that_are_not_over<S: Store>(store: &S) {
    let alice = somebody("alice");
    let [one, two, three] = [fresh(), fresh(), fresh()];
    let limited = |handle| Entry { at_most: Some(2), ..entry(&alice, handle) };
    assert!(log_in(store, &limited(one), created(one)).is_some());
    assert!(log_in(store, &limited(two), created(two)).is_some());
    assert_eq!(log_in(store, &limited(three), created(three)), None);
    assert_eq!(block_on(store.enter(&limited(three))), Err(NotListed::Full));
    assert_eq!(block_on(store.load(three)), Loaded::Absent, "a login that found no room wrote nothing");
    assert_eq!(sessions(store, &alice), sorted([one, two]));
    let listed = block_on(store.enter(&limited(two))).map(|listed| listed.count);
    assert_eq!(listed, Ok(2), "a session does not count against itself");

    // Once the others are over, there is room, whether they were swept or not.
    let later = now().plus(hours(13));
    let tomorrow = Entry { now: later, until: later.plus(hours(12)), ..limited(three) };
    let garbage_at = later.plus(hours(12));
    let listed = log_in(store, &tomorrow, Swap { garbage_at, ..created(three) });
    assert_eq!(listed.map(|listed| listed.count), Some(1), "what is over does not count");
    assert!(sessions(store, &alice).contains(&three));
}

/// By what each is told of the others, two that race know which of them came first.
fn an_entry_names_those_before_it<S: Store>(store: &S) {
    let alice = somebody("alice");
    let named = |entered: Entered| {
        entered.before.map(|mut handles| {
            handles.sort_unstable();
            handles
        })
    };
    let log_in = |entry: &Entry| log_in(store, entry, created(entry.handle)).map(named).unwrap();
    let soon = |handle| Entry { until: now().plus(hours(1)), ..entry(&alice, handle) };
    let [one, two, three, four] = [fresh(), fresh(), fresh(), fresh()];
    assert_eq!(log_in(&entry(&alice, one)), Some(vec![]));
    assert_eq!(log_in(&soon(two)), Some(vec![one]));
    assert_eq!(log_in(&entry(&alice, three)), Some(sorted([one, two]).to_vec()));
    for known in [one, two, three] {
        let again = block_on(store.enter(&entry(&alice, known))).map(named);
        assert_eq!(again, Ok(None), "what was listed before may have come first");
    }
    let told = log_in(&Entry { names: 2, ..entry(&alice, four) }).unwrap();
    assert_eq!(told.len(), 2, "no more than are asked for");
    block_on(store.leave(&alice, one)).unwrap();
    let five = fresh();
    assert_eq!(log_in(&Entry { names: 0, ..entry(&alice, five) }), Some(vec![]));
    let six = fresh();
    let later = now().plus(hours(13));
    let tomorrow = Entry { now: later, until: later.plus(hours(12)), ..entry(&alice, six) };
    let garbage_at = later.plus(hours(12));
    let told = super::log_in(store, &tomorrow, Swap { garbage_at, ..created(six) }).map(named);
    assert_eq!(told, Some(Some(vec![])), "what is over is not named");
}

fn revocations_have_moments_of_their_own<S: Store>(store: &S) {
    let alice = somebody("alice");
    let bar = |now| block_on(store.bar(&alice, now)).unwrap();
    let handle = fresh();
    let first = bar(now().plus(hours(1)));
    assert_eq!(log_in(store, &entry(&alice, handle), created(handle)).unwrap().revoked, first);
    let (second, third) = (bar(now().plus(hours(1))), bar(now()));
    assert!(first < second && second < third, "{first:?} {second:?} {third:?}");
    let entered = block_on(store.enter(&entry(&alice, handle))).unwrap();
    assert_eq!(entered.revoked, third);
    assert!(entered.ago.is_none_or(|ago| ago < hours(1)), "{entered:?}");
    assert_eq!(sessions(store, &alice), [handle], "a revocation removes no entry by itself");
}

/// Names that a store may take for one another, for part of a command or for a path.
fn principals_are_told_apart<S: Store>(store: &S) {
    let tail = fresh();
    let long = "x".repeat(1000);
    let names = [
        "alice",
        "Alice",
        "alice ",
        " alice",
        "al\u{ed}ce",
        "ali\u{301}ce",
        "../alice",
        "alice/..",
        "{alice}",
        "a%c_*",
    ];
    let more = ["a\0b", "a\0c", "a\nb", "'; DROP TABLE session; --", "\u{1f9e5}", ".", "..", &long];
    let names: Vec<String> = names.iter().chain(&more).map(|name| format!("{name}{tail}{name}")).collect();
    let entered: Vec<(String, Handle)> = names.into_iter().map(|name| (name, fresh())).collect();
    for (name, handle) in &entered {
        assert_eq!(
            log_in(store, &entry(name, *handle), created(*handle)).unwrap().count,
            1,
            "{name:?} is somebody else"
        );
    }
    for (name, handle) in &entered {
        assert_eq!(sessions(store, name), [*handle], "{name:?}");
    }
}

/// The index under calls that race: of one principal, put into one order; a limit that many logins meet at once; and
/// logins against the revocation of all.
pub fn index_under_races<S: Store>(store: &S, rounds: usize) {
    index_is_linearizable(store, 5 * rounds);
    for _ in 0..rounds.div_ceil(8) {
        racing_logins_keep_a_limit(store);
    }
    for _ in 0..rounds {
        a_login_and_a_revocation_never_miss_each_other(store);
    }
}

fn racing_logins_keep_a_limit<S: Store>(store: &S) {
    const THREADS: usize = 8;
    let (alice, start) = (somebody("alice"), Barrier::new(THREADS));
    let log_in = || {
        let handle = fresh();
        let entry = Entry { at_most: Some(3), ..entry(&alice, handle) };
        start.wait();
        log_in(store, &entry, created(handle)).is_some()
    };
    let entered = thread::scope(|scope| {
        let logins: Vec<_> = (0..THREADS).map(|_| scope.spawn(log_in)).collect();
        logins.into_iter().map(|login| usize::from(login.join().unwrap())).sum::<usize>()
    });
    assert_eq!((entered, sessions(store, &alice).len()), (3, 3), "as many as the limit allows");
}

fn a_login_and_a_revocation_never_miss_each_other<S: Store>(store: &S) {
    let (alice, handle, start) = (somebody("alice"), fresh(), Barrier::new(2));
    let (listed, moment, seen) = thread::scope(|scope| {
        let login = scope.spawn(|| {
            start.wait();
            log_in(store, &entry(&alice, handle), created(handle)).unwrap()
        });
        start.wait();
        let moment = block_on(store.bar(&alice, now())).unwrap();
        let seen = sessions(store, &alice);
        (login.join().unwrap(), moment, seen)
    });
    let is_told = listed.revoked == moment;
    assert!(is_told || seen.contains(&handle), "a login that neither was revoked nor knows of the revocation");
}

/// What is known of one principal: sessions as bits, and when all were revoked last.
#[derive(Clone, Copy, Debug)]
enum Principal {}

#[derive(Clone, Debug)]
enum Call {
    /// With those that it names.
    Enter(u32, Entered, Option<u32>),
    Leave(u32),
    Sessions(u32),
    Bar(Timestamp),
}

impl Object for Principal {
    type State = (u32, Timestamp);
    type Call = Call;

    fn after(state: &(u32, Timestamp), call: &Call) -> Option<(u32, Timestamp)> {
        let (listed, revoked) = *state;
        match call {
            Call::Enter(session, answer, before) => {
                let after = listed | session;
                let named = (listed & session == 0).then_some(listed);
                let fits = answer.count == after.count_ones() && answer.revoked == revoked && *before == named;
                fits.then_some((after, revoked))
            }
            Call::Leave(session) => Some((listed & !session, revoked)),
            Call::Sessions(found) => (*found == listed).then_some(*state),
            Call::Bar(moment) => (*moment > revoked).then_some((listed, *moment)),
        }
    }

    fn only_looks(call: &Call) -> bool {
        matches!(call, Call::Sessions(_))
    }
}

fn index_is_linearizable<S: Store>(store: &S, calls: usize) {
    let (alice, clock) = (somebody("alice"), AtomicU64::new(0));
    let handles: Vec<Handle> = (0..4).map(|_| fresh()).collect();
    let bit = |handle: &Handle| handles.iter().position(|known| known == handle).map_or(0, |at| 1_u32 << at);
    let tick = || clock.fetch_add(1, Ordering::SeqCst);
    let begin = now();
    // A store may keep entries with the records, and none without.
    handles.iter().for_each(|handle| assert_eq!(block_on(store.swap(&created(*handle))), Swapped::Done));
    let work = |seed: u64| {
        let mut dice = super::history::dice(seed);
        let mut one = || {
            let handle = handles[dice(handles.len() as u64) as usize];
            let began = tick();
            let call = match dice(6) {
                0..3 => {
                    let answer = block_on(store.enter(&entry(&alice, handle))).unwrap();
                    let before = answer.before.as_ref().map(|handles| handles.iter().map(bit).sum());
                    Call::Enter(bit(&handle), answer, before)
                }
                3 => {
                    block_on(store.leave(&alice, handle)).unwrap();
                    Call::Leave(bit(&handle))
                }
                4 => Call::Sessions(sessions(store, &alice).iter().map(bit).fold(0, |all, one| all | one)),
                _ => Call::Bar(block_on(store.bar(&alice, begin.plus(hours(dice(20))))).unwrap()),
            };
            Event { call, began, ended: Some(tick()) }
        };
        (0..calls.div_ceil(4)).map(|_| one()).collect::<Vec<_>>()
    };
    let history: Vec<_> = thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..4).map(|seed| scope.spawn(move || work(seed))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    check::<Principal>((0, Timestamp::default()), &history)
        .unwrap_or_else(|complaint| panic!("the index: {complaint}"));
}
