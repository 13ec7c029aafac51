//! How an event loop has far stores asked without waiting for them, and without a thread for each request.
//!
//! Redis is asked on the loop's own thread, whenever the loop turns what it watches one descriptor for: a [`Reactor`].
//! PostgreSQL is asked by the one thread that also serves its connections, which never touches the interpreter and makes
//! that descriptor readable. Either way the result is left where the exchange finds it, the number of the work is noted here,
//! and the loop fetches all numbers at once.
//!
//! Work that nobody waits for any more goes on to its end: what was sent to a store is never cut off.

mod asked;

use core::cell::RefCell;
use core::mem::{replace, take};
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use coatroom_core::staged::Staged;
use coatroom_core::{Closing, Opening};
use coatroom_store::{Host, Reactor, Work, spawn, spawn_all};
use pyo3::exceptions::PyOSError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};
use slab::Slab;

use asked::Asked;

use crate::engine::FarDriver;
use crate::error::{from_core, raise};
use crate::exchange::Exchange;
use crate::pending::Pending;
use crate::sessions::{Sessions, with_bytes};
use crate::standing::{self, Looked};

/// Pieces of work that are under way at once in one process; more are refused.
const MOST: usize = 4096;
/// How often it is looked whether all is done, when the process ends.
const LOOK: Duration = Duration::from_millis(1);

static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

std::thread_local! {
    /// Those that this thread asked for last.
    static LAST: RefCell<Option<Py<PyWeakrefReference>>> = const { RefCell::new(None) };
}

/// What one event loop waits for, what was finished for it, and what it has to hand over. Held by the loop alone, which
/// watches its descriptor: it goes, and the descriptor with it, when the loop is closed.
#[pyclass(frozen, weakref, module = "coatroom._native")]
pub(crate) struct Completions {
    event_loop: Py<PyAny>,
    /// What waits for which work, by its number; nothing while a number is taken and no more.
    waiting: Mutex<Slab<Option<Py<Pending>>>>,
    finished: Arc<Finished>,
    /// What is handed over all at once later; None where it is handed over at once.
    held: Mutex<Option<Vec<Work>>>,
}

