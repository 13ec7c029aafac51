//! Where the servers are, and how to talk to them.

use core::fmt;
use core::time::Duration;
use std::path::PathBuf;

/// A server, or what stands in front of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

/// How the servers are organised.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Layout {
    /// One server, or whatever its name leads to.
    Single(Address),
    /// A Cluster; some of its nodes.
    Cluster(Vec<Address>),
    /// The server that these Sentinels say is the primary of this name.
    Sentinel(Vec<Address>, String),
}

/// A user, if it is not the default one, and its password.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

/// What [`super::Redis::connect`] needs to know. Made from a URL:
///
/// | URL | servers |
/// |---|---|
/// | `redis://user:password@host:6379/0` | one, or whichever this name leads to |
/// | `redis+cluster://host:6379,host:6380` | a Cluster, some of whose nodes are these |
/// | `redis+sentinel://host:26379,host:26379/name` | the primary that these Sentinels know by the name |
///
/// `rediss` in place of `redis` is TLS. Port, user, password and database may be left out; what is not a letter, a digit
/// or one of `-._~` in a user, password or name is written as `%` and two hexadecimal digits. `valkey` and `valkeys` mean
/// the same as `redis` and `rediss`. Behind a `?` may stand `prefix=...`, `authority=...`, `time_limit=...` in seconds
/// ([`Settings::prefix`], [`Settings::authority`], [`Settings::time_limit`]) and `confirm_replicas=...`, which waits for at
/// most 200 ms ([`Settings::confirm_replicas`]).
#[derive(Clone)]
pub struct Settings {
    pub(super) layout: Layout,
    pub(super) login: Login,
    pub(super) sentinel_login: Login,
    pub(super) database: i64,
    pub(super) tls: bool,
    pub(super) authority: Option<PathBuf>,
    pub(super) prefix: String,
    pub(super) time_limit: Duration,
    pub(super) slack: Duration,
    pub(super) confirm: Option<Confirm>,
}

/// How many replicas are waited for, and how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Confirm {
    pub(super) replicas: u32,
    pub(super) patience: Duration,
}

/// What is wrong with the settings. Names the part and never shows it: it may hold a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SettingsError {
    /// The URL begins with none of the schemes.
    Scheme,
    /// The part before the `@` is not well written.
    Login,
    /// The host with this number, counted from 1, is missing or has a port that is none.
    Host(usize),
    /// One server was expected, and several are named.
    SeveralHosts,
    /// The database is not a number, or other than 0 in a Cluster.
    Database,
    /// The name of the primary is missing.
    Name,
    /// Something behind the `?` is not known, or not well written.
    Option,
    /// The prefix contains a brace, which would put every key into one slot of a Cluster.
    Prefix,
    /// A time limit is zero.
    TimeLimit,
    /// The certificates of the authority cannot be read, or the system has none.
    Authority,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Scheme => "the URL of the store begins with none of redis, rediss, redis+cluster, redis+sentinel",
            Self::Login => "user or password in the URL of the store: write special characters as % and two digits",
            Self::Host(number) => return write!(f, "host {number} in the URL of the store: write host:port"),
            Self::SeveralHosts => "several hosts in the URL of the store: write redis+cluster or redis+sentinel",
            Self::Database => "the database in the URL of the store: write a number, and 0 or none for a Cluster",
            Self::Name => "the URL of the store lacks the name of the primary: append it as /name",
            Self::Option => {
                "an option in the URL of the store: known are prefix, authority, time_limit in seconds and confirm_replicas"
            }
            Self::Prefix => "the prefix of the keys contains a brace: use another character",
            Self::TimeLimit => "the time limit of the store is zero: give it some",
            Self::Authority => "the certificates of the authority cannot be read: name a PEM file that holds them",
        };
        f.write_str(text)
    }
}

impl core::error::Error for SettingsError {}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("layout", &self.layout).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// How long a URL waits for replicas.
const USUAL_PATIENCE: Duration = Duration::from_millis(200);
const DEFAULT_PORT: u16 = 6379;
const DEFAULT_SENTINEL_PORT: u16 = 26_379;

