//! The driver over a store that does as it is told, with a clock that only pauses move.

use std::future::{Future, ready};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use coatroom_core::{Change, Error, Handle, Loaded, Reply, Swap, Timestamp};
use coatroom_store::memory::Memory;
use coatroom_store::{Driver, Host, Refused, Store, Swapped, block_on};
use coatroom_tests::rng::Fixed;
use coatroom_tests::store::Store as Records;
use coatroom_tests::suite::rules;
use coatroom_tests::world::START;
use rand_core::TryCryptoRng;

/// What the store does with a swap.
#[derive(Clone, Copy)]
enum Act {
    Obey,
    /// Does it, and does not say so.
    DoUnheard,
    /// As that, and all patience is over by then.
    DoLate,
    /// Neither does it nor says so.
    Lose,
    /// Is out of reach.
    Refuse,
    /// Lets another exchange write first.
    Overtake,
}

#[derive(Default)]
struct Told {
    records: Mutex<Records>,
    acts: Mutex<Vec<Act>>,
    /// What to do when no act is left.
    then: Mutex<Option<Act>>,
    loads_fail: Mutex<bool>,
    index: Memory,
    sent: AtomicUsize,
    ms: Arc<AtomicU64>,
}

impl Store for Told {
    coatroom_tests::index_of!(self => &self.index);

    fn load(&self, handle: Handle) -> impl Future<Output = Loaded> + Send {
        let failing = *self.loads_fail.lock().unwrap();
        ready(if failing { Loaded::Unavailable } else { self.records.lock().unwrap().load(handle) })
    }

    fn swap(&self, swap: &Swap) -> impl Future<Output = Swapped> + Send {
        self.sent.fetch_add(1, Ordering::SeqCst);
        let mut acts = self.acts.lock().unwrap();
        let act = if acts.is_empty() { self.then.lock().unwrap().unwrap_or(Act::Obey) } else { acts.remove(0) };
        let mut records = self.records.lock().unwrap();
        ready(match act {
            Act::Obey => records.swap(swap).map_or_else(Swapped::Conflict, |()| Swapped::Done),
            Act::DoUnheard => {
                let _unheard = records.swap(swap);
                Swapped::Unknown
            }
            Act::DoLate => {
                let _unheard = records.swap(swap);
                self.ms.fetch_add(11_000, Ordering::SeqCst);
                Swapped::Unknown
            }
            Act::Lose => Swapped::Unknown,
            Act::Refuse => Swapped::Unavailable,
            Act::Overtake => {
                let mut record = records.get(swap.handle).unwrap().to_vec();
                record[9] += 1;
                record[10..18].fill(0xee);
                records.records.insert(swap.handle, record.clone().into());
                Swapped::Conflict(Some(record))
            }
        })
    }
}

/// Time passes in pauses alone, ten milliseconds at least.
struct Still {
    ms: Arc<AtomicU64>,
    seed: AtomicU64,
}

impl Host for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(START + self.ms.load(Ordering::SeqCst))
    }

    fn ticks(&self) -> Duration {
        Duration::from_millis(self.ms.load(Ordering::SeqCst))
    }

    fn rng(&self) -> impl TryCryptoRng {
        Fixed::new(self.seed.fetch_add(1, Ordering::SeqCst))
    }

    fn pause(&self, span: Duration) -> impl Future<Output = ()> + Send {
        let ms = u64::try_from(span.as_millis()).unwrap().max(10);
        self.ms.fetch_add(ms, Ordering::SeqCst);
        ready(())
    }
}

struct Scene {
    driver: Driver<Told, Still>,
    ms: Arc<AtomicU64>,
    cookie: String,
}

impl Scene {
    /// Somebody logged in, with a count of 1.
    fn new() -> Self {
        let ms = Arc::new(AtomicU64::new(0));
        let host = Still { ms: Arc::clone(&ms), seed: AtomicU64::new(1) };
        let driver = Driver::with_host(rules(), Told { ms: Arc::clone(&ms), ..Told::default() }, host);
        let mut session = block_on(driver.open(b"")).unwrap();
        session.login::<&str>("alice", &[], 1).unwrap();
        session.add("n", 1).unwrap();
        let reply = block_on(driver.close(session)).unwrap();
        let cookie = reply.set_cookies().next().unwrap().split(';').next().unwrap().to_owned();
        driver.store().sent.store(0, Ordering::SeqCst);
        Self { driver, ms, cookie }
    }

    fn act(&self, acts: &[Act], then: Act) {
        *self.driver.store().acts.lock().unwrap() = acts.to_vec();
        *self.driver.store().then.lock().unwrap() = Some(then);
    }

