//! How an event loop has far stores asked without waiting for them, and without a thread for each request.
//!
//! Redis is asked on the loop's own thread, whenever the loop turns what it watches one descriptor for: a [`Reactor`].
//! PostgreSQL is asked by the one thread that also serves its connections, which never touches the interpreter and makes
//! that descriptor readable. Either way the result is left where the exchange finds it, the number of the work is noted here,
//! and the loop fetches all numbers at once.
//!
//! Work that nobody waits for any more goes on to its end: what was sent to a store is never cut off.

use core::future::Future;
use core::mem::take;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use coatroom_core::staged::Staged;
use coatroom_core::{Closing, Opening};
use coatroom_store::{Host, Reactor, Work, spawn, spawn_all};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

use crate::engine::FarDriver;
use crate::error::{from_core, raise};
use crate::exchange::{Exchange, Slot};
use crate::sessions::{Sessions, with_bytes};
use crate::standing::{self, Looked};

/// Pieces of work that are under way at once in one process; more are refused.
const MOST: usize = 4096;
/// How often it is looked whether all is done, when the process ends.
const LOOK: Duration = Duration::from_millis(1);

static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

/// What was finished for one event loop, and what it has to hand over.
#[pyclass(frozen, module = "coatroom._native")]
pub(crate) struct Completions {
    finished: Arc<Finished>,
    /// What is handed over all at once later; None where it is handed over at once.
    held: Mutex<Option<Vec<Work>>>,
}

struct Finished {
    reactor: Reactor,
    told: Mutex<Told>,
    given: AtomicU64,
}

#[derive(Default)]
struct Told {
    numbers: Vec<u64>,
    /// They are being fetched: nobody has to be woken for that.
    are_fetched: bool,
}

impl Finished {
    fn told(&self) -> MutexGuard<'_, Told> {
        lock(&self.told)
    }
}

/// A piece of work. However it ends, its number is told.
pub(crate) struct Ticket {
    finished: Arc<Finished>,
    number: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let is_first = {
            let mut told = self.finished.told();
            told.numbers.push(self.number);
            told.numbers.len() == 1 && !told.are_fetched
        };
        if is_first {
            self.finished.reactor.wake();
        }
        UNDER_WAY.fetch_sub(1, Ordering::Release);
    }
}

impl Completions {
    fn ticket(&self, py: Python<'_>) -> PyResult<Ticket> {
        if UNDER_WAY.fetch_add(1, Ordering::Acquire) >= MOST {
            UNDER_WAY.fetch_sub(1, Ordering::Release);
            let message =
                "too many requests wait for the session store already: nothing was written, try again shortly";
            return Err(raise(py, "overloaded", message, 503));
        }
        let number = self.finished.given.fetch_add(1, Ordering::Relaxed);
        Ok(Ticket { finished: Arc::clone(&self.finished), number })
    }

    fn start(
        &self,
        py: Python<'_>,
        driver: &FarDriver,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> PyResult<()> {
        let mut held = self.held();
        if driver.store().is_served_by_loops() {
            self.finished.reactor.spawn(work);
            if held.is_none() {
                self.finished.reactor.run();
            }
            return Ok(());
        }
        if let Some(held) = held.as_mut() {
            held.push(Box::pin(work));
            return Ok(());
        }
        spawn(work).map_err(|_| no_thread(py))
    }

    fn held(&self) -> MutexGuard<'_, Option<Vec<Work>>> {
        lock(&self.held)
    }
}

impl Drop for Completions {
    /// Its loop was closed before it came to that.
    fn drop(&mut self) {
        if let Some(work) = self.held().take().filter(|work| !work.is_empty()) {
            // Where no thread can be started, nothing can be done.
            let _told_as_dropped = spawn_all(work);
        }
    }
}

fn no_thread(py: Python<'_>) -> PyErr {
    raise(py, "unavailable", "no thread could be started for the session store", 503)
}

#[pymethods]
impl Completions {
    #[new]
    fn new() -> PyResult<Self> {
        let reactor = Reactor::new().map_err(PyOSError::new_err)?;
        let finished = Arc::new(Finished { reactor, told: Mutex::default(), given: AtomicU64::new(0) });
        Ok(Self { finished, held: Mutex::default() })
    }

    /// The descriptor that is readable when `drain` has something to do.
    fn fileno(&self) -> i32 {
        self.finished.reactor.descriptor()
    }

