//! The first half of an exchange: from a Cookie header to a [`Session`].
//!
//! Each stage is a value that the next step consumes; where a store is needed, the machine stops and returns.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use rand_core::TryCryptoRng;

use crate::bugs::{Bug, planted};
use crate::coat::Shown;
use crate::codec::{self, Unreadable};
use crate::cookie::{Kind, Sent};
use crate::error::Error;
use crate::event::Event;
use crate::id::{CommitId, Draws, Handle, SessionId};
use crate::keys::KeyRing;
use crate::lifecycle::State;
use crate::plan::{Plan, Reads};
use crate::policy::{Concurrency, Policy};
use crate::record::{Cause, Record, Standing};
use crate::serial::Take;
use crate::session::Session;
use crate::time::Timestamp;

/// A policy and the keys to go with it: all that exchanges share.
#[derive(Debug)]
pub struct Rules {
    policy: Policy,
    keys: KeyRing,
}

/// What opening an exchange needs next.
#[derive(Debug)]
pub enum Opening {
    /// Nothing: here is the session.
    Ready(Session),
    /// A record.
    Load(Load),
    /// Serial mode: a swap that takes the turn.
    Take(Take),
    /// Serial mode: another exchange has its turn. After a pause, [`Load::at`] a new reading of the clock.
    Wait(Load),
    /// The store cannot say. Never treat this as "anonymous": answer 503 and leave the browser its cookie.
    Unavailable(Failure),
}

/// What a store answers to a load.
#[derive(Clone, PartialEq, Eq)]
pub enum Loaded {
    /// The record under the handle.
    Found(Vec<u8>),
    /// There is none.
    Absent,
    /// The store did not answer.
    Unavailable,
}

/// An exchange that cannot go on. Nothing but what its events say was written, and no cookie is set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Why, and so what to do next.
    pub error: Error,
    /// What was noticed until then.
    pub events: Vec<Event>,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found(record) => f.debug_tuple("Found").field(&record.len()).finish(),
            Self::Absent => f.write_str("Absent"),
            Self::Unavailable => f.write_str("Unavailable"),
        }
    }
}

/// An exchange that waits for a record.
pub struct Load {
    exchange: Box<Exchange>,
    kind: Kind,
    id: SessionId,
    /// The record that came with the id, where only the deny list is asked.
    coat: Option<Box<Record>>,
}

impl fmt::Debug for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Load").field(&self.id.handle).finish()
    }
}

/// What is known of the request, whatever session it turns out to be in.
pub(crate) struct Exchange {
    pub(crate) rules: Arc<Rules>,
    pub(crate) now: Timestamp,
    pub(crate) login: Presence,
    pub(crate) visitor: Presence,
    /// What the visitor cookie shows, until it is its turn.
    visitor_shows: Option<Shown>,
    /// The state of a presented id that opened nothing.
    pub(crate) dead: Option<State>,
    /// The login cookie holds a Regenerated id that is no longer admitted: the client is about to learn of a newer one.
    pub(crate) superseded: bool,
    pub(crate) reactions: Vec<Reaction>,
    pub(crate) events: Vec<Event>,
    pub(crate) trips: u32,
    pub(crate) plan: Plan,
    pub(crate) reads: Reads,
    /// By what this exchange takes its turn, if it takes one.
    pub(crate) token: Option<CommitId>,
    /// What the swaps that take the turn are made from, and how many there were.
    pub(crate) turn: Option<Draws>,
    pub(crate) takes: u64,
    /// When it began to wait for another's turn to end, if it had to.
    pub(crate) waits_since: Option<Timestamp>,
    /// What the node's own clock said at the beginning, whatever the records say.
    pub(crate) began_at: Timestamp,
    /// When this exchange itself revoked all sessions of a principal: that bars others' logins, and not its own.
    pub(crate) revoked_all_at: Option<Timestamp>,
}

/// How often a cookie came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Presence {
    Absent,
    Once,
    Twice,
}

/// A write that a dead id calls for.
pub(crate) struct Reaction {
    pub(crate) handle: Handle,
    pub(crate) generation: u32,
    pub(crate) record: Box<Record>,
    pub(crate) what: React,
    pub(crate) found_at: Timestamp,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum React {
    /// A limit has passed: write it down, so that no clock can take it back.
    Expire(Cause),
    /// A copy is in use: end the session.
    EndForReuse,
    /// A copy is in use, and the policy merely refuses: forget the previous id, so that no clock can bring it back.
    ForgetPrevious,
}

impl Rules {
    /// Brings a policy and a key ring together.
    #[must_use]
    pub fn new(policy: Policy, keys: KeyRing) -> Arc<Self> {
        Arc::new(Self { policy, keys })
    }

