//! Every record there is, a few at a time.
//!
//! One server is walked by SCAN, whose cursor means something to that run of the server alone: one that was restarted, or
//! another in its place, is walked from the beginning. A Cluster is walked slot by slot, so that the cursor means the same
//! to whichever node has the slot; all nodes are asked, the owner first, since a slot that moves is partly elsewhere and
//! its keys only ever move away from the owner.

use core::pin::pin;
use std::sync::Arc;

use coatroom_core::Handle;
use redis::{Cmd, Pipeline, Value};
use tokio::time::Instant;

use super::cluster::{Cluster, SLOTS};
use super::home::Home;
use super::link::Target;
use super::net::Net;
use super::time::until;
use super::wire::Wire;
use crate::{Cursor, Unavailable};

/// Slots asked for at once: few at first, since they may be full, and more while little is found.
const FEWEST_SLOTS: u16 = 16;
const MOST_SLOTS: u16 = 512;
/// Keys of one slot: more than a server with room for them has.
const KEYS_OF_A_SLOT: u32 = i32::MAX.unsigned_abs();
/// Keys that one step over one server looks at, at least.
const FEWEST_AT_ONCE: usize = 100;
/// Which part of the time limit is spent looking for more, where many keys are none of ours.
const SHARE: u32 = 4;

type Batch = Result<(Vec<Handle>, Option<Cursor>), Unavailable>;

pub(super) async fn scan(net: &Arc<Net>, prefix: &[u8], from: Option<Cursor>, max: usize) -> Batch {
    let home = net.home().ok_or(Unavailable)?;
    let deadline = net.deadline();
    match &net.cluster {
        None => one(net, &home, prefix, from, max, deadline).await,
        Some(cluster) => slots(net, cluster, &home, prefix, from, max, deadline).await,
    }
}

async fn one(
    net: &Arc<Net>,
    home: &Arc<Home>,
    prefix: &[u8],
    from: Option<Cursor>,
    max: usize,
    deadline: Instant,
) -> Batch {
    let wire = home.link(net, &Target::Primary).wire(net, deadline).await.ok_or(Unavailable)?;
    let from = from.map(|Cursor(bytes)| String::from_utf8(bytes).unwrap_or_default()).unwrap_or_default();
    let (known_run, at) = from.split_once(' ').unwrap_or(("", "0"));
    let mut at = at.to_owned();
    let mut handles = Vec::new();
    let mut known_run = known_run.to_owned();
    loop {
        let mut commands = Pipeline::with_capacity(2);
        commands.cmd("INFO").arg("server").cmd("SCAN").arg(&at).arg("MATCH").arg(pattern(prefix));
        commands.arg("COUNT").arg(max.max(FEWEST_AT_ONCE));
        let answers = ask_all(net, &wire, &commands, deadline).await?;
        let [Value::BulkString(server), Value::Array(found)] = answers.as_slice() else { return Err(Unavailable) };
        let run = run_of(server).ok_or(Unavailable)?;
        if run != known_run {
            known_run = run;
            if at != "0" {
                "0".clone_into(&mut at);
                continue;
            }
        }
        let [Value::BulkString(cursor), Value::Array(keys)] = found.as_slice() else { return Err(Unavailable) };
        handles.extend(keys.iter().filter_map(|key| handle_of(key, prefix)));
        at = String::from_utf8(cursor.clone()).map_err(|_| Unavailable)?;
        if at == "0" {
            return Ok((handles, None));
        }
        if handles.len() >= max || is_late(net, deadline) {
            return Ok((handles, Some(Cursor(format!("{known_run} {at}").into_bytes()))));
        }
    }
}