    /// Goes on with what can go on; the numbers of what was finished since the last call.
    fn drain(&self) -> Vec<u64> {
        self.finished.told().are_fetched = true;
        self.finished.reactor.turn();
        let mut told = self.finished.told();
        told.are_fetched = false;
        take(&mut told.numbers)
    }

    /// Keeps what is to be done from now on, until `flush`: the other thread is woken once for all of it.
    fn hold(&self) {
        self.held().get_or_insert_default();
    }

    /// Hands over what was held.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        let held = self.held().take().filter(|work| !work.is_empty());
        self.finished.reactor.run();
        held.map_or(Ok(()), |work| spawn_all(work).map_err(|_| no_thread(py)))
    }

    /// Opens an exchange on the Cookie header, in turn if asked for. With the number of what is left to do, if anything is:
    /// once it was told, `opens` of the exchange says how it went.
    fn open(
        &self,
        py: Python<'_>,
        sessions: &Sessions,
        cookies: &Bound<'_, PyAny>,
        serial: bool,
    ) -> PyResult<(Exchange, Option<u64>)> {
        let driver = sessions.far()?;
        let (rules, host) = (driver.rules(), driver.host());
        let opening = with_bytes(cookies, |bytes| {
            if serial { rules.open_serial(bytes, host.now(), &mut host.rng()) } else { rules.open(bytes, host.now()) }
        })?;
        let exchange = sessions.exchange(opening);
        let slot = exchange.slot();
        let Ok(opening) = slot.locked(Staged::take_opening) else { return Ok((exchange, None)) };
        let ticket = self.ticket(py)?;
        let number = ticket.number;
        self.start(py, driver, opened(Arc::clone(driver), opening, slot, ticket))?;
        Ok((exchange, Some(number)))
    }

    /// Closes an exchange. The number of what is left to do, if anything is: then, or once it was told, `closed` of the
    /// exchange says how it went.
    fn close(&self, py: Python<'_>, sessions: &Sessions, exchange: &Exchange) -> PyResult<Option<u64>> {
        let driver = sessions.far()?;
        if exchange.starts_closing(py)? {
            return Ok(None);
        }
        let ticket = self.ticket(py)?;
        let number = ticket.number;
        let slot = exchange.slot();
        let closing = slot.locked(Staged::take_closing).map_err(|error| from_core(py, error))?;
        self.start(py, driver, closed(Arc::clone(driver), closing, slot, ticket))?;
        Ok(Some(number))
    }

    /// Looks how sessions stand: what holds the answers, and the number of the work.
    fn look_up(&self, py: Python<'_>, sessions: &Sessions, handles: Vec<String>) -> PyResult<(Looked, u64)> {
        let driver = sessions.far()?;
        let ticket = self.ticket(py)?;
        let (looked, number) = (Looked::default(), ticket.number);
        let answers = looked.clone();
        let asking = Arc::clone(driver);
        self.start(py, driver, async move {
            answers.put(standing::ask(&asking, handles).await);
            drop(ticket);
        })?;
        Ok((looked, number))
    }
}

async fn opened(driver: Arc<FarDriver>, opening: Opening, slot: Slot, ticket: Ticket) {
    let opening = match driver.finish_opening(opening).await {
        Ok(session) => Opening::Ready(session),
        Err(refused) => Opening::Unavailable(refused.0),
    };
    slot.locked(|staged| *staged = opening.into());
    drop(ticket);
}

async fn closed(driver: Arc<FarDriver>, closing: Closing, slot: Slot, ticket: Ticket) {
    let closing = match driver.finish(closing).await {
        Ok(reply) => Closing::Done(reply),
        Err(refused) => Closing::Failed(refused.0),
    };
    slot.locked(|staged| *staged = closing.into());
    drop((slot, ticket));
    driver.sweep_if_due().await;
}

/// Whether all that is under way was finished within so many seconds.
#[pyfunction]
pub(crate) fn settle(py: Python<'_>, seconds: f64) -> bool {
    let patience = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    py.detach(|| {
        let started = Instant::now();
        while UNDER_WAY.load(Ordering::Acquire) > 0 {
            if started.elapsed() >= patience {
                return false;
            }
            thread::sleep(LOOK);
        }
        true
    })
}

/// In a child after a fork: what its parent has under way is none of its business.
#[pyfunction]
pub(crate) fn forked() {
    UNDER_WAY.store(0, Ordering::Release);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
