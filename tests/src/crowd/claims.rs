//! What holds of every world of principals and their sessions, by the clauses `IDX`, `LIMIT` and `CLAIM-8`.

use coatroom_core::staged::{Staged, Waiting};
use coatroom_core::{Beyond, Error, Handle, Loaded, Timestamp};

use super::actor::{Actor, Answer, Call, Deed, Stage};
use super::shelf::Shelf;
use super::{Bar, World};
use crate::browser::Browser;
use crate::record::Front;

impl World {
    fn front(&self, handle: Handle) -> Option<Front> {
        front(&self.shelf, handle)
    }

    /// Who is let in with these cookies now.
    fn admits(&self, browser: &Browser) -> Option<String> {
        let now = Timestamp::from_unix_ms(self.now);
        let mut staged = Staged::from(self.nodes.rules.open(browser.header().as_bytes(), now));
        while let Waiting::Load(handle) = staged.waiting() {
            let record = self.shelf.records.get(&handle);
            staged.found(record.map_or(Loaded::Absent, |record| Loaded::Found(record.to_vec()))).unwrap();
        }
        staged.session().ok()?.principal().map(|principal| principal.name().to_owned())
    }

    fn told(&self) -> impl Iterator<Item = (Handle, Front)> {
        let logged_in = self.held.values().filter(|held| self.actors[held.login].deed.logs_in().is_some());
        let mut handles: Vec<Handle> = logged_in.filter_map(|held| held.handle).collect();
        handles.sort_unstable();
        handles.dedup();
        handles.into_iter().filter_map(|handle| Some((handle, self.front(handle)?)))
    }

    /// How many live sessions of a principal somebody was told of.
    fn live(&self, who: &str) -> usize {
        let is_live = |front: &Front| front.holder() == Some(who) && !front.is_over_limit(self.now);
        self.told().filter(|(_, front)| is_live(front)).count()
    }
}

fn front(shelf: &Shelf, handle: Handle) -> Option<Front> {
    shelf.records.get(&handle).and_then(|record| Front::read(record))
}

/// Everybody in these worlds.
const PRINCIPALS: [&str; 3] = ["ann", "anna", "ben"];
/// How a record says that its session gave way to another.
const EVICTED: u8 = 7;

pub fn of_every_moment(world: &World) -> Result<(), String> {
    nobody_revoked_is_let_in(world)?;
    told_logins_are_listed(world)?;
    the_limit_that_refuses_holds(world)
}

/// CLAIM-8, and IDX-6 where a request noticed a copied id and the policy says so.
fn nobody_revoked_is_let_in(world: &World) -> Result<(), String> {
    for (by, begun) in world.begun.iter().filter(|(_, begun)| begun.has_revoked) {
        let deed = world.actors[*by].deed;
        let kept = if let Deed::RevokeOthers(_, of) = deed { world.held.get(&of).map(|held| held.login) } else { None };
        for held in world.held.values() {
            // An exchange that revoked all itself counts as opened then.
            let revoked_at = |number| world.bars.iter().rposition(|bar| bar.by == number && bar.is_known);
            let counts_as_later = revoked_at(held.login) > revoked_at(*by);
            if !begun.after.contains(&held.login) || kept == Some(held.login) || counts_as_later {
                continue;
            }
            let who = world.actors[held.login].deed.logs_in();
            let meant = deed.revokes_all_of().or(who);
            if who == meant && world.admits(&held.browser).is_some() {
                return Err(format!("{by} revoked all, and the login {} works", held.login));
            }
        }
    }
    Ok(())
}

/// IDX-1 and IDX-2.
fn told_logins_are_listed(world: &World) -> Result<(), String> {
    for (handle, front) in world.told() {
        if let Some(holder) = front.holder().filter(|_| !front.is_over_limit(world.now))
            && !world.shelf.lists(holder, handle)
        {
            return Err(format!("{handle}, a live session of {holder}, is not listed"));
        }
    }
    Ok(())
}

/// LIMIT-1, where it refuses.
fn the_limit_that_refuses_holds(world: &World) -> Result<(), String> {
    let limit = world.nodes.rules.policy().settings().limit.filter(|limit| limit.beyond == Beyond::Refuse);
    let Some(limit) = limit else { return Ok(()) };
    match PRINCIPALS.iter().find(|who| world.live(who) > limit.sessions as usize) {
        Some(who) => Err(format!("{who} has {} sessions", world.live(who))),
        None => Ok(()),
    }
}

