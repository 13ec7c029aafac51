//! What an operator should know before relying on a server.

use core::time::Duration;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use redis::Value;

use super::net::Net;
use super::scan::of_all;
use crate::Unavailable;

/// The oldest version that runs the scripts.
const OLDEST: u32 = 7;
/// Clocks that are further apart are worth a word.
const CLOCKS: Duration = Duration::from_mins(1);

/// One sentence for each thing that is wrong, and how to mend it.
pub(super) async fn warnings(net: &Arc<Net>) -> Result<Vec<String>, Unavailable> {
    let mut info = redis::cmd("INFO");
    info.arg("server").arg("memory").arg("persistence");
    let mut all = Vec::new();
    let mut save = redis::cmd("CONFIG");
    save.arg("GET").arg("save");
    for answers in of_all(net, &[info, redis::cmd("TIME"), save]).await? {
        match answers.as_slice() {
            [Value::BulkString(info), time, save] => {
                all.extend(of_info(&String::from_utf8_lossy(info), saves(save)));
                all.extend(of_time(time));
            }
            [Value::ServerError(error), ..] if error.code() == "NOPERM" => {
                all.push("the store's user may not ask INFO, so nothing was checked: permit +info".to_owned());
            }
            _ => return Err(Unavailable),
        }
    }
    all.dedup();
    Ok(all)
}

/// Whether the server writes snapshots. It does, as far as is known, where the store's user may not ask.
fn saves(config: &Value) -> bool {
    let when = match config {
        Value::Array(pair) => pair.last(),
        Value::Map(pairs) => pairs.last().map(|(_, when)| when),
        _ => None,
    };
    !matches!(when, Some(Value::BulkString(when)) if when.is_empty())
}

fn of_info(info: &str, saves: bool) -> Vec<String> {
    let field = |name: &str| {
        info.lines().find_map(|line| line.split_once(':').filter(|(field, _)| *field == name).map(|(_, value)| value))
    };
    let mut all = Vec::new();
    // Valkey gives the version of Redis that it is compatible with under the old name.
    let version = field("redis_version").unwrap_or_default();
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < OLDEST) {
        all.push(format!("the server is version `{version}`: Redis 7 or Valkey is needed"));
    }
    match field("maxmemory_policy") {
        None | Some("noeviction") => {}
        Some(policy) => all.push(format!(
            "maxmemory-policy is {policy}: a full server drops sessions, and notes of revocations: set it to noeviction"
        )),
    }
    if saves && field("aof_enabled") == Some("0") {
        all.push(
            "appendonly is off: a server that starts from a snapshot brings back sessions that have ended since: set \
             appendonly to yes, or save to nothing so that it starts empty"
                .to_owned(),
        );
    }
    all
}

fn of_time(time: &Value) -> Option<String> {
    let Value::Array(parts) = time else { return None };
    let Some(Value::BulkString(seconds)) = parts.first() else { return None };
    let server = Duration::from_secs(core::str::from_utf8(seconds).ok()?.parse().ok()?);
    let apart = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.abs_diff(server);
    let text = |apart: Duration| format!("the server's clock is {} s from this host's: set both", apart.as_secs());
    (apart > CLOCKS).then(|| text(apart))
}
