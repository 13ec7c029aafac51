//! Cookie header in, Set-Cookie out. One description makes both the form that sets and the form that removes.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use core::time::Duration;

use zeroize::Zeroizing;

use crate::bugs::{Bug, planted};
use crate::id::ID_CHARS;

/// Which of the two cookies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Carries the id of a session in which somebody is logged in.
    Login,
    /// Carries the id of an anonymous session.
    Visitor,
}

/// When a browser sends a cookie along with a request from another site.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SameSite {
    /// Never.
    Strict,
    /// With a top-level navigation by a safe method.
    Lax,
    /// Always. Needs another defence against forged requests.
    None,
}

/// Names and attributes of the two cookies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CookieSettings {
    /// Name of the login cookie: `__Host-id`, or `__Secure-id` with a domain or path, unless given.
    pub login: Option<String>,
    /// Name of the visitor cookie: `__Host-visitor`, or `__Secure-visitor` with a domain or path, unless given.
    pub visitor: Option<String>,
    /// Path below which the cookies are sent.
    pub path: String,
    /// Domain whose hosts all get the cookies. None (the default) keeps them to this host.
    pub domain: Option<String>,
    /// When the cookies go along with requests from other sites.
    pub same_site: SameSite,
    /// How long a browser keeps the cookies, never beyond the absolute limit. None: until it is closed.
    pub max_age: Option<Duration>,
}

impl Default for CookieSettings {
    fn default() -> Self {
        Self { login: None, visitor: None, path: "/".to_owned(), domain: None, same_site: SameSite::Lax, max_age: None }
    }
}

/// Why cookie settings are refused at start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CookieError {
    /// A name has characters that a cookie name may not have, or none.
    Name,
    /// The two names are the same; browsers compare prefixes without regard to case, and so does this check.
    SameName,
    /// A name lacks the prefix that these settings call for.
    Prefix {
        /// What the name must start with.
        expected: &'static str,
    },
    /// Path or domain has characters that end an attribute, or is too long for a browser.
    Attribute,
    /// `SameSite=None` over plain http.
    InsecureSameSiteNone,
    /// `Max-Age` is zero, or over the 400 days to which browsers cut it.
    MaxAge,
}

impl fmt::Display for CookieError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "a cookie name may have letters, digits, `-` and `_`, at most 256: choose another name",
            Self::SameName => "login and visitor cookie need different names: rename one",
            Self::Prefix { expected } => {
                return write!(f, "a cookie name with these settings must start with `{expected}`: rename it");
            }
            Self::Attribute => "path or domain is malformed: a path starts with `/`, a domain is a bare host name",
            Self::InsecureSameSiteNone => "`SameSite=None` needs https: choose `Lax`, or serve https",
            Self::MaxAge => "`max_age` must lie between one second and 400 days: choose less, or none",
        })
    }
}

impl core::error::Error for CookieError {}

/// Validated cookie settings.
#[derive(Clone, Debug)]
pub(crate) struct Cookies {
    login: String,
    visitor: String,
    attributes: String,
    max_age: Option<Duration>,
}

const MAX_COOKIE_AGE: Duration = Duration::from_hours(400 * 24);
const MAX_ATTRIBUTE: usize = 1024;
const MAX_NAME: usize = 256;

impl Cookies {
    // spec: COOK-1 a5d0, COOK-5 2d59
    pub(crate) fn new(settings: &CookieSettings, plain_http: bool) -> Result<Self, CookieError> {
        let prefix = match (plain_http, settings.domain.is_none() && settings.path == "/") {
            (true, _) => "",
            (false, true) => "__Host-",
            (false, false) => "__Secure-",
        };
        let login = name(settings.login.as_deref(), "id", prefix)?;
        let visitor = name(settings.visitor.as_deref(), "visitor", prefix)?;
        if login.eq_ignore_ascii_case(&visitor) {
            return Err(CookieError::SameName);
        }
        let path = settings.path.starts_with('/') && is_attribute(&settings.path);
        let domain = settings.domain.as_deref().is_none_or(|domain| {
            is_attribute(domain)
                && domain.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
                && !domain.starts_with('.')
        });
        if !path || !domain {
            return Err(CookieError::Attribute);
        }
        if plain_http && settings.same_site == SameSite::None {
            return Err(CookieError::InsecureSameSiteNone);
        }
        if settings.max_age.is_some_and(|age| age < Duration::from_secs(1) || age > MAX_COOKIE_AGE) {
            return Err(CookieError::MaxAge);
        }
        let attributes = attributes(settings, plain_http);
        Ok(Self { login, visitor, attributes, max_age: settings.max_age })
    }

    pub(crate) fn name(&self, kind: Kind) -> &str {
        match kind {
            Kind::Login => &self.login,
            Kind::Visitor => &self.visitor,
        }
    }

