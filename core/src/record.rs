//! Everything about a session in one record: how a presented id is judged by it, and the steps it can take.
//!
//! Invariants, checked by [`crate::codec`] when a record is read and kept by every step here:
//! - `[floor]` the floor is at most the current generation;
//! - `[previous]` a previous id is exactly one generation older than the current one, and not below the floor;
//! - `[pending]` while the current id is not confirmed, a previous id keeps its nonce; once confirmed, never;
//! - `[ended]` an ended record has no previous id, no lease, no roles, no client details and no data.

use alloc::boxed::Box;
use alloc::string::String;
use core::time::Duration;

use crate::bugs::{Bug, planted};
use crate::codec::Names;
use crate::data::Data;
use crate::id::{CommitId, Digest, Nonce, SessionId};
use crate::lifecycle::State;
use crate::policy::Policy;
use crate::time::{Limits, Passed, Timestamp};

/// Commit ids kept: the writes of one exchange are recognised while at most this many others came after it.
pub(crate) const COMMITS_KEPT: usize = 4;

/// One session, as a store keeps it.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) head: Head,
    pub(crate) principal: Option<Principal>,
    pub(crate) client: Client,
    pub(crate) data: Data,
    pub(crate) kept: Kept,
}

/// Who keeps a record.
#[derive(Clone)]
pub(crate) enum Kept {
    /// The store.
    Stored,
    /// The client, in its cookie. This is what the deny list holds of the session, if there is one and it holds anything.
    Worn(Option<Box<Head>>),
}

/// The part of fixed size.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    pub(crate) version: u64,
    /// Newest first.
    pub(crate) commits: [CommitId; COMMITS_KEPT],
    pub(crate) created_at: Timestamp,
    pub(crate) seen_at: Timestamp,
    pub(crate) deadline: Timestamp,
    pub(crate) idle: Option<Duration>,
    pub(crate) current: Issued,
    pub(crate) previous: Option<Previous>,
    pub(crate) floor: u32,
    pub(crate) lease: Option<Lease>,
    pub(crate) end: Option<End>,
}

/// The current id, as far as the store knows it.
#[derive(Clone, Copy)]
pub(crate) struct Issued {
    pub(crate) generation: u32,
    pub(crate) digest: Digest,
    pub(crate) issued_at: Timestamp,
    pub(crate) confirmed_at: Option<Timestamp>,
}

/// The id that a rotation replaced.
#[derive(Clone, Copy)]
pub(crate) struct Previous {
    pub(crate) digest: Digest,
    pub(crate) phase: Phase,
}

/// Whose turn it is to write data.
#[derive(Clone, Copy)]
pub(crate) struct Lease {
    /// The commit id of the write that took it.
    pub(crate) token: CommitId,
    pub(crate) until: Timestamp,
}

/// How far a rotation has come.
#[derive(Clone, Copy)]
pub(crate) enum Phase {
    /// The client has not presented the new id yet: any holder of the old one may be told it again.
    Pending(Nonce),
    /// It has: the old id works until then.
    Grace(Timestamp),
}

/// When and why a session ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct End {
    pub(crate) at: Timestamp,
    pub(crate) cause: Cause,
}

/// Why a session ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// Its own logout.
    Logout,
    /// The idle limit passed.
    Idle,
    /// The absolute limit passed.
    Absolute,
    /// Its first id was never presented.
    NotActivated,
    /// An id that had been replaced long ago was presented: somebody holds a copy.
    Reuse,
    /// Another session took its place: somebody else logged in from the same client, or a visitor did whose cookie held all.
    Replaced,
    /// It was revoked: from a list of devices, with all others of its principal, or with all there are.
    Revoked,
    /// It made room for a newer login of the same principal.
    Evicted,
}

impl Cause {
    /// A stable name for events and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Idle => "idle",
            Self::Absolute => "absolute",
            Self::NotActivated => "not activated",
            Self::Reuse => "reuse",
            Self::Replaced => "replaced",
            Self::Revoked => "revoked",
            Self::Evicted => "evicted",
        }
    }

    /// The state of every id of a session that ended for this cause.
    #[must_use]
    // spec: LIFE-4 4620, LIFE-9 b646
    pub const fn state(self) -> State {
        match self {
            Self::Idle | Self::Absolute | Self::NotActivated => State::Expired,
            Self::Logout | Self::Reuse | Self::Replaced | Self::Revoked | Self::Evicted => State::Destroyed,
        }
    }
}

