//! Serial mode through the driver: turns on a real engine, and waits by a clock that only pauses move.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use coatroom_core::{Closing, Entry, Error, Handle, Listing, Loaded, Opening, Session, Stamp, Swap, Timestamp, Value};
use coatroom_store::memory::Memory;
use coatroom_store::{Cursor, Driver, Engine, Entered, Host, NotListed, Refused, Swapped, Unavailable, Wait, block_on};
use coatroom_tests::rng::Fixed;
use coatroom_tests::suite::rules;
use coatroom_tests::world::START;
use rand_core::TryCryptoRng;

/// Time passes in pauses alone, ten milliseconds at least.
#[derive(Default)]
struct Still {
    ms: AtomicU64,
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
        Fixed::new(self.seed.fetch_add(1, Ordering::SeqCst) + 1)
    }

    fn pause(&self, span: Duration) -> impl Future<Output = ()> + Send {
        self.ms.fetch_add(u64::try_from(span.as_millis()).unwrap().max(10), Ordering::SeqCst);
        ready(())
    }
}

/// An engine that answers one swap as it is told, and does nothing then.
#[derive(Default)]
struct Told {
    memory: Memory,
    answer: Mutex<Option<Swapped>>,
    is_far: bool,
    /// What happens during the next swap.
    meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    swaps: AtomicUsize,
}

impl Told {
    fn answer(&self, answer: Swapped) {
        *self.answer.lock().unwrap() = Some(answer);
    }
}

impl Engine for Told {
    fn load(&self, handle: Handle) -> Loaded {
        Engine::load(&self.memory, handle)
    }

    fn swap(&self, swap: &Swap, wait: Wait) -> Option<Swapped> {
        self.swaps.fetch_add(1, Ordering::SeqCst);
        let meanwhile = self.meanwhile.lock().unwrap().take();
        meanwhile.into_iter().for_each(|happens| happens());
        self.answer.lock().unwrap().take().or_else(|| Engine::swap(&self.memory, swap, wait))
    }

    fn enter(&self, entry: &Entry) -> Result<Entered, NotListed> {
        Engine::enter(&self.memory, entry)
    }

    fn sessions(&self, principal: &str) -> Result<Vec<Handle>, Unavailable> {
        Engine::sessions(&self.memory, principal)
    }

    fn leave(&self, principal: &str, handle: Handle) -> Result<(), Unavailable> {
        Engine::leave(&self.memory, principal, handle)
    }

    fn bar(&self, principal: &str, now: Timestamp) -> Result<Timestamp, Unavailable> {
        Engine::bar(&self.memory, principal, now)
    }

    fn scan(&self, from: Option<Cursor>, max: usize) -> Result<(Vec<Handle>, Option<Cursor>), Unavailable> {
        Engine::scan(&self.memory, from, max)
    }

    fn sweep(&self, now: Timestamp, max: usize) -> Result<usize, Unavailable> {
        Engine::sweep(&self.memory, now, max)
    }

    fn is_here(&self) -> bool {
        !self.is_far
    }
}

/// A closing; whether it came to an end that is good.
type Closed = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Somebody logged in.
struct Scene {
    driver: Arc<Driver<Told, Still>>,
    cookie: String,
}

impl Scene {
    fn new() -> Self {
        Self::over(Told::default())
    }

    fn over(store: Told) -> Self {
        let driver = Arc::new(Driver::with_host(rules(), store, Still::default()));
        let mut session = driver.open_now(b"").unwrap();
        session.login::<&str>("alice", &[], 1).unwrap();
        let reply = driver.close_now(session).unwrap();
        let cookie = reply.set_cookies().next().unwrap().split(';').next().unwrap().to_owned();
        Self { driver, cookie }
    }

    fn begin(&self) -> Result<Session, Error> {
        self.driver.open_serial_now(self.cookie.as_bytes()).map_err(error)
    }

    /// An exchange that takes no turn, and sets something.
    fn set(&self) -> Closing {
        let mut session = self.driver.open_now(self.cookie.as_bytes()).unwrap();
        session.set("n", 7).unwrap();
        self.driver.start_closing(session)
    }

    fn n(&self) -> Option<Value> {
        self.driver.open_now(self.cookie.as_bytes()).unwrap().get("n")
    }

    fn ms(&self) -> u64 {
        self.driver.host().ms.load(Ordering::SeqCst)
    }

    /// How long `work` paused.
    fn took(&self, work: impl FnOnce()) -> u64 {
        let before = self.ms();
        work();
        self.ms() - before
    }

    /// Somebody has a turn, and an hour of it: no policy gives that.
    fn block(&self) {
        let session = self.begin().unwrap();
        let handle = session.handle().unwrap();
        let Loaded::Found(record) = Engine::load(self.driver.store(), handle) else { panic!("it is stored") };
        let mut new = record.clone();
        new[127..133].copy_from_slice(&(START + 3_600_000).to_be_bytes()[2..]);
        let expected = Stamp::of(&record);
        let swap = Swap {
            handle,
            expected,
            new: Some(new),
            durable: false,
            garbage_at: Timestamp::MAX,
            listing: Listing::Keep,
        };
        assert_eq!(Engine::swap(self.driver.store(), &swap, Wait::Patiently), Some(Swapped::Done));
    }
}

fn error(Refused(failure): Refused) -> Error {
    failure.error
}

