//! The settings of an application, as they cross the border. What is absent keeps its default; spans are milliseconds.

use core::time::Duration;

use coatroom_core::{Beyond, Carry, Concurrency, CookieSettings, Limit, Reuse, SameSite, Settings};

use crate::error::Refusal;
use crate::remember::Remember;

/// All that an application says once.
#[derive(Clone, uniffi::Record)]
pub struct Config {
    /// `memory`, `sqlite:PATH`, `file:PATH`, `redis://...` or `postgres://...`; `cookie` for sessions in their cookies,
    /// `cookie+deny:` or `cookie-until-login+` before one of those; none for a store of the application.
    pub store: Option<String>,
    /// `number:base64url`, by commas or lines; the first signs.
    pub keys: String,
    /// Whether the store of the application answers a swap and the entry that goes with it in one step.
    #[uniffi(default = true)]
    pub enters_with_swap: bool,
    /// Limits and choices.
    pub policy: Policy,
    /// How logins are remembered beyond their session; none: not at all.
    #[uniffi(default = None)]
    pub remember: Option<Remember>,
    /// Whether endings of logins are announced through the store, for those who check tokens.
    #[uniffi(default = false)]
    pub announce: bool,
}

impl core::fmt::Debug for Config {
    // spec: SEC-1 89db
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Config").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// Limits and choices, by the names that they have in every language.
#[derive(Clone, Default, Debug, uniffi::Record)]
pub struct Policy {
    /// `aal1`, `aal2` or `aal3`.
    #[uniffi(default = None)]
    pub preset: Option<String>,
    /// 0: only the absolute limit.
    #[uniffi(default = None)]
    pub idle: Option<i64>,
    /// How seldom the last use is written.
    #[uniffi(default = None)]
    pub touch: Option<i64>,
    /// From login or creation to the end.
    #[uniffi(default = None)]
    pub absolute: Option<i64>,
    /// Within which a first id must be presented.
    #[uniffi(default = None)]
    pub activation: Option<i64>,
    /// How far clocks differ.
    #[uniffi(default = None)]
    pub skew: Option<i64>,
    /// 0: only when asked for.
    #[uniffi(default = None)]
    pub rotate_every: Option<i64>,
    /// How long a replaced id still works.
    #[uniffi(default = None)]
    pub grace: Option<i64>,
    /// How long a turn lasts.
    #[uniffi(default = None)]
    pub lease: Option<i64>,
    /// How long an ended record remembers why.
    #[uniffi(default = None)]
    pub tombstone: Option<i64>,
    /// Bytes of a record.
    #[uniffi(default = None)]
    pub size: Option<i64>,
    /// Whether records are encrypted.
    #[uniffi(default = None)]
    pub sealed: Option<bool>,
    /// `all`, `none`, or `keys` and those of `carry_keys`.
    #[uniffi(default = None)]
    pub carry: Option<String>,
    /// What a login carries if `carry` is `keys`.
    #[uniffi(default = [])]
    pub carry_keys: Vec<String>,
    /// `destroy`, `revoke-all` or `danger-refuse-only`.
    #[uniffi(default = None)]
    pub reuse: Option<String>,
    /// `merge`, `strict` or `serial`.
    #[uniffi(default = None)]
    pub concurrency: Option<String>,
    /// Sessions of one principal.
    #[uniffi(default = None)]
    pub limit: Option<u32>,
    /// What gives way beyond `limit`: `refuse`, `evict-oldest` or `evict-idlest`.
    #[uniffi(default = None)]
    pub beyond: Option<String>,
    /// Name of the cookie.
    #[uniffi(default = None)]
    pub login_cookie: Option<String>,
    /// Name of the cookie.
    #[uniffi(default = None)]
    pub visitor_cookie: Option<String>,
    /// Of both cookies.
    #[uniffi(default = None)]
    pub path: Option<String>,
    /// Of both cookies.
    #[uniffi(default = None)]
    pub domain: Option<String>,
    /// `lax`, `strict` or `none`.
    #[uniffi(default = None)]
    pub same_site: Option<String>,
    /// How long a browser keeps the cookies.
    #[uniffi(default = None)]
    pub max_age: Option<i64>,
    /// Cookies without `Secure`, for development.
    #[uniffi(default = false)]
    pub danger_plain_http: bool,
}

impl TryFrom<Policy> for Settings {
    type Error = Refusal;