    fn add(&self) -> Result<Reply, Refused> {
        let mut session = block_on(self.driver.open(self.cookie.as_bytes())).unwrap();
        session.add("n", 1).unwrap();
        block_on(self.driver.close(session))
    }

    fn read(&self) -> Result<Reply, Refused> {
        block_on(self.driver.close(block_on(self.driver.open(self.cookie.as_bytes())).unwrap()))
    }

    fn log_out(&self) -> Result<Reply, Refused> {
        let mut session = block_on(self.driver.open(self.cookie.as_bytes())).unwrap();
        session.logout();
        block_on(self.driver.close(session))
    }

    fn count(&self) -> Option<i64> {
        self.act(&[], Act::Obey);
        let mut session = block_on(self.driver.open(self.cookie.as_bytes())).unwrap();
        match session.get("n") {
            Some(coatroom_core::Value::Int(n)) => Some(n),
            _ => None,
        }
    }

    fn sent(&self) -> usize {
        self.driver.store().sent.load(Ordering::SeqCst)
    }

    fn ms(&self) -> u64 {
        self.ms.load(Ordering::SeqCst)
    }
}

fn error(result: Result<Reply, Refused>) -> Option<Error> {
    result.err().map(|Refused(failure)| failure.error)
}

#[test]
// spec: STORE-4 194b, WRITE-10 a015
fn a_swap_that_took_place_unheard_is_not_sent_again() {
    let scene = Scene::new();
    scene.act(&[Act::DoUnheard], Act::Obey);
    assert_eq!(error(scene.add()), None);
    assert_eq!((scene.sent(), scene.count()), (1, Some(2)));
}

#[test]
// spec: WRITE-11 c612, STORE-4 194b
fn a_swap_that_was_lost_is_sent_again_once_the_store_showed_that_it_was() {
    let scene = Scene::new();
    scene.act(&[Act::Lose, Act::Lose], Act::Obey);
    assert_eq!(error(scene.add()), None);
    assert_eq!((scene.sent(), scene.count()), (3, Some(2)));
}

#[test]
// spec: STORE-4 194b
fn a_write_that_the_store_cannot_take_is_sent_once_and_refused() {
    let scene = Scene::new();
    scene.act(&[], Act::Refuse);
    assert_eq!(error(scene.add()), Some(Error::Unavailable));
    assert_eq!((scene.sent(), scene.ms(), scene.count()), (1, 0, Some(1)));
}

#[test]
// spec: WRITE-11 c612, STORE-8 8f18
fn a_doubt_that_no_load_can_settle_is_said_after_two_seconds() {
    let scene = Scene::new();
    let mut session = block_on(scene.driver.open(scene.cookie.as_bytes())).unwrap();
    session.add("n", 1).unwrap();
    scene.act(&[Act::DoUnheard], Act::Obey);
    *scene.driver.store().loads_fail.lock().unwrap() = true;
    assert_eq!(error(block_on(scene.driver.close(session))), Some(Error::Unknown));
    assert!((2_000..2_100).contains(&scene.ms()), "{}", scene.ms());
    assert_eq!(scene.sent(), 1);
}

#[test]
// spec: STORE-8 8f18, STORE-4 194b
fn a_doubt_that_every_load_renews_is_said_after_two_seconds() {
    let scene = Scene::new();
    scene.act(&[], Act::Lose);
    assert_eq!(error(scene.add()), Some(Error::Unknown));
    assert!((2_000..2_100).contains(&scene.ms()), "{}", scene.ms());
    assert!((10..250).contains(&scene.sent()), "{} tries", scene.sent());
    assert_eq!(scene.count(), Some(1));

    let mut session = block_on(scene.driver.open(b"")).unwrap();
    session.add("n", 1).unwrap();
    scene.act(&[], Act::Lose);
    assert_eq!(error(block_on(scene.driver.close(session))), Some(Error::Busy), "no create was read back");
}

#[test]
// spec: STORE-8 8f18, WRITE-16 ef0b
fn an_ending_found_done_when_patience_is_over_is_followed_by_what_was_wanted_after_it() {
    let scene = Scene::new();
    let mut session = block_on(scene.driver.open(scene.cookie.as_bytes())).unwrap();
    session.login::<&str>("bob", &[], 1).unwrap();
    let mut acts = vec![Act::Lose; 3];
    acts.push(Act::DoLate);
    scene.act(&acts, Act::Obey);
    let reply = block_on(scene.driver.close(session)).unwrap();
    assert_eq!(reply.trace().written, [Change::Ended, Change::Created, Change::LoggedIn]);
}

