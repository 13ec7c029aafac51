//! What goes wrong, and when: a list that follows from the seed, and the hand that carries it out.

use core::time::Duration;

use turmoil::Sim;

use crate::dice::Dice;
use crate::node::Node;
use crate::people;
use crate::store::{self, Disk};

#[derive(Clone, Debug)]
enum Fault {
    /// Nothing crosses a link in either direction.
    Cut(String, String),
    /// Nothing crosses it in this direction.
    CutOneWay(String, String),
    /// Everything on a link waits, and arrives when the fault is over.
    Hold(String, String),
    /// Each message on a link is lost with a chance in percent.
    Lossy(String, String, u64),
    /// Messages on a link take up to so many milliseconds.
    Slow(String, String, u64),
    CrashStore,
    CrashNode(usize),
    /// The store answers every swap that it has no room.
    DiskFull,
    /// The index answers nobody, and does half of what it is asked for.
    IndexSilent,
}

impl Fault {
    fn name(&self) -> &'static str {
        match self {
            Self::Cut(..) => "links cut",
            Self::CutOneWay(..) => "links cut one way",
            Self::Hold(..) => "links held",
            Self::Lossy(..) => "links lossy",
            Self::Slow(..) => "links slow",
            Self::CrashStore => "crashes of the store",
            Self::CrashNode(_) => "crashes of nodes",
            Self::DiskFull => "disks full",
            Self::IndexSilent => "index silent",
        }
    }
}

/// Faults with their beginnings and ends.
pub struct Schedule {
    /// Sorted backwards, so that the next one is the last.
    steps: Vec<(u64, bool, Fault)>,
    nodes: usize,
}

const LATENCY: Duration = Duration::from_millis(25);

impl Schedule {
    /// Faults until `until`, each of them over by then if the run is to heal.
    pub fn new(mut dice: Dice, nodes: usize, until: u64) -> Self {
        let mut steps = Vec::new();
        let (mut at, mut crashed) = (0, vec![0; nodes + 1]);
        loop {
            at += dice.below(4000);
            let lasts = if dice.percent(15) { dice.below(9000) } else { dice.below(2500) } + 50;
            if at + lasts > until {
                break;
            }
            let node = dice.index(nodes);
            let name = Node::name(node);
            let other = if dice.percent(70) { store::HOST } else { people::HOST }.to_owned();
            let fault = match dice.below(10) {
                0 => Fault::Cut(name, other),
                1 if dice.percent(50) => Fault::CutOneWay(name, other),
                1 => Fault::CutOneWay(other, name),
                2 => Fault::Hold(name, other),
                3 => Fault::Lossy(name, other, 5 + dice.below(50)),
                4 => Fault::Slow(name, other, 200 + dice.below(1500)),
                5 | 6 => Fault::CrashStore,
                7 => Fault::DiskFull,
                8 => Fault::IndexSilent,
                _ => Fault::CrashNode(node),
            };
            // A store that comes back at once meets those who saw what it lost.
            let lasts = if matches!(fault, Fault::CrashStore) && dice.percent(60) { lasts % 200 + 50 } else { lasts };
            // What is down cannot crash.
            let place = match fault {
                Fault::CrashStore => Some(nodes),
                Fault::CrashNode(node) => Some(node),
                _ => None,
            };
            if let Some(place) = place {
                if crashed[place] > at {
                    continue;
                }
                crashed[place] = at + lasts;
            }
            steps.push((at, true, fault.clone()));
            steps.push((at + lasts, false, fault));
        }
        steps.sort_by_key(|(at, begins, _)| (core::cmp::Reverse(*at), *begins));
        Self { steps, nodes }
    }

    /// Carries out what is due.
    pub fn advance(&mut self, sim: &mut Sim<'_>, now: u64, disk: &Disk) {
        while self.steps.last().is_some_and(|(at, ..)| *at <= now) {
            if let Some((_, begins, fault)) = self.steps.pop() {
                disk.oracle.lock().unwrap().note(now, &format!("{} {fault:?}", if begins { "+" } else { "-" }));
                if begins { begin(&fault, sim, disk) } else { end(&fault, sim, disk) }
            }
        }
    }

    /// Whatever is left of faults that overlapped.
    pub fn heal(&mut self, sim: &mut Sim<'_>, disk: &Disk) {
        for (_, begins, fault) in core::mem::take(&mut self.steps).into_iter().rev() {
            if !begins {
                end(&fault, sim, disk);
            }
        }
        for node in 0..self.nodes {
            for other in [store::HOST, people::HOST] {
                let name = Node::name(node);
                sim.set_link_fail_rate(name.as_str(), other, 0.0);
                sim.set_link_max_message_latency(name.as_str(), other, LATENCY);
                sim.release(name.as_str(), other);
                sim.repair(name.as_str(), other);
            }
        }
    }
}

fn begin(fault: &Fault, sim: &mut Sim<'_>, disk: &Disk) {
    disk.oracle.lock().unwrap().counts.one(fault.name());
    match fault {
        Fault::Cut(a, b) => sim.partition(a.as_str(), b.as_str()),
        Fault::CutOneWay(a, b) => sim.partition_oneway(a.as_str(), b.as_str()),
        Fault::Hold(a, b) => sim.hold(a.as_str(), b.as_str()),
        Fault::Lossy(a, b, percent) => {
            #[expect(clippy::cast_precision_loss, reason = "at most 55")]
            sim.set_link_fail_rate(a.as_str(), b.as_str(), *percent as f64 / 100.0);
        }
        Fault::Slow(a, b, ms) => sim.set_link_max_message_latency(a.as_str(), b.as_str(), Duration::from_millis(*ms)),
        Fault::CrashStore => {
            sim.crash(store::HOST);
            disk.crash();
        }
        Fault::CrashNode(node) => {
            sim.crash(Node::name(*node));
            disk.oracle.lock().unwrap().crashed(*node);
        }
        Fault::DiskFull => disk.fill(true),
        Fault::IndexSilent => disk.silence_index(true),
    }
}

fn end(fault: &Fault, sim: &mut Sim<'_>, disk: &Disk) {
    match fault {
        Fault::Cut(a, b) => sim.repair(a.as_str(), b.as_str()),
        Fault::CutOneWay(a, b) => sim.repair_oneway(a.as_str(), b.as_str()),
        Fault::Hold(a, b) => sim.release(a.as_str(), b.as_str()),
        Fault::Lossy(a, b, _) => {
            sim.set_link_fail_rate(a.as_str(), b.as_str(), 0.0);
            sim.repair(a.as_str(), b.as_str());
        }
        Fault::Slow(a, b, _) => sim.set_link_max_message_latency(a.as_str(), b.as_str(), LATENCY),
        Fault::CrashStore => sim.bounce(store::HOST),
        Fault::CrashNode(node) => sim.bounce(Node::name(*node)),
        Fault::DiskFull => disk.fill(false),
        Fault::IndexSilent => disk.silence_index(false),
    }
}
