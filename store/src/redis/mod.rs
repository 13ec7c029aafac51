//! Records on Redis 7 or later, or on Valkey: one server, a Cluster, or a primary that Sentinels name.
//!
//! ```no_run
//! use core::time::Duration;
//! use coatroom_store::redis::{Redis, Settings};
//!
//! let settings = Settings::parse("rediss+sentinel://shop:secret@s1:26379,s2:26379/sessions")?
//!     .prefix("shop:")
//!     .confirm_replicas(1, Duration::from_millis(200));
//! let store = Redis::connect(settings)?;
//! for warning in coatroom_store::block_on(store.warnings())? {
//!     eprintln!("session store: {warning}");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Keys
//!
//! | key | what |
//! |---|---|
//! | `coatroom:s:` and the 16 characters of the handle | the record, a string that expires |
//! | `coatroom:p:` and the principal, as it is | its sessions, a sorted set of handles by the time they are over, that expires |
//! | `coatroom:f` | what has ended, a stream that expires; where access tokens are issued |
//!
//! A load is one GET, a swap is one EVALSHA. On one server the index is written by the script that writes the record. In a
//! Cluster the two are on different nodes, so a login is one trip more; each key is a slot of its own, and no command has
//! two. A user needs `~coatroom:* +get +evalsha +eval +set +getrange +unlink +zadd +zrem +zscore +zcount +zrange
//! +zremrangebyscore +pexpire`, in a Cluster `+cluster|slots +asking`, for revoking everything `+info +scan` or
//! `+cluster|getkeysinslot`, for [`Redis::warnings`] `+info +time`, to confirm `+wait`, under Sentinels `+role`, where access
//! tokens are issued `+time +xadd +xrange +xrevrange`, and for verifiers to hear of it at once `+publish +subscribe &coatroom:f`: the
//! script that announces publishes on a channel that is called like the stream. Nothing is lost but time where a user may not.
//!
//! # What is promised
//!
//! A swap is sent once. It is *unavailable* if it never left, or if the server said that it did nothing (it is loading, is
//! a replica, has no room, lacks replicas); redirections of a Cluster say that too and are followed. It is *unknown* if a
//! connection ended or the time limit passed while its answer was awaited.
//!
//! What an acknowledged write survives is for the server's settings to say:
//!
//! | `appendfsync` | the server's process dies | power is lost | a replica is promoted |
//! |---|---|---|---|
//! | `always` | survives | survives | lost, if not replicated yet |
//! | `everysec` | survives, if the disk keeps up | the last second or two are lost | lost, if not replicated yet |
//! | `no` | survives | what the system had not written is lost | lost, if not replicated yet |
//! | `appendonly no` | all since the last snapshot is lost | the same | lost, if not replicated yet |
//!
//! A lost creation logs somebody out. A lost ending brings a session back to life until its limits: so a snapshot that is
//! restored, a failover and a power loss are moments to revoke what ended shortly before. [`Settings::confirm_replicas`]
//! narrows that for failover, `min-replicas-to-write` refuses writes while no replica listens; a primary that was cut off
//! may acknowledge writes, all of which are lost, until it learns of its successor. In a Cluster the index of a principal
//! may be on another node than the record: a failover that loses an entry and keeps the record hides that session from
//! revoking all of the principal's.
//!
//! # Time and connections
//!
//! No operation takes longer than [`Settings::time_limit`], and the wait for replicas. A lost connection is made again in
//! the background after 20 ms, and after pauses that double up to half a second. Callers wait for it within their time
//! limit; once an outage is older than that they are refused at once. Callers within a tokio runtime are served by
//! connections in that runtime, everybody else by a thread of this crate, which also keeps the time limits. In
//! [`crate::block_on_far`], threads that wait write and read a connection that they have to themselves meanwhile, which costs
//! half, and so does an event loop that turns a [`crate::Reactor`]: there are as many connections as threads that wait at
//! once, of which 32 are kept, besides the one of that thread. A process that was forked opens connections of its own.
//!
//! The server's clock decides nothing: keys expire a span after the write, so long that a session has ended by then.

mod cluster;
mod confirm;
mod feed;
mod health;
mod held;
mod home;
mod inbox;
mod line;
mod link;
mod listen;
mod net;
mod plain;
mod reach;
mod refusal;
mod runner;
mod scan;
mod scripts;
mod settings;
mod time;
mod url;
mod wire;

pub use confirm::confirmed;
pub use settings::{Settings, SettingsError};

use core::convert::Infallible;
use core::fmt;
use core::time::Duration;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use coatroom_core::{Announcement, Entry, Handle, Listing, Loaded, NOT_BEFORE_KEPT, Swap, Timestamp};
use redis::{Cmd, Value};

