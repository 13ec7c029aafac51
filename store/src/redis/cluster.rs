//! Which node of a Cluster has which slot.

use core::pin::pin;
use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use redis::{ServerErrorKind, Value};
use tokio::time::Instant;

use super::home::Home;
use super::link::Target;
use super::net::{Manner, Net, Order, Outcome, lock};
use super::settings::Address;
use super::time::{pause, until};

pub(super) const SLOTS: u16 = 16_384;
/// Redirections that one order follows.
const REDIRECTIONS: u32 = 8;
/// A node that cannot be reached is waited for so long before the others are asked who has taken over.
const NODE_PATIENCE: Duration = Duration::from_millis(150);
/// The map is not asked for more often.
const MAP_AGE: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_millis(10);

/// A Cluster as far as it is known.
pub(super) struct Cluster {
    seeds: Vec<Address>,
    map: RwLock<Arc<Map>>,
    asked_at: Mutex<Option<Instant>>,
}

/// The primaries, and for each slot the place of its own among them.
#[derive(Clone, Default)]
pub(super) struct Map {
    nodes: Vec<Address>,
    slots: Vec<Option<u16>>,
}

impl Map {
    fn owner(&self, slot: u16) -> Option<&Address> {
        let at = self.slots.get(usize::from(slot)).copied().flatten()?;
        self.nodes.get(usize::from(at))
    }

    fn give(&mut self, slots: core::ops::RangeInclusive<u16>, node: &Address) {
        let at = self.nodes.iter().position(|known| known == node).unwrap_or_else(|| {
            self.nodes.push(node.clone());
            self.nodes.len().saturating_sub(1)
        });
        self.slots.resize(usize::from(SLOTS), None);
        for slot in slots {
            if let Some(owner) = self.slots.get_mut(usize::from(slot)) {
                *owner = u16::try_from(at).ok();
            }
        }
    }

    /// From the answer to `CLUSTER SLOTS`.
    fn parse(answer: &Value, asked: &Address) -> Option<Self> {
        let Value::Array(ranges) = answer else { return None };
        let mut map = Self::default();
        for range in ranges {
            let Value::Array(parts) = range else { return None };
            let [Value::Int(first), Value::Int(last), Value::Array(node), ..] = parts.as_slice() else { return None };
            let [host, Value::Int(port), ..] = node.as_slice() else { return None };
            let host = match host {
                Value::BulkString(host) if host == b"?" => continue,
                Value::BulkString(host) if !host.is_empty() => String::from_utf8(host.clone()).ok()?,
                _ => asked.host.clone(),
            };
            let node = Address { host, port: u16::try_from(*port).ok()? };
            map.give(u16::try_from(*first).ok()?..=u16::try_from(*last).ok()?, &node);
        }
        (!map.nodes.is_empty()).then_some(map)
    }
}

impl Cluster {
    pub(super) fn new(seeds: Vec<Address>) -> Self {
        Self { seeds, map: RwLock::default(), asked_at: Mutex::default() }
    }

