//! Browsers, a store, a clock and exchanges that advance one step at a time. It drives the shipped functions on shipped
//! bytes, and is a plain value: cloning it forks history.
//!
//! An exchange of the core cannot be cloned, and need not be: it is a pure function of what came in from outside. So what
//! is kept here is the list of inputs, and the exchange is made anew from it for each step. That it comes out the same
//! each time is itself one of the claims, and checked at each step.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use coatroom_core::staged::{Staged, Waiting};
use coatroom_core::{
    Change, Error, Event, Handle, KeyRing, Kind, Loaded, Policy, Rules, Settings, State, Swap, Timestamp,
};

use crate::browser::{Browser, Id, read_line};
use crate::invariants::{self, Violation};
use crate::ops::Op;
use crate::record::Front;
use crate::rng::Fixed;
use crate::store::{Store, StoreBug};

/// Plainly a test ring.
pub const RING: &str = "1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE";

/// When every test begins.
pub const START: u64 = 1_767_225_600_000;

pub const VICTIM: usize = 0;
pub const ATTACKER: usize = 1;
/// Holds a copy of the victim's login cookie, if a scenario says so.
pub const THIEF: usize = 2;

/// What a world is made of, and which promises about time and behaviour it keeps.
#[derive(Debug)]
pub struct Setup {
    pub rules: Arc<Rules>,
    /// Requests, closings and responses each take less than the grace; late ones never happen.
    pub timely: bool,
    /// Nobody in this world but the victim, who neither logs in nor out: being logged out is the library's fault.
    pub quiet: bool,
    /// One login, and otherwise only exchanges of nobody in particular that do not log out.
    pub one_login: bool,
}

impl Setup {
    pub fn of(settings: Settings) -> Self {
        let rules = Rules::new(Policy::try_from(settings).unwrap(), KeyRing::parse(RING).unwrap());
        Self { rules, timely: false, quiet: false, one_login: false }
    }

    pub fn grace(&self) -> u64 {
        ms(self.rules.policy().settings().grace)
    }

    pub fn absolute(&self) -> u64 {
        ms(self.rules.policy().settings().absolute)
    }
}

fn ms(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap()
}

/// Who asks for what.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Script {
    pub browser: usize,
    pub ops: Vec<Op>,
}

/// All that ever came into an exchange from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Inputs {
    pub header: String,
    pub sent_at: u64,
    pub opened_at: u64,
    pub loads: Vec<Option<Vec<u8>>>,
    pub closed_at: u64,
    pub said: Vec<Said>,
}

/// What the store said to a swap.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Said {
    Saved,
    Conflicted(Option<Vec<u8>>),
    Reloaded(Option<Vec<u8>>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Phase {
    Idle,
    Sent,
    Loading,
    Open,
    Saving,
    /// A swap is out, and no answer came.
    Uncertain,
    Answered,
    Delivered,
}

/// What the handler saw.
#[derive(Clone, Debug)]
pub struct Opened {
    pub live: Option<Id>,
    pub kind: Kind,
    pub principal: Option<String>,
    pub state: Option<State>,
    pub events: Vec<Event>,
    /// The ids that were looked up, with what was found.
    pub looked_up: Vec<(Kind, Id, Option<Front>)>,
}

/// How the exchange ended.
#[derive(Clone, Debug)]
pub struct Answer {
    pub error: Option<Error>,
    pub cookies: Vec<String>,
    pub handle: Option<Handle>,
    pub written: Vec<Change>,
    pub events: Vec<Event>,
}

impl Answer {
    /// Whether it left open what the store holds.
    pub fn is_uncertain(&self) -> bool {
        matches!(self.error, Some(Error::Unknown | Error::Unavailable | Error::Busy | Error::NoRandomness))
    }
}

#[derive(Clone, Debug)]
pub struct Exchange {
    pub script: Arc<Script>,
    pub inputs: Inputs,
    pub phase: Phase,
    pub opened: Option<Arc<Opened>>,
    pub swap: Option<Arc<Swap>>,
    pub answer: Option<Arc<Answer>>,
}

/// One thing that happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Step {
    /// The browser sends the request with the cookies it holds.
    Send(usize),
    /// The request arrives, and the first record is loaded.
    Arrive(usize),
    /// Another record is loaded.
    Load(usize),
    /// The handler has run and the exchange closes.
    Close(usize),
    /// The swap reaches the store and the answer comes back.
    Swap(usize),
    /// The swap reaches the store, the answer is lost.
    SwapUnheard(usize),
    /// The swap is lost.
    SwapLost(usize),
    /// The swap is under way for a while yet.
    SwapDelayed(usize),
    /// The exchange asks what became of its swap.
    Reload(usize),
    /// The delayed swap with this number reaches the store.
    Land(usize),
    /// The response reaches the browser.
    Deliver(usize),
    /// The clock moves on to the next moment of interest.
    Tick,
}

