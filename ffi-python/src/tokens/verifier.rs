//! Whether a token counts.

use coatroom_store::Host;
use coatroom_token::{Algorithm, Claims, Heard, Late, Refusal, SigningKeys, VerifyingKeys};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::Revocations;
use crate::csrf::CsrfKeys;
use crate::error::config;
use crate::host::{Clock, PythonHost};
use crate::sessions::{to_span, with_bytes};

/// Principal, handle, roles, level; issued and expires (seconds since the Unix epoch); the token's own name; whether endings
/// were known: "never", "in time" or "too long ago".
type ClaimParts = (String, String, Vec<String>, u8, f64, f64, String, &'static str);

/// Judges tokens of one issuer for one audience, under one algorithm.
#[pyclass(frozen, module = "coatroom._native")]
pub(crate) struct Verifier {
    verifier: coatroom_token::Verifier,
    clock: PythonHost,
}

#[pymethods]
impl Verifier {
    /// For names of issuer and audience. With the public keys of a JWKS, or with shared keys as an issuer has them; never with
    /// private ones. Lifetime and leeway in seconds.
    #[new]
    #[pyo3(signature = (names, jwks, shared, lifetime, leeway, clock = None))]
    fn new(
        py: Python<'_>,
        names: (String, String),
        jwks: Option<&[u8]>,
        shared: Option<&str>,
        lifetime: f64,
        leeway: f64,
        clock: Option<&Bound<'_, Clock>>,
    ) -> PyResult<Self> {
        let ((issuer, audience), keys) = (names, keys(py, jwks, shared)?);
        let (lifetime, leeway) = (to_span(py, "lifetime", lifetime)?, to_span(py, "leeway", leeway)?);
        let made = coatroom_token::Verifier::new(&issuer, &audience, keys)
            .and_then(|made| made.with_lifetime(lifetime))
            .and_then(|made| made.with_leeway(leeway));
        let verifier = made.map_err(|error| config(py, &error))?;
        Ok(Self { verifier, clock: clock_of(clock) })
    }

    /// The same with other keys.
    fn with_keys(&self, py: Python<'_>, jwks: Option<&[u8]>, shared: Option<&str>) -> PyResult<Self> {
        let keys = keys(py, jwks, shared)?;
        Ok(Self { verifier: self.verifier.with_keys(keys), clock: self.clock.clone() })
    }

    /// The same, refusing what has ended up to `within` seconds ago; when that is not known, all, unless told to accept.
    fn with_revocations(
        &self,
        py: Python<'_>,
        revocations: &Revocations,
        within: f64,
        accepts: bool,
    ) -> PyResult<Self> {
        let (known, within) = (revocations.known(), to_span(py, "within", within)?);
        let late = if accepts { Late::Accept } else { Late::Refuse };
        Ok(Self { verifier: self.verifier.clone().with_revocations(known, within, late), clock: self.clock.clone() })
    }

    /// What a token states, if it counts; else raises.
    fn verify(&self, token: &Bound<'_, PyAny>) -> PyResult<ClaimParts> {
        let now = self.clock.now();
        let judged = with_bytes(token, |bytes| self.verifier.verify(bytes, now))?;
        judged.map(parts).map_err(|refusal| refused(token.py(), refusal))
    }
}

/// The system's clock, unless a test brings one.
pub(super) fn clock_of(clock: Option<&Bound<'_, Clock>>) -> PythonHost {
    PythonHost::new(clock.map(Bound::get), CsrfKeys::default())
}

// spec: TOKEN-7 8b63, TOKEN-9 8191
fn keys(py: Python<'_>, jwks: Option<&[u8]>, shared: Option<&str>) -> PyResult<VerifyingKeys> {
    match (jwks, shared) {
        (Some(set), None) => VerifyingKeys::from_jwks(set).map_err(|error| config(py, &error)),
        (None, Some(text)) => {
            let keys = SigningKeys::parse(text).map_err(|error| config(py, &error))?;
            if keys.algorithm() == Algorithm::EdDsa {
                return Err(config(py, &"these keys make tokens: give a verifier the public ones alone, as `jwks`"));
            }
            Ok(keys.verifying())
        }
        _ => Err(config(py, &"a verifier has either `jwks` or `shared_keys`")),
    }
}

fn parts(claims: Claims) -> ClaimParts {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of 48 bits are exact")]
    let [issued, expires] = [claims.issued_at, claims.expires_at].map(|time| time.as_unix_ms() as f64 / 1000.0);
    let heard = match claims.heard {
        Heard::Never => "never",
        Heard::InTime => "in time",
        Heard::TooLongAgo => "too long ago",
    };
    let Claims { principal, handle, roles, level, token_id, .. } = claims;
    (principal, handle.to_string(), roles, level, issued, expires, token_id, heard)
}

/// The classes and what they are for are said in Python, where users look for them.
fn refused(py: Python<'_>, refusal: Refusal) -> PyErr {
    static REFUSED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let made = REFUSED
        .import(py, "coatroom.errors", "token_refused")
        .and_then(|refused| refused.call1((refusal.name(), refusal.to_string(), refusal.status())));
    made.map_or_else(|error| error, PyErr::from_value)
}
