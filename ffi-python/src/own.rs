//! Stores of the application, written in Python.
//!
//! On a thread that may wait, such a store is an engine like any other: each call goes to Python and comes back. On an event
//! loop the driver itself is suspended at each call: [`Task`] says what the store is to be asked, Python awaits the answer
//! and resumes. Either way the loop, its retries and its limits are those of [`Driver`].

use core::cell::RefCell;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

use coatroom_core::staged::Staged;
use coatroom_core::{Closing, Entry, Handle, Loaded, Opening, Swap, Timestamp};
use coatroom_store::{Cursor, Driver, Engine, Entered, Host, NotListed, Store, Swapped, Unavailable, Wait};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyTuple};

use crate::exchange::Exchange;
use crate::host::PythonHost;
use crate::sessions::AnyDriver;

/// The driver of an asynchronous store, for event loops.
pub(crate) type LoopDriver = Driver<OnLoop, PythonHost>;

/// What a store is asked, or the caller for.
#[derive(Clone)]
enum Call {
    Load(Handle),
    Swap(Box<Swap>),
    Enter(Box<Entry>),
    Sessions(String),
    Leave(String, Handle),
    Bar(String, Timestamp),
    Scan(Option<Cursor>, usize),
    Sweep(Timestamp, usize),
    Pause(Duration),
}

/// What came back: a word, and a value that goes with it.
struct Answer(String, Option<Py<PyAny>>);

impl Call {
    /// The name of the method, and its arguments.
    fn parts(self, py: Python<'_>, now: Timestamp) -> PyResult<(&'static str, Bound<'_, PyTuple>)> {
        let handle = |handle: Handle| handle.to_string();
        Ok(match self {
            Self::Load(key) => ("load", (handle(key),).into_pyobject(py)?),
            Self::Swap(swap) => ("swap", (swap_object(py, &swap, now)?,).into_pyobject(py)?),
            Self::Enter(entry) => ("enter", (entry_object(py, &entry)?,).into_pyobject(py)?),
            Self::Sessions(principal) => ("sessions", (principal,).into_pyobject(py)?),
            Self::Leave(principal, key) => ("leave", (principal, handle(key)).into_pyobject(py)?),
            Self::Bar(principal, now) => ("bar", (principal, now.as_unix_ms()).into_pyobject(py)?),
            Self::Scan(from, max) => {
                let from = from.map(|Cursor(bytes)| PyBytes::new(py, &bytes));
                ("scan", (from, max).into_pyobject(py)?)
            }
            Self::Sweep(now, max) => ("sweep", (now.as_unix_ms(), max).into_pyobject(py)?),
            Self::Pause(span) => ("pause", (span.as_secs_f64(),).into_pyobject(py)?),
        })
    }
}

fn swap_object<'py>(py: Python<'py>, swap: &Swap, now: Timestamp) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let expected = swap.expected.map(|stamp| PyBytes::new(py, stamp.as_bytes()));
    let record = swap.new.as_ref().map(|record| PyBytes::new(py, record));
    // Nothing that was just written is garbage for the store's own clock.
    let keep = swap.garbage_at.since(now).max(Duration::from_secs(1));
    let keep = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
    let arguments = (swap.handle.to_string(), expected, record, swap.durable, swap.garbage_at.as_unix_ms(), keep);
    CLASS.import(py, "coatroom.store", "Swap")?.call1(arguments)
}

fn entry_object<'py>(py: Python<'py>, entry: &Entry) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let Entry { principal, handle, until, now, at_most, names } = entry;
    let arguments = (principal, handle.to_string(), until.as_unix_ms(), now.as_unix_ms(), *at_most, *names);
    CLASS.import(py, "coatroom.store", "Entry")?.call1(arguments)
}

impl Answer {
    /// Of what `coatroom._own` made of what the store returned or raised.
    fn read(answer: &Bound<'_, PyAny>) -> PyResult<Self> {
        let (word, value) = answer.extract::<(String, Option<Py<PyAny>>)>()?;
        Ok(Self(word, value))
    }

    fn unavailable() -> Self {
        Self("unavailable".to_owned(), None)
    }

