//! The core and the model live through the same history. After each step, all that a user can see has to be the same.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use coatroom_core::staged::{Staged, Waiting};
use coatroom_core::value::Encoded;
use coatroom_core::{
    Client, Error, Event, Handle, KeyRing, Kind, Listed, Loaded, Rotation, Rules, Session, Swap, Timestamp, Trace,
    Value,
};

use crate::browser::{Browser, NAMES, read_line};
use crate::generate::{BROWSERS, Fault, History, How, Step, core_policy};
use crate::model::exchange::{Call, Cookie, Exchange, Gives, Sent, Stage};
use crate::model::{self, Data, Datum, Kept, LOGIN, Model, Ms, Name, Secret, VISITOR};
use crate::rng::Fixed;
use crate::scenarios::enter;
use crate::store::{Store, StoreBug};
use crate::world::{RING, START};

/// What the two disagree on.
pub type Verdict = Result<(), String>;

/// How often the two agreed on what.
pub type Tally = BTreeMap<&'static str, u64>;

/// One exchange, twice.
struct Pair {
    staged: Staged,
    model: Exchange,
    browser: usize,
    node: usize,
    /// A swap is out, and no answer came.
    in_doubt: bool,
    delivered: bool,
}

/// A swap under way, twice.
type Delayed = (Swap, model::attempt::Attempt);

struct Duel<'a> {
    rules: Arc<Rules>,
    drift: i64,
    now: Ms,
    store: Store,
    model: Model,
    pairs: Vec<Pair>,
    browsers: [Browser; BROWSERS],
    delayed: Vec<Delayed>,
    names: HashMap<Handle, Name>,
    ids: HashMap<String, model::Id>,
    texts: BTreeMap<model::Id, String>,
    /// Every id that was issued, in the order in which it was first seen.
    issued: Vec<model::Id>,
    /// What was there before the last write that need not be on disk.
    unsynced: Option<(Handle, Arc<[u8]>, Kept)>,
    tally: &'a mut Tally,
}

/// Lives through a history, over a store with or without a defect.
pub fn run(history: &History, bug: Option<StoreBug>, tally: &mut Tally) -> Verdict {
    let mut duel = Duel {
        rules: Rules::new(core_policy(&history.policy), KeyRing::parse(RING).unwrap()),
        drift: history.drift,
        now: START,
        store: Store { bug, ..Store::default() },
        model: Model { policy: history.policy.clone(), store: BTreeMap::new() },
        pairs: Vec::new(),
        browsers: Default::default(),
        delayed: Vec::new(),
        names: HashMap::new(),
        ids: HashMap::new(),
        texts: BTreeMap::new(),
        issued: Vec::new(),
        unsynced: None,
        tally,
    };
    for (at, step) in history.steps.iter().enumerate() {
        duel.step(step).map_err(|difference| format!("at step {at}, {step:?}: {difference}"))?;
    }
    duel.probe_all().map_err(|difference| format!("at the end: {difference}"))
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, core: T, model: T) -> Verdict {
    if core == model { Ok(()) } else { Err(format!("{what}: core {core:?}, model {model:?}")) }
}

fn pick(of: &[usize], which: u8) -> Option<usize> {
    of.get(usize::from(which) % of.len().max(1)).copied()
}

