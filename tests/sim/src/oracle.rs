//! What can be said of a run from the outside: by requests, replies, the ids in them and the moments at which they came.
//! It knows nothing of how the core works, and shares nothing with the invariants of the search.
//!
//! Moments are counted in two ways: `tick` counts events in the order in which the one thread of the simulation ran them,
//! so that "after" is never in doubt; milliseconds are for limits alone.

use std::collections::{BTreeMap, BTreeSet};

use coatroom_core::{Cause, Change, Error, Event, Handle, Loaded, Settings, Stamp, Swap};
use coatroom_store::Swapped;
use coatroom_tests::browser::{Id, read_line};
use coatroom_tests::ops::{share, times};

/// How many additions share one key: a sum of powers of eight tells each of them apart.
const PER_KEY: usize = 20;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    Read,
    Add(usize),
    /// The same sum, as code does it that reads, computes and sets: in its turn.
    AddInTurn(usize),
    Login(&'static str),
    Elevate,
    Rotate,
    Logout,
    /// Ends all sessions of whoever is logged in.
    RevokeAll,
}

/// Who sends a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// A person with a browser, by the name to log in with.
    Honest(&'static str),
    /// Holds a copy of this person's cookies.
    Thief(&'static str),
    /// Plants ids, and never logs in.
    Planter,
}

/// What a handler saw of its session.
#[derive(Clone, Debug)]
pub struct View {
    pub handle: Option<Handle>,
    pub principal: Option<String>,
    pub sums: Vec<i64>,
}

/// What a node has to say once every write is acknowledged.
#[derive(Clone, Debug)]
pub struct Answer {
    pub handle: Option<Handle>,
    pub cookies: Vec<String>,
    pub written: Vec<Change>,
}

pub struct Request {
    pub who: Who,
    pub op: Op,
    pub header: String,
    pub sent_ms: u64,
    node: usize,
    began: u64,
    began_ms: u64,
    closing: u64,
    closing_ms: u64,
    view: Option<View>,
    opened_ms: u64,
    /// The id that was admitted.
    admitted: Option<Id>,
    pub result: Option<Result<Answer, Error>>,
    pub finished_ms: u64,
    given_up: bool,
}

#[derive(Default)]
struct Addition {
    who: Option<Who>,
    /// Where, when, and when its exchange began: a store may lose what it acknowledged while the answer is on its way.
    acknowledged: Option<(Handle, u64, u64)>,
    refused: Option<u64>,
    /// When closing its exchange began: an acknowledgement may come long after the write.
    closing: u64,
}

/// All sessions of a principal are revoked.
struct Revocation {
    by: usize,
    name: String,
    began: u64,
    began_ms: u64,
    /// Since when, if it was acknowledged: as a tick and in milliseconds.
    done: Option<(u64, u64)>,
}

/// What is known of one session.
#[derive(Default)]
struct Known {
    /// Who was seen in it last, and when the exchanges began that logged in to it.
    principal: Option<String>,
    logins: Vec<u64>,
    /// Since when no id of it may open.
    over: Option<(u64, &'static str)>,
    /// Generations of acknowledged logins and elevations.
    floors: Vec<(u64, u32)>,
    /// Privilege changes begun and not acknowledged (yet).
    raising: BTreeSet<usize>,
    logout_begun: bool,
    /// Generations that were presented in an acknowledged exchange: when, as a tick and in milliseconds.
    shown: Vec<(u64, u64, u32)>,
    /// When it may have been used last, at the latest and at the earliest.
    used: u64,
    surely_used: u64,
    /// When its absolute limit passes, at the latest and at the earliest.
    deadline: u64,
    deadline_early: u64,
    /// When the store lost writes that it need not have kept.
    lost: Vec<u64>,
    /// Somebody was too late, or holds a copy: no promise about being logged in.
    late: bool,
    /// Versions acknowledged: when sent, when acknowledged, which.
    versions: Vec<(u64, u64, u64)>,
    /// What acknowledged swaps replaced, and when they were sent.
    replaced: BTreeMap<Option<[u8; 16]>, u64>,
}

/// How often what happened, to show that a run was not about nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    pub fn add(&mut self, what: &'static str, times: u64) {
        *self.0.entry(what).or_default() += times;
    }

    pub fn one(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    pub fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }
}

