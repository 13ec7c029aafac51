//! One browser, one store and one clock, for stories of exchanges one after the other or taken apart by hand.

use std::sync::Arc;

use coatroom_core::staged::{Staged, Waiting};
use coatroom_core::{Change, Error, Event, KeyRing, Kind, Listed, Policy, Rules, Session, Settings, Timestamp, Value};

use crate::browser::{Browser, Id};
use crate::record::{Front, data};
use crate::rng::Fixed;
use crate::store::Store;
use crate::world::{RING, START};

#[derive(Clone)]
/// A store, a browser and a clock, for exchanges one after the other or by hand.
pub struct House {
    pub rules: Arc<Rules>,
    pub store: Store,
    pub browser: Browser,
    pub now: u64,
    pub seed: u64,
}

/// What came of an exchange.
pub struct Done {
    pub cookies: Vec<String>,
    pub written: Vec<Change>,
    pub events: Vec<Event>,
}

pub type Outcome = Result<Done, Error>;

impl House {
    pub fn new(settings: Settings) -> Self {
        Self::with_ring(settings, RING)
    }

    pub fn with_ring(settings: Settings, ring: &str) -> Self {
        let rules = Rules::new(Policy::try_from(settings).unwrap(), KeyRing::parse(ring).unwrap());
        Self { rules, store: Store::default(), browser: Browser::default(), now: START, seed: 0 }
    }

    pub fn open(&self) -> Staged {
        self.open_with(&self.browser.header())
    }

    pub fn open_with(&self, header: &str) -> Staged {
        self.open_at(header, self.now)
    }

    pub fn open_at(&self, header: &str, now: u64) -> Staged {
        let mut staged = Staged::from(self.rules.open(header.as_bytes(), Timestamp::from_unix_ms(now)));
        while let Waiting::Load(handle) = staged.waiting() {
            staged.found(self.store.load(handle)).unwrap();
        }
        staged
    }

    /// Closes, writes, and lets the browser have the answer.
    pub fn finish(&mut self, staged: Staged) -> Outcome {
        let now = self.now;
        let done = self.finish_at(staged, now)?;
        done.cookies.iter().for_each(|line| self.browser.obey(line));
        Ok(done)
    }

    pub fn finish_at(&mut self, staged: Staged, now: u64) -> Outcome {
        let staged = self.close_at(staged, now);
        self.drive(staged)
    }

    pub fn close_at(&mut self, mut staged: Staged, now: u64) -> Staged {
        self.seed += 1;
        staged.close(Timestamp::from_unix_ms(now), &mut Fixed::new(self.seed)).unwrap();
        staged
    }

    pub fn close(&mut self, staged: Staged) -> Staged {
        let now = self.now;
        self.close_at(staged, now)
    }

    pub fn drive(&mut self, mut staged: Staged) -> Outcome {
        while let Ok(swap) = staged.swap().cloned() {
            match self.store.swap(&swap) {
                Ok(()) => staged.entered(Listed::default()).unwrap(),
                Err(present) => staged.conflicted(present).unwrap(),
            }
        }
        match staged.failure() {
            Ok(failure) => Err(failure.error),
            Err(_) => {
                let reply = staged.reply().unwrap();
                Ok(Done {
                    cookies: reply.set_cookies().map(str::to_owned).collect(),
                    written: reply.trace().written.clone(),
                    events: reply.trace().events.clone(),
                })
            }
        }
    }

    /// A whole exchange.
    pub fn run(&mut self, handler: impl FnOnce(&mut Session)) -> Outcome {
        let mut staged = self.open();
        handler(staged.session().unwrap());
        self.finish(staged)
    }

    pub fn id(&self, kind: Kind) -> Id {
        Id::in_header(&self.browser.header(), kind).unwrap()
    }

    pub fn front(&self, kind: Kind) -> Front {
        Front::read(self.store.get(self.id(kind).handle).unwrap()).unwrap()
    }

    pub fn value(&self, kind: Kind, key: &str) -> Option<Value> {
        data(self.store.get(self.id(kind).handle).unwrap()).remove(key)
    }

    /// Somebody logged in, the id confirmed and old enough to rotate.
    pub fn logged_in(settings: Settings) -> Self {
        let mut house = Self::new(settings);
        house.run(|session| login(session, "alice")).unwrap();
        house.run(|_| ()).unwrap();
        house.now += 20_000;
        house
    }

    pub fn user(&self) -> Option<String> {
        let mut staged = self.open();
        staged.session().unwrap().principal().map(|principal| principal.name().to_owned())
    }
}

pub fn login(session: &mut Session, name: &str) {
    session.login(name, &["user"], 1).unwrap();
}

pub fn set(session: &mut Session, key: &str, value: i64) {
    session.set(key, value).unwrap();
}

pub fn error(outcome: Outcome) -> Option<Error> {
    outcome.err()
}
