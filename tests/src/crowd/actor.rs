//! One who asks something of the shipped driver: a login, a revocation, a request. It stops at each call of the store, and
//! goes on once the answer is there.
//!
//! A future cannot be cloned, and need not be: what it does follows from the answers and from what the clock said as they
//! came. So these are what is kept, and the driver is run anew from them. What came of which answers is remembered, and a
//! part of it is made again now and then.

use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn, ready};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use coatroom_core::{Entry, Error, Event, Failure, Handle, Loaded, Reply, Rules, Session, Swap, Timestamp};
use coatroom_store::{Cursor, Driver, Entered, Host, NotListed, Refused, Store, Swapped, Unavailable};
use rand_core::TryCryptoRng;

use crate::browser::Browser;
use crate::exchange::Bytes;
use crate::fold::{Build, Fold};
use crate::rng::Fixed;

/// What somebody wants. Numbers are those of others, whose cookies or session are meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Deed {
    /// An anonymous session.
    Visit,
    /// A login, by a browser that knows nothing yet or by one with these cookies.
    Login(&'static str, Option<usize>),
    /// All sessions are revoked by a handler, which then logs in itself.
    Reset(&'static str),
    /// A request with these cookies.
    Request(usize),
    /// One that asks for a new id.
    Rotate(usize),
    Logout(usize),
    Revoke(&'static str, usize),
    RevokeOthers(&'static str, usize),
    RevokeAll(&'static str),
    Rename(&'static str, &'static str),
    Devices(&'static str),
    /// Nobody does anything for so many milliseconds. For beginnings.
    Wait(u64),
}

impl Deed {
    /// Whose sessions it revokes all.
    pub fn revokes_all_of(self) -> Option<&'static str> {
        match self {
            Self::Reset(who) | Self::RevokeOthers(who, _) | Self::RevokeAll(who) => Some(who),
            _ => None,
        }
    }

    /// As whom it logs in.
    pub fn logs_in(self) -> Option<&'static str> {
        match self {
            Self::Login(who, _) | Self::Reset(who) => Some(who),
            _ => None,
        }
    }

    /// Whose cookies or session it takes.
    pub fn takes(self) -> Option<usize> {
        match self {
            Self::Login(_, of) => of,
            Self::Request(of)
            | Self::Rotate(of)
            | Self::Logout(of)
            | Self::Revoke(_, of)
            | Self::RevokeOthers(_, of) => Some(of),
            _ => None,
        }
    }
}

/// A call of the store, or a pause of the handler.
#[derive(Clone, Debug)]
pub enum Call {
    Handler,
    Load(Handle),
    Swap(Arc<Swap>),
    Enter(Entry),
    Sessions(String),
    Leave(String, Handle),
    Bar(String, u64),
}

/// What came back.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum Answer {
    Done,
    Found(Option<Bytes>),
    Conflict(Option<Bytes>),
    Entered {
        revoked: u64,
        ago: Option<u64>,
        count: u32,
        before: Option<Vec<Handle>>,
    },
    Full,
    Sessions(Vec<Handle>),
    Moment(u64),
    /// Nothing: the call, or its answer, was lost.
    Silence,
}

/// What somebody was told at the end.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Told {
    pub browser: Browser,
    pub handle: Option<Handle>,
    /// A copied id was noticed.
    pub noticed: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Stage {
    Idle,
    Asks,
    Over(Result<Told, Error>),
    Crashed,
}

/// What is given to an actor as it begins.
#[derive(Clone, Debug, Default, Hash)]
pub struct Given {
    pub browser: Browser,
    pub handle: Option<Handle>,
    pub at: u64,
}

#[derive(Clone, Debug)]
pub struct Actor {
    pub number: usize,
    pub deed: Deed,
    /// How far the clock of its node is ahead.
    pub ahead: i64,
    pub given: Given,
    pub heard: Vec<(Answer, u64)>,
    pub stage: Stage,
    pub call: Option<Call>,
    /// Fingerprint of all that came in.
    pub history: u128,
}

/// What all actors share.
#[derive(Debug)]
pub struct Nodes {
    pub rules: Arc<Rules>,
    /// Whether record and index are one step.
    pub in_one: bool,
    known: Mutex<HashMap<u128, Arc<Actor>, Build>>,
    used: AtomicU64,
}

/// How often something remembered is made anew and compared.
const RECHECK: u64 = 512;

impl Nodes {
    pub fn new(rules: Arc<Rules>, in_one: bool) -> Self {
        Self { rules, in_one, known: Mutex::default(), used: AtomicU64::new(0) }
    }

    pub fn begin(&self, actor: &Actor, given: Given) -> Arc<Actor> {
        let history = Fold::of(&(actor.number, actor.deed, actor.ahead, &given));
        self.known_or(history, || Actor { given, history, ..actor.clone() })
    }

    pub fn tell(&self, actor: &Actor, answer: Answer, at: u64) -> Arc<Actor> {
        let history = Fold::of(&(actor.history, &answer, at));
        self.known_or(history, || {
            let mut next = Actor { history, ..actor.clone() };
            next.heard.push((answer, at));
            next
        })
    }

    fn known_or(&self, history: u128, make: impl FnOnce() -> Actor) -> Arc<Actor> {
        let known = self.known.lock().unwrap().get(&history).map(Arc::clone);
        if let Some(known) = known {
            if self.used.fetch_add(1, Ordering::Relaxed).is_multiple_of(RECHECK) {
                let again = self.run(Actor::clone(&known));
                assert_eq!(again.stage, known.stage, "the same answers led to something else");
                assert_eq!(format!("{:?}", again.call), format!("{:?}", known.call));
            }
            return known;
        }
        let made = Arc::new(self.run(make()));
        self.known.lock().unwrap().insert(history, Arc::clone(&made));
        made
    }

    /// Runs the driver from the beginning, up to the first call that has no answer yet.
    fn run(&self, mut actor: Actor) -> Actor {
        let line = Line(Arc::new(Mutex::new(Desk {
            answers: actor.heard.iter().cloned().collect(),
            now: actor.given.at,
            in_one: self.in_one,
            drawn: (actor.number as u64 + 1) << 32,
            asked: None,
        })));
        let driver = Driver::with_host(Arc::clone(&self.rules), line.clone(), line.clone());
        let result = pin!(perform(&driver, actor.deed, &actor.given)).poll(&mut Context::from_waker(Waker::noop()));
        actor.call = line.desk().asked.take();
        actor.stage = match result {
            Poll::Pending => Stage::Asks,
            Poll::Ready(result) => Stage::Over(result.map_err(|Refused(Failure { error, .. })| error)),
        };
        actor
    }
}

async fn perform(driver: &Driver<Line, Line>, deed: Deed, given: &Given) -> Result<Told, Refused> {
    let open = async || driver.open(given.browser.header().as_bytes()).await;
    let think = async || drop(driver.store().ask(Call::Handler).await);
    let log_in = |session: &mut Session, who| session.login(who, &[""; 0], 1).unwrap();
    let mut session = match deed {
        Deed::Revoke(who, _) => return driver.revoke(who, given.handle.unwrap()).await.map(|_| Told::default()),
        Deed::RevokeOthers(who, _) => {
            return driver.revoke_others(who, given.handle.unwrap()).await.map(|_| Told::default());
        }
        Deed::RevokeAll(who) => return driver.revoke_all(who).await.map(|_| Told::default()),
        Deed::Rename(from, to) => return driver.rename_principal(from, to).await.map(|_| Told::default()),
        Deed::Devices(who) => return driver.devices(who).await.map(|_| Told::default()),
        Deed::Wait(_) => return Ok(Told::default()),
        _ => open().await?,
    };
    match deed {
        Deed::Login(who, _) => {
            think().await;
            log_in(&mut session, who);
        }
        Deed::Reset(who) => {
            let revoked = driver.revoke_all(who).await?;
            session.revoked_all(revoked.moment);
            log_in(&mut session, who);
        }
        Deed::Visit => session.set("k", 1).unwrap(),
        Deed::Rotate(_) => drop(session.rotate()),
        Deed::Logout(_) => session.logout(),
        _ => {}
    }
    Ok(told(&driver.close(session).await?, given.browser.clone()))
}

fn told(reply: &Reply, mut browser: Browser) -> Told {
    reply.set_cookies().for_each(|line| browser.obey(line));
    let noticed = reply.trace().events.iter().any(|event| matches!(event, Event::Reuse(_)));
    Told { browser, handle: reply.trace().handle, noticed }
}

/// The store and the surroundings of one actor: a line to the world, on which it speaks and waits.
#[derive(Clone)]
struct Line(Arc<Mutex<Desk>>);

struct Desk {
    answers: VecDeque<(Answer, u64)>,
    now: u64,
    in_one: bool,
    drawn: u64,
    asked: Option<Call>,
}

impl Line {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().unwrap()
    }

    fn ask(&self, call: Call) -> impl Future<Output = Answer> + Send {
        poll_fn(move |_| {
            let mut desk = self.desk();
            let Some((answer, now)) = desk.answers.pop_front() else {
                desk.asked = Some(call.clone());
                return Poll::Pending;
            };
            desk.now = now;
            Poll::Ready(answer)
        })
    }
}

impl Host for Line {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.desk().now)
    }

    /// Patience never ends: what a store does not answer, it does not answer for as long as the budget of trouble lasts.
    fn ticks(&self) -> Duration {
        Duration::ZERO
    }

    fn rng(&self) -> impl TryCryptoRng {
        let mut desk = self.desk();
        desk.drawn += 1;
        Fixed::new(desk.drawn)
    }

    fn pause(&self, _: Duration) -> impl Future<Output = ()> + Send {
        ready(())
    }
}

