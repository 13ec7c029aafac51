//! One run: hosts, people, faults, and what is left to say at the end.

use core::time::Duration;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use coatroom_core::{KeyRing, Policy, Rules, Settings};
use coatroom_tests::world::RING;
use turmoil::Builder;

use crate::dice::Dice;
use crate::faults::Schedule;
use crate::node::Node;
use crate::oracle::{Counts, Oracle, Who};
use crate::people::{self, Person};
use crate::store::{self, Defect, Disk};
use crate::wire::sim_ms;

/// What a run is after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Faults to the end, at which everything stops wherever it is.
    Safety,
    /// Faults for a while; then the network is whole, and everything has to end and to work.
    Liveness,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    pub violation: Option<String>,
    pub counts: Counts,
    /// Everything that happened, a line each.
    pub log: Vec<String>,
}

const TICK_MS: u64 = 10;
/// When faults end.
pub const FAULTS_FOR: u64 = 24_000;
/// Longer than any closing may take, and than anybody waits.
const SETTLES_IN: u64 = 24_000;

/// The spans of the defaults, shortened so that each of them passes within a run.
fn settings(dice: &mut Dice) -> Settings {
    let seconds = Duration::from_secs;
    Settings {
        idle: Some(seconds(12)),
        touch: Some(seconds(1)),
        absolute: seconds(if dice.percent(30) { 14 } else { 60 }),
        skew: seconds(1),
        lease: seconds(2),
        rotate_every: dice.percent(70).then_some(seconds(5)),
        grace: seconds(3),
        tombstone: seconds(if dice.percent(40) { 0 } else { 3600 }),
        ..Settings::default()
    }
}

/// The run of this seed.
pub fn run(seed: u64, mode: Mode, defect: Option<Defect>) -> Outcome {
    let mut dice = Dice::new(seed, 0);
    let settings = settings(&mut dice);
    let oracle = Arc::new(Mutex::new(Oracle::new(settings.clone())));
    let rules = Rules::new(Policy::try_from(settings).unwrap(), KeyRing::parse(RING).unwrap());
    let disk = Disk::new(seed, Arc::clone(&oracle), defect);
    let nodes = 2 + dice.index(2);

    let mut sim = Builder::new()
        .tick_duration(Duration::from_millis(TICK_MS))
        .simulation_duration(Duration::from_secs(3600))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(25))
        .tcp_capacity(1024)
        .enable_random_order()
        .rng_seed(dice.word())
        .build();
    let server = Arc::clone(&disk);
    sim.host(store::HOST, move || Arc::clone(&server).serve());
    let drawn = Arc::new(AtomicU64::new(seed << 24));
    for number in 0..nodes {
        let node = Node {
            number,
            rules: Arc::clone(&rules),
            disk: Arc::clone(&disk),
            ahead: dice.below(1000),
            drawn: Arc::clone(&drawn),
            dice: Arc::new(Mutex::new(Dice::new(seed, 100 + number as u64))),
        };
        sim.host(Node::name(number), move || node.clone().serve());
    }
    let crowd = people(seed, nodes, Arc::clone(&oracle), mode);
    sim.client(people::HOST, crowd);

    let mut schedule = Schedule::new(Dice::new(seed, 2), nodes, FAULTS_FOR);
    let (mut now, mut healed) = (0, false);
    let mut syncs = Dice::new(seed, 3);
    loop {
        let step = sim.step();
        now += TICK_MS;
        if let Err(error) = &step {
            oracle.lock().unwrap().violation.get_or_insert(error.to_string());
        }
        if oracle.lock().unwrap().violation.is_some() || matches!(step, Ok(true)) {
            break;
        }
        if now < FAULTS_FOR {
            schedule.advance(&mut sim, now, &disk);
        } else if mode == Mode::Liveness && !healed {
            schedule.heal(&mut sim, &disk);
            healed = true;
        }
        if syncs.percent(1) {
            disk.sync_all();
        }
    }
    drop(sim);
    let mut oracle = oracle.lock().unwrap();
    oracle.at_the_end(now, mode == Mode::Liveness);
    let (counts, log) = (core::mem::take(&mut oracle.counts), core::mem::take(&mut oracle.log));
    Outcome { violation: oracle.violation.take(), counts, log }
}

/// Two people with two tabs each, somebody who plants ids, and in some runs a thief.
async fn people(seed: u64, nodes: usize, oracle: Arc<Mutex<Oracle>>, mode: Mode) -> turmoil::Result {
    let person = |who| Person::new(who, nodes, &oracle);
    let (ann, ben) = (person(Who::Honest("ann")), person(Who::Honest("ben")));
    let mut dice = Dice::new(seed, 4);
    let mut tasks = Vec::new();
    for (at, person) in [&ann, &ben, &ann, &ben].into_iter().enumerate() {
        let dice = Dice::new(seed, 10 + at as u64);
        tasks.push(tokio::task::spawn_local(person.clone().surf(dice, FAULTS_FOR)));
    }
    let planter = person(Who::Planter).plant(ann.clone(), Dice::new(seed, 20), FAULTS_FOR);
    tasks.push(tokio::task::spawn_local(planter));
    if dice.percent(40) {
        let thief = person(Who::Thief("ben")).steal(ben.clone(), Dice::new(seed, 21), FAULTS_FOR);
        tasks.push(tokio::task::spawn_local(thief));
    }
    for task in tasks {
        task.await?;
    }
    if mode == Mode::Liveness {
        tokio::time::sleep(Duration::from_millis((FAULTS_FOR + SETTLES_IN).saturating_sub(sim_ms()))).await;
        oracle.lock().unwrap().at_the_end(sim_ms(), true);
        for person in [ann, ben] {
            person.live_on().await?;
        }
    }
    Ok(())
}
