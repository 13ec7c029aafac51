//! An exchange by hand, one step at a time, with the answers of a store from outside: what the vectors in
//! `spec/vectors/exchange` are played through. Nothing else uses it.

use coatroom_core::staged::{Staged, Waiting};
use coatroom_core::value::Encoded;
use coatroom_core::{Entry, Error, Listed, Listing, Loaded, Swap, Timestamp};
use coatroom_store::Host;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::convert;
use crate::error::from_core;
use crate::exchange::Exchange;
use crate::sessions::Sessions;

/// Principal, handle, until, now, at most so many others.
type EntryParts = (String, [u8; 12], u64, u64, Option<u32>);

/// Handle, expected, new, durable, garbage at, entry to make, principal to leave.
type SwapParts<'py> =
    ([u8; 12], Option<Bound<'py, PyBytes>>, Option<Bound<'py, PyBytes>>, bool, u64, Option<EntryParts>, Option<String>);

/// What an exchange waits for: its name, and what goes with it.
#[derive(IntoPyObject)]
pub(crate) enum Waits<'py> {
    Load(&'static str, [u8; 12]),
    Swap(&'static str, SwapParts<'py>),
    Entry(&'static str, EntryParts),
    Other(&'static str, ()),
}

/// The object of bytes that are exactly one value in its only encoding.
#[pyfunction]
pub(crate) fn decode(py: Python<'_>, bytes: Vec<u8>) -> PyResult<Py<PyAny>> {
    let encoded = Encoded::from_bytes(bytes).map_err(|error| from_core(py, Error::Value(error)))?;
    convert::decode(py, encoded.as_bytes())
}

/// Opens an exchange and asks no store.
#[pyfunction]
pub(crate) fn open_by_hand(sessions: &Sessions, cookies: &[u8]) -> Exchange {
    let driver = sessions.driver();
    Exchange::new(driver.clone(), driver.rules().open(cookies, driver.host().now()))
}

/// What the exchange waits for; raises if it failed.
#[pyfunction]
pub(crate) fn waits_by_hand<'py>(py: Python<'py>, exchange: &Exchange) -> PyResult<Waits<'py>> {
    let (waiting, swap, entry, failure) = exchange.locked(|staged| {
        let failure = staged.failure().ok().map(|failure| failure.error);
        (staged.waiting(), staged.swap().ok().cloned(), staged.entry().ok().map(entry_parts), failure)
    });
    Ok(match (waiting, swap, entry, failure) {
        (_, _, _, Some(error)) => return Err(from_core(py, error)),
        (Waiting::Load(handle), ..) => Waits::Load("load", *handle.as_bytes()),
        (_, Some(swap), ..) => Waits::Swap("swap", swap_parts(py, &swap)),
        (_, _, Some(entry), _) => Waits::Entry("entry", entry),
        (Waiting::Handler, ..) => Waits::Other("handler", ()),
        (Waiting::Done, ..) => Waits::Other("done", ()),
        _ => return Err(from_core(py, Error::WrongStage)),
    })
}

/// Goes on with what the store answered, or closes; raises when the exchange waits for something else.
#[pyfunction]
#[pyo3(signature = (exchange, answer, record = None, revoked = 0, count = 0))]
pub(crate) fn answer_by_hand(
    py: Python<'_>,
    exchange: &Exchange,
    answer: &str,
    record: Option<Vec<u8>>,
    revoked: u64,
    count: u32,
) -> PyResult<()> {
    let host = exchange.driver().host();
    let revoked = Timestamp::from_unix_ms(revoked);
    let went = exchange.locked(|staged: &mut Staged| match answer {
        "close" => staged.close(host.now(), &mut host.rng()),
        "found" => staged.found(loaded(record)),
        "silent" => staged.found(Loaded::Unavailable),
        "saved" => staged.saved(),
        "unavailable" => staged.gave_up(Error::Unavailable),
        "conflicted" => staged.conflicted(record),
        "unknown" => staged.reloaded(loaded(record)),
        "entered" => staged.entered(Listed { revoked, not_before: revoked, count }),
        _ => Err(Error::WrongStage),
    });
    went.map_err(|error| from_core(py, error))
}

fn loaded(record: Option<Vec<u8>>) -> Loaded {
    record.map_or(Loaded::Absent, Loaded::Found)
}

fn entry_parts(entry: &Entry) -> EntryParts {
    let Entry { principal, handle, until, now, at_most, .. } = entry;
    (principal.clone(), *handle.as_bytes(), until.as_unix_ms(), now.as_unix_ms(), *at_most)
}

fn swap_parts<'py>(py: Python<'py>, swap: &Swap) -> SwapParts<'py> {
    let leave = if let Listing::Leave(principal) = &swap.listing { Some(principal.clone()) } else { None };
    (
        *swap.handle.as_bytes(),
        swap.expected.map(|stamp| PyBytes::new(py, stamp.as_bytes())),
        swap.new.as_deref().map(|new| PyBytes::new(py, new)),
        swap.durable,
        swap.garbage_at.as_unix_ms(),
        swap.listing.entry().map(entry_parts),
        leave,
    )
}
