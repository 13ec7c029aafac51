//! The feed of endings: announced before it happens, kept long enough, missed by nobody, and what a verifier makes of it.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use coatroom_core::{
    Announcement, Beyond, Handle, KeyRing, Limit, Listing, Loaded, Policy, Reuse, Rules, Settings, Subject, Swap,
    Timestamp,
};
use coatroom_store::file::Files;
use coatroom_store::memory::Memory;
use coatroom_store::sqlite::Sqlite;
use coatroom_store::{Cursor, Driver, Engine, Host, Increment, NotAnnounced, Store, Swapped, block_on};
use coatroom_tests::push;
use coatroom_tests::rng::Fixed;
use coatroom_tests::suite::feed::{forgets, holds, misses_none, said};
use coatroom_tests::tokens::{ED, NOW};
use coatroom_token::{Follower, Issuer, Late, Puller, Refusal, Revocations, SigningKeys, Token, Verifier};
use rand_core::TryCryptoRng;

const RING: &str = "1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE";
const START: Timestamp = Timestamp::from_unix_ms(NOW * 1000);
const ISSUER: &str = "https://shop.example";
const LIFETIME: Duration = Duration::from_mins(5);
const LEEWAY: Duration = Duration::from_secs(5);
const BOUND: Duration = Duration::from_secs(10);

#[derive(Clone, Default)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn go(&self, span: Duration) {
        self.0.fetch_add(span.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Host for Clock {
    fn now(&self) -> Timestamp {
        START.plus(self.ticks())
    }

    fn ticks(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn rng(&self) -> impl TryCryptoRng {
        static DRAWN: AtomicU64 = AtomicU64::new(0);
        Fixed::new(DRAWN.fetch_add(1, Ordering::SeqCst))
    }

    fn pause(&self, span: Duration) -> impl Future<Output = ()> + Send {
        self.go(span);
        std::future::ready(())
    }
}

/// Something a store was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Asked {
    Announced(Subject, Timestamp),
    Ended(Handle),
    Listed,
}

type Meanwhile = Box<dyn FnOnce(&Shop) + Send>;

/// A store in memory that remembers what it was asked for, can be slow, and can lose its feed.
#[derive(Default)]
struct Shop {
    engine: Memory,
    asked: Mutex<Vec<Asked>>,
    clock: Clock,
    cut: AtomicBool,
    has_no_feed: bool,
    swap_takes: Mutex<Duration>,
    /// Runs once, while the next ending is under way.
    meanwhile: Mutex<Option<Meanwhile>>,
}

impl Shop {
    fn ask(&self, what: Asked) {
        self.asked.lock().unwrap().push(what);
    }

    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }
}

impl Store for Shop {
    async fn load(&self, handle: Handle) -> Loaded {
        Engine::load(&self.engine, handle)
    }

    async fn swap(&self, swap: &Swap) -> Swapped {
        if let Listing::Leave(_) = swap.listing {
            self.clock.go(*self.swap_takes.lock().unwrap());
            let meanwhile = self.meanwhile.lock().unwrap().take();
            if let Some(meanwhile) = meanwhile {
                meanwhile(self);
            }
            self.ask(Asked::Ended(swap.handle));
        }
        Store::swap(&self.engine, swap).await
    }

    async fn enter(&self, entry: &coatroom_core::Entry) -> Result<coatroom_store::Entered, coatroom_store::NotListed> {
        Engine::enter(&self.engine, entry)
    }

    async fn sessions(&self, principal: &str) -> Result<Vec<Handle>, coatroom_store::Unavailable> {
        self.ask(Asked::Listed);
        Engine::sessions(&self.engine, principal)
    }

    async fn leave(&self, principal: &str, handle: Handle) -> Result<(), coatroom_store::Unavailable> {
        Engine::leave(&self.engine, principal, handle)
    }

    async fn bar(&self, principal: &str, now: Timestamp) -> Result<Timestamp, coatroom_store::Unavailable> {
        Engine::bar(&self.engine, principal, now)
    }

    async fn scan(
        &self,
        from: Option<Cursor>,
        max: usize,
    ) -> Result<(Vec<Handle>, Option<Cursor>), coatroom_store::Unavailable> {
        Engine::scan(&self.engine, from, max)
    }

    async fn sweep(&self, now: Timestamp, max: usize) -> Result<usize, coatroom_store::Unavailable> {
        Engine::sweep(&self.engine, now, max)
    }

