//! Access tokens: from which sessions they come, what they state, who accepts them, and when no longer.

use std::sync::Arc;
use std::time::Duration;

use coatroom_core::{Announcement, Handle, KeyRing, NotOnRecord, Policy, Rules, Settings, Subject, Timestamp};
use coatroom_store::memory::Memory;
use coatroom_store::{Driver, Host};
use coatroom_tests::rng::{Dry, Fixed};
use coatroom_tests::tokens::{self, ED, HS, NOW, claims, forge, header};
use coatroom_token::{
    Algorithm, Form, Heard, Issuer, KeyError, Late, NotIssued, Refusal, Revocations, SettingsError, SigningKeys, Token,
    Verifier, VerifyingKeys,
};
use serde_json::Value;

const START: Timestamp = Timestamp::from_unix_ms(NOW * 1000 + 400);
const RING: &str = "1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE";
const ISSUER: &str = "https://shop.example";

fn index() -> Value {
    serde_json::from_str(&read("index.json")).unwrap()
}

fn read(name: &str) -> String {
    std::fs::read_to_string(tokens::folder().join(name)).unwrap()
}

#[test]
// spec: TOKEN-4 0830, TOKEN-5 0209, TOKEN-6 8261, TOKEN-7 8b63, TOKEN-10 2a12, TOKEN-11 f067
fn every_vector_is_judged_as_it_is_written() {
    let index = index();
    let mut sum = 0;
    for (name, count) in index["files"].as_object().unwrap() {
        let played = tokens::play(&index["given"], &read(name));
        assert_eq!(played.map(|count| count as u64), Ok(count.as_u64().unwrap()), "{name}");
        sum += count.as_u64().unwrap();
    }
    assert_eq!(index["cases"], sum);
    println!("{sum} tokens");
}

#[test]
fn the_files_are_what_is_forged() {
    let files = tokens::files();
    for (name, text) in &files {
        assert!(read(name) == *text, "{name} has drifted: run `make spec` and read the difference");
    }
    let there = std::fs::read_dir(tokens::folder()).unwrap();
    let json = there.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "json"));
    assert_eq!(json.count(), files.len());
}

type Site = Driver<Memory, Clock>;

/// A clock that tests move, and random bytes that repeat from run to run.
#[derive(Clone, Default)]
struct Clock(Arc<std::sync::atomic::AtomicU64>);

