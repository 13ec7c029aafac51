//! A trace, played on the shipped functions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coatroom_core::staged::{Staged, Waiting};
use coatroom_core::{Error, Handle, Kind, Listed, Loaded, Rules, Stamp, State, Swap, Timestamp};

use super::{ATTACKER, BROWSERS, Limits, Step, THIEF, VICTIM};
use crate::browser::{Browser, Id, read_line};
use crate::ops::{Op, mark, times};
use crate::record::{Front, Previous, data};
use crate::rng::Fixed;
use crate::scenarios::enter;
use crate::world::START;

struct Exchange {
    browser: usize,
    node: usize,
    ops: Vec<Op>,
    header: String,
    staged: Option<Staged>,
    phase: &'static str,
    swap: Option<Swap>,
    creates: usize,
    attempts: usize,
}

/// Where a trace has got to.
pub struct Player {
    rules: Arc<Rules>,
    limits: Limits,
    now: i64,
    /// Under each handle what a crash of the store may leave there: first what is on disk, then what came later.
    store: BTreeMap<Handle, Vec<Vec<u8>>>,
    browsers: [Browser; 3],
    exchanges: Vec<Exchange>,
    delayed: Vec<Swap>,
    /// Names that the model gives, and what they stand for here.
    handles: BTreeMap<Handle, usize>,
    commits: BTreeMap<[u8; 8], usize>,
    secrets: BTreeMap<(Handle, u32), [u8; 32]>,
}

type Views = (BTreeMap<usize, String>, [[String; 2]; 3]);

impl Player {
    pub fn new(limits: Limits) -> Self {
        Self {
            rules: limits.rules(),
            limits,
            now: 100,
            store: BTreeMap::new(),
            browsers: Default::default(),
            exchanges: Vec::new(),
            delayed: Vec::new(),
            handles: BTreeMap::new(),
            commits: BTreeMap::new(),
            secrets: BTreeMap::new(),
        }
    }

    /// Takes a step and says what it did; an error if the step is not possible here.
    pub fn step(&mut self, step: &Step) -> Result<String, String> {
        if !self.is_possible(step) {
            return Err(format!("{step:?} is not possible"));
        }
        let before = self.views();
        let sent = self.sent(step);
        let number = self.take(step);
        let after = self.views();
        let mut parts = Vec::from_iter(number.map(|number| self.view(number)));
        parts.extend(changes(&before, &after, sent.as_deref()));
        Ok(parts.join(" | "))
    }

    pub fn is_possible(&self, step: &Step) -> bool {
        let phase = |number: usize| self.exchanges.get(number).map_or("", |exchange| exchange.phase);
        match *step {
            Step::Send { .. } | Step::Copy => true,
            Step::Double { exchange, .. } => exchange < self.exchanges.len(),
            Step::Open(it) => matches!(phase(it), "sent" | "loading"),
            Step::OpenFails(it) => {
                phase(it) == "loading"
                    || phase(it) == "sent" && matches!(self.opening(&self.exchanges[it]).waiting(), Waiting::Load(_))
            }
            Step::Close(it) => phase(it) == "open",
            Step::Swapped(it) | Step::Unheard(it) | Step::Lost(it) | Step::Delayed(it) => phase(it) == "saving",
            Step::Land(it) => it < self.delayed.len(),
            Step::Reload(it) => phase(it) == "uncertain",
            Step::Deliver(it) => phase(it) == "answered",
            Step::Tick(span) => span > 0,
            Step::Plant { .. } | Step::Move => self.browsers[ATTACKER].visitor.is_some(),
            Step::Crash { handle, left } => {
                self.handle(handle).is_some_and(|handle| left > 0 && left < self.store[&handle].len())
            }
        }
    }

    /// The handle of that name, if something is stored under it.
    fn handle(&self, name: usize) -> Option<Handle> {
        self.store.keys().find(|handle| self.handles.get(handle) == Some(&name)).copied()
    }

    fn clock(&self, exchange: &Exchange) -> Timestamp {
        let seconds = self.now + self.limits.ahead[exchange.node];
        Timestamp::from_unix_ms(START + u64::try_from(seconds).expect("no trace starts before time") * 1000)
    }

    fn opening(&self, exchange: &Exchange) -> Staged {
        Staged::from(self.rules.open(exchange.header.as_bytes(), self.clock(exchange)))
    }

    fn load(&self, handle: Handle) -> Option<&Vec<u8>> {
        self.store.get(&handle).and_then(|kept| kept.last())
    }

    /// Whether the store took it.
    fn apply(&mut self, swap: &Swap) -> bool {
        if self.load(swap.handle).and_then(|record| Stamp::of(record)) != swap.expected {
            return false;
        }
        match &swap.new {
            Some(record) => {
                let kept = self.store.entry(swap.handle).or_default();
                if swap.durable {
                    kept.clear();
                }
                kept.push(record.clone());
            }
            None => drop(self.store.remove(&swap.handle)),
        }
        true
    }