impl core::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        other.0.into_iter().for_each(|(what, times)| self.add(what, times));
    }
}

pub struct Oracle {
    ticks: u64,
    settings: Settings,
    pub requests: Vec<Request>,
    additions: Vec<Addition>,
    sessions: BTreeMap<Handle, Known>,
    revocations: Vec<Revocation>,
    /// Ids that were refused, by their text in the header's cookie.
    refused: BTreeMap<Id, u64>,
    secrets: BTreeSet<[u8; 32]>,
    records: BTreeSet<Vec<u8>>,
    pub counts: Counts,
    pub log: Vec<String>,
    pub violation: Option<String>,
}

fn ms(span: core::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl Oracle {
    pub fn new(settings: Settings) -> Self {
        Self {
            ticks: 0,
            settings,
            requests: Vec::new(),
            additions: Vec::new(),
            sessions: BTreeMap::new(),
            revocations: Vec::new(),
            refused: BTreeMap::new(),
            secrets: BTreeSet::new(),
            records: BTreeSet::new(),
            counts: Counts::default(),
            log: Vec::new(),
            violation: None,
        }
    }

    pub fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }

    pub fn note(&mut self, now: u64, line: &str) {
        self.log.push(format!("{now:>6} {line}"));
    }

    fn fail(&mut self, now: u64, what: String) {
        self.note(now, &format!("VIOLATION {what}"));
        self.violation.get_or_insert(what);
    }

    fn of(&mut self, handle: Handle) -> &mut Known {
        self.sessions.entry(handle).or_default()
    }

    pub fn key(addition: usize) -> String {
        format!("n{}", addition / PER_KEY)
    }

    pub fn share(addition: usize) -> i64 {
        share(addition % PER_KEY)
    }

    pub fn keys(&self) -> Vec<String> {
        (0..self.additions.len().div_ceil(PER_KEY)).map(|at| format!("n{at}")).collect()
    }

    /// The number of a new addition.
    pub fn addition(&mut self, who: Who) -> usize {
        self.additions.push(Addition { who: Some(who), ..Addition::default() });
        self.additions.len() - 1
    }

    /// Somebody holds a copy of these cookies from now on.
    pub fn copied(&mut self, header: &str) {
        for id in ids(header) {
            self.of(id.handle).late = true;
        }
    }

    pub fn sent(&mut self, who: Who, op: Op, header: String, now: u64) -> usize {
        self.requests.push(Request {
            who,
            op,
            header,
            sent_ms: now,
            node: 0,
            began: 0,
            began_ms: 0,
            closing: 0,
            closing_ms: 0,
            view: None,
            opened_ms: 0,
            admitted: None,
            result: None,
            finished_ms: 0,
            given_up: false,
        });
        self.requests.len() - 1
    }

    /// What an exchange has to report, and what it wrote.
    pub fn noticed(&mut self, events: &[Event], written: &[Change]) {
        events.iter().for_each(|event| self.counts.one(event.name()));
        for change in written.iter().filter(|change| matches!(change, Change::Data | Change::Touched)) {
            self.counts.one(change.name());
        }
        for cause in
            events.iter().filter_map(|event| if let Event::Ended(_, cause) = event { Some(cause) } else { None })
        {
            self.counts.one(match cause {
                Cause::Idle | Cause::Absolute => "ended by a limit",
                Cause::Reuse => "ended for reuse",
                _ => "ended on request",
            });
        }
    }

    /// The sender waits no longer: what it would have been told is lost.
    pub fn given_up(&mut self, number: usize, now: u64) {
        self.note(now, &format!("#{number} given up"));
        self.requests[number].given_up = true;
    }

    pub fn arrived(&mut self, number: usize, node: usize, now: u64) -> (Op, String) {
        let began = self.tick();
        self.counts.one("exchanges");
        let grace = ms(self.settings.grace);
        let request = &mut self.requests[number];
        (request.node, request.began, request.began_ms) = (node, began, now);
        let (op, header) = (request.op, request.header.clone());
        let late = now > request.sent_ms + grace || request.given_up;
        let line = format!("#{number} arrived at {node}: {:?} {op:?} {:?}", request.who, ids(&header));
        self.note(now, &line);
        for id in ids(&header) {
            self.of(id.handle).late |= late;
        }
        (op, header)
    }

    pub fn opened(&mut self, number: usize, view: View, now: u64) {
        let line = format!("#{number} opened {:?} as {:?}", view.handle, view.principal);
        self.note(now, &line);
        let request = &mut self.requests[number];
        (request.view, request.opened_ms) = (Some(view.clone()), now);
        let (op, who, began) = (request.op, request.who, request.began);
        // Longer than any trip takes while links are well.
        let waited = matches!(op, Op::AddInTurn(_)) && now > request.began_ms + 300;
        self.counts.add("turns waited for", u64::from(waited));
        let Some(handle) = view.handle else { return };
        let kind = if view.principal.is_some() { coatroom_core::Kind::Login } else { coatroom_core::Kind::Visitor };
        let admitted = Id::in_header(&request.header, kind).filter(|id| id.handle == handle);
        request.admitted.clone_from(&admitted);
        let Some(id) = admitted else {
            return self.fail(now, format!("#{number} opened a session whose id it did not present"));
        };
        let allowed = self.may_open(&id, began, now).and_then(|()| self.is_own(who, &view, began));
        if let Err(what) = allowed.and_then(|()| self.is_not_revoked(&view, began)) {
            self.fail(now, format!("#{number} {what}"));
        }
        let barred = if let Op::Login(name) = op { self.may_be_revoked(name, now) } else { false };
        let known = self.of(handle);
        known.used = known.used.max(now);
        known.principal = view.principal;
        known.logout_begun |= barred;
        let stale = known.shown.iter().any(|(_, _, newer)| *newer > id.generation);
        match op {
            Op::Login(_) | Op::Elevate => {
                known.raising.insert(number);
            }
            Op::Logout => known.logout_begun = true,
            _ => {}
        }
        self.counts.add("replaced ids admitted", u64::from(stale));
    }

    /// Whether nothing that was known when the exchange began forbids this id.
    fn may_open(&self, id: &Id, began: u64, now: u64) -> Result<(), String> {
        if self.refused.get(id).is_some_and(|&since| since < began) {
            return Err(format!("{id:?} opened after it was refused"));
        }
        let Some(known) = self.sessions.get(&id.handle) else { return Ok(()) };
        if let Some((_, why)) = known.over.filter(|(since, _)| *since < began) {
            return Err(format!("{id:?} opened after {why}"));
        }
        if known.floors.iter().any(|&(since, floor)| since < began && id.generation < floor) {
            return Err(format!("{id:?} opened after a login replaced it"));
        }
        let (grace, skew) = (ms(self.settings.grace), ms(self.settings.skew));
        let past = |shown_ms: u64| now > shown_ms + grace + 2 * skew;
        if known.shown.iter().any(|&(since, at, newer)| since < began && id.generation < newer && past(at)) {
            return Err(format!("{id:?} opened past its grace"));
        }
        let idle = self.settings.idle.map_or(u64::MAX / 4, ms);
        if known.used > 0 && now > known.used + idle + 2 * skew {
            return Err(format!("{id:?} opened past the idle limit"));
        }
        if known.deadline > 0 && now > known.deadline + 2 * skew {
            return Err(format!("{id:?} opened past the absolute limit"));
        }
        Ok(())
    }

    /// Whether no revocation that was acknowledged before reaches back to the login.
    fn is_not_revoked(&self, view: &View, began: u64) -> Result<(), String> {
        let (Some(handle), Some(name)) = (view.handle, &view.principal) else { return Ok(()) };
        let Some(known) = self.sessions.get(&handle) else { return Ok(()) };
        let raising = known.raising.iter().map(|&number| self.requests[number].began);
        let Some(login) = known.logins.iter().copied().chain(raising).max() else { return Ok(()) };
        let reaches =
            |it: &Revocation| it.name == *name && login < it.began && it.done.is_some_and(|(at, _)| at < began);
        let revoked = self.revocations.iter().any(reaches);
        if revoked { Err(format!("{handle} opened after all sessions of {name} were revoked")) } else { Ok(()) }
    }

    /// Whether a login that begins now may be ended by a revocation: one that is under way or in doubt, or whose moment is
    /// not behind every clock.
    fn may_be_revoked(&self, name: &str, now: u64) -> bool {
        let skew = ms(self.settings.skew);
        let reaches = |it: &Revocation| it.done.map_or(it.began_ms + 30_000, |(_, at)| at + 2 * skew) >= now;
        self.revocations.iter().any(|it| it.name == name && reaches(it))
    }

    /// All sessions of the principal are about to end.
    pub fn revoking(&mut self, by: usize, name: &str, now: u64) {
        let began = self.tick();
        self.note(now, &format!("#{by} revokes all sessions of {name}"));
        for known in self.sessions.values_mut().filter(|known| known.principal.as_deref() == Some(name)) {
            known.logout_begun = true;
        }
        self.revocations.push(Revocation { by, name: name.to_owned(), began, began_ms: now, done: None });
    }

    /// A login is about to be acknowledged: the index has it, unless somebody has ended it by then.
    pub fn told_of(&mut self, number: usize, name: &str, handle: Handle, listed: bool, now: u64) {
        let began_ms = self.requests[number].began_ms;
        let ends = self.may_be_revoked(name, began_ms)
            || self.sessions.get(&handle).is_some_and(|known| known.logout_begun || known.late || known.over.is_some());
        if !listed && !ends {
            self.fail(now, format!("#{number} logged in to {handle}, and no list of {name} has it"));
        }
    }

    /// Whether the session is this client's own, with all that was acknowledged in it and nothing that was refused.
    fn is_own(&self, who: Who, view: &View, began: u64) -> Result<(), String> {
        let name = match who {
            Who::Honest(name) | Who::Thief(name) => Some(name),
            Who::Planter => None,
        };
        if view.principal.is_some() && view.principal.as_deref() != name {
            return Err(format!("{who:?} is {:?}", view.principal));
        }
        let handle = view.handle.ok_or("no handle")?;
        let known = self.sessions.get(&handle);
        let login = known.and_then(|known| known.floors.iter().map(|(since, _)| *since).min());
        for (at, sum) in view.sums.iter().enumerate() {
            for (number, addition) in self.additions.iter().enumerate().skip(at * PER_KEY).take(PER_KEY) {
                let count = times(*sum, number % PER_KEY);
                let lost = |since| known.is_some_and(|known| known.lost.iter().any(|lost| *lost > since));
                if count > 1 {
                    return Err(format!("addition {number} is there {count} times"));
                }
                if count == 1 && addition.refused.is_some_and(|since| since < began) {
                    return Err(format!("addition {number} is there, and was refused"));
                }
                if let Some((by, since, sent)) = addition.acknowledged {
                    if count == 0 && by == handle && since < began && !lost(sent) {
                        return Err(format!("addition {number} was acknowledged, and is not there"));
                    }
                    let planted = addition.who == Some(Who::Planter) && who != Who::Planter;
                    if count == 1
                        && planted
                        && view.principal.is_some()
                        && login.is_some_and(|login| addition.closing > login)
                    {
                        return Err(format!("addition {number} by a planter reached the login"));
                    }
                }
            }
        }
        Ok(())
    }

    pub fn closing(&mut self, number: usize, now: u64) {
        let tick = self.tick();
        (self.requests[number].closing, self.requests[number].closing_ms) = (tick, now);
    }

    pub fn finished(&mut self, number: usize, result: Result<Answer, Error>, now: u64) {
        let tick = self.tick();
        let cookies = result.as_ref().map_or(0, |answer| answer.cookies.len());
        let written = result.as_ref().map_or(&[][..], |answer| &answer.written);
        let line = match &result {
            Ok(_) => format!("#{number} done {written:?}, {cookies} cookies"),
            Err(error) => format!("#{number} {}", error.code()),
        };
        self.note(now, &line);
        let grace = ms(self.settings.grace);
        let request = &mut self.requests[number];
        (request.result, request.finished_ms) = (Some(result.clone()), now);
        let (op, who, began_ms, closing_ms) = (request.op, request.who, request.began_ms, request.closing_ms);
        let (view, admitted, header) = (request.view.clone(), request.admitted.clone(), request.header.clone());
        let handle = view.as_ref().and_then(|view| view.handle);
        if closing_ms > 0 && now > closing_ms + longest(op, &self.settings) {
            self.fail(now, format!("#{number} took {} ms to close", now - closing_ms));
        }
        for id in ids(&header) {
            self.of(id.handle).late |= now > began_ms + grace;
        }
        if let Some(handle) = handle {
            let known = self.of(handle);
            known.used = known.used.max(now);
        }
        match result {
            Err(error) => {
                self.failed(op, error, tick);
                if let (Op::AddInTurn(_), Error::Conflict, Some(handle)) = (op, error, handle) {
                    self.lost_its_turn(number, handle, now);
                }
                let surely_not = matches!(op, Op::Login(_) | Op::Elevate) && error != Error::Unknown;
                if let Some(handle) = handle.filter(|_| surely_not) {
                    self.of(handle).raising.remove(&number);
                }
            }
            Ok(answer) => {
                self.acknowledged(number, op, &answer, tick, now);
                let dead = ids(&header).into_iter().find(|id| !cookie_of_visitor(&header, id));
                match dead.filter(|id| admitted.as_ref() != Some(id)) {
                    Some(id) => self.turned_away(number, who, id, tick, now),
                    None => {
                        for id in ids(&header).into_iter().filter(|id| admitted.as_ref() != Some(id)) {
                            if view.as_ref().is_some_and(|view| view.principal.is_none()) {
                                self.refused.entry(id).or_insert(tick);
                            }
                        }
                    }
                }
                if let (Some(id), Some(view)) = (admitted, view) {
                    let known = self.of(id.handle);
                    known.surely_used = known.surely_used.max(began_ms);
                    if view.principal.is_some() {
                        known.shown.push((tick, now, id.generation));
                    }
                }
            }
        }
    }

    fn failed(&mut self, op: Op, error: Error, tick: u64) {
        self.counts.one(error.code());
        if let (Op::Add(number) | Op::AddInTurn(number), false) = (op, error == Error::Unknown) {
            self.additions[number].refused = Some(tick);
        }
    }

    /// Somebody who had its turn was told that others wrote meanwhile.
    fn lost_its_turn(&mut self, number: usize, handle: Handle, now: u64) {
        let (request, known) = (&self.requests[number], &self.sessions[&handle]);
        let is_over = now >= request.opened_ms + ms(self.settings.lease);
        let has_lost = known.lost.iter().any(|lost| *lost > request.began);
        self.counts.one("turns lost");
        if !is_over && !has_lost {
            self.fail(now, format!("#{number} lost its turn in {handle} before the time"));
        }
    }

    fn acknowledged(&mut self, number: usize, op: Op, answer: &Answer, tick: u64, now: u64) {
        self.counts.one("acknowledged");
        let (began, began_ms) = (self.requests[number].began, self.requests[number].began_ms);
        let base = self.requests[number].view.as_ref().and_then(|view| view.handle);
        let absolute = ms(self.settings.absolute);
        for line in &answer.cookies {
            let (kind, value, removes) = read_line(line);
            if removes {
                continue;
            }
            let Some(id) = Id::read(value) else { return self.fail(now, "a cookie holds no id".to_owned()) };
            self.secrets.insert(id.secret);
            let known = self.of(id.handle);
            known.used = known.used.max(now);
            known.surely_used = known.surely_used.max(began_ms);
            let fresh = answer.written.iter().any(|change| matches!(change, Change::Created | Change::LoggedIn));
            if fresh {
                known.deadline = now + absolute;
                known.deadline_early = began_ms + absolute;
            }
            let logged_in = match op {
                Op::Login(name) if answer.written.contains(&Change::LoggedIn) => Some(name),
                _ => None,
            };
            let ends = logged_in.is_some_and(|name| self.may_be_revoked(name, began_ms));
            let known = self.of(id.handle);
            if let Some(name) = logged_in {
                known.principal = Some(name.to_owned());
                known.logins.push(began);
                known.logout_begun |= ends;
            }
            let raises = answer.written.iter().any(|change| matches!(change, Change::LoggedIn | Change::Elevated));
            if kind == coatroom_core::Kind::Login && raises {
                known.floors.push((tick, id.generation));
            }
        }
        match op {
            Op::Add(addition) | Op::AddInTurn(addition) => match answer.handle {
                Some(handle) => {
                    self.additions[addition].acknowledged = Some((handle, tick, began));
                    self.additions[addition].closing = self.requests[number].closing;
                }
                None => self.fail(now, format!("addition {addition} was acknowledged nowhere")),
            },
            Op::Logout => {
                self.counts.one("logged out");
                if let Some(handle) = base {
                    self.of(handle).over.get_or_insert((tick, "a logout"));
                }
            }
            Op::Login(_) | Op::Elevate => {
                let told =
                    answer.cookies.iter().any(|line| line.starts_with("__Host-id=") && !line.contains("Max-Age=0;"));
                if matches!(op, Op::Login(_)) && !told {
                    self.fail(now, format!("login #{number} was acknowledged without an id"));
                }
                if let Some(handle) = base {
                    self.of(handle).raising.remove(&number);
                }
            }
            Op::RevokeAll => {
                if let Some(it) = self.revocations.iter_mut().find(|it| it.by == number) {
                    it.done = Some((tick, now));
                    self.counts.one("revoked all");
                }
            }
            _ => {}
        }
    }

    /// A genuine login id opened nothing, and the exchange says so for good.
    fn turned_away(&mut self, number: usize, who: Who, id: Id, tick: u64, now: u64) {
        self.refused.entry(id.clone()).or_insert(tick);
        let (idle, skew) = (self.settings.idle.map_or(u64::MAX / 4, ms), ms(self.settings.skew));
        let touch = self.settings.touch.map_or(0, ms);
        let known = self.of(id.handle);
        let below = known.floors.iter().any(|(_, floor)| id.generation < *floor);
        if below || !known.raising.is_empty() {
            return;
        }
        // Not replaced by a login: then either a limit, or an ending, or a copy, and each of them ends the session.
        let expired = now + 2 * skew + touch >= known.surely_used + idle || now + 2 * skew >= known.deadline_early;
        let explained = expired || known.logout_begun || known.late || known.over.is_some() || !known.lost.is_empty();
        known.over.get_or_insert((tick, "one of its ids was refused"));
        if !explained && matches!(who, Who::Honest(_)) {
            self.fail(now, format!("#{number} {id:?} was logged out by nobody"));
        }
    }

    /// The store holds this from now on; nothing if the record was removed.
    pub fn stored(&mut self, _: Handle, record: Option<&[u8]>) {
        self.records.extend(record.map(<[u8]>::to_vec));
    }

    /// A crash of the store lost its newest writes to this handle, none of which had to be durable, unless it cheated.
    pub fn lost(&mut self, handle: Handle, cheated: bool) {
        self.counts.one("writes lost");
        let tick = self.tick();
        self.note(0, &format!("the store lost writes to {handle}"));
        if !cheated {
            self.of(handle).lost.push(tick);
        }
    }

    /// What a load returned is no older than what was acknowledged before it began.
    pub fn loaded(&mut self, began: u64, handle: Handle, loaded: &Loaded) {
        let Loaded::Found(record) = loaded else { return };
        let version = version(Stamp::of(record));
        let known = self.of(handle);
        let lost = |since: u64| known.lost.iter().any(|lost| *lost > since);
        if known.versions.iter().any(|&(sent, since, newer)| since < began && newer > version && !lost(sent)) {
            self.fail(0, format!("a load of {handle} returned version {version}, and a later one was acknowledged"));
        }
    }

    /// No record is replaced twice.
    pub fn swapped(&mut self, sent: u64, swap: &Swap, swapped: &Swapped) {
        let tick = self.tick();
        self.counts.add("swaps refused", u64::from(matches!(swapped, Swapped::Conflict(_))));
        self.counts.add("swaps in doubt", u64::from(matches!(swapped, Swapped::Unknown)));
        if *swapped != Swapped::Done {
            return;
        }
        let known = self.of(swap.handle);
        let expected = swap.expected.map(|stamp| *stamp.as_bytes());
        let before = known.replaced.insert(expected, sent);
        let twice = before.is_some_and(|before| !known.lost.iter().any(|lost| *lost > before));
        if let Some(new) = &swap.new {
            known.versions.push((sent, tick, version(Stamp::of(new))));
        }
        if twice {
            self.fail(0, format!("two acknowledged swaps replaced the same record of {}", swap.handle));
        }
    }

    /// The exchanges of this node are gone.
    pub fn crashed(&mut self, node: usize) {
        for request in self.requests.iter_mut().filter(|request| request.node == node && request.result.is_none()) {
            if request.began > 0 {
                request.given_up = true;
                request.finished_ms = u64::MAX;
            }
        }
    }

    /// What can only be said once nothing moves any more.
    pub fn at_the_end(&mut self, now: u64, healed: bool) {
        let pending = |request: &Request| request.began > 0 && request.result.is_none() && request.finished_ms == 0;
        if let Some(number) = self.requests.iter().position(pending).filter(|_| healed) {
            self.fail(now, format!("#{number} hangs"));
        }
        let fronts: BTreeSet<&[u8]> = self.secrets.iter().map(|secret| &secret[..8]).collect();
        if self.records.iter().any(|record| record.windows(8).any(|window| fronts.contains(window))) {
            self.fail(now, "a secret is in the store".to_owned());
        }
    }
}

/// The ids in a Cookie header.
fn ids(header: &str) -> Vec<Id> {
    let pairs = header.split("; ").filter_map(|pair| pair.split_once('='));
    pairs.filter_map(|(_, value)| Id::read(value)).collect()
}

fn cookie_of_visitor(header: &str, id: &Id) -> bool {
    Id::in_header(header, coatroom_core::Kind::Visitor).as_ref() == Some(id)
}

fn version(stamp: Option<Stamp>) -> u64 {
    stamp.map_or(0, |stamp| u64::from_be_bytes(stamp.as_bytes()[..8].try_into().unwrap()))
}

/// How long closing may take at most: the driver's patience for the turns of others, for each write, and the last calls
/// after it.
fn longest(op: Op, settings: &Settings) -> u64 {
    let call = 900;
    let turns = 2 * ms(settings.lease) + 2 * ms(settings.skew) + call;
    match op {
        Op::Logout => 10_000 + 3 * call + 3000,
        // The entry into the index is asked for as patiently as an ending.
        Op::Login(_) => 10_000 + 3 * (2000 + 3 * call),
        Op::Add(_) => turns + 3 * (2000 + 3 * call),
        _ => 3 * (2000 + 3 * call),
    }
}
