//! Our tokens read by another library of Rust, and its tokens by us: neither knows of the other.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use coatroom_core::{KeyRing, Policy, Rules, Settings};
use coatroom_store::{Driver, Host, memory::Memory};
use coatroom_token::{Issuer, SigningKeys, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};

const SHOP: &str = "https://shop.example";
const SECRET: &[u8; 32] = b"obviously a test key, not a secr";
const TEXT: &str = "b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3I";
/// PKCS #8 of an Ed25519 key is this and its 32 bytes (RFC 8410 section 7).
const PKCS8: &[u8; 16] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
const BOTH: [(&str, Algorithm); 2] = [("EdDSA", Algorithm::EdDSA), ("HS256", Algorithm::HS256)];

fn keys(algorithm: &str) -> SigningKeys {
    SigningKeys::parse(&format!("key-1:{algorithm}:{TEXT}")).unwrap()
}

/// The other library's keys, made from ours as a stranger would make them.
fn theirs(algorithm: Algorithm) -> (EncodingKey, DecodingKey) {
    if algorithm == Algorithm::HS256 {
        return (EncodingKey::from_secret(SECRET), DecodingKey::from_secret(SECRET));
    }
    let set: Value = serde_json::from_str(&keys("EdDSA").jwks()).unwrap();
    let public = DecodingKey::from_ed_components(set["keys"][0]["x"].as_str().unwrap()).unwrap();
    (EncodingKey::from_ed_der(&[&PKCS8[..], SECRET].concat()), public)
}

fn driver() -> Driver<Memory> {
    let ring = KeyRing::parse("1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE").unwrap();
    Driver::new(Rules::new(Policy::try_from(Settings::default()).unwrap(), ring), Memory::default())
}

#[test]
// spec: TOKEN-1 6e31, TOKEN-2 9702
fn what_we_issue_jsonwebtoken_accepts() {
    let driver = driver();
    let mut session = driver.open_now(b"").unwrap();
    session.login("ada", &["admin", "staff"], 1).unwrap();
    let reply = driver.close_now(session).unwrap();
    let cookie = reply.set_cookies().next().and_then(|line| line.split(';').next()).unwrap();
    for (name, algorithm) in BOTH {
        let issuer = Issuer::new(SHOP, "orders", keys(name)).unwrap();
        let session = driver.open_now(cookie.as_bytes()).unwrap();
        let token = issuer.issue(&session, &mut driver.host().rng()).unwrap();
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&["orders"]);
        validation.set_issuer(&[SHOP]);
        validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
        validation.validate_nbf = true;
        let read = jsonwebtoken::decode::<Value>(token.as_str(), &theirs(algorithm).1, &validation).unwrap();
        assert_eq!((read.header.kid.as_deref(), read.header.typ.as_deref()), (Some("key-1"), Some("at+jwt")));
        assert_eq!(read.claims["sub"], "ada");
        assert_eq!(read.claims["roles"], json!(["admin", "staff"]));
    }
}

#[test]
// spec: TOKEN-4 0830
fn what_jsonwebtoken_makes_we_accept() {
    let now = driver().host().now();
    let seconds = now.as_unix_ms() / 1000;
    let claims = json!({
        "iss": SHOP, "aud": "orders", "sub": "ada", "sid": "AAECAwQFBgcICQoL", "jti": "token-1", "iat": seconds,
        "nbf": seconds, "exp": seconds + 300, "level": 1, "roles": ["admin"],
    });
    for (name, algorithm) in BOTH {
        let made = |kind: &str| {
            let (typ, kid) = (Some(kind.to_owned()), Some("key-1".to_owned()));
            let header = Header { typ, kid, ..Header::new(algorithm) };
            jsonwebtoken::encode(&header, &claims, &theirs(algorithm).0).unwrap()
        };
        let verifier = Verifier::new(SHOP, "orders", keys(name).verifying()).unwrap();
        let stated = verifier.verify(made("at+jwt").as_bytes(), now).unwrap();
        assert!(stated.principal == "ada" && stated.has_role("admin"));
        assert!(verifier.verify(made("JWT").as_bytes(), now).is_err(), "another kind of token");
    }
}
