//! The stores of the wheel under the interface that a store of the application has: for the suite that both must pass.

use core::time::Duration;

use coatroom_core::{Entry, Handle, Listing, Loaded, Stamp, Swap, Timestamp};
use coatroom_store::{Cursor, Engine, Entered, NotListed, Swapped, Wait};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::engine::AnyEngine;
use crate::error::raise;

/// When all were revoked, how many are listed, how long ago that was, and who was listed before.
type EnteredParts = (u64, u32, Option<u64>, Option<Vec<String>>);

/// A store of the wheel, asked call by call. Answers as `coatroom._own` reads them.
#[pyclass(frozen, module = "coatroom._native")]
pub(crate) struct Raw {
    engine: AnyEngine,
}

#[pymethods]
impl Raw {
    #[new]
    fn new(py: Python<'_>, address: &str) -> PyResult<Self> {
        Ok(Self { engine: AnyEngine::open(py, address)? })
    }

    fn load<'py>(&self, py: Python<'py>, handle: &str) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let handle = parse(handle)?;
        match py.detach(|| Engine::load(&self.engine, handle)) {
            Loaded::Found(record) => Ok(Some(PyBytes::new(py, &record))),
            Loaded::Absent => Ok(None),
            Loaded::Unavailable => Err(unavailable(py)),
        }
    }

    /// Whether it took place, and else what is stored.
    fn swap<'py>(
        &self,
        py: Python<'py>,
        handle: &str,
        expected: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
        durable: bool,
        garbage_at: u64,
    ) -> PyResult<(bool, Option<Bound<'py, PyBytes>>)> {
        let expected = expected.map(|stamp| stamp_of(&stamp)).transpose()?;
        let garbage_at = Timestamp::from_unix_ms(garbage_at);
        let swap = Swap { handle: parse(handle)?, expected, new, durable, garbage_at, listing: Listing::Keep };
        match py.detach(|| Engine::swap(&self.engine, &swap, Wait::Patiently)) {
            Some(Swapped::Done) => Ok((true, None)),
            Some(Swapped::Conflict(record)) => Ok((false, record.map(|record| PyBytes::new(py, &record)))),
            Some(Swapped::Unavailable) | None => Err(unavailable(py)),
            Some(other) => Err(raise(py, "unknown", &format!("a swap: {other:?}"), 503)),
        }
    }

    /// When all were revoked, how many are listed, and how long ago that was; None if there is no room.
    #[expect(clippy::too_many_arguments, reason = "the fields of an entry")]
    fn enter(
        &self,
        py: Python<'_>,
        principal: String,
        handle: &str,
        until: u64,
        now: u64,
        at_most: Option<u32>,
        names: u32,
    ) -> PyResult<Option<EnteredParts>> {
        let (until, now) = (Timestamp::from_unix_ms(until), Timestamp::from_unix_ms(now));
        let entry = Entry { principal, handle: parse(handle)?, until, now, at_most, names };
        match py.detach(|| Engine::enter(&self.engine, &entry)) {
            Ok(Entered { revoked, ago, count, before }) => {
                let before = before.map(|before| before.iter().map(ToString::to_string).collect());
                Ok(Some((revoked.as_unix_ms(), count, ago.map(millis), before)))
            }
            Err(NotListed::Full) => Ok(None),
            Err(NotListed::Unavailable) => Err(unavailable(py)),
        }
    }

    fn sessions(&self, py: Python<'_>, principal: &str) -> PyResult<Vec<String>> {
        let handles = py.detach(|| Engine::sessions(&self.engine, principal)).map_err(|_| unavailable(py))?;
        Ok(handles.iter().map(ToString::to_string).collect())
    }

    fn leave(&self, py: Python<'_>, principal: &str, handle: &str) -> PyResult<()> {
        let handle = parse(handle)?;
        py.detach(|| Engine::leave(&self.engine, principal, handle)).map_err(|_| unavailable(py))
    }

    fn bar(&self, py: Python<'_>, principal: &str, now: u64) -> PyResult<u64> {
        let barred = py.detach(|| Engine::bar(&self.engine, principal, Timestamp::from_unix_ms(now)));
        barred.map(Timestamp::as_unix_ms).map_err(|_| unavailable(py))
    }

    fn scan<'py>(
        &self,
        py: Python<'py>,
        place: Option<Vec<u8>>,
        most: usize,
    ) -> PyResult<(Vec<String>, Option<Bound<'py, PyBytes>>)> {
        let scanned = py.detach(|| Engine::scan(&self.engine, place.map(Cursor), most));
        let (handles, next) = scanned.map_err(|_| unavailable(py))?;
        let handles = handles.iter().map(ToString::to_string).collect();
        Ok((handles, next.map(|Cursor(next)| PyBytes::new(py, &next))))
    }

    fn sweep(&self, py: Python<'_>, now: u64, most: usize) -> PyResult<usize> {
        let swept = py.detach(|| Engine::sweep(&self.engine, Timestamp::from_unix_ms(now), most));
        swept.map_err(|_| unavailable(py))
    }
}

fn parse(handle: &str) -> PyResult<Handle> {
    Handle::parse(handle).ok_or_else(|| PyValueError::new_err("this is no handle"))
}

fn stamp_of(stamp: &[u8]) -> PyResult<Stamp> {
    let record = [&[0; Stamp::AT], stamp].concat();
    Stamp::of(&record).ok_or_else(|| PyValueError::new_err("a stamp has 16 bytes"))
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn unavailable(py: Python<'_>) -> PyErr {
    raise(py, "unavailable", "the session store cannot answer: try again shortly", 503)
}
