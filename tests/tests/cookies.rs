//! Cookie headers as the core reads them, against the `cookie` crate; and Set-Cookie lines, read back by it.
//!
//! The two readers differ in one thing, which is asserted exactly: from a header in which no blank stands beside a name or
//! a value, both read the same; from any other, that crate reads what both would read without the blanks.
//!
//! | header | core | `cookie` 0.18 | why |
//! |---|---|---|---|
//! | `__Host-id =x` | absent | x | no browser sends it (RFC 6265 section 5.4), so it was not set by a server |
//! | `__Host-id= x`, `__Host-id=x ;` | not an id | x | the same; a value is an id to the byte, or none |
//! | no-break space, vertical tab before a name | another name | trimmed | a blank in Unicode is none in HTTP |
//!
//! `COATROOM_CASES` sets how many headers (100,000 unless given), `COATROOM_SEED` which ones.

use std::sync::Arc;
use std::time::Duration;

use coatroom_core::staged::{Staged, Waiting};
use coatroom_core::{CookieSettings, Event, KeyRing, Listed, Loaded, Policy, Rules, SameSite, Settings, Timestamp};
use coatroom_tests::browser::Id;
use coatroom_tests::choices::Choices;
use coatroom_tests::rng::Fixed;
use coatroom_tests::world::{RING, START};
use cookie::Cookie;

const NAME: &str = "__Host-id";

fn cases() -> impl Iterator<Item = u64> {
    let seed: u64 = std::env::var("COATROOM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let cases = std::env::var("COATROOM_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(100_000);
    (0..cases).map(move |case| seed << 40 | case)
}

fn rules(cookies: CookieSettings) -> Option<Arc<Rules>> {
    let policy = Policy::try_from(Settings { cookies, ..Settings::default() }).ok()?;
    Some(Rules::new(policy, KeyRing::parse(RING).unwrap()))
}

/// Either cookie may be the one that is looked for: the other has a name that no header here has.
fn readers() -> [Arc<Rules>; 2] {
    let (name, other) = (Some(NAME.to_owned()), Some("__Host-nowhere".to_owned()));
    let login = CookieSettings { login: name.clone(), visitor: other.clone(), ..CookieSettings::default() };
    let visitor = CookieSettings { login: other, visitor: name, ..CookieSettings::default() };
    [rules(login).unwrap(), rules(visitor).unwrap()]
}

/// Two ids under the test ring.
fn ids() -> [String; 2] {
    [1, 2].map(|seed| {
        let lines = lines(&readers()[0], seed);
        lines[0].split(['=', ';']).nth(1).unwrap().to_owned()
    })
}

/// The lines of a response that logs in, where the visitor cookie goes.
fn lines(rules: &Arc<Rules>, seed: u64) -> Vec<String> {
    let now = Timestamp::from_unix_ms(START);
    let mut staged = Staged::from(rules.open(b"", now));
    let session = staged.session().unwrap();
    session.logout();
    session.login::<&str>("alice", &[], 1).unwrap();
    staged.close(now, &mut Fixed::new(seed)).unwrap();
    staged.entered(Listed::default()).unwrap();
    staged.reply().unwrap().set_cookies().map(str::to_owned).collect()
}

/// What came under the name.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Sent {
    Absent,
    Twice,
    Junk,
    Id(String),
}

fn core_reads(rules: &Arc<Rules>, header: &[u8], ids: &[String]) -> Sent {
    let mut staged = Staged::from(rules.open(header, Timestamp::from_unix_ms(START)));
    if let Waiting::Load(handle) = staged.waiting() {
        staged.found(Loaded::Absent).unwrap();
        let id = ids.iter().find(|id| Id::read(id).is_some_and(|id| id.handle == handle));
        return Sent::Id(id.unwrap().clone());
    }
    let events = staged.session().unwrap().trace().events;
    match events[..] {
        [] => Sent::Absent,
        [Event::Duplicate(_)] => Sent::Twice,
        [Event::Junk(_)] => Sent::Junk,
        _ => panic!("{events:?}"),
    }
}