/// Who is logged in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Principal {
    pub(crate) names: Names,
    pub(crate) level: u8,
    pub(crate) authenticated_at: Timestamp,
}

impl Principal {
    /// The application's own name for whoever is logged in.
    pub fn name(&self) -> &str {
        self.names.principal()
    }

    /// Roles, sorted.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.names.roles()
    }

    /// Level of authentication, as the application counts it.
    pub const fn level(&self) -> u8 {
        self.level
    }

    /// When the present login or elevation took place.
    pub const fn authenticated_at(&self) -> Timestamp {
        self.authenticated_at
    }
}

/// What a list of devices shows of the client.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Client {
    /// A label for people, such as "Firefox on Linux".
    pub label: String,
    /// The network address at the last login.
    pub address: String,
}

/// How a presented id stands towards the record of its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// The session has ended.
    Ended(Cause),
    /// A limit has passed, and the record does not say so yet.
    Expired(Cause),
    /// From before the present login: dead for good, and no reason to react.
    BelowFloor,
    /// The id that the client ought to have.
    Current,
    /// Replaced, but the client may not know yet.
    Pending,
    /// Replaced, the client knows, and the grace runs.
    Grace,
    /// Genuine, replaced, and past its grace: a copy is in use somewhere.
    Reuse,
    /// Never issued by this record.
    Forged,
}

impl Standing {
    // spec: ROT-6 d69f, LIFE-8 5fb5
    pub(crate) const fn is_admitted(self) -> bool {
        matches!(self, Self::Current | Self::Pending | Self::Grace)
    }
}

impl Record {
    /// Judges an id whose tag is genuine. The order of the questions is part of the meaning.
    // spec: LIFE-4 4620, LIFE-5 6efa, LIFE-6 c808, REUSE-1 3573, REUSE-2 b0f2, ROT-6 d69f, CLAIM-2 1248, CLAIM-6 15b5
    // spec: TIME-11 a2f9
    pub(crate) fn judge(&self, id: &SessionId, now: Timestamp, policy: &Policy) -> Standing {
        let head = &self.head;
        if let Some(end) = head.end {
            return Standing::Ended(end.cause);
        }
        let outlasts = (planted(Bug::GraceBeyondDeadline) && id.generation < head.current.generation)
            || (planted(Bug::CoatOutlivesLimits) && self.is_worn());
        if let Some(cause) = head.expired(now, policy).filter(|_| !outlasts) {
            return Standing::Expired(cause);
        }
        if head.is_below_floor(id.generation) {
            return if planted(Bug::FloorReacts) { Standing::Reuse } else { Standing::BelowFloor };
        }
        if id.generation == head.current.generation {
            let genuine = head.current.digest.matches(&id.secret);
            return if genuine { Standing::Current } else { Standing::Forged };
        }
        if id.generation > head.current.generation {
            return Standing::Forged;
        }
        match head.previous {
            Some(previous) if id.generation.checked_add(1) == Some(head.current.generation) => {
                if !previous.digest.matches(&id.secret) {
                    return Standing::Forged;
                }
                match previous.phase {
                    Phase::Pending(_) => Standing::Pending,
                    Phase::Grace(until) if now < until || planted(Bug::GraceForever) => Standing::Grace,
                    Phase::Grace(_) => Standing::Reuse,
                }
            }
            _ => Standing::Reuse,
        }
    }

    /// Ends the session: only who it was, when and why is kept.
    // spec: REC-8 1a1b
    pub(crate) fn end(&mut self, at: Timestamp, cause: Cause) {
        self.head.end = Some(End { at, cause });
        self.head.previous = None;
        self.head.lease = None;
        if let Some(principal) = &mut self.principal {
            principal.names = principal.names.without_roles();
        }
        self.client = Client::default();
        self.data = Data::empty();
    }
}

impl Head {
    pub(crate) const fn limits(&self) -> Limits {
        Limits { seen_at: self.seen_at, idle: self.idle, deadline: self.deadline }
    }

    /// Whether an id of this generation is from before the present login: dead for good.
    // spec: REUSE-2 b0f2, CLAIM-1 2a35
    pub(crate) fn is_below_floor(&self, generation: u32) -> bool {
        generation < self.floor && !planted(Bug::NoFloorCheck)
    }

