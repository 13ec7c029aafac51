//! Coatroom sessions over real stores.
//!
//! A store offers *load* and *swap*, and nothing else: there is no way to write a record without saying what must be there
//! now. [`Driver`] runs one exchange of `coatroom-core` over a store; [`memory`] and [`sqlite`] are engines that answer at
//! once, so a synchronous program needs no runtime.
//!
//! ```
//! use coatroom_core::{KeyRing, Policy, Rules, Settings};
//! use coatroom_store::{Driver, Wait, memory::Memory};
//!
//! let keys = KeyRing::parse("1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE")?;
//! let driver = Driver::new(Rules::new(Policy::try_from(Settings::default())?, keys), Memory::default());
//!
//! let mut session = driver.open_now(b"")?;           // the bytes of the Cookie header
//! session.add("visits", 1)?;
//! session.login("alice", &["admin"], 1)?;
//! let reply = driver.close_now(session)?;            // every write is acknowledged now
//! for line in reply.set_cookies() {
//!     println!("Set-Cookie: {line}");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[macro_use]
mod bugs;
#[cfg(feature = "redis")]
mod calling;
mod driver;
mod feed;
#[cfg(all(feature = "file", unix))]
pub mod file;
mod forward;
mod host;
mod index;
#[cfg(feature = "queue")]
mod lanes;
mod listening;
pub mod memory;
mod observe;
#[cfg(feature = "postgres")]
pub mod postgres;
mod principals;
#[cfg(feature = "redis")]
mod reactor;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod runtime;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod sweeper;
mod sync;
mod turns;

#[cfg(feature = "redis")]
pub use calling::Calling;
pub use driver::{Driver, Refused};
pub use feed::{Increment, NotAnnounced};
#[cfg(any(feature = "postgres", feature = "redis"))]
pub use host::block_on_far;
pub use host::{Host, System, block_on};
pub use listening::{Listening, Nudge};
pub use principals::RevokedAll;
#[cfg(feature = "redis")]
pub use reactor::Reactor;
#[cfg(any(feature = "postgres", feature = "redis"))]
pub use runtime::{Work, spawn, spawn_all};
pub use sweeper::Sweeper;

use core::future::{Future, ready};
use core::time::Duration;

use coatroom_core::{Announcement, Entry, Handle, Listed, Loaded, Swap, Timestamp};

/// What a store answers to a swap.
#[derive(Clone, PartialEq, Eq)]
pub enum Swapped {
    /// The swap took place. If it asked for an entry in the index of principals, that is still to be made.
    Done,
    /// The swap took place, and the entry that it asked for with it.
    Entered(Entered),
    /// It did not: as many sessions of the principal are listed as its entry allows.
    Full,
    /// It did not: something else was stored, namely this.
    Conflict(Option<Vec<u8>>),
    /// It may or may not have taken place.
    Unknown,
    /// It did not: the store could not be reached, or had no room.
    Unavailable,
}

impl core::fmt::Debug for Swapped {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Done => f.write_str("Done"),
            Self::Entered(entered) => f.debug_tuple("Entered").field(entered).finish(),
            Self::Full => f.write_str("Full"),
            Self::Conflict(record) => f.debug_tuple("Conflict").field(&record.as_ref().map(Vec::len)).finish(),
            Self::Unknown => f.write_str("Unknown"),
            Self::Unavailable => f.write_str("Unavailable"),
        }
    }
}

/// A place where records are kept, and which sessions belong to which principal.
///
/// Contract: a load returns the bytes of the last swap under the handle. A swap compares [`coatroom_core::Stamp`], writes
/// and answers as one indivisible step, also among processes; when it is refused, it changes nothing. Each call sends a
/// swap at most once: a client library's own retry must be off. A swap that is `durable` is acknowledged only once it
/// survives whatever the store's documentation promises to survive.
///
/// The index never misses a session that was entered and neither left nor ended by a swap that says so. What
/// [`Store::bar`] wrote shows in every entry made after it returned, and every entry made before shows in
/// [`Store::sessions`]: of a login and a revocation that overlap, at least one sees the other.
pub trait Store: Send + Sync {
    /// Whether index and record are written in one step, so that a swap answers [`Swapped::Entered`] itself. Otherwise
    /// the driver calls [`Store::enter`] after the swap, and also before it where the entry limits how many there are.
    fn enters_with_swap(&self) -> bool {
        true
    }

