//! What an exchange of the model wants to write next, given what is stored as far as it knows.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::exchange::{Base, Call, Exchange, Sent};
use super::{Data, Datum, Event, Id, LOGIN, Model, Ms, Name, Secret, Session, VISITOR, Who, Worth};

#[derive(Clone, Debug)]
pub(super) enum Task {
    /// A limit has passed (with its cause), or a copy is in use; when that was found.
    React(Id, Option<&'static str>, Ms, Option<Rc<Session>>),
    End(&'static str, Option<Rc<Session>>),
    /// What is stored, as far as known, and whether that was met on a conflict.
    Commit(Option<Rc<Session>>, bool),
    /// Create a session; with only the calls after the login, or with all.
    Create(bool),
}

/// A swap to come, and what follows from it.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub name: Name,
    pub believed: Option<Rc<Session>>,
    pub new: Option<Rc<Session>>,
    pub durable: bool,
    pub(super) follows: Follows,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Follows {
    pub(super) written: Vec<&'static str>,
    pub(super) events: Vec<Event>,
    pub(super) cookie: Option<(usize, Id)>,
    pub(super) at: Option<Rc<Session>>,
}

pub(super) enum Next {
    Swap(Attempt, Option<Task>),
    Nothing(Follows),
    Instead(Vec<Task>, Option<&'static str>),
}

impl Exchange {
    pub(super) fn next(&self, model: &Model, task: &Task) -> Result<Next, &'static str> {
        match task {
            Task::React(id, cause, at, known) => Ok(self.react(model, *id, *cause, *at, known.as_ref())),
            Task::End(cause, known) => self.end(model, cause, known.as_ref()),
            Task::Commit(known, met) => self.commit(model, known.as_ref(), *met),
            Task::Create(after_login) => self.create(model, *after_login),
        }
    }

    fn write(&self, old: &Rc<Session>, mut new: Session, durable: bool, follows: Follows) -> Attempt {
        new.writers.push(self.number);
        Attempt { name: old.id.session, believed: Some(Rc::clone(old)), new: Some(Rc::new(new)), durable, follows }
    }

    fn ending(&self, model: &Model, old: &Rc<Session>, cause: &'static str) -> Attempt {
        let events = vec![("ended", Some(old.id.session), cause)];
        let follows = Follows { written: vec!["ended"], events, ..Follows::default() };
        let attempt = self.write(old, old.ended(self.now.max(old.seen), cause), true, follows);
        Attempt { new: attempt.new.filter(|_| model.policy.tombstone), ..attempt }
    }

    /// What a dead id calls for.
    fn react(&self, model: &Model, id: Id, cause: Option<&'static str>, at: Ms, known: Option<&Rc<Session>>) -> Next {
        let nothing = Next::Nothing(Follows::default());
        let Some(old) = known.filter(|old| old.end.is_none()) else { return nothing };
        let past = |until: Option<Ms>| until.is_some_and(|until| self.now.max(at).max(old.seen) >= until);
        match cause {
            _ if id.generation < old.floor => nothing,
            Some(cause) if cause != "forget" => Next::Swap(self.ending(model, old, cause), None),
            None if model.policy.reuse_ends => Next::Swap(self.ending(model, old, "reuse"), None),
            _ if id.generation + 1 == old.id.generation && old.previous.is_some_and(|(_, until)| past(until)) => {
                let new = Session { previous: None, ..Session::clone(old) };
                Next::Swap(self.write(old, new, true, Follows::default()), None)
            }
            _ => nothing,
        }
    }

    /// An ending reaches across a login of the same principal, and across nobody else's.
    fn end(&self, model: &Model, cause: &'static str, known: Option<&Rc<Session>>) -> Result<Next, &'static str> {
        let (Some(old), Some(base)) = (known.filter(|old| old.end.is_none()), &self.base) else {
            return Ok(Next::Nothing(Follows::default()));
        };
        let name = |session: &Session| session.who.as_ref().map(|who| who.name);
        let same = name(old).is_some() && name(old) == name(&base.found);
        if base.id.generation < old.floor && !same {
            return Err(if cause == "logout" { "logout-refused" } else { "superseded" });
        }
        Ok(Next::Swap(self.ending(model, old, cause), None))
    }

    fn commit(&self, model: &Model, known: Option<&Rc<Session>>, met: bool) -> Result<Next, &'static str> {
        let Some(base) = &self.base else { return Err("") };
        let Some(old) = known else { return Ok(self.refuse(base, Worth::Ended("logout"), self.now, None)) };
        let policy = &model.policy;
        let now = self.now.max(old.seen);
        let worth = old.judge(base.id, now, policy);
        if let (Worth::Over(cause), false) = (worth, met) {
            let then = Task::Commit(Some(Rc::new(old.ended(now, cause))), true);
            return Ok(Next::Swap(self.ending(model, old, cause), Some(then)));
        }
        if !worth.opens() {
            return Ok(self.refuse(base, worth, now, Some(old)));
        }
        if self.strict && self.wish.writes() && self.is_overtaken(&base.found.data, &old.data) {
            return Err("conflict");
        }
        let mut new = Session::clone(old);
        let mut follows = Follows::default();
        let mut note = |change, event: &'static str| {
            follows.written.push(change);
            follows.events.extend(Some((event, Some(old.id.session), "")).filter(|_| !event.is_empty()));
        };
        let mut durable = false;
        if new.confirm(base.id, now, policy) {
            durable = new.previous.is_some();
            note("confirmed", "presented");
        }
        replay(&self.wish.calls, &mut new.data, old.who.is_some(), model)?;
        new.label = self.wish.label.or(old.label);
        if new.data != old.data || new.label != old.label {
            note("data", "");
        }
        if let Some((name, level)) = self.wish.who {
            (new.deadline, new.idle) = (now + policy.absolute, policy.idle);
            new.who = Some(Who { name, level, since: now });
            note("logged in", "logged in");
        } else if let Some(level) = self.wish.level {
            new.who = new.who.map(|who| Who { level, since: now, ..who });
            note("elevated", "elevated");
        }
        let steady = base.worth == Worth::Current && base.found.confirmed.is_some() && worth == Worth::Current;
        if self.wish.raises() {
            new.raise(Secret::Raised(self.number), now);
        } else if self.wish.rotate && steady {
            new.rotate(Secret::Rotated(self.number), now);
            note("rotated", "rotated");
        }
        if new.id != old.id {
            (durable, follows.cookie) = (true, Some((LOGIN, new.id)));
        } else if worth == Worth::Pending && self.now - self.opened <= policy.grace {
            follows.cookie = Some((LOGIN, old.id));
        }
        if !follows.written.is_empty() {
            new.seen = now;
        } else if self.touches && old.is_touch_due(now, policy) {
            new.seen = now;
            follows.written.push("touched");
        }
        follows.at = Some(Rc::new(new.clone()));
        Ok(if follows.written.is_empty() {
            Next::Nothing(follows)
        } else {
            Next::Swap(self.write(old, new, durable, follows), None)
        })
    }

    fn is_overtaken(&self, ours: &Data, theirs: &Data) -> bool {
        if self.watches_all { ours != theirs } else { self.watched.iter().any(|key| ours.get(key) != theirs.get(key)) }
    }

    /// The id opens nothing any more: a login starts afresh, any other write is refused. What is refused for its time is
    /// written down.
    fn refuse(&self, base: &Base, worth: Worth, now: Ms, known: Option<&Rc<Session>>) -> Next {
        let (error, react) = match worth {
            Worth::Over(cause) => ("ended", Some(cause)),
            Worth::Reuse => ("superseded", Some("forget")),
            Worth::BelowFloor => ("superseded", None),
            _ => ("ended", None),
        };
        let mut tasks: Vec<_> =
            react.map(|react| Task::React(base.id, Some(react), now, known.cloned())).into_iter().collect();
        if self.wish.who.is_some() {
            tasks.push(Task::Create(true));
            return Next::Instead(tasks, None);
        }
        Next::Instead(tasks, self.wish.writes().then_some(error))
    }

    pub(super) fn create(&self, model: &Model, after_login: bool) -> Result<Next, &'static str> {
        let policy = &model.policy;
        let is_login = |call: &Call| matches!(call, Call::Login(..));
        let from = self.wish.calls.iter().position(is_login).filter(|_| after_login).unwrap_or(0);
        let mut data = Data::new();
        replay(&self.wish.calls[from..], &mut data, false, model)?;
        let who = self.wish.who.map(|(name, level)| Who { name, level, since: self.now });
        let kind = if who.is_some() { LOGIN } else { VISITOR };
        if who.is_none() && data.is_empty() && self.wish.label.is_none() {
            return Ok(Next::Nothing(Follows::default()));
        }
        if who.is_none() && self.superseded {
            return Err("superseded");
        }
        if self.sent[kind] == Sent::Twice {
            return Err("duplicate-cookie");
        }
        let name = (self.number, self.creates);
        let id = Id { session: name, generation: 0, secret: Secret::Created(name.0, name.1) };
        let mut follows = Follows { cookie: Some((kind, id)), ..Follows::default() };
        for happened in ["created", "logged in"].into_iter().take(1 + usize::from(who.is_some())) {
            follows.written.push(happened);
            follows.events.push((happened, Some(name), ""));
        }
        let new = Rc::new(Session {
            id,
            issued: self.now,
            confirmed: None,
            previous: None,
            floor: 0,
            who,
            data,
            label: self.wish.label,
            created: self.now,
            seen: self.now,
            idle: policy.idle,
            deadline: self.now + policy.absolute,
            end: None,
            writers: vec![self.number],
        });
        follows.at = Some(Rc::clone(&new));
        Ok(Next::Swap(Attempt { name, believed: None, new: Some(new), durable: true, follows }, None))
    }
}