#[derive(Clone, Debug)]
pub struct World {
    pub setup: Arc<Setup>,
    pub now: u64,
    pub store: Store,
    pub browsers: Vec<Browser>,
    pub exchanges: Vec<Arc<Exchange>>,
    /// Swaps under way: by whom, and whether still under way.
    pub delayed: Vec<(usize, Arc<Swap>, bool)>,
    /// Ids that a finished exchange found dead.
    pub dead: BTreeSet<(Kind, Id)>,
    /// When each session has to end, counted from the login or creation that was seen.
    pub deadlines: BTreeMap<Handle, u64>,
    /// Every id that a browser was ever told.
    pub told: BTreeSet<Id>,
}

/// What a step did, for the invariants.
#[derive(Debug)]
pub enum Seen<'a> {
    /// An exchange has its session.
    Opened(usize),
    /// A swap was applied.
    Swapped { by: usize, swap: &'a Swap, before: Option<&'a [u8]> },
    /// An exchange is over.
    Answered(usize),
    /// A response arrived.
    Delivered(usize),
    /// The same inputs led to other outputs.
    Diverged(usize),
}

impl World {
    pub fn new(setup: Setup) -> Self {
        Self {
            setup: Arc::new(setup),
            now: START,
            store: Store::default(),
            browsers: vec![Browser::default(); 3],
            exchanges: Vec::new(),
            delayed: Vec::new(),
            dead: BTreeSet::new(),
            deadlines: BTreeMap::new(),
            told: BTreeSet::new(),
        }
    }

    #[must_use]
    pub fn with_store_bug(mut self, bug: Option<StoreBug>) -> Self {
        self.store.bug = bug;
        self
    }

    pub fn add(&mut self, browser: usize, ops: &[Op]) -> usize {
        let script = Arc::new(Script { browser, ops: ops.to_vec() });
        self.exchanges.push(Arc::new(Exchange {
            script,
            inputs: Inputs::default(),
            phase: Phase::Idle,
            opened: None,
            swap: None,
            answer: None,
        }));
        self.exchanges.len() - 1
    }

    /// A whole exchange without anything in between. Returns its number.
    pub fn run(&mut self, browser: usize, ops: &[Op]) -> Result<usize, Violation> {
        let number = self.begin(browser, ops)?;
        self.finish(number)?;
        Ok(number)
    }

    /// An exchange up to the handler.
    pub fn begin(&mut self, browser: usize, ops: &[Op]) -> Result<usize, Violation> {
        let number = self.add(browser, ops);
        self.step(Step::Send(number))?;
        self.step(Step::Arrive(number))?;
        while self.exchanges[number].phase == Phase::Loading {
            self.step(Step::Load(number))?;
        }
        Ok(number)
    }

    /// The rest of it.
    pub fn finish(&mut self, number: usize) -> Result<(), Violation> {
        while let Some(step) = self.next_of(number) {
            self.step(step)?;
        }
        Ok(())
    }

