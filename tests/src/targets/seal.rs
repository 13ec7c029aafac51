//! A second sealer and opener of records, from the documented form; and bytes as a sealed record that is changed.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use coatroom_core::{Client, Closing, Event, Handle, Loaded, Opening, Rules, Save, Session};

use crate::rng::Fixed;
use crate::targets::choices::Choices;
use crate::targets::mint::{self, Claim, MATERIAL, at};
use crate::targets::strict::{Phase, Reading, Who, Whole, tail_at};
use crate::world::START;

/// Key number, nonce; tag.
const BEFORE: usize = 26;
const BEHIND: usize = 16;
const FLOOR: std::ops::Range<usize> = 114..118;

fn cipher(number: u16) -> Option<XChaCha20Poly1305> {
    let (_, material) = MATERIAL.iter().find(|(other, _)| *other == number)?;
    let mut key = [0; 32];
    hkdf::Hkdf::<sha2::Sha256>::new(None, material).expand(b"coatroom/1 record seal", &mut key).unwrap();
    Some(XChaCha20Poly1305::new((&key).into()))
}

fn place(record: &[u8], handle: [u8; 12]) -> Vec<u8> {
    [&[2], &handle[..], &record[FLOOR]].concat()
}

/// The sealed form of a record.
pub fn seal(plain: &[u8], handle: [u8; 12], number: u16, nonce: [u8; 24]) -> Vec<u8> {
    let (front, tail) = plain.split_at(tail_at(plain).unwrap());
    let mut tail = tail.to_vec();
    let tag = cipher(number).unwrap().encrypt_inout_detached(
        &nonce.into(),
        &place(plain, handle),
        tail.as_mut_slice().into(),
    );
    [&[2], &front[1..], &number.to_be_bytes(), &nonce, &tail, &tag.unwrap()[..]].concat()
}

/// The plain form of a sealed record, if it opens here: the key's number and the nonce before it.
pub fn open(sealed: &[u8], handle: [u8; 12]) -> Option<(u16, [u8; 24], Vec<u8>)> {
    let (front, rest) = sealed.split_at(tail_at(sealed).filter(|_| sealed[0] == 2)?);
    let (number, nonce) = (u16::from_be_bytes(*rest.first_chunk()?), *rest.get(2..)?.first_chunk::<24>()?);
    let tag: [u8; BEHIND] = *rest.last_chunk()?;
    let mut tail = rest.get(BEFORE..rest.len() - BEHIND)?.to_vec();
    cipher(number)?
        .decrypt_inout_detached(&nonce.into(), &place(sealed, handle), tail.as_mut_slice().into(), &tag.into())
        .ok()?;
    Some((number, nonce, [&[1], &front[1..], &tail].concat()))
}

const HANDLE: [u8; 12] = [9; 12];
const OTHER: [u8; 12] = [8; 12];

/// Under a policy that is sealed, and under one that is not.
static RULES: LazyLock<[Arc<Rules>; 2]> =
    LazyLock::new(|| [true, false].map(|sealed| mint::rules(|settings| settings.sealed = sealed)));

/// The cookie of the owner, of the session under this handle.
fn header(handle: [u8; 12], record: &Whole) -> String {
    let claim = Claim { handle, generation: record.generation, key: 1, secret: [5; 32] };
    let name = if record.who.is_some() { "__Host-id" } else { "__Host-visitor" };
    format!("{name}={}", claim.text().unwrap())
}

/// A session of one id, whose secret is all fives.
fn record(choices: &mut Choices<'_>) -> Whole {
    let (logged_in, pending) = (choices.one_in(2), choices.one_in(3));
    let floor = choices.of(&[0, 1, 256, 70_000]);
    let who = Who { level: 1, at: START, name: "alice".into(), roles: vec!["user".into()] };
    let value = choices.some(9).iter().map(|byte| i64::from(*byte)).fold(1, |sum: i64, byte| sum << 7 ^ byte);
    let value = coatroom_core::Value::Int(value).encode().unwrap().as_bytes().to_vec();
    let data = ["a", "bb", "ccc"].into_iter().take(choices.below(4)).map(|key| (key.to_owned(), value.clone()));
    Whole {
        version: 3,
        commits: [[1; 8], [2; 8], [3; 8], [0; 8]],
        created: START,
        seen: START,
        deadline: START + 1_000_000,
        idle: 100_000,
        generation: floor + u32::from(pending),
        digest: mint::digest(&[5; 32]),
        issued: START,
        confirmed: if pending { 0 } else { START },
        floor,
        previous: pending.then_some(([6; 32], Phase::Pending([7; 16]))),
        who: logged_in.then_some(who),
        client: [choices.of(&["", "a browser"]).to_owned(), choices.of(&["", "192.0.2.1"]).to_owned()],
        data: data.collect(),
        ..Whole::default()
    }
}