impl Settings {
    /// Settings from a URL.
    pub fn parse(url: &str) -> Result<Self, SettingsError> {
        let (scheme, rest) = url.split_once("://").ok_or(SettingsError::Scheme)?;
        let (base, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        let tls = match base {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            _ => return Err(SettingsError::Scheme),
        };
        let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (rest, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (layout, database) = match kind {
            "" => (single(hosts)?, path),
            "cluster" => (Layout::Cluster(addresses(hosts, DEFAULT_PORT)?), path),
            "sentinel" => sentinel(hosts, path)?,
            _ => return Err(SettingsError::Scheme),
        };
        let database = if database.is_empty() { Ok(0) } else { database.parse() };
        let database = database.ok().filter(|number| *number >= 0).ok_or(SettingsError::Database)?;
        if database != 0 && matches!(layout, Layout::Cluster(_)) {
            return Err(SettingsError::Database);
        }
        let settings = Self {
            layout,
            login: Login::parse(login)?,
            sentinel_login: Login::default(),
            database,
            tls,
            authority: None,
            prefix: "coatroom:".to_owned(),
            time_limit: Duration::from_secs(2),
            slack: Duration::from_hours(1),
            confirm: None,
        };
        options.split('&').filter(|option| !option.is_empty()).try_fold(settings, Self::option)
    }

    fn option(self, option: &str) -> Result<Self, SettingsError> {
        let (name, value) = option.split_once('=').ok_or(SettingsError::Option)?;
        let value = decoded(value).ok_or(SettingsError::Option)?;
        match name {
            "prefix" => Ok(self.prefix(value)),
            "authority" => Ok(self.authority(value)),
            "time_limit" => Ok(self.time_limit(seconds(&value).ok_or(SettingsError::Option)?)),
            "confirm_replicas" => {
                let replicas = value.parse().map_err(|_| SettingsError::Option)?;
                Ok(self.confirm_replicas(replicas, USUAL_PATIENCE))
            }
            _ => Err(SettingsError::Option),
        }
    }

    /// What every key begins with, so that several applications can share a server: `coatroom:` if not said otherwise.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// A PEM file with the certificates that TLS trusts, in place of those of the system.
    #[must_use]
    pub fn authority(mut self, file: impl Into<PathBuf>) -> Self {
        self.authority = Some(file.into());
        self
    }

    /// User and password of the Sentinels, which have users of their own.
    #[must_use]
    pub fn sentinel_login(mut self, user: Option<&str>, password: &str) -> Self {
        self.sentinel_login = Login { user: user.map(ToOwned::to_owned), password: Some(password.to_owned()) };
        self
    }

    /// How long an operation may take, waiting for a connection included: two seconds if not said otherwise.
    #[must_use]
    pub const fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// How long the server keeps a record at least: from the write, and from the end of the session. Its clock may be
    /// wrong by so much without losing a session. An hour if not said otherwise.
    #[must_use]
    pub const fn slack(mut self, slack: Duration) -> Self {
        self.slack = slack;
        self
    }

    /// Waits, for at most `patience`, until so many replicas have a write that must not be lost: a login, a rotation, an
    /// ending, a revocation. [`super::confirmed`] says how many did. Nothing is undone when fewer did.
    #[must_use]
    pub const fn confirm_replicas(mut self, replicas: u32, patience: Duration) -> Self {
        self.confirm = Some(Confirm { replicas, patience });
        self
    }

    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if self.prefix.contains(['{', '}']) {
            return Err(SettingsError::Prefix);
        }
        if self.time_limit.is_zero() {
            return Err(SettingsError::TimeLimit);
        }
        Ok(())
    }
}

impl Login {
    fn parse(text: &str) -> Result<Self, SettingsError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        let part = |text: &str| decoded(text).ok_or(SettingsError::Login);
        let (user, password) = (part(user)?, part(password)?);
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        Ok(Self { user: given(user), password: given(password) })
    }
}

fn seconds(text: &str) -> Option<Duration> {
    text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

fn single(hosts: &str) -> Result<Layout, SettingsError> {
    let mut found = addresses(hosts, DEFAULT_PORT)?;
    let address = found.pop().ok_or(SettingsError::Host(1))?;
    if found.is_empty() { Ok(Layout::Single(address)) } else { Err(SettingsError::SeveralHosts) }
}

fn sentinel<'a>(hosts: &str, path: &'a str) -> Result<(Layout, &'a str), SettingsError> {
    let (name, database) = path.split_once('/').unwrap_or((path, ""));
    let name = decoded(name).filter(|name| !name.is_empty()).ok_or(SettingsError::Name)?;
    Ok((Layout::Sentinel(addresses(hosts, DEFAULT_SENTINEL_PORT)?, name), database))
}

