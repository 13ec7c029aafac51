//! The claims, each as one function over what a step did. Every harness checks all of them after every step.
//!
//! That hostile bytes do no harm is not here: it is about inputs that a world of honest code never sees, and is tested on
//! its own.

use std::fmt;

use coatroom_core::staged::Waiting;
use coatroom_core::{Event, Handle, Kind, State, Value};

use crate::browser::{Id, read_line};
use crate::ops::{Op, mark, times};
use crate::record::{Front, Previous, data};
use crate::scenarios::SKEW;
use crate::turns;
use crate::world::{ATTACKER, Exchange, NODES, Phase, Said, Seen, Setup, THIEF, VICTIM, World};

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
pub const CLAIMS: [(&str, Claim); 17] = [
    ("a planted id never logs in", a_planted_id_never_logs_in),
    ("dead ids stay dead", dead_ids_stay_dead),
    ("an end is final", an_end_is_final),
    ("acknowledged writes are there, each once", acknowledged_writes_are_there),
    ("a strict write sees no other", a_strict_write_sees_no_other),
    ("a serial write sees no other", turns::a_serial_write_sees_no_other),
    ("a turn is respected", turns::a_turn_is_respected),
    ("a turn ends", turns::a_turn_ends),
    ("nobody waits for nothing", turns::nobody_waits_for_nothing),
    ("a rotation logs nobody out", a_rotation_logs_nobody_out),
    ("a login stays", a_login_stays),
    ("a copy is noticed", a_copy_is_noticed),
    ("limits hold", limits_hold),
    ("what may be lost brings no id back", what_may_be_lost_brings_no_id_back),
    ("no secret is stored", no_secret_is_stored),
    ("same inputs, same outputs", same_inputs_same_outputs),
    ("cookies come only from where they may", cookies_come_only_from_where_they_may),
];

pub fn check(world: &World, seen: &Seen<'_>) -> Result<(), Violation> {
    CLAIMS.iter().try_for_each(|(claim, holds)| holds(world, seen).map_err(|what| Violation { claim, what }))
}

