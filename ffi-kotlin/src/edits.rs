//! What a handler did to its session, as one batch: a list in deterministic CBOR, each of its items a list of a word and what
//! the word needs.
//!
//! | word | and |
//! |---|---|
//! | `read` | key: its value was looked at |
//! | `keys`, `who` | all keys, or who is logged in, were looked at |
//! | `set` | key, value (its CBOR as bytes) |
//! | `remove` | key |
//! | `clear` | |
//! | `add` | key, integer |
//! | `strict` | |
//! | `login` | principal, list of roles, level |
//! | `remember` | |
//! | `elevate` | level |
//! | `logout`, `rotate` | |
//! | `client` | label, address |
//! | `revoked` | the moment that a revocation of all sessions gave |
//! | `head-sent`, `discard` | |

use coatroom_core::value::{Encoded, Reader, Token};
use coatroom_core::{Client, Error, Rotation};

use crate::error::Refusal;
use crate::remember::Opened;
use crate::wire::moment;

/// What the last `add` and the last `rotate` of a batch came to.
#[derive(Default)]
pub(crate) struct Came {
    pub(crate) sum: Option<i64>,
    pub(crate) rotation: Option<Rotation>,
}

/// Does what the batch says, in its order. What came before an edit that is refused stays done, and nothing of that edit is.
pub(crate) fn apply(opened: &mut Opened, batch: &[u8]) -> Result<Came, Refusal> {
    let mut came = Came::default();
    if batch.is_empty() {
        return Ok(came);
    }
    let mut batch = Batch(Reader::new(batch));
    for _ in 0..batch.list()? {
        let parts = batch.list()?;
        let word = batch.text()?;
        if parts != arity(word) {
            return Err(misread());
        }
        edit(opened, word, &mut batch, &mut came)?;
    }
    if batch.0.is_at_end() { Ok(came) } else { Err(misread()) }
}

fn edit(opened: &mut Opened, word: &str, batch: &mut Batch<'_>, came: &mut Came) -> Result<(), Refusal> {
    let session = &mut opened.session;
    match word {
        "read" => _ = session.get_encoded(batch.text()?),
        "keys" => _ = session.keys(),
        "who" => _ = session.principal(),
        "set" => {
            let key = batch.text()?;
            let value = Encoded::from_bytes(batch.bytes()?.to_vec()).map_err(Error::Value)?;
            session.set_encoded(key, value)?;
        }
        "remove" => session.remove(batch.text()?),
        "clear" => session.clear(),
        "add" => came.sum = Some(session.add(batch.text()?, batch.int()?)?),
        "strict" => session.strict(),
        "login" => {
            let principal = batch.text()?;
            let roles = (0..batch.list()?).map(|_| batch.text()).collect::<Result<Vec<_>, _>>()?;
            session.login(principal, &roles, batch.level()?)?;
            opened.entered(principal);
        }
        "remember" => opened.remember()?,
        "elevate" => session.elevate(batch.level()?)?,
        "logout" => opened.logout(),
        "rotate" => came.rotation = Some(session.rotate()),
        "client" => {
            let (label, address) = (batch.text()?.to_owned(), batch.text()?.to_owned());
            session.set_client(Client { label, address })?;
        }
        "revoked" => session.revoked_all(moment(batch.int()?)),
        "head-sent" => session.head_sent(),
        "discard" => opened.discard(),
        _ => return Err(misread()),
    }
    Ok(())
}

/// How many items an edit has, its word among them.
fn arity(word: &str) -> u64 {
    match word {
        "login" => 4,
        "set" | "add" | "client" => 3,
        "read" | "remove" | "elevate" | "revoked" => 2,
        _ => 1,
    }
}

struct Batch<'a>(Reader<'a>);

impl<'a> Batch<'a> {
    fn list(&mut self) -> Result<u64, Refusal> {
        if let Ok(Token::List(items)) = self.0.token() { Ok(items) } else { Err(misread()) }
    }

    fn text(&mut self) -> Result<&'a str, Refusal> {
        if let Ok(Token::Text(text)) = self.0.token() { Ok(text) } else { Err(misread()) }
    }

    fn bytes(&mut self) -> Result<&'a [u8], Refusal> {
        if let Ok(Token::Bytes(bytes)) = self.0.token() { Ok(bytes) } else { Err(misread()) }
    }

    fn int(&mut self) -> Result<i64, Refusal> {
        if let Ok(Token::Int(int)) = self.0.token() { Ok(int) } else { Err(misread()) }
    }

    fn level(&mut self) -> Result<u8, Refusal> {
        u8::try_from(self.int()?).map_err(|_| misread())
    }
}

fn misread() -> Refusal {
    Refusal::border("the batch is not a list of edits in deterministic CBOR: encode it with this library")
}
