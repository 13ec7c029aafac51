//! Bytes as a Cookie header.

use std::sync::{Arc, LazyLock};

use coatroom_core::{Closing, Error, Event, Kind, Listed, Loaded, Opening, Rules, State};

use crate::browser::NAMES;
use crate::rng::{Dry, Fixed};
use crate::targets::checks::{self, Asked};
use crate::targets::mint::{self, Claim, at};

static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| mint::rules(|_| ()));

/// Which store calls a header leads to, which events, and in which order, is what a second, plain reading of it says: junk
/// never touches the store, what comes twice counts as absent and is never set.
pub fn run(header: &[u8]) {
    let mut events = Vec::new();
    let sent = NAMES.map(|(name, kind)| (kind, values(header, name.as_bytes())));
    let mut ids = Vec::new();
    for (kind, values) in &sent {
        match values[..] {
            [] => {}
            [value] => match Claim::read(value) {
                Some(claim) => ids.push(claim),
                None => events.push(Event::Junk(*kind)),
            },
            _ => events.push(Event::Duplicate(*kind)),
        }
    }
    let mut opening = RULES.open(header, at(0));
    for id in &ids {
        let Opening::Load(load) = opening else { panic!("{id:?} is not looked up") };
        assert_eq!(load.handle(), id.name(), "another record is looked up");
        opening = load.found(Loaded::Absent);
    }
    let Opening::Ready(mut session) = opening else { panic!("the store is asked for junk") };
    let twice = |kind| sent.iter().any(|(other, values)| *other == kind && values.len() > 1);
    let writes = twice(Kind::Login) || twice(Kind::Visitor) || !ids.is_empty();
    if !writes {
        let Closing::Done(reply) = session.close(at(1), &mut Dry) else { panic!("a session out of nothing") };
        assert_eq!(reply.trace().events, events);
        assert_eq!((reply.trace().trips, reply.set_cookies().count()), (0, 0));
        assert!(reply.trace().state.is_none() && !reply.is_touched());
        return;
    }
    assert_eq!(session.state(), (!ids.is_empty()).then_some(State::Destroyed));
    assert!(!session.is_live() && session.keys().is_empty() && session.principal().is_none());
    assert_eq!(session.trace().events, events);
    session.set("k", 1).unwrap();
    match session.close(at(1), &mut Fixed::new(1)) {
        Closing::Failed(failure) => {
            assert_eq!(failure.error, Error::DuplicateCookie);
            assert!(twice(Kind::Visitor), "refused without need");
        }
        Closing::Enter(_) => panic!("entered with its swap"),
        Closing::Save(save) => {
            assert!(!twice(Kind::Visitor), "a cookie is set that came twice");
            assert!(ids.iter().all(|id| id.name() != save.swap().handle), "a dead handle is written over");
            checks::swap(save.swap(), None, Asked::default());
            let Closing::Done(reply) = save.entered(Listed::default()) else { panic!("one write is enough") };
            assert!(matches!(checks::cookies(&reply)[..], [(Kind::Visitor, _)]));
        }
        Closing::Done(_) | Closing::Wait(_) => panic!("nothing was written"),
    }
}

/// All values of a cookie, byte by byte (RFC 6265 section 5.4, blanks before a name forgiven).
fn values<'a>(header: &'a [u8], name: &[u8]) -> Vec<&'a [u8]> {
    let mut values = Vec::new();
    let mut from = 0;
    while from <= header.len() {
        let to = (from..header.len()).find(|&at| header[at] == b';').unwrap_or(header.len());
        let start = (from..to).find(|&at| !matches!(header[at], b' ' | b'\t' | b'\n' | b'\r' | 0x0c)).unwrap_or(to);
        if header[start..to].starts_with(name) && header.get(start + name.len()).is_some_and(|&byte| byte == b'=') {
            let value = start + name.len() + 1;
            if value <= to {
                values.push(&header[value..to]);
            }
        }
        from = to + 1;
    }
    values
}
