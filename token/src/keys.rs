//! Keys that sign and keys that verify, each bound to one algorithm and found by its name alone.

use core::fmt;

use coatroom_core::base64url;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::Form;
use crate::json::write_text;

/// The least size of an HS256 key: that of the hash (RFC 7518 section 3.2).
const SECRET_BYTES: usize = 32;
/// Characters of a key's name, at most.
const NAME_CHARS: usize = 64;
/// The type of every token of ours (RFC 9068 section 2.1).
pub(crate) const TYPE: &str = "at+jwt";

/// How tokens are signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// Ed25519: verifiers hold public keys, and cannot make tokens.
    EdDsa,
    /// HMAC-SHA-256: whoever verifies can also make tokens.
    Hs256,
}

impl Algorithm {
    /// Its name in a header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
        }
    }
}

/// Why a text is no set of keys. Names the position of the entry (from 1) and never its content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum KeyError {
    /// There is no key in it that can be used.
    Empty,
    /// The entry is not of the form `name:algorithm:base64url`, or the key in a JWKS lacks a member.
    Malformed {
        /// Position of the entry, from 1.
        position: usize,
    },
    /// The key is not 32 bytes long (`EdDSA`), or is shorter than that (`HS256`).
    Length {
        /// Position of the entry, from 1.
        position: usize,
    },
    /// The name occurs before.
    Duplicate {
        /// Position of the entry, from 1.
        position: usize,
    },
    /// The algorithm is another than that of the first key.
    Mixed {
        /// Position of the entry, from 1.
        position: usize,
    },
    /// Anybody can sign for this public key.
    Weak {
        /// Position of the entry, from 1.
        position: usize,
    },
    /// A JWKS that is handed around holds a key that must not be.
    Private {
        /// Position of the entry, from 1.
        position: usize,
    },
    /// The JWKS is not a JSON object in the strict sense.
    Form(Form),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no key given: write `name:EdDSA:base64url` with 32 random bytes"),
            Self::Malformed { position } => {
                write!(f, "key {position} is malformed: write `name:EdDSA:base64url` or `name:HS256:base64url`")
            }
            Self::Length { position } => {
                write!(f, "key {position} has a wrong length: 32 bytes for EdDSA, at least 32 for HS256")
            }
            Self::Duplicate { position } => write!(f, "key {position} repeats an earlier name: give each its own"),
            Self::Mixed { position } => write!(f, "key {position} is for another algorithm than the first"),
            Self::Weak { position } => write!(f, "key {position} is a point of small order: it proves nothing"),
            Self::Private { position } => {
                write!(f, "key {position} is secret: withdraw it, and publish public keys only")
            }
            Self::Form(_) => f.write_str("the key set is not JSON as RFC 7517 wants it"),
        }
    }
}

impl core::error::Error for KeyError {}

/// The keys of an issuer. The first one signs; all of them verify.
///
/// Text form: a list of `name:algorithm:base64url`, parted by commas or line ends; names of letters, digits, `-`, `_` and
/// `.`; 32 random bytes each for `EdDSA`, at least 32 for `HS256`; one algorithm for all.
///
/// To rotate without refusing a live token: put the new key *last* on every node and let verifiers fetch the key set; then
/// put it first; keep the old one for as long as a token lives and the leeway, and remove it then.
pub struct SigningKeys {
    algorithm: Algorithm,
    keys: Vec<Signing>,
}

struct Signing {
    name: String,
    key: Secret,
}

enum Secret {
    Ed(Box<SigningKey>),
    Hs(Hmac<Sha256>),
}

impl fmt::Debug for SigningKeys {
    // spec: TOKEN-9 8191
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| &key.name)).finish()
    }
}

impl SigningKeys {
    /// Reads the keys from their text.
    // spec: TOKEN-8 d2bf
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut keys: Vec<Signing> = Vec::new();
        let mut algorithm = None;
        let entries = text.split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
        for (position, entry) in (1..).zip(entries) {
            let key = Signing::parse(entry, position)?;
            if keys.iter().any(|other| other.name == key.name) {
                return Err(KeyError::Duplicate { position });
            }
            if *algorithm.get_or_insert(key.key.algorithm()) != key.key.algorithm() {
                return Err(KeyError::Mixed { position });
            }
            keys.push(key);
        }
        algorithm.map(|algorithm| Self { algorithm, keys }).ok_or(KeyError::Empty)
    }

    /// The algorithm of all of them.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// What a verifier needs. For HS256 these are the same secrets: keep them as well.
    pub fn verifying(&self) -> VerifyingKeys {
        let keys = self.keys.iter().map(|key| Verifying::new(key.name.clone(), key.key.check())).collect();
        VerifyingKeys { algorithm: self.algorithm, keys }
    }

    /// The public keys as a JSON Web Key Set (RFC 7517, RFC 8037), for anybody. Empty for HS256, whose keys are secret.
    // spec: TOKEN-9 8191
    pub fn jwks(&self) -> String {
        let mut json = String::from("{\"keys\":[");
        for key in &self.keys {
            let Secret::Ed(secret) = &key.key else { continue };
            if !json.ends_with('[') {
                json.push(',');
            }
            json.push_str("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"use\":\"sig\",\"alg\":\"EdDSA\",\"kid\":");
            write_text(&mut json, &key.name);
            json.push_str(",\"x\":\"");
            json.push_str(&base64url::encode(secret.verifying_key().as_bytes()));
            json.push_str("\"}");
        }
        json.push_str("]}");
        json
    }

    /// The head of a token, and a full stop.
    // spec: TOKEN-1 6e31
    pub(crate) fn head(&self) -> String {
        let mut token = self.keys.first().map(|key| head(&key.name, self.algorithm)).unwrap_or_default();
        token.push('.');
        token
    }

    /// Signs a token: what stands in it so far.
    // spec: TOKEN-8 d2bf
    pub(crate) fn sign(&self, token: &mut String) {
        let signature = match self.keys.first().map(|key| &key.key) {
            Some(Secret::Ed(key)) => key.sign(token.as_bytes()).to_bytes().to_vec(),
            Some(Secret::Hs(key)) => key.clone().chain_update(&*token).finalize().into_bytes().to_vec(),
            None => Vec::new(),
        };
        token.push('.');
        token.push_str(&base64url::encode(&signature));
    }
}

