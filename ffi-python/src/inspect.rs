//! What an operator looks at: the policy as it came out, and what is stored.

use coatroom_core::{
    Assurance, Beyond, Carry, Concurrency, Handle, Held, Kind, Loaded, Place, Policy, Reuse, SameSite, Settings,
};
use coatroom_store::{Cursor, Engine, Host};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::raise;
use crate::people::{self, DeviceParts};
use crate::sessions::AnyDriver;

/// Handle; `login`, `visitor`, `expired`, `ended` or `unreadable`; the cause, whose it is, and its particulars, where there are any.
pub(crate) type Row = (String, &'static str, Option<&'static str>, Option<String>, Option<DeviceParts>);

/// What about `max` stored records are, and where to go on.
pub(crate) fn scan(
    py: Python<'_>,
    driver: &AnyDriver,
    from: Option<Vec<u8>>,
    max: usize,
) -> PyResult<(Vec<Row>, Option<Vec<u8>>)> {
    let scanned = py.detach(|| {
        let (handles, next) = Engine::scan(driver.store(), from.map(Cursor), max)?;
        let mut rows = Vec::with_capacity(handles.len());
        for handle in handles {
            rows.extend(row(driver, handle)?);
        }
        Ok((rows, next.map(|Cursor(next)| next)))
    });
    scanned.map_err(|error: coatroom_store::Unavailable| raise(py, "unavailable", &error.to_string(), 503))
}

/// What is stored under a handle.
pub(crate) fn look_up(py: Python<'_>, driver: &AnyDriver, handle: &str) -> PyResult<Option<Row>> {
    let handle = people::parse(py, handle)?;
    py.detach(|| row(driver, handle)).map_err(|error| raise(py, "unavailable", &error.to_string(), 503))
}

fn row(driver: &AnyDriver, handle: Handle) -> Result<Option<Row>, coatroom_store::Unavailable> {
    let record = match Engine::load(driver.store(), handle) {
        Loaded::Found(record) => record,
        Loaded::Absent => return Ok(None),
        Loaded::Unavailable => return Err(coatroom_store::Unavailable),
    };
    let (kind, cause, principal, device) = match driver.rules().describe(handle, record, driver.host().now()) {
        Held::Login(device) => ("login", None, Some(device.principal.clone()), Some(people::parts(device))),
        Held::Visitor => ("visitor", None, None, None),
        Held::Expired(cause) => ("expired", Some(cause.name()), None, None),
        Held::Ended(cause, principal) => ("ended", Some(cause.name()), principal, None),
        Held::Unreadable => ("unreadable", None, None, None),
    };
    Ok(Some((handle.to_string(), kind, cause, principal, device)))
}

/// The settings by the names that `coatroom.sessions.Settings` gives them. Spans are seconds.
pub(crate) fn policy<'py>(py: Python<'py>, policy: &Policy) -> PyResult<Bound<'py, PyDict>> {
    let settings = policy.settings();
    let plain = Settings::default().danger_plain_http();
    let merely = Settings::default().danger_refuse_reuse_only();
    let both = Settings::default().danger_plain_http().danger_refuse_reuse_only();
    let refuses_only = [merely.danger, both.danger].contains(&settings.danger);
    let out = PyDict::new(py);
    let seconds = |span: core::time::Duration| span.as_secs_f64();
    out.set_item("preset", settings.assurance.map(preset))?;
    out.set_item("idle", settings.idle.map(seconds))?;
    out.set_item("touch", settings.touch.map(seconds))?;
    out.set_item("absolute", seconds(settings.absolute))?;
    out.set_item("activation", settings.activation.map(seconds))?;
    out.set_item("skew", seconds(settings.skew))?;
    out.set_item("rotate_every", settings.rotate_every.map(seconds))?;
    out.set_item("grace", seconds(settings.grace))?;
    out.set_item("lease", seconds(settings.lease))?;
    out.set_item("tombstone", seconds(settings.tombstone))?;
    out.set_item("size", settings.size)?;
    out.set_item("sealed", settings.sealed)?;
    match &settings.carry {
        Carry::All => out.set_item("carry", "all")?,
        Carry::Nothing => out.set_item("carry", "none")?,
        Carry::Keys(keys) => out.set_item("carry", keys)?,
    }
    let reuse = match settings.reuse {
        _ if refuses_only => "danger-refuse-only",
        Reuse::Destroy => "destroy",
        Reuse::RevokeAll => "revoke-all",
    };
    out.set_item("reuse", reuse)?;
    out.set_item("limit", settings.limit.map(|limit| (beyond(limit.beyond), limit.sessions)))?;
    let place = match settings.place {
        Place::Store => "store",
        Place::Cookie => "cookie",
        Place::CookieAndDenyList => "cookie and deny list",
        Place::CookieUntilLogin => "cookie until login",
    };
    out.set_item("place", place)?;
    let concurrency = match settings.concurrency {
        Concurrency::Merge => "merge",
        Concurrency::Strict => "strict",
        Concurrency::Serial => "serial",
    };
    out.set_item("concurrency", concurrency)?;
    out.set_item("login_cookie", policy.cookie_name(Kind::Login))?;
    out.set_item("visitor_cookie", policy.cookie_name(Kind::Visitor))?;
    out.set_item("path", &settings.cookies.path)?;
    out.set_item("domain", settings.cookies.domain.as_deref())?;
    let same_site = match settings.cookies.same_site {
        SameSite::Strict => "strict",
        SameSite::Lax => "lax",
        SameSite::None => "none",
    };
    out.set_item("same_site", same_site)?;
    out.set_item("max_age", settings.cookies.max_age.map(seconds))?;
    out.set_item("plain_http", [plain.danger, both.danger].contains(&settings.danger))?;
    Ok(out)
}

const fn preset(assurance: Assurance) -> &'static str {
    match assurance {
        Assurance::Aal1 => "aal1",
        Assurance::Aal2 => "aal2",
        Assurance::Aal3 => "aal3",
    }
}

const fn beyond(beyond: Beyond) -> &'static str {
    match beyond {
        Beyond::Refuse => "refuse",
        Beyond::EvictOldest => "evict-oldest",
        Beyond::EvictIdlest => "evict-idlest",
    }
}
