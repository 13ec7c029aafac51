//! Where a runtime or a loop has its connections, to whatever servers there are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use super::link::{Link, Target};
use super::net::{Net, lock};
use super::runner::Runner;
use super::wire::{Users, Wire};

/// The connections that serve the callers of one runtime or loop. A connection is served by the one whose callers use it: no
/// thread is woken in between, and one that stands still holds up nobody else.
pub(super) struct Home {
    pub(super) runner: Runner,
    pub(super) primary: Arc<Link>,
    nodes: Mutex<HashMap<Target, Arc<Link>>>,
    /// Connections to wait for replicas on, while nobody does.
    idle_lanes: Mutex<Vec<(Target, Wire)>>,
}

impl Home {
    pub(super) fn new(net: &Arc<Net>, runner: Runner) -> Self {
        let primary = Link::new(Target::Primary, net, runner.clone());
        Self { runner, primary, nodes: Mutex::default(), idle_lanes: Mutex::default() }
    }

    pub(super) fn link(&self, net: &Arc<Net>, target: &Target) -> Arc<Link> {
        if *target == Target::Primary {
            return Arc::clone(&self.primary);
        }
        let mut nodes = lock(&self.nodes);
        let make = || Link::new(target.clone(), net, self.runner.clone());
        Arc::clone(nodes.entry(target.clone()).or_insert_with(make))
    }

    /// Forgets the nodes that are no longer of the Cluster.
    pub(super) fn keep(&self, is_kept: impl Fn(&Target) -> bool) {
        lock(&self.nodes).retain(|target, _| is_kept(target));
        lock(&self.idle_lanes).retain(|(target, _)| is_kept(target));
    }

    pub(super) fn is_in_use(&self) -> bool {
        self.primary.is_in_use() || lock(&self.nodes).values().any(|link| link.is_in_use())
    }

    /// A connection to wait for replicas on.
    pub(super) async fn lane(&self, net: &Arc<Net>, link: &Link, deadline: Instant) -> Option<Wire> {
        loop {
            let idle = {
                let mut lanes = lock(&self.idle_lanes);
                let at = lanes.iter().position(|(lane, _)| *lane == link.target);
                at.map(|at| lanes.swap_remove(at).1)
            };
            match idle {
                Some(wire) if wire.is_over() => {}
                Some(wire) => return Some(wire),
                None => break,
            }
        }
        link.another(net, Users::All(Box::new(|_| {})), deadline).await
    }

    /// Keeps one for the next who waits for replicas.
    pub(super) fn leave_lane(&self, link: &Link, wire: Wire) {
        lock(&self.idle_lanes).push((link.target.clone(), wire));
    }
}
