//! Principals and their sessions under every schedule: logins, revocations, evictions and new names that overlap, on a store
//! that fails between any two of its calls.
//!
//! The world of `world` takes the index of principals for one that never fails, and its exchanges for the only callers. Here
//! the shipped driver runs, `store/src/driver.rs` and `store/src/principals.rs` with the core below, and every call that it
//! makes of its store is a step of its own, between which others run, the clock moves, answers get lost, calls land late, and
//! whoever asked is gone. It is a world beside that one because the steps are others: calls of a store, not of the core. And
//! the two multiplied would be too large to exhaust.
//!
//! It is finite because its actors, the moments of its clock and its budgets of trouble are; an actor asks again only after
//! an answer that was lost at the cost of a budget, or a conflict with a swap that another made. What is left out:
//!
//! | what | because |
//! |---|---|
//! | the driver's patience: it never gives up | whoever gives up tells an error and goes, as one that crashed does |
//! | a store that loses writes | `search` has it; the index is as durable as the records here |
//! | two actors in one driver | nodes share nothing but the store; what a queue in one process adds, `tests/turns.rs` has |
//! | requests that use a cookie while nothing else is known of them | whoever was told anything is asked for at every step |
//! | the history of an actor that is over | it asks for nothing, and what it was told is kept |

pub mod actor;
pub mod claims;
pub mod families;
pub mod search;
pub mod shelf;

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use coatroom_core::{Handle, KeyRing, Policy, Rules, Settings};

use crate::browser::Browser;
use crate::fold::Fold;
use crate::shared::Shared;
use crate::world::{RING, START};
use actor::{Actor, Answer, Call, Deed, Given, Nodes, Stage, Told};
use shelf::{Kind, Shelf};

/// One thing that happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Start(usize),
    /// The call reaches the store, and the answer comes back.
    Answer(usize),
    /// The call reaches the store, and the answer is lost.
    Unheard(usize),
    /// The call is lost.
    Lost(usize),
    /// The call is under way for a while yet, and nobody waits for it any more.
    Delayed(usize),
    /// The delayed call in this place reaches the store.
    Land(usize),
    Crash(usize),
    Tick,
}

/// What may yet go wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub struct Trouble {
    pub faults: u8,
    pub delays: u8,
    pub crashes: u8,
}

/// A session that somebody holds the cookies of.
#[derive(Clone, Debug, Hash)]
pub struct Held {
    pub browser: Browser,
    pub handle: Option<Handle>,
    /// The actor that logged in.
    pub login: usize,
}

/// When all sessions of a principal were revoked, and by whom.
#[derive(Clone, Debug, Hash)]
pub struct Bar {
    pub who: String,
    pub by: usize,
    pub at: u64,
    /// Whoever asked for it knows of it.
    pub is_known: bool,
}

/// One who has begun.
#[derive(Clone, Debug, Hash)]
pub struct Begun {
    pub at: u64,
    /// Those who had begun before.
    pub after: Vec<usize>,
    /// It revoked all sessions of a principal, and has returned.
    pub has_revoked: bool,
}

#[derive(Clone, Debug)]
pub struct World {
    pub nodes: Arc<Nodes>,
    pub now: u64,
    pub shelf: Shared<Shelf>,
    pub actors: Shared<Vec<Arc<Actor>>>,
    /// Calls that land later, and by whom.
    pub delayed: Shared<Vec<(usize, Call, u128)>>,
    pub held: Shared<BTreeMap<usize, Held>>,
    pub bars: Shared<Vec<Bar>>,
    pub begun: Shared<BTreeMap<usize, Begun>>,
    /// Which session each tried to log in to last.
    pub logged: Shared<BTreeMap<usize, Handle>>,
    /// Of each principal, the live session that was entered last.
    pub last: Shared<BTreeMap<String, Handle>>,
    pub trouble: Trouble,
    /// The first of those that overlap.
    pub first: usize,
    /// Something went wrong on the way here: some claims are of a world without trouble.
    pub troubled: bool,
}