    fn has_feed(&self) -> bool {
        !self.has_no_feed
    }

    async fn announce(&self, announcement: &Announcement, forget_at: Timestamp) -> Result<(), NotAnnounced> {
        if self.is_cut() {
            return Err(NotAnnounced::Unavailable);
        }
        self.ask(Asked::Announced(announcement.subject.clone(), announcement.at));
        Engine::announce(&self.engine, announcement, forget_at)
    }

    async fn announced(&self, since: Option<Cursor>, max: usize) -> Result<Increment, NotAnnounced> {
        if self.is_cut() { Err(NotAnnounced::Unavailable) } else { Engine::announced(&self.engine, since, max) }
    }
}

struct Site {
    driver: Driver<Arc<Shop>, Clock>,
    shop: Arc<Shop>,
    clock: Clock,
    issuer: Issuer,
    verifier: Verifier,
    puller: Puller<Arc<Shop>>,
}

fn site(settings: Settings) -> Site {
    let clock = Clock::default();
    let shop = Arc::new(Shop { clock: clock.clone(), ..Shop::default() });
    let rules = Rules::new(Policy::try_from(settings).unwrap(), KeyRing::parse(RING).unwrap());
    let driver = Driver::with_host(rules, Arc::clone(&shop), clock.clone()).announcing(LIFETIME, LEEWAY).unwrap();
    let revocations = Arc::new(Revocations::new(LIFETIME, LEEWAY));
    let keys = SigningKeys::parse(ED).unwrap();
    let verifier = Verifier::new(ISSUER, "orders", keys.verifying()).unwrap();
    let verifier = verifier.with_revocations(Arc::clone(&revocations), BOUND, Late::Refuse);
    let issuer = Issuer::new(ISSUER, "orders", keys).unwrap();
    let puller = Puller::new(Arc::clone(&shop), revocations);
    Site { driver, shop, clock, issuer, verifier, puller }
}

impl Site {
    fn open(&self, cookie: &str) -> coatroom_core::Session {
        block_on(self.driver.open(cookie.as_bytes())).unwrap()
    }

    /// Logs somebody in from a fresh browser: what it keeps, and the session.
    fn login(&self, principal: &str) -> (String, Handle) {
        let mut session = self.open("");
        session.login(principal, &["staff"], 1).unwrap();
        let reply = block_on(self.driver.close(session)).unwrap();
        let line = reply.set_cookies().find(|line| line.starts_with("__Host-id=")).unwrap();
        let cookie = line.split(';').next().unwrap().to_owned();
        let handle = self.open(&cookie).handle().unwrap();
        (cookie, handle)
    }

    fn token(&self, cookie: &str) -> Token {
        self.issuer.issue(&self.open(cookie), &mut Fixed::new(1)).unwrap()
    }

    fn judge(&self, token: &Token) -> Result<(), Refusal> {
        self.verifier.verify(token.as_str().as_bytes(), self.clock.now()).map(drop)
    }

    fn pull(&mut self) -> Result<usize, NotAnnounced> {
        block_on(self.puller.pull(self.clock.now()))
    }

    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.shop.asked.lock().unwrap())
    }

    fn logout(&self, cookie: &str) -> Result<(), coatroom_store::Refused> {
        let mut session = self.open(cookie);
        session.logout();
        block_on(self.driver.close(session)).map(drop)
    }
}

