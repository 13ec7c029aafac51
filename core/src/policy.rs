//! Every limit and choice, validated once. Each default is safe; each unsafe choice has the word `danger` in its name.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::cookie::{CookieError, CookieSettings, Cookies, Kind};

/// What an application may choose. Start from [`Settings::default`] or a preset, change fields, make a [`Policy`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// A session ends when it was not used for this long. None: only the absolute limit. ASVS 5.0 clause 7.3.1.
    pub idle: Option<Duration>,
    /// How old the last recorded use may be before a request writes it again; the idle limit is early by at most this.
    /// None: a sixteenth of the idle limit, at most a minute.
    pub touch: Option<Duration>,
    /// A session ends this long after login (or creation), whatever happens. ASVS 5.0 clause 7.3.2.
    pub absolute: Duration,
    /// A session whose first id is not presented within this time dies. None: off.
    pub activation: Option<Duration>,
    /// How far the clocks of the nodes may differ; less than half the grace.
    pub skew: Duration,
    /// The id of a login is replaced after this time of use. None: only when asked for.
    pub rotate_every: Option<Duration>,
    /// How long a replaced id still works once the client has shown the new one.
    pub grace: Duration,
    /// What anonymous data survives a login. Do not carry secrets of a flow that a planter of the id could know.
    pub carry: Carry,
    /// What the reuse of a replaced id leads to.
    pub reuse: Reuse,
    /// How many sessions one principal may have at a time, and what gives way. None: any number.
    pub limit: Option<Limit>,
    /// How exchanges that overlap are brought together.
    pub concurrency: Concurrency,
    /// How long an exchange of serial mode has its turn: others that write data wait at most so long for one that died.
    pub lease: Duration,
    /// Bytes that a record may have.
    pub size: usize,
    /// How long an ended record remembers why. Zero removes it at once; safety does not depend on it.
    pub tombstone: Duration,
    /// Whether client details and data are encrypted under the keys of the ring before the store gets them. Records that are not
    /// count as absent then, so switching it on ends the sessions from before; switching it off ends none.
    pub sealed: bool,
    /// Where sessions are kept.
    pub place: Place,
    /// Names and attributes of the cookies.
    pub cookies: CookieSettings,
    /// The authenticator assurance level that these settings must keep to.
    pub assurance: Option<Assurance>,
    /// Choices that make sessions unsafe; made by the methods whose names begin with `danger`.
    pub danger: Danger,
}

/// Unsafe choices. None by default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Danger {
    plain_http: bool,
    refuse_reuse_only: bool,
}

/// What anonymous data survives a login.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Carry {
    /// All of it.
    All,
    /// These keys.
    Keys(Vec<String>),
    /// None of it.
    Nothing,
}

impl Carry {
    pub(crate) fn keeps(&self, key: &str) -> bool {
        match self {
            Self::All => true,
            Self::Keys(keys) => keys.iter().any(|kept| kept == key),
            Self::Nothing => false,
        }
    }
}

/// What the reuse of a replaced id leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reuse {
    /// The session ends: thief and owner both have to log in again.
    Destroy,
    /// All sessions of the principal end.
    RevokeAll,
}

/// How many sessions one principal may have at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// So many; at least one.
    pub sessions: u32,
    /// What happens when one more logs in.
    pub beyond: Beyond,
}

/// What gives way when a principal logs in once more than [`Limit::sessions`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beyond {
    /// The new login: it is refused.
    Refuse,
    /// The session that was created first.
    EvictOldest,
    /// The session that was not used for longest.
    EvictIdlest,
}

/// Where sessions are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In the store.
    Store,
    /// Whole and encrypted in their cookies, and nowhere else. Nothing that was given out can be taken back: an old cookie
    /// opens what it holds until its limits pass, and of two overlapping requests one undoes what the other wrote.
    Cookie,
    /// The same, and the store keeps a list of those that are no longer good: a logout, a login and a revocation are final.
    CookieAndDenyList,
    /// Anonymous sessions in their cookies; a login moves in to the store.
    CookieUntilLogin,
}

impl Place {
    /// The place that the text of a store begins with, and the text of the store itself; nothing of that where there is none:
    /// `cookie`, `cookie+deny:STORE`, `cookie-until-login+STORE`, or just `STORE`.
    #[must_use]
    // spec: COAT-1 f582
    pub fn parse(text: &str) -> (Self, Option<&str>) {
        if text == "cookie" {
            return (Self::Cookie, None);
        }
        let prefixes = [("cookie+deny:", Self::CookieAndDenyList), ("cookie-until-login+", Self::CookieUntilLogin)];
        let found = prefixes.into_iter().find_map(|(prefix, place)| Some((place, text.strip_prefix(prefix)?)));
        let (place, store) = found.unwrap_or((Self::Store, text));
        (place, Some(store))
    }