    /// The value, if the store gave one of this kind.
    fn value<T: for<'a, 'py> FromPyObject<'a, 'py>>(self) -> Result<T, Unavailable> {
        let Self(word, value) = self;
        let value = value.filter(|_| word == "ok").ok_or(Unavailable)?;
        Python::attach(|py| value.bind(py).extract().map_err(|_| Unavailable))
    }

    fn record(self) -> Option<Vec<u8>> {
        let record = self.1?;
        Python::attach(|py| record.bind(py).extract().ok())
    }

    fn loaded(self) -> Loaded {
        match self.0.as_str() {
            "found" => self.record().map_or(Loaded::Unavailable, Loaded::Found),
            "absent" => Loaded::Absent,
            _ => Loaded::Unavailable,
        }
    }

    fn swapped(self) -> Swapped {
        match self.0.as_str() {
            "done" => Swapped::Done,
            "conflict" => Swapped::Conflict(self.record()),
            "unavailable" => Swapped::Unavailable,
            _ => Swapped::Unknown,
        }
    }

    fn entered(self) -> Result<Entered, NotListed> {
        if self.0 == "full" {
            return Err(NotListed::Full);
        }
        let (revoked, count, ago, before) = self.value::<(u64, u32, Option<u64>, Option<Vec<String>>)>()?;
        let (revoked, ago) = (Timestamp::from_unix_ms(revoked), ago.map(Duration::from_millis));
        let before = before.map(|before| parse_all(&before)).transpose()?;
        Ok(Entered { revoked, ago, count, before })
    }

    fn handles(self) -> Result<Vec<Handle>, Unavailable> {
        parse_all(&self.value::<Vec<String>>()?)
    }

    fn scanned(self) -> Result<(Vec<Handle>, Option<Cursor>), Unavailable> {
        let (handles, next) = self.value::<(Vec<String>, Option<Vec<u8>>)>()?;
        Ok((parse_all(&handles)?, next.map(Cursor)))
    }
}

fn parse_all(handles: &[String]) -> Result<Vec<Handle>, Unavailable> {
    handles.iter().map(|handle| Handle::parse(handle).ok_or(Unavailable)).collect()
}

/// A store in Python, asked from a thread that may wait.
pub(crate) struct Own {
    /// A `coatroom._own.Asker`.
    asker: Py<PyAny>,
    clock: PythonHost,
}

impl Own {
    pub(crate) const fn new(asker: Py<PyAny>, clock: PythonHost) -> Self {
        Self { asker, clock }
    }

    fn ask(&self, call: Call) -> Answer {
        let now = self.clock.now();
        let asked = Python::attach(|py| {
            let (name, arguments) = call.parts(py, now)?;
            Answer::read(&self.asker.bind(py).call_method1("ask", (name, arguments))?)
        });
        // What the store raises, the asker answers. This is an interrupt, or the end of the interpreter.
        asked.unwrap_or_else(|_| Answer("unknown".to_owned(), None))
    }
}

impl Engine for Own {
    fn load(&self, handle: Handle) -> Loaded {
        self.ask(Call::Load(handle)).loaded()
    }

    fn swap(&self, swap: &Swap, wait: Wait) -> Option<Swapped> {
        (wait == Wait::Patiently).then(|| self.ask(Call::Swap(Box::new(swap.clone()))).swapped())
    }

    fn enter(&self, entry: &Entry) -> Result<Entered, NotListed> {
        self.ask(Call::Enter(Box::new(entry.clone()))).entered()
    }

    fn sessions(&self, principal: &str) -> Result<Vec<Handle>, Unavailable> {
        self.ask(Call::Sessions(principal.to_owned())).handles()
    }

    fn leave(&self, principal: &str, handle: Handle) -> Result<(), Unavailable> {
        self.ask(Call::Leave(principal.to_owned(), handle)).value::<bool>().map(drop)
    }

    fn bar(&self, principal: &str, now: Timestamp) -> Result<Timestamp, Unavailable> {
        self.ask(Call::Bar(principal.to_owned(), now)).value().map(Timestamp::from_unix_ms)
    }

