//! Tokens as vectors: texts that count and texts that do not, forged by hand, with what every verifier has to say of each.
//! `spec/vectors/tokens/README.md` explains the format.

mod attacks;
mod foreign;
mod forge;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use coatroom_core::Timestamp;
use coatroom_token::{Claims, SigningKeys, Verifier, VerifyingKeys};
use serde_json::{Map, Value, json};

pub use forge::{AUDIENCE, ED, HS, ISSUER, NOW, base64url, claims, forge, header, key, sign};

/// A text, when it is presented, and what becomes of it.
pub struct Case {
    pub name: String,
    /// `eddsa` or `hs256`: which verifier.
    pub keys: &'static str,
    pub token: Vec<u8>,
    /// Seconds since the epoch.
    pub now: u64,
    /// What it states, or why it is refused, by [`coatroom_token::Refusal::name`].
    pub expect: Result<Value, &'static str>,
}

/// Where the files are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec/vectors/tokens")
}

/// All files by name.
pub fn files() -> Vec<(String, String)> {
    let groups = attacks::groups();
    let counts = groups.iter().map(|(name, cases)| (format!("{name}.json"), Value::from(cases.len())));
    let index = json!({
        "cases": groups.iter().map(|(_, cases)| cases.len()).sum::<usize>(),
        "files": counts.collect::<Map<_, _>>(),
        "given": { "issuer": ISSUER, "audience": AUDIENCE, "jwks": jwks(), "hs256": HS },
    });
    let mut files = vec![("index.json".to_owned(), format!("{index:#}\n"))];
    files.extend(groups.iter().map(|(name, cases)| (format!("{name}.json"), text_of(cases))));
    files
}

/// The verifier that the index describes.
pub fn verifier(given: &Value, keys: &str) -> Verifier {
    let text = |name: &str| given[name].as_str().unwrap_or_default();
    let keys = match keys {
        "eddsa" => VerifyingKeys::from_jwks(text("jwks").as_bytes()).expect("the key set of the index"),
        _ => SigningKeys::parse(text("hs256")).expect("the key of the index").verifying(),
    };
    Verifier::new(text("issuer"), text("audience"), keys).expect("the names of the index")
}

/// Plays the cases of a file, and says how many there were.
pub fn play(given: &Value, text: &str) -> Result<usize, String> {
    let file: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let cases = file["cases"].as_array().ok_or("no cases")?;
    for case in cases {
        let name = &case["name"];
        let fields: Vec<_> = case.as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
        let known = ["name", "keys", "token", "bytes", "now", "expect"];
        if let Some(field) = fields.iter().find(|field| !known.contains(field)) {
            return Err(format!("{name}: `{field}` is unknown"));
        }
        let token = match (&case["token"], &case["bytes"]) {
            (Value::String(token), Value::Null) => token.clone().into_bytes(),
            (Value::Null, Value::String(bytes)) => unhex(bytes),
            _ => return Err(format!("{name}: neither `token` nor `bytes`, or both")),
        };
        let now = case["now"].as_u64().ok_or("no time")?;
        let verifier = verifier(given, case["keys"].as_str().unwrap_or_default());
        let answer = match verifier.verify(&token, Timestamp::from_unix_ms(now.saturating_mul(1000))) {
            Ok(claims) => json!({ "claims": of_claims(&claims) }),
            Err(refusal) => json!({ "refused": refusal.name() }),
        };
        if answer != case["expect"] {
            return Err(format!("{name}: {answer} instead of {}", case["expect"]));
        }
    }
    Ok(cases.len())
}

fn of_claims(claims: &Claims) -> Value {
    json!({
        "sub": claims.principal,
        "sid": claims.handle.to_string(),
        "roles": claims.roles,
        "level": claims.level,
        "iat_ms": claims.issued_at.as_unix_ms(),
        "exp_ms": claims.expires_at.as_unix_ms(),
        "jti": claims.token_id,
    })
}

fn jwks() -> String {
    SigningKeys::parse(ED).expect("a key of ours").jwks()
}

fn text_of(cases: &[Case]) -> String {
    let mut text = "{\"cases\": [\n".to_owned();
    for (at, case) in cases.iter().enumerate() {
        let token = match std::str::from_utf8(&case.token) {
            Ok(token) => json!({ "token": token }),
            Err(_) => json!({ "bytes": hex(&case.token) }),
        };
        let expect = match &case.expect {
            Ok(claims) => json!({ "claims": claims }),
            Err(refusal) => json!({ "refused": refusal }),
        };
        let (name, keys) = (json!(case.name), case.keys);
        let token = token.to_string();
        let token = token.trim_start_matches('{').trim_end_matches('}');
        let end = if at + 1 < cases.len() { "," } else { "" };
        writeln!(
            text,
            "{{\"name\": {name}, \"keys\": \"{keys}\", \"now\": {},\n {token},\n \"expect\": {expect}}}{end}",
            case.now
        )
        .expect("a text takes text");
    }
    text.push_str("]}\n");
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}