/// How it is called, under which settings it happens, and what makes it happen: the handle of the session that ends.
type Ending = (&'static str, Settings, fn(&Site) -> Handle);

/// Every way in which a session with a principal ends.
fn endings() -> Vec<Ending> {
    let limit = Limit { sessions: 1, beyond: Beyond::EvictOldest };
    vec![
        ("logout", Settings::default(), |site| {
            let (cookie, handle) = site.login("ada");
            site.asked();
            site.logout(&cookie).unwrap();
            handle
        }),
        ("revoked", Settings::default(), |site| {
            let (_, handle) = site.login("ada");
            site.asked();
            assert!(block_on(site.driver.revoke("ada", handle)).unwrap());
            handle
        }),
        ("all revoked", Settings::default(), |site| {
            let (_, handle) = site.login("ada");
            site.asked();
            assert_eq!(block_on(site.driver.revoke_all("ada")).unwrap().ended, 1);
            handle
        }),
        ("the others revoked", Settings::default(), |site| {
            let (_, handle) = site.login("ada");
            let (_, own) = site.login("ada");
            site.asked();
            assert_eq!(block_on(site.driver.revoke_others("ada", own)).unwrap().ended, 1);
            handle
        }),
        ("everything revoked", Settings::default(), |site| {
            let (_, handle) = site.login("ada");
            site.asked();
            assert_eq!(block_on(site.driver.revoke_everything()).unwrap(), 1);
            handle
        }),
        ("another logs in", Settings::default(), |site| {
            let (cookie, handle) = site.login("ada");
            site.asked();
            let mut session = site.open(&cookie);
            session.login("bob", &["staff"], 1).unwrap();
            block_on(site.driver.close(session)).unwrap();
            handle
        }),
        ("evicted", Settings { limit: Some(limit), ..Settings::default() }, |site| {
            let (_, handle) = site.login("ada");
            site.clock.go(Duration::from_secs(1));
            site.asked();
            site.login("ada");
            handle
        }),
        ("expired", Settings::default(), |site| {
            let (cookie, handle) = site.login("ada");
            site.clock.go(Duration::from_mins(31));
            site.asked();
            block_on(site.driver.close(site.open(&cookie))).unwrap();
            handle
        }),
        ("a copy is used", Settings { reuse: Reuse::Destroy, ..Settings::default() }, |site| {
            let (old, handle) = site.login("ada");
            block_on(site.driver.close(site.open(&old))).unwrap();
            site.clock.go(Duration::from_mins(2));
            let mut session = site.open(&old);
            session.rotate();
            let reply = block_on(site.driver.close(session)).unwrap();
            let line = reply.set_cookies().next().unwrap();
            let new = line.split(';').next().unwrap().to_owned();
            block_on(site.driver.close(site.open(&new))).unwrap();
            site.clock.go(Duration::from_mins(2));
            site.asked();
            block_on(site.driver.close(site.open(&old))).unwrap();
            handle
        }),
    ]
}

#[test]
// spec: FEED-1 8358, FEED-2 a941
fn whatever_ends_a_login_announces_it_first_and_by_a_later_date_than_any_token_has() {
    for (name, settings, end) in endings() {
        let site = site(settings);
        let handle = end(&site);
        let asked = site.asked();
        let ended = asked.iter().position(|what| *what == Asked::Ended(handle));
        let at = |what: &Asked| match what {
            Asked::Announced(Subject::Session(announced), at) if *announced == handle => Some(*at),
            _ => None,
        };
        let announced = asked.iter().position(|what| at(what).is_some());
        assert!(announced.is_some() && announced < ended, "{name}: {asked:?}");
        let reaches = asked.iter().filter_map(at).max().unwrap();
        assert!(reaches >= site.clock.now().plus(Duration::from_secs(5)), "{name}");
    }
}

#[test]
// spec: FEED-1 8358, TOKEN-12 c154, CLAIM-2 1248
fn once_a_verifier_has_pulled_it_refuses_the_tokens_of_whatever_ended() {
    for (name, settings, end) in endings() {
        let mut site = site(settings);
        let handle = end(&site);
        let (other, _) = site.login("eve");
        site.pull().unwrap();
        let kept = site.token(&other);
        assert_eq!(site.judge(&kept), Ok(()), "{name}: others are not concerned");
        // As if it had been issued right before the end, on a node whose clock is ahead by the skew.
        let revocations = Arc::new(Revocations::new(LIFETIME, LEEWAY));
        block_on(Puller::new(Arc::clone(&site.shop), Arc::clone(&revocations)).pull(site.clock.now())).unwrap();
        assert!(revocations.has_ended(handle, site.clock.now().plus(Duration::from_secs(5))), "{name}");
    }
}

#[test]
// spec: FEED-1 8358
fn what_cannot_be_announced_does_not_end_and_nobody_is_told_that_it_did() {
    let site = site(Settings::default());
    let (cookie, _) = site.login("ada");
    site.shop.cut.store(true, Ordering::SeqCst);
    site.asked();
    let refused = site.logout(&cookie).unwrap_err();
    assert_eq!(refused.0.error.status(), 503);
    assert_eq!(site.asked(), []);
    assert!(site.open(&cookie).is_live());
    site.shop.cut.store(false, Ordering::SeqCst);
    site.logout(&cookie).unwrap();
    assert!(!site.open(&cookie).is_live());
}

#[test]
// spec: FEED-1 8358
fn a_visitor_has_no_tokens_and_ends_unannounced() {
    let site = site(Settings::default());
    let mut session = site.open("");
    session.set("cart", 1).unwrap();
    let reply = block_on(site.driver.close(session)).unwrap();
    let cookie = reply.set_cookies().next().unwrap().split(';').next().unwrap().to_owned();
    site.logout(&cookie).unwrap();
    assert_eq!(site.asked(), []);
}

#[test]
// spec: FEED-2 a941
fn a_token_issued_while_a_slow_ending_is_under_way_is_refused() {
    for seconds in [1, 9, 11, 60] {
        let mut site = site(Settings::default());
        let (cookie, _) = site.login("ada");
        let issued = Arc::new(Mutex::new(None));
        let (late, keys) = (Arc::clone(&issued), SigningKeys::parse(ED).unwrap());
        let (rules, clock, kept) = (Arc::clone(site.driver.rules()), site.clock.clone(), cookie.clone());
        *site.shop.swap_takes.lock().unwrap() = Duration::from_secs(seconds);
        *site.shop.meanwhile.lock().unwrap() = Some(Box::new(move |shop| {
            // Another node, over the same records, right before the swap takes place.
            let opening = rules.open(kept.as_bytes(), clock.now());
            let coatroom_core::Opening::Load(load) = opening else { panic!("an id was presented") };
            let found = Engine::load(&shop.engine, load.handle());
            let coatroom_core::Opening::Ready(session) = load.found(found) else { panic!("it is found") };
            let issuer = Issuer::new(ISSUER, "orders", keys).unwrap();
            *late.lock().unwrap() = Some(issuer.issue(&session, &mut Fixed::new(1)).unwrap());
        }));
        site.logout(&cookie).unwrap();
        site.pull().unwrap();
        let token = issued.lock().unwrap().take().unwrap();
        assert_eq!(site.judge(&token), Err(Refusal::Revoked), "{seconds} s");
    }
}

#[test]
// spec: FEED-1 8358
fn a_crash_between_the_announcement_and_the_ending_costs_some_seconds_of_refused_tokens() {
    let mut site = site(Settings::default());
    let (cookie, handle) = site.login("ada");
    // What a driver says before it dies.
    let at = site.clock.now().plus(Duration::from_secs(15));
    let announcement = Announcement { subject: Subject::Session(handle), at };
    Engine::announce(&site.shop.engine, &announcement, at.plus(LIFETIME)).unwrap();
    site.pull().unwrap();
    let token = site.token(&cookie);
    assert_eq!(site.judge(&token), Err(Refusal::Revoked));
    site.clock.go(Duration::from_secs(16));
    site.pull().unwrap();
    let next = site.token(&cookie);
    assert_eq!(site.judge(&next), Ok(()));
}

#[test]
// spec: FEED-3 19a1
fn revoking_all_of_a_principal_is_announced_before_its_sessions_are_looked_up() {
    let site = site(Settings::default());
    site.login("ada");
    site.login("ada");
    site.asked();
    block_on(site.driver.revoke_all("ada")).unwrap();
    let asked = site.asked();
    let principal = |what: &Asked| matches!(what, Asked::Announced(Subject::Principal(name), _) if name == "ada");
    let (said, listed) = (asked.iter().position(principal), asked.iter().position(|what| *what == Asked::Listed));
    assert!(said.is_some() && said < listed, "{asked:?}");

    block_on(site.driver.revoke_others("ada", Handle::from_bytes([0; 12]))).unwrap();
    assert!(!site.asked().iter().any(principal), "the one that stays keeps its tokens");
}

#[test]
// spec: TOKEN-13 0b79
fn with_a_cut_connection_every_token_is_refused_after_the_bound_and_what_was_missed_is_made_up_for() {
    let mut site = site(Settings::default());
    let (ada, _) = site.login("ada");
    let (bob, _) = site.login("bob");
    site.pull().unwrap();
    let (of_ada, of_bob) = (site.token(&ada), site.token(&bob));
    assert_eq!((site.judge(&of_ada), site.judge(&of_bob)), (Ok(()), Ok(())));

    // The verifier alone is cut off: the shop goes on.
    site.logout(&ada).unwrap();
    site.shop.cut.store(true, Ordering::SeqCst);
    site.clock.go(BOUND);
    assert_eq!(site.pull(), Err(NotAnnounced::Unavailable));
    assert_eq!((site.judge(&of_ada), site.judge(&of_bob)), (Ok(()), Ok(())), "within the bound, as promised");
    site.clock.go(Duration::from_millis(1));
    assert_eq!((site.judge(&of_ada), site.judge(&of_bob)), (Err(Refusal::Stale), Err(Refusal::Stale)));

    site.shop.cut.store(false, Ordering::SeqCst);
    assert_eq!(site.pull(), Ok(1));
    assert_eq!((site.judge(&of_ada), site.judge(&of_bob)), (Err(Refusal::Revoked), Ok(())));
    assert_eq!(site.pull(), Ok(0), "increments, and never the whole");
}

#[test]
// spec: FEED-5 77d0
fn a_store_without_a_feed_is_refused_at_start() {
    let rules = Rules::new(Policy::try_from(Settings::default()).unwrap(), KeyRing::parse(RING).unwrap());
    let shop = Shop { has_no_feed: true, ..Shop::default() };
    let refused = Driver::with_host(rules, shop, Clock::default()).announcing(LIFETIME, LEEWAY).map(drop);
    assert_eq!(refused, Err(NotAnnounced::NoFeed));
}

#[test]
// spec: FEED-3 19a1, FEED-4 8e92
fn the_feed_in_memory_is_in_order_complete_and_kept() {
    let store = || Arc::new(Memory::default());
    holds(&store());
    misses_none(&store());
    forgets(&store());
}

/// Or a reader, such as another process, would step over what has it.
fn gives_no_number_again(one: &impl Store, other: &impl Store) {
    block_on(one.announce(&said(1), START)).unwrap();
    let next = block_on(other.announced(None, 10)).unwrap().next;
    block_on(one.sweep(START, 10)).unwrap();
    block_on(one.announce(&said(2), START.plus(LIFETIME))).unwrap();
    assert_eq!(block_on(other.announced(Some(next), 10)).unwrap().announcements, [said(2)]);
}

#[test]
// spec: FEED-3 19a1, FEED-4 8e92
fn the_feed_in_files_is_in_order_complete_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = |name: &str| Arc::new(Files::new(folder.path().join(name)).unwrap());
    holds(&store("a"));
    misses_none(&store("b"));
    forgets(&store("c"));
    // Another process's engine on the same folder goes on where this one is.
    assert_eq!(block_on(store("a").announced(None, 100)).unwrap().announcements.len(), 26);
    let (one, other) = (store("d"), store("d"));
    gives_no_number_again(&one, &other);
    block_on(one.sweep(START, 10)).unwrap();
    assert_eq!(block_on(other.announced(None, 10)).unwrap().announcements, [said(2)], "swept");
}

