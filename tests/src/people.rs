//! What every store owes principals and their devices, as stories over the driver. A store of one's own passes them by
//! calling [`stories`] with itself, and [`everything`] with one that holds nothing else.

mod races;

use std::future::{Future, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use coatroom_core::{
    Beyond, Client, Device, Entry, Error, Event, Failure, Handle, KeyRing, Limit, Policy, Reply, Reuse, Rules, Session,
    Settings, Timestamp,
};
use coatroom_store::{Driver, Host, Refused, Store, block_on};
use rand_core::TryCryptoRng;

use crate::browser::Browser;
use crate::rng::Fixed;
use crate::suite::KEYS;
use crate::world::START;
pub use races::{
    a_login_whose_answer_was_lost_takes_no_place, of_logins_that_race_as_many_stay_as_the_limit_allows,
    two_logins_beyond_a_limit_do_not_end_each_other,
};

const MINUTE: u64 = 60_000;

/// A clock that is set by hand, and runs besides where a store's own clock has a say. The randomness differs from desk to
/// desk, so that many share a store.
struct Clock {
    ms: AtomicU64,
    runs_since: Option<Instant>,
    drawn: AtomicU64,
}

impl Host for Clock {
    fn now(&self) -> Timestamp {
        let ran = self.runs_since.map_or(Duration::ZERO, |since| since.elapsed());
        Timestamp::from_unix_ms(START + self.ms.load(Ordering::SeqCst)).plus(ran)
    }

    fn ticks(&self) -> Duration {
        Duration::from_millis(self.ms.load(Ordering::SeqCst))
    }

    fn rng(&self) -> impl TryCryptoRng {
        Fixed::new(self.drawn.fetch_add(1, Ordering::SeqCst))
    }

    fn pause(&self, _: Duration) -> impl Future<Output = ()> + Send {
        self.ms.fetch_add(10, Ordering::SeqCst);
        ready(())
    }
}

/// A driver, its clock, and names that no other desk uses.
struct Desk<S> {
    driver: Driver<Arc<S>, Clock>,
    number: usize,
}

/// Desks so far: the names and random numbers of each are its own.
static DESKS: AtomicUsize = AtomicUsize::new(0);

impl<S: Store> Desk<S> {
    fn new(store: &Arc<S>, change: impl FnOnce(&mut Settings)) -> Self {
        Self::with_clock(store, change, None)
    }

    /// One whose clock runs.
    fn running(store: &Arc<S>) -> Self {
        Self::with_clock(store, |_| (), Some(Instant::now()))
    }

    fn with_clock(store: &Arc<S>, change: impl FnOnce(&mut Settings), runs_since: Option<Instant>) -> Self {
        let number = DESKS.fetch_add(1, Ordering::SeqCst);
        let mut settings = Settings::default();
        change(&mut settings);
        let rules = Rules::new(Policy::try_from(settings).unwrap(), KeyRing::parse(KEYS).unwrap());
        let drawn = AtomicU64::new((number as u64 + 1) << 32 ^ u64::from(std::process::id()) << 48);
        let driver = Driver::with_host(rules, Arc::clone(store), Clock { ms: AtomicU64::new(0), runs_since, drawn });
        Self { driver, number }
    }

    fn name(&self, name: &str) -> String {
        format!("{name} of {}.{}", std::process::id(), self.number)
    }

    fn wait(&self, ms: u64) {
        self.driver.host().ms.fetch_add(ms, Ordering::SeqCst);
    }

    fn open(&self, browser: &Browser) -> Session {
        block_on(self.driver.open(browser.header().as_bytes())).unwrap()
    }

    fn close(&self, session: Session, browser: &mut Browser) -> Result<Reply, Error> {
        let reply = block_on(self.driver.close(session)).map_err(error)?;
        reply.set_cookies().for_each(|line| browser.obey(line));
        Ok(reply)
    }

    fn login_with(&self, browser: &mut Browser, name: &str) -> Result<Handle, Error> {
        let mut session = self.open(browser);
        session.login(&self.name(name), &["member"], 1)?;
        Ok(self.close(session, browser)?.trace().handle.unwrap())
    }

    /// A new browser, logged in.
    fn login(&self, name: &str) -> (Browser, Handle) {
        let mut browser = Browser::default();
        let handle = self.login_with(&mut browser, name).unwrap();
        (browser, handle)
    }

    /// Who is logged in, by a request of its own.
    fn who(&self, browser: &mut Browser) -> Option<String> {
        let mut session = self.open(browser);
        let who = session.principal().map(|principal| principal.name().to_owned());
        self.close(session, browser).unwrap();
        who
    }

    fn is_in(&self, browser: &mut Browser) -> bool {
        self.who(browser).is_some()
    }

    fn devices(&self, name: &str) -> Vec<Device> {
        block_on(self.driver.devices(&self.name(name))).unwrap()
    }

    fn handles(&self, name: &str) -> Vec<Handle> {
        self.devices(name).iter().map(|device| device.handle).collect()
    }
}

fn error(Refused(Failure { error, .. }): Refused) -> Error {
    error
}

/// All stories that may share a store with other records.
pub fn stories<S: Store>(store: &Arc<S>) {
    a_list_of_devices_shows_the_live_logins_of_one_principal(store);
    one_session_is_revoked_by_its_owner_alone(store);
    all_others_or_all_are_revoked(store);
    a_login_under_way_does_not_survive_a_revocation_of_all(store);
    a_login_after_a_revocation_of_all_stands(store);
    a_login_right_after_its_own_revocation_stands(store);
    a_limit_refuses_and_makes_room_for_what_is_over(store);
    a_limit_evicts(store);
    of_logins_that_race_as_many_stay_as_the_limit_allows(store);
    a_principal_gets_another_name(store);
    reuse_revokes_all_where_the_policy_says_so(store);
    an_entry_outlives_an_anonymous_record(store);
    no_login_slips_through_a_revocation(store);
}

pub fn a_list_of_devices_shows_the_live_logins_of_one_principal<S: Store>(store: &Arc<S>) {
    let desk = Desk::new(store, |_| ());
    let (mut phone, first) = desk.login("ann");
    desk.wait(MINUTE);
    let mut laptop = Browser::default();
    let mut session = desk.open(&laptop);
    session.set_client(Client { label: "Firefox on Linux".into(), address: "192.0.2.7".into() }).unwrap();
    session.login(&desk.name("ann"), &[""; 0], 2).unwrap();
    let second = desk.close(session, &mut laptop).unwrap().trace().handle.unwrap();
    let (_ben, _) = desk.login("ben");
    let mut visitor = desk.open(&Browser::default());
    visitor.set("k", 1).unwrap();
    desk.close(visitor, &mut Browser::default()).unwrap();

    assert_eq!(desk.handles("ann"), [second, first], "the one used last comes first");
    desk.wait(2 * MINUTE);
    assert!(desk.is_in(&mut phone));
    let devices = desk.devices("ann");
    assert_eq!(desk.handles("ann"), [first, second]);
    assert_eq!((devices[1].client.label.as_str(), devices[1].level), ("Firefox on Linux", 2));
    assert_eq!(devices[1].created_at, Timestamp::from_unix_ms(START + MINUTE));
    assert_eq!(devices[0].seen_at, Timestamp::from_unix_ms(START + 3 * MINUTE));
    assert!(devices.iter().all(|device| device.principal == desk.name("ann")));

    let mut session = desk.open(&phone);
    session.logout();
    desk.close(session, &mut phone).unwrap();
    assert_eq!(desk.handles("ann"), [second], "who logged out is gone");
    desk.wait(30 * MINUTE);
    assert_eq!(desk.handles("ann"), [], "who is past a limit is gone");
    assert_eq!(desk.handles("nobody"), []);
}

pub fn one_session_is_revoked_by_its_owner_alone<S: Store>(store: &Arc<S>) {
    let desk = Desk::new(store, |_| ());
    let ((mut phone, first), (mut laptop, second)) = (desk.login("ann"), desk.login("ann"));
    let revoke = |name: &str, handle| block_on(desk.driver.revoke(&desk.name(name), handle)).map_err(error);
    assert_eq!(revoke("ben", first), Err(Error::NotTheirs));
    assert!(desk.is_in(&mut phone));
    assert_eq!(revoke("ann", first), Ok(true));
    assert!(!desk.is_in(&mut phone) && desk.is_in(&mut laptop));
    assert_eq!(revoke("ann", first), Ok(false), "it is over already");
    assert_eq!(desk.handles("ann"), [second]);

    let mut visitor = Browser::default();
    let mut session = desk.open(&visitor);
    session.set("k", 1).unwrap();
    let handle = desk.close(session, &mut visitor).unwrap().trace().handle.unwrap();
    assert_eq!(revoke("ann", handle), Err(Error::NotTheirs), "nobody's session is nobody's to revoke");

    // A write that is under way when its session is revoked is refused.
    let mut session = desk.open(&laptop);
    session.set("k", 1).unwrap();
    assert_eq!(revoke("ann", second), Ok(true));
    assert_eq!(desk.close(session, &mut laptop).err(), Some(Error::Ended));
}

pub fn all_others_or_all_are_revoked<S: Store>(store: &Arc<S>) {
    let desk = Desk::new(store, |_| ());
    let mut browsers: Vec<_> = (0..5).map(|_| desk.login("ann")).collect();
    let (mut ben, _) = desk.login("ben");
    let kept = browsers[2].1;
    let revoked = block_on(desk.driver.revoke_others(&desk.name("ann"), kept)).unwrap();
    assert_eq!(revoked.ended, 4);
    assert_eq!(desk.handles("ann"), [kept]);
    for (browser, handle) in &mut browsers {
        assert_eq!(desk.is_in(browser), *handle == kept);
    }
    assert_eq!(block_on(desk.driver.revoke_all(&desk.name("ann"))).unwrap().ended, 1);
    assert!(!desk.is_in(&mut browsers[2].0) && desk.is_in(&mut ben));
    assert_eq!(block_on(desk.driver.revoke_all(&desk.name("ann"))).unwrap().ended, 0);
}

pub fn a_login_under_way_does_not_survive_a_revocation_of_all<S: Store>(store: &Arc<S>) {
    let desk = Desk::running(store);
    for open_for in [0, 2 * MINUTE] {
        let mut browser = Browser::default();
        let mut session = desk.open(&browser);
        block_on(desk.driver.revoke_all(&desk.name("ann"))).unwrap();
        desk.wait(open_for);
        session.login(&desk.name("ann"), &[""; 0], 1).unwrap();
        assert_eq!(desk.close(session, &mut browser).map(drop), Err(Error::Revoked));
        assert_eq!(desk.handles("ann").len(), 0);
        assert!(!desk.is_in(&mut browser));
    }
}

/// A clock of milliseconds and a trip to the store leave some doubt about the next moment, and about no more than that.
pub fn a_login_after_a_revocation_of_all_stands<S: Store>(store: &Arc<S>) {
    let desk = Desk::running(store);
    for _ in 0..3 {
        block_on(desk.driver.revoke_all(&desk.name("ann"))).unwrap();
        let revoked_at = Instant::now();
        let mut browser = Browser::default();
        while let Err(error) = desk.login_with(&mut browser, "ann") {
            assert_eq!(error, Error::Revoked);
            assert!(revoked_at.elapsed() < Duration::from_secs(1), "refused for a second");
        }
        assert!(desk.is_in(&mut browser));
    }
}

pub fn a_login_right_after_its_own_revocation_stands<S: Store>(store: &Arc<S>) {
    let desk = Desk::running(store);
    let (mut phone, _) = desk.login("ann");
    let reset = |others_too: bool| {
        let mut browser = Browser::default();
        let mut session = desk.open(&browser);
        let revoked = block_on(desk.driver.revoke_all(&desk.name("ann"))).unwrap();
        session.revoked_all(revoked.moment);
        if others_too {
            block_on(desk.driver.revoke_all(&desk.name("ann"))).unwrap();
        }
        session.login(&desk.name("ann"), &[""; 0], 1).unwrap();
        desk.close(session, &mut browser).map(|_| browser)
    };
    let mut laptop = reset(false).unwrap();
    assert!(desk.is_in(&mut laptop) && !desk.is_in(&mut phone));
    assert_eq!(reset(true).err(), Some(Error::Revoked), "somebody else's revocation counts");
}

pub fn a_limit_refuses_and_makes_room_for_what_is_over<S: Store>(store: &Arc<S>) {
    let desk = Desk::new(store, |settings| settings.limit = Some(Limit { sessions: 2, beyond: Beyond::Refuse }));
    let (mut phone, _) = desk.login("ann");
    let (mut laptop, _) = desk.login("ann");
    let (_, _) = desk.login("ben");
    let mut third = Browser::default();
    assert_eq!(desk.login_with(&mut third, "ann").err(), Some(Error::LimitReached));
    assert_eq!((third.login.clone(), desk.handles("ann").len()), (None, 2));
    assert!(desk.login_with(&mut laptop, "ann").is_ok(), "a session that is listed logs in again");
    let mut session = desk.open(&phone);
    session.logout();
    desk.close(session, &mut phone).unwrap();
    desk.login_with(&mut third, "ann").unwrap();
    assert_eq!(desk.login_with(&mut phone, "ann").err(), Some(Error::LimitReached));
    // Two that nobody ended are past their limit by now.
    desk.wait(31 * MINUTE);
    assert!(desk.login_with(&mut phone, "ann").is_ok() && desk.login_with(&mut Browser::default(), "ann").is_ok());
    assert_eq!(desk.login_with(&mut Browser::default(), "ann").err(), Some(Error::LimitReached));
}

pub fn a_limit_evicts<S: Store>(store: &Arc<S>) {
    for beyond in [Beyond::EvictOldest, Beyond::EvictIdlest] {
        let desk = Desk::new(store, |settings| settings.limit = Some(Limit { sessions: 2, beyond }));
        let (mut first, oldest) = desk.login("ann");
        desk.wait(MINUTE);
        let (mut second, idlest) = desk.login("ann");
        desk.wait(MINUTE);
        assert!(desk.is_in(&mut first), "used last");
        desk.wait(MINUTE);
        let (mut third, newest) = desk.login("ann");
        let stays = if beyond == Beyond::EvictOldest { idlest } else { oldest };
        let mut listed = desk.handles("ann");
        listed.sort();
        let mut expected = [stays, newest];
        expected.sort();
        assert_eq!(listed, expected, "{beyond:?}");
        assert_eq!(desk.is_in(&mut first), beyond == Beyond::EvictIdlest);
        assert_eq!(desk.is_in(&mut second), beyond == Beyond::EvictOldest);
        assert!(desk.is_in(&mut third));
    }
}

pub fn a_principal_gets_another_name<S: Store>(store: &Arc<S>) {
    let desk = Desk::new(store, |_| ());
    let ((mut phone, first), (mut laptop, second)) = (desk.login("ann"), desk.login("ann"));
    let mut session = desk.open(&phone);
    session.set("k", 1).unwrap();
    assert_eq!(block_on(desk.driver.rename_principal(&desk.name("ann"), &desk.name("anna"))).unwrap(), 2);
    desk.close(session, &mut phone).unwrap();
    assert_eq!(desk.who(&mut phone), Some(desk.name("anna")));
    assert_eq!(desk.who(&mut laptop), Some(desk.name("anna")));
    assert_eq!(desk.open(&phone).get("k"), Some(1.into()), "a write under way is kept");
    assert!(desk.open(&phone).require_role("member").is_ok(), "roles stay");
    let mut listed = desk.handles("anna");
    listed.sort();
    let mut expected = [first, second];
    expected.sort();
    assert_eq!((listed, desk.handles("ann")), (expected.to_vec(), vec![]));
    assert_eq!(block_on(desk.driver.revoke_all(&desk.name("ann"))).unwrap().ended, 0);
    assert_eq!(block_on(desk.driver.revoke_all(&desk.name("anna"))).unwrap().ended, 2);
    assert!(!desk.is_in(&mut phone));
}

pub fn reuse_revokes_all_where_the_policy_says_so<S: Store>(store: &Arc<S>) {
    for reuse in [Reuse::Destroy, Reuse::RevokeAll] {
        let desk = Desk::new(store, |settings| settings.reuse = reuse);
        let ((mut phone, _), (mut laptop, _)) = (desk.login("ann"), desk.login("ann"));
        assert!(desk.is_in(&mut phone));
        desk.wait(16 * MINUTE);
        let copy = phone.clone();
        assert!(desk.is_in(&mut phone), "rotates");
        assert!(desk.is_in(&mut phone), "confirms");
        assert!(desk.is_in(&mut laptop));
        desk.wait(MINUTE);
        let mut session = desk.open(&copy);
        assert!(session.principal().is_none() && session.trace().events.iter().any(|e| matches!(e, Event::Reuse(_))));
        desk.close(session, &mut copy.clone()).unwrap();
        assert!(!desk.is_in(&mut phone));
        assert_eq!(desk.is_in(&mut laptop), reuse == Reuse::Destroy);
    }
}

/// A store that lost its newest writes may show a login as the visitor that it was, and one whose index is apart may show an
/// entry before its login. Either may log in yet.
pub fn an_entry_outlives_an_anonymous_record<S: Store>(store: &Arc<S>) {
    let desk = Desk::new(store, |_| ());
    let mut visitor = Browser::default();
    let mut session = desk.open(&visitor);
    session.set("k", 1).unwrap();
    let handle = desk.close(session, &mut visitor).unwrap().trace().handle.unwrap();
    let (now, principal) = (desk.driver.host().now(), desk.name("ann"));
    let entry = Entry { principal, handle, until: now.plus(Duration::from_hours(1)), now, at_most: None, names: 0 };
    block_on(store.enter(&entry)).unwrap();
    assert_eq!(desk.handles("ann"), [], "a visitor is nobody's device");
    assert_eq!(block_on(store.sessions(&entry.principal)).unwrap(), [handle]);
}

/// CLAIM-8 under races: logins on two threads, a revocation of all on a third. The clock stands still meanwhile, so every
/// login was opened before the revocation as far as clocks can tell: none works once all have returned.
pub fn no_login_slips_through_a_revocation<S: Store>(store: &Arc<S>) {
    let desk = Desk::running(store);
    let name = desk.name("ann");
    let (mut listed, mut barred) = (0, 0);
    for _ in 0..20 {
        let log_in = || {
            [(); 3].map(|()| {
                let (mut browser, opened_at) = (Browser::default(), Instant::now());
                let told = desk.login_with(&mut browser, "ann").map(drop);
                (browser, opened_at, told)
            })
        };
        let (workers, revoked_at) = thread::scope(|scope| {
            let workers = [scope.spawn(log_in), scope.spawn(log_in)];
            let revoked_at = Instant::now();
            block_on(desk.driver.revoke_all(&name)).unwrap();
            (workers.map(|worker| worker.join().unwrap()), revoked_at)
        });
        for (mut browser, opened_at, told) in workers.into_iter().flatten() {
            assert!(matches!(told, Ok(()) | Err(Error::Revoked)), "{told:?}");
            assert_eq!(told.is_ok(), browser.login.is_some());
            let is_in = desk.is_in(&mut browser);
            assert!(!is_in || opened_at > revoked_at, "it was opened before, and stands");
            listed += u32::from(told.is_ok() && !is_in);
            barred += u32::from(told.is_err());
        }
    }
    assert!(listed + barred > 0, "no login met a revocation");
    block_on(desk.driver.revoke_all(&name)).unwrap();
    assert_eq!(desk.handles("ann"), []);
}

/// Every login ends and every visitor stays, on a store that holds nothing else.
pub fn everything<S: Store>(store: &Arc<S>) {
    let desk = Desk::new(store, |_| ());
    let mut people: Vec<_> = (0..300).map(|number| desk.login(&format!("p{}", number % 7)).0).collect();
    let mut visitor = Browser::default();
    let mut session = desk.open(&visitor);
    session.set("k", 1).unwrap();
    desk.close(session, &mut visitor).unwrap();
    assert_eq!(block_on(desk.driver.revoke_everything()).unwrap(), 300);
    assert!(people.iter_mut().all(|browser| !desk.is_in(browser)));
    assert_eq!(desk.open(&visitor).get("k"), Some(1.into()));
    assert_eq!(block_on(desk.driver.revoke_everything()).unwrap(), 0);
}