    /// The next step of an exchange when nothing goes wrong.
    pub fn next_of(&self, number: usize) -> Option<Step> {
        match self.exchanges[number].phase {
            Phase::Idle => Some(Step::Send(number)),
            Phase::Sent => Some(Step::Arrive(number)),
            Phase::Loading => Some(Step::Load(number)),
            Phase::Open => Some(Step::Close(number)),
            Phase::Saving => Some(Step::Swap(number)),
            Phase::Uncertain => Some(Step::Reload(number)),
            Phase::Answered => Some(Step::Deliver(number)),
            Phase::Delivered => None,
        }
    }

    /// Whether this step keeps the promises about time, where the world makes any.
    pub fn is_timely(&self, step: Step) -> bool {
        let grace = self.setup.grace();
        let within = |number: usize, from: fn(&Inputs) -> u64| self.now - from(&self.exchanges[number].inputs) < grace;
        !self.setup.timely
            || match step {
                Step::Arrive(number) => within(number, |inputs| inputs.sent_at),
                // A response leaves when its last write is done, so writes are as prompt as closings.
                Step::Close(number) | Step::Swap(number) | Step::Reload(number) => {
                    within(number, |inputs| inputs.opened_at)
                }
                Step::Deliver(number) => within(number, |inputs| inputs.closed_at),
                _ => true,
            }
    }

    /// Makes the exchange anew from its inputs.
    pub fn rebuild(&self, number: usize) -> Staged {
        let exchange = &self.exchanges[number];
        let inputs = &exchange.inputs;
        let mut staged = Staged::from(self.open(&inputs.header, inputs.opened_at));
        for load in &inputs.loads {
            staged.found(loaded(load.clone())).unwrap();
        }
        if inputs.closed_at > 0 {
            let session = staged.session().unwrap();
            exchange.script.ops.iter().for_each(|op| op.apply(session, number));
            let mut rng = Fixed::new(1 + number as u64);
            staged.close(Timestamp::from_unix_ms(inputs.closed_at), &mut rng).unwrap();
            for said in &inputs.said {
                match said.clone() {
                    Said::Saved => staged.saved(),
                    Said::Conflicted(record) => staged.conflicted(record),
                    Said::Reloaded(record) => staged.reloaded(loaded(record)),
                }
                .unwrap();
            }
        }
        staged
    }

    fn open(&self, header: &str, at: u64) -> coatroom_core::Opening {
        self.setup.rules.open(header.as_bytes(), Timestamp::from_unix_ms(at))
    }

    /// What the cookies of this header would open right now.
    pub fn probe(&self, header: &str) -> Staged {
        let mut staged = Staged::from(self.open(header, self.now));
        while let Waiting::Load(handle) = staged.waiting() {
            staged.found(self.store.load(handle)).unwrap();
        }
        staged
    }

    /// The record that an exchange finds.
    fn fetch(&self, handle: Handle) -> Option<Vec<u8>> {
        self.store.get(handle).map(<[u8]>::to_vec)
    }

    pub fn step(&mut self, step: Step) -> Result<(), Violation> {
        match step {
            Step::Send(number) => {
                let header = self.browsers[self.exchanges[number].script.browser].header();
                let now = self.now;
                let exchange = self.change(number);
                exchange.inputs.header = header;
                exchange.inputs.sent_at = now;
                exchange.phase = Phase::Sent;
                Ok(())
            }
            Step::Arrive(number) => {
                let now = self.now;
                let inputs = &mut self.change(number).inputs;
                // When it was sent matters only for whether it may still arrive.
                inputs.sent_at = 0;
                inputs.opened_at = now;
                let staged = self.rebuild(number);
                if let Waiting::Load(handle) = staged.waiting() {
                    self.load(number, handle)
                } else {
                    self.opened(number)
                }
            }
            Step::Load(number) => match self.rebuild(number).waiting() {
                Waiting::Load(handle) => self.load(number, handle),
                _ => self.check(&Seen::Diverged(number)),
            },
            Step::Close(number) => {
                let now = self.now;
                self.change(number).inputs.closed_at = now;
                self.go_on(number)
            }
            Step::Swap(number) => {
                let swap = self.pending(number)?;
                let said = self.apply(number, &swap)?;
                self.change(number).inputs.said.push(said);
                self.go_on(number)
            }
            Step::SwapUnheard(number) => {
                let swap = self.pending(number)?;
                self.apply(number, &swap)?;
                self.change(number).phase = Phase::Uncertain;
                Ok(())
            }
            Step::SwapLost(number) => {
                self.change(number).phase = Phase::Uncertain;
                Ok(())
            }
            Step::SwapDelayed(number) => {
                let swap = self.pending(number)?;
                self.delayed.push((number, swap, true));
                self.change(number).phase = Phase::Uncertain;
                Ok(())
            }
            Step::Reload(number) => {
                let swap = self.pending(number)?;
                let said = Said::Reloaded(self.fetch(swap.handle));
                self.change(number).inputs.said.push(said);
                self.go_on(number)
            }
            Step::Land(place) => {
                let (number, swap, _) = self.delayed[place].clone();
                self.delayed[place].2 = false;
                self.apply(number, &swap).map(drop)
            }
            Step::Deliver(number) => {
                let exchange = &self.exchanges[number];
                let browser = exchange.script.browser;
                let answer = Arc::clone(exchange.answer.as_ref().unwrap());
                answer.cookies.iter().for_each(|line| self.browsers[browser].obey(line));
                self.change(number).phase = Phase::Delivered;
                self.check(&Seen::Delivered(number))
            }
            Step::Tick => Ok(()),
        }
    }

