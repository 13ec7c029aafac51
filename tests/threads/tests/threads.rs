//! Several threads run whole exchanges on one session: the shipped `Memory`, the shipped driver, the shipped core, on locks
//! and atomics whose every step a scheduler decides. What is claimed is read from the outside: replies, ids and the bytes
//! of the record.
//!
//! Where the schedules are few they are all tried; where not, 60,000 are drawn at random and by priorities (PCT). A failing
//! schedule is printed; `shuttle::replay` runs it again.

use core::future::{Future, ready};
use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use coatroom_core::{Entry, Error, Handle, KeyRing, Loaded, Policy, Rules, Settings, Swap, Timestamp, Value};
use coatroom_tests::browser::{Browser, Id};
use coatroom_tests::ops::{mark, share, times};
use coatroom_tests::record::{Front, data};
use coatroom_tests::rng::Fixed;
use coatroom_tests::world::{RING, START};
use coatroom_threads::memory::Memory;
use coatroom_threads::{Cursor, Driver, Engine, Entered, Host, NotListed, Swapped, Unavailable, Wait};
use rand_core::TryCryptoRng;
use shuttle::thread;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Op {
    Read,
    Add,
    Set,
    Login,
    Logout,
    Rotate,
}

const OPS: [Op; 6] = [Op::Read, Op::Add, Op::Set, Op::Login, Op::Logout, Op::Rotate];

/// What came of one exchange.
struct Done {
    number: usize,
    op: Op,
    result: Result<Answer, Error>,
}

struct Answer {
    handle: Option<Handle>,
    jar: Browser,
    principal: Option<String>,
}

/// A clock that the test moves, randomness that is the same in each schedule, and no pauses but for other threads.
#[derive(Default)]
struct Still {
    now: AtomicU64,
    drawn: AtomicU64,
}

impl Host for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(START + self.now.load(Ordering::Relaxed))
    }

    fn ticks(&self) -> Duration {
        Duration::ZERO
    }

    fn rng(&self) -> impl TryCryptoRng {
        Fixed::new(self.drawn.fetch_add(1, Ordering::Relaxed))
    }

    fn pause(&self, _: Duration) -> impl Future<Output = ()> + Send {
        thread::yield_now();
        ready(())
    }
}

/// The planted race: what must be one step under one lock is a look and then a write.
#[derive(Default)]
struct Torn(Memory);

impl Engine for Torn {
    fn load(&self, handle: Handle) -> Loaded {
        Engine::load(&self.0, handle)
    }

    fn swap(&self, swap: &Swap, wait: Wait) -> Option<Swapped> {
        let stamp = |loaded| match loaded {
            Loaded::Found(record) => coatroom_core::Stamp::of(&record),
            _ => None,
        };
        if stamp(self.load(swap.handle)) != swap.expected {
            return self.0.swap(swap, wait);
        }
        let expected = stamp(self.load(swap.handle));
        self.0.swap(&Swap { expected, ..swap.clone() }, wait)
    }

    fn enter(&self, entry: &Entry) -> Result<Entered, NotListed> {
        self.0.enter(entry)
    }

    fn sessions(&self, principal: &str) -> Result<Vec<Handle>, Unavailable> {
        self.0.sessions(principal)
    }

    fn leave(&self, principal: &str, handle: Handle) -> Result<(), Unavailable> {
        self.0.leave(principal, handle)
    }

    fn bar(&self, principal: &str, now: Timestamp) -> Result<Timestamp, Unavailable> {
        self.0.bar(principal, now)
    }

    fn scan(&self, from: Option<Cursor>, max: usize) -> Result<(Vec<Handle>, Option<Cursor>), Unavailable> {
        self.0.scan(from, max)
    }

    fn sweep(&self, now: Timestamp, max: usize) -> Result<usize, Unavailable> {
        self.0.sweep(now, max)
    }
}

