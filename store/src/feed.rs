//! The feed of endings, for those who verify access tokens without asking the store each time.
//!
//! What ends a session is announced *before* the swap that ends it: a crash in between refuses tokens of a session that lives
//! on, for as long as [`AHEAD`] and the skew, and a new token counts again. The other way round a token would outlive its
//! session unnoticed. See decision 0017.

use core::fmt;
use core::time::Duration;

use coatroom_core::{Announcement, Handle, Listing, Subject, Swap, Timestamp};

use crate::{Cursor, Driver, Host, Store, Unavailable};

/// How long an announced ending may take until it has to be announced anew.
const AHEAD: Duration = Duration::from_secs(10);
/// What has to be left of that when another attempt is made.
const STILL_AHEAD: Duration = Duration::from_secs(5);
/// How much longer than a token may live an announcement is kept, for verifiers that are late.
const SPARE: Duration = Duration::from_mins(1);

/// What was announced since a cursor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Increment {
    /// In the order in which they were announced, but for those that took place at the same moment.
    pub announcements: Vec<Announcement>,
    /// Where to go on.
    pub next: Cursor,
    /// Whether there was more than was asked for.
    pub more: bool,
}

/// Why a store did not take or give announcements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotAnnounced {
    /// It keeps no feed.
    NoFeed,
    /// It did not answer, or holds what this build cannot read.
    Unavailable,
}

impl fmt::Display for NotAnnounced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFeed => f.write_str("this session store keeps no feed of endings: access tokens need one"),
            Self::Unavailable => Unavailable.fmt(f),
        }
    }
}

impl core::error::Error for NotAnnounced {}

impl From<Unavailable> for NotAnnounced {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

/// What the driver announces, and for how long it is kept.
#[derive(Debug)]
pub(crate) struct Announcing {
    kept: Duration,
}

/// The endings that an exchange has announced, and up to when they count.
#[derive(Default)]
pub(crate) struct Announced(Vec<(Handle, Timestamp)>);

impl<S: Store, H: Host> Driver<S, H> {
    /// The same, announcing every ending of a login: for sites that issue access tokens. `lifetime` and `leeway` are the
    /// longest of any issuer and verifier. A store without a feed is refused here, and not when somebody logs out.
    // spec: FEED-1 8358, FEED-5 77d0
    pub fn announcing(mut self, lifetime: Duration, leeway: Duration) -> Result<Self, NotAnnounced> {
        if !self.store().has_feed() {
            return Err(NotAnnounced::NoFeed);
        }
        self.announcing = Some(Announcing { kept: lifetime.saturating_add(leeway).saturating_add(SPARE) });
        Ok(self)
    }

    /// Whether endings are announced.
    pub(crate) const fn announces(&self) -> bool {
        self.announcing.is_some()
    }

    /// Announces the ending that a swap is, unless it has been shortly before.
    // spec: FEED-1 8358, FEED-2 a941
    pub(crate) async fn announce_ending(&self, swap: &Swap, announced: &mut Announced) -> Result<(), Unavailable> {
        let (Some(announcing), Listing::Leave(_)) = (&self.announcing, &swap.listing) else { return Ok(()) };
        if planted!(EndingUnannounced) {
            return Ok(());
        }
        let now = self.host().now();
        let place = announced.0.iter().position(|(handle, _)| *handle == swap.handle);
        let until = place.and_then(|at| announced.0.get(at)).map(|(_, until)| *until);
        if until.is_some_and(|until| until >= self.reaches(now).plus(STILL_AHEAD)) {
            return Ok(());
        }
        let at = self.reaches(now).plus(AHEAD);
        Box::pin(self.say(announcing, Subject::Session(swap.handle), at)).await?;
        match place.and_then(|place| announced.0.get_mut(place)) {
            Some(before) => before.1 = at,
            None => announced.0.push((swap.handle, at)),
        }
        Ok(())
    }

    /// What took longer than its announcement reaches is announced anew: tokens were issued meanwhile.
    // spec: FEED-2 a941
    pub(crate) async fn renew(&self, announced: Announced) {
        let Some(announcing) = &self.announcing else { return };
        for (handle, until) in announced.0 {
            let reaches = self.reaches(self.host().now());
            if reaches > until && !planted!(SlowEndingNotRenewed) {
                let say = || self.say(announcing, Subject::Session(handle), reaches.plus(AHEAD));
                let _as_long_as_it_is_worth = Box::pin(self.persist(say)).await;
            }
        }
    }

    /// Announces that all sessions of a principal end, before they are looked up one by one.
    // spec: FEED-3 19a1
    pub(crate) async fn announce_all_of(&self, principal: &str, moment: Timestamp) -> Result<(), Unavailable> {
        let Some(announcing) = self.announcing.as_ref().filter(|_| !planted!(EndingUnannounced)) else { return Ok(()) };
        let at = self.reaches(moment.max(self.host().now()));
        self.persist(|| self.say(announcing, Subject::Principal(principal.to_owned()), at)).await
    }

    /// The latest date that a token can bear by now, on whichever node it was issued.
    fn reaches(&self, now: Timestamp) -> Timestamp {
        now.plus(self.rules().policy().settings().skew)
    }

    async fn say(&self, announcing: &Announcing, subject: Subject, at: Timestamp) -> Result<(), Unavailable> {
        let announcement = Announcement { subject, at };
        // Boxed, so that exchanges that announce nothing are no larger for it.
        Box::pin(self.calls().announce(&announcement, at.plus(announcing.kept))).await
    }
}

/// A number of a feed, and the announcement that has it.
pub(crate) type Line = (u64, Vec<u8>);

/// A cursor that is a number, and where a feed begins.
pub(crate) fn number_of(cursor: Option<&Cursor>) -> u64 {
    cursor.and_then(|Cursor(bytes)| bytes.as_slice().try_into().ok()).map_or(0, u64::from_be_bytes)
}

/// The other way round.
pub(crate) fn cursor_of(number: u64) -> Cursor {
    Cursor(number.to_be_bytes().to_vec())
}

/// An increment from the lines of a feed, of which one more than `max` was asked for.
pub(crate) fn increment(mut lines: Vec<Line>, since: u64, max: usize) -> Result<Increment, NotAnnounced> {
    let more = lines.len() > max;
    lines.truncate(max);
    let next = cursor_of(lines.last().map_or(since, |(number, _)| *number));
    Ok(Increment { announcements: read(lines.iter().map(|(_, bytes)| bytes.as_slice()))?, next, more })
}

/// What cannot be read is none at all: who passed over it would take themselves for up to date.
pub(crate) fn read<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Announcement>, NotAnnounced> {
    lines.map(Announcement::from_bytes).collect::<Option<_>>().ok_or(NotAnnounced::Unavailable)
}