/// What a call did to the store: who may end whose session, and which entry may go.
pub fn of_a_call(world: &World, by: usize, call: &Call, before: &Shelf, answer: &Answer) -> Result<(), String> {
    match (call, answer) {
        (Call::Swap(swap), Answer::Done | Answer::Entered { .. }) => {
            let (was, is) = (front(before, swap.handle), world.front(swap.handle));
            let Some(was) = was.filter(|was| !was.is_ended()) else { return Ok(()) };
            if is.as_ref().is_some_and(|is| !is.is_ended()) {
                return Ok(());
            }
            may_end(world, &world.actors[by], swap.handle, &was, is.as_ref())
        }
        (Call::Leave(principal, handle), Answer::Done) => {
            let live = world.front(*handle).filter(|front| !front.is_ended());
            match live {
                Some(front) if front.principal.as_deref() == Some(principal) => {
                    Err(format!("{by} takes {handle}, a live session of {principal}, out of the index"))
                }
                Some(_) => Err(format!("{by} takes {handle} out of the index, which has not ended")),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// IDX-5: by whom a session may be ended. And of an eviction: not the session that was made room for.
fn may_end(world: &World, actor: &Actor, handle: Handle, was: &Front, is: Option<&Front>) -> Result<(), String> {
    let holder = was.principal.as_deref();
    let own = |who: &str| holder == Some(who);
    let evicts = is.and_then(|is| is.cause) == Some(EVICTED);
    let fair = match actor.deed {
        Deed::Revoke(who, _) => own(who) && actor.given.handle == Some(handle),
        Deed::RevokeAll(who) => own(who),
        Deed::RevokeOthers(who, _) => own(who) && actor.given.handle != Some(handle),
        Deed::Login(who, _) | Deed::Reset(who) if evicts => {
            own(who) && world.logged.get(&actor.number) != Some(&handle)
        }
        // Its own session when it is revoked, and what the login replaces.
        Deed::Login(who, _) | Deed::Reset(who) => own(who) || actor.given.handle == Some(handle),
        // A copied id may end all of the principal.
        Deed::Request(_) | Deed::Rotate(_) | Deed::Logout(_) => true,
        Deed::Visit | Deed::Rename(..) | Deed::Devices(_) | Deed::Wait(_) => was.is_over_limit(world.now),
    };
    let why = || format!("{} {:?} ends {handle} of {holder:?}", actor.number, actor.deed);
    if fair { Ok(()) } else { Err(why()) }
}

/// IDX-4 the other way round: who was opened after every revocation, but its own, is not refused.
pub fn of_what_was_told(world: &World, number: usize) -> Result<(), String> {
    let actor = &world.actors[number];
    let Some(who) = actor.deed.logs_in() else { return Ok(()) };
    let alone = world.actors.len() == world.first + 1;
    if actor.stage == Stage::Over(Err(Error::LimitReached)) && alone && world.live(who) == 0 && !world.troubled {
        return Err(format!("the login {number} is refused for sessions that are over"));
    }
    let spared = |bar: &Bar| bar.who != who || bar.by == number || bar.at < world.begun[&number].at;
    // A revocation that landed late, or twice, is as good as another's.
    let refused = actor.stage == Stage::Over(Err(Error::Revoked));
    if refused && world.bars.iter().all(spared) && !world.troubled {
        return Err(format!("the login {number} is refused for a revocation that was before, or its own"));
    }
    Ok(())
}

pub fn is_live(world: &World, handle: Handle) -> bool {
    world.front(handle).is_some_and(|front| front.holder().is_some() && !front.is_over_limit(world.now))
}

/// Nothing can happen any more.
pub fn of_the_end(world: &World) -> Result<(), String> {
    nobody_is_listed_whom_nobody_knows(world)?;
    the_limit_that_evicts_holds(world)
}

/// LIMIT-2: every live login was told to somebody, unless whoever made it crashed.
fn nobody_is_listed_whom_nobody_knows(world: &World) -> Result<(), String> {
    if world.actors.iter().any(|actor| actor.stage == Stage::Crashed) {
        return Ok(());
    }
    let told: Vec<Handle> = world.told().map(|(handle, _)| handle).collect();
    match world.shelf.records.keys().find(|handle| is_live(world, **handle) && !told.contains(handle)) {
        Some(handle) => Err(format!("{handle} is live, and nobody was told of it")),
        None => Ok(()),
    }
}

/// LIMIT-1: the limit that evicts holds, and nobody went who did not have to. The one that was entered last stays, and of
/// the others those that the limit prefers.
fn the_limit_that_evicts_holds(world: &World) -> Result<(), String> {
    let limit = world.nodes.rules.policy().settings().limit.filter(|limit| limit.beyond != Beyond::Refuse);
    let Some(limit) = limit.filter(|_| !world.troubled) else { return Ok(()) };
    let most = limit.sessions as usize;
    let ends = |deed: Deed| deed.revokes_all_of().is_some() || matches!(deed, Deed::Logout(_) | Deed::Revoke(..));
    let evictions_alone = !world.actors.iter().any(|actor| ends(actor.deed));
    for who in PRINCIPALS {
        let of_whom = |(_, front): &(Handle, Front)| front.principal.as_deref() == Some(who);
        let mut told: Vec<(Handle, Front)> = world.told().filter(of_whom).collect();
        let live = world.live(who);
        if live > most || evictions_alone && live < told.len().min(most) {
            return Err(format!("{who} was told of {} sessions, and has {live} at the end", told.len()));
        }
        let Some(last) = world.last.get(who).filter(|_| evictions_alone && live == most) else { continue };
        if !is_live(world, *last) {
            return Err(format!("{last} of {who} came last, and is gone"));
        }
        // Who used which session when is not of one order.
        if limit.beyond == Beyond::EvictOldest {
            told.retain(|(handle, front)| handle != last && !front.is_over_limit(world.now));
            told.sort_by_key(|(handle, front)| (front.created, *handle));
            let stay = &told[told.len().saturating_sub(most - 1)..];
            if let Some((handle, _)) = stay.iter().find(|(handle, _)| !is_live(world, *handle)) {
                return Err(format!("{handle} of {who} had to go for an older one"));
            }
        }
    }
    Ok(())
}