    fn scan(&self, from: Option<Cursor>, max: usize) -> Result<(Vec<Handle>, Option<Cursor>), Unavailable> {
        self.ask(Call::Scan(from, max)).scanned()
    }

    fn sweep(&self, now: Timestamp, max: usize) -> Result<usize, Unavailable> {
        self.ask(Call::Sweep(now, max)).value()
    }

    fn enters_with_swap(&self) -> bool {
        false
    }

    fn is_here(&self) -> bool {
        false
    }
}

/// A store in Python that a [`Task`] asks: every call suspends the driver.
pub(crate) struct OnLoop;

impl Store for OnLoop {
    fn enters_with_swap(&self) -> bool {
        false
    }

    async fn load(&self, handle: Handle) -> Loaded {
        ask(Call::Load(handle)).await.loaded()
    }

    async fn swap(&self, swap: &Swap) -> Swapped {
        ask(Call::Swap(Box::new(swap.clone()))).await.swapped()
    }

    async fn enter(&self, entry: &Entry) -> Result<Entered, NotListed> {
        ask(Call::Enter(Box::new(entry.clone()))).await.entered()
    }

    async fn sessions(&self, principal: &str) -> Result<Vec<Handle>, Unavailable> {
        ask(Call::Sessions(principal.to_owned())).await.handles()
    }

    async fn leave(&self, principal: &str, handle: Handle) -> Result<(), Unavailable> {
        ask(Call::Leave(principal.to_owned(), handle)).await.value::<bool>().map(drop)
    }

    async fn bar(&self, principal: &str, now: Timestamp) -> Result<Timestamp, Unavailable> {
        ask(Call::Bar(principal.to_owned(), now)).await.value().map(Timestamp::from_unix_ms)
    }

    async fn scan(&self, from: Option<Cursor>, max: usize) -> Result<(Vec<Handle>, Option<Cursor>), Unavailable> {
        ask(Call::Scan(from, max)).await.scanned()
    }

    async fn sweep(&self, now: Timestamp, max: usize) -> Result<usize, Unavailable> {
        ask(Call::Sweep(now, max)).await.value()
    }
}

/// What passes between a task and the futures in it while it is polled, and only then.
#[derive(Default)]
struct Mail {
    call: Option<Call>,
    answer: Option<Answer>,
}

std::thread_local! {
    static MAIL: RefCell<Option<Mail>> = const { RefCell::new(None) };
    static TO_TELL: RefCell<Option<Vec<Py<PyAny>>>> = const { RefCell::new(None) };
}

/// Tells whoever drives a task that waits in the queue of a session that it may go on.
#[derive(Default)]
struct Bell(Mutex<Rung>);

#[derive(Default)]
struct Rung {
    is: bool,
    tell: Option<Py<PyAny>>,
}

impl Bell {
    fn set(&self, rung: Rung) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = rung;
    }
}

impl Wake for Bell {
    /// Whoever rings may hold locks, so Python is called later.
    fn wake(self: Arc<Self>) {
        let mut rung = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rung.is = true;
        if let Some(tell) = rung.tell.take() {
            TO_TELL.with_borrow_mut(|to_tell| to_tell.get_or_insert_default().push(tell));
        }
    }
}

/// Runs `work`, in which bells may be rung, then tells those who wait.
fn ringing<T>(py: Python<'_>, work: impl FnOnce() -> T) -> T {
    let outer = TO_TELL.replace(None);
    let done = work();
    for tell in TO_TELL.replace(outer).unwrap_or_default() {
        // A loop that was closed has nobody left to tell.
        drop(tell.call0(py));
    }
    done
}

/// Hands `call` to whoever polls, and waits for the answer.
const fn ask(call: Call) -> Ask {
    Ask { call: Some(call) }
}

struct Ask {
    call: Option<Call>,
}

impl Future for Ask {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Answer> {
        MAIL.with_borrow_mut(|mail| {
            // Nobody but a task polls these.
            let Some(mail) = mail else { return Poll::Ready(Answer::unavailable()) };
            if let Some(call) = self.call.take() {
                mail.call = Some(call);
                return Poll::Pending;
            }
            mail.answer.take().map_or(Poll::Pending, Poll::Ready)
        })
    }
}

