//! Single outages of the store, played out by hand.

use core::future::{Future, ready};
use core::time::Duration;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use coatroom_core::{Error, Handle, KeyRing, Loaded, Policy, Rules, Settings, Swap, Timestamp};
use coatroom_store::memory::Memory;
use coatroom_store::{Driver, Engine, Host, Store, Swapped, Wait, block_on};
use coatroom_tests::browser::Browser;
use coatroom_tests::rng::Fixed;
use coatroom_tests::world::{RING, START};
use rand_core::TryCryptoRng;

/// Memory behind a network that is out for a while, by the clock of the host.
#[derive(Default)]
struct Outage {
    memory: Arc<Memory>,
    clock: AtomicU64,
    /// No swap arrives before this time.
    out_until: AtomicU64,
    /// The next swap takes place, and its answer is lost until then.
    answer_lost_until: AtomicU64,
    /// What somebody else does while the answer is lost.
    meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Outage {
    fn now(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }
}

impl Store for &Outage {
    coatroom_tests::index_of!(self => &*self.memory);

    fn load(&self, handle: Handle) -> impl Future<Output = Loaded> + Send {
        let lost = self.now() < self.answer_lost_until.load(Ordering::SeqCst);
        ready(if lost { Loaded::Unavailable } else { Engine::load(&*self.memory, handle) })
    }

    fn swap(&self, swap: &Swap) -> impl Future<Output = Swapped> + Send {
        if self.now() < self.out_until.load(Ordering::SeqCst) {
            return ready(Swapped::Unavailable);
        }
        let swapped = Engine::swap(&*self.memory, swap, Wait::Patiently).unwrap();
        let lost = self.now() < self.answer_lost_until.load(Ordering::SeqCst);
        if let Some(meanwhile) = self.meanwhile.lock().unwrap().take().filter(|_| lost) {
            meanwhile();
        }
        ready(if lost { Swapped::Unknown } else { swapped })
    }
}

/// Time passes in pauses alone.
struct Clock<'a>(&'a Outage, AtomicU64, bool);

impl Host for Clock<'_> {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(START + self.0.now())
    }

    fn ticks(&self) -> Duration {
        // A hurried host gives up at once: shows that the claims below can fail.
        let hurry = if self.2 { 60_000 * self.1.fetch_add(1, Ordering::SeqCst) } else { 0 };
        Duration::from_millis(self.0.now() + hurry)
    }

    fn rng(&self) -> impl TryCryptoRng {
        Fixed::new(self.1.fetch_add(1, Ordering::SeqCst))
    }

    fn pause(&self, _: Duration) -> impl Future<Output = ()> + Send {
        self.0.clock.fetch_add(20, Ordering::SeqCst);
        ready(())
    }
}

fn driver(outage: &Outage, hurried: bool) -> Driver<&Outage, Clock<'_>> {
    let rules = Rules::new(Policy::try_from(Settings::default()).unwrap(), KeyRing::parse(RING).unwrap());
    Driver::with_host(rules, outage, Clock(outage, AtomicU64::new(1 + u64::from(hurried) * 1000), hurried))
}

fn log_in(driver: &Driver<&Outage, Clock<'_>>) -> (Browser, Handle) {
    let mut session = block_on(driver.open(b"")).unwrap();
    session.login("ann", &["user"], 1).unwrap();
    let reply = block_on(driver.close(session)).unwrap();
    let mut jar = Browser::default();
    reply.set_cookies().for_each(|line| jar.obey(line));
    let read = block_on(driver.open(jar.header().as_bytes())).unwrap();
    block_on(driver.close(read)).unwrap();
    (jar, reply.trace().handle.unwrap())
}

fn logout_in_an_outage_of(ms: u64, hurried: bool) -> Result<bool, Error> {
    let outage = Outage::default();
    let (jar, _) = log_in(&driver(&outage, false));
    let driver = driver(&outage, hurried);
    outage.out_until.store(outage.now() + ms, Ordering::SeqCst);
    let mut session = block_on(driver.open(jar.header().as_bytes())).unwrap();
    session.logout();
    block_on(driver.close(session)).map_err(|refused| refused.0.error)?;
    let again = block_on(driver.open(jar.header().as_bytes())).unwrap();
    Ok(!again.is_live())
}

#[test]
fn a_logout_rides_out_an_outage_of_nine_seconds() {
    assert_eq!(logout_in_an_outage_of(9000, false), Ok(true));
}

#[test]
fn a_logout_that_never_arrived_is_never_acknowledged() {
    assert_eq!(logout_in_an_outage_of(60_000, false), Err(Error::Unavailable));
}

#[test]
fn a_driver_that_gives_up_an_ending_at_once_is_caught() {
    assert_eq!(logout_in_an_outage_of(9000, true), Err(Error::Unavailable));
}

/// The write took place, its answer was lost, and by the time that the store answers again somebody with a later clock has
/// used the session: what this clock cannot judge is not a promise that nothing was written.
#[test]
fn a_write_in_doubt_is_unknown_whatever_is_found_later() {
    let outage = Outage::default();
    let slow = driver(&outage, false);
    let (jar, handle) = log_in(&slow);
    let mut session = block_on(slow.open(jar.header().as_bytes())).unwrap();
    session.add("n", 1).unwrap();
    outage.answer_lost_until.store(outage.now() + 1000, Ordering::SeqCst);
    let (memory, header) = (Arc::clone(&outage.memory), jar.header());
    *outage.meanwhile.lock().unwrap() = Some(Box::new(move || {
        let later = Outage { memory, clock: AtomicU64::new(70_000), ..Outage::default() };
        let driver = driver(&later, true);
        let read = block_on(driver.open(header.as_bytes())).unwrap();
        block_on(driver.close(read)).unwrap();
    }));
    let refused = block_on(slow.close(session)).unwrap_err();
    assert_eq!(refused.0.error, Error::Unknown);
    let Loaded::Found(record) = Engine::load(&*outage.memory, handle) else { panic!("it is there") };
    assert_eq!(coatroom_tests::record::data(&record).get("n"), Some(&1.into()));
}

#[test]
fn revoking_everything_skips_nobody_whose_record_cannot_be_read() {
    for (ms, expected) in [(60_000, Err(Error::Unavailable)), (3000, Ok(1))] {
        let outage = Outage::default();
        let driver = driver(&outage, false);
        let (jar, _) = log_in(&driver);
        outage.answer_lost_until.store(outage.now() + ms, Ordering::SeqCst);
        assert_eq!(block_on(driver.revoke_everything()).map_err(|refused| refused.0.error), expected);
        outage.answer_lost_until.store(0, Ordering::SeqCst);
        let again = block_on(driver.open(jar.header().as_bytes())).unwrap();
        assert_eq!(again.is_live(), expected.is_err());
    }
}