struct Finished {
    reactor: Reactor,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    numbers: Vec<usize>,
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
    number: usize,
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
    pub(crate) fn event_loop<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.event_loop.bind(py).clone()
    }

    /// Has the work with this number told to whoever awaits it by this.
    pub(crate) fn wait_by(&self, pending: &Bound<'_, Pending>, number: usize) {
        let pending = Some(pending.clone().unbind());
        let before = lock(&self.waiting).get_mut(number).map(|waiting| replace(waiting, pending));
        drop(before);
    }

    fn ticket(&self, py: Python<'_>) -> PyResult<Ticket> {
        if UNDER_WAY.fetch_add(1, Ordering::Acquire) >= MOST {
            UNDER_WAY.fetch_sub(1, Ordering::Release);
            let message =
                "too many requests wait for the session store already: nothing was written, try again shortly";
            return Err(raise(py, "overloaded", message, 503));
        }
        let number = lock(&self.waiting).insert(None);
        Ok(Ticket { finished: Arc::clone(&self.finished), number })
    }

    /// Has something begun, and done what work there is then; what is to be awaited for it.
    fn start<'py>(
        slf: &Bound<'py, Self>,
        driver: &FarDriver,
        begin: impl FnOnce(Ticket) -> PyResult<Option<Work>>,
    ) -> PyResult<Bound<'py, Pending>> {
        let this = slf.get();
        let ticket = this.ticket(slf.py())?;
        let pending = Pending::new(slf, ticket.number)?;
        this.wait_by(&pending, ticket.number);
        let reactor = &this.finished.reactor;
        let work = reactor.within(|| begin(ticket))?;
        if driver.store().is_served_by_loops() {
            if let Some(work) = work {
                reactor.spawn(work);
            }
            if this.held().is_none() {
                reactor.run();
            }
            return Ok(pending);
        }
        let Some(work) = work else { return Ok(pending) };
        if let Some(held) = this.held().as_mut() {
            held.push(work);
            return Ok(pending);
        }
        spawn(work).map_err(|_| no_thread(slf.py()))?;
        Ok(pending)
    }

    fn held(&self) -> MutexGuard<'_, Option<Vec<Work>>> {
        lock(&self.held)
    }

    /// Keeps what is to be done from now on, until [`Completions::flush`]: the other thread is woken once for all of it.
    fn hold(&self) {
        self.held().get_or_insert_default();
    }

    /// Hands over what was held.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        let held = self.held().take().filter(|work| !work.is_empty());
        self.finished.reactor.run();
        held.map_or(Ok(()), |work| spawn_all(work).map_err(|_| no_thread(py)))
    }

    /// Goes on with what can go on; the numbers of what was finished since the last time.
    fn drain(&self) -> Vec<usize> {
        self.finished.told().are_fetched = true;
        self.finished.reactor.turn();
        let mut told = self.finished.told();
        told.are_fetched = false;
        take(&mut told.numbers)
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
    fn new(event_loop: Py<PyAny>) -> PyResult<Self> {
        let reactor = Reactor::new().map_err(PyOSError::new_err)?;
        let finished = Arc::new(Finished { reactor, told: Mutex::default() });
        Ok(Self { event_loop, waiting: Mutex::default(), finished, held: Mutex::default() })
    }

    /// Those of the running loop, if this thread asked for them last.
    #[staticmethod]
    fn here(py: Python<'_>) -> PyResult<Option<Bound<'_, Self>>> {
        static RUNNING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let running = RUNNING.import(py, "asyncio", "get_running_loop")?.call0()?;
        let last = LAST.with_borrow(|last| last.as_ref().map(|last| last.clone_ref(py)));
        let last = last.and_then(|last| last.bind(py).upgrade()).map(Bound::cast_into::<Self>).transpose()?;
        Ok(last.filter(|last| last.get().event_loop.is(&running)))
    }

    /// Has this thread asked for these last.
    fn remember(slf: &Bound<'_, Self>) -> PyResult<()> {
        let weak = PyWeakrefReference::new(slf)?.unbind();
        drop(LAST.replace(Some(weak)));
        Ok(())
    }

    /// The descriptor that is readable when `wake` has something to do.
    fn fileno(&self) -> i32 {
        self.finished.reactor.descriptor()
    }

    /// Goes on with what can go on, and has the tasks go on whose work is done.
    fn wake(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::tell(slf, slf.get().drain())
    }

    /// Has the tasks go on that wait for the work with these numbers.
    fn tell(slf: &Bound<'_, Self>, numbers: Vec<usize>) -> PyResult<()> {
        let this = slf.get();
        let are_many = numbers.len() > 1;
        if are_many {
            // Those who go on now may have more to ask. It is handed over together, once they all have run.
            this.hold();
        }
        let mut rest = numbers.into_iter();
        let told = rest.try_for_each(|number| {
            let pending = lock(&this.waiting).try_remove(number);
            pending.flatten().map_or(Ok(()), |pending| Pending::tell(pending.bind(slf.py())))
        });
        let flushed = if are_many { this.flush(slf.py()) } else { Ok(()) };
        if rest.len() > 0 {
            // Somebody has stopped the program.
            let left: Vec<usize> = rest.collect();
            this.event_loop.bind(slf.py()).call_method1("call_soon", (slf.getattr("tell")?, left))?;
        }
        told.and(flushed)
    }

    /// How many tasks wait.
    fn waiting(&self) -> usize {
        lock(&self.waiting).iter().filter(|(_, waiting)| waiting.is_some()).count()
    }

    /// Opens an exchange on the Cookie header, in turn if asked for. With what to await, if there is anything: then `opens` of
    /// the exchange says how it went.
    fn open<'py>(
        slf: &Bound<'py, Self>,
        sessions: &Sessions,
        cookies: &Bound<'py, PyAny>,
        serial: bool,
    ) -> PyResult<(Exchange, Option<Bound<'py, Pending>>)> {
        let driver = sessions.far()?;
        let (rules, host) = (driver.rules(), driver.host());
        let opening = with_bytes(cookies, |bytes| {
            if serial { rules.open_serial(bytes, host.now(), &mut host.rng()) } else { rules.open(bytes, host.now()) }
        })?;
        let exchange = sessions.exchange(opening);
        let slot = exchange.slot();
        let Ok(opening) = slot.locked(Staged::take_opening) else { return Ok((exchange, None)) };
        let pending = Self::start(slf, driver, |ticket| {
            let asked = Asked { driver: Arc::clone(driver), slot, ticket };
            if !driver.store().is_served_by_loops() {
                return Ok(Some(Box::pin(asked.open(opening))));
            }
            driver.begin_opening(opening, |opening| match opening {
                Opening::Ready(_) | Opening::Unavailable(_) => asked.end(opening),
                waits => asked.go_on(|asked| Box::pin(asked.open(waits))),
            });
            Ok(None)
        })?;
        Ok((exchange, Some(pending)))
    }

    /// Closes an exchange. Whether the response depends on the session; raises when it was refused. Or what to await: then
    /// `closed` of the exchange says that. Or None, where `finish` or `look_again` has to follow.
    fn close<'py>(slf: &Bound<'py, Self>, sessions: &Sessions, exchange: &Exchange) -> PyResult<Option<Closed<'py>>> {
        let driver = sessions.far()?;
        // Functions of the application run here or on a thread of the executor, and nowhere else.
        if exchange.calls_back() {
            return exchange.close_without_waiting(slf.py()).map(|over| over.map(Closed::Over));
        }
        if exchange.starts_closing(slf.py())? {
            return exchange.outcome(slf.py()).map(|over| over.map(Closed::Over));
        }
        let slot = exchange.slot();
        let pending = Self::start(slf, driver, |ticket| {
            let closing = slot.locked(Staged::take_closing).map_err(|error| from_core(slf.py(), error))?;
            let asked = Asked { driver: Arc::clone(driver), slot, ticket };
            if !driver.store().is_served_by_loops() {
                return Ok(Some(Box::pin(asked.close(closing, None))));
            }
            driver.begin_closing(closing, |closing, first| match closing {
                Closing::Done(_) | Closing::Failed(_) => asked.end(closing),
                waits => asked.go_on(|asked| Box::pin(asked.close(waits, first))),
            });
            Ok(None)
        })?;
        Ok(Some(Closed::Later(pending)))
    }

    /// Looks how sessions stand: what holds the answers, and what to await for them.
    fn look_up<'py>(
        slf: &Bound<'py, Self>,
        sessions: &Sessions,
        handles: Vec<String>,
    ) -> PyResult<(Looked, Bound<'py, Pending>)> {
        let driver = sessions.far()?;
        let looked = Looked::default();
        let (answers, asking) = (looked.clone(), Arc::clone(driver));
        let pending = Self::start(slf, driver, |ticket| {
            Ok(Some(Box::pin(async move {
                answers.put(standing::ask(&asking, handles).await);
                drop(ticket);
            })))
        })?;
        Ok((looked, pending))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        let Ok(waiting) = self.waiting.try_lock() else { return Ok(()) };
        waiting.iter().try_for_each(|(_, pending)| visit.call(pending))
    }

    fn __clear__(&self) {
        let waiting: Vec<_> = lock(&self.waiting).iter_mut().filter_map(|(_, waiting)| waiting.take()).collect();
        drop(waiting);
    }
}

/// How far a closing came.
#[derive(IntoPyObject)]
pub(crate) enum Closed<'py> {
    Over(bool),
    Later(Bound<'py, Pending>),
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