fn exchange<E: Engine>(driver: &Driver<E, Still>, jar: &Browser, number: usize, op: Op) -> Done {
    let result = (|| {
        let mut session = driver.open_now(jar.header().as_bytes())?;
        match op {
            Op::Read => drop(session.get("a")),
            Op::Add => drop(session.add("n", share(number)).unwrap()),
            Op::Set => session.set("a", mark(number)).unwrap(),
            Op::Login => session.login("alice", &["user"], 1).unwrap(),
            Op::Logout => session.logout(),
            Op::Rotate => drop(session.rotate()),
        }
        let principal = session.principal().map(|who| who.name().to_owned());
        let reply = driver.close_now(session)?;
        let mut jar = jar.clone();
        reply.set_cookies().for_each(|line| jar.obey(line));
        Ok(Answer { handle: reply.trace().handle, jar, principal })
    })();
    Done { number, op, result: result.map_err(|refused: coatroom_threads::Refused| refused.0.error) }
}

/// One schedule: a login, its confirmation, a rest, then the threads, then the claims.
fn run<E: Engine + Default + 'static>(threads: &[Vec<Op>]) {
    let settings = Settings { tombstone: Duration::ZERO, ..Settings::default() };
    let rules = Rules::new(Policy::try_from(settings).unwrap(), KeyRing::parse(RING).unwrap());
    let driver = Arc::new(Driver::with_host(rules, E::default(), Still::default()));
    let login = exchange(&driver, &Browser::default(), 0, Op::Login).result.unwrap();
    exchange(&driver, &login.jar, 0, Op::Read).result.unwrap();
    // Long enough for a rotation to be allowed, and none falls due by itself.
    driver.host().now.store(100_000, Ordering::Relaxed);

    let mut numbers = 0..;
    let mut work = threads.iter().map(|ops| {
        let numbered: Vec<_> = numbers.by_ref().zip(ops.iter().copied()).collect();
        let (driver, mut jar) = (Arc::clone(&driver), login.jar.clone());
        move || {
            let mut done = Vec::new();
            for (number, op) in numbered {
                let one = exchange(&driver, &jar, number, op);
                if let Ok(answer) = &one.result {
                    jar = answer.jar.clone();
                }
                done.push(one);
            }
            done
        }
    });
    // The first works on this thread: one thread fewer to start leaves far fewer schedules.
    let here = work.next();
    let others: Vec<_> = work.map(thread::spawn).collect();
    let mut done = here.map_or_else(Vec::new, |work| work());
    done.extend(others.into_iter().flat_map(|thread| thread.join().unwrap()));
    claims(&driver, &login, &done);
}

fn claims<E: Engine>(driver: &Driver<E, Still>, login: &Answer, done: &[Done]) {
    let handle = login.handle.unwrap();
    let record = match Engine::load(driver.store(), handle) {
        Loaded::Found(record) => Some(record),
        Loaded::Absent => None,
        Loaded::Unavailable => panic!("memory is always there"),
    };
    let front = record.as_ref().map(|record| Front::read(record).expect("whole records only"));
    let here = |one: &&Done| one.result.as_ref().is_ok_and(|answer| answer.handle == Some(handle));
    let succeeded = |op| done.iter().filter(move |one| one.op == op).filter(here);
    let logged_out = done.iter().any(|one| one.op == Op::Logout && one.result.is_ok());

    for one in done {
        let expected = matches!(one.result, Ok(_) | Err(Error::Ended | Error::Superseded | Error::LogoutRefused));
        assert!(expected, "{:?} came to {:?}", one.op, one.result.as_ref().err());
        let principal = one.result.as_ref().ok().and_then(|answer| answer.principal.as_deref());
        assert!(matches!(principal, None | Some("alice")), "nobody is somebody else");
    }
    assert!(!logged_out || record.is_none(), "a logout that was acknowledged stays");
    if let Some(record) = &record {
        let data = data(record);
        let sum = if let Some(Value::Int(sum)) = data.get("n") { *sum } else { 0 };
        for one in done.iter().filter(|one| one.op == Op::Add) {
            let wanted = i64::from(here(&one));
            assert_eq!(times(sum, one.number), wanted, "addition {} is there once, or was refused", one.number);
        }
        let last = data.get("a");
        let by = |one: &Done| last == Some(&Value::Int(mark(one.number)));
        assert!(succeeded(Op::Set).next().is_none() || succeeded(Op::Set).any(by), "a set is there until another");
    }
    // Every id that anybody was told, presented once more: at the present floor or dead for good.
    let raised = succeeded(Op::Login).next().is_some();
    let floor = front.as_ref().map(|front| front.floor);
    for jar in done.iter().filter_map(|one| one.result.as_ref().ok()).map(|answer| &answer.jar).chain([&login.jar]) {
        let Some(id) = jar.login.as_deref().and_then(Id::read) else { continue };
        let opened = driver.open_now(format!("__Host-id={}", jar.login.as_deref().unwrap()).as_bytes());
        let lives = opened.unwrap().principal().is_some();
        let dead = id.handle == handle && floor.is_none_or(|floor| id.generation < floor);
        assert!(!(lives && dead), "an id from before the login or the logout opens");
        assert!(id.handle == handle || lives || done.iter().any(|one| one.op == Op::Logout), "a fresh login opens");
    }
    assert!(!raised || floor != Some(0), "a login that was acknowledged raised the floor");
    let rotated: Vec<_> = succeeded(Op::Rotate).filter_map(|one| one.result.as_ref().ok()?.jar.login.clone()).collect();
    if rotated.len() > 1 && !raised && !done.iter().any(|one| one.op == Op::Logout) {
        let newest: Vec<_> = rotated.iter().filter(|text| Some(*text) != login.jar.login.as_ref()).collect();
        assert!(newest.windows(2).all(|two| two[0] == two[1]), "one rotation, however many asked");
    }
}

