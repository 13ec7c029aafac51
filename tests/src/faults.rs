//! What a store must hold when its server, its connection, its disk or its writers fail. Each part takes the store and
//! whatever it may harm, so a store of one's own is tried by calling them; what goes wrong is a panic.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use coatroom_core::{Entry, Handle, Loaded};
use coatroom_store::{NotListed, Store, Swapped, Unavailable, block_on};

use crate::servers::{Fault, Proxy, Server};
use crate::suite::history::Scribes;
use crate::suite::{Counter, fresh, hours, now, record, somebody, stamp, swap, until};

/// What happens to a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outage {
    /// It is killed, and started again.
    Kill,
    /// It is asked to end, and started again.
    Stop,
    /// It answers nothing for so long.
    Pause(Duration),
}

/// A server fails three times in the middle of a write loop: nothing that was acknowledged is lost, and what clients
/// see can be put into one order. For writes that the store promises to keep through this.
pub fn outages<S: Store, V: Server>(store: &S, server: &mut V, outage: Outage, durable: bool) {
    let scribes = Scribes::new(store, durable);
    scribes.work(|| {
        for _ in 0..3 {
            scribes.until_acknowledged(100);
            match outage {
                Outage::Kill => {
                    server.kill9();
                    server.start_again();
                }
                Outage::Stop => server.restart(),
                Outage::Pause(span) => {
                    server.pause();
                    thread::sleep(span);
                    server.resume();
                }
            }
        }
        scribes.until_acknowledged(100);
    });
    scribes.check();
}

/// A server that was away for a while is used again within `limit` of its return.
pub fn comes_back<S: Store, V: Server>(store: &S, server: &mut V, away: Duration, limit: Duration) {
    let works = || !matches!(block_on(store.load(fresh())), Loaded::Unavailable);
    assert!(works());
    server.kill9();
    let down = Instant::now();
    while down.elapsed() < away {
        assert!(!works(), "nobody answers");
        thread::sleep(Duration::from_millis(10));
    }
    server.start_again();
    until("the store is there again", limit, works);
}

/// Whatever the network does, every call is over within `limit` and says what it does not know; and when the network is
/// well again, so is the store.
pub fn never_hangs<S: Store>(store: &S, proxy: &Proxy, limit: Duration) {
    let alice = somebody("alice");
    let calls: [(&str, &dyn Fn() -> bool); 8] = [
        ("load", &|| block_on(store.load(fresh())) == Loaded::Unavailable),
        ("swap", &|| matches!(block_on(store.swap(&created(fresh()))), Swapped::Unavailable | Swapped::Unknown)),
        ("enter", &|| block_on(store.enter(&entry(&alice, fresh()))) == Err(NotListed::Unavailable)),
        ("sessions", &|| block_on(store.sessions(&alice)) == Err(Unavailable)),
        ("leave", &|| block_on(store.leave(&alice, fresh())) == Err(Unavailable)),
        ("bar", &|| block_on(store.bar(&alice, now())) == Err(Unavailable)),
        ("scan", &|| block_on(store.scan(None, 10)) == Err(Unavailable)),
        ("load", &|| block_on(store.load(fresh())) == Loaded::Unavailable),
    ];
    for fault in [Fault::Hang, Fault::Swallow, Fault::Refuse] {
        proxy.set(fault);
        for (name, fails) in calls {
            let started = Instant::now();
            assert!(fails(), "{name} under {fault:?} answers what it cannot know");
            let took = started.elapsed();
            assert!(took < limit, "{name} under {fault:?} took {took:?}");
        }
        proxy.set(Fault::None);
        let works = || block_on(store.load(fresh())) == Loaded::Absent;
        until("the store works again", limit, works);
    }
}

/// Replies arrive late: slower, and right.
pub fn slow_replies<S: Store>(store: &S, proxy: &Proxy) {
    proxy.set(Fault::Delay(Duration::from_millis(20)));
    let handle = fresh();
    assert_eq!(block_on(store.swap(&created(handle))), Swapped::Done);
    assert_eq!(block_on(store.load(handle)), Loaded::Found(record(1, 1, b"")));
    proxy.set(Fault::None);
}

