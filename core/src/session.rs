//! The session as the handler of a request sees it: pure memory, nothing is written before the exchange closes.

use alloc::borrow::{Cow, ToOwned};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;
use core::time::Duration;

use crate::bugs::{Bug, planted};
use crate::codec::Names;
use crate::cookie::Kind;
use crate::error::Error;
use crate::id::Handle;
use crate::journal::{Journal, UpdateFn};
use crate::lifecycle::{Input, State};
use crate::opening::{Base, Exchange, Presence};
use crate::plan::{Change, Denied, Plan, Privilege, Rotation, Trace};
use crate::record::{Cause, Client, Principal, Standing};
use crate::time::Timestamp;
use crate::value::{Encoded, Value};

/// One request's view of its session. Dropping it without closing writes nothing.
pub struct Session {
    pub(crate) exchange: Box<Exchange>,
    pub(crate) base: Option<Base>,
    pub(crate) head_sent: bool,
    pub(crate) accessed: Cell<bool>,
}

/// What a handler could see of its session.
pub struct Peek<'a> {
    /// Every key and its encoded value, in the order of [`Session::keys`].
    pub data: Vec<(&'a str, Cow<'a, [u8]>)>,
    /// Who is logged in.
    pub principal: Option<&'a Principal>,
    /// What the exchange found, and what closing it now would write.
    pub trace: Trace,
}

impl fmt::Debug for Peek<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peek").field("keys", &self.data.len()).field("trace", &self.trace).finish_non_exhaustive()
    }
}

impl fmt::Debug for Session {
    // spec: SEC-1 89db
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handle = self.base.as_ref().map(|base| base.id.handle);
        f.debug_struct("Session")
            .field("state", &self.presented_state())
            .field("handle", &handle)
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(exchange: Box<Exchange>, base: Option<Base>) -> Self {
        Self { exchange, base, head_sent: false, accessed: Cell::new(false) }
    }

    /// The value of `key`.
    pub fn get(&mut self, key: &str) -> Option<Value> {
        self.get_encoded(key).and_then(|bytes| Value::decode(&bytes).ok())
    }

