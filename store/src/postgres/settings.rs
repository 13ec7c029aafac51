//! Where the server is, and how it is used.

use core::fmt;
use core::time::Duration;
use std::path::PathBuf;

use tokio::runtime::Handle;
use tokio_postgres::Config;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};

/// What [`super::Postgres::new`] needs to know.
#[derive(Clone)]
pub struct Settings {
    pub(super) server: Config,
    pub(super) schema: String,
    pub(super) authority: Option<PathBuf>,
    pub(super) unnamed: bool,
    pub(super) connections: usize,
    pub(super) time_limit: Duration,
    pub(super) runtime: Option<Handle>,
}

/// What is wrong with the settings. Never shows a part of the URL: it may hold a password.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SettingsError {
    /// The URL is not well written, or has an option that is not known.
    Url,
    /// The URL names no host.
    Host,
    /// The name of the schema is not made of small letters, digits and `_`, or is longer than 63 bytes.
    Schema,
    /// The time limit or the number of connections is zero.
    Zero,
    /// The certificates of the authority cannot be read, or the system has none.
    Authority,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url => {
                "the URL of the store is not understood: write postgres://user:password@host:5432/database, and behind `?` no \
                 options but those of libpq, schema, sslrootcert and pgbouncer"
            }
            Self::Host => "the URL of the store names no host: write postgres://host/database",
            Self::Schema => "the schema of the store: at most 63 small letters, digits and `_`, no digit first",
            Self::Zero => "the time limit and the number of connections of the store: give it some",
            Self::Authority => "the certificates of the authority cannot be read: name a PEM file that holds them",
        })
    }
}

