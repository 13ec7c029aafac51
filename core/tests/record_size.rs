//! How many bytes a record takes beyond what the application puts into it: `spec/decisions/0004-record-layout.md`.

use core::convert::Infallible;
use core::error::Error;
use core::time::Duration;
use std::sync::Arc;

use coatroom_core::{Closing, KeyRing, Listed, Loaded, Opening, Policy, Rotation, Rules, Session, Settings, Timestamp};
use rand_core::{TryCryptoRng, TryRng};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The part of fixed size, without a previous id.
const FRONT: usize = 119;
/// A previous id whose successor the client has not shown yet: digest and nonce.
const PENDING: usize = 48;
/// A previous id in its grace: digest and the end of the grace.
const GRACE: usize = 38;
/// When and why a session ended.
const END: usize = 7;
/// "No principal" is one byte.
const NOBODY: usize = 1;
/// Presence, length, level, time and number of roles, and the five letters of "alice".
const ALICE: usize = 1 + 2 + 1 + 6 + 2 + 5;
/// The lengths of an absent label and an absent address.
const NO_CLIENT: usize = 4;
/// The CBOR map of one key with one character and the number 1.
const ONE_KEY: usize = 1 + 2 + 1;
const EMPTY_MAP: usize = 1;

#[test]
// spec: REC-6 3547, ROT-1 5391
fn an_anonymous_session_never_has_more_than_the_front() -> Outcome<()> {
    let mut world = World::new()?;
    world.exchange(|session| session.set("k", 1_i64).unwrap())?;
    assert_eq!(world.size(), FRONT + NOBODY + NO_CLIENT + ONE_KEY);
    world.exchange(|_| ())?;
    world.pass(Duration::from_mins(20));
    world.exchange(|session| assert_eq!(session.rotate(), Rotation::Postponed))?;
    assert_eq!(world.size(), FRONT + NOBODY + NO_CLIENT + ONE_KEY);
    Ok(())
}

#[test]
// spec: REC-6 3547, REC-8 1a1b
fn a_login_pays_for_a_previous_id_only_after_a_rotation() -> Outcome<()> {
    let logged_in = FRONT + ALICE + NO_CLIENT + ONE_KEY;
    let mut world = World::new()?;
    world.exchange(|session| {
        session.set("k", 1_i64).unwrap();
        session.login::<&str>("alice", &[], 1).unwrap();
    })?;
    assert_eq!(world.size(), logged_in);
    world.exchange(|_| ())?;
    world.pass(Duration::from_mins(2));
    world.exchange(|session| assert_eq!(session.rotate(), Rotation::Rotated))?;
    assert_eq!(world.size(), logged_in + PENDING);
    world.exchange(|_| ())?;
    assert_eq!(world.size(), logged_in + GRACE);
    world.exchange(Session::logout)?;
    assert_eq!(world.size(), FRONT + END + ALICE + NO_CLIENT + EMPTY_MAP);
    Ok(())
}

/// One client, one record.
struct World {
    rules: Arc<Rules>,
    now: Timestamp,
    cookie: String,
    record: Option<Vec<u8>>,
    rng: Counter,
}

impl World {
    fn new() -> Outcome<Self> {
        let keys = KeyRing::parse("1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE")?;
        let rules = Rules::new(Policy::try_from(Settings::default())?, keys);
        let now = Timestamp::from_unix_ms(1_767_225_600_000);
        Ok(Self { rules, now, cookie: String::new(), record: None, rng: Counter(0) })
    }

    fn pass(&mut self, span: Duration) {
        self.now = self.now.plus(span);
    }

    fn exchange(&mut self, handler: impl FnOnce(&mut Session)) -> Outcome<()> {
        let mut opening = self.rules.open(self.cookie.as_bytes(), self.now);
        let mut session = loop {
            opening = match opening {
                Opening::Ready(session) => break session,
                Opening::Load(load) => load.found(self.record.clone().map_or(Loaded::Absent, Loaded::Found)),
                Opening::Unavailable(failure) => return Err(failure.error.into()),
                Opening::Take(_) | Opening::Wait(_) => return Err("it takes no turn".into()),
            }
        };
        handler(&mut session);
        let mut closing = session.close(self.now, &mut self.rng);
        let reply = loop {
            closing = match closing {
                Closing::Done(reply) => break reply,
                Closing::Save(save) => {
                    self.record.clone_from(&save.swap().new);
                    save.entered(Listed::default())
                }
                Closing::Enter(enter) => enter.entered(Listed::default()),
                Closing::Failed(failure) => return Err(failure.error.into()),
                Closing::Wait(_) => return Err("nobody has a turn".into()),
            }
        };
        if let Some(line) = reply.set_cookies().next() {
            line.split(';').next().unwrap_or_default().clone_into(&mut self.cookie);
        }
        Ok(())
    }

    fn size(&self) -> usize {
        self.record.as_ref().map_or(0, Vec::len)
    }
}

/// Counts instead of drawing.
struct Counter(u8);

impl TryRng for Counter {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(4)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(4)
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
