//! Tokens and key sets, beside a second reading: `serde_json`, and signatures made here.

use std::sync::LazyLock;

use coatroom_core::Timestamp;
use coatroom_token::{Claims, SigningKeys, Verifier, VerifyingKeys};
use serde_json::{Map, Value};

use crate::targets::choices::Choices;
use crate::targets::mint::unbase64;
use crate::tokens::{AUDIENCE, ED, HS, ISSUER, NOW, base64url, claims, forge, header, sign};

const ALGORITHMS: [(&str, &str); 2] = [("HS256", HS), ("EdDSA", ED)];
const LEEWAY: f64 = 5.0;
const PRESENTED: u64 = NOW + 10;
/// What our key has for a coordinate in its key set.
static POINT: LazyLock<String> = LazyLock::new(|| base64url(crate::tokens::key().verifying_key().as_bytes()));
static VERIFIERS: LazyLock<[Verifier; 2]> = LazyLock::new(|| {
    ALGORITHMS.map(|(_, key)| Verifier::new(ISSUER, AUDIENCE, SigningKeys::parse(key).unwrap().verifying()).unwrap())
});

/// What a verifier accepts is what its issuer could have said: signed by its key, under its algorithm and type, for it, in time,
/// and each claim as the second reader has it. A good token counts, and none that differs from it in a character. A key set
/// that is accepted has our key only if it says so, and nothing secret.
pub fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let which = choices.below(ALGORITHMS.len());
    let (algorithm, _) = ALGORITHMS[which];
    match choices.below(5) {
        0 => judge(which, choices.rest()),
        1 => {
            let length = choices.below(256);
            let head = choices.some(length);
            judge(which, &forge(head, choices.rest(), algorithm));
        }
        2 => {
            let (members, mut payload) = (claims(), b"{".to_vec());
            let members = members.as_object().unwrap();
            let replaced = choices.below(members.len());
            for (at, (name, value)) in members.iter().enumerate() {
                payload.extend(format!("{}\"{name}\":", if at > 0 { "," } else { "" }).bytes());
                let value = value.to_string();
                payload.extend(if at == replaced { choices.clone().rest() } else { value.as_bytes() });
            }
            payload.push(b'}');
            judge(which, &forge(header(algorithm).as_bytes(), &payload, algorithm));
        }
        3 => {
            let good = forge(header(algorithm).as_bytes(), claims().to_string().as_bytes(), algorithm);
            let mut token = good.clone();
            for _ in 0..choices.below(3) {
                let place = (choices.below(256) << 8 | choices.below(256)) % token.len();
                match choices.below(3) {
                    0 => token[place] = choices.byte(),
                    1 => token.insert(place, choices.byte()),
                    _ => _ = token.remove(place),
                }
            }
            assert_eq!(verify(which, &token).is_some(), token == good);
        }
        _ => judge_keys(choices.rest()),
    }
}

fn verify(which: usize, token: &[u8]) -> Option<Claims> {
    VERIFIERS[which].verify(token, Timestamp::from_unix_ms(PRESENTED * 1000)).ok()
}

fn judge(which: usize, token: &[u8]) {
    let Some(claims) = verify(which, token) else { return };
    let (algorithm, _) = ALGORITHMS[which];
    let (signed, signature) = std::str::from_utf8(token).unwrap().rsplit_once('.').unwrap();
    assert_eq!(base64url(&sign(signed.as_bytes(), algorithm)), signature);
    let (head, payload) = signed.split_once('.').unwrap();
    let Some(head) = object(&unbase64(head.as_bytes()).unwrap()) else { return };
    assert_eq!((head.len(), &head["alg"]), (3, &Value::from(algorithm)));
    assert_eq!(head["kid"], if algorithm == "HS256" { "hs-1" } else { "ed-1" });
    assert!(["at+jwt", "application/at+jwt"].map(Value::from).contains(&head["typ"]));
    let Some(payload) = object(&unbase64(payload.as_bytes()).unwrap()) else { return };
    assert_eq!(payload["iss"], ISSUER);
    assert!(payload["aud"] == AUDIENCE || payload["aud"].as_array().unwrap().contains(&AUDIENCE.into()));
    assert_eq!(payload["sub"], claims.principal);
    assert_eq!(payload["sid"], claims.handle.to_string());
    assert_eq!(payload["jti"], claims.token_id);
    assert_eq!(payload["level"], claims.level);
    assert_eq!(payload["roles"], Value::from(claims.roles));
    let second = |name: &str| payload[name].as_f64().unwrap();
    for (name, read) in [("iat", claims.issued_at), ("exp", claims.expires_at)] {
        assert!((second(name) * 1000.0 - read.as_unix_ms() as f64).abs() <= 1.0, "{name}");
    }
    let now = PRESENTED as f64;
    assert!(now < second("exp") + LEEWAY + 0.001 && now > second("nbf").max(second("iat")) - LEEWAY - 0.001);
    assert!(second("exp") - second("iat") <= 300.001);
}

fn judge_keys(set: &[u8]) {
    let Ok(keys) = VerifyingKeys::from_jwks(set) else { return };
    let good = forge(header("EdDSA").as_bytes(), claims().to_string().as_bytes(), "EdDSA");
    let verifier = Verifier::new(ISSUER, AUDIENCE, keys).unwrap();
    let counts = verifier.verify(&good, Timestamp::from_unix_ms(PRESENTED * 1000)).is_ok();
    let Some(set) = object(set) else { return };
    let all = set["keys"].as_array().unwrap();
    assert!(!all.is_empty() && all.iter().all(|key| key["kty"] != "oct" && key.get("d").is_none()));
    assert_eq!(counts, all.iter().any(is_our_key));
}

/// What else a key set has is for others (RFC 7517 section 5).
fn is_our_key(key: &Value) -> bool {
    let says = |name: &str, allowed: &[&str]| match &key[name] {
        Value::Null => key.get(name).is_none(),
        Value::String(text) => allowed.contains(&text.as_str()),
        _ => false,
    };
    let is_for_signatures = says("use", &["sig"]) && says("alg", &["EdDSA", "Ed25519"]);
    let named = |name: &str, value: &str| key[name] == value;
    is_for_signatures && named("kty", "OKP") && named("crv", "Ed25519") && named("kid", "ed-1") && named("x", &POINT)
}

/// None where the second reader stops at a number that is too large for it.
fn object(text: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(text) {
        Err(error) if error.to_string().contains("out of range") => None,
        read => Some(read.expect("what is accepted is JSON")),
    }
}