#[test]
// spec: STORE-11 5b8c, TIME-4 c482
fn a_touch_that_the_store_does_not_take_fails_no_read() {
    for act in [Act::Refuse, Act::Lose, Act::Overtake] {
        let scene = Scene::new();
        assert_eq!(scene.read().unwrap().trace().written, [Change::Confirmed]);
        scene.ms.fetch_add(120_000, Ordering::SeqCst);
        scene.act(&[], act);
        let before = scene.driver.store().records.lock().unwrap().records.clone();
        let reply = scene.read().unwrap();
        assert_eq!((reply.trace().written.len(), reply.set_cookies().count()), (0, 0));
        let left = reply.trace().idle_left.unwrap();
        assert!(left < Duration::from_secs(30 * 60 - 119), "{left:?}: nobody was seen");
        assert!(scene.add().is_err(), "what was asked for is not let go");
        if !matches!(act, Act::Overtake) {
            assert_eq!(scene.driver.store().records.lock().unwrap().records, before);
        }
        scene.act(&[], Act::Obey);
        assert_eq!(scene.read().unwrap().trace().written, [Change::Touched], "the next one writes it");
    }
}

#[test]
// spec: STORE-11 5b8c
fn a_first_presentation_that_the_store_does_not_take_is_refused() {
    let scene = Scene::new();
    scene.act(&[], Act::Refuse);
    assert_eq!(error(scene.read()), Some(Error::Unavailable));
}

#[test]
// spec: STORE-8 8f18, WRITE-2 c432
fn conflicts_are_met_at_once_three_times_then_after_pauses_and_for_two_seconds() {
    let scene = Scene::new();
    scene.act(&[Act::Overtake; 3], Act::Obey);
    assert_eq!(error(scene.add()), None);
    assert_eq!((scene.sent(), scene.ms(), scene.count()), (4, 0, Some(2)));

    scene.act(&[Act::Overtake; 5], Act::Obey);
    assert_eq!(error(scene.add()), None);
    assert!(scene.ms() >= 20, "two pauses");

    let before = scene.ms();
    scene.act(&[], Act::Overtake);
    assert_eq!(error(scene.add()), Some(Error::Busy));
    assert!((2_000..2_100).contains(&(scene.ms() - before)), "{}", scene.ms());
}

#[test]
// spec: END-4 71db, STORE-4 194b, WRITE-16 ef0b
fn a_logout_is_tried_for_ten_seconds_and_never_said_to_be_done_when_it_is_not() {
    let scene = Scene::new();
    scene.act(&[Act::Refuse; 50], Act::Obey);
    assert_eq!(scene.log_out().unwrap().set_cookies().count(), 2);
    assert_eq!((scene.sent(), scene.count()), (51, None));

    let scene = Scene::new();
    scene.act(&[], Act::Refuse);
    assert_eq!(error(scene.log_out()), Some(Error::Unavailable));
    assert!((10_000..10_100).contains(&scene.ms()), "{}", scene.ms());
    assert_eq!(scene.count(), Some(1));
}

#[test]
// spec: STORE-5 5484
fn a_load_without_an_answer_is_an_error_and_nobody() {
    let scene = Scene::new();
    *scene.driver.store().loads_fail.lock().unwrap() = true;
    let refused = block_on(scene.driver.open(scene.cookie.as_bytes())).err();
    assert_eq!(refused.map(|Refused(failure)| failure.error), Some(Error::Unavailable));
    assert!(block_on(scene.driver.open(b"")).is_ok(), "whoever shows no id needs no store");
}

#[test]
// spec: STORE-9 0682, STORE-7 250a
fn an_engine_is_swept_a_little_while_it_is_written_to() {
    struct Later(AtomicU64, AtomicU64);
    impl Host for Later {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix_ms(START + self.0.load(Ordering::SeqCst))
        }
        fn ticks(&self) -> Duration {
            Duration::ZERO
        }
        fn rng(&self) -> impl TryCryptoRng {
            Fixed::new(self.1.fetch_add(1, Ordering::SeqCst))
        }
        fn pause(&self, _: Duration) -> impl Future<Output = ()> + Send {
            ready(())
        }
    }
    let driver = Driver::with_host(rules(), Memory::default(), Later(AtomicU64::new(0), AtomicU64::new(1)));
    let visit = || {
        let mut session = driver.open_now(b"").unwrap();
        session.set("n", 1).unwrap();
        driver.close_now(session).unwrap();
    };
    (0..60).for_each(|_| visit());
    driver.host().0.store(24 * 3_600_000, Ordering::SeqCst);
    (0..60).for_each(|_| visit());
    assert!(driver.store().len() <= 60, "{}", driver.store().len());
}