/// The reply to a swap is cut after so many bytes: the store never claims what it cannot know, and never sends a swap
/// twice.
pub fn cut_replies<S: Store>(store: &S, proxy: &Proxy) {
    let works = || block_on(store.load(fresh())) == Loaded::Absent;
    let mut doubts = 0;
    for bytes in 0..24 {
        let handle = fresh();
        let (first, second) = (record(1, 1, b""), record(2, 2, b""));
        until("the store works", Duration::from_secs(10), works);
        assert_eq!(block_on(store.swap(&created(handle))), Swapped::Done);
        proxy.set(Fault::CutReplyAfter(bytes));
        let answer = block_on(store.swap(&swap(handle, stamp(&first), Some(&second), true)));
        proxy.set(Fault::None);
        until("the store works again", Duration::from_secs(10), works);
        let stored = block_on(store.load(handle));
        match answer {
            Swapped::Done => assert_eq!(stored, Loaded::Found(second)),
            Swapped::Unavailable => assert_eq!(stored, Loaded::Found(first)),
            Swapped::Unknown => assert!(stored == Loaded::Found(first) || stored == Loaded::Found(second)),
            other => panic!("after {bytes} bytes of a reply: {other:?}, though nobody else writes"),
        }
        doubts += usize::from(answer == Swapped::Unknown);
    }
    assert!(doubts > 0, "a reply that was cut leaves a doubt");
}

/// Threads count on one session while connections are cut, before, within and after replies: what was acknowledged is
/// there, and each addition at most once.
pub fn counting_through_cuts<S: Store>(store: &S, proxy: &Proxy) {
    let counter = Counter::new(store);
    counter.work(4, || {
        for round in 0..60 {
            thread::sleep(Duration::from_millis(5));
            match round % 3 {
                0 => proxy.cut(),
                1 => proxy.set(Fault::CutReplyAfter(round)),
                _ => proxy.set(Fault::None),
            }
        }
        proxy.set(Fault::None);
    });
    counter.check();
}

/// Processes that write are killed in the middle of it, round after round. `counter` is the program `counter` of this
/// crate, `url` how it finds the store.
pub fn killed_writers<S: Store>(store: &S, counter: &Path, url: &str) {
    let session = Counter::new(store);
    let mut acknowledged = 0;
    for round in 0..8 {
        let mut writers = [(); 2].map(|()| Writer::start(counter, url, session.cookie()));
        thread::sleep(Duration::from_millis(60 + 17 * round));
        for writer in &mut writers {
            acknowledged += writer.kill();
        }
    }
    assert!(acknowledged > 0, "the writers did write");
    // A write that was done but not yet told is no loss; there is at most one for each killed writer.
    session.check_with(acknowledged, 16);
}

/// A process that writes is halted, perhaps in the middle of it: the others are not held up for longer than `limit`.
pub fn halted_writers<S: Store>(store: &S, counter: &Path, url: &str, limit: Duration) {
    let session = Counter::new(store);
    let mut writer = Writer::start(counter, url, session.cookie());
    for round in 0..6 {
        thread::sleep(Duration::from_millis(20 + 7 * round));
        writer.signal("STOP");
        let started = Instant::now();
        let _refused_perhaps = session.add();
        let took = started.elapsed();
        writer.signal("CONT");
        assert!(took < limit, "held up for {took:?}");
    }
    let told = writer.kill();
    session.check_with(told, 1);
}

struct Writer(Child);

impl Writer {
    fn start(counter: &Path, url: &str, cookie: &str) -> Self {
        let child = Command::new(counter).args([url, cookie]).stdout(Stdio::piped()).spawn();
        Self(child.unwrap_or_else(|error| panic!("{}: {error}", counter.display())))
    }