impl Duel<'_> {
    fn step(&mut self, step: &Step) -> Verdict {
        match *step {
            Step::Ask { browser, node, how, ref calls } => {
                self.ask(usize::from(browser), usize::from(node), how, calls)?
            }
            Step::Go(which) => {
                if let Some(at) = pick(&self.under_way(), which) {
                    self.go(at)?;
                }
            }
            Step::Finish(which) => {
                if let Some(at) = pick(&self.under_way(), which) {
                    while !self.pairs[at].delivered {
                        self.go(at)?;
                    }
                }
            }
            Step::Fault(which, fault) => {
                let saving = |at: &usize| self.pairs[*at].model.stage == Stage::Saving && !self.pairs[*at].in_doubt;
                let saving: Vec<usize> = self.under_way().into_iter().filter(saving).collect();
                if let Some(at) = pick(&saving, which) {
                    self.fault(at, fault)?;
                }
            }
            Step::Land(which) => {
                if !self.delayed.is_empty() {
                    let (swap, attempt) = self.delayed.remove(usize::from(which) % self.delayed.len());
                    let _nobody_hears = self.swap(&swap, &attempt)?;
                }
            }
            Step::Again(which) => {
                let delivered: Vec<usize> = (0..self.pairs.len()).filter(|at| self.pairs[*at].delivered).collect();
                if let Some(at) = pick(&delivered, which) {
                    self.deliver(at);
                }
            }
            Step::Wait(span) => self.now += span,
            Step::Back(span) => self.now -= span,
            Step::Until(which, off) => self.jump(which, off),
            Step::Copy { from, to, kind, as_kind } => {
                let text = self.jar(from, kind).clone();
                *self.jar(to, as_kind) = text;
            }
            Step::Old { browser, kind, which } => {
                let issued = self.issued.get(usize::from(which) % self.issued.len().max(1));
                if let Some(text) = issued.map(|id| self.texts[id].clone()) {
                    *self.jar(browser, kind) = Some(text);
                }
            }
            Step::Junk { browser, kind } => {
                let jar = self.jar(browser, kind);
                *jar = Some(jar.as_ref().map_or("junk".to_owned(), |text| format!("{}x", &text[..text.len() - 1])));
            }
            Step::Forge { browser } => self.forge(usize::from(browser)),
            Step::Forget => self.forget(),
            Step::Damage { which, newer } => self.damage(which, newer),
        }
        Ok(())
    }

    fn jar(&mut self, browser: u8, kind: u8) -> &mut Option<String> {
        let browser = &mut self.browsers[usize::from(browser) % BROWSERS];
        if kind == 0 { &mut browser.login } else { &mut browser.visitor }
    }

    fn under_way(&self) -> Vec<usize> {
        (0..self.pairs.len()).filter(|at| !self.pairs[*at].delivered).collect()
    }

    fn clock(&self, node: usize) -> Ms {
        if node == 0 { self.now } else { self.now.saturating_add_signed(self.drift) }
    }

    /// What this text is to the model; one character of a junk id may by chance be the right one.
    fn id_of(&self, text: &str) -> Option<model::Id> {
        self.ids.get(text).copied()
    }

    fn ask(&mut self, browser: usize, node: usize, how: How, calls: &[Call]) -> Verdict {
        let jar = &self.browsers[browser];
        let mut header = jar.header();
        let mut sent = [&jar.login, &jar.visitor]
            .map(|text| text.as_ref().map_or(Sent::Absent, |text| Sent::Once(self.id_of(text))));
        for (kind, doubled) in [(LOGIN, How::LoginTwice), (VISITOR, How::VisitorTwice)] {
            if how == doubled {
                header = format!("{0}=; {header}; {0}=x", NAMES[kind].0);
                sent[kind] = Sent::Twice;
            }
        }
        let now = self.clock(node);
        let answers = how != How::StoreAway;
        let staged = self.open(&header, now, answers);
        let mut pair = Pair {
            staged,
            model: Exchange::open(&self.model, self.pairs.len(), sent, now, answers),
            browser,
            node,
            in_doubt: false,
            delivered: false,
        };
        if let Ok(session) = pair.staged.session() {
            self.see(session, &pair.model, true)?;
            for call in calls {
                let core = apply(session, *call);
                same(&format!("{call:?}"), core, pair.model.call(&self.model, *call))?;
                if !self.model.policy.strict && !calls.contains(&Call::Strict) {
                    self.see(session, &pair.model, false)?;
                }
            }
        }
        if let Some(base) = &pair.model.base {
            *self.tally.entry(base.worth.name()).or_default() += 1;
        }
        self.pairs.push(pair);
        self.compare(self.pairs.len() - 1)
    }

    fn open(&self, header: &str, now: Ms, answers: bool) -> Staged {
        let mut staged = Staged::from(self.rules.open(header.as_bytes(), Timestamp::from_unix_ms(now)));
        while let Waiting::Load(handle) = staged.waiting() {
            let loaded = if answers { self.store.load(handle) } else { Loaded::Unavailable };
            staged.found(loaded).unwrap();
        }
        staged
    }

    /// Everything that a handler can see. Where strict mode would take it for reading, only what it does not count.
    fn see(&self, session: &mut Session, model: &Exchange, at_opening: bool) -> Verdict {
        same("live", session.is_live(), model.base.is_some())?;
        same("state", session.state().map(|state| state.name()), model.state)?;
        let who = session.principal().map(|who| {
            let roles: Vec<String> = who.roles().map(str::to_owned).collect();
            (who.name().to_owned(), roles, who.level(), who.authenticated_at().as_unix_ms())
        });
        let expected = model.who().map(|who| (who.name.to_owned(), vec!["user".to_owned()], who.level, who.since));
        same("principal", who, expected)?;
        let trace = session.trace();
        self.see_trace(&trace, model, model.now)?;
        if at_opening {
            same("events", self.events(&trace.events), model.events.clone())?;
        }
        if !self.model.policy.strict {
            let keys = session.keys();
            let data: BTreeMap<String, Option<Datum>> =
                keys.into_iter().map(|key| (key.clone(), datum(session.get(&key)))).collect();
            let expected: Data = model.data(&self.model);
            same("data", data, expected.into_iter().map(|(key, value)| (key.to_owned(), Some(value))).collect())?;
        }
        Ok(())
    }

    /// Name, generation, and the time that is left.
    fn see_trace(&self, trace: &Trace, model: &Exchange, now: Ms) -> Verdict {
        let at = model.at.as_deref();
        same("session", trace.handle.map(|handle| self.names.get(&handle).copied()), at.map(|at| Some(at.id.session)))?;
        same("generation", trace.generation, at.map(|at| at.id.generation))?;
        let left = |until: Ms| u128::from(until.saturating_sub(now));
        let idle = at.and_then(|at| at.idle.map(|idle| left(at.seen + idle)));
        same("idle time left", trace.idle_left.map(|left| left.as_millis()), idle)?;
        let absolute = at.map(|at| left(at.deadline));
        same("absolute time left", trace.absolute_left.map(|left| left.as_millis()), absolute)
    }

    fn events(&self, events: &[Event]) -> Vec<model::Event> {
        let read = |event: &Event| {
            let rest = match event {
                Event::Ended(_, cause) => cause.name(),
                Event::Junk(Kind::Login) | Event::Duplicate(Kind::Login) => "login",
                Event::Junk(Kind::Visitor) | Event::Duplicate(Kind::Visitor) => "visitor",
                _ => "",
            };
            (event.name(), event.handle().and_then(|handle| self.names.get(&handle).copied()), rest)
        };
        events.iter().map(read).collect()
    }

    fn go(&mut self, at: usize) -> Verdict {
        let pair = &mut self.pairs[at];
        match pair.model.stage {
            Stage::Open => {
                let now = if pair.node == 0 { self.now } else { self.now.saturating_add_signed(self.drift) };
                let mut rng = Fixed::new(1 + at as u64);
                pair.staged.close(Timestamp::from_unix_ms(now), &mut rng).map_err(|error| error.to_string())?;
                pair.model.close(&self.model, now);
            }
            Stage::Saving if pair.in_doubt => {
                pair.in_doubt = false;
                let handle = pair.staged.swap().unwrap().handle;
                pair.staged.reloaded(self.store.load(handle)).unwrap();
                enter(&mut pair.staged);
                pair.model.met(&self.model, true);
            }
            Stage::Saving => {
                let (swap, attempt) = self.waiting(at);
                let answer = self.swap(&swap, &attempt)?;
                let pair = &mut self.pairs[at];
                match answer {
                    Ok(()) => {
                        pair.staged.entered(Listed::default()).unwrap();
                        pair.model.saved(&self.model);
                    }
                    Err(current) => {
                        pair.staged.conflicted(current).unwrap();
                        pair.model.met(&self.model, false);
                    }
                }
            }
            Stage::Done | Stage::Failed(_) => {
                pair.delivered = true;
                self.deliver(at);
                return Ok(());
            }
        }
        self.compare(at)
    }

    fn waiting(&self, at: usize) -> Delayed {
        let pair = &self.pairs[at];
        (pair.staged.swap().unwrap().clone(), pair.model.attempt.clone().unwrap())
    }

    /// Both stores take the swap, or both refuse it.
    fn swap(&mut self, swap: &Swap, attempt: &model::attempt::Attempt) -> Result<Result<(), Option<Vec<u8>>>, String> {
        let before = self.store.records.get(&swap.handle).cloned();
        let kept = self.model.store.get(&attempt.name).cloned();
        let answer = self.store.swap(swap);
        let taken = self.model.swap(attempt.name, attempt.believed.as_ref(), attempt.new.clone());
        same("swap taken", answer.is_ok(), taken)?;
        if taken {
            self.unsynced = match (before, kept) {
                (Some(before), Some(kept)) if !swap.durable => Some((swap.handle, before, kept)),
                _ => None,
            };
            self.probe(attempt.name)?;
        }
        Ok(answer)
    }

    fn fault(&mut self, at: usize, fault: Fault) -> Verdict {
        let (swap, attempt) = self.waiting(at);
        match fault {
            Fault::Unheard => drop(self.swap(&swap, &attempt)?),
            Fault::Lost => {}
            Fault::Delayed => self.delayed.push((swap, attempt)),
            Fault::GivenUp => {
                let pair = &mut self.pairs[at];
                pair.staged.gave_up(Error::Busy).unwrap();
                pair.model.gave_up(&self.model, "busy");
                return self.compare(at);
            }
        }
        self.pairs[at].in_doubt = true;
        Ok(())
    }

    fn deliver(&mut self, at: usize) {
        let pair = &self.pairs[at];
        if let Ok(reply) = pair.staged.reply() {
            let browser = &mut self.browsers[pair.browser];
            reply.set_cookies().for_each(|line| browser.obey(line));
        }
    }

    /// What an exchange waits for, or how it ended.
    fn compare(&mut self, at: usize) -> Verdict {
        let pair = &self.pairs[at];
        let (staged, model) = (&pair.staged, &pair.model);
        match staged.waiting() {
            Waiting::Handler => same("stage", Stage::Open, model.stage),
            Waiting::Swap => {
                same("stage", Stage::Saving, model.stage)?;
                let (swap, attempt) = self.waiting(at);
                if swap.expected.is_none() && self.names.insert(swap.handle, attempt.name).is_some() {
                    return Err("a session is created under a name that was used before".to_owned());
                }
                same("session to write", self.names.get(&swap.handle), Some(&attempt.name))?;
                same("creates", swap.expected.is_none(), attempt.believed.is_none())?;
                same("removes", swap.new.is_none(), attempt.new.is_none())?;
                same("durable", swap.durable, attempt.durable)
            }
            Waiting::Failed => {
                let failure = staged.failure().unwrap();
                let code = failure.error.code();
                same("stage", Stage::Failed(code), model.stage)?;
                same("events", self.events(&failure.events), model.events.clone())?;
                let happened = model.events.iter().map(event_name).chain([code]);
                happened.for_each(|what| *self.tally.entry(what).or_default() += 1);
                Ok(())
            }
            Waiting::Done => {
                same("stage", Stage::Done, model.stage)?;
                let reply = staged.reply().unwrap();
                let trace = reply.trace();
                let written: Vec<_> = trace.written.iter().map(|change| change.name()).collect();
                same("written", written, model.written.clone())?;
                same("events", self.events(&trace.events), model.events.clone())?;
                self.see_trace(trace, model, model.now)?;
                let lines: Vec<String> = reply.set_cookies().map(str::to_owned).collect();
                let private =
                    (reply.vary(None).as_deref(), reply.cache_control(None)) == (Some("Cookie"), Some("no-store"));
                same("kept from caches", private || lines.is_empty(), true)?;
                let cookies = model.cookies;
                let happened = model.events.iter().map(event_name).chain(model.written.iter().copied());
                happened.for_each(|what| *self.tally.entry(what).or_default() += 1);
                self.see_cookies(&lines, cookies)
            }
            other => Err(format!("waits for {other:?}")),
        }
    }

    fn see_cookies(&mut self, lines: &[String], expected: [Cookie; 2]) -> Verdict {
        let mut found = [Cookie::Keep; 2];
        for line in lines {
            let (kind, text, removes) = read_line(line);
            let kind = usize::from(kind == Kind::Visitor);
            same("cookie lines of one name", found[kind], Cookie::Keep)?;
            found[kind] = match expected[kind] {
                _ if removes => Cookie::Remove,
                Cookie::Set(id) => Cookie::Set(self.learn(text, id)?),
                _ => return Err(format!("an unexpected cookie: {}", &line[..20])),
            };
        }
        same("cookies", found, expected)
    }

    /// The same id is the same text, and another id is another.
    fn learn(&mut self, text: &str, id: model::Id) -> Result<model::Id, String> {
        let read = crate::browser::Id::read(text).ok_or("a cookie that holds no id")?;
        same("session of an id", self.names.get(&read.handle), Some(&id.session))?;
        same("generation of an id", read.generation, id.generation)?;
        if let Some(known) = self.texts.get(&id) {
            same("text of an id", text, known)?;
        } else if self.ids.insert(text.to_owned(), id).is_some() {
            return Err(format!("another id is the same text: {id:?}"));
        } else {
            self.texts.insert(id, text.to_owned());
            self.issued.push(id);
        }
        Ok(id)
    }

    /// Whether the newest ids of this session open what they should, now.
    fn probe(&self, name: Name) -> Verdict {
        self.issued.iter().rev().filter(|id| id.session == name).take(4).try_for_each(|id| self.present(*id, None))
    }

    fn probe_all(&self) -> Verdict {
        self.issued
            .iter()
            .try_for_each(|id| [LOGIN, VISITOR].into_iter().try_for_each(|kind| self.present(*id, Some(kind))))
    }

    fn present(&self, id: model::Id, kind: Option<usize>) -> Verdict {
        let is_login = match self.model.store.get(&id.session) {
            Some(Kept::Session(session)) => session.who.is_some(),
            _ => true,
        };
        let kind = kind.unwrap_or(usize::from(!is_login));
        let mut sent = [Sent::Absent; 2];
        sent[kind] = Sent::Once(Some(id));
        let mut staged = self.open(&format!("{}={}", NAMES[kind].0, self.texts[&id]), self.now, true);
        let model = Exchange::open(&self.model, usize::MAX, sent, self.now, true);
        match staged.session() {
            Ok(session) => self.see(session, &model, true),
            Err(_) => same("probe", Stage::Failed(staged.failure().unwrap().error.code()), model.stage),
        }
        .map_err(|difference| format!("presenting {id:?}: {difference}"))
    }

    fn jump(&mut self, which: u8, off: i8) {
        let mut moments = Vec::new();
        for kept in self.model.store.values() {
            if let Kept::Session(session) = kept {
                moments.extend(session.moments(&self.model.policy));
            }
        }
        moments.extend(self.under_way().iter().map(|at| self.pairs[*at].model.opened + self.model.policy.grace + 1));
        moments.retain(|moment| *moment > self.now);
        moments.sort_unstable();
        moments.dedup();
        // Mostly the next one.
        let nearest = usize::from(which) % 4;
        if let Some(moment) = moments.get(nearest).or(moments.first()) {
            self.now = moment.saturating_add_signed(i64::from(off));
        }
    }

    /// In a copy of the store, the id is replaced in another way than here.
    fn forge(&mut self, browser: usize) {
        let header = self.browsers[browser].header();
        let mut store = self.store.clone();
        let mut staged = self.open(&header, self.now, true);
        let Ok(session) = staged.session() else { return };
        if session.elevate(9).is_err() {
            return;
        }
        let number = self.issued.len();
        staged.close(Timestamp::from_unix_ms(self.now), &mut Fixed::new(u64::MAX - number as u64)).unwrap();
        while let Ok(swap) = staged.swap() {
            match store.swap(&swap.clone()) {
                Ok(()) => staged.entered(Listed::default()).unwrap(),
                Err(_) => return,
            }
        }
        let Ok(reply) = staged.reply() else { return };
        let Some(line) = reply.set_cookies().next().map(str::to_owned) else { return };
        let text = read_line(&line).1;
        let Some(read) = crate::browser::Id::read(text) else { return };
        let Some(session) = self.names.get(&read.handle) else { return };
        let id = model::Id { session: *session, generation: read.generation, secret: Secret::Forged(number) };
        self.ids.insert(text.to_owned(), id);
        self.texts.insert(id, text.to_owned());
        self.issued.push(id);
        self.browsers[browser].login = Some(text.to_owned());
    }

    fn forget(&mut self) {
        if let Some((handle, record, kept)) = self.unsynced.take() {
            self.model.store.insert(self.names[&handle], kept);
            self.store.records.insert(handle, record);
        }
    }

    fn damage(&mut self, which: u8, newer: bool) {
        let handle = self.store.records.keys().nth(usize::from(which) % self.store.records.len().max(1)).copied();
        if let Some(handle) = handle {
            let (record, kept): (&[u8], _) = if newer { (&[3], Kept::Newer) } else { (&[2, 9], Kept::Damaged) };
            self.store.records.insert(handle, record.into());
            self.model.store.insert(self.names[&handle], kept);
            self.unsynced = None;
        }
    }
}