    /// Whether it answers at once, without a network in between: then nobody queues for it.
    fn is_here(&self) -> bool {
        false
    }

    /// The record under `handle`.
    fn load(&self, handle: Handle) -> impl Future<Output = Loaded> + Send;

    /// Replaces, creates or removes a record if the store still holds what the swap expects.
    fn swap(&self, swap: &Swap) -> impl Future<Output = Swapped> + Send;

    /// Makes or renews an entry of the index. Doing it twice is doing it once. Of two entries of a principal, the one that
    /// was made later names the earlier one ([`Entered::before`]), and not the other way round.
    fn enter(&self, entry: &Entry) -> impl Future<Output = Result<Entered, NotListed>> + Send;

    /// The sessions entered under a principal and not left. Some may be over.
    fn sessions(&self, principal: &str) -> impl Future<Output = Result<Vec<Handle>, Unavailable>> + Send;

    /// Removes the entry of a session whose record the caller saw absent or ended.
    fn leave(&self, principal: &str, handle: Handle) -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// Notes that all sessions of the principal are revoked as of now, for the logins that are under way, and answers with
    /// the moment it gave this revocation: later than that of any other. Durable. It may be forgotten after
    /// [`coatroom_core::NOT_BEFORE_KEPT`].
    ///
    /// The moment is by the store's own clock, or by `now`, the caller's, where all callers are on one host.
    fn bar(&self, principal: &str, now: Timestamp) -> impl Future<Output = Result<Timestamp, Unavailable>> + Send;

    /// About `max` handles of stored records, and where to go on. Every record that is there throughout is met.
    fn scan(
        &self,
        from: Option<Cursor>,
        max: usize,
    ) -> impl Future<Output = Result<(Vec<Handle>, Option<Cursor>), Unavailable>> + Send;

    /// Removes at most about `max` records that were garbage at `now`, and says how many.
    fn sweep(&self, now: Timestamp, max: usize) -> impl Future<Output = Result<usize, Unavailable>> + Send;

    /// Whether it keeps a feed of endings, for those who verify access tokens.
    fn has_feed(&self) -> bool {
        false
    }

    /// Adds to the feed, durably, and keeps it at least until `forget_at`. Doing it twice is doing it once. When this has
    /// returned, [`Store::announced`] shows it to everybody.
    fn announce(
        &self,
        _announcement: &Announcement,
        _forget_at: Timestamp,
    ) -> impl Future<Output = Result<(), NotAnnounced>> + Send {
        ready(Err(NotAnnounced::NoFeed))
    }

    /// At most `max` announcements since the cursor, from the oldest on; all that are kept for a cursor of none. Whoever goes
    /// on with [`Increment::next`] misses none, whatever is announced meanwhile.
    fn announced(
        &self,
        _since: Option<Cursor>,
        _max: usize,
    ) -> impl Future<Output = Result<Increment, NotAnnounced>> + Send {
        ready(Err(NotAnnounced::NoFeed))
    }

    /// Has `nudge` called, from whatever thread, when somebody may have announced something, and when some announcement may
    /// have gone unheard, until what is returned is dropped. Whoever gets no nudge asks [`Store::announced`] every so often
    /// all the same, so a store may lose any, and may send too many. None if it cannot.
    fn listen(&self, _nudge: Nudge) -> Option<Listening> {
        None
    }
}

/// A store inside this process, which answers without waiting for a network.
pub trait Engine: Send + Sync {
    /// The record under `handle`.
    fn load(&self, handle: Handle) -> Loaded;