use self::net::{Net, Order, Outcome};
use self::scripts::{BAR_LOGINS, Call, END, END_AND_LEAVE, ENTER, SWAP, SWAP_AND_ENTER};
use self::settings::Layout;
use self::wire::Dialer;
use crate::observe::warned;
use crate::runtime::PerProcess;
use crate::{Cursor, Entered, Increment, Listening, NotAnnounced, NotListed, Nudge, Store, Swapped, Unavailable};

/// A store on Redis or Valkey.
pub struct Redis {
    dialer: Arc<Dialer>,
    /// A fork begins with no connection: those that are open are its parent's.
    net: PerProcess<Arc<Net>>,
    records: Vec<u8>,
    principals: Vec<u8>,
    feed: Vec<u8>,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Redis").field(&self.dialer.settings).finish()
    }
}

impl Redis {
    /// A store with these settings. Checks them and opens nothing: the first operation connects.
    pub fn connect(settings: Settings) -> Result<Self, SettingsError> {
        let records = format!("{}s:", settings.prefix).into_bytes();
        let principals = format!("{}p:", settings.prefix).into_bytes();
        let feed = format!("{}f", settings.prefix).into_bytes();
        Ok(Self { dialer: Arc::new(Dialer::new(settings)?), net: PerProcess::new(), records, principals, feed })
    }

    /// What is wrong with how the servers are set up: one sentence each. Worth a look at every start.
    pub async fn warnings(&self) -> Result<Vec<String>, Unavailable> {
        let warnings = health::warnings(self.net()).await?;
        for sentence in &warnings {
            warned(sentence);
        }
        Ok(warnings)
    }

    /// Why an operation or an attempt to connect failed last, in the words of the server or the system. Without secrets.
    pub fn trouble(&self) -> Option<String> {
        self.net().trouble()
    }

    fn net(&self) -> &Arc<Net> {
        let made = self.net.get(|| Ok::<_, Infallible>(Net::new(Arc::clone(&self.dialer))));
        made.unwrap_or_else(|never| match never {})
    }

    fn is_cluster(&self) -> bool {
        matches!(self.dialer.settings.layout, Layout::Cluster(_))
    }

    fn record_key(&self, handle: Handle) -> Vec<u8> {
        [&self.records, coatroom_core::base64url::encode(handle.as_bytes()).as_bytes()].concat()
    }

    fn index_key(&self, principal: &str) -> Vec<u8> {
        [&self.principals, principal.as_bytes()].concat()
    }

    /// How long the server keeps what is garbage at a time, in milliseconds: counted from the write, so that no clock but
    /// the one that the time came from matters.
    fn kept(&self, garbage_at: Timestamp) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let left = Duration::from_millis(garbage_at.as_unix_ms()).saturating_sub(now);
        let kept = left.saturating_add(self.dialer.settings.slack).as_millis();
        // A server adds its own clock to it.
        u64::try_from(kept).unwrap_or(u64::MAX).clamp(1, Timestamp::MAX.as_unix_ms())
    }

    fn call(&self, key: &[u8], swap: &Swap) -> Call {
        let expected = swap.expected.as_ref().map_or(&[][..], |stamp| stamp.as_bytes());
        let new = swap.new.as_deref().unwrap_or_default();
        let one_server = !self.is_cluster();
        let begun = |script, keys: &[&[u8]]| {
            Call::new(script, keys, new.len()).arg(expected).arg(new).arg(self.kept(swap.garbage_at))
        };
        match &swap.listing {
            Listing::Enter(entry) if one_server => {
                let call = begun(&SWAP_AND_ENTER, &[key, &self.index_key(&entry.principal)]);
                call.entry(entry, self.kept(entry.until))
            }
            Listing::Leave(principal) if one_server => {
                begun(&END_AND_LEAVE, &[key, &self.index_key(principal)]).arg(swap.handle.as_bytes())
            }
            Listing::Leave(_) => begun(&END, &[key]),
            _ if swap.new.is_none() => begun(&END, &[key]),
            _ => begun(&SWAP, &[key]),
        }
    }

    /// Entries of the feed.
    async fn entries(&self, range: &Cmd) -> Result<Vec<(feed::Id, Vec<u8>)>, NotAnnounced> {
        match self.net().insist(&self.feed, &Order::Plain(range), false).await {
            Outcome::Answer(answer) => feed::lines(answer).ok_or(NotAnnounced::Unavailable),
            _ => Err(NotAnnounced::Unavailable),
        }
    }

    /// What may be done twice, and says nothing.
    async fn do_it(&self, key: &[u8], order: Order<'_>, confirm: bool) -> Result<(), Unavailable> {
        match self.net().insist(key, &order, confirm).await {
            Outcome::Answer(_) => Ok(()),
            _ => Err(Unavailable),
        }
    }
}

impl Store for Redis {
    fn enters_with_swap(&self) -> bool {
        !self.is_cluster()
    }

