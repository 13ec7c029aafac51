//! Settings, read from a URL.

use core::time::Duration;
use std::path::PathBuf;

use super::settings::{Address, Layout, Login, Place, Settings, SettingsError};

/// How long a URL waits for replicas.
const USUAL_PATIENCE: Duration = Duration::from_millis(200);
const DEFAULT_PORT: u16 = 6379;
const DEFAULT_SENTINEL_PORT: u16 = 26_379;

impl Settings {
    /// Whether URLs with this scheme are for [`Settings::parse`].
    pub fn has_scheme(scheme: &str) -> bool {
        Scheme::parse(scheme).is_some()
    }

    /// Settings from a URL.
    pub fn parse(url: &str) -> Result<Self, SettingsError> {
        let (scheme, rest) = url.split_once("://").ok_or(SettingsError::Scheme)?;
        let Scheme { tls, kind } = Scheme::parse(scheme).ok_or(SettingsError::Scheme)?;
        let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (rest, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (layout, database) = match kind {
            Kind::Single => (single(hosts)?, path),
            Kind::Cluster => (Layout::Cluster(addresses(hosts, DEFAULT_PORT)?), path),
            Kind::Sentinel => sentinel(hosts, path)?,
            Kind::Unix => (socket(hosts, path)?, ""),
        };
        let database = if database.is_empty() { 0 } else { number(database)? };
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
            "db" if matches!(self.layout, Layout::Single(Place::Socket(_))) => {
                Ok(Self { database: number(&value)?, ..self })
            }
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
}

/// What a URL begins with.
struct Scheme {
    tls: bool,
    kind: Kind,
}

enum Kind {
    Single,
    Cluster,
    Sentinel,
    Unix,
}

impl Scheme {
    fn parse(text: &str) -> Option<Self> {
        let (base, kind) = text.split_once('+').unwrap_or((text, ""));
        let tls = match base {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            _ => return None,
        };
        let kind = match kind {
            "" if !text.ends_with('+') => Kind::Single,
            "cluster" => Kind::Cluster,
            "sentinel" => Kind::Sentinel,
            "unix" if cfg!(unix) && !tls => Kind::Unix,
            _ => return None,
        };
        Some(Self { tls, kind })
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
    if found.is_empty() { Ok(Layout::Single(Place::Network(address))) } else { Err(SettingsError::SeveralHosts) }
}

fn socket(hosts: &str, path: &str) -> Result<Layout, SettingsError> {
    let path = decoded(path).filter(|path| !path.is_empty() && hosts.is_empty()).ok_or(SettingsError::Socket)?;
    Ok(Layout::Single(Place::Socket(PathBuf::from(format!("/{path}")))))
}

/// Of a database.
fn number(text: &str) -> Result<i64, SettingsError> {
    text.parse().ok().filter(|number| *number >= 0).ok_or(SettingsError::Database)
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
        assert_eq!(layout("redis://db"), Layout::Single(Place::Network(address("db", 6379))));
        assert_eq!(layout("rediss://[::1]:7000/3"), Layout::Single(Place::Network(address("::1", 7000))));
        let nodes = vec![address("a", 1), address("b", 6379)];
        assert_eq!(layout("redis+cluster://a:1,b"), Layout::Cluster(nodes));
        let sentinels = vec![address("a", 26_379), address("b", 2)];
        assert_eq!(layout("valkeys+sentinel://a,b:2/shop/4"), Layout::Sentinel(sentinels, "shop".to_owned()));
    }

    #[cfg(unix)]
    #[test]
    fn a_url_names_a_socket_of_this_host() {
        let settings = Settings::parse("valkey+unix://shop:p%3a@/run/a%20b/r.sock?db=7&prefix=shop:").unwrap();
        assert_eq!(settings.layout, Layout::Single(Place::Socket(PathBuf::from("/run/a b/r.sock"))));
        assert_eq!(settings.login.password.as_deref(), Some("p:"));
        assert_eq!((settings.database, &*settings.prefix), (7, "shop:"));
        assert_eq!(Settings::parse("redis+unix:///r.sock").unwrap().database, 0);
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
        for scheme in ["redis+ring", "redis+", "rediss+unix", "unix"] {
            assert_eq!(error(&format!("{scheme}:///db")), Some(SettingsError::Scheme), "{scheme}");
        }
        for place in ["", "/", "db", "db/r.sock", "u@db:1/r.sock", "/%zz"] {
            assert_eq!(error(&format!("redis+unix://{place}")), Some(SettingsError::Socket), "{place}");
        }
        assert_eq!(error("redis+unix:///r.sock?db=-1"), Some(SettingsError::Database));
        assert_eq!(error("redis://a,b"), Some(SettingsError::SeveralHosts));
        assert_eq!(error("redis+cluster://a,:1"), Some(SettingsError::Host(2)));
        assert_eq!(error("redis://a:b"), Some(SettingsError::Host(1)));
        assert_eq!(error("redis+cluster://a/1"), Some(SettingsError::Database));
        assert_eq!(error("redis://a/-1"), Some(SettingsError::Database));
        assert_eq!(error("redis+sentinel://a"), Some(SettingsError::Name));
        assert_eq!(error("redis://u:%zz@a"), Some(SettingsError::Login));
        for option in ["db=1", "colour=red", "time_limit=-1", "time_limit=soon", "confirm_replicas=-1"] {
            assert_eq!(error(&format!("redis://a?{option}")), Some(SettingsError::Option), "{option}");
        }
        let secret = Settings::parse("redis://u:hunter2@a").unwrap();
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert_eq!(secret.prefix("a{b").check(), Err(SettingsError::Prefix));
    }
}