    /// The policy.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) const fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// Opens an exchange on the bytes of the Cookie header; several headers are joined by `; `, none is empty.
    ///
    /// Total: hostile bytes read as "no session", and only a text that one of our keys vouches for asks the store.
    // spec: COOK-8 7c7f, ERR-2 7c11, TIME-6 8cae, CLAIM-11 f3a7
    pub fn open(self: &Arc<Self>, cookies: &[u8], now: Timestamp) -> Opening {
        let (login, visitor) = self.policy.cookies().find(cookies);
        let mut events = Vec::new();
        let login_shows = self.read(Kind::Login, login, &mut events);
        let visitor_shows = self.read(Kind::Visitor, visitor, &mut events);
        let (login, visitor) = (login.into(), visitor.into());
        let exchange = Box::new(Exchange { login, visitor, visitor_shows, events, ..Exchange::new(self, now) });
        match login_shows {
            Some(shown) => Load::begin(exchange, Kind::Login, shown),
            None => exchange.try_visitor(),
        }
    }

    /// As [`Rules::open`], but a live session is the handler's only once this exchange has its turn: until it closes, nobody
    /// else writes data, so what the handler reads stays true. Draws 40 random bytes if an id was presented.
    // spec: SER-1 0cb4, SER-2 884b
    pub fn open_serial<R: TryCryptoRng + ?Sized>(
        self: &Arc<Self>,
        cookies: &[u8],
        now: Timestamp,
        rng: &mut R,
    ) -> Opening {
        let mut load = match self.open(cookies, now) {
            Opening::Load(load) => load,
            other => return other,
        };
        let mut bytes = zeroize::Zeroizing::new([0; 40]);
        if rng.try_fill_bytes(&mut *bytes).is_err() {
            return Opening::Unavailable(load.exchange.fail(Error::NoRandomness));
        }
        let draws = Draws::from_bytes(&bytes);
        load.exchange.token = Some(if planted(Bug::TokenShared) { CommitId([7; 8]) } else { draws.commit });
        load.exchange.turn = Some(draws);
        Opening::Load(load)
    }

    // spec: ID-3 a335, COOK-13 1359, ERR-2 7c11, COAT-3 9c05
    fn read(&self, kind: Kind, sent: Sent<'_>, events: &mut Vec<Event>) -> Option<Shown> {
        match sent {
            Sent::Absent => None,
            Sent::Twice => {
                events.push(Event::Duplicate(kind));
                None
            }
            Sent::Once(text) => {
                let shown = Shown::parse(text, self.policy.place().is_worn(kind), &self.keys);
                if shown.is_none() {
                    events.push(Event::Junk(kind));
                }
                shown
            }
        }
    }
}

impl From<Sent<'_>> for Presence {
    fn from(sent: Sent<'_>) -> Self {
        match sent {
            Sent::Absent => Self::Absent,
            Sent::Once(_) => Self::Once,
            Sent::Twice => Self::Twice,
        }
    }
}

impl Exchange {
    /// Without cookies.
    pub(crate) fn new(rules: &Arc<Rules>, now: Timestamp) -> Self {
        let strict = rules.policy.settings().concurrency == Concurrency::Strict;
        Self {
            rules: Arc::clone(rules),
            now,
            login: Presence::Absent,
            visitor: Presence::Absent,
            visitor_shows: None,
            dead: None,
            superseded: false,
            reactions: Vec::new(),
            events: Vec::new(),
            trips: 0,
            plan: Plan::default(),
            reads: Reads { strict, ..Reads::default() },
            token: None,
            turn: None,
            takes: 0,
            waits_since: None,
            began_at: now,
            revoked_all_at: None,
        }
    }

    // spec: COOK-8 7c7f
    fn try_visitor(mut self: Box<Self>) -> Opening {
        match self.visitor_shows.take() {
            Some(shown) => Load::begin(self, Kind::Visitor, shown),
            None => Opening::Ready(Session::new(self, None)),
        }
    }

