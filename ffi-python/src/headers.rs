//! Headers as ASGI has them: pairs of bytes.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// The Cookie header of a request; several are joined, as RFC 9113 section 8.2.3 has it.
#[pyfunction]
pub(crate) fn cookie_header<'py>(headers: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let mut cookies: Option<Bound<'py, PyBytes>> = None;
    for header in headers.try_iter()? {
        let header = header?;
        if is_named(&header.get_item(0)?, b"cookie") {
            let more = header.get_item(1)?.cast_into::<PyBytes>()?;
            cookies = Some(match cookies {
                Some(before) => PyBytes::new(more.py(), &[before.as_bytes(), b"; ", more.as_bytes()].concat()),
                None => more,
            });
        }
    }
    Ok(cookies.unwrap_or_else(|| PyBytes::new(headers.py(), b"")))
}

pub(crate) fn is_named(name: &Bound<'_, PyAny>, wanted: &[u8]) -> bool {
    name.cast().is_ok_and(|name: &Bound<'_, PyBytes>| name.as_bytes().eq_ignore_ascii_case(wanted))
}

/// One more field line of a header, whose bytes are Latin-1 (RFC 9110 sections 5.3 and 5.5).
pub(crate) fn join(before: &mut Option<String>, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let value = value.cast::<PyBytes>()?.as_bytes().iter().map(|byte| char::from(*byte));
    match before {
        Some(before) => before.extend(", ".chars().chain(value)),
        None => *before = Some(value.collect()),
    }
    Ok(())
}

/// The bytes of a field value that was read by [`join`].
pub(crate) fn latin(value: &str) -> Vec<u8> {
    value.chars().filter_map(|letter| u8::try_from(letter).ok()).collect()
}