    fn try_from(given: Policy) -> Result<Self, Refusal> {
        let base = preset(given.preset.as_deref())?;
        let or = |span: Option<i64>, default: Duration, name| span.map_or(Ok(default), |ms| to_span(name, ms));
        let or_off = |span: Option<i64>, default: Option<Duration>, name| match span {
            Some(0) => Ok(None),
            Some(ms) => to_span(name, ms).map(Some),
            None => Ok(default),
        };
        let mut settings = Self {
            idle: or_off(given.idle, base.idle, "idle")?,
            touch: given.touch.map(|ms| to_span("touch", ms)).transpose()?.or(base.touch),
            absolute: or(given.absolute, base.absolute, "absolute")?,
            activation: or_off(given.activation, base.activation, "activation")?,
            skew: or(given.skew, base.skew, "skew")?,
            rotate_every: or_off(given.rotate_every, base.rotate_every, "rotate_every")?,
            grace: or(given.grace, base.grace, "grace")?,
            lease: or(given.lease, base.lease, "lease")?,
            tombstone: or(given.tombstone, base.tombstone, "tombstone")?,
            size: given.size.map_or(Ok(base.size), usize::try_from).map_err(|_| wrong("size", "a number of bytes"))?,
            sealed: given.sealed.unwrap_or(base.sealed),
            carry: to_carry(given.carry.as_deref(), given.carry_keys)?,
            limit: to_limit(given.limit, given.beyond.as_deref())?,
            concurrency: to_concurrency(given.concurrency.as_deref())?,
            cookies: CookieSettings {
                login: given.login_cookie,
                visitor: given.visitor_cookie,
                path: given.path.unwrap_or(base.cookies.path),
                domain: given.domain,
                same_site: to_same_site(given.same_site.as_deref())?,
                max_age: given.max_age.map(|ms| to_span("max_age", ms)).transpose()?,
            },
            ..base
        };
        settings = match given.reuse.as_deref() {
            None | Some("destroy") => settings,
            Some("revoke-all") => Self { reuse: Reuse::RevokeAll, ..settings },
            Some("danger-refuse-only") => settings.danger_refuse_reuse_only(),
            Some(_) => return Err(wrong("reuse", "`destroy` or `revoke-all`")),
        };
        Ok(if given.danger_plain_http { settings.danger_plain_http() } else { settings })
    }
}

fn preset(name: Option<&str>) -> Result<Settings, Refusal> {
    match name {
        None => Ok(Settings::default()),
        Some("aal1") => Ok(Settings::aal1()),
        Some("aal2") => Ok(Settings::aal2()),
        Some("aal3") => Ok(Settings::aal3()),
        Some(_) => Err(wrong("preset", "`aal1`, `aal2` or `aal3`")),
    }
}

pub(crate) fn to_span(name: &str, ms: i64) -> Result<Duration, Refusal> {
    u64::try_from(ms).map(Duration::from_millis).map_err(|_| wrong(name, "a span that is not negative"))
}

fn to_carry(word: Option<&str>, keys: Vec<String>) -> Result<Carry, Refusal> {
    match word {
        None | Some("all") => Ok(Carry::All),
        Some("none") => Ok(Carry::Nothing),
        Some("keys") => Ok(Carry::Keys(keys)),
        Some(_) => Err(wrong("carry", "`all`, `none` or a list of keys")),
    }
}

fn to_limit(sessions: Option<u32>, beyond: Option<&str>) -> Result<Option<Limit>, Refusal> {
    let Some(sessions) = sessions else { return Ok(None) };
    let beyond = match beyond {
        Some("refuse") => Beyond::Refuse,
        Some("evict-oldest") => Beyond::EvictOldest,
        Some("evict-idlest") => Beyond::EvictIdlest,
        _ => return Err(wrong("limit", "a number with `refuse`, `evict-oldest` or `evict-idlest`")),
    };
    Ok(Some(Limit { sessions, beyond }))
}

fn to_concurrency(word: Option<&str>) -> Result<Concurrency, Refusal> {
    match word {
        None | Some("merge") => Ok(Concurrency::Merge),
        Some("strict") => Ok(Concurrency::Strict),
        Some("serial") => Ok(Concurrency::Serial),
        Some(_) => Err(wrong("concurrency", "`merge`, `strict` or `serial`")),
    }
}

fn to_same_site(word: Option<&str>) -> Result<SameSite, Refusal> {
    match word {
        None | Some("lax") => Ok(SameSite::Lax),
        Some("strict") => Ok(SameSite::Strict),
        Some("none") => Ok(SameSite::None),
        Some(_) => Err(wrong("same_site", "`lax`, `strict` or `none`")),
    }
}

fn wrong(name: &str, rule: &str) -> Refusal {
    Refusal::config(format!("`{name}` must be {rule}"))
}