async fn slots(
    net: &Arc<Net>,
    cluster: &Cluster,
    home: &Arc<Home>,
    prefix: &[u8],
    from: Option<Cursor>,
    max: usize,
    deadline: Instant,
) -> Batch {
    let first = from.and_then(|Cursor(bytes)| Some(u16::from_be_bytes(*bytes.first_chunk()?))).unwrap_or_default();
    let nodes = cluster.primaries(net, home, deadline).await;
    let mut wires = Vec::with_capacity(nodes.len());
    for node in nodes {
        let wire = home.link(net, &Target::Node(node.clone())).wire(net, deadline).await;
        wires.push((node, wire.ok_or(Unavailable)?));
    }
    let mut handles = Vec::new();
    let (mut at, mut width) = (first, FEWEST_SLOTS);
    while at < SLOTS && handles.len() < max && !(at > first && is_late(net, deadline)) {
        let end = at.saturating_add(width).min(SLOTS);
        let before = handles.len();
        for owners in [true, false] {
            for (node, wire) in &wires {
                let mut commands = Pipeline::new();
                for slot in at..end {
                    let owner = cluster.owner(net, home, slot, deadline).await.ok_or(Unavailable)?;
                    if (owner == *node) == owners {
                        commands.cmd("CLUSTER").arg("GETKEYSINSLOT").arg(slot).arg(KEYS_OF_A_SLOT);
                    }
                }
                if commands.is_empty() {
                    continue;
                }
                for answer in ask_all(net, wire, &commands, deadline).await? {
                    let Value::Array(keys) = answer else { return Err(Unavailable) };
                    handles.extend(keys.iter().filter_map(|key| handle_of(key, prefix)));
                }
            }
        }
        at = end;
        if handles.len().saturating_sub(before) < max.checked_div(8).unwrap_or_default() {
            width = width.saturating_mul(2).min(MOST_SLOTS);
        }
    }
    Ok((handles, (at < SLOTS).then(|| Cursor(at.to_be_bytes().to_vec()))))
}

fn is_late(net: &Net, deadline: Instant) -> bool {
    let share = net.time_limit().checked_div(SHARE).unwrap_or_default();
    deadline.saturating_duration_since(Instant::now()) < net.time_limit().saturating_sub(share)
}

async fn ask_all(net: &Net, wire: &Wire, commands: &Pipeline, by: Instant) -> Result<Vec<Value>, Unavailable> {
    let answers = until(by, pin!(wire.ask_all(commands))).await.map_err(|_| Unavailable)?;
    let answers = answers.map_err(|error| net.note(error.to_string()));
    let refusal = |answer: &Value| if let Value::ServerError(error) = answer { Some(error.to_string()) } else { None };
    let answers = answers.map_err(|()| Unavailable)?;
    match answers.iter().find_map(refusal) {
        Some(refused) => {
            net.note(refused);
            Err(Unavailable)
        }
        None => Ok(answers),
    }
}

/// A command for every primary, and what each answered.
pub(super) async fn of_all(net: &Arc<Net>, commands: &[Cmd]) -> Result<Vec<Vec<Value>>, Unavailable> {
    let home = net.home().ok_or(Unavailable)?;
    let deadline = net.deadline();
    let targets = match &net.cluster {
        None => vec![Target::Primary],
        Some(cluster) => {
            let nodes = cluster.primaries(net, &home, deadline).await;
            nodes.into_iter().map(Target::Node).collect()
        }
    };
    let mut all = Vec::with_capacity(targets.len());
    for target in targets {
        let wire = home.link(net, &target).wire(net, deadline).await.ok_or(Unavailable)?;
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(command.clone());
        }
        let asked = until(deadline, pin!(wire.ask_all(&pipeline))).await.map_err(|_| Unavailable)?;
        all.push(asked.map_err(|_| Unavailable)?);
    }
    if all.is_empty() { Err(Unavailable) } else { Ok(all) }
}

/// What matches exactly the keys with this prefix.
fn pattern(prefix: &[u8]) -> Vec<u8> {
    let escaped = prefix.iter().flat_map(|byte| [b'\\', *byte]);
    escaped.chain([b'*']).collect()
}

fn run_of(server: &[u8]) -> Option<String> {
    let text = core::str::from_utf8(server).ok()?;
    text.lines().find_map(|line| line.strip_prefix("run_id:")).map(|run| run.trim().to_owned())
}

fn handle_of(key: &Value, prefix: &[u8]) -> Option<Handle> {
    let Value::BulkString(key) = key else { return None };
    Handle::parse(core::str::from_utf8(key.strip_prefix(prefix)?).ok()?)
}