    /// Looks for the two cookies in a Cookie header (RFC 6265 section 5.4), several joined by `; `. One pass, no allocation.
    // spec: COOK-7 03b4
    pub(crate) fn find<'a>(&self, header: &'a [u8]) -> (Sent<'a>, Sent<'a>) {
        // The library looks for a character in text many bytes at a time; a stray byte elsewhere costs only that.
        match core::str::from_utf8(header) {
            Ok(text) => self.find_among(text.split(';').map(str::as_bytes)),
            Err(_) => self.find_among(header.split(|&byte| byte == b';')),
        }
    }

    // spec: COOK-7 03b4, COOK-13 1359
    fn find_among<'a>(&self, pairs: impl Iterator<Item = &'a [u8]>) -> (Sent<'a>, Sent<'a>) {
        let mut found = (Sent::Absent, Sent::Absent);
        for pair in pairs {
            let pair = pair.trim_ascii_start();
            let Some(equals) = pair.iter().position(|&byte| byte == b'=') else { continue };
            let (name, value) = (pair.get(..equals).unwrap_or_default(), pair.get(equals..).unwrap_or_default());
            let place = match name {
                name if name == self.login.as_bytes() => &mut found.0,
                name if name == self.visitor.as_bytes() => &mut found.1,
                _ => continue,
            };
            *place = match place {
                Sent::Once(_) if !planted(Bug::DoubledNameCounts) => Sent::Twice,
                Sent::Twice => Sent::Twice,
                _ => Sent::Once(value.get(1..).unwrap_or_default()),
            };
        }
        found
    }

    /// The Set-Cookie value that hands `id` to the client for at most `lifetime`.
    // spec: COOK-2 1b91, COOK-4 50f2
    pub(crate) fn set(&self, kind: Kind, id: &str, lifetime: Duration) -> Zeroizing<String> {
        let mut line =
            Zeroizing::new(String::with_capacity(ID_CHARS.saturating_add(self.attributes.len()).saturating_add(64)));
        line.push_str(self.name(kind));
        line.push('=');
        line.push_str(id);
        if let Some(max_age) = self.max_age {
            line.push_str("; Max-Age=");
            // Zero would remove the cookie that it comes with.
            line.push_str(&max_age.min(lifetime).as_secs().max(1).to_string());
        }
        line.push_str(&self.attributes);
        line
    }

    /// The Set-Cookie value that removes the cookie: the same description, no value, already over.
    // spec: COOK-3 c51b
    pub(crate) fn remove(&self, kind: Kind) -> Zeroizing<String> {
        let name = self.name(kind);
        Zeroizing::new(format!("{name}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT{}", self.attributes))
    }
}

/// How often a cookie came in one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sent<'a> {
    Absent,
    Once(&'a [u8]),
    Twice,
}

// spec: COOK-1 a5d0, COOK-5 2d59, COOK-6 7a78
fn name(given: Option<&str>, default: &str, prefix: &'static str) -> Result<String, CookieError> {
    let Some(given) = given else { return Ok(format!("{prefix}{default}")) };
    // Plain http cannot carry the prefixes at all (RFC 6265bis section 4.1.3), so there a name loses its own.
    let bare = ["__Host-", "__Secure-"].iter().find_map(|known| given.strip_prefix(known)).unwrap_or(given);
    let full = if prefix.is_empty() { bare } else { given };
    if bare.is_empty()
        || full.len() > MAX_NAME
        || !full.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    {
        return Err(CookieError::Name);
    }
    if full.starts_with(prefix) { Ok(full.to_owned()) } else { Err(CookieError::Prefix { expected: prefix }) }
}

// spec: COOK-5 2d59, COOK-6 7a78
fn is_attribute(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_ATTRIBUTE && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';')
}