    /// The number of the exchange concerned.
    fn take(&mut self, step: &Step) -> Option<usize> {
        match *step {
            Step::Send { browser, node, ref ops } => Some(self.send(browser, node, ops.clone(), None)),
            Step::Double { exchange, node } => {
                let Exchange { browser, ops, header, .. } = &self.exchanges[exchange];
                let (browser, ops, header) = (*browser, ops.clone(), header.clone());
                Some(self.send(browser, node, ops, Some(header)))
            }
            Step::Open(it) => Some(self.open(it, true)),
            Step::OpenFails(it) => Some(self.open(it, false)),
            Step::Close(it) => {
                let at = self.clock(&self.exchanges[it]);
                let exchange = &mut self.exchanges[it];
                let staged = exchange.staged.as_mut().unwrap();
                let session = staged.session().unwrap();
                exchange.ops.iter().for_each(|op| op.apply(session, it));
                staged.close(at, &mut Fixed::new(1 + it as u64)).unwrap();
                Some(self.go_on(it))
            }
            Step::Swapped(it) => {
                let swap = self.exchanges[it].swap.clone().unwrap();
                let done = self.apply(&swap);
                let present = self.load(swap.handle).cloned();
                let staged = self.exchanges[it].staged.as_mut().unwrap();
                if done { staged.entered(Listed::default()) } else { staged.conflicted(present) }.unwrap();
                // What it finds may be its own login, of an attempt that was in doubt.
                enter(staged);
                Some(self.go_on(it))
            }
            Step::Unheard(it) | Step::Lost(it) | Step::Delayed(it) => {
                let swap = self.exchanges[it].swap.clone().unwrap();
                match step {
                    Step::Unheard(_) => drop(self.apply(&swap)),
                    Step::Delayed(_) => self.delayed.push(swap),
                    _ => {}
                }
                self.exchanges[it].phase = "uncertain";
                Some(it)
            }
            Step::Land(it) => {
                let swap = self.delayed[it].clone();
                self.apply(&swap);
                None
            }
            Step::Reload(it) => {
                let handle = self.exchanges[it].swap.as_ref().unwrap().handle;
                let loaded = self.load(handle).map_or(Loaded::Absent, |record| Loaded::Found(record.clone()));
                let staged = self.exchanges[it].staged.as_mut().unwrap();
                staged.reloaded(loaded).unwrap();
                enter(staged);
                Some(self.go_on(it))
            }
            Step::Deliver(it) => {
                let exchange = &mut self.exchanges[it];
                let lines = exchange
                    .staged
                    .as_ref()
                    .unwrap()
                    .reply()
                    .map(|reply| reply.set_cookies().map(str::to_owned).collect::<Vec<_>>());
                let browser = exchange.browser;
                exchange.phase = "delivered";
                lines.unwrap_or_default().iter().for_each(|line| self.browsers[browser].obey(line));
                Some(it)
            }
            Step::Tick(span) => {
                self.now += i64::try_from(span).unwrap();
                None
            }
            Step::Plant { login } => {
                let planted = self.browsers[ATTACKER].visitor.clone();
                let victim = &mut self.browsers[VICTIM];
                *(if login { &mut victim.login } else { &mut victim.visitor }) = planted;
                None
            }
            Step::Move => {
                self.browsers[ATTACKER].login = self.browsers[ATTACKER].visitor.clone();
                None
            }
            Step::Copy => {
                self.browsers[THIEF] = self.browsers[VICTIM].clone();
                None
            }
            Step::Crash { handle, left } => {
                let handle = self.handle(handle).unwrap();
                self.store.get_mut(&handle).unwrap().truncate(left);
                None
            }
        }
    }

    fn send(&mut self, browser: usize, node: usize, ops: Vec<Op>, header: Option<String>) -> usize {
        let header = header.unwrap_or_else(|| self.browsers[browser].header());
        self.exchanges.push(Exchange {
            browser,
            node,
            ops,
            header,
            staged: None,
            phase: "sent",
            swap: None,
            creates: 0,
            attempts: 0,
        });
        self.exchanges.len() - 1
    }

    fn open(&mut self, it: usize, answers: bool) -> usize {
        let mut staged = self.exchanges[it].staged.take().unwrap_or_else(|| self.opening(&self.exchanges[it]));
        if let Waiting::Load(handle) = staged.waiting() {
            let found = self.load(handle).map_or(Loaded::Absent, |record| Loaded::Found(record.clone()));
            staged.found(if answers { found } else { Loaded::Unavailable }).unwrap();
        }
        let exchange = &mut self.exchanges[it];
        exchange.phase = match staged.waiting() {
            Waiting::Load(_) => "loading",
            Waiting::Handler => "open",
            _ => "answered",
        };
        exchange.staged = Some(staged);
        it
    }