    fn signal(&self, signal: &str) {
        let script = format!("kill -{signal} {}", self.0.id());
        assert!(Command::new("/bin/sh").args(["-c", &script]).status().expect("a shell").success());
    }

    /// Kills it, and says how many writes it had been told of.
    fn kill(&mut self) -> usize {
        self.0.kill().expect("a child");
        self.0.wait().expect("a child");
        self.0.stdout.take().map_or(0, |told| BufReader::new(told).lines().count())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _is_over = [self.0.kill().is_ok(), self.0.wait().is_ok()];
    }
}

/// A store that can read and not write says so, and nothing else: no session is taken for absent.
pub fn read_only<S: Store>(store: &S, make_read_only: impl FnOnce()) {
    let handle = fresh();
    assert_eq!(block_on(store.swap(&created(handle))), Swapped::Done);
    make_read_only();
    let (first, second) = (record(1, 1, b""), record(2, 2, b""));
    for durable in [false, true] {
        for new in [Some(&second[..]), None] {
            let refused = swap(handle, stamp(&first), new, durable);
            assert_eq!(block_on(store.swap(&refused)), Swapped::Unavailable);
        }
        assert_eq!(block_on(store.swap(&created(fresh()))), Swapped::Unavailable);
    }
    assert_eq!(block_on(store.enter(&entry(&somebody("alice"), handle))), Err(NotListed::Unavailable));
    assert_eq!(block_on(store.bar(&somebody("alice"), now())), Err(Unavailable));
    let loaded = block_on(store.load(handle));
    assert!(loaded == Loaded::Found(first) || loaded == Loaded::Unavailable, "{loaded:?}");
}

/// Writes until the disk is full: what was acknowledged is there, what was refused is not, and after `make_room` the
/// store takes writes again.
pub fn full_disk<S: Store>(store: &S, make_room: impl FnOnce()) {
    let mut kept: HashMap<Handle, Vec<u8>> = HashMap::new();
    let mut refusals = 0;
    for number in 0.. {
        assert!(number < 20_000, "the disk is never full");
        let size = [100, 20_000, 300_000][number as usize % 3];
        let (handle, full) = (fresh(), record(1, number, &vec![7; size]));
        match block_on(store.swap(&swap(handle, None, Some(&full), number % 2 == 0))) {
            Swapped::Done => drop(kept.insert(handle, full)),
            Swapped::Unavailable => {
                refusals += 1;
                assert_eq!(block_on(store.load(handle)), Loaded::Absent, "what was refused is not there");
            }
            Swapped::Unknown => refusals += 1,
            other => panic!("on a full disk: {other:?}"),
        }
        if refusals >= 20 {
            break;
        }
    }
    for (handle, record) in &kept {
        assert_eq!(block_on(store.load(*handle)), Loaded::Found(record.clone()), "what was acknowledged is there");
    }
    let (handle, old) = kept.iter().next().expect("something was written");
    let new = record(2, 0, &[8; 30_000]);
    let answer = block_on(store.swap(&swap(*handle, stamp(old), Some(&new), true)));
    let stored = block_on(store.load(*handle));
    match answer {
        Swapped::Done => assert_eq!(stored, Loaded::Found(new.clone())),
        Swapped::Unavailable => assert_eq!(stored, Loaded::Found(old.clone())),
        _ => assert!(stored == Loaded::Found(old.clone()) || stored == Loaded::Found(new.clone())),
    }
    make_room();
    let works = || block_on(store.swap(&created(fresh()))) == Swapped::Done;
    until("the store takes writes again", Duration::from_secs(5), works);
}

fn created(handle: Handle) -> coatroom_core::Swap {
    swap(handle, None, Some(&record(1, 1, b"")), true)
}

fn entry(principal: &str, handle: Handle) -> Entry {
    let until = now().plus(hours(12));
    Entry { principal: principal.to_owned(), handle, until, now: now(), at_most: None, names: 0 }
}
