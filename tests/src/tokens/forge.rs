//! Tokens made by hand, out of whatever parts: nothing here asks `coatroom-token`.

use ed25519_dalek::{Signer, SigningKey};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

pub use crate::targets::mint::base64 as base64url;

/// Seconds since the epoch: the beginning of 2026.
pub const NOW: u64 = 1_767_225_600;
pub const ISSUER: &str = "https://shop.example";
pub const AUDIENCE: &str = "orders";
/// A signing key, the only one of the Ed25519 verifier.
pub const ED: &str = "ed-1:EdDSA:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3I";
/// The only key of the HS256 verifier.
pub const HS: &str = "hs-1:HS256:YW5vdGhlciB0ZXN0IGtleSwgYW5kIG5vIHNlY3JldCEh";
pub const SEED: &[u8; 32] = b"obviously a test key, not a secr";
pub const SECRET: &[u8] = b"another test key, and no secret!!";

pub fn key() -> SigningKey {
    SigningKey::from_bytes(SEED)
}

pub fn header(algorithm: &str) -> String {
    let name = if algorithm == "HS256" { "hs-1" } else { "ed-1" };
    format!(r#"{{"alg":"{algorithm}","kid":"{name}","typ":"at+jwt"}}"#)
}

/// Claims that count for five minutes from [`NOW`] on.
pub fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "sid": "AAECAwQFBgcICQoL", "jti": "token-1",
        "iat": NOW, "nbf": NOW, "exp": NOW + 300, "level": 1, "roles": ["admin", "staff"],
    })
}

/// A token of these parts under the key that the verifier of its kind has.
pub fn forge(header: &[u8], claims: &[u8], algorithm: &str) -> Vec<u8> {
    let signed = format!("{}.{}", base64url(header), base64url(claims));
    let signature = sign(signed.as_bytes(), algorithm);
    format!("{signed}.{}", base64url(&signature)).into_bytes()
}

pub fn sign(signed: &[u8], algorithm: &str) -> Vec<u8> {
    match algorithm {
        "HS256" => mac(SECRET, signed),
        _ => key().sign(signed).to_bytes().to_vec(),
    }
}

pub fn mac(secret: &[u8], signed: &[u8]) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length will do");
    mac.chain_update(signed).finalize().into_bytes().to_vec()
}
