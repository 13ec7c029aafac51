//! What every swap and every reply must keep to, whatever the store said before.

use coatroom_core::{Kind, Reply, Stamp, Swap};

use crate::browser::{NAMES, read_line};
use crate::targets::mint::Claim;
use crate::targets::strict::{Reading, Whole};

/// What an exchange was asked to do, as far as it matters here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    pub login: bool,
    pub elevate: bool,
    pub logout: bool,
    /// Keys may change.
    pub data: bool,
    pub client: bool,
    /// The swap may take the turn of its exchange, or give it back.
    pub turn: bool,
}

impl Asked {
    fn privilege(self) -> bool {
        self.login || self.elevate
    }
}

/// A swap of a record is based on exactly what was shown, counts one version, signs it, leaves alone what nobody may
/// change, and is in the only form of what it says.
pub fn swap(swap: &Swap, shown: Option<&[u8]>, asked: Asked) -> Option<Whole> {
    let Some(shown) = shown else {
        assert_eq!(swap.expected, None, "a swap of a record that was never shown");
        let new = whole(swap.new.as_deref().expect("a create removes"));
        assert_eq!((new.version, new.floor, new.generation, new.confirmed), (1, 0, 0, 0));
        assert!(new.end.is_none() && new.previous.is_none() && (asked.login || new.who.is_none()));
        assert!(swap.durable);
        return Some(new);
    };
    let Reading::Whole(old) = Reading::of(shown) else { panic!("a swap over a record that cannot be read") };
    assert_eq!(swap.expected, Stamp::of(shown), "a swap based on another record");
    assert!(old.end.is_none(), "a write after the end");
    let Some(bytes) = &swap.new else {
        assert!(swap.durable, "an ending that may be lost");
        return None;
    };
    let new = whole(bytes);
    assert_eq!(Some(new.version), old.version.checked_add(1), "version");
    assert_eq!(new.commits[1..], old.commits[..3], "commit ids");
    assert_eq!(new.created, old.created);
    assert!(new.idle == old.idle || (asked.login && new.end.is_none()), "the idle limit moved");
    assert!(new.seen >= old.seen, "the last use moved back");
    assert!(new.floor >= old.floor && new.generation >= old.generation && new.generation - old.generation <= 1);
    assert!(new.deadline == old.deadline || (asked.login && new.end.is_none()), "the absolute limit moved");
    if let Some((at, _)) = new.end {
        assert!(at >= old.seen && swap.durable && new.generation == old.generation);
        assert_eq!(new.who.as_ref().map(|who| &who.name), old.who.as_ref().map(|who| &who.name));
        return Some(new);
    }
    assert!(asked.privilege() || (new.who == old.who && new.floor == old.floor), "who is logged in changed by itself");
    assert!(asked.data || asked.login || new.data == old.data, "data changed by itself");
    assert!(asked.client || new.client == old.client, "client details changed by themselves");
    let wrote = new.data != old.data || new.client != old.client;
    let ended = new.lease.is_none() && (wrote || new.floor > old.floor);
    assert!(new.lease == old.lease || ended || asked.turn, "the turn of another ended by itself");
    if asked.privilege() && new.floor > old.floor {
        assert!(new.floor == new.generation && new.previous.is_none() && swap.durable, "an old id outlives a login");
    } else if new.generation > old.generation {
        assert!(new.previous.is_some_and(|(digest, _)| digest == old.digest) && swap.durable);
    } else {
        assert_eq!(new.digest, old.digest, "another secret for the same id");
    }
    Some(new)
}

/// Bytes that the core wrote: whole, and in their only form.
pub fn whole(bytes: &[u8]) -> Whole {
    let Reading::Whole(whole) = Reading::of(bytes) else { panic!("the core wrote what cannot be read") };
    assert_eq!(whole.write(), bytes, "the core wrote another form of the record");
    *whole
}

/// The ids that a reply hands out, each with its cookie. Every line is one of ours, and is signed by the first key.
pub fn cookies(reply: &Reply) -> Vec<(Kind, Claim)> {
    let mut ids = Vec::new();
    for line in reply.set_cookies() {
        let (kind, value, removes) = read_line(line);
        assert!(line.is_ascii() && !line.contains(['\r', '\n']), "a header of several lines");
        assert!(line.contains("; Secure") && line.contains("; HttpOnly") && line.contains("; Path=/"));
        if removes {
            assert_eq!(value, "");
            continue;
        }
        let claim = Claim::read(value.as_bytes()).expect("a cookie that is no id");
        assert_eq!(claim.key, 1, "signed by another key than the first");
        assert!(ids.iter().all(|(other, _)| *other != kind), "{} set twice", NAMES[0].0);
        ids.push((kind, claim));
    }
    ids
}