    fn change(&mut self, number: usize) -> &mut Exchange {
        Arc::make_mut(&mut self.exchanges[number])
    }

    fn load(&mut self, number: usize, handle: Handle) -> Result<(), Violation> {
        let record = self.fetch(handle);
        self.change(number).inputs.loads.push(record);
        if let Waiting::Load(_) = self.rebuild(number).waiting() {
            self.change(number).phase = Phase::Loading;
            return Ok(());
        }
        self.opened(number)
    }

    fn opened(&mut self, number: usize) -> Result<(), Violation> {
        let mut staged = self.rebuild(number);
        let Ok(session) = staged.session() else { return self.answered(number, &staged) };
        let inputs = &self.exchanges[number].inputs;
        let ids: Vec<_> = [Kind::Login, Kind::Visitor]
            .into_iter()
            .filter_map(|kind| Id::in_header(&inputs.header, kind).map(|id| (kind, id)))
            .collect();
        let looked_up: Vec<_> = ids
            .into_iter()
            .zip(&inputs.loads)
            .map(|((kind, id), load)| (kind, id, load.as_deref().and_then(Front::read)))
            .collect();
        let live = session.is_live();
        let last = looked_up.last().filter(|_| live);
        let opened = Opened {
            live: last.map(|(_, id, _)| id.clone()),
            kind: last.map_or(Kind::Visitor, |last| last.0),
            principal: session.principal().map(|principal| principal.name().to_owned()),
            state: session.state(),
            events: session.trace().events,
            looked_up,
        };
        let exchange = self.change(number);
        exchange.opened = Some(Arc::new(opened));
        exchange.phase = Phase::Open;
        self.check(&Seen::Opened(number))
    }

    fn go_on(&mut self, number: usize) -> Result<(), Violation> {
        let staged = self.rebuild(number);
        match staged.swap() {
            Ok(swap) => {
                let swap = Arc::new(swap.clone());
                let exchange = self.change(number);
                exchange.swap = Some(swap);
                exchange.phase = Phase::Saving;
                Ok(())
            }
            Err(_) => self.answered(number, &staged),
        }
    }

    fn answered(&mut self, number: usize, staged: &Staged) -> Result<(), Violation> {
        let answer = match (staged.reply(), staged.failure()) {
            (Ok(reply), _) => Answer {
                error: None,
                cookies: reply.set_cookies().map(str::to_owned).collect(),
                handle: reply.trace().handle,
                written: reply.trace().written.clone(),
                events: reply.trace().events.clone(),
            },
            (_, Ok(failure)) => Answer {
                error: Some(failure.error),
                cookies: Vec::new(),
                handle: None,
                written: Vec::new(),
                events: failure.events.clone(),
            },
            _ => return self.check(&Seen::Diverged(number)),
        };
        for line in &answer.cookies {
            self.told.extend(Id::read(read_line(line).1).filter(|_| !read_line(line).2));
        }
        if let Some(opened) = self.exchanges[number].opened.clone().filter(|_| !answer.is_uncertain()) {
            let dead = opened.looked_up.iter().filter(|(_, id, _)| opened.live.as_ref() != Some(id));
            self.dead.extend(dead.map(|(kind, id, _)| (*kind, id.clone())));
        }
        let exchange = self.change(number);
        exchange.swap = None;
        exchange.answer = Some(Arc::new(answer));
        exchange.phase = Phase::Answered;
        self.check(&Seen::Answered(number))
    }

