//! What the search starts from: how matters stand, who then asks for what at once, and when the clock may move.

use std::sync::Arc;
use std::time::Duration;

use coatroom_core::Settings;

use crate::browser::Browser;
use crate::invariants::Violation;
use crate::ops::Op;
use crate::search::Scenario;
use crate::store::StoreBug;
use crate::world::{ATTACKER, Setup, THIEF, VICTIM, World};

const SECOND: u64 = 1000;
pub const GRACE: u64 = 10 * SECOND;
pub const IDLE: u64 = 100 * SECOND;

/// Small round limits, so that a few ticks cross each of them.
pub fn settings() -> Settings {
    Settings {
        idle: Some(Duration::from_millis(IDLE)),
        touch: Some(Duration::from_secs(1)),
        absolute: Duration::from_secs(1000),
        skew: Duration::from_secs(2),
        rotate_every: None,
        grace: Duration::from_millis(GRACE),
        ..Settings::default()
    }
}

/// How matters stand when the overlapping exchanges begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Before {
    /// Nothing is stored.
    Nobody,
    /// The victim has a visitor session with data, presented before.
    Visitor,
    /// The attacker planted its own visitor id in the victim's browser, and shows it under both names itself.
    Planted,
    /// The victim is logged in, and the id old enough to rotate.
    LoggedIn,
    /// The victim is logged in, and has not shown the new id yet.
    JustLoggedIn,
    /// A rotation is done, and the victim does not know.
    Pending,
    /// A rotation is confirmed; another browser still holds the previous id.
    Grace,
    /// The victim is logged in, and another browser holds a copy of the id.
    Copied,
    /// Logged in, without an idle limit, 15 seconds before the absolute limit.
    NearTheEnd,
    /// A rotation is done, unknown to the victim, 5 seconds before the absolute limit.
    PendingNearTheEnd,
    /// Logged in under a policy that keeps no trace of ended sessions.
    NoTombstone,
}

pub const BEFORES: [Before; 11] = [
    Before::Nobody,
    Before::Visitor,
    Before::Planted,
    Before::LoggedIn,
    Before::JustLoggedIn,
    Before::Pending,
    Before::Grace,
    Before::Copied,
    Before::NearTheEnd,
    Before::PendingNearTheEnd,
    Before::NoTombstone,
];

impl Before {
    fn settings(self) -> Settings {
        match self {
            Self::NearTheEnd | Self::PendingNearTheEnd => {
                Settings { idle: None, absolute: Duration::from_secs(35), ..settings() }
            }
            Self::NoTombstone => Settings { tombstone: Duration::ZERO, ..settings() },
            _ => settings(),
        }
    }

    /// Borders of the limits that matter here, after the beginning.
    fn moments(self) -> &'static [u64] {
        match self {
            Self::Nobody | Self::Visitor | Self::Planted | Self::JustLoggedIn | Self::NoTombstone => &[IDLE],
            Self::LoggedIn | Self::Pending | Self::Grace | Self::Copied => &[GRACE, IDLE],
            Self::NearTheEnd => &[GRACE, 15 * SECOND],
            Self::PendingNearTheEnd => &[5 * SECOND, GRACE],
        }
    }

    /// The world as it is then.
    pub fn world(self, change: impl FnOnce(&mut Setup)) -> Result<World, Violation> {
        let mut world = World::new(Setup::of(self.settings()));
        match self {
            Self::Nobody => {}
            Self::Visitor => {
                world.run(VICTIM, &[Op::Set("c"), Op::Add])?;
                world.now += 2 * SECOND;
                world.run(VICTIM, &[])?;
            }
            Self::Planted => {
                world.run(ATTACKER, &[Op::Set("c")])?;
                let planted = world.browsers[ATTACKER].visitor.clone();
                world.browsers[VICTIM] = Browser { login: None, visitor: planted.clone() };
                world.browsers[ATTACKER].login = planted;
            }
            Self::JustLoggedIn => world.log_in(0)?,
            Self::LoggedIn | Self::NearTheEnd | Self::NoTombstone => world.log_in(20)?,
            Self::Copied => {
                world.log_in(20)?;
                world.browsers[THIEF] = world.browsers[VICTIM].clone();
            }
            Self::Pending | Self::PendingNearTheEnd => {
                world.log_in(20)?;
                let old = world.browsers[VICTIM].clone();
                world.now += if self == Self::Pending { 0 } else { 10 * SECOND };
                world.run(VICTIM, &[Op::Rotate])?;
                world.browsers[VICTIM] = old;
            }
            Self::Grace => {
                world.log_in(20)?;
                world.browsers[THIEF] = world.browsers[VICTIM].clone();
                world.run(VICTIM, &[Op::Rotate])?;
                world.run(VICTIM, &[])?;
            }
        }
        // What a world promises holds from here on.
        change(Arc::get_mut(&mut world.setup).unwrap());
        Ok(world)
    }
}

impl World {
    /// A login with data; then, if time passes, a request that confirms the id first.
    fn log_in(&mut self, seconds: u64) -> Result<(), Violation> {
        self.run(VICTIM, &[Op::Login("alice"), Op::Set("c")])?;
        if seconds > 0 {
            self.run(VICTIM, &[])?;
            self.now += seconds * SECOND;
        }
        Ok(())
    }
}

