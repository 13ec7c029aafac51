//! The feed of endings: a stream, whose ids are the server's time and only ever grow.

use core::cmp::Ordering;

use redis::{Cmd, Value};

use super::scripts::Script;
use crate::Cursor;
use crate::feed::{Increment, NotAnnounced, read};

/// Adds to the stream, and removes what is twice as old as anybody wants it: entries may have been made under a longer span.
/// Then tells whoever listens, on a channel that is called like the stream; a user who may not do that has announced all the
/// same. Answers in a list, for a text alone would be a record in the way.
pub(super) static ANNOUNCE: Script = Script::new(
    "#!lua flags=allow-oom
local time, span = redis.call('TIME'), 2 * ARGV[2]
local oldest = string.format('%.0f', math.max(0, time[1] * 1000 - span))
local id = redis.call('XADD', KEYS[1], 'MINID', '~', oldest, '*', 'a', ARGV[1])
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', span))
redis.pcall('PUBLISH', KEYS[1], '')
return {id}",
);

/// The newest entry.
pub(super) fn newest(key: &[u8]) -> Cmd {
    let mut command = redis::cmd("XREVRANGE");
    command.arg(key).arg("+").arg("-").arg("COUNT").arg(1);
    command
}

/// Entries behind an id.
pub(super) fn behind(key: &[u8], id: &Id, count: usize) -> Cmd {
    let mut command = redis::cmd("XRANGE");
    command.arg(key).arg(format!("({}-{}", id.0, id.1)).arg("+").arg("COUNT").arg(count);
    command
}

/// Milliseconds and a number within them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Id(u64, u64);

impl Id {
    fn parse(text: &[u8]) -> Option<Self> {
        let (ms, number) = core::str::from_utf8(text).ok()?.split_once('-')?;
        Some(Self(ms.parse().ok()?, number.parse().ok()?))
    }

    /// Where a cursor leads: one that is beyond the newest entry is of another feed, such as that of a server which was lost
    /// together with its newest entries, and leads to the beginning.
    // spec: FEED-3 19a1
    pub(super) fn of(cursor: Option<&Cursor>, newest: Self) -> Self {
        let id = cursor.and_then(|Cursor(bytes)| Self::parse(bytes)).unwrap_or_default();
        if id.cmp(&newest) == Ordering::Greater { Self::default() } else { id }
    }
}

/// The ids and announcements of an answer.
pub(super) fn lines(answer: Value) -> Option<Vec<(Id, Vec<u8>)>> {
    let Value::Array(entries) = answer else { return None };
    entries.into_iter().map(line).collect()
}

fn line(entry: Value) -> Option<(Id, Vec<u8>)> {
    let Value::Array(entry) = entry else { return None };
    let [Value::BulkString(id), Value::Array(fields)] = entry.as_slice() else { return None };
    let [_, Value::BulkString(bytes)] = fields.as_slice() else { return None };
    Some((Id::parse(id)?, bytes.clone()))
}

/// An increment of these entries, of which one more than `max` was asked for.
pub(super) fn increment(mut lines: Vec<(Id, Vec<u8>)>, since: Id, max: usize) -> Result<Increment, NotAnnounced> {
    let more = lines.len() > max;
    lines.truncate(max);
    let Id(ms, number) = lines.last().map_or(since, |(id, _)| *id);
    let next = Cursor(format!("{ms}-{number}").into_bytes());
    Ok(Increment { announcements: read(lines.iter().map(|(_, bytes)| bytes.as_slice()))?, next, more })
}
