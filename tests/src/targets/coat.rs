//! A second sealer and opener of session cookies, from the documented form; and cookies that are changed.

use std::sync::{Arc, LazyLock};

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use coatroom_core::{Closing, Event, Handle, Kind, Opening, Place, Rules};

use crate::browser::Id;
use crate::rng::Fixed;
use crate::targets::choices::Choices;
use crate::targets::mint::{self, Claim, MATERIAL, at, base64, unbase64};
use crate::targets::strict::{Reading, Who, Whole};
use crate::world::START;

const ID: usize = 88;
const BEFORE: usize = 26;
const BEHIND: usize = 16;

fn cipher(number: u16) -> Option<XChaCha20Poly1305> {
    let (_, material) = MATERIAL.iter().find(|(other, _)| *other == number)?;
    let mut key = [0; 32];
    hkdf::Hkdf::<sha2::Sha256>::new(None, material).expand(b"coatroom/1 sealed cookie", &mut key).unwrap();
    Some(XChaCha20Poly1305::new((&key).into()))
}

fn place(handle: [u8; 12]) -> Vec<u8> {
    [&[1], &handle[..]].concat()
}

/// What stands behind the dot.
fn seal(record: &[u8], handle: [u8; 12], number: u16, nonce: [u8; 24]) -> Vec<u8> {
    let mut text = record.to_vec();
    let tag = cipher(number).unwrap().encrypt_inout_detached(&nonce.into(), &place(handle), text.as_mut_slice().into());
    [&number.to_be_bytes()[..], &nonce, &text, &tag.unwrap()[..]].concat()
}

/// The value of a cookie; the id is signed by the first key.
pub fn text(id: &Id, record: &[u8], number: u16, nonce: [u8; 24]) -> String {
    let handle = *id.handle.as_bytes();
    let claim = Claim { handle, generation: id.generation, key: 1, secret: id.secret };
    format!("{}.{}", claim.text().unwrap(), base64(&seal(record, handle, number, nonce)))
}

/// The key's number, the nonce and the record of a cookie, if it opens here.
pub fn open(text: &str) -> Option<(u16, [u8; 24], Vec<u8>)> {
    let handle = *Id::read(text.get(..ID)?)?.handle.as_bytes();
    let sealed = unbase64(text.get(ID..)?.strip_prefix('.')?.as_bytes())?;
    let (number, nonce) = (u16::from_be_bytes(*sealed.first_chunk()?), *sealed.get(2..)?.first_chunk::<24>()?);
    let tag: [u8; BEHIND] = *sealed.last_chunk()?;
    let mut record = sealed.get(BEFORE..sealed.len().checked_sub(BEHIND)?)?.to_vec();
    cipher(number)?
        .decrypt_inout_detached(&nonce.into(), &place(handle), record.as_mut_slice().into(), &tag.into())
        .ok()?;
    Some((number, nonce, record))
}

const HANDLE: [u8; 12] = [9; 12];
static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| mint::rules(|settings| settings.place = Place::Cookie));

fn record(choices: &mut Choices<'_>) -> Whole {
    let who = Who { level: 1, at: START, name: "alice".into(), roles: vec!["user".into()] };
    let length = choices.below(40);
    let value = coatroom_core::Value::Bytes(choices.some(length).to_vec()).encode().unwrap().as_bytes().to_vec();
    Whole {
        version: 3,
        commits: [[1; 8], [2; 8], [3; 8], [0; 8]],
        created: START,
        seen: START,
        deadline: START + 1_000_000,
        idle: 100_000,
        digest: mint::digest(&[5; 32]),
        issued: START,
        confirmed: START,
        who: choices.one_in(2).then_some(who),
        data: [("a".to_owned(), value)].into(),
        ..Whole::default()
    }
}

/// A cookie opens to the record that was sealed for it, under its name alone. Changed in any character, cut, lengthened, or sealed
/// for another handle it is no session, no store is asked, and nothing is written or set. Whatever bytes stand in the place of
/// its record are judged as those of a store would be. What is written then opens here, under the first key.
pub fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let plain = record(&mut choices);
    let kind = if plain.who.is_some() { Kind::Login } else { Kind::Visitor };
    let id = Id { handle: Handle::from_bytes(HANDLE), generation: 0, secret: [5; 32] };
    let (number, nonce) = (choices.of(&[1, 513]), choices.array());
    let mut value = text(&id, &plain.write(), number, nonce).into_bytes();
    let made = value.clone();
    let mut name = kind;
    let mut is_good = false;
    match choices.below(8) {
        0 => is_good = true,
        1 => {
            let place = (choices.below(256) << 8 | choices.below(256)) % value.len();
            value[place] ^= 1 << choices.below(8);
        }
        2 => value.truncate((choices.below(256) << 8 | choices.below(256)) % value.len()),
        3 => value.extend((0..=choices.below(40)).map(|_| choices.byte())),
        4 => {
            let other = Id { handle: Handle::from_bytes([8; 12]), ..id.clone() };
            let moved = text(&other, &plain.write(), number, nonce);
            value.truncate(ID + 1);
            value.extend_from_slice(&moved.as_bytes()[ID + 1..]);
        }
        5 => name = if kind == Kind::Login { Kind::Visitor } else { Kind::Login },
        6 => {
            let junk = choices.some(200);
            value = text(&id, junk, number, nonce).into_bytes();
            if Reading::of(junk) != Reading::Damaged {
                return;
            }
        }
        _ => value = choices.some(300).to_vec(),
    }
    value.retain(|byte| !b"; ".contains(byte));
    // What was added may all have been such bytes.
    is_good |= value == made && name == kind;
    let names = if name == Kind::Login { "__Host-id=" } else { "__Host-visitor=" };
    let header = [names.as_bytes(), &value[..]].concat();
    let Opening::Ready(mut session) = RULES.open(&header, at(0)) else { panic!("a cookie asks no store") };
    assert_eq!(session.is_live(), is_good);
    let events = session.trace().events;
    let told = |event: &Event| {
        matches!(event, Event::Junk(_) | Event::Unopened(_) | Event::Damaged(_) | Event::WrongCookie(_))
    };
    assert!(events.len() == usize::from(!is_good) && events.iter().all(told));
    if is_good {
        assert_eq!(session.get_encoded("a").unwrap(), plain.data["a"]);
    }
    let writes = choices.one_in(2);
    if writes {
        session.set("k", 1).unwrap();
    }
    let Closing::Done(reply) = session.close(at(0), &mut Fixed::new(1)) else { panic!("a cookie is told nobody else") };
    let lines: Vec<_> = reply.set_cookies().collect();
    assert_eq!(lines.len(), usize::from(writes));
    for line in lines {
        let value = line.split_once('=').unwrap().1.split(';').next().unwrap();
        let (number, written, record) = open(value).expect("what is set opens");
        assert!(number == 1 && written != nonce, "sealed by another key than the first, or under a nonce used before");
        let Reading::Whole(whole) = Reading::of(&record) else { panic!("the core wrote what cannot be read") };
        assert_eq!((whole.write(), whole.data.contains_key("a")), (record, is_good));
    }
}