/// One request of every kind.
pub const REQUESTS: [&[Op]; 17] = [
    &[Op::Get("a")],
    &[Op::Get("a"), Op::Set("a")],
    &[Op::Set("b")],
    &[Op::Add],
    &[Op::Update],
    &[Op::Strict, Op::Get("a"), Op::Set("a")],
    &[Op::Clear],
    &[Op::Set("a"), Op::Login("alice"), Op::Add],
    &[Op::Login("bob"), Op::Set("b")],
    &[Op::Elevate, Op::Add],
    &[Op::Rotate],
    &[Op::Rotate, Op::Add],
    &[Op::Logout],
    &[Op::Logout, Op::Set("b")],
    &[Op::Set("a"), Op::Discard],
    &[Op::HeadSent, Op::Set("a")],
    &[],
];

/// The least that can go wrong three at a time.
pub const FEWEST: [&[Op]; 4] =
    [&[Op::Get("a"), Op::Set("a"), Op::Add], &[Op::Login("alice"), Op::Add], &[Op::Rotate], &[Op::Logout]];

/// The requests whose steps differ most, for searches that cannot afford all.
pub const FEW: [&[Op]; 6] = [
    &[Op::Get("a")],
    &[Op::Get("a"), Op::Set("a"), Op::Add],
    &[Op::Set("a"), Op::Login("alice"), Op::Add],
    &[Op::Login("bob"), Op::Set("b")],
    &[Op::Rotate],
    &[Op::Logout],
];

/// Who takes part, besides the victim, in the order of the exchanges.
fn cast(before: Before, exchanges: usize) -> Vec<Vec<usize>> {
    let other = match before {
        Before::Planted => ATTACKER,
        Before::Grace | Before::Copied => THIEF,
        _ => return vec![vec![VICTIM; exchanges]],
    };
    let mut casts = vec![vec![VICTIM; exchanges]; 2];
    casts[0][0] = other;
    if exchanges > 2 {
        casts[1][0] = other;
        casts[1][1] = other;
    }
    casts
}

/// Every choice of so many of these requests, from every beginning given.
pub fn overlaps(befores: &[Before], requests: &[&[Op]], exchanges: usize) -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for &before in befores {
        for cast in cast(before, exchanges) {
            for choice in choices(requests.len(), exchanges) {
                // Exchanges of one browser may change places.
                let sorted = (1..exchanges).all(|at| cast[at - 1] != cast[at] || choice[at - 1] <= choice[at]);
                if sorted {
                    let asked: Vec<_> = cast.iter().zip(&choice).map(|(&who, &what)| (who, requests[what])).collect();
                    scenarios.push(scenario(before, &asked, None));
                }
            }
        }
    }
    scenarios
}

fn choices(of: usize, places: usize) -> Vec<Vec<usize>> {
    (0..places).fold(vec![Vec::new()], |choices, _| {
        choices.into_iter().flat_map(|choice| (0..of).map(move |next| [&choice[..], &[next]].concat())).collect()
    })
}

/// One scenario; whatever breaks a claim already in its beginning is a scenario of its own, to be found by the search.
pub fn scenario(before: Before, asked: &[(usize, &[Op])], bug: Option<StoreBug>) -> Scenario {
    let logins = asked.iter().filter(|(_, ops)| ops.iter().any(|op| matches!(op, Op::Login(_)))).count();
    let logouts = asked.iter().any(|(_, ops)| ops.contains(&Op::Logout));
    let anonymous = matches!(before, Before::Nobody | Before::Visitor | Before::Planted);
    let one_login = anonymous && logins == 1 && !logouts;
    let mut world = before.world(|setup| setup.one_login = one_login).unwrap_or_else(|violation| {
        panic!("a claim is broken before anything overlaps, {before:?}: {violation}");
    });
    world.store.bug = bug;
    let first = world.exchanges.len();
    for (browser, ops) in asked {
        let own = |op: &Op| if let Op::Login(_) = op { Op::Login("mallory") } else { *op };
        let ops: Vec<Op> = if *browser == VICTIM { ops.to_vec() } else { ops.iter().map(own).collect() };
        world.add(*browser, &ops);
    }
    let moments = before.moments().iter().map(|after| world.now + after).collect();
    Scenario { name: format!("{before:?} {asked:?}"), world, first, moments }
}

/// A victim whose requests, closings and responses all keep within the grace: a rotation must cost it nothing.
pub fn timely(before: Before, requests: &[&[Op]]) -> Scenario {
    let mut world = before
        .world(|setup| {
            setup.timely = true;
            setup.quiet = true;
        })
        .unwrap();
    let first = world.exchanges.len();
    for ops in requests {
        world.add(VICTIM, ops);
    }
    // Two moments within a grace and more than one, up to a second rotation.
    let moments = (1..=5).map(|sixth| world.now + sixth * 6 * SECOND).collect();
    Scenario { name: format!("timely {before:?} {requests:?}"), world, first, moments }
}