fn addresses(hosts: &str, default_port: u16) -> Result<Vec<Address>, SettingsError> {
    let parsed = hosts
        .split(',')
        .zip(1..)
        .map(|(host, number)| Address::parse(host, default_port).ok_or(SettingsError::Host(number)));
    parsed.collect()
}

impl Address {
    /// `host`, `host:port`, or an IPv6 address in brackets.
    fn parse(text: &str, default_port: u16) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let port = if port.is_empty() { default_port } else { port.strip_prefix(':')?.parse().ok()? };
        (!host.is_empty()).then(|| Self { host: host.to_owned(), port })
    }

    /// As nodes of a Cluster write it, IPv6 without brackets. Without a host it is the one that was asked.
    pub(super) fn of_node(text: &str, asked: &Self) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = if host.is_empty() { &asked.host } else { host };
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }
}

/// Text in which `%` and two hexadecimal digits stand for a byte.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.split_at_checked(2).filter(|_| *first == b'%');
        let (byte, after) = match digits {
            Some((digits, after)) => (u8::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()?, after),
            None if *first == b'%' => return None,
            None => (*first, after),
        };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, port: u16) -> Address {
        Address { host: host.to_owned(), port }
    }

    #[test]
    fn a_url_says_where_the_servers_are() {
        let layout = |url| Settings::parse(url).unwrap().layout;
        assert_eq!(layout("redis://db"), Layout::Single(address("db", 6379)));
        assert_eq!(layout("rediss://[::1]:7000/3"), Layout::Single(address("::1", 7000)));
        let nodes = vec![address("a", 1), address("b", 6379)];
        assert_eq!(layout("redis+cluster://a:1,b"), Layout::Cluster(nodes));
        let sentinels = vec![address("a", 26_379), address("b", 2)];
        assert_eq!(layout("valkeys+sentinel://a,b:2/shop/4"), Layout::Sentinel(sentinels, "shop".to_owned()));
    }

    #[test]
    fn a_url_says_who_asks_and_for_what() {
        let settings = Settings::parse("rediss://a%40b:p%3a@h@db/7?prefix=shop:&authority=/ca.pem").unwrap();
        assert_eq!(settings.login.user.as_deref(), Some("a@b"));
        assert_eq!(settings.login.password.as_deref(), Some("p:@h"));
        assert_eq!((settings.database, settings.tls, &*settings.prefix), (7, true, "shop:"));
        assert_eq!(settings.authority, Some(PathBuf::from("/ca.pem")));
        assert!(settings.confirm.is_none());
        let settings = Settings::parse("redis://db?time_limit=0.5&confirm_replicas=2").unwrap();
        assert_eq!(settings.time_limit, Duration::from_millis(500));
        assert_eq!(settings.confirm.map(|confirm| (confirm.replicas, confirm.patience)), Some((2, USUAL_PATIENCE)));
    }

    #[test]
    fn a_wrong_url_is_refused_and_not_repeated() {
        let error = |url: &str| Settings::parse(url).err();
        assert_eq!(error("postgres://db"), Some(SettingsError::Scheme));
        assert_eq!(error("redis+ring://db"), Some(SettingsError::Scheme));
        assert_eq!(error("redis://a,b"), Some(SettingsError::SeveralHosts));
        assert_eq!(error("redis+cluster://a,:1"), Some(SettingsError::Host(2)));
        assert_eq!(error("redis://a:b"), Some(SettingsError::Host(1)));
        assert_eq!(error("redis+cluster://a/1"), Some(SettingsError::Database));
        assert_eq!(error("redis://a/-1"), Some(SettingsError::Database));
        assert_eq!(error("redis+sentinel://a"), Some(SettingsError::Name));
        assert_eq!(error("redis://u:%zz@a"), Some(SettingsError::Login));
        for option in ["colour=red", "time_limit=-1", "time_limit=soon", "confirm_replicas=-1"] {
            assert_eq!(error(&format!("redis://a?{option}")), Some(SettingsError::Option), "{option}");
        }
        let secret = Settings::parse("redis://u:hunter2@a").unwrap();
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert_eq!(secret.prefix("a{b").check(), Err(SettingsError::Prefix));
    }
}
