//! One exchange of a world: what it is to ask, and all that ever came into it from outside.
//!
//! An exchange of the core cannot be cloned, and need not be: it is a pure function of what came in. So what is kept here
//! is the list of inputs, and the exchange is made anew from it at each step, always twice. That it comes out the same each
//! time is itself one of the claims. A search remembers what came out and makes a part of it anew now and then.

use std::hash::Hash;
use std::sync::Arc;

use coatroom_core::staged::{Staged, Waiting};
use coatroom_core::{Change, Error, Event, Handle, Kind, Listed, Loaded, Rules, State, Swap, Timestamp};

use crate::browser::{Id, NAMES, key_number};
use crate::fold::Fold;
use crate::ops::Op;
use crate::record::Front;
use crate::rng::Fixed;

/// Stored bytes.
pub type Bytes = Arc<[u8]>;

/// What a node serves by, and the numbers of the keys in its ring.
#[derive(Clone, Debug)]
pub struct Ring {
    pub rules: Arc<Rules>,
    pub numbers: Vec<u16>,
}

/// Who asks for what, where.
#[derive(Clone, PartialEq, Eq, Debug, Hash, Default)]
pub struct Script {
    pub browser: usize,
    pub ops: Vec<Op>,
    pub node: usize,
    /// The very request of that exchange again, sent by something on the way.
    pub repeats: Option<usize>,
    /// Asked only once that exchange is over for the browser.
    pub after: Option<usize>,
    /// It takes its turn.
    pub serial: bool,
}

/// All that ever came into an exchange from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    pub header: Arc<str>,
    /// Which of its rings the node had at opening.
    pub ring: usize,
    pub asked_at: u64,
    /// By its last reading of the clock before the handler ran.
    pub opened_at: u64,
    /// What each record was when the handler ran, as far as it knew.
    pub loads: Vec<Option<Bytes>>,
    /// By its last reading of the clock.
    pub closed_at: u64,
    /// What it was told after the handler had run.
    pub said: Vec<Said>,
    /// All that came in after the request, in order.
    heard: Vec<Heard>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Heard {
    Loaded(Option<Bytes>),
    Looked(Option<Bytes>, u64),
    Closed(u64),
    Said(Said),
}

/// What the store said to a swap.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Said {
    Saved,
    Conflicted(Option<Bytes>),
    Reloaded(Option<Bytes>),
}

/// One thing that comes in.
#[derive(Clone, Debug, Hash)]
pub enum Input {
    Request {
        header: Arc<str>,
        sent_at: u64,
        ring: usize,
        at: u64,
    },
    Loaded(Option<Bytes>),
    /// Looked at again, at that time, while another has its turn.
    Looked(Option<Bytes>, u64),
    Closed(u64),
    Said(Said),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Phase {
    Idle,
    Sent,
    Loading,
    /// A swap is to take its turn.
    Taking,
    /// Waits for the turn of another, before the handler runs.
    Held,
    Open,
    /// Waits for the turn of another, at its end.
    Queued,
    Saving,
    /// A swap is out, and no answer came.
    Uncertain,
    Answered,
    Delivered,
    /// The node stopped in the middle of it, or its response was lost.
    Crashed,
}

/// What the handler saw.
#[derive(Clone, PartialEq, Debug)]
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
#[derive(Clone, PartialEq, Debug)]
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

/// What an exchange asked to be written, and what it was told of that.
#[derive(Clone, PartialEq, Eq, Debug, Hash, Default)]
pub struct Wish {
    /// Where in its calls the wished begins: what was taken back is not wished.
    pub from: usize,
    /// In which session it was told that this is done.
    pub acknowledged_at: Option<Handle>,
    /// It was told that nothing was written.
    pub is_refused: bool,
}

#[derive(Clone, Debug)]
pub struct Exchange {
    pub number: usize,
    pub script: Arc<Script>,
    pub inputs: Inputs,
    pub phase: Phase,
    /// The cookies of the request, and when it was sent where that matters.
    pub sent: (Arc<str>, u64),
    pub opened: Option<Arc<Opened>>,
    /// The handle of the record that it waits for.
    pub load: Option<Handle>,
    pub swap: Option<Arc<Swap>>,
    pub answer: Option<Arc<Answer>>,
    pub wish: Wish,
    /// Fingerprint of all that came in.
    pub history: u128,
    /// Fingerprint of the cookies told.
    pub told: u128,
    /// The token of its turn.
    pub token: Option<u64>,
    /// Whether the swap that it wants holds a secret that was presented to it.
    pub leaks: bool,
}

/// What an exchange comes to, as far as anything outside can see.
#[derive(PartialEq, Debug)]
struct Outcome {
    waiting: Waiting,
    swap: Option<Swap>,
    opened: Option<Opened>,
    answer: Option<Answer>,
}

impl Exchange {
    pub fn new(number: usize, script: Script) -> Self {
        let history = Fold::of(&(number, &script));
        let wish = Wish { from: first_wished(&script.ops), ..Wish::default() };
        Self {
            number,
            script: Arc::new(script),
            inputs: Inputs::default(),
            phase: Phase::Idle,
            sent: ("".into(), 0),
            opened: None,
            load: None,
            swap: None,
            answer: None,
            wish,
            history,
            told: 0,
            token: None,
            leaks: false,
        }
    }