impl World {
    pub fn new(kind: Kind, settings: Settings) -> Self {
        let rules = Rules::new(Policy::try_from(settings).unwrap(), KeyRing::parse(RING).unwrap());
        Self {
            nodes: Arc::new(Nodes::new(rules, kind.is_in_one())),
            now: START,
            shelf: Shelf::new(kind).into(),
            actors: Shared::default(),
            delayed: Shared::default(),
            held: Shared::default(),
            bars: Shared::default(),
            begun: Shared::default(),
            logged: Shared::default(),
            last: Shared::default(),
            trouble: Trouble::default(),
            first: 0,
            troubled: false,
        }
    }

    pub fn add(&mut self, deed: Deed, ahead: i64) -> usize {
        let number = self.actors.len();
        let (given, heard, stage, call) = (Given::default(), Vec::new(), Stage::Idle, None);
        self.actors.push(Arc::new(Actor { number, deed, ahead, given, heard, stage, call, history: 0 }));
        number
    }

    /// From the beginning to the end, with nothing in between.
    pub fn run(&mut self, deed: Deed) -> Result<usize, String> {
        let number = self.add(deed, 0);
        if let Deed::Wait(ms) = deed {
            self.now += ms;
        }
        self.step(Step::Start(number))?;
        while self.actors[number].stage == Stage::Asks {
            self.step(Step::Answer(number))?;
        }
        Ok(number)
    }

    /// What can happen next, but for the clock.
    pub fn possible(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (number, actor) in self.actors.iter().enumerate() {
            match (&actor.stage, &actor.call) {
                (Stage::Idle, _) => steps.push(Step::Start(number)),
                (Stage::Asks, Some(call)) => {
                    steps.push(Step::Answer(number));
                    let changes = !matches!(call, Call::Handler | Call::Load(_) | Call::Sessions(_));
                    if self.trouble.faults > 0 && !matches!(call, Call::Handler) {
                        steps.push(Step::Lost(number));
                        steps.extend(changes.then_some(Step::Unheard(number)));
                    }
                    if self.trouble.delays > 0 && changes {
                        steps.push(Step::Delayed(number));
                    }
                    if self.trouble.crashes > 0 && self.has_changed_something(actor) {
                        steps.push(Step::Crash(number));
                    }
                }
                _ => {}
            }
        }
        steps.extend((0..self.delayed.len()).map(Step::Land));
        steps
    }

    /// One that stops before it changed anything is a world with an actor less.
    fn has_changed_something(&self, actor: &Actor) -> bool {
        let looked = |answer: &Answer| matches!(answer, Answer::Found(_) | Answer::Sessions(_) | Answer::Conflict(_));
        actor.heard.iter().any(|(answer, _)| !looked(answer))
    }

    pub fn step(&mut self, step: Step) -> Result<(), String> {
        self.troubled |= !matches!(step, Step::Start(_) | Step::Answer(_) | Step::Tick | Step::Land(_));
        match step {
            Step::Tick => self.now += 1,
            Step::Start(number) => self.start(number),
            Step::Answer(number) => {
                let answer = self.serve(number, &self.call(number), true)?;
                self.tell(number, answer)?;
            }
            Step::Unheard(number) => {
                self.trouble.faults -= 1;
                self.serve(number, &self.call(number), false)?;
                self.tell(number, Answer::Silence)?;
            }
            Step::Lost(number) => {
                self.trouble.faults -= 1;
                self.tell(number, Answer::Silence)?;
            }
            Step::Delayed(number) => {
                self.trouble.delays -= 1;
                let call = (number, self.call(number), self.actors[number].history);
                self.delayed.push(call);
                self.tell(number, Answer::Silence)?;
            }
            Step::Land(at) => {
                let (by, call, _) = self.delayed.remove(at);
                self.serve(by, &call, false)?;
            }
            Step::Crash(number) => {
                self.trouble.crashes -= 1;
                let crashed = Actor { stage: Stage::Crashed, call: None, ..Actor::clone(&self.actors[number]) };
                self.actors[number] = Arc::new(crashed);
            }
        }
        claims::of_every_moment(self)
    }

