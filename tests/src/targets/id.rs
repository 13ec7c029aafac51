//! Bytes as a session id: any text, and made ids with a bent bit.

use std::sync::{Arc, LazyLock};

use coatroom_core::{Closing, Event, Handle, Kind, Loaded, Opening, Rules, State};
use hmac::Hmac;
use sha2::Sha256;

use crate::rng::Dry;
use crate::targets::choices::Choices;
use crate::targets::mint::{self, Claim, at};
use crate::targets::strict::{Phase, Verdict, Who, Whole};
use crate::world::START;

static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| mint::rules(|_| ()));

/// Sign what is made: both keys of the ring, and one that the ring does not have.
static SIGNERS: LazyLock<[Hmac<Sha256>; 3]> = LazyLock::new(|| {
    [&b"obviously a test key, not a secret!"[..], b"an older test key, no secret either", b"somebody else's key"]
        .map(mint::tagger)
});

/// The third id of a login, its predecessor in grace.
static RECORD: LazyLock<(Whole, Vec<u8>)> = LazyLock::new(|| {
    let whole = Whole {
        version: 5,
        created: START,
        seen: START,
        deadline: START + 1_000_000,
        generation: 2,
        digest: mint::digest(&[2; 32]),
        issued: START,
        confirmed: START,
        previous: Some((mint::digest(&[1; 32]), Phase::Until(START + 10_000))),
        who: Some(Who { level: 1, at: START, name: "alice".into(), roles: Vec::new() }),
        ..Whole::default()
    };
    let bytes = whole.write();
    (whole, bytes)
});

/// Exactly the texts that a key of the ring vouches for ask the store, for the handle that they name; and an id opens the
/// record only with the generation and the secret that it was issued with.
pub fn run(bytes: &[u8]) {
    let text = made(bytes);
    let header = [b"__Host-id=", &text[..]].concat();
    // What follows a semicolon is another cookie, and of ours there is one: the target `cookie` has more.
    let mut cookies = text.split(|&byte| byte == b';');
    let claim = Claim::read(cookies.next().unwrap_or_default());
    if cookies.any(|other| other.trim_ascii_start().starts_with(b"__Host-")) {
        return;
    }
    let opening = RULES.open(&header, at(5));
    let Some(claim) = claim else {
        let Opening::Ready(session) = opening else { panic!("a forged id asks the store") };
        let Closing::Done(reply) = session.close(at(6), &mut Dry) else { panic!("a forged id writes") };
        let junk = reply.trace().events.contains(&Event::Junk(Kind::Login));
        assert!(junk && reply.trace().trips == 0 && reply.set_cookies().count() == 0);
        return;
    };
    let Opening::Load(load) = opening else { panic!("{claim:?} is genuine and not looked up") };
    assert_eq!(load.handle(), Handle::from_bytes(claim.handle));
    let (whole, record) = &*RECORD;
    let verdict = whole.judge(&claim, START + 5, None);
    let Opening::Ready(session) = load.found(Loaded::Found(record.clone())) else { panic!("one load is enough") };
    assert_eq!(session.is_live(), verdict.is_live(), "{verdict:?} of {claim:?}");
    let state = match verdict {
        Verdict::Current => State::Active,
        Verdict::Forged => State::Destroyed,
        _ => State::Regenerated,
    };
    assert_eq!(session.state(), Some(state));
    let events = match verdict {
        Verdict::Forged => vec![Event::Forged(claim.name())],
        Verdict::Reuse => vec![Event::Reuse(claim.name())],
        _ => Vec::new(),
    };
    assert_eq!(session.trace().events, events);
}

/// A text as it is, or 50 bytes signed, with one byte of the text changed.
fn made(bytes: &[u8]) -> Vec<u8> {
    let mut choices = Choices::new(bytes);
    let how = choices.byte();
    if how & 1 == 0 {
        return choices.rest().to_vec();
    }
    let (place, change) = (usize::from(choices.byte()), choices.byte());
    let mut claim = Claim { handle: [9; 12], generation: 2, key: 1, secret: [2; 32] };
    if how & 2 != 0 {
        claim.generation = u32::from(choices.byte()).wrapping_sub(1);
        claim.secret = [choices.byte(); 32];
    }
    if how & 4 != 0 {
        claim.key = u16::from_be_bytes(choices.array());
        claim.handle = choices.array();
    }
    if how & 8 != 0 {
        claim.generation = u32::from_be_bytes(choices.array());
        claim.secret = choices.array();
    }
    let signer = &SIGNERS[usize::from(how >> 4) % 3];
    let mut text = mint::with_tag(&claim.signed(), signer).into_bytes();
    if let Some(byte) = text.get_mut(place) {
        *byte ^= change;
    }
    text
}
