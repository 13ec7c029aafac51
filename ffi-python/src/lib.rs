//! The native half of the Python package `coatroom`: converts, calls once, converts back. What a session means is decided
//! in `coatroom-core` alone.

mod convert;
mod csrf;
mod engine;
mod error;
mod exchange;
mod host;
mod inspect;
mod people;
mod sessions;

/// The native module; `coatroom` is its public face.
#[pyo3::pymodule(gil_used = false)]
mod _native {
    #[pymodule_export]
    use super::exchange::Exchange;
    #[pymodule_export]
    use super::host::Clock;
    #[pymodule_export]
    use super::sessions::{Sessions, keygen};
}
