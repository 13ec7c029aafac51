//! A site whose store does as it is told, with a clock that stands still, and those who visit it.

use std::future::{Future, ready};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use coatroom_core::{
    Client, Error, Handle, KeyRing, Kind, Loaded, Policy, Reply, Rules, Session, Settings, Swap, Timestamp,
};
use coatroom_store::memory::Memory;
use coatroom_store::{Driver, Engine, Host, Refused, Store, Swapped, Wait, block_on};
use coatroom_tests::browser::{Browser, Id};
use coatroom_tests::rng::Fixed;
use coatroom_tests::suite::KEYS;
use coatroom_tests::world::START;
use rand_core::TryCryptoRng;

use crate::listener::Heard;

/// What the store does with a swap.
#[derive(Clone, Copy)]
pub enum Act {
    Obey,
    /// Does it, and does not say so.
    DoUnheard,
    /// Neither does it nor says so.
    Lose,
    /// Is out of reach.
    Refuse,
}

/// Records in memory behind a line that fails.
pub struct Line {
    memory: Memory,
    acts: Mutex<(Vec<Act>, Act)>,
    loads_fail: AtomicBool,
    damaged: Mutex<Option<Handle>>,
}

impl Line {
    /// What to do with the next swaps, and with all that follow.
    pub fn act(&self, acts: &[Act], then: Act) {
        *self.acts.lock().unwrap() = (acts.to_vec(), then);
    }

    pub fn loads_fail(&self, fail: bool) {
        self.loads_fail.store(fail, Ordering::SeqCst);
    }

    /// The record under this handle is cut short.
    pub fn damage(&self, handle: Handle) {
        *self.damaged.lock().unwrap() = Some(handle);
    }
}

impl Store for Line {
    coatroom_tests::index_of!(self => &self.memory);

    async fn load(&self, handle: Handle) -> Loaded {
        if self.loads_fail.load(Ordering::SeqCst) {
            return Loaded::Unavailable;
        }
        match Engine::load(&self.memory, handle) {
            Loaded::Found(mut record) if *self.damaged.lock().unwrap() == Some(handle) => {
                record.pop();
                Loaded::Found(record)
            }
            loaded => loaded,
        }
    }

    async fn swap(&self, swap: &Swap) -> Swapped {
        let act = {
            let (acts, then) = &mut *self.acts.lock().unwrap();
            if acts.is_empty() { *then } else { acts.remove(0) }
        };
        let obey = || Engine::swap(&self.memory, swap, Wait::Patiently).unwrap();
        match act {
            Act::Obey => obey(),
            Act::DoUnheard => {
                obey();
                Swapped::Unknown
            }
            Act::Lose => Swapped::Unknown,
            Act::Refuse => Swapped::Unavailable,
        }
    }
}

/// Time passes in pauses alone, ten milliseconds at least.
pub struct Still {
    ms: AtomicU64,
    seed: AtomicU64,
}

impl Still {
    fn new(seed: u64) -> Self {
        Self { ms: AtomicU64::new(0), seed: AtomicU64::new(seed) }
    }
}

impl Host for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(START + self.ms.load(Ordering::SeqCst))
    }

    fn ticks(&self) -> Duration {
        Duration::from_millis(self.ms.load(Ordering::SeqCst))
    }

    fn rng(&self) -> impl TryCryptoRng {
        Fixed::new(self.seed.fetch_add(1, Ordering::SeqCst))
    }

    fn pause(&self, span: Duration) -> impl Future<Output = ()> + Send {
        let ms = u64::try_from(span.as_millis()).unwrap().max(10);
        self.ms.fetch_add(ms, Ordering::SeqCst);
        ready(())
    }
}

pub struct Site {
    far: Driver<Line, Still>,
    /// The same without a line in between.
    pub near: Driver<Memory, Still>,
}

/// What nobody is to be told.
pub const PRIVATE: [&str; 3] = ["a browser of somebody's", "192.0.2.7", "a role"];