fn crate_reads(header: &str, ids: &[String]) -> Sent {
    let cookies: Vec<Cookie<'_>> =
        Cookie::split_parse(header).filter_map(Result::ok).filter(|cookie| cookie.name() == NAME).collect();
    match &cookies[..] {
        [] => Sent::Absent,
        [only] if ids.iter().any(|id| id == only.value()) => Sent::Id(only.value().to_owned()),
        [_] => Sent::Junk,
        _ => Sent::Twice,
    }
}

/// The header without the blanks that one side takes away.
fn without_blanks(header: &str) -> String {
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name, value)) => format!("{}={}", name.trim(), value.trim()),
        None => pair.trim().to_owned(),
    };
    header.split(';').map(pair).collect::<Vec<_>>().join(";")
}

fn header(choices: &mut Choices<'_>, ids: &[String]) -> String {
    const NAMES: [&str; 14] = [
        NAME,
        NAME,
        NAME,
        "__host-id",
        "__Host-id ",
        " __Host-id",
        "\u{a0}__Host-id",
        "\u{b}__Host-id",
        "a",
        "",
        "x__Host-id",
        "__Host-id=",
        "path",
        "\"__Host-id\"",
    ];
    let mut header = String::new();
    for _ in 0..choices.within(1, 4) {
        header.push_str(choices.of(&NAMES));
        header.push_str(choices.weighted(&[(20, "="), (1, ""), (1, " ="), (1, "= "), (1, "=="), (1, "=\t")]));
        let id = &ids[choices.below(2)];
        match choices.below(12) {
            0..6 => header.push_str(id),
            6 => header.push_str(&format!("\"{id}\"")),
            7 => header.push_str(&format!("{id}{}", choices.of(&[" ", "\u{a0}", "\t", ",", "=", "\0"]))),
            8 => header.push_str(&id[..choices.below(id.len())]),
            9 => header.push_str(&id.replace('A', "%41")),
            _ => header.push_str(choices.of(&["", "a=b", "é", "a b", "1", "=", "🧥"])),
        }
        header.push_str(choices.weighted(&[
            (20, "; "),
            (3, ";"),
            (1, ";\t"),
            (1, " ;"),
            (1, ","),
            (1, ";;"),
            (1, "; ;"),
            (1, "\r\n"),
            (1, ";\u{b}"),
            (1, ";\u{a0}"),
        ]));
    }
    header
}

#[test]
fn both_readers_find_the_same_in_every_header_but_for_blanks() {
    let (readers, ids) = (readers(), ids());
    let (mut differ, mut found) = (0, 0);
    for case in cases() {
        let mut choices = Choices::random(case);
        let header = header(&mut choices, &ids);
        let rules = &readers[choices.below(2)];
        let bare = without_blanks(&header);
        let (core, other) = (core_reads(rules, header.as_bytes(), &ids), crate_reads(&header, &ids));
        assert_eq!(core_reads(rules, bare.as_bytes(), &ids), other, "case {case}: {header:?}");
        let ascii_only = |pair: &str| pair.trim_ascii_start() == without_blanks(pair);
        if header.split(';').all(ascii_only) {
            assert_eq!(core, other, "case {case}: {header:?}");
        }
        // A blank never makes an id of what is none.
        assert!(!matches!(core, Sent::Id(_)) || core == other || other == Sent::Twice, "case {case}: {header:?}");
        differ += u32::from(core != other);
        found += u32::from(matches!(core, Sent::Id(_)));
    }
    assert!(differ > 100 && found > 1_000, "{differ} differ, {found} ids");
}

