//! What has ended, as far as this process has heard.
//!
//! A thread of its own pulls the feed. It never touches the interpreter, so the end of the process may come at any moment. A fork
//! may not: it waits until nobody pulls, for what a thread holds then would be held in the child for ever.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;

use coatroom_core::Place;
use coatroom_store::{Engine, Host, NotAnnounced, block_on};
use coatroom_token::{Bell, Follower, LONGEST_LEEWAY, LONGEST_LIFETIME, Puller};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyStringMethods};

use super::verifier::clock_of;
use crate::engine::AnyEngine;
use crate::error::{config, raise};
use crate::host::{Clock, PythonHost};
use crate::sessions::{Sessions, to_span};

/// How often it is looked whether somebody else still pulls.
const LOOK: Duration = Duration::from_millis(1);

/// Ended sessions and barred principals. Kept for whatever lifetime and leeway verifiers have, so that several can share it.
#[pyclass(frozen, module = "coatroom._native")]
pub(crate) struct Revocations {
    feed: Arc<Feed>,
    /// Between two pulls of the thread; none where nobody but the application pulls.
    every: Option<Duration>,
    /// Of the thread that pulls.
    bell: Mutex<Option<Bell>>,
}

struct Feed {
    known: Arc<coatroom_token::Revocations>,
    puller: Mutex<Puller<AnyEngine>>,
    clock: PythonHost,
    engine: AnyEngine,
    /// Whether nobody else prepares the store for a fork.
    is_own: bool,
    is_held: AtomicBool,
    is_busy: AtomicBool,
}

impl Feed {
    /// Fetches what is new, and says how much that was.
    // spec: TOKEN-13 0b79
    fn pull(&self) -> Result<usize, NotAnnounced> {
        let _turn = Turn::take(self);
        let mut puller = self.puller.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        block_on(puller.pull(now))
    }
}

/// The right to pull: one has it, and nobody while the process forks.
struct Turn<'f>(&'f Feed);

impl<'f> Turn<'f> {
    fn take(feed: &'f Feed) -> Self {
        loop {
            if !feed.is_busy.swap(true, Ordering::SeqCst) {
                let turn = Self(feed);
                if !feed.is_held.load(Ordering::SeqCst) {
                    return turn;
                }
            }
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.is_busy.store(false, Ordering::SeqCst);
    }
}

/// Pulls until the bell says that nobody is left who would read.
// spec: FEED-6 f2f5
fn serve(feed: &Weak<Feed>, engine: AnyEngine, follower: Follower) {
    let listen = move |nudge| engine.listen(nudge);
    follower.run(listen, || {
        // What was not heard shows in every verifier, once it is too long ago.
        let _heard = feed.upgrade().map(|feed| feed.pull());
    });
}

impl Revocations {
    pub(super) fn known(&self) -> Arc<coatroom_token::Revocations> {
        Arc::clone(&self.feed.known)
    }

    fn put(&self, bell: Option<Bell>) -> Option<Bell> {
        core::mem::replace(&mut *self.bell.lock().unwrap_or_else(PoisonError::into_inner), bell)
    }
}

impl Drop for Revocations {
    fn drop(&mut self) {
        if let Some(bell) = self.put(None) {
            bell.end();
        }
    }
}

#[pymethods]
impl Revocations {
    /// From the store of sessions, or from one by its address. `every` in seconds.
    #[new]
    #[pyo3(signature = (store, every, clock = None))]
    fn new(
        py: Python<'_>,
        store: &Bound<'_, PyAny>,
        every: Option<f64>,
        clock: Option<&Bound<'_, Clock>>,
    ) -> PyResult<Self> {
        let every = every.map(|every| to_span(py, "every", every)).transpose()?;
        let (engine, is_own) = match store.cast::<Sessions>() {
            Ok(sessions) => (sessions.get().driver().store().clone(), false),
            Err(_) => (open(py, &store.cast::<PyString>()?.to_cow()?)?, true),
        };
        if !engine.has_feed() {
            return Err(config(py, &NotAnnounced::NoFeed));
        }
        let known = Arc::new(coatroom_token::Revocations::new(LONGEST_LIFETIME, LONGEST_LEEWAY));
        let feed = Arc::new(Feed {
            puller: Mutex::new(Puller::new(engine.clone(), Arc::clone(&known))),
            known,
            clock: clock_of(clock),
            engine,
            is_own,
            is_held: AtomicBool::new(false),
            is_busy: AtomicBool::new(false),
        });
        Ok(Self { feed, every, bell: Mutex::default() })
    }

    /// Fetches what is new, and says how much that was. Raises when the store does not answer.
    fn pull(&self, py: Python<'_>) -> PyResult<usize> {
        py.detach(|| self.feed.pull()).map_err(|error| raise(py, "unavailable", &error.to_string(), 503))
    }

    /// Has a thread pull from now on, if that was asked for.
    fn start(&self, py: Python<'_>) -> PyResult<()> {
        let Some(every) = self.every else { return Ok(()) };
        let (feed, follower) = (Arc::downgrade(&self.feed), Follower::new(every));
        let (bell, engine) = (follower.bell(), self.feed.engine.clone());
        let named = thread::Builder::new().name("coatroom-feed".to_owned());
        let started = named.spawn(move || serve(&feed, engine, follower));
        let no_thread = |_| raise(py, "unavailable", "no thread could be started for the feed of ended sessions", 503);
        started.map_err(no_thread)?;
        self.put(Some(bell));
        Ok(())
    }

    /// Waits until nobody pulls, and holds everybody back, before a fork.
    fn hold(&self, py: Python<'_>) {
        py.detach(|| {
            self.feed.is_held.store(true, Ordering::SeqCst);
            while self.feed.is_busy.load(Ordering::SeqCst) {
                thread::sleep(LOOK);
            }
            if self.feed.is_own {
                self.feed.engine.release();
            }
        });
    }

    /// Goes on in the parent.
    fn resume(&self) {
        if self.feed.is_own {
            self.feed.engine.resume();
        }
        self.feed.is_held.store(false, Ordering::SeqCst);
    }

    /// Goes on in the child, which has no thread yet.
    fn forked(&self, py: Python<'_>) -> PyResult<()> {
        self.feed.is_busy.store(false, Ordering::SeqCst);
        self.feed.is_held.store(false, Ordering::SeqCst);
        self.start(py)
    }

    /// Up to when everything was heard, in seconds since the Unix epoch.
    fn up_to_date(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of 48 bits are exact")]
        self.feed.known.up_to_date().map(|time| time.as_unix_ms() as f64 / 1000.0)
    }

    /// How many ended sessions are known.
    fn count(&self) -> usize {
        self.feed.known.len()
    }

    /// Bytes of memory that they take.
    fn bytes(&self) -> usize {
        self.feed.known.bytes()
    }
}

fn open(py: Python<'_>, address: &str) -> PyResult<AnyEngine> {
    match Place::parse(address).1 {
        Some(plain) => AnyEngine::open(py, plain),
        None => Err(config(py, &"sessions that live in their cookies alone announce no endings: name a deny list")),
    }
}