pub fn require(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
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

/// Claim 1. The attacker holds no id but the planted one, and what it may have got by logging in itself. Whoever presented
/// an id from before a login writes nothing into it, and nobody finds himself logged in as the attacker.
pub fn a_planted_id_never_logs_in(world: &World, seen: &Seen<'_>) -> Result<(), String> {
    if let Seen::Swapped { by, swap, before: Some(before) } = *seen
        && let Some(id) = world.exchanges[by].opened.as_ref().and_then(|opened| opened.live.as_ref())
        && id.handle == swap.handle
        && let (Some(before), Some(after)) = (Front::read(before), swap.new.as_deref().and_then(Front::read))
    {
        let older = id.generation < before.floor && !after.is_ended();
        require(!older, || format!("{by} wrote into a login with {id:?}, which is older"))?;
    }
    match *seen {
        Seen::Opened(number) if world.exchanges[number].script.browser == VICTIM => {
            let principal = world.exchanges[number].opened.as_ref().and_then(|opened| opened.principal.as_deref());
            require(principal.is_none_or(is_honest), || format!("the victim is {principal:?} in {number}"))
        }
        Seen::Opened(number) if world.exchanges[number].script.browser == ATTACKER => {
            let principal = world.exchanges[number].opened.as_ref().and_then(|opened| opened.principal.as_deref());
            require(!principal.is_some_and(is_honest), || format!("the attacker is {principal:?} in {number}"))
        }
        Seen::Swapped { by, swap, before } if world.exchanges[by].script.browser == ATTACKER => {
            let (before, after) = (before.and_then(Front::read), swap.new.as_deref().and_then(Front::read));
            let Some(front) = before.filter(|front| front.holder().is_some_and(is_honest)) else { return Ok(()) };
            let is_end = after.is_none_or(|after| after.cause.is_some_and(|cause| (1..=3).contains(&cause)));
            let over = is_over_limit(&front, &world.exchanges[by], swap.handle);
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

/// Whether a limit has passed by the clock of this exchange, or the store showed it the session past one: then it ends,
/// whatever happened in between.
fn is_over_limit(front: &Front, exchange: &Exchange, handle: Handle) -> bool {
    front.is_over_limit(exchange.latest_clock()) || was_over_limit(exchange, handle)
}

fn was_over_limit(exchange: &Exchange, handle: Handle) -> bool {
    let inputs = &exchange.inputs;
    let mut looked_up = exchange.opened.iter().flat_map(|opened| &opened.looked_up);
    let met = inputs.said.iter().filter_map(|said| match said {
        Said::Conflicted(record) | Said::Reloaded(record) => record.as_deref().and_then(Front::read),
        Said::Saved => None,
    });
    looked_up.any(|(_, id, front)| {
        id.handle == handle && front.as_ref().is_some_and(|front| front.is_over_limit(inputs.opened_at))
    }) || met.into_iter().any(|front| front.is_over_limit(exchange.latest_clock()))
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

/// Claim 2, for the whole session: nothing is written over an end, and what was removed is not put back.
pub fn an_end_is_final(_: &World, seen: &Seen<'_>) -> Result<(), String> {
    let Seen::Swapped { by, swap, before } = *seen else { return Ok(()) };
    require(before.is_some() == swap.expected.is_some(), || format!("{by} put a removed session back"))?;
    let ended = before.and_then(Front::read).is_some_and(|front| front.is_ended());
    require(!ended, || format!("{by} wrote over an end"))
}

/// Claim 3, for every record after every step: what was acknowledged is there unless written over, what was refused or
/// taken back is not, and nothing is there twice. What a power failure undid was not synced, and is excused.
pub fn acknowledged_writes_are_there(world: &World, seen: &Seen<'_>) -> Result<(), String> {
    if !matches!(seen, Seen::Swapped { .. } | Seen::Answered(_) | Seen::Cut) {
        return Ok(());
    }
    let under_way = |exchange: &Exchange| exchange.opened.is_some() && !exchange.wish.is_refused;
    let erases = |exchange: &Exchange| has(exchange, |op| matches!(op, Op::Clear | Op::Remove(_)));
    let any_erased = world.exchanges.iter().any(|exchange| under_way(exchange) && erases(exchange));
    world.store.records.iter().try_for_each(|(handle, record)| {
        let Some(front) = Front::read(record).filter(|front| !front.is_ended()) else { return Ok(()) };
        let numbers = numbers(record);
        for (by, exchange) in world.exchanges.iter().enumerate() {
            let acknowledged = exchange.wish.acknowledged_at == Some(*handle) && !world.undone.contains(&by);
            let is_refused = exchange.wish.is_refused;
            let what = |what: &str| format!("{what} of {by} in {handle}, version {}", front.version);
            for (sum, ops) in [(numbers.n, [Op::Add, Op::ReadAdd]), (numbers.u, [Op::Update; 2])] {
                let found = times(sum.unwrap_or(0), by);
                let wished = exchange.wished().iter().filter(|wished| ops.contains(wished)).count() as i64;
                require(found <= wished, || what("too many additions"))?;
                require(found == 0 || !is_refused, || what("refused addition"))?;
                require(found == wished || any_erased || !acknowledged, || what("lost addition"))?;
            }
            for (key, value) in KEYS.into_iter().zip(numbers.keys) {
                let mine = value == Some(mark(by));
                let wished = exchange.wished().contains(&Op::Set(key));
                require(!mine || wished, || what("unwanted value"))?;
                require(!mine || !is_refused, || what("refused value"))?;
                if !wished || !acknowledged || any_erased {
                    continue;
                }
                let rival = |other: &Exchange| under_way(other) && other.wished().contains(&Op::Set(key));
                let alone = !world.exchanges.iter().any(|other| other.number != by && rival(other));
                require(mine || !alone, || what("lost value"))?;
                require(value.is_some(), || what("lost key"))?;
            }
        }
        Ok(())
    })
}

const KEYS: [&str; 3] = ["a", "b", "c"];

/// The numbers in a record that tell who wrote them.
struct Numbers {
    n: Option<i64>,
    u: Option<i64>,
    keys: [Option<i64>; 3],
}

fn numbers(record: &[u8]) -> Numbers {
    let data = data(record);
    let number = |key: &str| match data.get(key) {
        Some(Value::Int(number)) => Some(*number),
        _ => None,
    };
    Numbers { n: number("n"), u: number("u"), keys: KEYS.map(number) }
}

/// Part of claim 3: what a strict exchange read or set from then on was changed by nobody since it was opened.
pub fn a_strict_write_sees_no_other(world: &World, seen: &Seen<'_>) -> Result<(), String> {
    let Seen::Swapped { by, swap, before: Some(before) } = *seen else { return Ok(()) };
    let exchange = &world.exchanges[by];
    let opened = exchange.opened.as_ref().and_then(|opened| opened.live.as_ref());
    let is_own = opened.is_some_and(|id| id.handle == swap.handle);
    let is_end = swap.new.as_deref().and_then(Front::read).is_none_or(|front| front.is_ended());
    if !is_own || is_end || !has(exchange, |op| *op == Op::Strict) || !exchange.wished().iter().any(Op::writes) {
        return Ok(());
    }
    let base = exchange.inputs.loads.last().and_then(Option::as_deref).map(data).unwrap_or_default();
    let before = data(before);
    if swap.new.as_deref().map(data).as_ref() == Some(&before) {
        return Ok(());
    }
    exchange.script.ops.iter().skip_while(|op| **op != Op::Strict).try_for_each(|op| match op {
        Op::Get(key) | Op::Set(key) | Op::Remove(key) => {
            require(base.get(*key) == before.get(*key), || format!("{by} wrote though {key} was changed"))
        }
        _ => Ok(()),
    })
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
            let at = world.exchanges[number].inputs.opened_at;
            let over = opened.looked_up.iter().any(|(_, _, front)| {
                front.as_ref().is_some_and(|front| front.is_over_limit(at) || matches!(front.cause, Some(1..=3)))
            });
            require(over || opened.principal.is_some(), || format!("{number} found nobody logged in"))
        }
        _ => the_login_works(world),
    }
}

/// What the victim's browser holds now opens its login on every node, unless a limit has passed there.
fn the_login_works(world: &World) -> Result<(), String> {
    let Some(browser) = world.browsers.first().filter(|browser| browser.login.is_some()) else { return Ok(()) };
    let header = browser.header();
    let id = Id::in_header(&header, Kind::Login).unwrap();
    let front = world.store.get(id.handle).and_then(Front::read);
    // Nodes of one clock and one ring say the same.
    let differ = |node: &usize| {
        let same =
            |other| world.setup.clocks[other] == world.setup.clocks[*node] && world.rings[other] == world.rings[*node];
        !(0..*node).any(same)
    };
    (0..NODES).filter(differ).try_for_each(|node| {
        let over = |front: &Front| front.is_over_limit(world.clock(node)) || matches!(front.cause, Some(1..=3));
        if front.as_ref().is_some_and(over) {
            return Ok(());
        }
        let mut staged = world.probe_on(node, &header);
        let works = staged.waiting() == Waiting::Handler
            && staged.session().is_ok_and(|session| session.principal().is_some_and(|who| is_honest(who.name())));
        require(works, || format!("the browser holds {id:?}, which opens nothing on node {node}"))
    })
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
                    let over = is_over_limit(front, exchange, swap.handle);
                    let reuse = opened.into_iter().flat_map(|opened| &opened.looked_up).any(|(kind, id, _)| {
                        *kind == Kind::Login
                            && id.handle == swap.handle
                            && front.is_reuse(id.generation, exchange.latest_clock())
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
            // To forget a previous id, or to give back a turn, gives nobody access.
            let forgets = |front: &Front| {
                let Front { version, data_at, .. } = after;
                let without = |previous| Front { previous, lease: None, version, data_at, ..front.clone() };
                after == without(Previous::None) || after == without(front.previous)
            };
            let late = before.as_ref().is_some_and(|front| front.is_over_limit(closed_at) && !forgets(front));
            require(!late, || format!("{by} wrote past a limit"))?;
            let swept_at = swap.garbage_at.as_unix_ms() - SKEW;
            require(after.is_over_limit(swept_at), || format!("{by} lets a live session be swept"))?;
            let seen_at = before.as_ref().map_or(0, |front| front.seen);
            let clock = exchange.latest_clock().max(seen_at);
            require(after.seen >= seen_at && after.seen <= clock, || format!("{by} moved the last use"))?;
            // A clock that is behind the record is taken to be where the record is.
            let full = clock + world.setup.absolute();
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

/// Section 4: a write that need not be synced leaves every id, the login, the absolute limit and the end as they are. So
/// what a power failure undoes can bring nothing back.
pub fn what_may_be_lost_brings_no_id_back(_: &World, seen: &Seen<'_>) -> Result<(), String> {
    let Seen::Swapped { by, swap, before } = *seen else { return Ok(()) };
    if swap.durable {
        return Ok(());
    }
    let ids = |record: &[u8]| {
        let front = Front::read(record)?;
        Some((front.state, front.generation, front.floor, front.previous, front.deadline, front.principal))
    };
    let (before, after) = (before.and_then(ids), swap.new.as_deref().and_then(ids));
    require(before.is_some() && before == after, || format!("{by} changed an id, and need not sync"))
}

/// Claim 10, as far as the store is concerned: no secret that is presented or told is in what is written, or is stored.
pub fn no_secret_is_stored(world: &World, seen: &Seen<'_>) -> Result<(), String> {
    match *seen {
        Seen::Swapped { by, swap, .. } => {
            let exchange = &world.exchanges[by];
            let is_own = exchange.swap.as_deref() == Some(swap);
            require(!is_own || !exchange.leaks, || format!("{by} wrote a secret that was presented to it"))
        }
        Seen::Answered(number) => {
            let cookies = &world.exchanges[number].answer.as_ref().unwrap().cookies;
            let mut told = cookies.iter().filter_map(|line| Id::read(read_line(line).1));
            let stored = told.find(|id| world.store.records.values().any(|record| id.is_in(record)));
            require(stored.is_none(), || format!("the secret of {stored:?} is stored"))
        }
        _ => Ok(()),
    }
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