fn bytes(record: Option<Bytes>) -> Option<Vec<u8>> {
    record.map(|record| record.to_vec())
}

fn entered(answer: Answer) -> Option<Entered> {
    let Answer::Entered { revoked, ago, count, before } = answer else { return None };
    Some(Entered { revoked: Timestamp::from_unix_ms(revoked), ago: ago.map(Duration::from_millis), count, before })
}

impl Store for Line {
    fn enters_with_swap(&self) -> bool {
        self.desk().in_one
    }

    async fn load(&self, handle: Handle) -> Loaded {
        match self.ask(Call::Load(handle)).await {
            Answer::Found(record) => bytes(record).map_or(Loaded::Absent, Loaded::Found),
            _ => Loaded::Unavailable,
        }
    }

    async fn swap(&self, swap: &Swap) -> Swapped {
        match self.ask(Call::Swap(Arc::new(swap.clone()))).await {
            Answer::Done => Swapped::Done,
            Answer::Full => Swapped::Full,
            Answer::Conflict(record) => Swapped::Conflict(bytes(record)),
            answer => entered(answer).map_or(Swapped::Unknown, Swapped::Entered),
        }
    }

    async fn enter(&self, entry: &Entry) -> Result<Entered, NotListed> {
        match self.ask(Call::Enter(entry.clone())).await {
            Answer::Full => Err(NotListed::Full),
            answer => entered(answer).ok_or(NotListed::Unavailable),
        }
    }

    async fn sessions(&self, principal: &str) -> Result<Vec<Handle>, Unavailable> {
        match self.ask(Call::Sessions(principal.to_owned())).await {
            Answer::Sessions(handles) => Ok(handles),
            _ => Err(Unavailable),
        }
    }

    async fn leave(&self, principal: &str, handle: Handle) -> Result<(), Unavailable> {
        match self.ask(Call::Leave(principal.to_owned(), handle)).await {
            Answer::Done => Ok(()),
            _ => Err(Unavailable),
        }
    }

    async fn bar(&self, principal: &str, now: Timestamp) -> Result<Timestamp, Unavailable> {
        match self.ask(Call::Bar(principal.to_owned(), now.as_unix_ms())).await {
            Answer::Moment(moment) => Ok(Timestamp::from_unix_ms(moment)),
            _ => Err(Unavailable),
        }
    }

    async fn scan(&self, _: Option<Cursor>, _: usize) -> Result<(Vec<Handle>, Option<Cursor>), Unavailable> {
        unimplemented!("no deed needs it")
    }

    async fn sweep(&self, _: Timestamp, _: usize) -> Result<usize, Unavailable> {
        unimplemented!("no deed needs it")
    }
}