impl Signing {
    fn parse(entry: &str, position: usize) -> Result<Self, KeyError> {
        let malformed = KeyError::Malformed { position };
        let (name, rest) = entry.split_once(':').ok_or(malformed)?;
        let (algorithm, key) = rest.split_once(':').ok_or(malformed)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > NAME_CHARS || !name.bytes().all(plain) {
            return Err(malformed);
        }
        let material = Zeroizing::new(base64url::decode(key.as_bytes()).ok_or(malformed)?);
        let key = match algorithm {
            "EdDSA" => {
                let seed = material.as_slice().try_into().map_err(|_| KeyError::Length { position })?;
                Secret::Ed(Box::new(SigningKey::from_bytes(seed)))
            }
            "HS256" if material.len() < SECRET_BYTES => return Err(KeyError::Length { position }),
            "HS256" => Secret::Hs(Hmac::new_from_slice(&material).map_err(|_| malformed)?),
            _ => return Err(malformed),
        };
        Ok(Self { name: name.to_owned(), key })
    }
}

impl Secret {
    const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ed(_) => Algorithm::EdDsa,
            Self::Hs(_) => Algorithm::Hs256,
        }
    }

    fn check(&self) -> Check {
        match self {
            Self::Ed(key) => Check::Ed(Box::new(key.verifying_key())),
            Self::Hs(key) => Check::Hs(key.clone()),
        }
    }
}

/// The keys of a verifier, all of one algorithm: what a token says of its own does not choose it.
#[derive(Clone)]
pub struct VerifyingKeys {
    pub(crate) algorithm: Algorithm,
    pub(crate) keys: Vec<Verifying>,
}

#[derive(Clone)]
pub(crate) struct Verifying {
    pub(crate) name: String,
    /// The head of our own tokens under this key, as it is written.
    head: String,
    check: Check,
}

#[derive(Clone)]
enum Check {
    Ed(Box<VerifyingKey>),
    Hs(Hmac<Sha256>),
}

impl fmt::Debug for VerifyingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| &key.name)).finish()
    }
}

impl VerifyingKeys {
    /// The algorithm of all of them.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Verifying> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The key under which a token of ours has exactly this head.
    pub(crate) fn of_head(&self, head: &[u8]) -> Option<&Verifying> {
        self.keys.iter().find(|key| key.head.as_bytes() == head)
    }
}

impl Verifying {
    /// A public key, or nothing if anybody could sign for it or it is none.
    pub(crate) fn public(name: String, point: &[u8; 32]) -> Option<Self> {
        let key = VerifyingKey::from_bytes(point).ok().filter(|key| !key.is_weak())?;
        Some(Self::new(name, Check::Ed(Box::new(key))))
    }

    fn new(name: String, check: Check) -> Self {
        let algorithm = match check {
            Check::Ed(_) => Algorithm::EdDsa,
            Check::Hs(_) => Algorithm::Hs256,
        };
        Self { head: head(&name, algorithm), name, check }
    }

    /// Whether `signature` is that of `signed`. Of one message and key there is one signature that counts.
    // spec: TOKEN-7 8b63
    pub(crate) fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        if planted!(SignatureUnchecked) {
            return true;
        }
        match &self.check {
            Check::Ed(key) => signature
                .try_into()
                .is_ok_and(|signature| key.verify_strict(signed, &Signature::from_bytes(signature)).is_ok()),
            Check::Hs(key) => key.clone().chain_update(signed).verify_slice(signature).is_ok(),
        }
    }
}

/// The head of a token as we write it, in base64url.
fn head(name: &str, algorithm: Algorithm) -> String {
    let mut json = format!("{{\"alg\":\"{}\",\"kid\":", algorithm.name());
    write_text(&mut json, name);
    json.push_str(",\"typ\":\"");
    json.push_str(TYPE);
    json.push_str("\"}");
    base64url::encode(json.as_bytes())
}