/// Reads, adds one and sets, as handlers do.
fn count(session: &mut Session) {
    let before = if let Some(Value::Int(before)) = session.get("n") { before } else { 0 };
    session.set("n", before + 1).unwrap();
}

#[test]
// spec: SER-1 0cb4, SER-3 4b53, SER-4 ef64, SER-5 a33a
fn two_hundred_that_read_add_and_set_in_turn_count_two_hundred() {
    let driver = Driver::new(rules(), Memory::default());
    let mut session = driver.open_now(b"").unwrap();
    session.login::<&str>("alice", &[], 1).unwrap();
    let reply = driver.close_now(session).unwrap();
    let cookie = reply.set_cookies().next().unwrap().split(';').next().unwrap().to_owned();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let mut session = driver.open_serial_now(cookie.as_bytes()).unwrap();
                    count(&mut session);
                    thread::yield_now();
                    driver.close_now(session).unwrap();
                }
            });
        }
    });
    assert_eq!(driver.open_now(cookie.as_bytes()).unwrap().get("n"), Some(Value::Int(200)));
}

#[test]
// spec: WRITE-2 c432
fn who_writes_on_a_thread_that_may_wait_hands_on_what_it_left() {
    let scene = Scene::over(Told { is_far: true, ..Told::default() });
    let adding = || {
        let mut session = scene.driver.open_now(scene.cookie.as_bytes()).unwrap();
        session.add("n", 1).unwrap();
        session
    };
    let (first, second, driver) = (adding(), adding(), Arc::clone(&scene.driver));
    let closing: Closed = Box::pin(async move { driver.close(second).await.is_ok() });
    let second = Arc::new(Mutex::new(closing));
    let poll = |second: &Mutex<Closed>| second.lock().unwrap().as_mut().poll(&mut Context::from_waker(Waker::noop()));
    let (store, behind) = (scene.driver.store(), Arc::clone(&second));
    *store.meanwhile.lock().unwrap() = Some(Box::new(move || assert_eq!(poll(&behind), Poll::Pending, "in line")));
    let before = store.swaps.load(Ordering::SeqCst);
    scene.driver.close_now(first).unwrap();
    assert_eq!(poll(&second), Poll::Ready(true));
    assert_eq!((store.swaps.load(Ordering::SeqCst) - before, scene.n()), (2, Some(Value::Int(2))));
}

#[test]
// spec: SER-4 ef64
fn the_turn_of_a_holder_that_died_is_waited_for_as_long_as_it_lasts() {
    let scene = Scene::new();
    drop(scene.begin().unwrap());
    let took = scene.took(|| drop(scene.begin().unwrap()));
    assert!((15_000..15_100).contains(&took), "{took}");
    let took = scene.took(|| drop(scene.driver.finish_now(scene.set()).unwrap()));
    assert!((15_000..15_100).contains(&took), "{took}");
    assert_eq!((scene.n(), scene.took(|| drop(scene.begin().unwrap()))), (Some(Value::Int(7)), 0));
}

#[test]
// spec: SER-1 0cb4, SER-4 ef64
fn a_wait_has_an_end_and_endings_wait_for_nobody() {
    let scene = Scene::new();
    scene.block();
    let took = scene.took(|| assert_eq!(scene.begin().err(), Some(Error::Busy)));
    assert!((30_000..30_100).contains(&took), "{took}");
    let refused = |closing| scene.driver.finish_now(closing).err().map(error);
    let took = scene.took(|| assert_eq!(refused(scene.set()), Some(Error::Busy)));
    assert!((30_000..30_100).contains(&took), "{took}");
    let mut session = scene.driver.open_now(scene.cookie.as_bytes()).unwrap();
    session.logout();
    assert_eq!(scene.took(|| drop(scene.driver.close_now(session).unwrap())), 0);
}

#[test]
// spec: SER-1 0cb4, SER-4 ef64
fn an_event_loop_is_told_to_wait_elsewhere() {
    let scene = Scene::new();
    let open = || scene.driver.open_serial_without_waiting(scene.cookie.as_bytes());
    let Opening::Ready(mut session) = open() else { panic!("nobody has a turn") };
    let (Opening::Wait(load), elsewhere) = (open(), scene.set()) else { panic!("it is another's turn") };
    let elsewhere = scene.driver.finish_without_waiting(elsewhere);
    assert!(matches!(elsewhere, Closing::Wait(_)));
    count(&mut session);
    scene.driver.close_now(session).unwrap();
    let mut next = scene.driver.finish_opening_now(Opening::Wait(load)).unwrap();
    assert_eq!(next.get("n"), Some(Value::Int(1)));
    scene.driver.close_now(next).unwrap();
    scene.driver.finish_now(elsewhere).unwrap();
    assert_eq!(scene.n(), Some(Value::Int(7)));
}

#[test]
// spec: SER-2 884b
fn a_turn_that_was_lost_is_taken_again_and_one_that_cannot_be_written_is_an_error() {
    let scene = Scene::new();
    scene.driver.store().answer(Swapped::Unknown);
    let mut session = block_on(scene.driver.open_serial(scene.cookie.as_bytes())).unwrap();
    count(&mut session);
    assert_eq!(session.trace().trips, 4);
    block_on(scene.driver.close(session)).unwrap();
    scene.driver.store().answer(Swapped::Unavailable);
    assert_eq!(scene.begin().err(), Some(Error::Unavailable));
    assert_eq!(scene.n(), Some(Value::Int(1)));
}