    /// After closing or an answer of the store.
    fn go_on(&mut self, it: usize) -> usize {
        let exchange = &mut self.exchanges[it];
        let Ok(swap) = exchange.staged.as_ref().unwrap().swap() else {
            exchange.phase = "answered";
            return it;
        };
        exchange.phase = "saving";
        if swap.expected.is_none() && !self.handles.contains_key(&swap.handle) {
            self.handles.insert(swap.handle, 10 * it + exchange.creates);
            exchange.creates += 1;
        }
        if let Some(stamp) = swap.new.as_deref().and_then(Stamp::of) {
            let name = it + 100 * exchange.attempts;
            self.commits.entry(*stamp.as_bytes().last_chunk().unwrap()).or_insert(name);
        }
        exchange.attempts += 1;
        exchange.swap = Some(swap.clone());
        it
    }

    /// How many exchanges there are.
    pub fn len(&self) -> usize {
        self.exchanges.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.exchanges.is_empty()
    }

    /// The exchanges that are under way.
    pub fn busy(&self) -> Vec<usize> {
        (0..self.len()).filter(|it| self.exchanges[*it].phase != "delivered").collect()
    }

    /// What an exchange does next if nothing goes wrong.
    pub fn natural(&self, it: usize) -> Option<Step> {
        Some(match self.exchanges[it].phase {
            "sent" | "loading" => Step::Open(it),
            "open" => Step::Close(it),
            "saving" => Step::Swapped(it),
            "uncertain" => Step::Reload(it),
            "answered" => Step::Deliver(it),
            _ => return None,
        })
    }

    // ---- What can be seen from outside

    fn views(&mut self) -> Views {
        let records: Vec<_> = self.store.keys().copied().collect();
        let store =
            records.into_iter().map(|handle| (self.handles[&handle], self.front(self.load(handle).unwrap()))).collect();
        let browsers = self.browsers.clone();
        let seen = browsers.map(|browser| {
            [browser.login, browser.visitor].map(|text| text.map_or("-".to_owned(), |text| self.id(&text)))
        });
        (store, seen)
    }

    /// What the swap puts in place that the step is about.
    fn sent(&self, step: &Step) -> Option<String> {
        let swap = match *step {
            Step::Land(it) => self.delayed.get(it),
            Step::Swapped(it) | Step::Unheard(it) => self.exchanges[it].swap.as_ref(),
            _ => None,
        };
        swap.map(|swap| self.replacement(swap))
    }

    fn replacement(&self, swap: &Swap) -> String {
        swap.new.as_deref().map_or("gone".to_owned(), |record| self.front(record))
    }

    /// Handle and generation of an id. The same of both must mean the same secret.
    fn id(&mut self, text: &str) -> String {
        let id = Id::read(text).expect("browsers hold ids");
        let secret = *self.secrets.entry((id.handle, id.generation)).or_insert(id.secret);
        let name = self.handles.get(&id.handle).map_or("?".to_owned(), usize::to_string);
        format!("{name}.{}{}", id.generation, if secret == id.secret { "" } else { " with another secret" })
    }

    fn commit(&self, bytes: &[u8]) -> String {
        let commit: [u8; 8] = bytes.try_into().unwrap();
        self.commits.get(&commit).map_or_else(|| format!("{commit:?}"), usize::to_string)
    }

    fn front(&self, record: &[u8]) -> String {
        let Some(front) = Front::read(record) else { return "damaged".to_owned() };
        let commits: Vec<_> =
            record[10..42].chunks(8).filter(|bytes| **bytes != [0; 8]).map(|bytes| self.commit(bytes)).collect();
        let previous = match front.previous {
            Previous::None => "-".to_owned(),
            Previous::Pending => "pending".to_owned(),
            Previous::Until(until) => format!("grace@{}", time(until)),
        };
        let cause = match front.cause {
            None => "",
            Some(0) => "logout",
            Some(1) => "idle",
            Some(2) => "absolute",
            Some(3) => "not activated",
            Some(4) => "reuse",
            Some(5) => "replaced",
            Some(_) => "?",
        };
        let end = if cause.is_empty() { "-".to_owned() } else { format!("{cause}@{}", time(front.ended)) };
        let idle = if front.idle == self.limits.idle * 1000 { "" } else { " another idle limit" };
        format!(
            "v{} {} {} {} {} g{} {} {} {previous} f{} {} {end} {}{idle}",
            front.version,
            commits.join(","),
            time(front.created),
            time(front.seen),
            time(front.deadline),
            front.generation,
            time(front.issued),
            time(front.confirmed),
            front.floor,
            front.principal.as_deref().unwrap_or("-"),
            written(&data(record)),
        )
    }