    fn call(&self, number: usize) -> Call {
        self.actors[number].call.clone().unwrap()
    }

    fn start(&mut self, number: usize) {
        let actor = Arc::clone(&self.actors[number]);
        let taken = actor.deed.takes().and_then(|of| self.held.get(&of));
        let at = self.now.saturating_add_signed(actor.ahead);
        let browser = taken.map(|held| held.browser.clone()).unwrap_or_default();
        let given = Given { browser, handle: taken.and_then(|held| held.handle), at };
        let after = self.begun.keys().copied().collect();
        self.begun.insert(number, Begun { at: self.now, after, has_revoked: false });
        self.replace(number, self.nodes.begin(&actor, given));
    }

    fn serve(&mut self, by: usize, call: &Call, is_known: bool) -> Result<Answer, String> {
        let before = self.shelf.clone();
        let now = self.now;
        let answer = self.shelf.serve(call, now);
        claims::of_a_call(self, by, call, &before, &answer)?;
        self.note_the_last(call, &answer);
        if let Call::Bar(who, _) = call {
            self.bars.push(Bar { who: who.clone(), by, at: now, is_known });
        }
        Ok(answer)
    }

    fn note_the_last(&mut self, call: &Call, answer: &Answer) {
        let entry = match call {
            Call::Swap(swap) => swap.listing.entry(),
            Call::Enter(entry) => Some(entry),
            _ => None,
        };
        if let (Some(entry), Answer::Entered { before: Some(_), .. }) = (entry, answer)
            && claims::is_live(self, entry.handle)
        {
            self.last.insert(entry.principal.clone(), entry.handle);
        }
    }

    fn tell(&mut self, number: usize, answer: Answer) -> Result<(), String> {
        let actor = Arc::clone(&self.actors[number]);
        let at = self.now.saturating_add_signed(actor.ahead);
        self.replace(number, self.nodes.tell(&actor, answer, at));
        claims::of_what_was_told(self, number)
    }

    fn replace(&mut self, number: usize, actor: Arc<Actor>) {
        self.actors[number] = actor;
        let actor = Arc::clone(&self.actors[number]);
        if let (Some(_), Some(Call::Swap(swap))) = (actor.deed.logs_in(), &actor.call)
            && let Some(entry) = swap.listing.entry()
        {
            self.logged.insert(number, entry.handle);
        }
        let Stage::Over(Ok(Told { browser, handle, noticed })) = &actor.stage else { return };
        if actor.deed.revokes_all_of().is_some() || *noticed {
            self.begun.get_mut(&number).unwrap().has_revoked = true;
        }
        if *browser != actor.given.browser && *browser != Browser::default() {
            let login = actor.deed.takes().filter(|_| actor.deed.logs_in().is_none());
            let login = login.map_or(number, |of| self.held[&of].login);
            self.held.insert(number, Held { browser: browser.clone(), handle: *handle, login });
        }
    }

    /// All that the future of this world depends on, and all that its claims look at.
    pub fn fingerprint(&self) -> u128 {
        let mut fold = Fold::default();
        (self.now, &self.shelf.records, &self.shelf.index, &*self.held, &*self.bars, &*self.logged).hash(&mut fold);
        self.last.hash(&mut fold);
        for (number, actor) in self.actors.iter().enumerate() {
            match &actor.stage {
                Stage::Idle => fold.write_u8(0),
                Stage::Asks => fold.write_u128(actor.history),
                Stage::Over(result) => fold.write_u8(1 + u8::from(result.is_ok())),
                Stage::Crashed => fold.write_u8(3),
            }
            // Who began before a revocation is what it is about.
            if let Some(begun) = self.begun.get(&number) {
                begun.at.hash(&mut fold);
                let revokes = actor.deed.revokes_all_of().is_some() || matches!(actor.deed, Deed::Request(_));
                revokes.then(|| (&begun.after, begun.has_revoked).hash(&mut fold));
            }
        }
        self.delayed.iter().for_each(|(_, _, history)| fold.write_u128(*history));
        (self.trouble, self.troubled).hash(&mut fold);
        fold.whole()
    }
}