// spec: COOK-2 1b91, COOK-3 c51b
fn attributes(settings: &CookieSettings, plain_http: bool) -> String {
    let domain = settings.domain.as_deref().map(|domain| format!("; Domain={domain}")).unwrap_or_default();
    let same_site = match settings.same_site {
        SameSite::Strict => "Strict",
        SameSite::Lax => "Lax",
        SameSite::None => "None",
    };
    let secure = if plain_http { "" } else { "; Secure" };
    let http_only = if planted(Bug::HttpOnlyDropped) { "" } else { "; HttpOnly" };
    format!("{domain}; Path={}{secure}{http_only}; SameSite={same_site}", settings.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies() -> Cookies {
        Cookies::new(&CookieSettings::default(), false).unwrap()
    }

    #[test]
    // spec: COOK-1 a5d0, COOK-2 1b91, COOK-3 c51b
    fn both_forms_of_both_cookies_are_these_bytes() {
        let cookies = cookies();
        let lifetime = Duration::from_mins(1);
        assert_eq!(*cookies.set(Kind::Login, "ID", lifetime), "__Host-id=ID; Path=/; Secure; HttpOnly; SameSite=Lax");
        assert_eq!(
            *cookies.set(Kind::Visitor, "ID", lifetime),
            "__Host-visitor=ID; Path=/; Secure; HttpOnly; SameSite=Lax"
        );
        let removal = "=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; Secure; HttpOnly; SameSite=Lax";
        assert_eq!(*cookies.remove(Kind::Login), format!("__Host-id{removal}"));
        assert_eq!(*cookies.remove(Kind::Visitor), format!("__Host-visitor{removal}"));
    }

    #[test]
    // spec: COOK-1 a5d0, COOK-2 1b91, COOK-4 50f2
    fn a_domain_brings_the_secure_prefix_and_max_age_never_outlives_the_session() {
        let settings = CookieSettings {
            domain: Some("example.org".to_owned()),
            same_site: SameSite::Strict,
            max_age: Some(Duration::from_hours(1)),
            ..CookieSettings::default()
        };
        let cookies = Cookies::new(&settings, false).unwrap();
        let line = "__Secure-id=ID; Max-Age=60; Domain=example.org; Path=/; Secure; HttpOnly; SameSite=Strict";
        assert_eq!(*cookies.set(Kind::Login, "ID", Duration::from_mins(1)), line);
    }

    #[test]
    // spec: COOK-5 2d59
    fn wrong_combinations_are_refused_at_start() {
        let with = |change: fn(&mut CookieSettings)| {
            let mut settings = CookieSettings::default();
            change(&mut settings);
            Cookies::new(&settings, false).err()
        };
        assert_eq!(with(|s| s.login = Some("id".into())), Some(CookieError::Prefix { expected: "__Host-" }));
        let domain = with(|s| {
            s.domain = Some("example.org".into());
            s.login = Some("__Host-id".into());
        });
        assert_eq!(domain, Some(CookieError::Prefix { expected: "__Secure-" }));
        assert_eq!(with(|s| s.login = Some("__Host-VISITOR".into())), Some(CookieError::SameName));
        assert_eq!(with(|s| s.login = Some("__Host-".into())), Some(CookieError::Name));
        assert_eq!(with(|s| s.login = Some("__Host-i=d".into())), Some(CookieError::Name));
        assert_eq!(with(|s| s.path = "/;x".into()), Some(CookieError::Attribute));
        assert_eq!(with(|s| s.path = "x".into()), Some(CookieError::Attribute));
        assert_eq!(with(|s| s.domain = Some("a b".into())), Some(CookieError::Attribute));
        assert_eq!(with(|s| s.max_age = Some(Duration::ZERO)), Some(CookieError::MaxAge));
        assert_eq!(with(|s| s.max_age = Some(Duration::from_hours(401 * 24))), Some(CookieError::MaxAge));
        let none = CookieSettings { same_site: SameSite::None, ..CookieSettings::default() };
        assert_eq!(Cookies::new(&none, true).err(), Some(CookieError::InsecureSameSiteNone));
        assert!(Cookies::new(&none, false).is_ok());
    }

    #[test]
    // spec: COOK-1 a5d0, COOK-2 1b91
    fn plain_http_drops_secure_and_the_prefixes() {
        let cookies =
            Cookies::new(&CookieSettings { login: Some("__Host-me".into()), ..CookieSettings::default() }, true)
                .unwrap();
        assert_eq!(*cookies.set(Kind::Login, "ID", Duration::ZERO), "me=ID; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(cookies.name(Kind::Visitor), "visitor");
    }

    #[test]
    // spec: COOK-7 03b4, COOK-13 1359
    fn only_the_exact_names_are_read_and_a_doubled_name_counts_as_absent() {
        let cookies = cookies();
        let find = |header: &'static str| cookies.find(header.as_bytes());
        assert_eq!(find(""), (Sent::Absent, Sent::Absent));
        assert_eq!(find("a=b; __Host-id=1;\t__Host-visitor=2"), (Sent::Once(b"1"), Sent::Once(b"2")));
        assert_eq!(find("__host-id=1; __Host-id =2; x__Host-id=3; __Host-id"), (Sent::Absent, Sent::Absent));
        assert_eq!(find("__Host-id=1; __Host-id=1; __Host-visitor=2"), (Sent::Twice, Sent::Once(b"2")));
        assert_eq!(find("__Host-id=a=b"), (Sent::Once(b"a=b"), Sent::Absent));
        assert_eq!(find(";;=;=__Host-id=1"), (Sent::Absent, Sent::Absent));
        let stray = cookies.find(b"other=\xff; __Host-id=1; __Host-visitor=\xfe");
        assert_eq!(stray, (Sent::Once(b"1"), Sent::Once(b"\xfe")));
    }
}
