//! Tokens from the sessions of an application.

use coatroom_core::NotOnRecord;
use coatroom_store::Host;
use coatroom_token::{NotIssued, SigningKeys};
use pyo3::prelude::*;

use crate::error::{config, from_core, raise};
use crate::exchange::Exchange;
use crate::sessions::to_span;

/// Makes tokens from sessions.
#[pyclass(frozen, module = "coatroom._native")]
pub(crate) struct Issuer(coatroom_token::Issuer);

#[pymethods]
impl Issuer {
    /// An issuer of this name, for one audience; `lifetime` in seconds.
    #[new]
    fn new(py: Python<'_>, issuer: &str, audience: &str, keys: &str, lifetime: f64) -> PyResult<Self> {
        let keys = SigningKeys::parse(keys).map_err(|error| config(py, &error))?;
        let lifetime = to_span(py, "lifetime", lifetime)?;
        let made = coatroom_token::Issuer::new(issuer, audience, keys).and_then(|made| made.with_lifetime(lifetime));
        made.map(Self).map_err(|error| config(py, &error))
    }

    /// A token for the login that an exchange was opened with: its text, when it expires (seconds since the Unix epoch), how
    /// many seconds it lives from the opening on.
    fn issue(&self, py: Python<'_>, exchange: &Exchange) -> PyResult<(String, u64, u64)> {
        let host = exchange.driver().host();
        let issued = exchange.locked(|staged| staged.session().map(|session| self.0.issue(session, &mut host.rng())));
        let token = issued.map_err(|error| from_core(py, error))?.map_err(|why| not_issued(py, why))?;
        let expires_at = token.expires_at().as_unix_ms().checked_div(1000).unwrap_or_default();
        Ok((token.as_str().to_owned(), expires_at, token.lifetime().as_secs()))
    }

    /// The public keys as a JSON Web Key Set.
    fn jwks(&self) -> String {
        self.0.keys().jwks()
    }

    /// How it signs: `EdDSA` or `HS256`.
    fn algorithm(&self) -> &'static str {
        self.0.keys().algorithm().name()
    }
}

/// Who is not logged in gets 401; who only just did asks again.
// spec: TOKEN-3 c1a8
fn not_issued(py: Python<'_>, why: NotIssued) -> PyErr {
    let (code, status) = match why {
        NotIssued::NotOnRecord(NotOnRecord::Unsaved) => ("not-issued", 409),
        NotIssued::NotOnRecord(_) | NotIssued::EndsNow => ("unauthenticated", 401),
        NotIssued::NoRandomness => ("no-randomness", 503),
        _ => ("not-issued", 500),
    };
    raise(py, code, &why.to_string(), status)
}