    /// As [`Store::swap`]. None when the caller will not wait and this swap could take longer than a millisecond: then
    /// nothing was sent, and the same swap may be sent again from a thread that may wait.
    fn swap(&self, swap: &Swap, wait: Wait) -> Option<Swapped>;

    /// As [`Store::enter`].
    fn enter(&self, entry: &Entry) -> Result<Entered, NotListed>;

    /// As [`Store::sessions`].
    fn sessions(&self, principal: &str) -> Result<Vec<Handle>, Unavailable>;

    /// As [`Store::leave`].
    fn leave(&self, principal: &str, handle: Handle) -> Result<(), Unavailable>;

    /// As [`Store::bar`].
    fn bar(&self, principal: &str, now: Timestamp) -> Result<Timestamp, Unavailable>;

    /// As [`Store::scan`].
    fn scan(&self, from: Option<Cursor>, max: usize) -> Result<(Vec<Handle>, Option<Cursor>), Unavailable>;

    /// As [`Store::sweep`].
    fn sweep(&self, now: Timestamp, max: usize) -> Result<usize, Unavailable>;

    /// As [`Store::has_feed`].
    fn has_feed(&self) -> bool {
        false
    }

    /// As [`Store::announce`].
    fn announce(&self, _announcement: &Announcement, _forget_at: Timestamp) -> Result<(), NotAnnounced> {
        Err(NotAnnounced::NoFeed)
    }

    /// As [`Store::announced`].
    fn announced(&self, _since: Option<Cursor>, _max: usize) -> Result<Increment, NotAnnounced> {
        Err(NotAnnounced::NoFeed)
    }

    /// As [`Store::listen`].
    fn listen(&self, _nudge: Nudge) -> Option<Listening> {
        None
    }

    /// As [`Store::enters_with_swap`].
    fn enters_with_swap(&self) -> bool {
        true
    }

    /// As [`Store::is_here`].
    fn is_here(&self) -> bool {
        true
    }

    /// Whether a sweep of a little takes less than a millisecond, so that an event loop may do it.
    fn sweeps_at_once(&self) -> bool {
        false
    }
}

/// Whether a caller can wait for locks and disks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// It can: it is a thread of its own.
    Patiently,
    /// It cannot: it is an event loop.
    Never,
}

/// The store did not answer. Whether it did what it was asked for is not known; all that answers so may be asked again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unavailable;

impl core::fmt::Display for Unavailable {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the session store cannot answer: try again shortly")
    }
}

impl core::error::Error for Unavailable {}

/// An entry stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Entered {
    /// The moment of the last revocation of all sessions of the principal, as [`Store::bar`] gave it; the beginning of time
    /// if there was none.
    pub revoked: Timestamp,
    /// How long ago that was, by the same clock, if it is the store's own: at most this long, whatever the callers' clocks
    /// say. None where all callers share the clock of one host.
    pub ago: Option<Duration>,
    /// How many sessions of the principal are listed, this one included and garbage not counted.
    pub count: u32,
    /// The others that were listed when this one was entered, as many of them as the entry asks for, those that are over
    /// first; none if this one was listed already, for then some of the others may have come after it.
    pub before: Option<Vec<Handle>>,
}

impl Entered {
    /// What this means to an exchange whose clock reads `now`, after the answer came.
    #[must_use]
    pub fn by(&self, now: Timestamp) -> Listed {
        let Self { revoked, ago, count, .. } = *self;
        let not_before = ago.map_or(revoked, |ago| now.minus(ago));
        Listed { revoked, not_before, count }
    }
}

/// Why an entry does not stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotListed {
    /// As many sessions of the principal are listed as the entry allows.
    Full,
    /// The store did not answer.
    Unavailable,
}

impl From<Unavailable> for NotListed {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

/// Where a scan goes on: the store's own bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cursor(pub Vec<u8>);