impl Clock {
    fn go(&self, span: Duration) {
        self.0.fetch_add(span.as_millis() as u64, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Host for Clock {
    fn now(&self) -> Timestamp {
        START.plus(Duration::from_millis(self.0.load(std::sync::atomic::Ordering::SeqCst)))
    }

    fn ticks(&self) -> Duration {
        Duration::from_millis(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }

    fn rng(&self) -> impl rand_core::TryCryptoRng {
        Fixed::new(self.0.load(std::sync::atomic::Ordering::SeqCst) + 7)
    }

    fn pause(&self, span: Duration) -> impl Future<Output = ()> + Send {
        self.go(span);
        std::future::ready(())
    }
}

fn site(settings: Settings) -> (Site, Clock) {
    let clock = Clock::default();
    let rules = Rules::new(Policy::try_from(settings).unwrap(), KeyRing::parse(RING).unwrap());
    (Driver::with_host(rules, Memory::default(), clock.clone()), clock)
}

/// Logs somebody in, and hands back what a browser keeps.
fn login(site: &Site, principal: &str) -> String {
    let mut session = site.open_now(b"").unwrap();
    session.login(principal, &["staff", "admin"], 2).unwrap();
    let reply = site.close_now(session).unwrap();
    let line = reply.set_cookies().find(|line| line.starts_with("__Host-id=")).unwrap();
    line.split(';').next().unwrap().to_owned()
}

fn issuer(keys: &str) -> Issuer {
    Issuer::new(ISSUER, "orders", SigningKeys::parse(keys).unwrap()).unwrap()
}

fn verifier(keys: &str) -> Verifier {
    Verifier::new(ISSUER, "orders", SigningKeys::parse(keys).unwrap().verifying()).unwrap()
}

fn token(site: &Site, cookie: &str, issuer: &Issuer) -> Result<Token, NotIssued> {
    issuer.issue(&site.open_now(cookie.as_bytes()).unwrap(), &mut Fixed::new(1))
}

#[test]
// spec: TOKEN-1 6e31, TOKEN-7 8b63
fn a_token_states_what_the_login_is_under_either_algorithm() {
    for (keys, algorithm) in [(ED, Algorithm::EdDsa), (HS, Algorithm::Hs256)] {
        let (site, clock) = site(Settings::default());
        let cookie = login(&site, "ada");
        clock.go(Duration::from_secs(1));
        let made = token(&site, &cookie, &issuer(keys)).unwrap();
        let now = START.plus(Duration::from_secs(2));
        let stated = verifier(keys).verify(made.as_str().as_bytes(), now).unwrap();
        assert_eq!(SigningKeys::parse(keys).unwrap().algorithm(), algorithm);
        assert_eq!((stated.principal.as_str(), stated.level), ("ada", 2));
        assert_eq!(stated.roles, ["admin", "staff"]);
        assert_eq!(stated.issued_at.as_unix_ms(), (NOW + 1) * 1000, "rounded down");
        assert_eq!((stated.expires_at, made.lifetime()), (made.expires_at(), Duration::from_secs(300)));
        assert_eq!(Some(stated.handle), site.open_now(cookie.as_bytes()).unwrap().handle());
        assert_eq!(stated.heard, Heard::Never);
        assert_eq!(stated.token_id.len(), 22);
    }
}

#[test]
// spec: TOKEN-1 6e31
fn the_bytes_of_a_token_are_those_of_the_clause() {
    let (site, _) = site(Settings::default());
    let cookie = login(&site, "a\"d\u{1}a");
    let session = site.open_now(cookie.as_bytes()).unwrap();
    let made = issuer(ED).issue(&session, &mut Fixed::new(1)).unwrap();
    let number = tokens_of(&made);
    let sid = session.handle().unwrap();
    let expected = format!(
        r#"{{"iss":"{ISSUER}","aud":"orders","sub":"a\"d\u0001a","sid":"{sid}","jti":"{number}","iat":{NOW},"nbf":{NOW},"exp":{},"level":2,"roles":["admin","staff"]}}"#,
        NOW + 300,
    );
    let by_hand = forge(header("EdDSA").as_bytes(), expected.as_bytes(), "EdDSA");
    assert_eq!(made.as_str().as_bytes(), by_hand);
}

/// The random name that the token was given.
fn tokens_of(token: &Token) -> String {
    verifier(ED).verify(token.as_str().as_bytes(), START).unwrap().token_id
}

#[test]
// spec: TOKEN-2 9702
fn no_token_outlives_a_limit_of_its_session() {
    let minutes = |minutes| Duration::from_mins(minutes);
    let idle = Settings { idle: Some(minutes(3)), ..Settings::default() };
    let absolute = Settings { absolute: minutes(40), ..Settings::default() };
    for (settings, waits, lives) in [(idle, 0, 179), (absolute, 39, 59)] {
        let (site, clock) = site(settings);
        let cookie = login(&site, "ada");
        for _ in 0..waits {
            clock.go(minutes(1));
            site.close_now(site.open_now(cookie.as_bytes()).unwrap()).unwrap();
        }
        clock.go(Duration::from_millis(900));
        let made = token(&site, &cookie, &issuer(ED)).unwrap();
        // From the whole second before it was asked for to the whole second before the end.
        assert_eq!(made.lifetime(), Duration::from_secs(lives));
    }
}

#[test]
// spec: TOKEN-2 9702
fn a_session_in_its_last_second_gets_none() {
    let (site, clock) = site(Settings { idle: None, absolute: Duration::from_mins(10), ..Settings::default() });
    let cookie = login(&site, "ada");
    clock.go(Duration::from_mins(10) - Duration::from_millis(100));
    assert_eq!(token(&site, &cookie, &issuer(ED)), Err(NotIssued::EndsNow));
}

#[test]
// spec: TOKEN-3 c1a8
fn only_a_live_login_that_is_stored_gets_a_token() {
    let (site, _) = site(Settings::default());
    let refused = |why| Err(NotIssued::NotOnRecord(why));
    let issuer = issuer(ED);
    let mut rng = Fixed::new(1);
    assert_eq!(token(&site, "", &issuer), refused(NotOnRecord::Anonymous));

    let mut visitor = site.open_now(b"").unwrap();
    visitor.set("cart", 1).unwrap();
    assert_eq!(issuer.issue(&visitor, &mut rng), refused(NotOnRecord::Anonymous));
    visitor.login("ada", &["staff"], 1).unwrap();
    assert_eq!(issuer.issue(&visitor, &mut rng), refused(NotOnRecord::Unsaved));

    let cookie = login(&site, "ada");
    let mut session = site.open_now(cookie.as_bytes()).unwrap();
    assert!(issuer.issue(&session, &mut rng).is_ok());
    assert_eq!(issuer.issue(&session, &mut Dry), Err(NotIssued::NoRandomness));
    session.elevate(3).unwrap();
    assert_eq!(issuer.issue(&session, &mut rng), refused(NotOnRecord::Unsaved));
    session.logout();
    assert_eq!(issuer.issue(&session, &mut rng), refused(NotOnRecord::Ended));
    site.close_now(session).unwrap();
    assert_eq!(token(&site, &cookie, &issuer), refused(NotOnRecord::Ended));
}

#[test]
// spec: TOKEN-3 c1a8, TOKEN-12 c154
fn a_token_is_dated_before_its_session_was_read_however_late_it_is_asked_for() {
    let (site, clock) = site(Settings::default());
    let cookie = login(&site, "ada");
    let slow = site.open_now(cookie.as_bytes()).unwrap();
    clock.go(Duration::from_secs(60));
    let made = issuer(ED).issue(&slow, &mut Fixed::new(1)).unwrap();
    let stated = verifier(ED).verify(made.as_str().as_bytes(), site.host().now()).unwrap();
    assert_eq!(stated.issued_at.as_unix_ms(), NOW * 1000);
}

#[test]
fn a_token_that_no_verifier_would_read_is_not_issued() {
    let (site, _) = site(Settings::default());
    let cookie = login(&site, &"a".repeat(3000));
    assert!(matches!(token(&site, &cookie, &issuer(ED)), Err(NotIssued::TooLarge { bytes: 4097.. })));
}

#[test]
// spec: TOKEN-8 d2bf
fn rotating_keys_refuses_no_live_token() {
    const NEW: &str = "ed-2:EdDSA:YSBuZXdlciB0ZXN0IGtleSwgYW5kIG5vIHNlY3JldCE";
    let (site, clock) = site(Settings::default());
    let cookie = login(&site, "ada");
    let (both, swapped) = (format!("{ED},{NEW}"), format!("{NEW}\n{ED}"));
    let old = token(&site, &cookie, &issuer(ED)).unwrap();
    let judge = |keys: &str, token: &Token, now| verifier(keys).verify(token.as_str().as_bytes(), now).map(drop);
    let now = site.host().now();
    // The new key is everywhere before it signs.
    let during = token(&site, &cookie, &issuer(&both)).unwrap();
    assert_eq!(judge(ED, &during, now), Ok(()), "it does not sign yet");
    let new = token(&site, &cookie, &issuer(&swapped)).unwrap();
    assert_eq!(judge(ED, &new, now), Err(Refusal::UnknownKey));
    for keys in [&both, &swapped] {
        assert_eq!((judge(keys, &old, now), judge(keys, &new, now)), (Ok(()), Ok(())));
    }
    // The old key goes when the last token under it is over.
    clock.go(Duration::from_secs(305));
    assert_eq!(judge(&swapped, &old, site.host().now()), Err(Refusal::Expired));
    assert_eq!(judge(NEW, &old, site.host().now()), Err(Refusal::UnknownKey));
}

#[test]
// spec: TOKEN-9 8191, TOKEN-8 d2bf
fn a_key_set_shows_public_keys_and_nothing_else() {
    let keys = SigningKeys::parse(ED).unwrap();
    let set: Value = serde_json::from_str(&keys.jwks()).unwrap();
    let [key] = &set["keys"].as_array().unwrap()[..] else { panic!("{set}") };
    let names: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x"]);
    assert_eq!(SigningKeys::parse(HS).unwrap().jwks(), r#"{"keys":[]}"#);
    let by_set = Verifier::new(ISSUER, "orders", VerifyingKeys::from_jwks(keys.jwks().as_bytes()).unwrap()).unwrap();
    let good = forge(header("EdDSA").as_bytes(), claims().to_string().as_bytes(), "EdDSA");
    assert!(by_set.verify(&good, START).is_ok());
}

#[test]
// spec: TOKEN-8 d2bf, TOKEN-9 8191
fn sets_that_are_no_keys_are_refused_by_position() {
    let x = "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs";
    let set = |members: &str| VerifyingKeys::from_jwks(format!(r#"{{"keys":[{members}]}}"#).as_bytes()).map(drop);
    let key = |more: &str| format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"{more}}}"#);
    let named = key(r#","kid":"a""#);
    assert_eq!(set(&named), Ok(()));
    assert_eq!(set(&format!(r#"{{"kty":"RSA","n":"AQAB","kid":"r"}},{named}"#)), Ok(()), "other kinds are passed over");
    assert_eq!(set(&key(r#","kid":"a","use":"enc""#)), Err(KeyError::Empty));
    assert_eq!(set(""), Err(KeyError::Empty));
    assert_eq!(set(&format!("{named},{named}")), Err(KeyError::Duplicate { position: 2 }));
    assert_eq!(set(&key("")), Err(KeyError::Malformed { position: 1 }));
    assert_eq!(set(&key(r#","kid":"a","d":"AAAA""#)), Err(KeyError::Private { position: 1 }));
    assert_eq!(set(&format!(r#"{named},{{"kty":"oct","k":"AAAA"}}"#)), Err(KeyError::Private { position: 2 }));
    let small_order = named.replace(x, "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    assert_eq!(set(&small_order), Err(KeyError::Weak { position: 1 }));
    assert_eq!(set(&named.replace(x, "AQ")), Err(KeyError::Length { position: 1 }));
    assert_eq!(VerifyingKeys::from_jwks(b"[]").map(drop), Err(KeyError::Form(Form::Malformed)));
    assert_eq!(VerifyingKeys::from_jwks(&[b' '; 70_000]).map(drop), Err(KeyError::Form(Form::TooLong)));

    let parse = |text: &str| SigningKeys::parse(text).map(drop);
    assert_eq!(parse(" , \n"), Err(KeyError::Empty));
    for malformed in ["a", "a:EdDSA", "a:none:AAAA", "a b:EdDSA:AAAA", ":EdDSA:AAAA", "a:EdDSA:A=", "a:RS256:AAAA"] {
        assert_eq!(parse(&format!("{ED},{malformed}")), Err(KeyError::Malformed { position: 2 }), "{malformed}");
    }
    assert_eq!(parse("a:EdDSA:AAAA"), Err(KeyError::Length { position: 1 }));
    assert_eq!(parse("a:HS256:AAAA"), Err(KeyError::Length { position: 1 }));
    assert_eq!(parse(&format!("{ED},{ED}")), Err(KeyError::Duplicate { position: 2 }));
    assert_eq!(parse(&format!("{ED},{HS}")), Err(KeyError::Mixed { position: 2 }));
}

#[test]
// spec: TOKEN-9 8191
fn nothing_secret_is_printed() {
    let (site, _) = site(Settings::default());
    let cookie = login(&site, "ada");
    let made = token(&site, &cookie, &issuer(ED)).unwrap();
    let keys = SigningKeys::parse(ED).unwrap();
    let printed = format!("{made:?} {keys:?} {:?} {:?} {:?}", issuer(ED), verifier(ED), keys.verifying());
    for secret in [made.as_str(), ED.rsplit(':').next().unwrap(), made.as_str().rsplit('.').next().unwrap()] {
        assert!(!printed.contains(secret), "{printed}");
    }
    assert!(printed.contains("ed-1"));
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    let keys = || SigningKeys::parse(ED).unwrap();
    assert_eq!(Issuer::new("", "orders", keys()).map(drop), Err(SettingsError::Name));
    assert_eq!(Verifier::new(ISSUER, &"a".repeat(257), keys().verifying()).map(drop), Err(SettingsError::Name));
    for lifetime in [Duration::ZERO, Duration::from_millis(999), Duration::from_secs(3601)] {
        assert_eq!(issuer(ED).with_lifetime(lifetime).map(drop), Err(SettingsError::Lifetime));
        assert_eq!(verifier(ED).with_lifetime(lifetime).map(drop), Err(SettingsError::Lifetime));
    }
    assert_eq!(verifier(ED).with_leeway(Duration::from_secs(61)).map(drop), Err(SettingsError::Leeway));
}

fn ended(handle: &str, at: u64) -> Announcement {
    let subject = Subject::Session(Handle::parse(handle).unwrap());
    Announcement { subject, at: Timestamp::from_unix_ms(at) }
}

fn barred(principal: &str, at: u64) -> Announcement {
    Announcement { subject: Subject::Principal(principal.to_owned()), at: Timestamp::from_unix_ms(at) }
}

const SID: &str = "AAECAwQFBgcICQoL";
const BOUND: Duration = Duration::from_secs(10);

fn fed(late: Late) -> (Arc<Revocations>, Verifier, Vec<u8>) {
    let plain = verifier(ED);
    let revocations = Arc::new(Revocations::new(plain.lifetime(), plain.leeway()));
    let good = forge(header("EdDSA").as_bytes(), claims().to_string().as_bytes(), "EdDSA");
    (Arc::clone(&revocations), plain.with_revocations(revocations, BOUND, late), good)
}

#[test]
// spec: TOKEN-12 c154
fn a_token_issued_before_an_ending_or_in_its_second_is_refused() {
    let ms = NOW * 1000;
    for (announcement, refused) in [
        (ended(SID, ms - 1), false),
        (ended(SID, ms), true),
        (ended(SID, ms + 999), true),
        (ended(SID, ms + 15_000), true),
        (ended("AAECAwQFBgcICQoM", ms + 15_000), false),
        (barred("ada", ms - 1), false),
        (barred("ada", ms + 5_000), true),
        (barred("ad", ms + 5_000), false),
    ] {
        let (revocations, verifier, good) = fed(Late::Refuse);
        revocations.learn([&announcement], Some(START), START);
        let judged = verifier.verify(&good, START);
        assert_eq!(
            judged.err(),
            refused.then_some(Refusal::Revoked),
            "{announcement:?} {}",
            announcement.at.as_unix_ms()
        );
    }
}

#[test]
// spec: TOKEN-12 c154, TOKEN-13 0b79
fn endings_are_taken_in_any_order_and_more_than_once_and_the_latest_counts() {
    let ms = NOW * 1000;
    let (revocations, verifier, good) = fed(Late::Refuse);
    let all = [ended(SID, ms + 1), ended(SID, ms - 9_000), barred("ada", ms - 9_000), ended(SID, ms + 1)];
    revocations.learn(&all, Some(START), START);
    revocations.learn(&all[1..3], Some(START), START);
    assert_eq!(revocations.len(), 1);
    assert_eq!(verifier.verify(&good, START).err(), Some(Refusal::Revoked));
}

#[test]
// spec: TOKEN-13 0b79
fn a_verifier_that_has_not_heard_for_longer_than_its_bound_says_so() {
    let (revocations, strict, good) = fed(Late::Refuse);
    let lax = fed(Late::Accept).1.with_revocations(Arc::clone(&revocations), BOUND, Late::Accept);
    let heard = |now: Timestamp| {
        (strict.verify(&good, now).map(|claims| claims.heard), lax.verify(&good, now).map(|claims| claims.heard))
    };
    assert_eq!(heard(START), (Err(Refusal::Stale), Ok(Heard::TooLongAgo)), "nothing was heard yet");
    revocations.learn([], None, START);
    assert_eq!(heard(START), (Err(Refusal::Stale), Ok(Heard::TooLongAgo)), "there is more to be fetched");
    revocations.learn([], Some(START), START);
    for (after, in_time) in [(0, true), (10_000, true), (10_001, false)] {
        let now = START.plus(Duration::from_millis(after));
        let expected =
            if in_time { (Ok(Heard::InTime), Ok(Heard::InTime)) } else { (Err(Refusal::Stale), Ok(Heard::TooLongAgo)) };
        assert_eq!(heard(now), expected, "{after}");
    }
    // A clock that was set back proves nothing.
    revocations.learn([], Some(START.plus(Duration::from_secs(60))), START);
    assert_eq!(heard(START), (Err(Refusal::Stale), Ok(Heard::TooLongAgo)));
}

#[test]
// spec: TOKEN-12 c154, TOKEN-13 0b79
fn what_was_heard_counts_however_long_ago() {
    let (revocations, lax, good) = fed(Late::Accept);
    revocations.learn([&ended(SID, NOW * 1000)], Some(START), START);
    let now = START.plus(Duration::from_secs(200));
    assert_eq!(lax.verify(&good, now).err(), Some(Refusal::Revoked));
}

#[test]
// spec: TOKEN-14 7844
fn an_ending_is_forgotten_when_no_token_of_it_is_left_and_no_sooner() {
    let (revocations, _, _) = fed(Late::Refuse);
    let all: Vec<_> = (0..5000_u64)
        .map(|n| {
            let mut bytes = [0; 12];
            bytes[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            Announcement { subject: Subject::Session(Handle::from_bytes(bytes)), at: START }
        })
        .chain([barred("ada", START.as_unix_ms())])
        .collect();
    revocations.learn(&all, Some(START), START);
    let learn_often = |after: u64| {
        let now = START.plus(Duration::from_secs(after));
        (0..64).for_each(|_| revocations.learn([], Some(now), now));
        revocations.len()
    };
    assert_eq!(learn_often(305), 5000);
    assert_eq!(learn_often(306), 0);
}

#[test]
fn a_verifier_out_of_reach_of_its_feed_is_told_apart_from_a_bad_token() {
    assert_eq!((Refusal::Stale.status(), Refusal::Revoked.status(), Refusal::Expired.status()), (503, 401, 401));
}