/// A sealed record opens to what it is, in its place alone; changed in any bit that is bound, cut, lengthened, moved or not
/// sealed although it has to be, it is absent, with an event, and its handle is left alone. What is written then is sealed by
/// the first key, with a nonce that no other write has.
pub fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let plain = record(&mut choices);
    let strict = choices.one_in(2);
    let rules = &RULES[usize::from(!strict)];
    let (number, nonce) = (choices.of(&[1, 513]), choices.array());
    let mut sealed = seal(&plain.write(), HANDLE, number, nonce);
    let tail = tail_at(&sealed).unwrap();
    let mut asked = HANDLE;
    let event = match choices.below(6) {
        0 => None,
        1 => {
            let bound: Vec<usize> = FLOOR.chain(tail..sealed.len()).collect();
            let place = bound[(choices.below(256) << 8 | choices.below(256)) % bound.len()];
            sealed[place] ^= 1 << choices.below(8);
            Some(Event::Unopened(Handle::from_bytes(HANDLE)))
        }
        2 => {
            sealed.truncate(tail + choices.below(256) % (sealed.len() - tail));
            Some(Event::Unopened(Handle::from_bytes(HANDLE)))
        }
        3 => {
            sealed.extend((0..=choices.below(40)).map(|_| choices.byte()));
            Some(Event::Unopened(Handle::from_bytes(HANDLE)))
        }
        4 => {
            asked = OTHER;
            Some(Event::Unopened(Handle::from_bytes(OTHER)))
        }
        _ => {
            sealed = plain.write();
            strict.then_some(Event::Unsealed(Handle::from_bytes(HANDLE)))
        }
    };
    let Opening::Load(load) = rules.open(header(asked, &plain).as_bytes(), at(0)) else { panic!() };
    let Opening::Ready(mut session) = load.found(Loaded::Found(sealed.clone())) else { panic!() };
    assert_eq!(session.trace().events, event.into_iter().collect::<Vec<_>>());
    assert_eq!(session.is_live(), event.is_none());
    let seen: Vec<_> =
        session.keys().into_iter().map(|key| (key.clone(), session.get_encoded(&key).unwrap().into())).collect();
    assert_eq!(seen, if event.is_none() { plain.data.clone().into_iter().collect() } else { vec![] });
    let expected = acts(&mut session, &plain, choices.below(4), event.is_none());
    let swaps = (choices.below(3), &sealed[..], event.is_none());
    writes(session.close(at(0), &mut Fixed::new(1)), asked, swaps, strict, expected.as_ref());
}

/// What the record holds then of client and data; nothing for an end.
fn acts(session: &mut Session, plain: &Whole, does: usize, live: bool) -> Option<Whole> {
    let mut then = if live { plain.clone() } else { Whole::default() };
    let one = coatroom_core::Value::Int(1).encode().unwrap().as_bytes().to_vec();
    match does {
        0 => {
            session.set("k", 1).unwrap();
            then.data.insert("k".into(), one);
        }
        1 => {
            session.clear();
            session.set_client(Client { label: "other".into(), address: String::new() }).unwrap();
            then.data.clear();
            then.client = ["other".into(), String::new()];
        }
        2 => {
            session.login("alice", &["user"], 1).unwrap();
        }
        _ => {
            session.logout();
            return None;
        }
    }
    Some(then)
}

/// Every swap of the exchange, refused as often as is said.
fn writes(
    mut closing: Closing,
    handle: [u8; 12],
    (refusals, shown, live): (usize, &[u8], bool),
    strict: bool,
    expected: Option<&Whole>,
) {
    // Not that of the input: whoever fuzzes can guess what the core draws here.
    let mut nonces = BTreeSet::new();
    for refused in 0.. {
        assert!(refused < 9, "no end");
        closing = match closing {
            Closing::Save(save) => {
                let own = save.swap().handle == Handle::from_bytes(handle);
                assert_eq!(own, live, "an absent record is written over, or a live one is not");
                written(&save, strict, expected, &mut nonces);
                if refused < refusals { save.conflicted(Some(shown.to_vec())) } else { save.saved() }
            }
            _ => return,
        };
    }
}

fn written(save: &Save, strict: bool, expected: Option<&Whole>, nonces: &mut BTreeSet<[u8; 24]>) {
    let bytes = save.swap().new.as_deref().unwrap();
    let plain = if strict {
        let (number, nonce, plain) = open(bytes, *save.swap().handle.as_bytes()).expect("what is written is sealed");
        assert_eq!(number, 1, "sealed by another key than the first");
        assert!(nonces.insert(nonce), "a nonce is used twice");
        plain
    } else {
        bytes.to_vec()
    };
    let Reading::Whole(whole) = Reading::of(&plain) else { panic!("the core wrote what cannot be read") };
    assert_eq!(whole.write(), plain, "the core wrote another form of the record");
    assert_eq!(whole.end.is_some(), expected.is_none());
    let expected = expected.cloned().unwrap_or_default();
    assert_eq!((whole.client, whole.data), (expected.client, expected.data));
}