/// The name of an event; of an ending, its cause.
fn event_name(event: &model::Event) -> &'static str {
    if event.0 == "ended" { event.2 } else { event.0 }
}

fn apply(session: &mut Session, call: Call) -> Gives {
    let nothing =
        |result: Result<(), Error>| result.map_or_else(|error| Gives::Error(error.code()), |()| Gives::Nothing);
    match call {
        Call::Get(key) => return Gives::Value(datum(session.get(key))),
        Call::Keys => {
            let mut keys: Vec<_> = session.keys().iter().filter_map(|key| known(key)).collect();
            keys.sort_unstable();
            return Gives::Keys(keys);
        }
        Call::Set(key, value) => return nothing(session.set(key, value)),
        Call::SetText(key) => return nothing(session.set(key, "text")),
        Call::Add(key, n) => {
            return session.add(key, n).map_or_else(|error| Gives::Error(error.code()), Gives::Sum);
        }
        Call::Bump(key, n) => return nothing(session.update(key, Box::new(move |present| bump(present, n)))),
        Call::Flip(key) => {
            return nothing(
                session.update(key, Box::new(|present| present.map_or_else(|| encoded(1).map(Some), |_| Ok(None)))),
            );
        }
        Call::Login(name, level) => return nothing(session.login(name, &["user"], level)),
        Call::Elevate(level) => return nothing(session.elevate(level)),
        Call::Label(label) => {
            return nothing(session.set_client(Client { label: format!("{label}"), address: String::new() }));
        }
        Call::Rotate => {
            return Gives::Rotation(match session.rotate() {
                Rotation::Rotated => "Rotated",
                Rotation::Pending => "Pending",
                Rotation::Postponed => "Postponed",
            });
        }
        Call::Remove(key) => session.remove(key),
        Call::Clear => session.clear(),
        Call::Logout => session.logout(),
        Call::Discard => session.discard(),
        Call::Strict => session.strict(),
        Call::HeadSent => session.head_sent(),
    }
    Gives::Nothing
}