    async fn load(&self, handle: Handle) -> Loaded {
        let (net, key) = (self.net(), self.record_key(handle));
        let deadline = net.deadline();
        if let Some(loaded) = Self::load_held(net, &key, deadline) {
            return loaded;
        }
        let mut get = Cmd::with_capacity(2, key.len().saturating_add(3));
        get.arg("GET").arg(&key);
        match net.insist_by(deadline, &key, &Order::Plain(&get), false).await {
            Outcome::Answer(answer) => Self::loaded(answer).unwrap_or(Loaded::Unavailable),
            _ => Loaded::Unavailable,
        }
    }

    // spec: STORE-1 4bc6, STORE-2 4ba9, STORE-3 1632
    async fn swap(&self, swap: &Swap) -> Swapped {
        if let Some(swapped) = self.swap_held(self.net(), swap) {
            return swapped;
        }
        let key = self.record_key(swap.handle);
        // The loss of a record that was only just created brings nothing back.
        let confirm = swap.durable && swap.expected.is_some();
        match self.net().send(&key, &Order::Script(&self.call(&key, swap)), confirm).await {
            Outcome::Answer(answer) => scripts::swapped(answer),
            Outcome::Refused(_) | Outcome::Unsent => Swapped::Unavailable,
            Outcome::Unknown => Swapped::Unknown,
        }
    }

    async fn enter(&self, entry: &Entry) -> Result<Entered, NotListed> {
        let key = self.index_key(&entry.principal);
        let call = Call::new(&ENTER, &[&key], 0).entry(entry, self.kept(entry.until));
        match self.net().insist(&key, &Order::Script(&call), true).await {
            Outcome::Answer(Value::Int(0)) => Err(NotListed::Full),
            Outcome::Answer(answer) => scripts::entered(&answer).ok_or(NotListed::Unavailable),
            _ => Err(NotListed::Unavailable),
        }
    }

    async fn sessions(&self, principal: &str) -> Result<Vec<Handle>, Unavailable> {
        let key = self.index_key(principal);
        let mut range = redis::cmd("ZRANGE");
        range.arg(&key).arg(0).arg(-1);
        let Outcome::Answer(Value::Array(members)) = self.net().insist(&key, &Order::Plain(&range), false).await else {
            return Err(Unavailable);
        };
        Ok(members.iter().filter_map(scripts::handle).collect())
    }

    async fn leave(&self, principal: &str, handle: Handle) -> Result<(), Unavailable> {
        let key = self.index_key(principal);
        let mut remove = redis::cmd("ZREM");
        remove.arg(&key).arg(handle.as_bytes());
        self.do_it(&key, Order::Plain(&remove), false).await
    }

    async fn bar(&self, principal: &str, now: Timestamp) -> Result<Timestamp, Unavailable> {
        let key = self.index_key(principal);
        let call = Call::new(&BAR_LOGINS, &[&key], 0).arg(self.kept(now.plus(NOT_BEFORE_KEPT)));
        match self.net().insist(&key, &Order::Script(&call), true).await {
            Outcome::Answer(Value::Array(answer)) => scripts::noted(&answer).ok_or(Unavailable),
            _ => Err(Unavailable),
        }
    }

    async fn scan(&self, from: Option<Cursor>, max: usize) -> Result<(Vec<Handle>, Option<Cursor>), Unavailable> {
        scan::scan(self.net(), &self.records, from, max).await
    }

    fn has_feed(&self) -> bool {
        true
    }

    // spec: FEED-3 19a1, FEED-4 8e92, FEED-6 f2f5
    async fn announce(&self, announcement: &Announcement, forget_at: Timestamp) -> Result<(), NotAnnounced> {
        let call = Call::new(&feed::ANNOUNCE, &[&self.feed], 0).arg(announcement.to_bytes()).arg(self.kept(forget_at));
        self.do_it(&self.feed, Order::Script(&call), true).await.map_err(NotAnnounced::from)
    }

    async fn announced(&self, since: Option<Cursor>, max: usize) -> Result<Increment, NotAnnounced> {
        let newest = self.entries(&feed::newest(&self.feed)).await?.first().map(|(id, _)| *id);
        let since = feed::Id::of(since.as_ref(), newest.unwrap_or_default());
        let asked = max.saturating_add(1);
        feed::increment(self.entries(&feed::behind(&self.feed, &since, asked)).await?, since, max)
    }

    // spec: FEED-6 f2f5
    fn listen(&self, nudge: Nudge) -> Option<Listening> {
        let (dialer, name) = (Arc::new(self.dialer.listening(nudge)), self.feed.clone());
        let hear = move || {
            let (dialer, name) = (Arc::clone(&dialer), name.clone());
            async move { listen::hear(&dialer, &name).await }
        };
        Some(crate::listening::listen(&crate::runtime::handle().ok()?, hear))
    }

    /// Nothing is left to do: records expire by themselves.
    async fn sweep(&self, _: Timestamp, _: usize) -> Result<usize, Unavailable> {
        Ok(0)
    }
}
