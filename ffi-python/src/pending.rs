//! Work that is under way, as tasks of asyncio await it.

use core::mem::replace;
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::asyncio::CancelledError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{IntoPyDict, PyDict};

use crate::completions::Completions;

/// One piece of work, awaited by one task. That goes on in the very turn of its loop that tells it; a future would have it go on
/// in the next.
///
/// Future-like as `asyncio.isfuture` has it.
#[pyclass(frozen, module = "coatroom._native")]
pub(crate) struct Pending {
    home: Py<Completions>,
    number: usize,
    is_blocking: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By whom it ended: it is told, or was cancelled.
    is_done: bool,
    /// The work is done, also where nobody waits for it any more.
    is_told: bool,
    was_cancelled: bool,
    reason: Option<Py<PyAny>>,
    callback: Option<Callback>,
}

struct Callback {
    function: Py<PyAny>,
    context: Py<PyAny>,
}

impl Pending {
    /// What awaits the work with this number.
    pub(crate) fn new<'py>(home: &Bound<'py, Completions>, number: usize) -> PyResult<Bound<'py, Self>> {
        let (is_blocking, state) = (AtomicBool::new(false), Mutex::default());
        Bound::new(home.py(), Self { home: home.clone().unbind(), number, is_blocking, state })
    }

    // Nothing is done under the lock that may run Python code: making an object may.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The work is done.
    pub(crate) fn tell(this: &Bound<'_, Self>) -> PyResult<()> {
        /// The method of no context: one that is bound would be an object more for each call.
        static RUN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let py = this.py();
        let callback = {
            let mut state = this.get().state();
            state.is_told = true;
            if replace(&mut state.is_done, true) { None } else { state.callback.take() }
        };
        let Some(Callback { function, context }) = callback else { return Ok(()) };
        RUN.get_or_try_init(py, || py.import("contextvars")?.getattr("Context")?.getattr("run").map(Bound::unbind))?
            .call1(py, (context, function, this))
            .map(drop)
    }
}

#[pymethods]
impl Pending {
    #[getter(_asyncio_future_blocking)]
    fn is_blocking(&self) -> bool {
        self.is_blocking.load(Ordering::Relaxed)
    }

    #[setter(_asyncio_future_blocking)]
    fn set_is_blocking(&self, is_blocking: bool) {
        self.is_blocking.store(is_blocking, Ordering::Relaxed);
    }

    fn get_loop<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.home.get().event_loop(py)
    }

    #[pyo3(signature = (callback, *, context))]
    fn add_done_callback(&self, callback: Py<PyAny>, context: Py<PyAny>) {
        let before = self.state().callback.replace(Callback { function: callback, context });
        drop(before);
    }

    #[pyo3(signature = (msg = None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        let py = slf.py();
        let callback = {
            let mut state = slf.get().state();
            if state.is_done {
                return Ok(false);
            }
            (state.is_done, state.was_cancelled, state.reason) = (true, true, msg);
            state.callback.take()
        };
        if let Some(Callback { function, context }) = callback {
            let named: Bound<'_, PyDict> = [("context", context)].into_py_dict(py)?;
            slf.get().get_loop(py).call_method("call_soon", (function, slf), Some(&named))?;
        }
        Ok(true)
    }

    /// Raises if it was cancelled.
    fn result(&self, py: Python<'_>) -> PyResult<()> {
        let reason = {
            let state = self.state();
            if !state.was_cancelled {
                return Ok(());
            }
            state.reason.as_ref().map(|reason| reason.clone_ref(py))
        };
        // Cancel scopes know their own cancellations by this.
        Err(reason.map_or_else(|| CancelledError::new_err(()), |reason| CancelledError::new_err((reason,))))
    }

    /// The same work, for whoever waits for it in place of a task that was cancelled.
    fn again<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let this = slf.get();
        let home = this.home.bind(slf.py());
        let again = Self::new(home, this.number)?;
        if this.state().is_told {
            Self::tell(&again)?;
        } else {
            home.get().wait_by(&again, this.number);
        }
        Ok(again)
    }

    const fn __await__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    const fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, Self>>> {
        let this = slf.get();
        let (is_done, was_cancelled) = {
            let state = this.state();
            (state.is_done, state.was_cancelled)
        };
        if !is_done {
            this.set_is_blocking(true);
            return Ok(Some(slf.clone()));
        }
        if was_cancelled { this.result(slf.py()).map(|()| None) } else { Ok(None) }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.home)?;
        let Ok(state) = self.state.try_lock() else { return Ok(()) };
        visit.call(&state.reason)?;
        state.callback.as_ref().map_or(Ok(()), |callback| {
            visit.call(&callback.function)?;
            visit.call(&callback.context)
        })
    }

    fn __clear__(&self) {
        let (callback, reason) = {
            let mut state = self.state();
            (state.callback.take(), state.reason.take())
        };
        drop((callback, reason));
    }
}