impl core::error::Error for SettingsError {}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("hosts", &self.server.get_hosts())
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// Settings from a URL, `postgres://user:password@host:5432/database?option=value&...`, or from what `libpq` calls a
    /// connection string.
    ///
    /// All options of `tokio-postgres` count, and in a URL these: `schema` ([`Settings::schema`]), `sslrootcert`
    /// ([`Settings::authority`]) and `pgbouncer=true` ([`Settings::unnamed_statements`]), their values as they are. TLS is
    /// used when `sslmode` is `require`, `verify-ca` or `verify-full`, which mean the same here: the certificate is always
    /// verified, with the name of the host. Of several hosts, the one that takes writes is used.
    pub fn parse(url: &str) -> Result<Self, SettingsError> {
        let (place, options) = match url.split_once('?') {
            Some((place, options)) if url.starts_with("postgres") => (place, options),
            _ => (url, ""),
        };
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for option in options.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=').ok_or(SettingsError::Url)? {
                ("sslmode", "verify-ca" | "verify-full") => theirs.push("sslmode=require"),
                (name @ ("schema" | "sslrootcert" | "pgbouncer"), value) => ours.push((name, value)),
                _ => theirs.push(option),
            }
        }
        let server = if theirs.is_empty() { place.to_owned() } else { format!("{place}?{}", theirs.join("&")) };
        let server: Config = server.parse().map_err(|_| SettingsError::Url)?;
        if server.get_hosts().is_empty() && server.get_hostaddrs().is_empty() {
            return Err(SettingsError::Host);
        }
        let settings = Self {
            server,
            schema: "coatroom".to_owned(),
            authority: None,
            unnamed: false,
            connections: 16,
            time_limit: Duration::from_secs(2),
            runtime: None,
        };
        Ok(ours.into_iter().fold(settings, |settings, (name, value)| match (name, value) {
            ("schema", name) => settings.schema(name),
            ("sslrootcert", file) => settings.authority(file),
            ("pgbouncer", "true" | "1") => settings.unnamed_statements(),
            _ => settings,
        }))
    }

    /// The schema that holds the tables, so that several applications can share a database: `coatroom` if not said
    /// otherwise.
    #[must_use]
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.schema = name.into();
        self
    }

    /// A PEM file with the certificates that TLS trusts, in place of those of the system. Switches TLS on.
    #[must_use]
    pub fn authority(mut self, file: impl Into<PathBuf>) -> Self {
        self.authority = Some(file.into());
        self.server.ssl_mode(SslMode::Require);
        self
    }

    /// Sends every statement with its text instead of preparing it once for each connection: for poolers like PgBouncer
    /// in transaction mode, which may hand a connection on after each statement. Still one trip; the server parses and
    /// plans each time.
    #[must_use]
    pub const fn unnamed_statements(mut self) -> Self {
        self.unnamed = true;
        self
    }

    /// How many connections there are at most: 16 if not said otherwise. They are made when they are needed.
    #[must_use]
    pub const fn connections(mut self, count: usize) -> Self {
        self.connections = count;
        self
    }

    /// How long an operation may take, waiting for a connection included: two seconds if not said otherwise.
    #[must_use]
    pub const fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// The tokio runtime on which connections live, for a program that has one: that spares each operation a change of
    /// threads. It needs its I/O and time drivers, and must last as long as the engine and not be inherited by a fork.
    /// Without, the engine has a thread of its own.
    #[must_use]
    pub fn runtime(mut self, handle: Handle) -> Self {
        self.runtime = Some(handle);
        self
    }

    /// Everything checked, and what the client library is to know besides.
    pub(super) fn checked(mut self) -> Result<Self, SettingsError> {
        let is_name = |byte: u8| matches!(byte, b'a'..=b'z' | b'_' | b'0'..=b'9');
        let starts_well = self.schema.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
        if !starts_well || self.schema.len() > 63 || !self.schema.bytes().all(is_name) {
            return Err(SettingsError::Schema);
        }
        if self.time_limit.is_zero() || self.connections == 0 {
            return Err(SettingsError::Zero);
        }
        let server = &mut self.server;
        if server.get_application_name().is_none() {
            server.application_name("coatroom");
        }
        if server.get_connect_timeout().is_none() {
            server.connect_timeout(self.time_limit);
        }
        // A host that vanished without a word is noticed by the kernel as well.
        if server.get_tcp_user_timeout().is_none() {
            server.tcp_user_timeout(self.time_limit);
        }
        if server.get_hosts().len().max(server.get_hostaddrs().len()) > 1
            && server.get_target_session_attrs() == TargetSessionAttrs::Any
        {
            server.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        // TLS is asked for or not used: what is merely preferred protects from nobody.
        if server.get_ssl_mode() != SslMode::Require {
            server.ssl_mode(SslMode::Disable);
        }
        Ok(self)
    }

    /// The schema as it stands in a statement: some names of small letters are words of SQL.
    pub(super) fn quoted_schema(&self) -> String {
        format!("\"{}\"", self.schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_the_server_is_and_how_it_is_used() {
        let url = "postgres://ada:pw@db,db2:6432/shop?schema=shop&connect_timeout=7&pgbouncer=true&sslmode=verify-full";
        let settings = Settings::parse(url).unwrap().checked().unwrap();
        assert_eq!((settings.schema.as_str(), settings.unnamed), ("shop", true));
        assert_eq!(settings.server.get_ssl_mode(), SslMode::Require);
        assert_eq!(settings.server.get_connect_timeout(), Some(&Duration::from_secs(7)));
        assert_eq!(settings.server.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        let tls = Settings::parse("postgres://db/shop?sslrootcert=/ca.pem").unwrap().checked().unwrap();
        assert_eq!((tls.authority, tls.server.get_ssl_mode()), (Some("/ca.pem".into()), SslMode::Require));
        let plain = Settings::parse("host=db dbname=shop").unwrap().checked().unwrap();
        assert_eq!((plain.quoted_schema().as_str(), plain.unnamed), ("\"coatroom\"", false));
        assert_eq!(plain.server.get_ssl_mode(), SslMode::Disable);
    }

    #[test]
    fn wrong_settings_are_refused_and_not_repeated() {
        let error = |url: &str| Settings::parse(url).and_then(Settings::checked).err();
        assert_eq!(error("postgres://db/shop?colour=red"), Some(SettingsError::Url));
        assert_eq!(error("postgres://db/shop?schema"), Some(SettingsError::Url));
        assert_eq!(error("redis://db"), Some(SettingsError::Url));
        assert_eq!(error("dbname=shop"), Some(SettingsError::Host));
        let long = "a".repeat(64);
        for name in ["", "Shop", "a-b", "1a", "a\"; DROP TABLE session; --", &long] {
            assert_eq!(error(&format!("postgres://db/shop?schema={name}")), Some(SettingsError::Schema));
        }
        let settings = || Settings::parse("postgres://ada:hunter2@db/shop").unwrap();
        assert!(!format!("{:?}", settings()).contains("hunter2"));
        assert_eq!(settings().connections(0).checked().err(), Some(SettingsError::Zero));
        assert_eq!(settings().time_limit(Duration::ZERO).checked().err(), Some(SettingsError::Zero));
    }
}