/// Lets the loop of a task wait.
pub(crate) async fn pause(span: Duration) {
    ask(Call::Pause(span)).await;
}

type Work = Pin<Box<dyn Future<Output = Staged> + Send>>;

/// An opening or a closing on an event loop.
#[pyclass(frozen, module = "coatroom._native")]
pub(crate) struct Task {
    driver: Arc<AnyDriver>,
    /// The exchange that is closed; an opening makes one.
    exchange: Option<Py<Exchange>>,
    work: Mutex<Option<Work>>,
    bell: Arc<Bell>,
}

impl Drop for Task {
    /// One that is given up leaves the queue of its session.
    fn drop(&mut self) {
        let work = self.work.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if work.is_some() {
            Python::attach(|py| ringing(py, || drop(work)));
        }
    }
}

impl Task {
    fn new(driver: Arc<AnyDriver>, exchange: Option<Py<Exchange>>, work: Work) -> Self {
        Self { driver, exchange, work: Mutex::new(Some(work)), bell: Arc::default() }
    }

    /// Opens an exchange, in turn if asked for.
    pub(crate) fn opening(driver: Arc<AnyDriver>, on_loop: Arc<LoopDriver>, cookies: Vec<u8>, serial: bool) -> Self {
        let open = async move {
            let opened = if serial { on_loop.open_serial(&cookies).await } else { on_loop.open(&cookies).await };
            opened.map_or_else(|refused| Opening::Unavailable(refused.0), Opening::Ready).into()
        };
        Self::new(driver, None, Box::pin(open))
    }

    /// Goes on with a closing.
    pub(crate) fn closing(
        driver: Arc<AnyDriver>,
        on_loop: Arc<LoopDriver>,
        exchange: Py<Exchange>,
        closing: Closing,
    ) -> Self {
        let close = async move {
            on_loop.finish(closing).await.map_or_else(|refused| Closing::Failed(refused.0), Closing::Done).into()
        };
        Self::new(driver, Some(exchange), Box::pin(close))
    }
}

#[pymethods]
impl Task {
    /// Goes on, with the answer to the last call if there was one: to the next call (a name and its arguments), or to the
    /// exchange, opened or closed. The call `wait` is for no store: see `when_woken`.
    fn resume<'py>(&self, py: Python<'py>, answer: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let answer = if answer.is_none() { None } else { Some(Answer::read(answer)?) };
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut work) = work else { return Err(PyRuntimeError::new_err("this task is over")) };
        // A function of the application that runs here may resume another task.
        let outer = MAIL.replace(Some(Mail { call: None, answer }));
        self.bell.set(Rung::default());
        let waker = Arc::clone(&self.bell).into();
        let polled = ringing(py, || work.as_mut().poll(&mut Context::from_waker(&waker)));
        let mail = MAIL.replace(outer).unwrap_or_default();
        let Poll::Ready(staged) = polled else {
            *self.work.lock().unwrap_or_else(PoisonError::into_inner) = Some(work);
            let next = match mail.call {
                Some(call) => call.parts(py, self.driver.host().now())?,
                None => ("wait", PyTuple::empty(py)),
            };
            return Ok(next.into_pyobject(py)?.into_any());
        };
        let exchange = match &self.exchange {
            Some(exchange) => {
                exchange.get().put(staged);
                exchange.clone_ref(py)
            }
            None => Py::new(py, Exchange::new(Arc::clone(&self.driver), staged))?,
        };
        Ok(exchange.into_bound(py).into_any())
    }

    /// Calls `tell` once a task that waits may be resumed, without an answer: possibly at once, and from any thread.
    fn when_woken(&self, py: Python<'_>, tell: Py<PyAny>) -> PyResult<()> {
        let mut rung = self.bell.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !rung.is {
            rung.tell = Some(tell);
            return Ok(());
        }
        drop(rung);
        tell.call0(py).map(drop)
    }
}