fn bump(present: Option<&[u8]>, n: i64) -> Result<Option<Encoded>, Error> {
    let present = match present.map(Value::decode) {
        None => 0,
        Some(Ok(Value::Int(present))) => present,
        Some(_) => return Err(Error::UpdateRefused),
    };
    encoded(present.checked_add(n).ok_or(Error::UpdateRefused)?).map(Some)
}

fn encoded(n: i64) -> Result<Encoded, Error> {
    Ok(Value::Int(n).encode()?)
}

fn datum(value: Option<Value>) -> Option<Datum> {
    value.map(|value| if let Value::Int(n) = value { Datum::Int(n) } else { Datum::Text })
}

fn known(key: &str) -> Option<&'static str> {
    ["a", "bb", "c"].into_iter().find(|known| *known == key)
}

/// The shortest part of a failing history that still fails, found by leaving out steps and calls.
pub fn shrink(history: &History, bug: Option<StoreBug>) -> (History, String) {
    let fails = |history: &History| run(history, bug, &mut Tally::new()).err();
    let mut best = history.clone();
    let mut difference = fails(&best).unwrap_or_default();
    let mut size = best.steps.len();
    while size > 0 {
        let mut at = 0;
        let mut cut = false;
        while at < best.steps.len() {
            let mut shorter = best.clone();
            shorter.steps.drain(at..(at + size).min(best.steps.len()));
            match fails(&shorter) {
                Some(found) => (best, difference, cut) = (shorter, found, true),
                None => at += size,
            }
        }
        size = if cut && size == 1 { 1 } else { size / 2 };
    }
    for at in 0..best.steps.len() {
        let mut call = 0;
        while let Step::Ask { calls, .. } = &best.steps[at]
            && call < calls.len()
        {
            let mut shorter = best.clone();
            if let Step::Ask { calls, .. } = &mut shorter.steps[at] {
                calls.remove(call);
            }
            match fails(&shorter) {
                Some(found) => (best, difference) = (shorter, found),
                None => call += 1,
            }
        }
    }
    (best, difference)
}