    // spec: TIME-10 9be5, TIME-11 a2f9
    pub(crate) fn expired(&self, now: Timestamp, policy: &Policy) -> Option<Cause> {
        match self.limits().passed(now) {
            Some(Passed::Idle) => Some(Cause::Idle),
            Some(Passed::Absolute) => Some(Cause::Absolute),
            None => {
                let first_id = self.current.generation == self.floor
                    && self.current.confirmed_at.is_none()
                    && !planted(Bug::ActivationIgnored);
                let limit = policy.activation().filter(|_| first_id)?;
                (now >= self.current.issued_at.plus(limit)).then_some(Cause::NotActivated)
            }
        }
    }

    /// Whether the exchange with this token has its turn.
    // spec: SER-3 4b53
    pub(crate) fn is_leased_by(&self, token: CommitId) -> bool {
        self.lease.is_some_and(|lease| lease.token == token)
    }

    /// Whether another exchange has its turn. By whichever clock, a lease lasts at least as long as its holder was told.
    // spec: SER-1 0cb4, SER-4 ef64
    pub(crate) fn is_leased_to_another(&self, token: Option<CommitId>, now: Timestamp, policy: &Policy) -> bool {
        self.lease
            .filter(|lease| Some(lease.token) != token)
            .is_some_and(|lease| now < lease.until.plus(policy.settings().skew) || planted(Bug::LeaseForever))
    }

    /// The latest point in time that the record claims has already been.
    // spec: TIME-7 b2f4
    pub(crate) fn latest_reading(&self) -> Timestamp {
        [
            Some(self.created_at),
            Some(self.seen_at),
            Some(self.current.issued_at),
            self.current.confirmed_at,
            self.end.map(|end| end.at),
        ]
        .into_iter()
        .flatten()
        .fold(Timestamp::default(), Timestamp::max)
    }

    /// The client has presented the current id: its predecessor gets its grace, and the way to derive this one is forgotten.
    /// Returns whether anything changed.
    // spec: ROT-5 64fb
    pub(crate) fn confirm(&mut self, generation: u32, now: Timestamp, grace: Duration) -> bool {
        if self.current.generation != generation || self.current.confirmed_at.is_some() {
            return false;
        }
        // On the wire 0 means "not yet".
        self.current.confirmed_at = Some(now.max(Timestamp::from_unix_ms(1)));
        if let Some(previous) = self.previous.as_mut().filter(|_| !planted(Bug::NonceKept)) {
            previous.phase = Phase::Grace(now.plus(grace).min(self.deadline));
        }
        true
    }

    /// Presence counts as use. The time only ever grows. Returns whether anything changed.
    // spec: TIME-4 c482
    pub(crate) fn touch(&mut self, now: Timestamp, not_within: Duration) -> bool {
        let due = now >= self.seen_at.plus(not_within) && now > self.seen_at && !planted(Bug::TouchForgotten);
        if due {
            self.seen_at = now;
            if planted(Bug::TouchMovesDeadline) {
                self.deadline = self.deadline.max(now.plus(self.deadline.since(self.created_at)));
            }
        }
        due
    }

    /// Replaces the id for a change of privilege: every older id is dead at once, and no turn outlives its holder's id.
    // spec: LOGIN-1 3794, CLAIM-1 2a35, SER-4 ef64
    pub(crate) fn raise_floor(&mut self, generation: u32, digest: Digest, now: Timestamp) {
        self.current = Issued { generation, digest, issued_at: now, confirmed_at: None };
        self.previous = None;
        self.lease = self.lease.filter(|_| planted(Bug::LoginKeepsLease));
        self.floor = generation;
        self.seen_at = self.seen_at.max(now);
    }

    /// Replaces the id of the same principal; the old one stays usable until the client has shown the new one.
    // spec: ROT-3 0963, ROT-8 2467, CLAIM-4 ac55
    pub(crate) fn rotate(&mut self, next: &SessionId, nonce: Nonce, now: Timestamp) {
        self.previous = Some(Previous { digest: self.current.digest, phase: Phase::Pending(nonce) });
        self.current =
            Issued { generation: next.generation, digest: next.secret.digest(), issued_at: now, confirmed_at: None };
    }

    /// Counts a write and signs it. Nothing when the version has no successor.
    // spec: REC-7 d895, WRITE-10 a015
    pub(crate) fn stamp(&mut self, commit: CommitId) -> Option<()> {
        self.version =
            if planted(Bug::VersionWraps) { self.version.wrapping_add(1) } else { self.version.checked_add(1)? };
        let [a, b, c, _] = self.commits;
        self.commits = if planted(Bug::OneCommitKept) { [commit; COMMITS_KEPT] } else { [commit, a, b, c] };
        Some(())
    }
}
