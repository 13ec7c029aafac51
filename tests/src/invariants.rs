//! The claims, each as one function over what a step did. Every harness checks all of them after every step.
//!
//! That hostile bytes do no harm is not here: it is about inputs that a world of honest code never sees, and is tested on
//! its own.

use std::fmt;

use coatroom_core::staged::Waiting;
use coatroom_core::{Change, Event, Handle, Kind, State, Value};

use crate::browser::{Id, read_line};
use crate::ops::{Op, mark, times};
use crate::record::{Front, Previous, data};
use crate::world::{ATTACKER, Exchange, Phase, Said, Seen, Setup, THIEF, World};

/// A broken claim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    pub claim: &'static str,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.claim, self.what)
    }
}

impl std::error::Error for Violation {}

type Claim = fn(&World, &Seen<'_>) -> Result<(), String>;

/// All claims that a step can break.
pub const CLAIMS: [(&str, Claim); 10] = [
    ("a planted id never logs in", a_planted_id_never_logs_in),
    ("dead ids stay dead", dead_ids_stay_dead),
    ("acknowledged writes are there, each once", acknowledged_writes_are_there),
    ("a rotation logs nobody out", a_rotation_logs_nobody_out),
    ("a login stays", a_login_stays),
    ("a copy is noticed", a_copy_is_noticed),
    ("limits hold", limits_hold),
    ("no secret is stored", no_secret_is_stored),
    ("same inputs, same outputs", same_inputs_same_outputs),
    ("cookies come only from where they may", cookies_come_only_from_where_they_may),
];

pub fn check(world: &World, seen: &Seen<'_>) -> Result<(), Violation> {
    CLAIMS.iter().try_for_each(|(claim, holds)| holds(world, seen).map_err(|what| Violation { claim, what }))
}

fn require(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

fn has(exchange: &Exchange, wanted: fn(&Op) -> bool) -> bool {
    exchange.script.ops.iter().any(wanted) && !exchange.script.ops.contains(&Op::Discard)
}

fn logs_in(exchange: &Exchange) -> bool {
    has(exchange, |op| matches!(op, Op::Login(_)))
}

fn logs_out(exchange: &Exchange) -> bool {
    has(exchange, |op| *op == Op::Logout)
}

/// Nobody but the attacker logs in as `mallory`.
fn is_honest(name: &str) -> bool {
    name != "mallory"
}

/// Claim 1. The attacker holds no id but the planted one, and what it may have got by logging in itself.
pub fn a_planted_id_never_logs_in(world: &World, seen: &Seen<'_>) -> Result<(), String> {
    match *seen {
        Seen::Opened(number) if world.exchanges[number].script.browser == ATTACKER => {
            let principal = world.exchanges[number].opened.as_ref().and_then(|opened| opened.principal.as_deref());
            require(!principal.is_some_and(is_honest), || format!("the attacker is {principal:?} in {number}"))
        }
        Seen::Swapped { by, swap, before } if world.exchanges[by].script.browser == ATTACKER => {
            let (before, after) = (before.and_then(Front::read), swap.new.as_deref().and_then(Front::read));
            let Some(front) = before.filter(|front| front.holder().is_some_and(is_honest)) else { return Ok(()) };
            let is_end = after.is_none_or(|after| after.cause.is_some_and(|cause| (1..=3).contains(&cause)));
            let over = front.is_over_limit(world.now) || was_over_limit(&world.exchanges[by], swap.handle);
            require(is_end && over, || format!("the attacker wrote into a login by {by}"))
        }
        Seen::Answered(number) if world.exchanges[number].script.browser == ATTACKER => {
            let exchange = &world.exchanges[number];
            let cookies = &exchange.answer.as_ref().unwrap().cookies;
            let told = cookies.iter().map(|line| read_line(line)).any(|(kind, _, gone)| kind == Kind::Login && !gone);
            require(!told || logs_in(exchange) || logged_in_as_itself(exchange), || {
                format!("the attacker was told a login id by {number}")
            })
        }
        _ => Ok(()),
    }
}

/// Whether the store showed this exchange the session past a limit: then it ends, whatever happened in between.
fn was_over_limit(exchange: &Exchange, handle: Handle) -> bool {
    let inputs = &exchange.inputs;
    let mut looked_up = exchange.opened.iter().flat_map(|opened| &opened.looked_up);
    let met = inputs.said.iter().filter_map(|said| match said {
        Said::Conflicted(record) | Said::Reloaded(record) => record.as_deref().and_then(Front::read),
        Said::Saved => None,
    });
    looked_up.any(|(_, id, front)| {
        id.handle == handle && front.as_ref().is_some_and(|front| front.is_over_limit(inputs.opened_at))
    }) || met.into_iter().any(|front| front.is_over_limit(inputs.closed_at))
}

fn logged_in_as_itself(exchange: &Exchange) -> bool {
    exchange.opened.as_ref().is_some_and(|opened| opened.principal.as_deref() == Some("mallory"))
}

/// Claim 2. Once an exchange is over that found an id dead, that id opens nothing and writes nothing; and a logout that was
/// acknowledged has ended the session, whichever of its ids asked.
pub fn dead_ids_stay_dead(world: &World, seen: &Seen<'_>) -> Result<(), String> {
    let live = |number: usize| {
        let opened = world.exchanges[number].opened.as_ref()?;
        let id = (opened.kind, opened.live.clone()?);
        world.dead.contains(&id).then_some(id.1)
    };
    match *seen {
        Seen::Opened(number) => live(number).map_or(Ok(()), |id| Err(format!("{id:?} works again in {number}"))),
        Seen::Swapped { by, swap, .. } => {
            let is_end = swap.new.as_deref().and_then(Front::read).is_none_or(|front| front.is_ended());
            match live(by).filter(|id| id.handle == swap.handle && !is_end) {
                Some(id) => Err(format!("{by} wrote with the dead {id:?}")),
                None => Ok(()),
            }
        }
        Seen::Answered(number) => {
            let exchange = &world.exchanges[number];
            let done = exchange.answer.as_ref().unwrap().error.is_none() && logs_out(exchange);
            let id = exchange.opened.as_ref().and_then(|opened| opened.live.as_ref()).filter(|_| done);
            let front = id.and_then(|id| world.store.get(id.handle)).and_then(Front::read);
            require(front.is_none_or(|front| front.is_ended()), || format!("{number} logged out, {id:?} goes on"))
        }
        _ => Ok(()),
    }
}

/// Claim 3, for every record after every step: what was acknowledged is there unless written over, what was refused or
/// taken back is not, and nothing is there twice.
pub fn acknowledged_writes_are_there(world: &World, seen: &Seen<'_>) -> Result<(), String> {
    if !matches!(seen, Seen::Swapped { .. } | Seen::Answered(_)) {
        return Ok(());
    }
    world.store.records.iter().try_for_each(|(handle, record)| {
        let Some(front) = Front::read(record).filter(|front| !front.is_ended()) else { return Ok(()) };
        let data = data(record);
        let number = |key: &str| match data.get(key) {
            Some(Value::Int(number)) => *number,
            _ => 0,
        };
        let erased = |exchange: &Exchange| has(exchange, |op| matches!(op, Op::Clear | Op::Remove(_)));
        let any_erased = world.exchanges.iter().any(|exchange| erased(exchange));
        for (by, exchange) in world.exchanges.iter().enumerate() {
            let wish = Wish::of(exchange);
            let acknowledged = wish.acknowledged_at == Some(*handle);
            let what = |what: &str| format!("{what} of {by} in {handle}, version {}", front.version);
            for (key, op) in [("n", Op::Add), ("u", Op::Update)] {
                let found = times(number(key), by);
                let wished = wish.ops.iter().filter(|wished| **wished == op).count() as i64;
                require(found <= wished, || what("too many additions"))?;
                require(found == 0 || !wish.is_refused, || what("refused addition"))?;
                require(found == wished || any_erased || !acknowledged, || what("lost addition"))?;
            }
            for key in ["a", "b", "c"] {
                let mine = number(key) == mark(by);
                let wished = wish.ops.contains(&Op::Set(key));
                require(!mine || wished, || what("unwanted value"))?;
                require(!mine || !wish.is_refused, || what("refused value"))?;
                let rival = |other: usize| {
                    let wish = Wish::of(&world.exchanges[other]);
                    other != by && wish.ops.contains(&Op::Set(key))
                };
                let alone = !(0..world.exchanges.len()).any(rival);
                require(mine || !wished || !acknowledged || !alone || any_erased, || what("lost value"))?;
                let somebody = data.contains_key(key);
                require(somebody || !wished || !acknowledged || any_erased, || what("lost key"))?;
            }
        }
        Ok(())
    })
}

/// What an exchange asked to be written.
struct Wish<'a> {
    ops: &'a [Op],
    /// In which session it was told that this is done.
    acknowledged_at: Option<Handle>,
    /// It was told that nothing was written.
    is_refused: bool,
}

impl<'a> Wish<'a> {
    fn of(exchange: &'a Exchange) -> Self {
        let ops = &exchange.script.ops[..];
        let after_last = |wanted: fn(&Op) -> bool| ops.iter().rposition(wanted).map_or(0, |at| at + 1);
        let mut start = after_last(|op| matches!(op, Op::Logout | Op::Discard));
        let answer = exchange.answer.as_deref();
        if let (Some(opened), Some(answer)) = (&exchange.opened, answer)
            && opened.live.is_some()
            && answer.written.contains(&Change::Created)
        {
            // A login that had to start afresh takes along only what followed it, and of a logout what followed that.
            let logout = after_last(|op| *op == Op::Logout);
            start = if logout > 0 { logout } else { start.max(after_last(|op| matches!(op, Op::Login(_)))) };
        }
        let writes =
            ops[start..].iter().any(|op| matches!(op, Op::Add | Op::Update | Op::Set(_))) && exchange.opened.is_some();
        let done = answer.filter(|answer| answer.error.is_none() && writes);
        Self {
            ops: &ops[start..],
            acknowledged_at: done.and_then(|answer| answer.handle),
            is_refused: answer.is_some_and(|answer| answer.error.is_some() && !answer.is_uncertain()),
        }
    }
}

/// Claim 4. In a quiet and timely world every request of the victim opens its login, and so would the cookies that it
/// holds now.
pub fn a_rotation_logs_nobody_out(world: &World, seen: &Seen<'_>) -> Result<(), String> {
    if !world.setup.quiet || !world.setup.timely {
        return Ok(());
    }
    match *seen {
        Seen::Opened(number) => {
            let opened = world.exchanges[number].opened.as_ref().unwrap();
            let over = opened.looked_up.iter().any(|(_, _, front)| {
                front.as_ref().is_some_and(|front| front.is_over_limit(world.now) || matches!(front.cause, Some(1..=3)))
            });
            require(over || opened.principal.is_some(), || format!("{number} found nobody logged in"))
        }
        _ => the_login_works(world),
    }
}

/// What the victim's browser holds now opens its login, unless a limit has passed.
fn the_login_works(world: &World) -> Result<(), String> {
    let Some(browser) = world.browsers.first().filter(|browser| browser.login.is_some()) else { return Ok(()) };
    let header = browser.header();
    let id = Id::in_header(&header, Kind::Login).unwrap();
    let front = world.store.get(id.handle).and_then(Front::read);
    if front.is_some_and(|front| front.is_over_limit(world.now) || matches!(front.cause, Some(1..=3))) {
        return Ok(());
    }
    let mut staged = world.probe(&header);
    let works = staged.waiting() == Waiting::Handler
        && staged.session().is_ok_and(|session| session.principal().is_some_and(|who| is_honest(who.name())));
    require(works, || format!("the browser holds {id:?}, which opens nothing"))
}

/// Claim 5. A login ends by its own logout, a limit, reuse or a newer login of its own, and by nothing else.
pub fn a_login_stays(world: &World, seen: &Seen<'_>) -> Result<(), String> {
    match *seen {
        Seen::Swapped { by, swap, before } => {
            let exchange = &world.exchanges[by];
            let (before, after) = (before.and_then(Front::read), swap.new.as_deref().and_then(Front::read));
            let Some((front, holder)) = before.as_ref().and_then(|front| Some((front, front.holder()?))) else {
                return Ok(());
            };
            let opened = exchange.opened.as_deref();
            let own = opened.is_some_and(|opened| opened.principal.as_deref() == Some(holder));
            match after.filter(|after| !after.is_ended()) {
                None => {
                    let asked = own && (logs_out(exchange) || logs_in(exchange));
                    let over = front.is_over_limit(world.now) || was_over_limit(exchange, swap.handle);
                    let reuse = opened.into_iter().flat_map(|opened| &opened.looked_up).any(|(kind, id, _)| {
                        *kind == Kind::Login
                            && id.handle == swap.handle
                            && front.is_reuse(id.generation, exchange.inputs.closed_at)
                    });
                    require(asked || over || reuse, || format!("{by} ended the login of {holder}"))
                }
                Some(after) => {
                    require(after.principal.as_deref() == Some(holder), || format!("{by} changed who is logged in"))?;
                    require(after.floor == front.floor || own, || format!("{by} cut off the login of {holder}"))
                }
            }
        }
        Seen::Delivered(_) if world.setup.one_login => the_login_works(world),
        _ => Ok(()),
    }
}

/// Claim 6. A login id that was replaced, and has no grace left, opens nothing; once the exchange that presented it is
/// over, so is the session.
pub fn a_copy_is_noticed(world: &World, seen: &Seen<'_>) -> Result<(), String> {
    let (Seen::Opened(number) | Seen::Answered(number)) = *seen else { return Ok(()) };
    let exchange = &world.exchanges[number];
    let Some(opened) = &exchange.opened else { return Ok(()) };
    let copy = opened.looked_up.iter().find(|(kind, id, front)| {
        *kind == Kind::Login
            && front.as_ref().is_some_and(|front| {
                front.principal.is_some() && front.is_reuse(id.generation, exchange.inputs.opened_at)
            })
    });
    let Some((_, id, _)) = copy else { return Ok(()) };
    let noticed = opened.events.contains(&Event::Reuse(id.handle));
    require(noticed && opened.live.as_ref() != Some(id), || format!("{number} used the copied {id:?}"))?;
    let answered = matches!(seen, Seen::Answered(_)) && !exchange.answer.as_ref().unwrap().is_uncertain();
    // A login in between did away with the copy, and is not its holder's to end.
    let now = world.store.get(id.handle).and_then(Front::read);
    let over = now.is_none_or(|front| front.is_ended() || front.floor > id.generation);
    require(!answered || over, || format!("{number} presented the copied {id:?}, and the session goes on"))
}

/// Claim 7, and the rule that a grace never outlasts the session.
pub fn limits_hold(world: &World, seen: &Seen<'_>) -> Result<(), String> {
    match *seen {
        Seen::Opened(number) => {
            let opened = world.exchanges[number].opened.as_ref().unwrap();
            let Some((_, id, Some(front))) = opened.looked_up.last().filter(|_| opened.live.is_some()) else {
                return Ok(());
            };
            let now = world.exchanges[number].inputs.opened_at;
            let late = world.deadlines.get(&id.handle).is_some_and(|deadline| now >= *deadline);
            require(!late && !front.is_over_limit(now), || format!("{number} has access past a limit"))
        }
        Seen::Swapped { by, swap, before } => {
            let Some(after) = swap.new.as_deref().and_then(Front::read).filter(|after| !after.is_ended()) else {
                return Ok(());
            };
            let exchange = &world.exchanges[by];
            let closed_at = exchange.inputs.closed_at;
            let before = before.and_then(Front::read);
            let late = before.as_ref().is_some_and(|front| front.is_over_limit(closed_at));
            require(!late, || format!("{by} wrote past a limit"))?;
            let seen_at = before.as_ref().map_or(0, |front| front.seen);
            require(after.seen >= seen_at && after.seen <= closed_at.max(seen_at), || {
                format!("{by} moved the last use")
            })?;
            // A clock that is behind the record is taken to be where the record is.
            let full = closed_at.max(seen_at) + world.setup.absolute();
            let kept = before.as_ref().is_some_and(|front| front.deadline == after.deadline);
            let fresh = before.is_none() || logs_in(exchange);
            require(kept || (fresh && after.deadline == full), || format!("{by} moved the absolute limit"))?;
            grace_is_short(&world.setup, by, &after)
        }
        _ => Ok(()),
    }
}

fn grace_is_short(setup: &Setup, by: usize, after: &Front) -> Result<(), String> {
    match after.previous {
        Previous::Until(until) => require(until <= after.confirmed + setup.grace() && until <= after.deadline, || {
            format!("{by} gave a grace until {until}, confirmed {}, deadline {}", after.confirmed, after.deadline)
        }),
        Previous::None | Previous::Pending => Ok(()),
    }
}

/// Claim 10, as far as the store is concerned: no secret that a browser was ever told is in it.
pub fn no_secret_is_stored(world: &World, seen: &Seen<'_>) -> Result<(), String> {
    let Seen::Answered(number) = *seen else { return Ok(()) };
    let cookies = &world.exchanges[number].answer.as_ref().unwrap().cookies;
    for line in cookies {
        let Some(id) = Id::read(read_line(line).1) else { continue };
        let found = |record: &[u8]| record.windows(32).any(|window| window == id.secret);
        let stored = world.store.records.values().any(|record| found(record));
        require(!stored, || format!("the secret of {id:?} is stored"))?;
    }
    Ok(())
}

/// Claim 11.
pub fn same_inputs_same_outputs(_: &World, seen: &Seen<'_>) -> Result<(), String> {
    match *seen {
        Seen::Diverged(number) => Err(format!("{number} came out differently")),
        _ => Ok(()),
    }
}

/// The silence rule, commit before head, and that a cookie is cleared by a logout only; part of claims 4 and 5.
pub fn cookies_come_only_from_where_they_may(world: &World, seen: &Seen<'_>) -> Result<(), String> {
    let Seen::Answered(number) = *seen else { return Ok(()) };
    let exchange = &world.exchanges[number];
    let answer = exchange.answer.as_ref().unwrap();
    let opened = exchange.opened.as_deref();
    let regenerated = opened.is_some_and(|opened| {
        opened.state == Some(State::Regenerated)
            && opened
                .looked_up
                .first()
                .is_some_and(|(kind, id, _)| *kind == Kind::Login && opened.live.as_ref().is_none_or(|live| live == id))
    });
    for line in &answer.cookies {
        let (kind, value, removes) = read_line(line);
        let what = |what: &str| format!("{what} by {number}");
        if removes {
            let moves_in = kind == Kind::Visitor && logs_in(exchange);
            require(logs_out(exchange) || moves_in, || what("cookie cleared"))?;
            continue;
        }
        let id = Id::read(value).ok_or_else(|| what("unreadable cookie"))?;
        let front = world.store.get(id.handle).and_then(Front::read);
        // An answer that repeats a rotation writes nothing, and the session may be gone by then.
        require(front.is_some() || answer.written.is_empty(), || what("cookie before the commit"))?;
        let own = logs_in(exchange) || logs_out(exchange) || has(exchange, |op| *op == Op::Elevate);
        if regenerated && !own {
            let presented = &opened.unwrap().looked_up[0].1;
            let again = kind == Kind::Login
                && id.handle == presented.handle
                && id.generation == presented.generation + 1
                && opened.unwrap().live.is_some();
            require(again, || what("cookie set against the silence rule"))?;
        }
        let anonymous = opened.is_none_or(|opened| opened.principal.is_none());
        require(kind == Kind::Visitor || own || !anonymous, || what("login cookie set by an anonymous exchange"))?;
    }
    let thief = exchange.script.browser == THIEF;
    require(exchange.phase == Phase::Answered || thief, || format!("{number} answered twice"))
}
