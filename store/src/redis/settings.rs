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

/// What a connection leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Network(Address),
    /// A Unix socket of this host.
    Socket(PathBuf),
}

/// How the servers are organised.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Layout {
    /// One server, or whatever its name leads to.
    Single(Place),
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
/// | `redis+unix://user:password@/run/redis/redis.sock?db=0` | one on this host, by its Unix socket |
/// | `redis+cluster://host:6379,host:6380` | a Cluster, some of whose nodes are these |
/// | `redis+sentinel://host:26379,host:26379/name` | the primary that these Sentinels know by the name |
///
/// `rediss` in place of `redis` is TLS. Port, user, password and database may be left out; what is not a letter, a digit
/// or one of `-._~` in a user, password, name or path is written as `%` and two hexadecimal digits. `valkey` and `valkeys` mean
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
    /// The path of the Unix socket is missing, or not well written.
    Socket,
    /// A time limit is zero.
    TimeLimit,
    /// The certificates of the authority cannot be read, or the system has none.
    Authority,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Scheme => {
                "the URL of the store begins with none of redis, rediss, redis+cluster, redis+sentinel, redis+unix"
            }
            Self::Login => "user or password in the URL of the store: write special characters as % and two digits",
            Self::Host(number) => return write!(f, "host {number} in the URL of the store: write host:port"),
            Self::SeveralHosts => "several hosts in the URL of the store: write redis+cluster or redis+sentinel",
            Self::Database => "the database in the URL of the store: write a number, and 0 or none for a Cluster",
            Self::Name => "the URL of the store lacks the name of the primary: append it as /name",
            Self::Option => {
                "an option in the URL of the store: known are prefix, authority, time_limit in seconds and confirm_replicas"
            }
            Self::Prefix => "the prefix of the keys contains a brace: use another character",
            Self::Socket => "the path of the socket in the URL of the store: write redis+unix:///run/redis.sock",
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

impl Settings {
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
