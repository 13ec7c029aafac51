//! Public keys from a JSON Web Key Set (RFC 7517, RFC 8037).

use coatroom_core::base64url;

use crate::error::Form;
use crate::json::{self, Json, Member};
use crate::keys::{Algorithm, KeyError, Verifying, VerifyingKeys};

/// Longer sets are refused.
const LONGEST: usize = 65_536;
/// Characters of a key's name, at most.
const NAME_CHARS: usize = 256;

impl VerifyingKeys {
    /// The Ed25519 keys of a key set. Keys of other kinds, and keys for encryption, are passed over (RFC 7517 section 5); a
    /// set with a private or secret key is refused, for somebody published what they must not.
    ///
    /// The set comes from a place that the caller chose, over TLS; never from one that a token names.
    // spec: TOKEN-8 d2bf, TOKEN-9 8191
    pub fn from_jwks(set: &[u8]) -> Result<Self, KeyError> {
        if set.len() > LONGEST {
            return Err(KeyError::Form(Form::TooLong));
        }
        let members = json::object(set).map_err(KeyError::Form)?;
        let Some(Json::List(list)) = get(&members, "keys") else { return Err(KeyError::Form(Form::Malformed)) };
        let mut keys: Vec<Verifying> = Vec::new();
        for (position, entry) in (1..).zip(list) {
            let Json::Object(key) = entry else { return Err(KeyError::Malformed { position }) };
            if let Some(key) = public(key, position)? {
                if keys.iter().any(|other| other.name == key.name) {
                    return Err(KeyError::Duplicate { position });
                }
                keys.push(key);
            }
        }
        if keys.is_empty() { Err(KeyError::Empty) } else { Ok(Self { algorithm: Algorithm::EdDsa, keys }) }
    }
}

fn public(key: &[Member<'_>], position: usize) -> Result<Option<Verifying>, KeyError> {
    let malformed = KeyError::Malformed { position };
    let text = |name| match get(key, name) {
        None => Ok(None),
        Some(Json::Text(text)) => Ok(Some(&**text)),
        Some(_) => Err(malformed),
    };
    let kind = text("kty")?.ok_or(malformed)?;
    if kind == "oct" || get(key, "d").is_some() {
        return Err(KeyError::Private { position });
    }
    let is_ours = kind == "OKP"
        && text("crv")? == Some("Ed25519")
        && matches!(text("use")?, None | Some("sig"))
        && matches!(text("alg")?, None | Some("EdDSA" | "Ed25519"));
    if !is_ours {
        return Ok(None);
    }
    let name = text("kid")?.filter(|name| !name.is_empty() && name.len() <= NAME_CHARS).ok_or(malformed)?;
    let point = text("x")?.and_then(|x| base64url::decode(x.as_bytes())?.try_into().ok());
    let point = point.ok_or(KeyError::Length { position })?;
    Verifying::public(name.to_owned(), &point).map(Some).ok_or(KeyError::Weak { position })
}

fn get<'m, 'a>(members: &'m [Member<'a>], name: &str) -> Option<&'m Json<'a>> {
    members.iter().find(|(other, _)| other == name).map(|(_, value)| value)
}