    /// The ops that it wants to be written, if it comes to that.
    pub fn wished(&self) -> &[Op] {
        &self.script.ops[self.wish.from..]
    }

    /// What its clock said last, raised to what the session it opened had seen.
    pub fn latest_clock(&self) -> u64 {
        let front = self.opened.as_ref().filter(|opened| opened.live.is_some());
        let seen = front.and_then(|opened| opened.looked_up.last()?.2.as_ref()).map_or(0, |front| front.seen);
        self.inputs.opened_at.max(self.inputs.closed_at).max(seen)
    }

    /// The fingerprint once this input has come in as well.
    pub fn history_with(&self, input: &Input) -> u128 {
        Fold::of(&(self.history, input))
    }

    /// This exchange after one more input; nothing when the same inputs come to different things.
    pub fn after(&self, input: Input, ring: &Ring) -> Option<Self> {
        let mut next = Self { history: self.history_with(&input), ..self.clone() };
        match input {
            Input::Request { header, sent_at, ring, at } => {
                next.sent = ("".into(), sent_at);
                (next.inputs.header, next.inputs.ring, next.inputs.opened_at) = (header, ring, at);
                next.inputs.asked_at = at;
            }
            Input::Loaded(record) => {
                next.inputs.loads.push(record.clone());
                next.inputs.heard.push(Heard::Loaded(record));
            }
            Input::Looked(record, at) => next.inputs.look(record, at),
            Input::Closed(at) => {
                next.inputs.closed_at = at;
                next.inputs.heard.push(Heard::Closed(at));
            }
            Input::Said(said) => next.inputs.hear(said),
        }
        let outcome = next.outcome(ring);
        if outcome != next.outcome(ring) {
            return None;
        }
        next.phase = match outcome.waiting {
            Waiting::Load(_) => Phase::Loading,
            Waiting::Handler => Phase::Open,
            Waiting::Swap if next.inputs.closed_at == 0 => Phase::Taking,
            Waiting::Turn(_) if next.inputs.closed_at == 0 => Phase::Held,
            Waiting::Turn(_) => Phase::Queued,
            Waiting::Swap | Waiting::Entry => Phase::Saving,
            Waiting::Done | Waiting::Failed | Waiting::Away => Phase::Answered,
        };
        next.load = match outcome.waiting {
            Waiting::Load(handle) | Waiting::Turn(handle) => Some(handle),
            _ => None,
        };
        next.swap = outcome.swap.map(Arc::new);
        let new = next.swap.as_ref().and_then(|swap| swap.new.as_deref()).unwrap_or_default();
        if next.phase == Phase::Taking {
            next.token = Front::read(new).and_then(|front| front.lease).map(|lease| lease.0);
        }
        let mut presented = NAMES.iter().filter_map(|(_, kind)| Id::in_header(&next.inputs.header, *kind));
        next.leaks = presented.any(|id| id.is_in(new));
        next.opened = outcome.opened.map(Arc::new).or(next.opened);
        if let Some(answer) = outcome.answer {
            next.told = Fold::of(&answer.cookies);
            next.answer = Some(Arc::new(answer));
            next.wish = next.fulfilled();
        }
        Some(next)
    }

    /// Whether it is made anew from its inputs as it is remembered.
    pub fn is_reproducible(&self, ring: &Ring) -> bool {
        let again = self.outcome(ring);
        let known = Outcome {
            waiting: again.waiting,
            swap: self.swap.as_deref().cloned(),
            opened: self.opened.as_deref().cloned().filter(|_| again.opened.is_some()),
            answer: self.answer.as_deref().cloned(),
        };
        again == known
    }

    /// Makes the exchange anew from its inputs.
    pub fn rebuild(&self, ring: &Ring) -> Staged {
        let inputs = &self.inputs;
        let (header, at) = (inputs.header.as_bytes(), Timestamp::from_unix_ms(inputs.asked_at));
        let seed = 1 + self.number as u64;
        let mut staged = Staged::from(if self.script.serial {
            ring.rules.open_serial(header, at, &mut Fixed::new(seed << 32))
        } else {
            ring.rules.open(header, at)
        });
        for heard in &inputs.heard {
            match heard {
                Heard::Loaded(record) => staged.found(loaded(record.as_ref())),
                Heard::Looked(record, at) => staged.found_after(loaded(record.as_ref()), Timestamp::from_unix_ms(*at)),
                Heard::Closed(at) => {
                    let session = staged.session().unwrap();
                    self.script.ops.iter().for_each(|op| op.apply(session, self.number));
                    staged.close(Timestamp::from_unix_ms(*at), &mut Fixed::new(seed))
                }
                Heard::Said(Said::Saved) => staged.saved(),
                Heard::Said(Said::Conflicted(record)) => staged.conflicted(record.as_deref().map(<[u8]>::to_vec)),
                Heard::Said(Said::Reloaded(record)) => staged.reloaded(loaded(record.as_ref())),
            }
            .unwrap();
            if staged.waiting() == Waiting::Entry {
                staged.entered(Listed::default()).unwrap();
            }
        }
        staged
    }

