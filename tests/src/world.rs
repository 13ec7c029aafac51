//! Browsers, nodes, a store, a clock and exchanges that advance one step at a time. It drives the shipped functions on
//! shipped bytes, and is a plain value: cloning it forks history.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use coatroom_core::staged::{Staged, Waiting};
use coatroom_core::{Handle, KeyRing, Kind, Policy, Rules, Settings, Swap, Timestamp};

use crate::browser::{Browser, Id};
pub use crate::exchange::{Answer, Bytes, Exchange, Input, Inputs, Opened, Phase, Ring, Said, Script};
use crate::fold::Build;
use crate::invariants::{self, Violation};
use crate::ops::Op;
use crate::record::Front;
use crate::shared::Shared;
use crate::store::{Store, StoreBug};

/// Plainly a test ring.
pub const RING: &str = "1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE";

/// Another key for it.
pub const NEXT_KEY: &str = "2:YW5vdGhlciBvYnZpb3VzIHRlc3Qga2V5LCBubyBzZWNyZXQ";

/// When every test begins.
pub const START: u64 = 1_767_225_600_000;

pub const VICTIM: usize = 0;
pub const ATTACKER: usize = 1;
/// Holds a copy of the victim's login cookie, if a scenario says so.
pub const THIEF: usize = 2;

/// Most nodes that a world has.
pub const NODES: usize = 3;

/// What a world is made of, and which promises about time and behaviour it keeps.
#[derive(Debug)]
pub struct Setup {
    pub rules: Arc<Rules>,
    /// The rings that each node goes through, the present one first.
    pub rings: Vec<Ring>,
    /// How far the clock of each node is ahead of the time.
    pub clocks: [i64; NODES],
    /// Requests, closings and responses each take less than the grace; late ones never happen.
    pub timely: bool,
    /// Nobody in this world but the victim, who neither logs in nor out: being logged out is the library's fault.
    pub quiet: bool,
    /// One login, and otherwise only exchanges of nobody in particular that do not log out.
    pub one_login: bool,
    memo: Option<Memo>,
}

/// What came of which inputs.
#[derive(Debug, Default)]
struct Memo {
    known: Mutex<HashMap<u128, Arc<Exchange>, Build>>,
    used: AtomicU64,
}

/// How often something remembered is made anew and compared.
const RECHECK: u64 = 512;

impl Setup {
    pub fn of(settings: Settings) -> Self {
        let policy = Policy::try_from(settings).unwrap();
        let rings = vec![ring(&policy, RING, &[1])];
        let rules = Arc::clone(&rings[0].rules);
        Self { rules, rings, clocks: [0; NODES], timely: false, quiet: false, one_login: false, memo: None }
    }

    /// Every node knows a second key already, may sign with it, and may then withdraw the first.
    pub fn with_two_keys(&mut self, withdrawn: bool) {
        let policy = self.rules.policy().clone();
        self.rings = vec![
            ring(&policy, &format!("{RING},{NEXT_KEY}"), &[1, 2]),
            ring(&policy, &format!("{NEXT_KEY},{RING}"), &[1, 2]),
        ];
        self.rings.extend(withdrawn.then(|| ring(&policy, NEXT_KEY, &[2])));
        self.rules = Arc::clone(&self.rings[0].rules);
    }

    /// The same, remembering from now on what came of which inputs. Nothing is remembered yet.
    #[must_use]
    pub fn remembering(&self) -> Self {
        let (rules, rings) = (Arc::clone(&self.rules), self.rings.clone());
        Self { rules, rings, memo: Some(Memo::default()), ..*self }
    }

    pub fn grace(&self) -> u64 {
        ms(self.rules.policy().settings().grace)
    }

    pub fn absolute(&self) -> u64 {
        ms(self.rules.policy().settings().absolute)
    }

    /// How long anything takes at most in a timely world: the grace, as the clocks that differ most measure it.
    pub fn patience(&self) -> u64 {
        let spread = self.clocks.iter().max().unwrap() - self.clocks.iter().min().unwrap();
        self.grace().saturating_sub(spread.unsigned_abs())
    }