    /// The encoded value of `key`, for bindings that build their own objects.
    // spec: VAL-3 915a
    pub fn get_encoded(&mut self, key: &str) -> Option<Cow<'_, [u8]>> {
        self.read(key);
        self.look(key)
    }

    /// All keys, in the order of their encodings.
    // spec: WRITE-6 b7e4
    pub fn keys(&mut self) -> Vec<String> {
        self.accessed.set(true);
        self.exchange.reads.all |= self.exchange.reads.strict;
        self.peek().data.into_iter().map(|(key, _)| key.to_owned()).collect()
    }

    /// All that the handler could see, for a binding that hands it over at once. This is no use of the session: what of it
    /// the handler then looks at, the binding says with [`Session::get_encoded`], [`Session::keys`] and the like.
    pub fn peek(&self) -> Peek<'_> {
        let mut keys: BTreeSet<&str> =
            self.exchange.plan.after.keys().chain(self.exchange.plan.before.keys()).collect();
        if let Some(base) = self.live_base() {
            keys.extend(base.record.data.iter().map(|(key, _)| key));
        }
        let mut data: Vec<_> = keys.into_iter().filter_map(|key| Some((key, self.look(key)?))).collect();
        data.sort_by(|(a, _), (b, _)| crate::value::key_order(a, b));
        let trace = Trace { written: self.planned(), ..self.trace_before() };
        Peek { data, principal: self.principal_now(), trace }
    }

    /// Sets `key`.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) -> Result<(), Error> {
        let value = value.into().encode()?;
        self.set_encoded(key, value)
    }

    /// Sets `key` to an already encoded value.
    // spec: WRITE-1 e9ba, REC-9 78b2
    pub fn set_encoded(&mut self, key: &str, value: Encoded) -> Result<(), Error> {
        let limit = self.exchange.rules.policy().settings().size;
        let bytes = key.len().saturating_add(value.as_bytes().len());
        if bytes > limit {
            return Err(Error::TooLarge { bytes, limit });
        }
        self.read(key);
        self.journal().set(key, value);
        Ok(())
    }

    /// Removes `key`; removing an absent key is nothing.
    pub fn remove(&mut self, key: &str) {
        self.read(key);
        self.journal().remove(key);
    }

    /// Removes every key present when the exchange is written.
    // spec: WRITE-4 1b2f
    pub fn clear(&mut self) {
        self.accessed.set(true);
        self.exchange.reads.all |= self.exchange.reads.strict;
        self.journal().clear();
    }

    /// Adds `n` to the integer at `key`, which starts at 0. Sums with the additions of other exchanges, and never
    /// conflicts. Returns the sum as this exchange sees it.
    // spec: WRITE-3 1359, WRITE-6 b7e4
    pub fn add(&mut self, key: &str, n: i64) -> Result<i64, Error> {
        self.accessed.set(true);
        let present = self.look(key).map(Cow::into_owned);
        self.journal().add(key, n, present.as_deref())
    }

    /// Replaces the value of `key` by `function` of it. After a conflict the function runs again on the fresh value, also
    /// after the handler has returned; it never makes a strict exchange conflict.
    // spec: WRITE-5 6dbe
    pub fn update(&mut self, key: &str, function: UpdateFn) -> Result<(), Error> {
        self.accessed.set(true);
        let present = self.look(key).map(Cow::into_owned);
        self.journal().update(key, present.as_deref(), function)
    }

    /// Refuses the commit of this exchange if a key that it read or set was changed by another in between.
    /// Counts for what is read and set from here on. Of a session in its cookie nobody can tell, so nothing is refused (COAT-14).
    // spec: WRITE-6 b7e4
    pub fn strict(&mut self) {
        self.exchange.reads.strict = true;
    }

    /// Logs `principal` in: a fresh secret, and every older id of the session is dead at once, for reads and for writes in
    /// flight. Anonymous data is carried as the policy says; after somebody else, a fresh session starts.
    // spec: LOGIN-3 2223, REC-10 e1a2, LOGIN-7 94f7
    pub fn login<R: AsRef<str>>(&mut self, principal: &str, roles: &[R], level: u8) -> Result<(), Error> {
        let names = Names::new(principal, roles).ok_or(Error::BadPrincipal)?;
        self.accessed.set(true);
        let who = Principal { names, level, authenticated_at: self.exchange.now };
        let other = |before: &Principal| before.name() != principal && !planted(Bug::PrincipalReplacedInPlace);
        if self.principal_now().is_some_and(other) {
            let end = self.exchange.plan.end.or_else(|| self.base.is_some().then_some(Cause::Replaced));
            self.exchange.plan = Plan { end, logout: self.exchange.plan.logout, ..Plan::default() };
        }
        self.exchange.plan.privilege = Some(Privilege::Login(who));
        Ok(())
    }

    /// Changes the level of authentication: a fresh secret as for a login, but no limit moves.
    // spec: LOGIN-6 5d77, LIFE-8 5fb5
    pub fn elevate(&mut self, level: u8) -> Result<(), Error> {
        self.accessed.set(true);
        match (&mut self.exchange.plan.privilege, &self.base) {
            (Some(Privilege::Login(principal)), _) => principal.level = level,
            (privilege, Some(base)) if self.exchange.plan.end.is_none() => {
                let before = base.record.principal.clone().ok_or(Error::NotLoggedIn)?;
                *privilege =
                    Some(Privilege::Elevate(Principal { level, authenticated_at: self.exchange.now, ..before }));
            }
            _ => return Err(Error::NotLoggedIn),
        }
        Ok(())
    }

    /// Ends the session and removes both cookies. What is set afterwards goes to a fresh session.
    // spec: END-6 a23d, COOK-11 b110
    pub fn logout(&mut self) {
        self.accessed.set(true);
        let end = self.base.is_some().then_some(Cause::Logout);
        self.exchange.plan = Plan { end, logout: true, ..Plan::default() };
    }

    /// Says that the handler revoked all sessions of a principal at `moment`, such as after a reset of the password: a login
    /// of this very exchange is not one of those that the revocation bars.
    pub fn revoked_all(&mut self, moment: Timestamp) {
        self.exchange.revoked_all_at = self.exchange.revoked_all_at.max(Some(moment));
    }

    /// Asks for a new id for the same principal.
    // spec: ROT-2 8346
    pub fn rotate(&mut self) -> Rotation {
        self.accessed.set(true);
        let rotation = self.can_rotate();
        self.exchange.plan.rotate |= rotation == Rotation::Rotated;
        rotation
    }

    /// Notes what a list of devices shows of this client.
    // spec: REC-10 e1a2
    pub fn set_client(&mut self, client: Client) -> Result<(), Error> {
        let fits = |text: &str| u16::try_from(text.len()).is_ok();
        if !fits(&client.label) || !fits(&client.address) {
            return Err(Error::BadPrincipal);
        }
        self.accessed.set(true);
        self.exchange.plan.client = Some(client);
        Ok(())
    }

    /// Who is logged in, as this exchange sees it.
    pub fn principal(&mut self) -> Option<&Principal> {
        self.accessed.set(true);
        self.principal_now()
    }

    /// Nothing when somebody with this role is logged in.
    // spec: LOGIN-9 c39d
    pub fn require_role(&mut self, role: &str) -> Result<(), Denied> {
        let principal = self.principal().ok_or(Denied::NotLoggedIn)?;
        let held = principal.roles().any(|held| held == role);
        if held { Ok(()) } else { Err(Denied::Forbidden) }
    }

    /// Nothing when whoever is logged in proved who they are, by a login or an elevation, no longer ago than this. A login of
    /// level 0, one that was merely remembered, is never fresh.
    // spec: FRESH-1 a65a
    pub fn require_fresh(&mut self, within: Duration, now: Timestamp) -> Result<(), Denied> {
        let principal = self.principal().ok_or(Denied::NotLoggedIn)?;
        let fresh = principal.level() > 0 && now.since(principal.authenticated_at()) <= within;
        if fresh { Ok(()) } else { Err(Denied::NotFresh) }
    }

    /// Nothing when somebody with this level of authentication or a higher one is logged in.
    // spec: FRESH-1 a65a
    pub fn require_level(&mut self, level: u8) -> Result<(), Denied> {
        let principal = self.principal().ok_or(Denied::NotLoggedIn)?;
        if principal.level() >= level { Ok(()) } else { Err(Denied::LevelTooLow) }
    }

    /// Whether a session was found.
    pub fn is_live(&self) -> bool {
        self.accessed.set(true);
        self.base.is_some()
    }

    /// The state of the presented id; none when no id was presented.
    pub fn state(&self) -> Option<State> {
        self.accessed.set(true);
        self.presented_state()
    }

    // spec: LIFE-9 b646
    fn presented_state(&self) -> Option<State> {
        let presented = |base: &Base| match base.standing {
            Standing::Pending | Standing::Grace => State::Regenerated,
            _ if base.record.head.current.confirmed_at.is_some() => State::Active,
            _ => State::Created,
        };
        self.base.as_ref().map(presented).or(self.exchange.dead).map(|state| state.on(Input::Present).next)
    }

    /// The public name of the session that the exchange was opened with.
    pub fn handle(&self) -> Option<Handle> {
        self.accessed.set(true);
        self.base.as_ref().map(|base| base.id.handle)
    }

    /// What the exchange found, and what closing it now would write.
    pub fn trace(&self) -> Trace {
        self.accessed.set(true);
        Trace { written: self.planned(), ..self.trace_before() }
    }

    /// The trace without what is to be written.
    pub(crate) fn trace_before(&self) -> Trace {
        let left = |until: Timestamp| until.since(self.exchange.now);
        let head = self.base.as_ref().map(|base| &base.record.head);
        Trace {
            state: self.presented_state(),
            handle: self.base.as_ref().map(|base| base.id.handle),
            generation: head.map(|head| head.current.generation),
            written: Vec::new(),
            trips: self.exchange.trips,
            idle_left: head.and_then(|head| head.idle.map(|idle| left(head.seen_at.plus(idle)))),
            absolute_left: head.map(|head| left(head.deadline)),
            events: self.exchange.events.clone(),
        }
    }

    /// The response head is gone: no cookie can be set any more, so rotation waits, and any other write is an error.
    // spec: WRITE-17 01cf
    pub fn head_sent(&mut self) {
        self.head_sent = true;
    }

    /// Forgets every change asked for: the response is an error and acknowledges nothing.
    // spec: WRITE-19 dc98
    pub fn discard(&mut self) {
        self.exchange.plan = Plan::default();
    }

    // spec: ROT-1 5391, ROT-2 8346, ROT-9 f305, COAT-10 4ee8
    pub(crate) fn can_rotate(&self) -> Rotation {
        let Some(base) = self.base.as_ref().filter(|base| {
            let rotates = base.kind == Kind::Login || planted(Bug::VisitorsRotated);
            // An old coat brings its own record, so a new secret would do away with nothing.
            rotates && self.exchange.plan.end.is_none() && !base.record.is_worn()
        }) else {
            return Rotation::Postponed;
        };
        if self.head_sent || self.exchange.login == Presence::Twice || self.exchange.plan.privilege.is_some() {
            return Rotation::Postponed;
        }
        match (base.standing, base.record.head.current.confirmed_at) {
            (Standing::Current, None) if planted(Bug::RotateUnconfirmed) => Rotation::Rotated,
            (Standing::Pending, _) | (Standing::Current, None) => Rotation::Pending,
            (Standing::Current, Some(confirmed_at)) => {
                let rest = self.exchange.rules.policy().settings().grace.saturating_mul(2);
                if self.exchange.now >= confirmed_at.plus(rest) || planted(Bug::RotateWithoutRest) {
                    Rotation::Rotated
                } else {
                    Rotation::Postponed
                }
            }
            _ => Rotation::Postponed,
        }
    }

    // spec: ROT-1 5391
    pub(crate) fn rotation_due(&self) -> bool {
        let every = self.exchange.rules.policy().settings().rotate_every;
        let due = |every| {
            self.base.as_ref().is_some_and(|base| self.exchange.now >= base.record.head.current.issued_at.plus(every))
        };
        every.is_some_and(due) && self.can_rotate() == Rotation::Rotated
    }

    fn planned(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut note = |wanted: bool, change| changes.extend(wanted.then_some(change));
        let plan = &self.exchange.plan;
        let data = !plan.before.is_empty() || !plan.after.is_empty() || plan.client.is_some();
        let fresh = self.base.is_none() || plan.end.is_some();
        note(plan.end.is_some() || !self.exchange.reactions.is_empty(), Change::Ended);
        note(fresh && (data || plan.privilege.is_some()), Change::Created);
        note(data, Change::Data);
        note(matches!(plan.privilege, Some(Privilege::Login(_))), Change::LoggedIn);
        note(matches!(plan.privilege, Some(Privilege::Elevate(_))), Change::Elevated);
        if let Some(base) = self.base.as_ref().filter(|_| plan.end.is_none()) {
            let head = &base.record.head;
            let touch = self.exchange.rules.policy().touch(head.idle);
            note(base.standing == Standing::Current && head.current.confirmed_at.is_none(), Change::Confirmed);
            note(plan.privilege.is_none() && (plan.rotate || self.rotation_due()), Change::Rotated);
            note(head.clone().touch(self.exchange.now, touch), Change::Touched);
        }
        changes.extend((changes.is_empty() && self.has_turn()).then_some(Change::Released));
        changes
    }

    fn live_base(&self) -> Option<&Base> {
        self.base.as_ref().filter(|_| self.exchange.plan.end.is_none())
    }

    fn principal_now(&self) -> Option<&Principal> {
        match &self.exchange.plan.privilege {
            Some(Privilege::Login(principal) | Privilege::Elevate(principal)) => Some(principal),
            None => self.live_base().and_then(|base| base.record.principal.as_ref()),
        }
    }

    // spec: LOGIN-2 0c3e, LOGIN-4 e450
    fn journal(&mut self) -> &mut Journal {
        // An elevation carries everything, so only a login parts what came before from what follows.
        let logs_in = matches!(self.exchange.plan.privilege, Some(Privilege::Login(_)));
        if logs_in { &mut self.exchange.plan.after } else { &mut self.exchange.plan.before }
    }

    // spec: WRITE-6 b7e4
    fn read(&mut self, key: &str) {
        self.accessed.set(true);
        if self.exchange.reads.strict && !self.exchange.reads.keys.contains(key) {
            self.exchange.reads.keys.insert(key.to_owned());
        }
    }

    fn look(&self, key: &str) -> Option<Cow<'_, [u8]>> {
        let base = self.live_base().and_then(|base| base.record.data.get(key));
        let plan = &self.exchange.plan;
        if plan.privilege.is_none() && plan.before.is_empty() && plan.after.is_empty() {
            return base.map(Cow::Borrowed);
        }
        let before = self.exchange.plan.before.look(key, base).filter(|_| self.carries(key));
        match before {
            None => self.exchange.plan.after.look(key, None),
            Some(Cow::Borrowed(value)) => self.exchange.plan.after.look(key, Some(value)),
            Some(Cow::Owned(value)) => {
                self.exchange.plan.after.look(key, Some(&value)).map(|value| Cow::Owned(value.into_owned()))
            }
        }
    }

    fn carries(&self, key: &str) -> bool {
        let carry = &self.exchange.rules.policy().settings().carry;
        self.exchange.plan.carry(self.live_base().is_some_and(|base| base.record.principal.is_some()), carry).keeps(key)
    }
}
