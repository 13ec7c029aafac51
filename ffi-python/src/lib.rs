//! The native half of the Python package `coatroom`: converts, calls once, converts back. What a session means is decided
//! in `coatroom-core` alone.

mod completions;
mod convert;
mod csrf;
mod engine;
mod error;
mod exchange;
mod headers;
mod host;
mod inspect;
mod own;
mod pending;
mod people;
mod raw;
mod sessions;
mod standing;
mod steps;
mod tokens;
mod told;

/// The native module; `coatroom` is its public face.
#[pyo3::pymodule(gil_used = false)]
mod _native {
    #[pymodule_export]
    use super::completions::{Completions, forked, settle};
    #[pymodule_export]
    use super::exchange::Exchange;
    #[pymodule_export]
    use super::headers::cookie_header;
    #[pymodule_export]
    use super::host::Clock;
    #[pymodule_export]
    use super::own::Task;
    #[pymodule_export]
    use super::pending::Pending;
    #[pymodule_export]
    use super::raw::Raw;
    #[pymodule_export]
    use super::sessions::{Sessions, keygen, plain_store};
    #[pymodule_export]
    use super::standing::Looked;
    #[pymodule_export]
    use super::steps::{answer_by_hand, decode, open_by_hand, waits_by_hand};
    #[pymodule_export]
    use super::tokens::{Issuer, Revocations, Verifier};
}