    fn map(&self) -> Arc<Map> {
        Arc::clone(&self.map.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut Map)) {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut map));
    }

    /// The primaries, once somebody has said who they are.
    pub(super) async fn primaries(&self, net: &Arc<Net>, home: &Arc<Home>, deadline: Instant) -> Vec<Address> {
        self.refresh(net, home, deadline).await;
        self.map().nodes.clone()
    }

    pub(super) async fn owner(
        &self,
        net: &Arc<Net>,
        home: &Arc<Home>,
        slot: u16,
        deadline: Instant,
    ) -> Option<Address> {
        loop {
            if let Some(owner) = self.map().owner(slot) {
                return Some(owner.clone());
            }
            self.refresh(net, home, deadline).await;
            if self.map().owner(slot).is_none() {
                if Instant::now() >= deadline {
                    return None;
                }
                pause(PAUSE).await;
            }
        }
    }

    /// Sends an order to the owner of the key's slot. Redirections say that nothing was done, so they are followed.
    pub(super) async fn send(
        &self,
        net: &Arc<Net>,
        home: &Arc<Home>,
        key: &[u8],
        order: &Order<'_>,
        confirm: bool,
        deadline: Instant,
    ) -> Outcome {
        let slot = slot(key);
        let mut asked_instead = None;
        let mut redirections = 0_u32;
        loop {
            let asking = asked_instead.is_some();
            let owner = match asked_instead.take() {
                Some(address) => Some(address),
                None => self.owner(net, home, slot, deadline).await,
            };
            let Some(owner) = owner else { return Outcome::Unsent };
            let target = Target::Node(owner.clone());
            let reached_by = Instant::now().checked_add(NODE_PATIENCE).map_or(deadline, |end| end.min(deadline));
            let link = home.link(net, &target);
            if link.wire(net, reached_by).await.is_none() {
                if Instant::now() >= deadline {
                    return Outcome::Unsent;
                }
                self.refresh(net, home, deadline).await;
                pause(PAUSE).await;
                continue;
            }
            let outcome = net.send_to(home, &target, order, Manner { confirm, asking }, deadline).await;
            let Outcome::Refused(error) = &outcome else {
                if !matches!(outcome, Outcome::Answer(_)) {
                    self.refresh(net, home, deadline).await;
                }
                return outcome;
            };
            redirections = redirections.saturating_add(1);
            let elsewhere = || Address::of_node(error.details()?.split_ascii_whitespace().nth(1)?, &owner);
            match error.kind() {
                _ if redirections > REDIRECTIONS && Instant::now() >= deadline => return outcome,
                Some(ServerErrorKind::Moved) => {
                    let Some(node) = elsewhere() else { return outcome };
                    self.change(|map| map.give(slot..=slot, &node));
                }
                Some(ServerErrorKind::Ask) => asked_instead = elsewhere(),
                Some(ServerErrorKind::TryAgain | ServerErrorKind::ClusterDown | ServerErrorKind::ReadOnly) => {
                    self.refresh(net, home, deadline).await;
                }
                _ => return outcome,
            }
            if Instant::now() >= deadline {
                return outcome;
            }
            if redirections > REDIRECTIONS {
                pause(PAUSE).await;
            }
        }
    }

    /// Asks the nodes, one after another, who has which slot.
    async fn refresh(&self, net: &Arc<Net>, home: &Arc<Home>, deadline: Instant) {
        let now = Instant::now();
        {
            let mut asked_at = lock(&self.asked_at);
            if asked_at.is_some_and(|at| now.saturating_duration_since(at) < MAP_AGE) {
                return;
            }
            *asked_at = Some(now);
        }
        let known = self.map();
        let nodes: BTreeSet<&Address> = known.nodes.iter().chain(&self.seeds).collect();
        let mut question = redis::cmd("CLUSTER");
        question.arg("SLOTS");
        for node in nodes {
            let by = Instant::now().checked_add(NODE_PATIENCE).map_or(deadline, |end| end.min(deadline));
            let Some(wire) = home.link(net, &Target::Node(node.clone())).wire(net, by).await else { continue };
            let answer = until(by, pin!(wire.ask(&question))).await;
            if let Ok(Ok(answer)) = answer
                && let Some(map) = Map::parse(&answer, node)
            {
                home.keep(|target| match target {
                    Target::Node(address) => map.nodes.contains(address) || self.seeds.contains(address),
                    Target::Primary => true,
                });
                self.change(|known| *known = map);
                return;
            }
        }
    }
}

/// The slot of a key: what stands between the first `{` and the next `}` counts, if there is anything.
pub(super) fn slot(key: &[u8]) -> u16 {
    let tagged = || {
        let open = key.iter().position(|byte| *byte == b'{')?;
        let rest = key.get(open.checked_add(1)?..)?;
        let close = rest.iter().position(|byte| *byte == b'}')?;
        rest.get(..close).filter(|tag| !tag.is_empty())
    };
    crc16(tagged().unwrap_or(key)) & (SLOTS - 1)
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            let shifted = crc << 1;
            if crc & 0x8000 == 0 { shifted } else { shifted ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_slot_that_servers_give_it() {
        // Asked of a server by CLUSTER KEYSLOT.
        assert_eq!(slot(b"foo"), 12_182);
        assert_eq!(slot(b"coatroom:s:AAAAAAAAAAAAAAAA"), 9_552);
        assert_eq!(slot(b"a{foo}b{c}"), 12_182);
        assert_eq!(slot(b"{}foo"), slot(b"{}foo"));
    }
}