/// Every schedule of a pair of exchanges, for each pair.
#[test]
fn two_threads_keep_the_claims_in_every_schedule() {
    for (at, first) in OPS.into_iter().enumerate() {
        for second in OPS.into_iter().skip(at) {
            shuttle::check_dfs(move || run::<Memory>(&[vec![first], vec![second]]), None);
        }
    }
}

/// As many as `COATROOM_SCHEDULES` says, half of them at random and half by priorities.
#[test]
fn many_threads_keep_the_claims_in_drawn_schedules() {
    let schedules: usize = std::env::var("COATROOM_SCHEDULES").map_or(60_000, |number| number.parse().unwrap());
    let crowds = crowds();
    let each = schedules.div_ceil(2 * crowds.len());
    for crowd in crowds {
        let (one, other) = (crowd.clone(), crowd);
        shuttle::check_random(move || run::<Memory>(&one), each);
        shuttle::check_pct(move || run::<Memory>(&other), each, 3);
    }
}

/// Shows that the claims above can fail: one lock too few, and a lost addition is found.
#[test]
fn a_swap_in_two_steps_is_caught() {
    let caught = |work: fn()| std::panic::catch_unwind(work).is_err();
    std::panic::set_hook(Box::new(|_| ()));
    let all = caught(|| shuttle::check_dfs(|| run::<Torn>(&[vec![Op::Add], vec![Op::Add]]), None));
    let drawn = caught(|| shuttle::check_pct(|| run::<Torn>(&crowds()[0]), 1000, 3));
    drop(std::panic::take_hook());
    assert!(all && drawn, "every schedule: {all}, drawn ones: {drawn}");
}

fn crowds() -> Vec<Vec<Vec<Op>>> {
    use Op::{Add, Login, Logout, Read, Rotate, Set};
    vec![
        vec![vec![Add, Add], vec![Add, Set], vec![Set, Add]],
        vec![vec![Rotate, Add], vec![Rotate, Add], vec![Read, Rotate]],
        vec![vec![Login, Add], vec![Add, Add], vec![Set, Read]],
        vec![vec![Login, Add], vec![Login, Add], vec![Rotate, Add]],
        vec![vec![Logout, Read], vec![Add, Add], vec![Rotate, Add]],
        vec![vec![Logout, Add], vec![Login, Add], vec![Set, Rotate]],
        vec![vec![Add], vec![Set], vec![Rotate], vec![Login], vec![Logout]],
        vec![vec![Add, Add, Add], vec![Rotate, Add, Add], vec![Add, Rotate, Add], vec![Read, Login]],
    ]
}