#[test]
fn the_differences_are_these() {
    let (readers, ids) = (readers(), ids());
    let id = Sent::Id(ids[0].clone());
    let table = [
        ("__Host-id =ID", Sent::Absent, id.clone()),
        ("__Host-id= ID", Sent::Junk, id.clone()),
        ("__Host-id=ID ; a=b", Sent::Junk, id.clone()),
        ("a=b;\u{a0}__Host-id=ID", Sent::Absent, id.clone()),
        ("a=b;\u{b}__Host-id=ID", Sent::Absent, id.clone()),
        ("__Host-id=ID; __Host-id =ID", id.clone(), Sent::Twice),
        // And these are none.
        ("a=b; __Host-id=ID", id.clone(), id.clone()),
        ("a=b;\t__Host-id=ID", id.clone(), id),
        ("__Host-id=\"ID\"", Sent::Junk, Sent::Junk),
        ("__Host-id=ID; __Host-id=ID", Sent::Twice, Sent::Twice),
        ("__host-id=ID", Sent::Absent, Sent::Absent),
        ("a=b, __Host-id=ID", Sent::Absent, Sent::Absent),
        ("=__Host-id=ID", Sent::Absent, Sent::Absent),
        ("__Host-id", Sent::Absent, Sent::Absent),
    ];
    for (header, core, other) in table {
        let header = header.replace("ID", &ids[0]);
        for rules in &readers {
            assert_eq!(core_reads(rules, header.as_bytes(), &ids), core, "{header:?}");
        }
        assert_eq!(crate_reads(&header, &ids), other, "{header:?}");
    }
}

#[test]
fn bytes_that_are_no_text_are_junk_where_they_stand_and_nowhere_else() {
    let (readers, ids) = (readers(), ids());
    for case in cases() {
        let mut choices = Choices::random(case);
        let mut bytes = header(&mut choices, &ids).into_bytes();
        let at = choices.below(bytes.len());
        bytes[at] = choices.of(&[0x80, 0xa0, 0xc3, 0xff]);
        let rules = &readers[choices.below(2)];
        // Read as Latin-1, in which every byte is a character of its own; those put in here are no ASCII blanks.
        let latin: String = bytes.iter().map(|byte| char::from(*byte)).collect();
        assert_eq!(
            core_reads(rules, &bytes, &ids),
            core_reads(rules, latin.as_bytes(), &ids),
            "case {case}: {latin:?}"
        );
    }
}

#[test]
fn a_set_cookie_line_says_what_the_settings_say() {
    let mut read = 0;
    for case in cases().take(20_000) {
        let mut choices = Choices::random(case);
        let (age, path) =
            (choices.of(&[None, Some(1), Some(3_600), Some(34_560_000)]), choices.of(&["/", "/shop", "/a%20b"]));
        let domain = choices.of(&[None, Some("example.org"), Some("a-b.example")]);
        let same_site = choices.of(&[SameSite::Strict, SameSite::Lax, SameSite::None]);
        let settings = CookieSettings {
            path: path.to_owned(),
            domain: domain.map(str::to_owned),
            same_site,
            max_age: age.map(Duration::from_secs),
            ..CookieSettings::default()
        };
        let prefix = if domain.is_none() && path == "/" { "__Host-" } else { "__Secure-" };
        let lines = lines(&rules(settings).unwrap(), case);
        let [login, visitor] = [&lines[0], &lines[1]].map(|line| Cookie::parse(line.as_str()).unwrap());
        assert_eq!(
            (login.name(), visitor.name()),
            (&*format!("{prefix}id"), &*format!("{prefix}visitor")),
            "case {case}"
        );
        assert_eq!((login.value().len(), visitor.value()), (88, ""), "case {case}");
        // No cookie outlives its session: here 12 hours.
        let age = age.map(|age| cookie::time::Duration::seconds(age.min(43_200) as i64));
        assert_eq!((login.max_age(), visitor.max_age()), (age, Some(cookie::time::Duration::ZERO)), "case {case}");
        for cookie in [login, visitor] {
            assert_eq!((cookie.path(), cookie.domain()), (Some(path), domain), "case {case}");
            assert_eq!((cookie.secure(), cookie.http_only()), (Some(true), Some(true)), "case {case}");
            let expected = match same_site {
                SameSite::Strict => cookie::SameSite::Strict,
                SameSite::Lax => cookie::SameSite::Lax,
                SameSite::None => cookie::SameSite::None,
            };
            assert_eq!(cookie.same_site(), Some(expected), "case {case}");
            read += 1;
        }
    }
    assert!(read > 0);
}
