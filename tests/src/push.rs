//! Verifiers that hear of endings at once. All of them pull once an hour, so whatever they know they were nudged for.

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use coatroom_core::{Announcement, Handle, Session, Subject, Timestamp};
use coatroom_store::{Driver, Host, Store, System, block_on};
use coatroom_token::{Bell, Follower, Issuer, Late, Puller, Refusal, Revocations, SigningKeys, Token, Verifier};

use crate::rng::Fixed;
use crate::suite::{rules, until};
use crate::tokens::{AUDIENCE, ED, ISSUER};

const HOUR: Duration = Duration::from_hours(1);
const LIFETIME: Duration = Duration::from_mins(5);
const LEEWAY: Duration = Duration::from_secs(5);
/// What a busy machine may take. A pull that was not pushed comes later by far.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is kept between two pulls.
const BREATH: Duration = Duration::from_millis(50);

/// A thread that pulls when it is nudged.
pub struct Listener {
    revocations: Arc<Revocations>,
    pulls: Arc<AtomicUsize>,
    bell: Bell,
    thread: JoinHandle<()>,
}

impl Listener {
    pub fn over<S: Store + 'static>(store: &Arc<S>) -> Self {
        let revocations = Arc::new(Revocations::new(LIFETIME, LEEWAY));
        let pulls = Arc::<AtomicUsize>::default();
        let mut puller = Puller::new(Arc::clone(store), Arc::clone(&revocations));
        let follower = Follower::new(HOUR);
        let (bell, store) = (follower.bell(), Arc::clone(store));
        let counted = Arc::clone(&pulls);
        let thread = thread::spawn(move || {
            let listen = |nudge| store.listen(nudge);
            follower.run(listen, || {
                counted.fetch_add(1, Ordering::SeqCst);
                let _heard = block_on(puller.pull(now()));
            });
        });
        Self { revocations, pulls, bell, thread }
    }

    /// How often it has pulled.
    pub fn pulls(&self) -> usize {
        self.pulls.load(Ordering::SeqCst)
    }

    /// Waits until it has pulled more often than that.
    pub fn pulls_again(&self, before: usize) {
        until("a verifier pulls", PATIENCE, || self.pulls() > before);
    }

    /// Waits until it knows of an ending.
    pub fn hears(&self, number: u64) {
        until("an ending is heard of", PATIENCE, || self.revocations.has_ended(handle(number), now()));
    }

    /// Ends it, and waits for that.
    pub fn end(self) {
        self.bell.end();
        self.thread.join().expect("a thread that ends");
    }

    fn verifier(&self) -> Verifier {
        let keys = SigningKeys::parse(ED).expect("a key").verifying();
        let verifier = Verifier::new(ISSUER, AUDIENCE, keys).expect("names");
        verifier.with_revocations(Arc::clone(&self.revocations), 2 * HOUR, Late::Refuse)
    }
}

fn now() -> Timestamp {
    System::default().now()
}

fn handle(number: u64) -> Handle {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    Handle::from_bytes(bytes)
}

/// Announces an ending. Says whether it was.
pub fn announce<S: Store>(store: &S, number: u64) -> bool {
    let at = now().plus(Duration::from_secs(10));
    let announcement = Announcement { subject: Subject::Session(handle(number)), at };
    block_on(store.announce(&announcement, at.plus(HOUR))).is_ok()
}

/// A logout is known to a verifier long before it would have asked.
pub fn reaches<S: Store + 'static>(store: &Arc<S>) {
    let listener = Listener::over(store);
    let driver = Driver::new(rules(), Arc::clone(store)).announcing(LIFETIME, LEEWAY).expect("a feed");
    let open = |cookie: &str| -> Session { block_on(driver.open(cookie.as_bytes())).expect("a session") };
    let mut session = open("");
    session.login("ada", &["staff"], 1).expect("a login");
    let reply = block_on(driver.close(session)).expect("a login");
    let line = reply.set_cookies().find(|line| line.starts_with("__Host-id=")).expect("a cookie");
    let cookie = line.split(';').next().expect("a value").to_owned();
    let keys = SigningKeys::parse(ED).expect("a key");
    let issuer = Issuer::new(ISSUER, AUDIENCE, keys).expect("names");
    let token: Token = issuer.issue(&open(&cookie), &mut Fixed::new(1)).expect("a token");
    let verifier = listener.verifier();
    let judged = || verifier.verify(token.as_str().as_bytes(), now()).map(drop);
    until("a verifier has begun to listen", PATIENCE, || judged().is_ok());
    let mut session = open(&cookie);
    session.logout();
    block_on(driver.close(session)).expect("a logout");
    until("the token is refused", PATIENCE, || judged() == Err(Refusal::Revoked));
    listener.end();
}

/// A thousand nudges make few pulls, and the last one counts.
pub fn storm<S: Store + 'static>(store: &Arc<S>, nudge: impl Fn()) {
    let listener = Listener::over(store);
    announce(store, 999);
    listener.hears(999);
    let (begun, before) = (Instant::now(), listener.pulls());
    (0..1000).for_each(|_| nudge());
    assert!(announce(store, 1000));
    listener.hears(1000);
    let most = begun.elapsed().as_millis() / BREATH.as_millis() + 2;
    let pulls = listener.pulls() - before;
    assert!(pulls as u128 <= most, "{pulls} pulls, and at most {most} were due");
    listener.end();
}