    /// Whether sessions of this kind live in their cookie.
    // spec: COAT-1 f582
    pub(crate) const fn is_worn(self, kind: Kind) -> bool {
        match self {
            Self::Store => false,
            Self::Cookie | Self::CookieAndDenyList => true,
            Self::CookieUntilLogin => matches!(kind, Kind::Visitor),
        }
    }

    /// Whether the store says which of those in cookies are no longer good.
    pub(crate) const fn is_listed(self) -> bool {
        matches!(self, Self::CookieAndDenyList)
    }

    /// Whether anybody but the client can say which logins there are, and end one.
    #[must_use]
    pub const fn knows_logins(self) -> bool {
        !matches!(self, Self::Cookie)
    }
}

/// How exchanges that overlap are brought together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Concurrency {
    /// Changes of different keys all survive, `add` sums, the last write of a key wins.
    Merge,
    /// A commit is refused if a key that the exchange read or set was changed by another since it was opened.
    Strict,
    /// One at a time: an exchange with an unsafe method has its turn before its handler runs.
    Serial,
}

/// The levels of NIST SP 800-63B-4, with their limits on sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Assurance {
    /// Section 2.1.3: at most 30 days.
    Aal1,
    /// Section 2.2.3: at most 24 hours, at most one hour idle.
    Aal2,
    /// Section 2.3.3: at most 12 hours, at most 15 minutes idle.
    Aal3,
}

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const MAX_SPAN: Duration = Duration::from_hours(24 * 400);
const MAX_LEASE: Duration = Duration::from_mins(5);

impl Default for Settings {
    // spec: POL-1 7884, POL-7 9ee7
    fn default() -> Self {
        Self {
            idle: Some(Duration::from_mins(30)),
            touch: None,
            absolute: Duration::from_hours(12),
            activation: None,
            skew: Duration::from_secs(5),
            rotate_every: Some(Duration::from_mins(15)),
            grace: Duration::from_secs(30),
            carry: Carry::All,
            reuse: Reuse::Destroy,
            limit: None,
            concurrency: Concurrency::Merge,
            lease: Duration::from_secs(10),
            size: 64 * 1024,
            tombstone: HOUR,
            sealed: false,
            place: Place::Store,
            cookies: CookieSettings::default(),
            assurance: None,
            danger: Danger::default(),
        }
    }
}

impl Settings {
    /// NIST SP 800-63B-4 AAL1: 30 days, no idle limit.
    #[must_use]
    // spec: POL-3 bf55
    pub fn aal1() -> Self {
        let span = Duration::from_hours(30 * 24);
        Self { idle: None, absolute: span, assurance: Some(Assurance::Aal1), ..Self::default() }
    }

    /// NIST SP 800-63B-4 AAL2: 24 hours, one hour idle.
    #[must_use]
    // spec: POL-3 bf55
    pub fn aal2() -> Self {
        Self { idle: Some(HOUR), absolute: DAY, assurance: Some(Assurance::Aal2), ..Self::default() }
    }

    /// NIST SP 800-63B-4 AAL3: 12 hours, 15 minutes idle.
    #[must_use]
    // spec: POL-3 bf55
    pub fn aal3() -> Self {
        let idle = Some(Duration::from_mins(15));
        Self { idle, absolute: Duration::from_hours(12), assurance: Some(Assurance::Aal3), ..Self::default() }
    }

    /// Cookies without `Secure` and without name prefix, for development over plain http. Anybody on the network path
    /// can read and set such a session.
    #[must_use]
    // spec: POL-4 713a
    pub fn danger_plain_http(mut self) -> Self {
        self.danger.plain_http = true;
        self
    }

    /// Reuse of a replaced id is refused and nothing more: whoever copied an id keeps what the copy gave them.
    #[must_use]
    // spec: POL-4 713a, REUSE-4 0f0e
    pub fn danger_refuse_reuse_only(mut self) -> Self {
        self.danger.refuse_reuse_only = true;
        self
    }
}