    /// The exchange after this input. Nothing when the same inputs came to something else before.
    fn after(&self, exchange: &Exchange, input: Input) -> Option<Arc<Exchange>> {
        let stage = if let Input::Request { ring, .. } = input { ring } else { exchange.inputs.ring };
        let ring = &self.rings[stage];
        let Some(memo) = &self.memo else { return exchange.after(input, ring).map(Arc::new) };
        let history = exchange.history_with(&input);
        if let Some(known) = memo.known.lock().unwrap().get(&history).map(Arc::clone) {
            let due = memo.used.fetch_add(1, Ordering::Relaxed).is_multiple_of(RECHECK);
            return (!due || known.is_reproducible(ring)).then_some(known);
        }
        let after = Arc::new(exchange.after(input, ring)?);
        memo.known.lock().unwrap().insert(history, Arc::clone(&after));
        Some(after)
    }
}

fn ring(policy: &Policy, text: &str, numbers: &[u16]) -> Ring {
    Ring { rules: Rules::new(policy.clone(), KeyRing::parse(text).unwrap()), numbers: numbers.to_vec() }
}

fn ms(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap()
}

/// One thing that happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Step {
    /// The browser sends the request with the cookies it holds, or something on the way sends it again.
    Send(usize),
    /// The request arrives, and the clock is read.
    Arrive(usize),
    /// A record is loaded.
    Load(usize),
    /// While another has its turn, the record is loaded again, and the clock read.
    Look(usize),
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
    /// The delayed swap in this place reaches the store.
    Land(usize),
    /// The response reaches the browser.
    Deliver(usize),
    /// The response reaches the browser a second time.
    Again(usize),
    /// The exchange stops where it is, or its response is lost.
    Crash(usize),
    /// The power fails: so many of the newest writes that were not synced are gone.
    Cut(usize),
    /// The node goes on to its next key ring.
    Ring(usize),
    /// The clock moves on to the next moment of interest.
    Tick,
}

/// What may yet go wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub struct Trouble {
    /// Swaps that are lost, or whose answer is.
    pub faults: u8,
    /// Swaps that reach the store late.
    pub delays: u8,
    pub crashes: u8,
    pub cuts: u8,
    /// Responses that arrive twice.
    pub doubles: u8,
}

/// A write that a power failure would undo.
#[derive(Clone, Debug, Hash)]
pub struct Unsynced {
    pub by: usize,
    pub handle: Handle,
    pub before: Option<Bytes>,
}

#[derive(Clone, Debug)]
pub struct World {
    pub setup: Arc<Setup>,
    pub now: u64,
    pub store: Store,
    pub browsers: Shared<Vec<Browser>>,
    pub exchanges: Shared<Vec<Arc<Exchange>>>,
    /// Which of the rings each node has.
    pub rings: [usize; NODES],
    /// Swaps under way, and by whom.
    pub delayed: Shared<Vec<(usize, Arc<Swap>)>>,
    /// What a power failure would undo, oldest first.
    pub unsynced: Shared<Vec<Unsynced>>,
    /// Exchanges of which a write was undone so.
    pub undone: Shared<BTreeSet<usize>>,
    /// Ids that a finished exchange found dead.
    pub dead: Shared<BTreeSet<(Kind, Id)>>,
    /// When each session has to end, counted from the login or creation that was seen.
    pub deadlines: Shared<BTreeMap<Handle, u64>>,
    /// Responses that arrived twice.
    pub doubled: Shared<BTreeSet<usize>>,
    pub trouble: Trouble,
}

/// What a step did, for the invariants.
#[derive(Debug)]
pub enum Seen<'a> {
    /// An exchange has its session.
    Opened(usize),
    /// A swap was applied.
    Swapped { by: usize, swap: &'a Swap, before: Option<&'a [u8]> },
    /// An exchange waits for the turn of another.
    Waits(usize),
    /// An exchange is over.
    Answered(usize),
    /// A response arrived.
    Delivered(usize),
    /// The store lost its newest writes.
    Cut,
    /// The same inputs led to other outputs.
    Diverged(usize),
}

