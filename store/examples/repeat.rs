//! Repeats one kind of exchange over the memory store, for `scripts/instructions`, which counts what each one costs:
//!
//!     repeat read|write|anonymous now|async TIMES
#![expect(clippy::unwrap_used, reason = "a measurement may fail")]

use core::future::{Future, ready};
use core::hint::black_box;
use core::time::Duration;

use coatroom_core::{KeyRing, Policy, Reply, Rules, Session, Settings, Timestamp};
use coatroom_store::memory::Memory;
use coatroom_store::{Driver, Host, block_on};
use rand_core::TryCryptoRng;

const KEYS: &str = "1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE";

/// Time stands still, so that each exchange does the same.
struct Still;

impl Host for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(1_800_000_000_000)
    }

    fn ticks(&self) -> Duration {
        Duration::ZERO
    }

    fn rng(&self) -> impl TryCryptoRng {
        getrandom::SysRng
    }

    fn pause(&self, _: Duration) -> impl Future<Output = ()> + Send {
        ready(())
    }
}

struct Exchanges(Driver<Memory, Still>, bool);

impl Exchanges {
    fn run(&self, cookies: &str, handler: impl FnOnce(&mut Session)) -> Reply {
        let Self(driver, now) = self;
        let cookies = black_box(cookies.as_bytes());
        let opened = if *now { driver.open_now(cookies) } else { block_on(driver.open(cookies)) };
        let mut session = opened.unwrap();
        handler(&mut session);
        let closed = if *now { driver.close_now(session) } else { block_on(driver.close(session)) };
        black_box(closed.unwrap())
    }
}

fn main() {
    let [what, how, times] = std::env::args().skip(1).collect::<Vec<_>>().try_into().unwrap();
    let rules = Rules::new(Policy::try_from(Settings::default()).unwrap(), KeyRing::parse(KEYS).unwrap());
    let exchanges = Exchanges(Driver::with_host(rules, Memory::default(), Still), how == "now");
    let reply = exchanges.run("", |session| {
        session.add("views", 1).unwrap();
        session.login("ada", &["admin"], 1).unwrap();
    });
    let cookie = reply.set_cookies().find_map(|line| line.split(';').next()).unwrap().to_owned();
    exchanges.run(&cookie, |_| ());
    for _ in 0..times.parse().unwrap() {
        match what.as_str() {
            "read" => exchanges.run(&cookie, |session| assert!(session.get_encoded("views").is_some())),
            "write" => exchanges.run(&cookie, |session| assert!(session.add("views", 1).unwrap() > 1)),
            _ => exchanges.run("", |_| ()),
        };
    }
}