/// Why settings are refused at start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PolicyError {
    /// A span lies outside its bounds.
    Span {
        /// The field.
        field: &'static str,
        /// What it must keep to.
        rule: &'static str,
    },
    /// The settings go beyond the assurance level that they name.
    Assurance {
        /// The field.
        field: &'static str,
    },
    /// The cookie settings contradict each other.
    Cookie(CookieError),
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Span { field, rule } => write!(f, "`{field}` must be {rule}"),
            Self::Assurance { field } => write!(f, "`{field}` goes beyond the assurance level chosen: lower it"),
            Self::Cookie(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for PolicyError {}

/// Settings that hold together.
#[derive(Clone, Debug)]
pub struct Policy {
    settings: Settings,
    cookies: Cookies,
}

impl TryFrom<Settings> for Policy {
    type Error = PolicyError;

    fn try_from(settings: Settings) -> Result<Self, PolicyError> {
        settings.check_spans()?;
        settings.check_assurance()?;
        settings.check_place()?;
        let cookies = Cookies::new(&settings.cookies, settings.danger.plain_http).map_err(PolicyError::Cookie)?;
        Ok(Self { settings, cookies })
    }
}

impl Settings {
    // spec: POL-2 2d84, POL-7 9ee7
    fn check_spans(&self) -> Result<(), PolicyError> {
        let span = |field, span: Option<Duration>| match span {
            Some(span) if span < Duration::from_millis(1) || span > MAX_SPAN => {
                Err(PolicyError::Span { field, rule: "between one millisecond and 400 days" })
            }
            _ => Ok(()),
        };
        span("idle", self.idle)?;
        span("absolute", Some(self.absolute))?;
        span("activation", self.activation)?;
        span("rotate_every", self.rotate_every)?;
        span("grace", Some(self.grace))?;
        if self.tombstone > MAX_SPAN {
            return Err(PolicyError::Span { field: "tombstone", rule: "at most 400 days" });
        }
        if self.lease < Duration::from_millis(1) || self.lease > MAX_LEASE {
            return Err(PolicyError::Span { field: "lease", rule: "between one millisecond and five minutes" });
        }
        if self.tombstone.is_zero() && self.reuse == Reuse::RevokeAll {
            return Err(PolicyError::Span { field: "tombstone", rule: "more than nothing when `reuse` revokes all" });
        }
        if self.limit.is_some_and(|limit| limit.sessions == 0) {
            return Err(PolicyError::Span { field: "limit", rule: "at least one session" });
        }
        if self.skew.saturating_mul(2) >= self.grace {
            return Err(PolicyError::Span { field: "skew", rule: "less than half of `grace`" });
        }
        if let (Some(touch), Some(idle)) = (self.touch, self.idle)
            && touch >= idle
        {
            return Err(PolicyError::Span { field: "touch", rule: "less than `idle`" });
        }
        if !(512..=16 * 1024 * 1024).contains(&self.size) {
            return Err(PolicyError::Span { field: "size", rule: "between 512 bytes and 16 MiB" });
        }
        Ok(())
    }

    /// What cookies cannot keep is refused, never half kept.
    // spec: COAT-12 ce17
    fn check_place(&self) -> Result<(), PolicyError> {
        let unkept = |field, rule| Err(PolicyError::Span { field, rule });
        if self.place.is_worn(Kind::Visitor) && self.concurrency != Concurrency::Merge {
            return unkept("concurrency", "`merge` where sessions live in cookies");
        }
        if self.place.is_worn(Kind::Login) && self.limit.is_some() {
            return unkept("limit", "none where logins live in cookies");
        }
        if self.place.is_worn(Kind::Login) && self.reuse == Reuse::RevokeAll {
            return unkept("reuse", "`destroy` where logins live in cookies: a copied one is not noticed");
        }
        Ok(())
    }

    // spec: POL-3 bf55
    fn check_assurance(&self) -> Result<(), PolicyError> {
        let (absolute, idle) = match self.assurance {
            None => return Ok(()),
            Some(Assurance::Aal1) => (DAY.saturating_mul(30), None),
            Some(Assurance::Aal2) => (DAY, Some(HOUR)),
            Some(Assurance::Aal3) => (HOUR.saturating_mul(12), Some(MINUTE.saturating_mul(15))),
        };
        if self.absolute > absolute {
            return Err(PolicyError::Assurance { field: "absolute" });
        }
        match (self.idle, idle) {
            (chosen, Some(most)) if chosen.is_none_or(|chosen| chosen > most) => {
                Err(PolicyError::Assurance { field: "idle" })
            }
            _ => Ok(()),
        }
    }
}

impl Policy {
    /// The settings behind this policy.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The name of a cookie as it goes over the wire.
    pub fn cookie_name(&self, kind: Kind) -> &str {
        self.cookies.name(kind)
    }

    pub(crate) const fn cookies(&self) -> &Cookies {
        &self.cookies
    }

    pub(crate) const fn activation(&self) -> Option<Duration> {
        self.settings.activation
    }

    /// Whether an exchange for this HTTP method takes its turn before the handler runs: serial mode, and the method is not
    /// one of those that RFC 9110 section 9.2.1 calls safe.
    // spec: SER-1 0cb4
    pub fn takes_turns(&self, method: &str) -> bool {
        self.settings.concurrency == Concurrency::Serial && !SAFE_METHODS.contains(&method)
    }

    /// How old the last recorded use of a session with this idle limit may be before it is written again.
    // spec: POL-1 7884, POL-6 c7ec
    pub(crate) fn touch(&self, idle: Option<Duration>) -> Duration {
        let default = idle.map_or(MINUTE, |idle| part(idle, 16).min(MINUTE));
        self.settings.touch.map_or(default, |touch| idle.map_or(touch, |idle| touch.min(part(idle, 2))))
    }

    /// Where sessions are kept.
    pub const fn place(&self) -> Place {
        self.settings.place
    }

    /// How many other sessions a principal may have when one more logs in; none when a login is never refused for it.
    pub(crate) fn others_at_login(&self) -> Option<u32> {
        let limit = self.settings.limit.filter(|limit| limit.beyond == Beyond::Refuse)?;
        Some(limit.sessions)
    }

    /// How many sessions of a principal a login has to know of that may have to go: a principal may have had more than the
    /// limit before there was one, and they go by and by.
    pub(crate) fn named_at_login(&self) -> u32 {
        let limit = self.settings.limit.filter(|limit| limit.beyond != Beyond::Refuse);
        limit.map_or(0, |limit| limit.sessions.saturating_add(EVICTED_AT_ONCE))
    }

    /// Whether the reuse of a replaced id ends the session.
    // spec: REUSE-4 0f0e
    pub(crate) const fn reuse_ends(&self) -> bool {
        !self.settings.danger.refuse_reuse_only
    }
}

/// As many sessions beyond the limit as one login ends.
const EVICTED_AT_ONCE: u32 = 64;
const SAFE_METHODS: [&str; 4] = ["GET", "HEAD", "OPTIONS", "TRACE"];

fn part(span: Duration, parts: u32) -> Duration {
    span.checked_div(parts).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl Fn(&mut Settings)) -> Option<PolicyError> {
        let mut settings = Settings::default();
        change(&mut settings);
        Policy::try_from(settings).err()
    }

    #[test]
    // spec: POL-3 bf55, POL-1 7884
    fn defaults_and_presets_hold_together() {
        for settings in [Settings::default(), Settings::aal1(), Settings::aal2(), Settings::aal3()] {
            assert!(Policy::try_from(settings).is_ok());
        }
    }

    #[test]
    // spec: POL-2 2d84, POL-7 9ee7
    fn spans_outside_their_bounds_are_refused() {
        let field = |error| match error {
            Some(PolicyError::Span { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(field(refused(|s| s.idle = Some(Duration::ZERO))), "idle");
        assert_eq!(field(refused(|s| s.absolute = MAX_SPAN + MINUTE)), "absolute");
        assert_eq!(field(refused(|s| s.grace = Duration::ZERO)), "grace");
        assert_eq!(field(refused(|s| s.skew = s.grace / 2)), "skew");
        assert_eq!(field(refused(|s| s.touch = s.idle)), "touch");
        assert_eq!(field(refused(|s| s.size = 100)), "size");
        assert_eq!(field(refused(|s| s.tombstone = MAX_SPAN + MINUTE)), "tombstone");
        assert_eq!(field(refused(|s| s.lease = Duration::ZERO)), "lease");
        assert_eq!(field(refused(|s| s.lease = MAX_LEASE + MAX_LEASE / 1000)), "lease");
        let revoking = |s: &mut Settings| (s.tombstone, s.reuse) = (Duration::ZERO, Reuse::RevokeAll);
        assert_eq!(field(refused(revoking)), "tombstone");
        let none = Limit { sessions: 0, beyond: Beyond::Refuse };
        assert_eq!(field(refused(|s| s.limit = Some(none))), "limit");
    }

    #[test]
    // spec: POL-3 bf55
    fn an_assurance_level_cannot_be_raised() {
        for (mut settings, field) in
            [(Settings::aal1(), "absolute"), (Settings::aal2(), "idle"), (Settings::aal3(), "idle")]
        {
            match field {
                "absolute" => settings.absolute += MINUTE,
                _ => settings.idle = settings.idle.map(|idle| idle + MINUTE),
            }
            assert_eq!(Policy::try_from(settings).err(), Some(PolicyError::Assurance { field }));
        }
        let endless = Settings { idle: None, ..Settings::aal3() };
        assert_eq!(Policy::try_from(endless).err(), Some(PolicyError::Assurance { field: "idle" }));
    }
}
