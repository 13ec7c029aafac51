//! What the search starts from: how matters stand, who then asks for what at once, and when the clock may move.

use std::sync::Arc;
use std::time::Duration;

use coatroom_core::staged::{Staged, Waiting};
use coatroom_core::{Closing, Listed, Save, Settings};

use crate::browser::Browser;
use crate::invariants::Violation;
use crate::ops::Op;
use crate::search::{Bounds, Counterexample, Found, Scenario};
use crate::store::StoreBug;
use crate::world::{ATTACKER, NODES, Script, Setup, THIEF, Trouble, VICTIM, World};

pub const SECOND: u64 = 1000;
pub const SKEW: u64 = 2 * SECOND;
pub const GRACE: u64 = 10 * SECOND;
pub const IDLE: u64 = 100 * SECOND;
pub const LEASE: u64 = 4 * SECOND;

/// Small round limits, so that a few ticks cross each of them.
pub fn settings() -> Settings {
    Settings {
        idle: Some(Duration::from_millis(IDLE)),
        touch: Some(Duration::from_secs(1)),
        absolute: Duration::from_secs(1000),
        skew: Duration::from_millis(SKEW),
        rotate_every: None,
        grace: Duration::from_millis(GRACE),
        lease: Duration::from_millis(LEASE),
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
pub fn casts(before: Before, exchanges: usize) -> Vec<Vec<usize>> {
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
    casts.truncate(exchanges - 1);
    casts
}

/// Every choice of so many requests, by number.
pub fn choices(of: usize, places: usize) -> Vec<Vec<usize>> {
    (0..places).fold(vec![Vec::new()], |choices, _| {
        choices.into_iter().flat_map(|choice| (0..of).map(move |next| [&choice[..], &[next]].concat())).collect()
    })
}

/// Which keys the nodes have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Keys {
    #[default]
    One,
    /// A second one that each node begins to sign with at some moment.
    Second,
    /// The same, and each node then forgets the first one.
    Withdrawn,
}

/// All that a scenario is made from.
#[derive(Clone, Debug)]
pub struct Spec {
    pub before: Before,
    pub scripts: Vec<Script>,
    pub clocks: [i64; NODES],
    pub keys: Keys,
    /// The victim alone, whose requests, closings and responses keep within the grace: a rotation must cost it nothing.
    pub timely: bool,
    /// How often the clock of such a world moves, by six seconds.
    pub ticks: u64,
    pub bug: Option<StoreBug>,
    pub bounds: Bounds,
}

impl Spec {
    pub fn new(before: Before, bounds: Bounds) -> Self {
        let clocks = [0; NODES];
        Self { before, scripts: Vec::new(), clocks, keys: Keys::One, timely: false, ticks: 5, bug: None, bounds }
    }

    /// One more request. Everybody but the victim logs in under a name of his own.
    #[must_use]
    pub fn ask(mut self, browser: usize, ops: &[Op], node: usize) -> Self {
        let own = |op: &Op| if let Op::Login(_) = op { Op::Login("mallory") } else { *op };
        let ops = if browser == VICTIM { ops.to_vec() } else { ops.iter().map(own).collect() };
        self.scripts.push(Script { browser, ops, node, ..Script::default() });
        self
    }

    /// The world in which it begins. Whatever breaks a claim before that is no scenario.
    pub fn scenario(&self) -> Scenario {
        let mut world = self.world();
        world.store.bug = self.bug;
        let first = world.exchanges.len();
        let place = |named: Option<usize>| named.map(|number| first + number);
        for script in &self.scripts {
            let script = script.clone();
            let (repeats, after) = (place(script.repeats), place(script.after));
            world.add_script(Script { repeats, after, ..script });
        }
        let moments = if self.timely {
            // Two moments within a grace and more than one, up to a second rotation.
            (1..=self.ticks).map(|sixth| world.now + sixth * 6 * SECOND).collect()
        } else if self.scripts.iter().any(|script| script.serial) {
            // By then the time of every turn is over, by all clocks, and once more.
            (1..=self.ticks).map(|wait| world.now + wait * (LEASE + 2 * SKEW)).collect()
        } else {
            self.before.moments().iter().map(|after| world.now + after).collect()
        };
        let asked = self.scripts.iter().map(|script| {
            let Script { browser, ops, node, repeats, after, serial } = script;
            let number = |number: &Option<usize>| number.map_or(String::new(), |number| number.to_string());
            let turn = if *serial { "in turn" } else { "" };
            format!("{browser}@{node}{ops:?}r{}a{}{turn}", number(repeats), number(after))
        });
        let asked = asked.collect::<Vec<_>>().join(" ");
        let Self { before, clocks, keys, timely, ticks, bug, bounds, .. } = self;
        let name =
            format!("{before:?} {asked} clocks {clocks:?} keys {keys:?} timely {timely} {ticks} {bug:?} {bounds:?}");
        Scenario { name, world, first, moments }
    }

    fn world(&self) -> World {
        let ops = || self.scripts.iter().map(|script| &script.ops);
        let logins = ops().filter(|ops| ops.iter().any(|op| matches!(op, Op::Login(_)))).count();
        let logouts = ops().any(|ops| ops.contains(&Op::Logout));
        let anonymous = matches!(self.before, Before::Nobody | Before::Visitor | Before::Planted);
        // The id from before an elevation has no grace: who never learns of the new one, or is told the old one once
        // more, has to log in again.
        let elevates = ops().any(|ops| ops.contains(&Op::Elevate));
        let Trouble { crashes, doubles, .. } = self.bounds.trouble;
        let works = self.keys != Keys::Withdrawn
            && self.clocks.iter().all(|ahead| ahead.unsigned_abs() <= SKEW)
            && (!elevates || crashes + doubles == 0);
        let change = |setup: &mut Setup| {
            setup.clocks = self.clocks;
            (setup.timely, setup.quiet) = (self.timely, self.timely);
            setup.one_login = anonymous && logins == 1 && !logouts && works;
            if self.keys != Keys::One {
                setup.with_two_keys(self.keys == Keys::Withdrawn);
            }
        };
        self.before.world(change).unwrap_or_else(|violation| {
            panic!("a claim is broken before anything overlaps, {:?}: {violation}", self.before);
        })
    }

    pub fn search(&self) -> Result<Found, Box<Counterexample>> {
        self.scenario().search(self.bounds)
    }
}

/// The save that a staged exchange waits for, taken out.
pub fn take_save(staged: &mut Staged) -> Save {
    match staged.take_closing() {
        Ok(Closing::Save(save)) => save,
        other => panic!("nothing to save: {other:?}"),
    }
}

/// Makes the entry that a login waits for, if it does: with an index that never fails.
pub fn enter(staged: &mut Staged) {
    if staged.waiting() == Waiting::Entry {
        staged.entered(Listed::default()).unwrap();
    }
}
