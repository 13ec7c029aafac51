//! Exchanges of one process that write to one session over a store behind a network: they queue, and each hands on the
//! record that it left.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use coatroom_core::{Handle, Loaded, Session, Swap, Timestamp, Value};
use coatroom_store::memory::Memory;
use coatroom_store::{Driver, Host, Store, Swapped, System};
use coatroom_tests::store::Store as Records;
use coatroom_tests::suite::rules;
use rand_core::TryCryptoRng;

/// A store that does what it is told at once, and may keep its answers to itself for a while.
#[derive(Default)]
struct Far {
    records: Mutex<Records>,
    index: Memory,
    /// The next answer to a swap, and no other, is kept until this is false again.
    keeps: AtomicBool,
    loads: AtomicUsize,
    swaps: AtomicUsize,
}

impl Store for Far {
    coatroom_tests::index_of!(self => &self.index);

    async fn load(&self, handle: Handle) -> Loaded {
        self.loads.fetch_add(1, Ordering::SeqCst);
        self.records.lock().unwrap().load(handle)
    }

    async fn swap(&self, swap: &Swap) -> Swapped {
        self.swaps.fetch_add(1, Ordering::SeqCst);
        let answer = self.records.lock().unwrap().swap(swap).map_or_else(Swapped::Conflict, |()| Swapped::Done);
        let is_kept = self.keeps.load(Ordering::SeqCst);
        poll_fn(|_| if is_kept && self.keeps.load(Ordering::SeqCst) { Poll::Pending } else { Poll::Ready(()) }).await;
        answer
    }
}

/// A pause is over the second time somebody asks.
#[derive(Default)]
struct Yields(System);

impl Host for Yields {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn ticks(&self) -> Duration {
        self.0.ticks()
    }

    fn rng(&self) -> impl TryCryptoRng {
        self.0.rng()
    }

    async fn pause(&self, _: Duration) {
        let mut was_asked = false;
        poll_fn(|_| if std::mem::replace(&mut was_asked, true) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

/// Somebody logged in.
struct Scene {
    driver: Driver<Far, Yields>,
    cookie: String,
}

fn poll<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// What needs nothing that is kept back.
fn done<F: Future>(future: F) -> F::Output {
    poll(pin!(future)).unwrap()
}

impl Scene {
    fn new() -> Self {
        let driver = Driver::with_host(rules(), Far::default(), Yields::default());
        let mut session = done(driver.open(b"")).unwrap();
        session.login::<&str>("alice", &[], 1).unwrap();
        let reply = done(driver.close(session)).unwrap();
        let cookie = reply.set_cookies().next().unwrap().split(';').next().unwrap().to_owned();
        let scene = Self { driver, cookie };
        assert_eq!(scene.n(), None);
        scene
    }

    fn open(&self) -> Session {
        done(self.driver.open(self.cookie.as_bytes())).unwrap()
    }

    /// One whose handler has its turn and counts.
    fn counting(&self) -> Session {
        let mut session = done(self.driver.open_serial(self.cookie.as_bytes())).unwrap();
        let n = match session.get("n") {
            Some(Value::Int(n)) => n,
            _ => 0,
        };
        session.set("n", n + 1).unwrap();
        session
    }

    fn adding(&self) -> Session {
        let mut session = self.open();
        session.add("n", 1).unwrap();
        session
    }

    fn n(&self) -> Option<Value> {
        let mut session = self.open();
        let n = session.get("n");
        done(self.driver.close(session)).unwrap();
        n
    }

    fn swaps(&self) -> usize {
        self.driver.store().swaps.swap(0, Ordering::SeqCst)
    }
}

#[test]
// spec: SER-2 884b
fn whoever_has_its_turn_is_not_refused_over_older_news_of_the_one_before() {
    let scene = Scene::new();
    let (first, keeps) = (scene.counting(), &scene.driver.store().keeps);
    keeps.store(true, Ordering::SeqCst);
    let mut first = pin!(scene.driver.close(first));
    assert!(poll(first.as_mut()).is_none());
    // What the first wrote is stored, and its turn is over; it has not heard so yet.
    keeps.store(false, Ordering::SeqCst);
    let second = scene.counting();
    let mut second = pin!(scene.driver.close(second));
    assert!(poll(second.as_mut()).is_none(), "the one before is still in line");
    poll(first).unwrap().unwrap();
    poll(second).unwrap().unwrap();
    assert_eq!(scene.n(), Some(Value::Int(2)));
}

#[test]
// spec: WRITE-2 c432
fn what_the_one_before_left_is_met_without_asking_the_store() {
    let scene = Scene::new();
    let (first, second) = (scene.adding(), scene.adding());
    scene.swaps();
    let keeps = &scene.driver.store().keeps;
    keeps.store(true, Ordering::SeqCst);
    let (mut first, mut second) = (pin!(scene.driver.close(first)), pin!(scene.driver.close(second)));
    assert!(poll(first.as_mut()).is_none() && poll(second.as_mut()).is_none());
    keeps.store(false, Ordering::SeqCst);
    poll(first).unwrap().unwrap();
    poll(second).unwrap().unwrap();
    assert_eq!((scene.swaps(), scene.n()), (2, Some(Value::Int(2))));
}

#[test]
// spec: SER-4 ef64
fn of_those_that_wait_for_a_turn_one_alone_asks_the_store() {
    let scene = Scene::new();
    let (holder, loads) = (scene.counting(), &scene.driver.store().loads);
    let mut waiting: Vec<_> = (0..20).map(|_| Box::pin(scene.driver.open_serial(scene.cookie.as_bytes()))).collect();
    assert!(waiting.iter_mut().all(|opening| poll(opening.as_mut()).is_none()));
    loads.store(0, Ordering::SeqCst);
    assert!(waiting.iter_mut().all(|opening| poll(opening.as_mut()).is_none()));
    assert_eq!(loads.load(Ordering::SeqCst), 1);
    // Whoever goes away lets the next one look.
    drop(waiting.remove(0));
    done(scene.driver.close(holder)).unwrap();
    let mut turns = 0;
    while !waiting.is_empty() {
        waiting.retain_mut(|opening| match poll(opening.as_mut()) {
            Some(session) => {
                turns += 1;
                done(scene.driver.close(session.unwrap())).unwrap();
                false
            }
            None => true,
        });
    }
    assert_eq!(turns, 19);
}
