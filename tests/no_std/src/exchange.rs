//! The exchanges: the loop that a driver would run, over a store with room for one record.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::convert::Infallible;

use coatroom_core::{
    Closing, Handle, KeyRing, Listed, Loaded, Opening, Policy, Rules, Session, Settings, Stamp, State, Swap, Timestamp,
    Value,
};
use rand_core::{TryCryptoRng, TryRng};

/// Where it went wrong: the exit status.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Step {
    /// Keys or policy were refused.
    Rules = 1,
    /// The exchange could not be opened.
    Open = 2,
    /// A value was refused.
    Set = 3,
    /// The store refused a swap.
    Swap = 4,
    /// The exchange could not be closed.
    Close = 5,
    /// No cookie came back where one was due, or one where none was.
    Cookie = 6,
    /// The session read back is not the one written.
    Read = 7,
}

const KEY: &str = "1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE";
const NOW: Timestamp = Timestamp::from_unix_ms(1_767_225_600_000);

/// The longest record that fits into the slot.
const ROOM: usize = 4096;

/// Writes a session, and reads it again with the cookie that the reply set.
pub(crate) fn write_and_read() -> Result<(), Step> {
    let keys = KeyRing::parse(KEY).map_err(|_| Step::Rules)?;
    let policy = Policy::try_from(Settings::default()).map_err(|_| Step::Rules)?;
    let rules = Rules::new(policy, keys);
    let mut store = Slot::default();
    let mut rng = Counter(0);

    let mut session = open(&rules, &store, b"")?;
    session.set("greeting", "hello").map_err(|_| Step::Set)?;
    session.add("visits", 41).map_err(|_| Step::Set)?;
    let cookie = close(session, &mut store, &mut rng)?.ok_or(Step::Cookie)?;

    let mut session = open(&rules, &store, cookie.as_bytes())?;
    let greeting = session.get("greeting");
    let visits = session.add("visits", 1).map_err(|_| Step::Read)?;
    let seen = (greeting, visits, session.state());
    if seen != (Some(Value::Text("hello".into())), 42, Some(State::Active)) {
        return Err(Step::Read);
    }
    match close(session, &mut store, &mut rng)? {
        None => Ok(()),
        Some(_) => Err(Step::Cookie),
    }
}

fn open(rules: &Arc<Rules>, store: &Slot, cookies: &[u8]) -> Result<Session, Step> {
    let mut opening = rules.open(cookies, NOW);
    loop {
        opening = match opening {
            Opening::Ready(session) => return Ok(session),
            Opening::Load(load) => {
                let found = store.load(load.handle());
                load.found(found)
            }
            Opening::Unavailable(_) | Opening::Take(_) | Opening::Wait(_) => return Err(Step::Open),
        }
    }
}

/// The `name=value` of the cookie that was set, if one was.
fn close(session: Session, store: &mut Slot, rng: &mut Counter) -> Result<Option<String>, Step> {
    let mut closing = session.close(NOW, rng);
    let reply = loop {
        closing = match closing {
            Closing::Done(reply) => break reply,
            Closing::Save(save) => {
                store.swap(save.swap())?;
                save.entered(Listed::default())
            }
            Closing::Enter(enter) => enter.entered(Listed::default()),
            Closing::Failed(_) | Closing::Wait(_) => return Err(Step::Close),
        }
    };
    Ok(reply.set_cookies().next().and_then(|line| line.split(';').next()).map(Into::into))
}

/// A store with room for one record.
#[derive(Default)]
struct Slot(Option<(Handle, Vec<u8>)>);

impl Slot {
    fn load(&self, handle: Handle) -> Loaded {
        match &self.0 {
            Some((held, record)) if *held == handle => Loaded::Found(record.clone()),
            _ => Loaded::Absent,
        }
    }

    fn swap(&mut self, swap: &Swap) -> Result<(), Step> {
        let stamp = match &self.0 {
            Some((held, _)) if *held != swap.handle => return Err(Step::Swap),
            Some((_, record)) => Stamp::of(record),
            None => None,
        };
        if stamp != swap.expected || swap.new.as_ref().is_some_and(|record| record.len() > ROOM) {
            return Err(Step::Swap);
        }
        self.0 = swap.new.clone().map(|record| (swap.handle, record));
        Ok(())
    }
}

/// Counts instead of drawing: the test is the same on every run.
struct Counter(u8);

impl TryRng for Counter {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for byte in bytes {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
        Ok(())
    }
}

impl TryCryptoRng for Counter {}
