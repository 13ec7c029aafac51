//! The core alone: an exchange on record bytes that are at hand, with no store, no clock and no driver.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a bench may fail")]

use core::convert::Infallible;
use core::hint::black_box;

use coatroom_core::{Closing, KeyRing, Listed, Loaded, Opening, Place, Policy, Rules, Settings, Timestamp};
use criterion::{Criterion, criterion_group, criterion_main};
use rand_core::{TryCryptoRng, TryRng};

/// Always the same bytes: what is measured must not wait for the system.
struct Still;

impl TryRng for Still {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(4)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(4)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill(4);
        Ok(())
    }
}

impl TryCryptoRng for Still {}

fn exchange(c: &mut Criterion, name: &str, sealed: bool) {
    let keys = KeyRing::parse("1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE").unwrap();
    let rules = Rules::new(Policy::try_from(Settings { sealed, ..Settings::default() }).unwrap(), keys);
    let now = Timestamp::from_unix_ms(1_767_225_600_000);

    let Opening::Ready(mut session) = rules.open(b"", now) else { panic!("no cookie needs no load") };
    session.set("cart", "x".repeat(160)).unwrap();
    session.login("ada", &["admin"], 1).unwrap();
    let Closing::Save(save) = session.close(now, &mut Still) else { panic!("a login is written") };
    let record = save.swap().new.clone().unwrap();
    let Closing::Done(reply) = save.entered(Listed::default()) else { panic!("one swap is all") };
    let cookie = reply.set_cookies().next().unwrap().split(';').next().unwrap().to_owned();

    c.bench_function(&format!("{name}/open"), |b| {
        b.iter(|| {
            let Opening::Load(load) = rules.open(black_box(cookie.as_bytes()), now) else { panic!("an id") };
            load.found(Loaded::Found(record.clone()))
        });
    });
    c.bench_function(&format!("{name}/open and first swap"), |b| {
        b.iter(|| {
            let Opening::Load(load) = rules.open(black_box(cookie.as_bytes()), now) else { panic!("an id") };
            let Opening::Ready(session) = load.found(Loaded::Found(record.clone())) else { panic!("found") };
            session.close(now, &mut Still)
        });
    });
}

fn plain(c: &mut Criterion) {
    exchange(c, "core", false);
}

fn sealed(c: &mut Criterion) {
    exchange(c, "core, sealed", true);
}

/// A whole read of a session with 1 KB of data that lives in its cookie, as the driver sees it: nothing is loaded or saved.
fn cookie(c: &mut Criterion) {
    let keys = KeyRing::parse("1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE").unwrap();
    let rules = Rules::new(Policy::try_from(Settings { place: Place::Cookie, ..Settings::default() }).unwrap(), keys);
    let now = Timestamp::from_unix_ms(1_767_225_600_000);
    let header = |closing| {
        let Closing::Done(reply) = closing else { panic!("nobody is asked") };
        reply.set_cookies().next().unwrap().split(';').next().unwrap().to_owned()
    };
    let opened = |cookie: &str| {
        let Opening::Ready(session) = rules.open(black_box(cookie.as_bytes()), now) else { panic!("nobody is asked") };
        session
    };
    let mut session = opened("");
    session.set("views", 7).unwrap();
    session.set("name", "Ada Lovelace").unwrap();
    session.set("cart", "x".repeat(1024)).unwrap();
    session.login("ada", &["admin"], 1).unwrap();
    let cookie = header(session.close(now, &mut Still));
    let cookie = header(opened(&cookie).close(now, &mut Still));
    c.bench_function("cookie, 1 KB/read", |b| {
        b.iter(|| {
            let mut session = opened(&cookie);
            black_box(session.get_encoded("views"));
            black_box(session.get_encoded("name"));
            session.close(now, &mut Still)
        });
    });
    c.bench_function("cookie, 1 KB/write", |b| {
        b.iter(|| {
            let mut session = opened(&cookie);
            session.add("views", 1).unwrap();
            session.close(now, &mut Still)
        });
    });
}

criterion_group!(exchanges, plain, sealed, cookie);
criterion_main!(exchanges);
