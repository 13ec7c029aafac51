use core::future::Future;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use coatroom_core::{Error, Loaded, Session, State, Timestamp, Value};
use coatroom_store::{Driver, Host, Refused, Store, System, block_on};
use rand_core::TryCryptoRng;

use super::{Through, rules, somebody};

/// The driver over a store, as one browser meets it.
struct Visit<'a, S, H> {
    driver: &'a Driver<S, H>,
    cookies: HashMap<String, String>,
}

impl<'a, S: Store, H: Host> Visit<'a, S, H> {
    fn to(driver: &'a Driver<S, H>) -> Self {
        Self { driver, cookies: HashMap::new() }
    }

    fn exchange(&mut self, handler: impl FnOnce(&mut Session)) -> Result<(), Error> {
        let mut session = self.open()?;
        handler(&mut session);
        self.close(session)
    }

    fn open(&self) -> Result<Session, Error> {
        let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        block_on(self.driver.open(pairs.join("; ").as_bytes())).map_err(|Refused(failure)| failure.error)
    }

    fn close(&mut self, session: Session) -> Result<(), Error> {
        let reply = block_on(self.driver.close(session)).map_err(|Refused(failure)| failure.error)?;
        for line in reply.set_cookies() {
            let (name, rest) = line.split_once('=').expect("a name");
            self.cookies.insert(name.to_owned(), rest.split(';').next().unwrap_or_default().to_owned());
        }
        Ok(())
    }
}

/// A clock that a test moves on.
#[derive(Debug, Default)]
pub struct Clock {
    system: System,
    ahead: AtomicU64,
}

impl Clock {
    pub fn advance(&self, span: Duration) {
        self.ahead.fetch_add(span.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Host for Clock {
    fn now(&self) -> Timestamp {
        self.system.now().plus(Duration::from_millis(self.ahead.load(Ordering::SeqCst)))
    }

    fn ticks(&self) -> Duration {
        self.system.ticks()
    }

    fn rng(&self) -> impl TryCryptoRng {
        self.system.rng()
    }

    fn pause(&self, span: Duration) -> impl Future<Output = ()> + Send {
        self.system.pause(span)
    }
}

/// Limits are judged from the record: not a moment too late though the store still holds it, and not too early either.
pub fn expiry<S: Store>(store: &S) {
    let driver = Driver::with_host(rules(), Through::to(store), Clock::default());
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    for logs_in in [false, true] {
        let mut visit = Visit::to(&driver);
        let begin = |session: &mut Session| {
            session.set("n", 7).unwrap();
            if logs_in {
                session.login(&somebody("alice"), &["admin"], 1).unwrap();
            }
        };
        visit.exchange(begin).unwrap();
        let mut handle = None;
        for _ in 0..3 {
            driver.host().advance(minutes(30) - Duration::from_secs(1));
            let look = |session: &mut Session| {
                assert_eq!(session.get("n"), Some(Value::Int(7)), "used again and again, it goes on");
                handle = session.handle();
            };
            visit.exchange(look).unwrap();
        }
        driver.host().advance(minutes(30));
        assert!(matches!(block_on(store.load(handle.unwrap())), Loaded::Found(_)), "the store holds it");
        let look = |session: &mut Session| {
            assert_eq!((session.state(), session.get("n")), (Some(State::Expired), None));
            assert_eq!(session.principal(), None);
        };
        visit.exchange(look).unwrap();
    }
}

/// Whoever logs in, rotates and works while all sessions of the principal are revoked: no session that was logged in by
/// an exchange opened before works after it, in whatever order the store met their calls.
pub fn revocations<S: Store>(store: &S, rounds: usize) {
    const BROWSERS: usize = 3;
    let driver = Driver::with_host(rules(), Through::to(store), Clock::default());
    for round in 0..rounds {
        let alice = somebody("alice");
        let log_in = |session: &mut Session| session.login(&alice, &["admin"], 1).unwrap();
        let mut old: Vec<_> = (0..BROWSERS).map(|_| Visit::to(&driver)).collect();
        for visit in &mut old {
            visit.exchange(log_in).unwrap();
            visit.exchange(|session| assert!(session.principal().is_some())).unwrap();
        }
        // Rotations become possible.
        driver.host().advance(Duration::from_secs(61));
        let mut new: Vec<_> = (0..BROWSERS).map(|_| Visit::to(&driver)).collect();

        let start = Barrier::new(2 * BROWSERS + 1);
        thread::scope(|scope| {
            for visit in &mut new {
                scope.spawn(|| {
                    let mut session = visit.open().unwrap();
                    log_in(&mut session);
                    start.wait();
                    visit.close(session)
                });
            }
            for visit in &mut old {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..3 {
                        let _refused_in_the_end = visit.exchange(|session| {
                            session.rotate();
                            session.set("n", 1).unwrap();
                        });
                    }
                });
            }
            start.wait();
            block_on(driver.revoke_all(&alice)).expect("the store is there");
        });
        for (at, visit) in old.iter_mut().chain(&mut new).enumerate() {
            visit.exchange(|session| assert_eq!(session.principal(), None, "round {round}, browser {at}")).unwrap();
        }
        assert!(block_on(driver.devices(&alice)).unwrap().is_empty());
    }
}
