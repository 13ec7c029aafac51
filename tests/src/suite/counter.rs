use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use coatroom_core::{Error, Value};
use coatroom_store::{Driver, Refused, Store, block_on};

use super::history::EndOf;
use super::{Through, rules};

/// Threads that count on one session through the driver: every acknowledged addition is there, each once.
pub fn counting<S: Store>(store: &S, threads: usize, each: usize) {
    let counter = Counter::new(store);
    counter.count(threads, each, |added| assert_eq!(added, Ok(()), "nobody has to give up"));
    assert_eq!(counter.acknowledged(), threads * each, "nothing stays unknown");
    counter.check();
}

/// The same where every third swap leaves it open whether it took place, and loads fail now and then: additions are
/// recognised by their commit id, and whatever is not known in the end is said to be so.
pub fn doubts<S: Store>(store: &S, threads: usize, each: usize) {
    let counter = Counter::over(Through::doubtfully(store));
    counter.count(threads, each, |_| ());
    assert!(counter.acknowledged() * 2 > threads * each, "most doubts are cleared up: {}", counter.acknowledged());
    counter.check();
}

/// One session, on which threads and processes count.
#[derive(Debug)]
pub struct Counter<'a, S> {
    driver: Driver<Through<'a, S>>,
    cookie: String,
    acknowledged: AtomicUsize,
    unknown: AtomicUsize,
}

impl<'a, S: Store> Counter<'a, S> {
    pub fn new(store: &'a S) -> Self {
        Self::over(Through::to(store))
    }

    fn over(store: Through<'a, S>) -> Self {
        let driver = Driver::new(rules(), store);
        let begin = || {
            let mut session = block_on(driver.open(b"")).ok()?;
            session.set("n", 0).unwrap();
            let reply = block_on(driver.close(session)).ok()?;
            reply.set_cookies().next().map(|line| line.split(';').next().unwrap_or_default().to_owned())
        };
        // A store that is to fail now and then is asked again.
        let cookie = (0..100).find_map(|_| begin()).expect("a session");
        Self { driver, cookie, acknowledged: AtomicUsize::new(0), unknown: AtomicUsize::new(0) }
    }

    /// The session, as a Cookie header.
    pub fn cookie(&self) -> &str {
        &self.cookie
    }

    pub fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Adds one; what came of it is counted too.
    pub fn add(&self) -> Result<(), Error> {
        let add = || -> Result<(), Refused> {
            let mut session = block_on(self.driver.open(self.cookie.as_bytes()))?;
            session.add("n", 1).expect("the session is there");
            block_on(self.driver.close(session)).map(drop)
        };
        match add().map_err(|Refused(failure)| failure.error) {
            Ok(()) => drop(self.acknowledged.fetch_add(1, Ordering::SeqCst)),
            Err(Error::Unknown) => drop(self.unknown.fetch_add(1, Ordering::SeqCst)),
            Err(Error::Unavailable | Error::Busy) => return Err(Error::Unavailable),
            Err(other) => panic!("an addition: {other}"),
        }
        Ok(())
    }

    fn count(&self, threads: usize, each: usize, after: impl Fn(Result<(), Error>) + Sync) {
        thread::scope(|scope| {
            let work = || (0..each).for_each(|_| after(self.add()));
            (0..threads).for_each(|_| drop(scope.spawn(work)));
        });
    }

    /// Threads count while `meanwhile` runs on this one.
    pub fn work(&self, threads: usize, meanwhile: impl FnOnce()) {
        let is_over = AtomicBool::new(false);
        let work = || {
            while !is_over.load(Ordering::Relaxed) {
                let _counted = self.add();
            }
        };
        thread::scope(|scope| {
            let _ends_also_by_panic = EndOf(&is_over);
            (0..threads).for_each(|_| drop(scope.spawn(work)));
            meanwhile();
        });
    }

    /// Every acknowledged addition is there, and no other but those of which nobody knows.
    pub fn check(&self) {
        self.check_with(0, 0);
    }

    /// The same, with what other processes counted and did not come to know.
    pub fn check_with(&self, acknowledged: usize, unknown: usize) {
        let sum = || block_on(self.driver.open(self.cookie.as_bytes())).ok().map(|mut session| session.get("n"));
        let Some(Some(Value::Int(sum))) = (0..100).find_map(|_| sum()) else { panic!("the count is gone") };
        let sum = usize::try_from(sum).unwrap();
        let acknowledged = self.acknowledged() + acknowledged;
        let unknown = self.unknown.load(Ordering::SeqCst) + unknown;
        assert!(sum >= acknowledged, "{sum} of {acknowledged} acknowledged additions are there");
        assert!(sum <= acknowledged + unknown, "{sum}, of {acknowledged} acknowledged and {unknown} unknown additions");
    }
}