    /// Never, but for two planted defects.
    pub(crate) fn clears_by_mistake(&self) -> bool {
        (planted(Bug::ExpiryClearsCookie) && self.dead == Some(State::Expired))
            || (planted(Bug::StaleCookieCleared) && self.dead == Some(State::Regenerated))
    }

    pub(crate) fn fail(mut self, error: Error) -> Failure {
        Failure { error, events: core::mem::take(&mut self.events) }
    }

    /// Reads a record. The error is an answer that the whole exchange has to give up on; absent covers damaged.
    // spec: REC-4 ee90, REC-5 ad66, STORE-5 5484, TIME-7 b2f4, SEAL-3 7efc, SEAL-4 9c31
    pub(crate) fn read(&mut self, handle: Handle, loaded: Loaded) -> Result<Option<Box<Record>>, Error> {
        let bytes = match loaded {
            Loaded::Found(bytes) => bytes,
            Loaded::Absent => return Ok(None),
            Loaded::Unavailable if planted(Bug::UnavailableIsAbsent) => return Ok(None),
            Loaded::Unavailable => return Err(Error::Unavailable),
        };
        let decoded = codec::decode(bytes, handle, &self.rules);
        self.received(handle, decoded)
    }

    /// Goes by what could be read of a record, whoever kept it.
    // spec: REC-4 ee90, REC-5 ad66, TIME-7 b2f4
    pub(crate) fn received(
        &mut self,
        handle: Handle,
        decoded: Result<Box<Record>, Unreadable>,
    ) -> Result<Option<Box<Record>>, Error> {
        let absent = |events: &mut Vec<Event>, event| {
            events.push(event);
            Ok(None)
        };
        match decoded {
            Err(Unreadable::Damaged) => absent(&mut self.events, Event::Damaged(handle)),
            Err(Unreadable::Unsealed) => absent(&mut self.events, Event::Unsealed(handle)),
            Err(Unreadable::Unopened) => absent(&mut self.events, Event::Unopened(handle)),
            Err(Unreadable::Newer) => {
                self.events.push(Event::Newer(handle));
                Err(Error::Unavailable)
            }
            Ok(record)
                if record.head.latest_reading() > self.now.plus(self.rules.policy.settings().skew)
                    && !planted(Bug::SkewIgnored) =>
            {
                self.events.push(Event::ClockBehind(handle));
                Err(Error::Unavailable)
            }
            Ok(record) => Ok(Some(record)),
        }
    }
}

impl Load {
    /// An id whose record is in the cookie beside it needs no store, but for what the deny list says of it.
    // spec: COAT-5 350e, COAT-6 40ad
    fn begin(mut exchange: Box<Exchange>, kind: Kind, shown: Shown) -> Opening {
        let Shown { id, coat } = shown;
        let Some(sealed) = coat else { return Opening::Load(Self { exchange, kind, id, coat: None }) };
        let unsealed = exchange.unseal(id.handle, sealed);
        let mut load = Self { exchange, kind, id, coat: None };
        match unsealed {
            Err(error) => Opening::Unavailable(load.exchange.fail(error)),
            Ok(None) => load.dead(State::Destroyed),
            Ok(Some(coat)) if load.exchange.rules.policy.place().is_listed() && !planted(Bug::ListUnasked) => {
                load.coat = Some(coat.into());
                Opening::Load(load)
            }
            Ok(Some(coat)) => load.judge(coat.into()),
        }
    }

    /// The handle to load.
    pub const fn handle(&self) -> Handle {
        self.id.handle
    }

    /// The same record once more, for an exchange that was told what it holds, or that it is another's turn.
    pub(crate) fn again(exchange: Box<Exchange>, base: Base) -> Self {
        Self { exchange, kind: base.kind, id: base.id, coat: None }
    }

    /// The same by a later reading of the clock, after a wait.
    #[must_use]
    // spec: SER-1 0cb4
    pub fn at(mut self, now: Timestamp) -> Self {
        self.exchange.waits_since = self.exchange.waits_since.or(Some(self.exchange.now));
        self.exchange.now = self.exchange.now.max(now);
        self
    }

    /// Patience is over.
    pub fn gave_up(self, error: Error) -> Opening {
        Opening::Unavailable(self.exchange.fail(error))
    }

