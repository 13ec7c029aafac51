//! Logins beyond a limit that race, and logins whose answer is lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use coatroom_core::{Beyond, Entry, Handle, Limit, Listing, Loaded, Swap, Timestamp};
use coatroom_store::memory::Memory;
use coatroom_store::{Cursor, Entered, NotListed, Store, Swapped, Unavailable};

use super::Desk;

pub fn of_logins_that_race_as_many_stay_as_the_limit_allows<S: Store>(store: &Arc<S>) {
    for _ in 0..5 {
        let desk = Desk::new(store, |settings| settings.limit = Some(OLDEST));
        let log_in = || [(); 2].map(|()| desk.login("ann").0);
        let browsers = thread::scope(|scope| {
            let workers = [(); 3].map(|()| scope.spawn(log_in));
            workers.map(|worker| worker.join().unwrap())
        });
        let stay = browsers.into_iter().flatten().filter(|browser| desk.is_in(&mut browser.clone())).count();
        assert_eq!((stay, desk.handles("ann").len()), (2, 2));
    }
}

const OLDEST: Limit = Limit { sessions: 2, beyond: Beyond::EvictOldest };

/// Two logins are entered before either of them looks who has to go, and both have looked before either ends anybody.
pub fn two_logins_beyond_a_limit_do_not_end_each_other() {
    let store = Arc::new(Met { inner: Memory::default(), met: Barrier::new(2), calls: AtomicUsize::new(0) });
    let desk = Desk::new(&store, |settings| settings.limit = Some(Limit { sessions: 1, ..OLDEST }));
    let (mut first, _) = desk.login("ann");
    let racers = thread::scope(|scope| {
        let workers = [(); 2].map(|()| scope.spawn(|| desk.login("ann").0));
        workers.map(|worker| worker.join().unwrap())
    });
    assert!(!desk.is_in(&mut first));
    assert_eq!(racers.into_iter().filter(|browser| desk.is_in(&mut browser.clone())).count(), 1);
}

/// What a first attempt left does not show, whether it arrived or not, and takes no place.
pub fn a_login_whose_answer_was_lost_takes_no_place<S: Store + Default>(arrives: bool) {
    for (sessions, beyond) in [(1, Beyond::Refuse), (2, Beyond::Refuse), (2, Beyond::EvictOldest)] {
        let store = Arc::new(Lossy { inner: S::default(), arrives, swaps: AtomicUsize::new(0) });
        let desk = Desk::new(&store, |settings| settings.limit = Some(Limit { sessions, beyond }));
        let (mut phone, first) = desk.login("ann");
        assert_eq!(desk.handles("ann"), [first], "a limit of {sessions}, {beyond:?}");
        assert!(desk.is_in(&mut phone));
        if sessions > 1 {
            let (mut laptop, _) = desk.login("ann");
            assert!(desk.is_in(&mut phone) && desk.is_in(&mut laptop), "{beyond:?}");
        }
    }
}

/// A store at which two racers wait for each other.
struct Met {
    inner: Memory,
    met: Barrier,
    /// Swaps that were asked for: the first login, the two that race, and the first ending of each.
    calls: AtomicUsize,
}

/// A store that loses the first swap, or the answer to it.
struct Lossy<S> {
    inner: S,
    arrives: bool,
    swaps: AtomicUsize,
}

trait Wraps: Send + Sync {
    type Inner: Store;

    fn inner(&self) -> &Self::Inner;

    fn swap(&self, swap: &Swap) -> impl Future<Output = Swapped> + Send;
}

impl Wraps for Met {
    type Inner = Memory;

    fn inner(&self) -> &Memory {
        &self.inner
    }

    async fn swap(&self, swap: &Swap) -> Swapped {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let (races, ends) = ((1..=2).contains(&call), (3..=4).contains(&call));
        if ends {
            assert!(matches!(swap.listing, Listing::Leave(_)), "an eviction");
            self.met.wait();
        }
        let answer = Store::swap(&self.inner, swap).await;
        if races {
            self.met.wait();
        }
        answer
    }
}

impl<S: Store> Wraps for Lossy<S> {
    type Inner = S;

    fn inner(&self) -> &S {
        &self.inner
    }

    async fn swap(&self, swap: &Swap) -> Swapped {
        if self.swaps.fetch_add(1, Ordering::SeqCst) > 0 {
            return self.inner.swap(swap).await;
        }
        if self.arrives {
            self.inner.swap(swap).await;
        }
        Swapped::Unknown
    }
}

macro_rules! wrapped {
    ($($generics:tt)*) => {
        impl $($generics)* {
            fn enters_with_swap(&self) -> bool {
                self.inner().enters_with_swap()
            }

            fn is_here(&self) -> bool {
                self.inner().is_here()
            }

            async fn load(&self, handle: Handle) -> Loaded {
                self.inner().load(handle).await
            }

            async fn swap(&self, swap: &Swap) -> Swapped {
                Wraps::swap(self, swap).await
            }

            async fn enter(&self, entry: &Entry) -> Result<Entered, NotListed> {
                self.inner().enter(entry).await
            }

            async fn sessions(&self, principal: &str) -> Result<Vec<Handle>, Unavailable> {
                self.inner().sessions(principal).await
            }

            async fn leave(&self, principal: &str, handle: Handle) -> Result<(), Unavailable> {
                self.inner().leave(principal, handle).await
            }

            async fn bar(&self, principal: &str, now: Timestamp) -> Result<Timestamp, Unavailable> {
                self.inner().bar(principal, now).await
            }

            async fn scan(&self, from: Option<Cursor>, max: usize) -> Result<(Vec<Handle>, Option<Cursor>), Unavailable> {
                self.inner().scan(from, max).await
            }

            async fn sweep(&self, now: Timestamp, max: usize) -> Result<usize, Unavailable> {
                self.inner().sweep(now, max).await
            }
        }
    };
}
wrapped!(Store for Met);
wrapped!(<S: Store> Store for Lossy<S>);