    fn view(&mut self, it: usize) -> String {
        let phase = self.exchanges[it].phase;
        let more = match phase {
            "open" => self.found(it),
            "saving" => self.swap(it),
            "answered" => self.answer(it),
            _ => return phase.to_owned(),
        };
        format!("{phase} {more}")
    }

    fn found(&mut self, it: usize) -> String {
        let session = self.exchanges[it].staged.as_mut().unwrap().session().unwrap();
        let state = session.state().map_or("None", State::name);
        let principal = session.principal().map_or("-".to_owned(), |principal| principal.name().to_owned());
        let values: BTreeMap<_, _> = session
            .keys()
            .into_iter()
            .map(|key| (key.clone(), session.get(&key).expect("a key that is there")))
            .collect();
        let handle = session.handle();
        let header = self.exchanges[it].header.clone();
        let id = handle.map_or("-".to_owned(), |handle| {
            let kind = if principal == "-" { Kind::Visitor } else { Kind::Login };
            let held = header.split("; ").map(|pair| pair.split_once('=').unwrap().1);
            let id = Id::in_header(&header, kind).filter(|id| id.handle == handle);
            let text = held.into_iter().find(|text| id.is_some() && Id::read(text) == id);
            text.map_or("?".to_owned(), |text| self.id(text))
        });
        format!("{state} {principal} {id} {}", written(&values))
    }

    fn swap(&self, it: usize) -> String {
        let swap = self.exchanges[it].swap.as_ref().unwrap();
        let expected = swap.expected.map_or("none".to_owned(), |stamp| {
            let (version, commit) = stamp.as_bytes().split_at(8);
            format!("{}.{}", u64::from_be_bytes(version.try_into().unwrap()), self.commit(commit))
        });
        let durable = if swap.durable { " durable" } else { "" };
        format!("{} over {expected}{durable}: {}", self.handles[&swap.handle], self.replacement(swap))
    }

    fn answer(&mut self, it: usize) -> String {
        let staged = self.exchanges[it].staged.as_ref().unwrap();
        let error = staged.failure().map_or("ok", |failure| Error::code(failure.error));
        let lines: Vec<_> =
            staged.reply().map(|reply| reply.set_cookies().map(str::to_owned).collect()).unwrap_or_default();
        let mut cookies = [const { Vec::new() }; 2];
        for line in &lines {
            let (kind, value, removes) = read_line(line);
            let seen = if removes { "clear".to_owned() } else { self.id(value) };
            cookies[usize::from(kind == Kind::Visitor)].push(seen);
        }
        let [login, visitor] = cookies.map(|lines| all(&lines));
        format!("{error} {login} {visitor}")
    }
}

fn all(words: &[String]) -> String {
    if words.is_empty() { "-".to_owned() } else { words.join(",") }
}

/// Seconds since the start.
fn time(millis: u64) -> String {
    match millis {
        0 => "-".to_owned(),
        _ if millis >= START && (millis - START).is_multiple_of(1000) => ((millis - START) / 1000).to_string(),
        _ => format!("{millis} ms"),
    }
}

/// Who set "a" and "b", and how often each exchange added to "n".
fn written(data: &BTreeMap<String, coatroom_core::Value>) -> String {
    let mut words = Vec::new();
    for (key, value) in data {
        match (key.as_str(), value) {
            ("a" | "b", coatroom_core::Value::Int(value)) => words.push(format!("{key}:{}", value - mark(0))),
            ("n", coatroom_core::Value::Int(sum)) => {
                let each = (0..20).map(|it| (it, times(*sum, it))).filter(|(_, times)| *times != 0);
                words.extend(each.map(|(it, times)| format!("n:{it}*{times}")));
            }
            _ => words.push(format!("{key} is {value:?}")),
        }
    }
    all(&words)
}

/// What is another than before: records by handle, and browsers.
fn changes(before: &Views, after: &Views, sent: Option<&str>) -> Vec<String> {
    let handles: BTreeSet<_> = before.0.keys().chain(after.0.keys()).collect();
    let changed = handles.into_iter().filter(|handle| before.0.get(handle) != after.0.get(handle));
    let records = changed.map(|handle| match after.0.get(handle).map_or("gone", String::as_str) {
        record if sent == Some(record) => format!("{handle} as sent"),
        record => format!("{handle}: {record}"),
    });
    let browsers = (0..3).filter(|browser| before.1[*browser] != after.1[*browser]);
    let held = browsers.map(|browser| format!("{} holds {}", BROWSERS[browser], after.1[browser].join(" ")));
    records.chain(held).collect()
}
