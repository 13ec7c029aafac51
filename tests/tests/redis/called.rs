//! Exchanges of an event loop whose store calls back, as the Python module has them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use coatroom_core::{Closing, Error, Opening, Reply, Session, Value};
use coatroom_store::{Driver, Host as _, Reactor, Refused, block_on_far as block_on};
use coatroom_tests::servers::{Proxy, Redis, Server as _};
use coatroom_tests::suite::until;

use super::{Store, driver, login, store};

/// Exchanges at once.
const AT_ONCE: i64 = 32;

/// A loop that is turned by whoever waits, and a session.
struct Scene {
    driver: Arc<Driver<Store>>,
    reactor: Arc<Reactor>,
    cookie: String,
    /// Exchanges whose swap was answered by a call.
    called: Arc<AtomicU32>,
}

impl Scene {
    fn new(store: Store) -> Self {
        let driver = Arc::new(driver(store));
        let cookie = login(&driver, "alice");
        let (reactor, called) = (Arc::new(Reactor::new().unwrap()), Arc::default());
        let scene = Self { driver, reactor, cookie, called };
        // The first finds no connection.
        scene.add(1).pop().unwrap().unwrap();
        scene
    }

    /// So many exchanges at once that add one; how each ended.
    fn add(&self, count: i64) -> Vec<Result<Reply, Refused>> {
        let (tell, told) = channel();
        for _ in 0..count {
            self.open(tell.clone());
        }
        let opened = self.all_of(&told, count);
        let (tell, told) = channel();
        for opened in opened {
            match opened {
                Ok(mut session) => {
                    session.add("n", 1).unwrap();
                    self.close(session, tell.clone());
                }
                Err(refused) => tell.send(Err(refused)).unwrap(),
            }
        }
        self.all_of(&told, count)
    }

    fn all_of<T>(&self, told: &Receiver<T>, count: i64) -> Vec<T> {
        self.reactor.run();
        let mut all = Vec::new();
        until("all are told", Duration::from_secs(20), || {
            self.reactor.turn_within(Duration::from_millis(10));
            all.extend(told.try_iter());
            i64::try_from(all.len()) == Ok(count)
        });
        all
    }

    fn open(&self, tell: Sender<Result<Session, Refused>>) {
        let opening = self.driver.rules().open(self.cookie.as_bytes(), self.driver.host().now());
        let (driver, reactor) = (Arc::clone(&self.driver), Arc::clone(&self.reactor));
        self.reactor.within(|| {
            self.driver.begin_opening(opening, move |opening| match opening {
                Opening::Ready(session) => tell.send(Ok(session)).unwrap(),
                Opening::Unavailable(failure) => tell.send(Err(Refused(failure))).unwrap(),
                waits => reactor.spawn(Box::pin(async move {
                    tell.send(driver.finish_opening(waits).await).unwrap();
                })),
            });
        });
    }

    fn close(&self, session: Session, tell: Sender<Result<Reply, Refused>>) {
        let closing = self.driver.start_closing(session);
        let (driver, reactor) = (Arc::clone(&self.driver), Arc::clone(&self.reactor));
        let called = Arc::clone(&self.called);
        self.reactor.within(|| {
            self.driver.begin_closing(closing, move |closing, first| match closing {
                Closing::Done(reply) => {
                    called.fetch_add(1, Ordering::SeqCst);
                    tell.send(Ok(reply)).unwrap();
                }
                Closing::Failed(failure) => tell.send(Err(Refused(failure))).unwrap(),
                waits => reactor.spawn(Box::pin(async move {
                    tell.send(driver.finish_after(waits, first).await).unwrap();
                })),
            });
        });
    }

    fn n(&self) -> i64 {
        let mut session = block_on(self.driver.open(self.cookie.as_bytes())).unwrap();
        let Some(Value::Int(n)) = session.get("n") else { panic!("nothing was counted") };
        n
    }
}

#[test]
// spec: STORE-4 194b
fn exchanges_that_are_called_lose_no_addition_to_one_session() {
    let server = Redis::start(&[]);
    let scene = Scene::new(store(&server.url()));
    let other = driver(store(&server.url()));
    for _ in 0..5 {
        // Another process writes between their reads and their writes.
        let mut session = block_on(other.open(scene.cookie.as_bytes())).unwrap();
        session.add("n", 1).unwrap();
        let added = scene.add(AT_ONCE);
        block_on(other.close(session)).unwrap();
        assert!(added.iter().all(Result::is_ok));
    }
    assert_eq!(scene.n(), 1 + 5 * (AT_ONCE + 1));
    // One of them at a time; the others queue behind it.
    assert!(scene.called.load(Ordering::SeqCst) >= 5, "they are called");
}

#[test]
fn a_server_that_has_forgotten_its_scripts_is_told_them_again() {
    let server = Redis::start(&[]);
    let scene = Scene::new(store(&server.url()));
    server.call(&["SCRIPT", "FLUSH"]);
    assert!(scene.add(AT_ONCE).iter().all(Result::is_ok));
    assert_eq!(scene.n(), 1 + AT_ONCE);
}

#[test]
// spec: WRITE-11 c612, STORE-8 8f18
fn an_exchange_whose_answer_was_lost_counts_once() {
    let server = Redis::start(&[]);
    let proxy = Proxy::to(&server.address());
    let scene = Scene::new(store(&proxy.url(&server.url())));
    let mut counted = 1;
    for _ in 0..20 {
        let (tell, told) = channel();
        scene.open(tell);
        let opened = scene.all_of(&told, 1).pop().unwrap();
        let mut session = opened.unwrap();
        session.add("n", 1).unwrap();
        let (tell, told) = channel();
        scene.close(session, tell);
        scene.reactor.run();
        proxy.cut();
        scene.all_of(&told, 1).pop().unwrap().unwrap();
        counted += 1;
    }
    assert_eq!(scene.n(), counted);
}

#[test]
// spec: STORE-5 5484
fn a_server_that_is_silent_is_an_outage_and_no_empty_store() {
    let server = Redis::start(&[]);
    let scene = Scene::new(store(&server.url()));
    server.pause();
    let refused = scene.add(AT_ONCE);
    server.resume();
    assert!(refused.iter().all(|refused| refused.as_ref().is_err_and(|refused| refused.0.error == Error::Unavailable)));
    until("the store works again", Duration::from_secs(10), || scene.add(1).pop().unwrap().is_ok());
    assert_eq!(scene.n(), 2);
}

#[test]
fn those_who_write_to_one_session_at_once_queue_and_none_is_sent_in_vain() {
    let server = Redis::start(&[]);
    let scene = Scene::new(store(&server.url()));
    let before = scripts_run(&server);
    assert!(scene.add(AT_ONCE).iter().all(Result::is_ok));
    assert_eq!(scripts_run(&server) - before, AT_ONCE);
}

fn scripts_run(server: &Redis) -> i64 {
    let stats = server.call(&["INFO", "commandstats"]).text();
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")).unwrap();
    line.split(',').next().unwrap().parse().unwrap()
}
