//! From typed errors to the exceptions of `coatroom.errors`.

use coatroom_core::{Denied, Error, Failure};
use coatroom_store::Refused;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::told::event_parts;

/// The exception for an error code; the classes and their texts live in Python, where users look for them.
pub(crate) fn raise(py: Python<'_>, code: &str, message: &str, status: u16) -> PyErr {
    static FROM_CODE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let made = FROM_CODE
        .import(py, "coatroom.errors", "from_code")
        .and_then(|from_code| from_code.call1((code, message, status)));
    match made {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

pub(crate) fn from_core(py: Python<'_>, error: Error) -> PyErr {
    raise(py, error.code(), &error.to_string(), error.status())
}

pub(crate) fn from_refused(py: Python<'_>, refused: &Refused) -> PyErr {
    from_failure(py, &refused.0)
}

/// With what was noticed until then, for there is no exchange that could tell it.
pub(crate) fn from_failure(py: Python<'_>, failure: &Failure) -> PyErr {
    let error = from_core(py, failure.error);
    match error.value(py).setattr("events", event_parts(&failure.events)) {
        Ok(()) => error,
        Err(other) => other,
    }
}

pub(crate) fn from_denied(py: Python<'_>, denied: Denied) -> PyErr {
    let (code, message, status) = match denied {
        Denied::NotLoggedIn => ("unauthenticated", "nobody is logged in", 401),
        Denied::Forbidden => ("forbidden", "the principal does not have this role", 403),
        Denied::NotFresh => ("not-fresh", "the login is too old for this: log in again, then repeat the request", 401),
        Denied::LevelTooLow => {
            let reason = "the login is not strong enough for this: give one more factor, then repeat the request";
            ("level-too-low", reason, 401)
        }
    };
    raise(py, code, message, status)
}

pub(crate) fn config(py: Python<'_>, error: &dyn core::fmt::Display) -> PyErr {
    raise(py, "config", &error.to_string(), 500)
}