/// Logs in from a client with a label and an address.
pub fn login(session: &mut Session, name: &str) {
    let [label, address, role] = PRIVATE;
    session.login(name, &[role], 1).unwrap();
    session.set_client(Client { label: label.to_owned(), address: address.to_owned() }).unwrap();
}

pub fn error(result: Result<Reply, Refused>) -> Option<Error> {
    result.err().map(|Refused(failure)| failure.error)
}

/// The texts that would give away the id that a browser holds.
pub fn forms_of(browser: &Browser) -> Vec<String> {
    let header = browser.header();
    let mut forms = Vec::new();
    for (kind, text) in [(Kind::Login, &browser.login), (Kind::Visitor, &browser.visitor)] {
        let Some((text, id)) = text.as_ref().zip(Id::in_header(&header, kind)) else { continue };
        let hex: String = id.secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let list: Vec<_> = id.secret.iter().take(4).map(u8::to_string).collect();
        // The handle at the beginning is public.
        forms.extend([text[25..66].to_owned(), text.clone(), hex.to_uppercase(), hex, list.join(", ")]);
    }
    forms
}

impl Site {
    pub fn new(heard: &Heard) -> Self {
        Self::with(heard, |_| ())
    }

    /// One that is listened to: its metrics are described to whoever listens when it is made.
    pub fn with(_: &Heard, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        change(&mut settings);
        let rules = Rules::new(Policy::try_from(settings).unwrap(), KeyRing::parse(KEYS).unwrap());
        let line = Line {
            memory: Memory::default(),
            acts: Mutex::new((Vec::new(), Act::Obey)),
            loads_fail: AtomicBool::new(false),
            damaged: Mutex::new(None),
        };
        let near = Driver::with_host(rules.clone(), Memory::default(), Still::new(1 << 32));
        Self { far: Driver::with_host(rules, line, Still::new(1)), near }
    }

    pub const fn store(&self) -> &Line {
        self.far.store()
    }

    pub fn wait(&self, ms: u64) {
        self.far.host().ms.fetch_add(ms, Ordering::SeqCst);
    }

    pub fn open(&self, browser: &Browser) -> Session {
        block_on(self.far.open(browser.header().as_bytes())).unwrap()
    }

    pub fn open_serial(&self, browser: &Browser) -> Result<Session, Error> {
        block_on(self.far.open_serial(browser.header().as_bytes())).map_err(|Refused(failure)| failure.error)
    }

    /// A request with this Cookie header.
    pub fn open_with(&self, header: &str) -> Option<Error> {
        match block_on(self.far.open(header.as_bytes())) {
            Ok(session) => error(block_on(self.far.close(session))),
            Err(Refused(failure)) => Some(failure.error),
        }
    }

    pub fn close(&self, mut session: Session, handler: impl FnOnce(&mut Session)) -> Result<Reply, Refused> {
        handler(&mut session);
        block_on(self.far.close(session))
    }

    /// A whole exchange whose answer gets lost.
    pub fn exchange(&self, browser: &Browser, handler: impl FnOnce(&mut Session)) -> Result<Reply, Refused> {
        self.close(self.open(browser), handler)
    }

    /// A whole exchange.
    pub fn run(&self, browser: &mut Browser, handler: impl FnOnce(&mut Session)) -> Result<Reply, Refused> {
        let reply = self.exchange(browser, handler)?;
        reply.set_cookies().for_each(|line| browser.obey(line));
        Ok(reply)
    }

    /// A new browser, logged in.
    pub fn login(&self, name: &str) -> (Browser, Handle) {
        let mut browser = Browser::default();
        let reply = self.run(&mut browser, |session| login(session, name)).unwrap();
        (browser, reply.trace().handle.unwrap())
    }

    pub fn rename(&self, from: &str, to: &str) -> usize {
        block_on(self.far.rename_principal(from, to)).unwrap()
    }

    pub fn revoke_all(&self, principal: &str) -> usize {
        block_on(self.far.revoke_all(principal)).unwrap().ended
    }
}