impl World {
    pub fn new(setup: Setup) -> Self {
        Self {
            setup: Arc::new(setup),
            now: START,
            store: Store::default(),
            browsers: vec![Browser::default(); 3].into(),
            exchanges: Shared::default(),
            rings: [0; NODES],
            delayed: Shared::default(),
            unsynced: Shared::default(),
            undone: Shared::default(),
            dead: Shared::default(),
            deadlines: Shared::default(),
            doubled: Shared::default(),
            trouble: Trouble::default(),
        }
    }

    #[must_use]
    pub fn with_store_bug(mut self, bug: Option<StoreBug>) -> Self {
        self.store.bug = bug;
        self
    }

    pub fn add(&mut self, browser: usize, ops: &[Op]) -> usize {
        self.add_script(Script { browser, ops: ops.to_vec(), ..Script::default() })
    }

    pub fn add_script(&mut self, script: Script) -> usize {
        let number = self.exchanges.len();
        self.exchanges.push(Arc::new(Exchange::new(number, script)));
        number
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
        while self.exchanges[number].phase < Phase::Open {
            self.step(self.next_of(number).unwrap())?;
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
        let over = |before: usize| self.exchanges[before].phase >= Phase::Delivered;
        match self.exchanges[number].phase {
            Phase::Idle => {
                let script = &self.exchanges[number].script;
                let ready = script.after.is_none_or(over)
                    && script.repeats.is_none_or(|first| self.exchanges[first].phase > Phase::Idle);
                ready.then_some(Step::Send(number))
            }
            Phase::Sent => Some(Step::Arrive(number)),
            Phase::Loading => Some(Step::Load(number)),
            Phase::Held | Phase::Queued => self.may_look(number).then_some(Step::Look(number)),
            Phase::Open => Some(Step::Close(number)),
            Phase::Taking | Phase::Saving => Some(Step::Swap(number)),
            Phase::Uncertain => Some(Step::Reload(number)),
            Phase::Answered => Some(Step::Deliver(number)),
            Phase::Delivered | Phase::Crashed => None,
        }
    }

    /// Whether another look would show anything new.
    fn may_look(&self, number: usize) -> bool {
        let exchange = &self.exchanges[number];
        let (record, at) = exchange.inputs.last_look();
        self.clock(exchange.script.node) > at || self.store.records.get(&exchange.load.unwrap()) != record
    }

    /// Every browser asks again, twice, one after the other, of one node after the other.
    pub fn ask_again(mut self, nodes: usize) -> Result<(), Violation> {
        self.trouble = Trouble::default();
        let mut asked = 0;
        for wait in [0, self.setup.grace()] {
            self.now += wait;
            for browser in 0..self.browsers.len() {
                if self.browsers[browser].header().is_empty() {
                    continue;
                }
                let node = asked % nodes.clamp(1, NODES);
                let number = self.add_script(Script { browser, ops: vec![Op::Get("a")], node, ..Script::default() });
                asked += 1;
                self.finish(number).map_err(|violation| {
                    let what = format!("when everybody asks again: {}", violation.what);
                    Violation { what, ..violation }
                })?;
            }
        }
        Ok(())
    }

    /// Whether this step keeps the promises about time, where the world makes any.
    pub fn is_timely(&self, step: Step) -> bool {
        let within = |from: u64| self.now - from < self.setup.patience();
        let own = |number: usize, reading: fn(&Inputs) -> u64| {
            let exchange = &self.exchanges[number];
            within(reading(&exchange.inputs).saturating_add_signed(-self.setup.clocks[exchange.script.node]))
        };
        !self.setup.timely
            || match step {
                // Records may be ahead of the clock that was read on arrival, and count then.
                Step::Arrive(number) | Step::Load(number) => within(self.exchanges[number].sent.1),
                // A response leaves when its last write is done, so writes are as prompt as closings.
                Step::Close(number) | Step::Swap(number) | Step::Reload(number) => {
                    own(number, |inputs| inputs.opened_at)
                }
                Step::Deliver(number) | Step::Again(number) => own(number, |inputs| inputs.closed_at),
                _ => true,
            }
    }

    /// Makes the exchange anew from its inputs.
    pub fn rebuild(&self, number: usize) -> Staged {
        let exchange = &self.exchanges[number];
        exchange.rebuild(&self.setup.rings[exchange.inputs.ring])
    }

    /// What the clock of this node says.
    pub fn clock(&self, node: usize) -> u64 {
        self.now.saturating_add_signed(self.setup.clocks[node])
    }

    /// What the cookies of this header would open right now.
    pub fn probe(&self, header: &str) -> Staged {
        self.probe_on(0, header)
    }

    /// The same, on that node.
    pub fn probe_on(&self, node: usize, header: &str) -> Staged {
        let rules = &self.setup.rings[self.rings[node]].rules;
        let mut staged = Staged::from(rules.open(header.as_bytes(), Timestamp::from_unix_ms(self.clock(node))));
        while let Waiting::Load(handle) = staged.waiting() {
            staged.found(self.store.load(handle)).unwrap();
        }
        staged
    }

    /// The record that an exchange finds.
    fn fetch(&self, handle: Handle) -> Option<Bytes> {
        self.store.records.get(&handle).cloned()
    }

    pub fn step(&mut self, step: Step) -> Result<(), Violation> {
        match step {
            Step::Send(number) => {
                self.send(number);
                Ok(())
            }
            Step::Arrive(number) => {
                let node = self.exchanges[number].script.node;
                let (header, sent_at) = self.exchanges[number].sent.clone();
                let is_repeated = self.exchanges.iter().any(|other| other.script.repeats == Some(number));
                let kept = if is_repeated { sent_at } else { 0 };
                let request = Input::Request { header, sent_at: kept, ring: self.rings[node], at: self.clock(node) };
                self.advance(number, request)?;
                // It matters until the record is loaded, and is no part of what the exchange comes to.
                if self.exchanges[number].phase == Phase::Loading {
                    self.change(number).sent.1 = sent_at;
                }
                Ok(())
            }
            Step::Load(number) => {
                let handle = self.exchanges[number].load.unwrap();
                self.advance(number, Input::Loaded(self.fetch(handle)))
            }
            Step::Look(number) => {
                let exchange = &self.exchanges[number];
                let at = self.clock(exchange.script.node);
                self.advance(number, Input::Looked(self.fetch(exchange.load.unwrap()), at))
            }
            Step::Close(number) => {
                let at = self.clock(self.exchanges[number].script.node);
                self.advance(number, Input::Closed(at))
            }
            Step::Swap(number) => {
                let said = self.apply(number, &self.pending(number))?;
                self.advance(number, Input::Said(said))
            }
            Step::SwapUnheard(number) => {
                self.trouble.faults -= 1;
                self.change(number).phase = Phase::Uncertain;
                self.apply(number, &self.pending(number)).map(drop)
            }
            Step::SwapLost(number) => {
                self.trouble.faults -= 1;
                self.change(number).phase = Phase::Uncertain;
                Ok(())
            }
            Step::SwapDelayed(number) => {
                self.trouble.delays -= 1;
                let swap = self.pending(number);
                self.delayed.push((number, swap));
                self.change(number).phase = Phase::Uncertain;
                Ok(())
            }
            Step::Reload(number) => {
                let said = Said::Reloaded(self.fetch(self.pending(number).handle));
                self.advance(number, Input::Said(said))
            }
            Step::Land(place) => {
                let (number, swap) = self.delayed.remove(place);
                self.apply(number, &swap).map(drop)
            }
            Step::Deliver(number) => self.deliver(number),
            Step::Again(number) => {
                self.trouble.doubles -= 1;
                self.doubled.insert(number);
                self.deliver(number)
            }
            Step::Crash(number) => {
                self.trouble.crashes -= 1;
                self.change(number).phase = Phase::Crashed;
                Ok(())
            }
            Step::Cut(writes) => {
                self.trouble.cuts -= 1;
                self.cut(writes)
            }
            Step::Ring(node) => {
                self.rings[node] += 1;
                Ok(())
            }
            Step::Tick => Ok(()),
        }
    }

    fn send(&mut self, number: usize) {
        let script = Arc::clone(&self.exchanges[number].script);
        let sent = match script.repeats {
            Some(first) => {
                let first = &self.exchanges[first];
                let header = if first.phase == Phase::Sent { &first.sent.0 } else { &first.inputs.header };
                (Arc::clone(header), first.sent.1)
            }
            // When it was sent matters only for whether it may still arrive.
            None => (self.browsers[script.browser].header().into(), self.now * u64::from(self.setup.timely)),
        };
        let exchange = self.change(number);
        exchange.sent = sent;
        exchange.phase = Phase::Sent;
    }

    fn change(&mut self, number: usize) -> &mut Exchange {
        Arc::make_mut(&mut self.exchanges[number])
    }

    /// One more input, and what follows from it at once.
    fn advance(&mut self, number: usize, input: Input) -> Result<(), Violation> {
        let was = self.exchanges[number].phase;
        let Some(after) = self.setup.after(&self.exchanges[number], input) else {
            return self.check(&Seen::Diverged(number));
        };
        let phase = after.phase;
        self.exchanges[number] = after;
        match phase {
            Phase::Open if was != Phase::Open => self.check(&Seen::Opened(number)),
            Phase::Answered => self.answered(number),
            Phase::Held | Phase::Queued => self.check(&Seen::Waits(number)),
            _ => Ok(()),
        }
    }

    fn answered(&mut self, number: usize) -> Result<(), Violation> {
        let exchange = Arc::clone(&self.exchanges[number]);
        let answer = exchange.answer.as_ref().unwrap();
        if let Some(opened) = exchange.opened.as_ref().filter(|_| !answer.is_uncertain()) {
            for (kind, id, _) in opened.looked_up.iter().filter(|(_, id, _)| opened.live.as_ref() != Some(id)) {
                if !self.dead.contains(&(*kind, id.clone())) {
                    self.dead.insert((*kind, id.clone()));
                }
            }
        }
        self.check(&Seen::Answered(number))?;
        // A response that sets nothing may as well arrive at once.
        if answer.cookies.is_empty() { self.deliver(number) } else { Ok(()) }
    }

    fn deliver(&mut self, number: usize) -> Result<(), Violation> {
        let exchange = &self.exchanges[number];
        let browser = exchange.script.browser;
        let answer = Arc::clone(exchange.answer.as_ref().unwrap());
        answer.cookies.iter().for_each(|line| self.browsers[browser].obey(line));
        self.change(number).phase = Phase::Delivered;
        self.check(&Seen::Delivered(number))
    }

    /// The swap that the exchange wants.
    fn pending(&self, number: usize) -> Arc<Swap> {
        Arc::clone(self.exchanges[number].swap.as_ref().unwrap())
    }

    fn apply(&mut self, by: usize, swap: &Swap) -> Result<Said, Violation> {
        let before = self.fetch(swap.handle);
        if let Err(present) = self.store.swap(swap) {
            return Ok(Said::Conflicted(present.map(Into::into)));
        }
        if self.store.get(swap.handle) != swap.new.as_deref() {
            return Ok(Said::Saved);
        }
        if swap.durable && self.store.bug != Some(StoreBug::NothingDurable) {
            // One log: what was written before is synced with it.
            self.unsynced = Shared::default();
        } else {
            self.unsynced.push(Unsynced { by, handle: swap.handle, before: before.clone() });
        }
        self.check(&Seen::Swapped { by, swap, before: before.as_deref() })?;
        let logs_in = self.exchanges[by].script.ops.iter().any(|op| matches!(op, Op::Login(_)));
        if before.is_none() || logs_in {
            let deadline = swap.new.as_deref().and_then(Front::read).map(|front| front.deadline);
            deadline.map(|deadline| self.deadlines.insert(swap.handle, deadline));
        }
        Ok(Said::Saved)
    }

    fn cut(&mut self, writes: usize) -> Result<(), Violation> {
        for _ in 0..writes {
            let Some(Unsynced { by, handle, before }) = self.unsynced.pop() else { break };
            self.undone.insert(by);
            match before {
                Some(record) => drop(self.store.records.insert(handle, record)),
                None => drop(self.store.records.remove(&handle)),
            }
        }
        // What survived is on the disk.
        self.unsynced = Shared::default();
        self.check(&Seen::Cut)
    }

    fn check(&self, seen: &Seen<'_>) -> Result<(), Violation> {
        invariants::check(self, seen)
    }
}