#[test]
// spec: FEED-3 19a1, FEED-4 8e92
fn the_feed_in_sqlite_is_in_order_complete_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = |name: &str| Arc::new(Sqlite::new(folder.path().join(name)).unwrap());
    holds(&store("a"));
    misses_none(&store("b"));
    forgets(&store("c"));
    // Another process's engine on the same file goes on where this one is.
    assert_eq!(block_on(store("a").announced(None, 100)).unwrap().announcements.len(), 26);
    gives_no_number_again(&store("d"), &store("d"));
}

#[test]
// spec: FEED-6 f2f5
fn within_one_process_a_logout_is_heard_of_at_once() {
    push::reaches(&Arc::<Memory>::default());
}

#[test]
// spec: FEED-6 f2f5
fn who_listens_no_longer_is_told_nothing() {
    let (shop, nudged) = (Memory::default(), Arc::<AtomicU64>::default());
    let counter = Arc::clone(&nudged);
    let listening = Engine::listen(&shop, Arc::new(move || _ = counter.fetch_add(1, Ordering::SeqCst)));
    assert!(push::announce(&shop, 1));
    drop(listening);
    assert!(push::announce(&shop, 2));
    assert_eq!((nudged.load(Ordering::SeqCst), Arc::strong_count(&nudged)), (2, 1), "as it began, and for the first");
}

#[test]
fn a_follower_that_was_told_to_end_ends_without_another_pull() {
    let follower = Follower::new(Duration::from_hours(1));
    let bell = follower.bell();
    // One that has not been heard yet leaves no room for another.
    bell.ring();
    bell.end();
    let mut pulls = 0;
    follower.run(|_| None, || pulls += 1);
    assert_eq!(pulls, 0);
}