    /// Goes on with what the store answered.
    // spec: LIFE-4 4620, STORE-5 5484, COAT-6 40ad
    pub fn found(mut self, loaded: Loaded) -> Opening {
        self.exchange.trips = self.exchange.trips.saturating_add(1);
        let is_listed = loaded != Loaded::Absent;
        match (self.exchange.read(self.id.handle, loaded), self.coat.take()) {
            (Err(error), _) => Opening::Unavailable(self.exchange.fail(error)),
            (Ok(None), Some(coat)) if !is_listed => self.judge(coat),
            (Ok(None), _) => self.dead(State::Destroyed),
            (Ok(Some(listed)), Some(mut coat)) => {
                coat.meets(Some(&listed));
                self.judge(coat)
            }
            (Ok(Some(record)), None) => self.judge(record),
        }
    }

    // spec: COOK-9 4619, LIFE-6 c808, TIME-7 b2f4, TIME-8 c1bc, REUSE-1 3573, TIME-5 3f66
    fn judge(mut self, record: Box<Record>) -> Opening {
        let exchange = &mut self.exchange;
        let now = exchange.now.max(record.head.seen_at);
        let standing = record.judge(&self.id, now, &exchange.rules.policy);
        if record.principal.is_some() != (self.kind == Kind::Login) && !planted(Bug::KindUnchecked) {
            return self.wrong_cookie(standing);
        }
        match standing {
            Standing::Current | Standing::Pending | Standing::Grace => {
                let base = Base { kind: self.kind, id: self.id, record, standing };
                Take::begin(self.exchange, base, now)
            }
            Standing::Ended(cause) => self.dead(cause.state()),
            Standing::BelowFloor => self.dead(State::Regenerated),
            Standing::Forged if planted(Bug::ForgedEnds) => {
                self.react(record, React::EndForReuse);
                self.dead(State::Destroyed)
            }
            Standing::Forged => {
                exchange.events.push(Event::Forged(self.id.handle));
                self.dead(State::Destroyed)
            }
            // Of a coat that is over, or copied, a newer one may be in use: nothing is written for it.
            Standing::Expired(_) if record.is_worn() => self.dead(State::Expired),
            Standing::Reuse if record.is_worn() => self.dead(State::Regenerated),
            Standing::Expired(cause) => {
                self.react(record, React::Expire(cause));
                self.dead(State::Expired)
            }
            Standing::Reuse if planted(Bug::ReuseIgnored) => self.dead(State::Regenerated),
            Standing::Reuse => {
                exchange.events.push(Event::Reuse(self.id.handle));
                let ends = exchange.rules.policy.reuse_ends();
                self.react(record, if ends { React::EndForReuse } else { React::ForgetPrevious });
                self.dead(State::Regenerated)
            }
        }
    }

    /// An id counts only in the cookie of its kind. No reaction: whoever moved it proves nothing about its owner.
    // spec: COOK-9 4619
    fn wrong_cookie(mut self, standing: Standing) -> Opening {
        match standing {
            Standing::BelowFloor => self.dead(State::Regenerated),
            Standing::Ended(cause) => self.dead(cause.state()),
            _ => {
                self.exchange.events.push(Event::WrongCookie(self.id.handle));
                self.dead(State::Destroyed)
            }
        }
    }

    // spec: TIME-8 c1bc, REUSE-1 3573
    fn react(&mut self, record: Box<Record>, what: React) {
        let (handle, generation) = (self.id.handle, self.id.generation);
        let found_at = self.exchange.now.max(record.head.seen_at);
        self.exchange.reactions.push(Reaction { handle, generation, record, what, found_at });
    }

    /// The id opens nothing. After a dead login cookie the visitor cookie counts.
    // spec: COOK-8 7c7f, COOK-15 907f, LIFE-9 b646
    fn dead(mut self, state: State) -> Opening {
        let exchange = &mut self.exchange;
        if self.kind == Kind::Login {
            exchange.dead = Some(state);
            exchange.superseded = state == State::Regenerated;
            self.exchange.try_visitor()
        } else {
            exchange.dead = exchange.dead.or(Some(state));
            Opening::Ready(Session::new(self.exchange, None))
        }
    }
}

/// The live session that an exchange was opened with.
pub(crate) struct Base {
    pub(crate) kind: Kind,
    pub(crate) id: SessionId,
    pub(crate) record: Box<Record>,
    pub(crate) standing: Standing,
}
