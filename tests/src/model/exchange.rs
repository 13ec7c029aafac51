//! One request in the model: what it finds, what it wants, and what it does to what is stored.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use super::attempt::{Attempt, Follows, Next, Task, replay};
use super::{Data, Datum, Event, Id, LOGIN, Model, Ms, Session, VISITOR, Who, Worth};

/// What a handler calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    Get(&'static str),
    Keys,
    Set(&'static str, i64),
    SetText(&'static str),
    Add(&'static str, i64),
    /// Adds through a function, which refuses a text.
    Bump(&'static str, i64),
    /// A function that removes what is there, and puts 1 where nothing is.
    Flip(&'static str),
    Remove(&'static str),
    Clear,
    Label(u8),
    Login(&'static str, u8),
    Elevate(u8),
    Rotate,
    Logout,
    Discard,
    Strict,
    HeadSent,
}

/// What a call gives back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Gives {
    Nothing,
    Value(Option<Datum>),
    Keys(Vec<&'static str>),
    Sum(i64),
    Rotation(&'static str),
    Error(&'static str),
}

/// What a request brings under one cookie name; junk is no id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    Absent,
    Once(Option<Id>),
    Twice,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cookie {
    Keep,
    Set(Id),
    Remove,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    Open,
    Saving,
    Done,
    Failed(&'static str),
}

#[derive(Clone, Debug)]
pub struct Base {
    pub kind: usize,
    pub id: Id,
    pub found: Rc<Session>,
    pub worth: Worth,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Wish {
    pub(super) calls: Vec<Call>,
    pub(super) who: Option<(&'static str, u8)>,
    pub(super) level: Option<u8>,
    pub(super) label: Option<u8>,
    pub(super) rotate: bool,
    pub(super) end: Option<&'static str>,
    pub(super) logout: bool,
}

impl Wish {
    pub(super) fn writes(&self) -> bool {
        !self.calls.is_empty() || self.raises() || self.label.is_some()
    }

    pub(super) fn raises(&self) -> bool {
        self.who.is_some() || self.level.is_some()
    }

    fn is_empty(&self) -> bool {
        !self.writes() && !self.rotate && self.end.is_none() && !self.logout
    }
}

#[derive(Clone, Debug)]
pub struct Exchange {
    pub number: usize,
    pub stage: Stage,
    pub sent: [Sent; 2],
    pub now: Ms,
    pub opened: Ms,
    pub base: Option<Base>,
    pub state: Option<&'static str>,
    pub(super) superseded: bool,
    pub(super) wish: Wish,
    pub(super) strict: bool,
    pub(super) watched: BTreeSet<&'static str>,
    pub(super) watches_all: bool,
    pub(super) head_sent: bool,
    pub(super) tasks: VecDeque<Task>,
    pub(super) creates: u32,
    pub(super) touches: bool,
    pub(super) unsure: Option<usize>,
    pub(super) refused: Option<&'static str>,
    pub attempt: Option<Attempt>,
    pub(super) task: Option<Task>,
    pub(super) then: Option<Task>,
    pub cookies: [Cookie; 2],
    pub written: Vec<&'static str>,
    pub events: Vec<Event>,
    pub(super) noted: Vec<Event>,
    pub at: Option<Rc<Session>>,
}

impl Exchange {
    /// Section 2: the login cookie first; only if it is absent or dead does the visitor cookie count.
    pub fn open(model: &Model, number: usize, sent: [Sent; 2], now: Ms, store_answers: bool) -> Self {
        let mut new = Self {
            number,
            stage: Stage::Open,
            sent,
            now,
            opened: now,
            base: None,
            state: None,
            superseded: false,
            wish: Wish::default(),
            strict: model.policy.strict,
            watched: BTreeSet::new(),
            watches_all: false,
            head_sent: false,
            tasks: VecDeque::new(),
            creates: 1,
            touches: true,
            unsure: None,
            refused: None,
            attempt: None,
            task: None,
            then: None,
            cookies: [Cookie::Keep; 2],
            written: Vec::new(),
            events: Vec::new(),
            noted: Vec::new(),
            at: None,
        };
        for (sent, name) in sent.iter().zip(["login", "visitor"]) {
            match sent {
                Sent::Twice => new.events.push(("duplicate cookie", None, name)),
                Sent::Once(None) => new.events.push(("junk id", None, name)),
                _ => {}
            }
        }
        for kind in [LOGIN, VISITOR] {
            let Sent::Once(Some(id)) = sent[kind] else { continue };
            let found = if store_answers { model.look(id.session, now, &mut new.events) } else { Err("unavailable") };
            match found {
                Err(error) => {
                    new.stage = Stage::Failed(error);
                    return new;
                }
                Ok(None) => new.dead(kind, "Destroyed"),
                Ok(Some(session)) => new.judge(model, kind, id, session),
            }
            if new.base.is_some() {
                break;
            }
        }
        new.opened = new.now;
        new
    }

    fn judge(&mut self, model: &Model, kind: usize, id: Id, found: Rc<Session>) {
        let now = self.now.max(found.seen);
        let worth = found.judge(id, now, &model.policy);
        if found.who.is_some() != (kind == LOGIN) && !matches!(worth, Worth::BelowFloor | Worth::Ended(_)) {
            self.events.push(("wrong cookie", Some(id.session), ""));
            return self.dead(kind, "Destroyed");
        }
        match worth {
            Worth::Forged => self.events.push(("forged id", Some(id.session), "")),
            Worth::Over(cause) => self.tasks.push_back(Task::React(id, Some(cause), now, Some(Rc::clone(&found)))),
            Worth::Reuse => {
                self.events.push(("reuse", Some(id.session), ""));
                self.tasks.push_back(Task::React(id, None, now, Some(Rc::clone(&found))));
            }
            _ => {}
        }
        if worth.opens() {
            (self.now, self.state, self.at) = (now, Some(worth.state()), Some(Rc::clone(&found)));
            self.base = Some(Base { kind, id, found, worth });
        } else {
            self.dead(kind, worth.state());
        }
    }

    fn dead(&mut self, kind: usize, state: &'static str) {
        self.state = self.state.or(Some(state));
        self.superseded |= kind == LOGIN && state == "Regenerated";
    }

    /// The session that this exchange still is in.
    fn live(&self) -> Option<&Session> {
        self.base.as_ref().filter(|_| self.wish.end.is_none()).map(|base| &*base.found)
    }

    /// Who is logged in, as this exchange sees it.
    pub fn who(&self) -> Option<Who> {
        let found = self.live().and_then(|session| session.who.clone());
        match (self.wish.who, self.wish.level) {
            (Some((name, level)), _) => Some(Who { name, level, since: self.now }),
            (None, Some(level)) => found.map(|who| Who { level, since: self.now, ..who }),
            _ => found,
        }
    }

    /// The data as this exchange sees it.
    pub fn data(&self, model: &Model) -> Data {
        let found = self.live();
        let (mut data, who) = found.map_or_else(Default::default, |found| (found.data.clone(), found.who.is_some()));
        let _seen_to_work = replay(&self.wish.calls, &mut data, who, model);
        data
    }

    pub fn call(&mut self, model: &Model, call: Call) -> Gives {
        if let Call::Get(key) | Call::Set(key, _) | Call::SetText(key) | Call::Remove(key) = call
            && self.strict
        {
            self.watched.insert(key);
        }
        self.watches_all |= self.strict && matches!(call, Call::Keys | Call::Clear);
        match call {
            Call::Get(key) => return Gives::Value(self.data(model).get(key).copied()),
            Call::Keys => return Gives::Keys(self.data(model).into_keys().collect()),
            Call::Rotate => {
                let rotation = self.rotation(model);
                self.wish.rotate |= rotation == "Rotated";
                return Gives::Rotation(rotation);
            }
            Call::Login(name, level) => {
                if self.who().is_some_and(|before| before.name != name) {
                    let end = self.wish.end.or(self.base.as_ref().map(|_| "replaced"));
                    self.wish = Wish { end, logout: self.wish.logout, ..Wish::default() };
                }
                (self.wish.who, self.wish.level) = (Some((name, level)), None);
                self.wish.calls.push(call);
            }
            Call::Elevate(level) => match self.wish.who {
                Some((name, _)) => self.wish.who = Some((name, level)),
                None if self.who().is_some() => self.wish.level = Some(level),
                None => return Gives::Error("not-logged-in"),
            },
            Call::Logout => {
                let end = self.base.as_ref().map(|_| "logout");
                self.wish = Wish { end, logout: true, ..Wish::default() };
            }
            Call::Discard => self.wish = Wish::default(),
            Call::Strict => self.strict = true,
            Call::HeadSent => self.head_sent = true,
            Call::Label(label) => self.wish.label = Some(label),
            _ => {
                let mut data = self.data(model);
                // Nobody's login stands between what was just replayed and this one call.
                if let Err(error) = replay(&[call], &mut data, true, model) {
                    return Gives::Error(error);
                }
                self.wish.calls.push(call);
                if let Call::Add(key, _) = call
                    && let Some(Datum::Int(sum)) = data.get(key)
                {
                    return Gives::Sum(*sum);
                }
            }
        }
        Gives::Nothing
    }

    /// Section 5, step 1.
    fn rotation(&self, model: &Model) -> &'static str {
        let Some(base) = self.base.as_ref().filter(|base| base.kind == LOGIN && self.wish.end.is_none()) else {
            return "Postponed";
        };
        match (base.worth, base.found.confirmed) {
            _ if self.head_sent || self.wish.raises() => "Postponed",
            (Worth::Pending, _) | (Worth::Current, None) => "Pending",
            (Worth::Current, Some(at)) if self.now >= at + 2 * model.policy.grace => "Rotated",
            _ => "Postponed",
        }
    }

    pub fn close(&mut self, model: &Model, now: Ms) {
        let every = model.policy.rotate_every;
        let is_due = |base: &Base| every.is_some_and(|every| self.now >= base.found.issued + every);
        let due = self.base.as_ref().is_some_and(is_due) && self.rotation(model) == "Rotated";
        self.now = self.now.max(now);
        self.refused = self.cannot_promise();
        if self.refused.is_some() && self.tasks.is_empty() {
            return self.fail(self.refused);
        }
        if self.wish.logout {
            self.cookies = [Cookie::Remove; 2];
        }
        if self.refused.is_none() && !self.is_mere_read(model) {
            self.wish.rotate |= due && !self.wish.raises();
            let found = self.base.as_ref().map(|base| Rc::clone(&base.found));
            match (found, self.wish.end) {
                (None, _) => self.tasks.push_back(Task::Create(false)),
                (found, None) => self.tasks.push_back(Task::Commit(found, false)),
                (found, Some(cause)) => match self.create(model, false) {
                    // Begun only if the fresh session can be made.
                    Err(error) => self.refused = Some(error),
                    Ok(_) => self.tasks.extend([Task::End(cause, found), Task::Create(false)]),
                },
            }
        }
        self.go_on(model);
    }

    fn cannot_promise(&self) -> Option<&'static str> {
        let twice = |kind: usize| self.sent[kind] == Sent::Twice;
        let Wish { logout, who, .. } = self.wish;
        if self.head_sent && !self.wish.is_empty() {
            Some("head-sent")
        } else if self.superseded && logout {
            Some("logout-refused")
        } else if (logout || self.wish.raises()) && twice(LOGIN) || logout && who.is_none() && twice(VISITOR) {
            Some("duplicate-cookie")
        } else {
            None
        }
    }

    /// A read by an id in its grace writes nothing, so the end of the grace refuses nothing.
    fn is_mere_read(&self, model: &Model) -> bool {
        let within = |base: &Base| {
            let found = &base.found;
            let limits = now_is_before(self.now, found.deadline, found.idle.map(|idle| found.seen + idle));
            base.worth == Worth::Grace && limits && !found.is_touch_due(self.now, &model.policy)
        };
        self.wish.is_empty() && self.tasks.is_empty() && self.base.as_ref().is_some_and(within)
    }

    fn go_on(&mut self, model: &Model) {
        while let Some(task) = self.tasks.pop_front() {
            match self.next(model, &task) {
                Err(error) => return self.fail(Some(error)),
                Ok(Next::Swap(attempt, then)) => {
                    (self.stage, self.attempt, self.task, self.then) = (Stage::Saving, Some(attempt), Some(task), then);
                    return;
                }
                Ok(Next::Nothing(follows)) => self.take(follows),
                Ok(Next::Instead(tasks, refused)) => {
                    self.unsure = None;
                    self.refused = self.refused.or(refused);
                    tasks.into_iter().rev().for_each(|task| self.tasks.push_front(task));
                }
            }
        }
        if self.refused.is_some() {
            return self.fail(self.refused);
        }
        self.stage = Stage::Done;
        if self.written.contains(&"logged in")
            && self.sent[VISITOR] != Sent::Absent
            && !matches!(self.cookies[VISITOR], Cookie::Set(_))
        {
            self.cookies[VISITOR] = Cookie::Remove;
        }
        for kind in [LOGIN, VISITOR] {
            if self.head_sent || self.sent[kind] == Sent::Twice {
                self.cookies[kind] = Cookie::Keep;
            }
        }
        self.events.append(&mut self.noted);
    }

    fn take(&mut self, follows: Follows) {
        self.unsure = None;
        self.written.extend(follows.written);
        self.noted.extend(follows.events);
        self.at = follows.at.or(self.at.take());
        if let Some((kind, id)) = follows.cookie {
            self.cookies[kind] = Cookie::Set(id);
        }
    }

    fn fail(&mut self, error: Option<&'static str>) {
        self.stage = Stage::Failed(error.unwrap_or_default());
        self.cookies = [Cookie::Keep; 2];
        self.events.append(&mut self.noted);
    }

    /// The store acknowledged the attempt.
    pub fn saved(&mut self, model: &Model) {
        let follows = self.attempt.take().map(|attempt| attempt.follows).unwrap_or_default();
        self.take(follows);
        if let Some(then) = self.then.take() {
            self.tasks.push_front(then);
        }
        self.go_on(model);
    }

    /// The attempt was refused, or (`in_doubt`) nobody heard what became of it; the store now holds what it holds.
    pub fn met(&mut self, model: &Model, in_doubt: bool) {
        let (Some(attempt), Some(task)) = (&self.attempt, &mut self.task) else { return };
        if in_doubt {
            let based_on = attempt.believed.as_ref().map(|believed| believed.writers.len());
            self.unsure = [self.unsure, based_on].into_iter().flatten().min();
        }
        if let Task::Create(_) = task {
            self.creates += 1;
            self.unsure = None;
        } else {
            let stored = match model.look(attempt.name, self.now, &mut self.events) {
                Err(error) => return self.in_vain(error),
                Ok(stored) => stored,
            };
            let writers = stored.as_ref().map(|stored| &stored.writers[..]);
            if writers.is_some_and(|writers| writers.iter().rev().take(4).any(|writer| *writer == self.number)) {
                return self.saved(model);
            }
            let gone_as_wanted = stored.is_none() && attempt.new.is_none();
            let lost_track = |since| writers.is_none_or(|writers| writers.len() > since + 4);
            if self.unsure.is_some_and(lost_track) && !gone_as_wanted {
                return self.fail(Some("unknown"));
            }
            self.unsure = self.unsure.filter(|since| writers.is_none_or(|writers| writers.len() <= *since));
            match task {
                Task::React(_, _, _, known) | Task::End(_, known) => *known = stored,
                Task::Commit(known, met) => (*known, *met) = (stored, true),
                Task::Create(_) => {}
            }
        }
        self.attempt = None;
        if let Some(task) = self.task.take() {
            self.tasks.push_front(task);
        }
        self.go_on(model);
    }

    /// Nobody tries any longer: without a mere touch it goes on.
    pub fn gave_up(&mut self, model: &Model, error: &'static str) {
        let written = self.attempt.as_ref().map(|attempt| &attempt.follows.written[..]);
        if written != Some(&["touched"]) {
            return self.in_vain(error);
        }
        self.touches = false;
        self.attempt = None;
        if let Some(task) = self.task.take() {
            self.tasks.push_front(task);
        }
        self.go_on(model);
    }

    fn in_vain(&mut self, error: &'static str) {
        self.fail(Some(if self.unsure.is_some() { "unknown" } else { error }));
    }
}

fn now_is_before(now: Ms, deadline: Ms, idle: Option<Ms>) -> bool {
    now < deadline && idle.is_none_or(|idle| now < idle)
}
