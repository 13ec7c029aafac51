//! Principals and their devices, for the application as a whole and for the session of a request.

use coatroom_core::{Device, Handle, Timestamp};
use coatroom_store::{RevokedAll, block_on};
use pyo3::prelude::*;

use crate::error::{from_refused, raise};
use crate::sessions::AnyDriver;

/// Handle, label, address; created, last seen, authenticated, over at the latest (seconds since the Unix epoch); level.
pub(crate) type DeviceParts = (String, String, String, f64, f64, f64, f64, u8);

pub(crate) fn devices(py: Python<'_>, driver: &AnyDriver, principal: &str) -> PyResult<Vec<DeviceParts>> {
    let devices = py.detach(|| block_on(driver.devices(principal)));
    Ok(devices.map_err(|refused| from_refused(py, &refused))?.into_iter().map(parts).collect())
}

pub(crate) fn revoke(py: Python<'_>, driver: &AnyDriver, principal: &str, handle: &str) -> PyResult<bool> {
    let handle = parse(py, handle)?;
    py.detach(|| block_on(driver.revoke(principal, handle))).map_err(|refused| from_refused(py, &refused))
}

/// All sessions of the principal, but for one if it is named.
pub(crate) fn revoke_all(
    py: Python<'_>,
    driver: &AnyDriver,
    principal: &str,
    but: Option<Handle>,
) -> PyResult<RevokedAll> {
    let revoked = py.detach(|| match but {
        Some(but) => block_on(driver.revoke_others(principal, but)),
        None => block_on(driver.revoke_all(principal)),
    });
    revoked.map_err(|refused| from_refused(py, &refused))
}

pub(crate) fn parse(py: Python<'_>, handle: &str) -> PyResult<Handle> {
    Handle::parse(handle)
        .ok_or_else(|| raise(py, "not-theirs", "this is no handle of a session: list the sessions", 409))
}

pub(crate) fn parts(device: Device) -> DeviceParts {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of 48 bits are exact")]
    let seconds = |time: Timestamp| time.as_unix_ms() as f64 / 1000.0;
    let Device { handle, client, created_at, seen_at, authenticated_at, deadline, level, .. } = device;
    let times = [created_at, seen_at, authenticated_at, deadline].map(seconds);
    let [created, seen, authenticated, over] = times;
    (handle.to_string(), client.label, client.address, created, seen, authenticated, over, level)
}
