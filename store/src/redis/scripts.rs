//! What runs inside the server. Every key is in KEYS, and every time is an argument, but for the moment of a revocation:
//! that is by the clock of the server, so that nobody has to allow for clocks that differ.
//!
//! The index of a principal is one sorted set: a handle scores the time by which its session is over, and the member `bar`
//! scores when all were revoked last, raised by 2^51 so that no range of handles holds it. One key needs no hash tag, and never waits
//! for another one that a Cluster is just moving.

use std::sync::OnceLock;

use coatroom_core::{Entry, Handle, Timestamp};
use redis::{Arg, Cmd, ToRedisArgs, Value};

use crate::{Entered, Swapped};

/// Larger than any time, and far below 2^53, up to which scores are exact.
const BAR: u64 = 1 << 51;
/// Entries are removed only this long after they became garbage, by whichever clock.
const STALE_AFTER: u64 = 3_600_000;

macro_rules! check {
    () => {
        "
local expected, record, span = ARGV[1], ARGV[2], ARGV[3]
if expected == '' then
    local present = redis.call('GET', KEYS[1])
    if present then return present end
elseif redis.call('GETRANGE', KEYS[1], 2, 17) ~= expected then
    return redis.call('GET', KEYS[1])
end
"
    };
}

macro_rules! write {
    () => {
        "
if record == '' then
    redis.call('UNLINK', KEYS[1])
else
    redis.call('SET', KEYS[1], record, 'PX', span)
end
"
    };
}

