//! Every schedule of a scenario, breadth first, so that the first violation has a shortest trace.

use std::collections::HashSet;

use coatroom_core::{Beyond, Limit, Reuse, Settings};

use super::actor::{Deed, Stage};
use super::shelf::Kind;
use super::{Step, Trouble, World, claims};
use crate::fold::Build;
use crate::record::Front;
use crate::world::START;

/// What happens one after the other, and then what overlaps.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub kind: Kind,
    pub limit: Option<Limit>,
    pub reuse: Reuse,
    pub before: Vec<Deed>,
    pub deeds: Vec<Deed>,
    /// How far the clock of each node is ahead. Of nodes on one host there is one clock.
    pub ahead: Vec<i64>,
    /// How often the clock moves on by a millisecond.
    pub ticks: u64,
    pub trouble: Trouble,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Found {
    pub states: u64,
    pub steps: u64,
    pub ends: u64,
    pub deepest: usize,
}

impl Found {
    pub fn add(&mut self, other: &Self) {
        self.states += other.states;
        self.steps += other.steps;
        self.ends += other.ends;
        self.deepest = self.deepest.max(other.deepest);
    }
}

impl Scenario {
    pub fn new(kind: Kind, before: &[Deed], deeds: &[Deed]) -> Self {
        let (before, deeds) = (before.to_vec(), deeds.to_vec());
        let (limit, reuse, ahead, ticks) = (None, Reuse::Destroy, Vec::new(), 1);
        Self { kind, limit, reuse, before, deeds, ahead, ticks, trouble: Trouble::default() }
    }

    #[must_use]
    pub fn limited(self, sessions: u32, beyond: Beyond) -> Self {
        Self { limit: Some(Limit { sessions, beyond }), ..self }
    }

    #[must_use]
    pub fn troubled(self, faults: u8, delays: u8, crashes: u8) -> Self {
        Self { trouble: Trouble { faults, delays, crashes }, ..self }
    }

    fn world(&self) -> Result<World, String> {
        let mut settings = Settings::default();
        (settings.limit, settings.reuse) = (self.limit, self.reuse);
        let mut world = World::new(self.kind, settings);
        for deed in &self.before {
            world.run(*deed)?;
        }
        for (at, deed) in self.deeds.iter().enumerate() {
            let ahead = if self.kind == Kind::Here { 0 } else { self.ahead.get(at).copied().unwrap_or_default() };
            world.add(*deed, ahead);
        }
        (world.first, world.trouble) = (self.before.len(), self.trouble);
        Ok(world)
    }

    /// How much there is, or the shortest way to a broken claim.
    pub fn search(&self) -> Result<Found, String> {
        let world = self.world()?;
        let last_tick = world.now + self.ticks;
        let mut known: HashSet<u128, Build> = HashSet::default();
        let mut paths: Vec<(u32, Step)> = Vec::new();
        let (mut found, mut next) = (Found { states: 1, ..Found::default() }, vec![(world, u32::MAX)]);
        known.insert(next[0].0.fingerprint());
        while !next.is_empty() {
            for (world, path) in std::mem::take(&mut next) {
                let mut steps = world.possible();
                if steps.is_empty() {
                    found.ends += 1;
                    claims::of_the_end(&world).map_err(|complaint| self.tell(&complaint, &paths, path))?;
                    continue;
                }
                let is_under_way = |stage: &Stage| matches!(stage, Stage::Idle | Stage::Asks);
                let reads_yet = world.actors[world.first..].iter().any(|actor| is_under_way(&actor.stage));
                if world.now < last_tick && reads_yet {
                    steps.push(Step::Tick);
                }
                for step in steps {
                    found.steps += 1;
                    let mut after = world.clone();
                    let taken = after.step(step);
                    if taken.is_ok() && !known.insert(after.fingerprint()) {
                        continue;
                    }
                    paths.push((path, step));
                    let reached = u32::try_from(paths.len() - 1).unwrap();
                    taken.map_err(|complaint| self.tell(&complaint, &paths, reached))?;
                    found.states += 1;
                    next.push((after, reached));
                }
            }
            found.deepest += usize::from(!next.is_empty());
        }
        Ok(found)
    }

    fn tell(&self, complaint: &str, paths: &[(u32, Step)], mut at: u32) -> String {
        let mut trace = Vec::new();
        while let Some(&(before, step)) = paths.get(at as usize) {
            trace.push(step);
            at = before;
        }
        let mut world = self.world().unwrap();
        let mut lines = vec![format!("{self:?}")];
        for step in trace.into_iter().rev() {
            let call = match step {
                Step::Answer(by) | Step::Lost(by) | Step::Unheard(by) | Step::Delayed(by) => {
                    world.actors[by].call.clone()
                }
                Step::Land(at) => Some(world.delayed[at].1.clone()),
                _ => None,
            };
            let before = world.clone();
            let result = world.step(step);
            lines.push(format!(
                "{step:?} at {}: {}",
                world.now - START,
                call.map_or(String::new(), |call| format!("{call:?}"))
            ));
            for (handle, record) in &world.shelf.records {
                if before.shelf.records.get(handle) != Some(record) {
                    lines.push(format!("    {handle} holds {}", Front::read(record).unwrap()));
                }
            }
            for (who, line) in &world.shelf.index {
                if before
                    .shelf
                    .index
                    .get(who)
                    .is_none_or(|was| was.listed != line.listed || was.revoked != line.revoked)
                {
                    lines.push(format!("    {who}: {:?}, revoked {}", line.listed.keys(), line.revoked));
                }
            }
            for now in world.actors.iter().filter(|now| now.stage != before.actors[now.number].stage) {
                lines.push(format!("    {} {:?} {:?}", now.number, now.deed, now.stage));
            }
            lines.extend(result.err());
        }
        lines.push(complaint.to_owned());
        lines.join("\n")
    }
}