/// Repeats the calls on this data, whose session is somebody's or nobody's; refused whole when one cannot apply, unless
/// what it did is overwritten before anybody could see it.
pub(super) fn replay(
    calls: &[Call],
    data: &mut Data,
    mut is_logged_in: bool,
    model: &Model,
) -> Result<(), &'static str> {
    let mut wrong = BTreeMap::new();
    let mut parted = false;
    for call in calls {
        match *call {
            Call::Set(key, _) | Call::SetText(key) | Call::Remove(key) => drop(wrong.remove(key)),
            Call::Add(key, _) | Call::Bump(key, _) | Call::Flip(key) if wrong.contains_key(key) => continue,
            Call::Clear => wrong.clear(),
            Call::Login(..) if !parted && !wrong.is_empty() => break,
            _ => {}
        }
        match *call {
            Call::Set(key, value) => drop(data.insert(key, Datum::Int(value))),
            Call::SetText(key) => drop(data.insert(key, Datum::Text)),
            Call::Add(key, n) | Call::Bump(key, n) => match data.get(key).copied().unwrap_or(Datum::Int(0)) {
                Datum::Int(present) if n <= i64::MAX - present => drop(data.insert(key, Datum::Int(present + n))),
                _ if matches!(call, Call::Add(..)) => drop(wrong.insert(key, "not-addable")),
                _ => drop(wrong.insert(key, "update-refused")),
            },
            Call::Flip(key) => match data.remove(key) {
                Some(_) => {}
                None => drop(data.insert(key, Datum::Int(1))),
            },
            Call::Remove(key) => drop(data.remove(key)),
            Call::Clear => data.clear(),
            Call::Login(..) => {
                parted = true;
                data.retain(|key, _| is_logged_in || model.policy.carry.is_none_or(|kept| kept.contains(key)));
                is_logged_in = true;
            }
            _ => {}
        }
    }
    wrong.into_values().next().map_or(Ok(()), Err)
}