    /// The swap that the exchange wants, as it was and as it comes out of the same inputs again.
    fn pending(&self, number: usize) -> Result<Arc<Swap>, Violation> {
        let known = self.exchanges[number].swap.clone().unwrap();
        match self.rebuild(number).swap() {
            Ok(again) if *again == *known => {}
            _ => self.check(&Seen::Diverged(number))?,
        }
        Ok(known)
    }

    fn apply(&mut self, by: usize, swap: &Swap) -> Result<Said, Violation> {
        let before = self.store.records.get(&swap.handle).cloned();
        if let Err(present) = self.store.swap(swap) {
            return Ok(Said::Conflicted(present));
        }
        self.check(&Seen::Swapped { by, swap, before: before.as_deref() })?;
        let logs_in = self.exchanges[by].script.ops.iter().any(|op| matches!(op, Op::Login(_)));
        if before.is_none() || logs_in {
            let deadline = swap.new.as_deref().and_then(Front::read).map(|front| front.deadline);
            deadline.map(|deadline| self.deadlines.insert(swap.handle, deadline));
        }
        Ok(Said::Saved)
    }

    fn check(&self, seen: &Seen<'_>) -> Result<(), Violation> {
        invariants::check(self, seen)
    }

    /// All that the rest of an exchange, and what the invariants will say of it, depend on.
    ///
    /// While it runs, that is what came into it: what it saw and wants follows from its inputs. Once it is answered, only
    /// the answer counts, and once that is delivered, only what it promised; unless a swap of it is still under way.
    fn fingerprint_of(&self, number: usize, hasher: &mut impl Hasher) {
        let exchange = &self.exchanges[number];
        exchange.phase.hash(hasher);
        let under_way = self.delayed.iter().any(|(by, _, under_way)| *by == number && *under_way);
        let Some(answer) = exchange.answer.as_ref().filter(|_| !under_way) else {
            exchange.inputs.hash(hasher);
            return;
        };
        let live = exchange.opened.as_ref().map(|opened| opened.live.is_some());
        (live, answer.error.map(Error::code), answer.handle).hash(hasher);
        answer.written.contains(&Change::Created).hash(hasher);
        if exchange.phase == Phase::Answered {
            answer.cookies.hash(hasher);
            (exchange.inputs.closed_at * u64::from(self.setup.timely)).hash(hasher);
        }
    }

    /// Two independent hashes of all that the future of this world depends on, and all that its invariants look at.
    pub fn fingerprint(&self, from: usize) -> u128 {
        let mut halves = [0_u64; 2];
        for (salt, half) in halves.iter_mut().enumerate() {
            let mut hasher = std::hash::DefaultHasher::new();
            salt.hash(&mut hasher);
            self.now.hash(&mut hasher);
            self.store.records.hash(&mut hasher);
            self.browsers.hash(&mut hasher);
            for number in from..self.exchanges.len() {
                self.fingerprint_of(number, &mut hasher);
            }
            for (number, swap, under_way) in &self.delayed {
                (number, under_way, swap.handle, &swap.new).hash(&mut hasher);
            }
            self.dead.hash(&mut hasher);
            self.deadlines.hash(&mut hasher);
            *half = hasher.finish();
        }
        u128::from(halves[0]) << 64 | u128::from(halves[1])
    }
}

fn loaded(record: Option<Vec<u8>>) -> Loaded {
    record.map_or(Loaded::Absent, Loaded::Found)
}