/// Reads the index, which must not fail once the record is written.
macro_rules! admit {
    () => {
        "
local index = KEYS[#KEYS]
local handle, over, now, stale, most, names, listed = unpack(ARGV, #ARGV - 6)
local first, last = '(' .. now, '(2251799813685248'
local bar = redis.call('ZSCORE', index, 'bar')
bar = bar and string.format('%.0f', bar) or ''
local time = bar ~= '' and redis.call('TIME') or {0, 0}
local own = redis.call('ZSCORE', index, handle)
local before = not own and {}
if before and names ~= '0' then
    before = redis.call('ZRANGE', index, first, last, 'BYSCORE', 'LIMIT', 0, names)
end
if most ~= '' then
    local others = redis.call('ZCOUNT', index, first, last)
    if own and tonumber(own) > tonumber(now) then others = others - 1 end
    if others >= tonumber(most) then return 0 end
end
"
    };
}

macro_rules! enter {
    () => {
        "
redis.call('ZREMRANGEBYSCORE', index, '-inf', stale)
redis.call('ZADD', index, 'GT', over, handle)
redis.call('PEXPIRE', index, listed, 'NX')
redis.call('PEXPIRE', index, listed, 'GT')
return {bar, redis.call('ZCOUNT', index, first, last), time[1] * 1000 + math.floor(time[2] / 1000), before}
"
    };
}

/// Parts of a command at most, and the size of those that are the same in all.
const MOST_PARTS: usize = 15;
const BESIDES: usize = 128;

const _: () = assert!(BAR == 2_251_799_813_685_248, "the number in the script above");
const _: () = assert!(coatroom_core::Stamp::AT == 2, "the script above says where the stamp is");

/// Compares the stamp and writes. Answers 1, or what is there instead.
pub(super) static SWAP: Script = Script::new(concat!("#!lua\n", check!(), write!(), "return 1"));

/// The same for a record that ends: a server that is out of memory does it all the same.
pub(super) static END: Script = Script::new(concat!("#!lua flags=allow-oom\n", check!(), write!(), "return 1"));

/// The same, and the session leaves the index. An entry too many is harmless.
pub(super) static END_AND_LEAVE: Script = Script::new(concat!(
    "#!lua flags=allow-oom\n",
    check!(),
    write!(),
    "redis.pcall('ZREM', KEYS[2], ARGV[4])\n",
    "return 1"
));

/// Compares the stamp, writes, and enters the session into the index. Answers as [`ENTER`], or what is there instead.
pub(super) static SWAP_AND_ENTER: Script = Script::new(concat!("#!lua\n", check!(), admit!(), write!(), enter!()));

/// Enters a session into the index. Answers when all were revoked last, how many are listed, what the server's clock says,
/// and who was listed before, if this one was not; or 0 if there are too many.
pub(super) static ENTER: Script = Script::new(concat!("#!lua\n", admit!(), enter!()));

/// Notes when all were revoked, and answers that, in a list, for a text alone would be a record in the way. Rounded up, so that it is never longer ago than it seems.
pub(super) static BAR_LOGINS: Script = Script::new(
    "#!lua flags=allow-oom
local time = redis.call('TIME')
local moment = 2251799813685248 + time[1] * 1000 + math.ceil(time[2] / 1000)
local last = redis.call('ZSCORE', KEYS[1], 'bar')
if last and tonumber(last) >= moment then moment = tonumber(last) + 1 end
local score = string.format('%.0f', moment)
redis.call('ZADD', KEYS[1], score, 'bar')
redis.call('PEXPIRE', KEYS[1], ARGV[1], 'NX')
redis.call('PEXPIRE', KEYS[1], ARGV[1], 'GT')
return {score}",
);

/// The text of a script, and the digest under which a server remembers it.
pub(super) struct Script {
    text: &'static str,
    digest: OnceLock<String>,
}

impl Script {
    pub(super) const fn new(text: &'static str) -> Self {
        Self { text, digest: OnceLock::new() }
    }

    pub(super) fn digest(&self) -> &str {
        self.digest.get_or_init(|| redis::Script::new(self.text).get_hash().to_owned())
    }
}

/// A script with its keys and arguments. Sent by its digest first, and whole if the server does not know it.
pub(super) struct Call {
    script: &'static Script,
    /// `EVALSHA`.
    pub(super) by_digest: Cmd,
}

impl Call {
    /// Without arguments yet, of which there will be about so many bytes.
    pub(super) fn new(script: &'static Script, keys: &[&[u8]], size: usize) -> Self {
        let size = keys.iter().fold(size.saturating_add(BESIDES), |sum, key| sum.saturating_add(key.len()));
        let mut by_digest = Cmd::with_capacity(MOST_PARTS, size);
        by_digest.arg("EVALSHA").arg(script.digest()).arg(keys.len()).arg(keys);
        Self { script, by_digest }
    }

    pub(super) fn arg(mut self, argument: impl ToRedisArgs) -> Self {
        self.by_digest.arg(argument);
        self
    }

    /// The arguments that an entry ends a script's arguments with; `listed` is how long the index is kept, in milliseconds.
    pub(super) fn entry(self, entry: &Entry, listed: u64) -> Self {
        let now = entry.now.as_unix_ms();
        let call = self.arg(entry.handle.as_bytes()).arg(entry.until.as_unix_ms()).arg(now);
        let call = call.arg(now.saturating_sub(STALE_AFTER));
        let call = if let Some(most) = entry.at_most { call.arg(most) } else { call.arg("") };
        call.arg(entry.names).arg(listed)
    }

    /// `EVAL`.
    pub(super) fn whole(&self) -> Cmd {
        let mut whole = redis::cmd("EVAL");
        whole.arg(self.script.text);
        for part in self.by_digest.args_iter().skip(2) {
            if let Arg::Simple(part) = part {
                whole.arg(part);
            }
        }
        whole
    }
}

/// What a script over a record answered.
pub(super) fn swapped(answer: Value) -> Swapped {
    match answer {
        Value::Int(1) => Swapped::Done,
        Value::Int(0) => Swapped::Full,
        Value::Nil => Swapped::Conflict(None),
        Value::BulkString(present) => Swapped::Conflict(Some(present)),
        answer => entered(&answer).map_or(Swapped::Unknown, Swapped::Entered),
    }
}

/// What [`ENTER`] answered, but for "too many".
pub(super) fn entered(answer: &Value) -> Option<Entered> {
    let Value::Array(parts) = answer else { return None };
    let [Value::BulkString(bar), Value::Int(count), Value::Int(now), before] = parts.as_slice() else { return None };
    let before = match before {
        Value::Array(handles) => Some(handles.iter().filter_map(handle).collect()),
        _ => None,
    };
    let revoked = if bar.is_empty() { Timestamp::default() } else { moment(bar)? };
    let now = Timestamp::from_unix_ms(u64::try_from(*now).ok()?);
    Some(Entered { revoked, ago: Some(now.since(revoked)), count: u32::try_from(*count).ok()?, before })
}

/// A member of the index that is no bar.
pub(super) fn handle(member: &Value) -> Option<Handle> {
    match member {
        Value::BulkString(bytes) => bytes.as_slice().try_into().ok().map(Handle::from_bytes),
        _ => None,
    }
}

/// What [`BAR_LOGINS`] answered.
pub(super) fn noted(answer: &[Value]) -> Option<Timestamp> {
    let [Value::BulkString(score)] = answer else { return None };
    moment(score)
}

/// What the score of a revocation stands for.
fn moment(score: &[u8]) -> Option<Timestamp> {
    let score: u64 = core::str::from_utf8(score).ok()?.parse().ok()?;
    score.checked_sub(BAR).map(Timestamp::from_unix_ms)
}
