//! Access tokens for Python. Every rule is that of `coatroom-token`; here are conversions alone.

mod issuer;
mod revocations;
mod verifier;

pub(crate) use issuer::Issuer;
pub(crate) use revocations::Revocations;
pub(crate) use verifier::Verifier;
