//! Access tokens of Coatroom sessions: JWTs that any service verifies offline, and a logout that reaches them.
//!
//! An [`Issuer`] makes a token from a live login; it lives for five minutes, and never longer than its session. The session
//! id is the refresh token: the next token comes from the next exchange. A [`Verifier`] fixes issuer, audience, type and
//! algorithm, and takes keys from its own set. With [`Revocations`], fed from the store's announcements, it refuses the
//! tokens of ended sessions within a stated bound, and says so when it cannot keep to it.
//!
//! ```
//! use coatroom_core::{KeyRing, Policy, Rules, Settings};
//! use coatroom_store::{Driver, Host, memory::Memory};
//! use coatroom_token::{Issuer, SigningKeys, Verifier};
//!
//! let ring = KeyRing::parse("1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE")?;
//! let driver = Driver::new(Rules::new(Policy::try_from(Settings::default())?, ring), Memory::default());
//! let mut session = driver.open_now(b"")?;
//! session.login("ada", &["admin"], 1)?;
//! let reply = driver.close_now(session)?;
//! # let cookie = reply.set_cookies().next().and_then(|line| line.split(';').next().map(str::to_owned)).unwrap_or_default();
//!
//! let keys = SigningKeys::parse("2026-11:EdDSA:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3I")?;
//! let verifier = Verifier::new("https://shop.example", "orders", keys.verifying())?;
//! let issuer = Issuer::new("https://shop.example", "orders", keys)?;
//!
//! let session = driver.open_now(cookie.as_bytes())?;               // the next request
//! let token = issuer.issue(&session, &mut driver.host().rng())?;
//! let claims = verifier.verify(token.as_str().as_bytes(), driver.host().now())?;
//! assert!(claims.principal == "ada" && claims.has_role("admin"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[macro_use]
mod bugs;
mod claims;
mod error;
#[cfg(feature = "store")]
mod follower;
mod issuer;
mod json;
mod jwks;
mod keys;
#[cfg(feature = "store")]
mod puller;
mod revocations;
mod verifier;

pub use claims::{Claims, Heard};
pub use error::{Form, NotIssued, Refusal, SettingsError};
#[cfg(feature = "store")]
pub use follower::{Bell, Follower};
pub use issuer::{Issuer, LONGEST_LIFETIME, Token};
pub use keys::{Algorithm, KeyError, SigningKeys, VerifyingKeys};
#[cfg(feature = "store")]
pub use puller::Puller;
pub use revocations::Revocations;
pub use verifier::{LONGEST_LEEWAY, Late, Verifier};