    fn outcome(&self, ring: &Ring) -> Outcome {
        let mut staged = self.rebuild(ring);
        let waiting = staged.waiting();
        let opened = (waiting == Waiting::Handler).then(|| self.opened(&mut staged, ring));
        let answer = match (staged.reply(), staged.failure()) {
            (Ok(reply), _) => Some(Answer {
                error: None,
                cookies: reply.set_cookies().map(str::to_owned).collect(),
                handle: reply.trace().handle,
                written: reply.trace().written.clone(),
                events: reply.trace().events.clone(),
            }),
            (_, Ok(failure)) => Some(Answer {
                error: Some(failure.error),
                cookies: Vec::new(),
                handle: None,
                written: Vec::new(),
                events: failure.events.clone(),
            }),
            _ => None,
        };
        Outcome { waiting, swap: staged.swap().ok().cloned(), opened, answer }
    }

    fn opened(&self, staged: &mut Staged, ring: &Ring) -> Opened {
        let session = staged.session().unwrap();
        let inputs = &self.inputs;
        let ids = [Kind::Login, Kind::Visitor].into_iter().filter_map(|kind| {
            let id = Id::in_header(&inputs.header, kind)?;
            ring.numbers.contains(&key_number(&inputs.header, kind)?).then_some((kind, id))
        });
        let found = |load: &Option<Bytes>| load.as_deref().and_then(Front::read);
        let looked_up: Vec<_> = ids.zip(&inputs.loads).map(|((kind, id), load)| (kind, id, found(load))).collect();
        let live = session.is_live();
        let last = looked_up.last().filter(|_| live);
        Opened {
            live: last.map(|(_, id, _)| id.clone()),
            kind: last.map_or(Kind::Visitor, |last| last.0),
            principal: session.principal().map(|principal| principal.name().to_owned()),
            state: session.state(),
            events: session.trace().events,
            looked_up,
        }
    }

    fn fulfilled(&self) -> Wish {
        let ops = &self.script.ops[..];
        let after_last = |wanted: fn(&Op) -> bool| ops.iter().rposition(wanted).map_or(0, |at| at + 1);
        let answer = self.answer.as_deref();
        let mut from = first_wished(ops);
        if let (Some(opened), Some(answer)) = (&self.opened, answer)
            && opened.live.is_some()
            && answer.written.contains(&Change::Created)
        {
            // A login that had to start afresh takes along only what followed it, and of a logout what followed that.
            let logout = after_last(|op| *op == Op::Logout);
            from = if logout > 0 { logout } else { from.max(after_last(|op| matches!(op, Op::Login(_)))) };
        }
        let writes = ops[from..].iter().any(|op| matches!(op, Op::Add | Op::ReadAdd | Op::Update | Op::Set(_)))
            && self.opened.is_some();
        let done = answer.filter(|answer| answer.error.is_none() && writes);
        Wish {
            from,
            acknowledged_at: done.and_then(|answer| answer.handle),
            is_refused: answer.is_some_and(|answer| answer.error.is_some_and(|error| error != Error::Unknown)),
        }
    }
}

impl Inputs {
    fn look(&mut self, record: Option<Bytes>, at: u64) {
        self.heard.push(Heard::Looked(record.clone(), at));
        if self.closed_at > 0 {
            self.closed_at = self.closed_at.max(at);
        } else {
            self.opened_at = self.opened_at.max(at);
            self.know(record);
        }
    }

    fn hear(&mut self, said: Said) {
        self.heard.push(Heard::Said(said.clone()));
        match said {
            said if self.closed_at > 0 => self.said.push(said),
            Said::Conflicted(record) | Said::Reloaded(record) => self.know(record),
            Said::Saved => {}
        }
    }

    /// The record that it looked up last is something else by now.
    fn know(&mut self, record: Option<Bytes>) {
        if let Some(last) = self.loads.last_mut() {
            *last = record;
        }
    }

    /// What it found when it looked last, and when that was.
    pub fn last_look(&self) -> (Option<&Bytes>, u64) {
        let last = self.heard.iter().rev().find_map(|heard| match heard {
            Heard::Loaded(record) | Heard::Looked(record, _) => Some(record.as_ref()),
            Heard::Said(Said::Conflicted(record) | Said::Reloaded(record)) => Some(record.as_ref()),
            Heard::Said(Said::Saved) | Heard::Closed(_) => None,
        });
        (last.flatten(), self.opened_at.max(self.closed_at))
    }
}

/// Nothing before the last change of mind is wished.
fn first_wished(ops: &[Op]) -> usize {
    ops.iter().rposition(|op| matches!(op, Op::Logout | Op::Discard)).map_or(0, |at| at + 1)
}

fn loaded(record: Option<&Bytes>) -> Loaded {
    record.map_or(Loaded::Absent, |record| Loaded::Found(record.to_vec()))
}
