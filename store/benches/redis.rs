//! Exchanges over Redis beside what they cannot do without, in one run: `cargo bench -p coatroom-store --features redis
//! --bench redis`. Starts its own server. `SESSIONS=1000000` counts the bytes of so many sessions.
//!
//! The floor of a read is a GET of a record of the same size by the same client library, that of a write a GET and a SET;
//! beside it stands a GET and the smallest script that sets only what nobody has changed, which a SET cannot.
//! Rounds of both take turns, so that what else the machine does meets both; the medians are compared.
//!
//! `COATROOM_BENCH_BESIDE` names a program that does the same exchanges by a binding, in rounds between those of the driver:
//! `ffi-kotlin/kotlin/bench redis` and `ffi-kotlin/swift/bench` set it.
#![expect(clippy::unwrap_used, reason = "a bench may fail")]
#![expect(clippy::arithmetic_side_effects, clippy::cast_precision_loss, reason = "small numbers")]

use core::future::Future;
use core::time::Duration;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use coatroom_core::{KeyRing, Policy, Rules, Settings};
use coatroom_store::redis::{Redis, Settings as Servers};
use coatroom_store::{Driver, Store, block_on, block_on_far};
use redis::aio::MultiplexedConnection;
use tokio::runtime::{Builder, Runtime};

const KEYS: &str = "1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE";
const ROUNDS: usize = 15;
const EACH: usize = 1000;
const WRITERS: usize = 8;
const NOBODY: [&str; 0] = [];
const WRITING: Duration = Duration::from_secs(3);

fn rules() -> Arc<Rules> {
    Rules::new(Policy::try_from(Settings::default()).unwrap(), KeyRing::parse(KEYS).unwrap())
}

fn driver(port: u16) -> Driver<Redis> {
    let url = format!("redis://127.0.0.1:{port}");
    Driver::new(rules(), Redis::connect(Servers::parse(&url).unwrap()).unwrap())
}

fn main() {
    if let Ok(port) = env::var("COATROOM_BENCH_WRITER") {
        return write_as_child(port.parse().unwrap());
    }
    let server = Server::start();
    // `cargo test --all-targets` only wants to know that it starts.
    let wants_all = env::args().any(|argument| argument == "--bench");
    if let Ok(program) = env::var("COATROOM_BENCH_BESIDE") {
        return beside(&server, &program);
    }
    if wants_all {
        within_a_runtime(&server);
        without_a_runtime(&server);
        writers(&server);
        bytes(&server);
    }
}

/// A caller in a runtime of one thread, which also serves its connection.
fn within_a_runtime(server: &Server) {
    let runtime = runtime();
    let driver = driver(server.port);
    runtime.block_on(async {
        let cookie = logged_in(&driver).await;
        let mut floor = server.connect().await;
        let key = floor_key(&mut floor).await;
        let script = compare_and_set(&mut floor).await;
        let (mut gets, mut reads, mut pairs, mut writes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut conditional = Vec::new();
        for _ in 0..ROUNDS {
            for _ in 0..EACH {
                gets.push(timed(get(&mut floor, &key)).await);
            }
            for _ in 0..EACH {
                reads.push(timed(read(&driver, &cookie)).await);
            }
            for _ in 0..EACH {
                let both = async {
                    let record = get(&mut floor, &key).await;
                    set(&mut floor, &key, &record).await;
                };
                pairs.push(timed(both).await);
            }
            for _ in 0..EACH {
                let both = async {
                    let record = get(&mut floor, &key).await;
                    let mut call = redis::cmd("EVALSHA");
                    let span = 1_000_000;
                    call.arg(&script).arg(1).arg(&key).arg(record.get(2..18).unwrap()).arg(&record).arg(span);
                    call.exec_async(&mut floor).await.unwrap();
                };
                conditional.push(timed(both).await);
            }
            for _ in 0..EACH {
                writes.push(timed(write(&driver, &cookie)).await);
            }
        }
        compare("read exchange : GET", &mut reads, &mut gets);
        compare("write exchange : GET + script", &mut writes, &mut conditional);
        compare("GET + script : GET + SET", &mut conditional, &mut pairs);
        compare("write exchange : GET + SET", &mut writes, &mut pairs);
    });
}

/// A caller that blocks its thread, beside a blocking client.
fn without_a_runtime(server: &Server) {
    let driver = driver(server.port);
    let cookie = block_on(logged_in(&driver));
    let mut floor = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let key = runtime().block_on(async { floor_key(&mut server.connect().await).await });
    let (mut gets, mut reads, mut pairs, mut writes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for _ in 0..EACH {
            let started = Instant::now();
            let _record: Vec<u8> = redis::cmd("GET").arg(&key).query(&mut floor).unwrap();
            gets.push(started.elapsed());
        }
        for _ in 0..EACH {
            let started = Instant::now();
            block_on_far(read(&driver, &cookie));
            reads.push(started.elapsed());
        }
        for _ in 0..EACH {
            let started = Instant::now();
            let record: Vec<u8> = redis::cmd("GET").arg(&key).query(&mut floor).unwrap();
            redis::cmd("SET").arg(&key).arg(record).exec(&mut floor).unwrap();
            pairs.push(started.elapsed());
        }
        for _ in 0..EACH {
            let started = Instant::now();
            block_on_far(write(&driver, &cookie));
            writes.push(started.elapsed());
        }
    }
    compare("read, blocking : blocking GET", &mut reads, &mut gets);
    compare("write, blocking : blocking GET + SET", &mut writes, &mut pairs);
}

/// The driver on a thread that blocks, and another language over the same server. Its first rounds warm it up.
fn beside(server: &Server, program: &str) {
    const WARMING: usize = 5;
    let driver = driver(server.port);
    let cookie = block_on(logged_in(&driver));
    runtime().block_on(async { floor_key(&mut server.connect().await).await });
    let mut other = Beside::start(program, &server.url());
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    let mut others = Beside::WORDS.map(|_| Vec::new());
    for round in 0..WARMING + ROUNDS {
        if round == WARMING {
            reads.clear();
            writes.clear();
            others.iter_mut().for_each(Vec::clear);
        }
        for _ in 0..EACH {
            let started = Instant::now();
            block_on_far(read(&driver, &cookie));
            reads.push(started.elapsed());
        }
        for _ in 0..EACH {
            let started = Instant::now();
            block_on_far(write(&driver, &cookie));
            writes.push(started.elapsed());
        }
        for (word, times) in Beside::WORDS.iter().zip(&mut others) {
            times.extend(other.round(word));
        }
    }
    for (word, times) in Beside::WORDS.iter().zip(&mut others).filter(|(_, times)| !times.is_empty()) {
        let driver = if word.starts_with("read") || *word == "GET" { &mut reads } else { &mut writes };
        compare(&format!("{word} : the driver, blocking"), times, driver);
    }
}

/// A program that times as many exchanges as a line asks for, and prints how many nanoseconds each took; nothing if it knows
/// no such.
struct Beside {
    child: Child,
    asks: ChildStdin,
    says: BufReader<ChildStdout>,
}

impl Beside {
    const WORDS: [&str; 6] =
        ["read exchange", "write exchange", "read exchange now", "write exchange now", "GET", "GET + SET"];

    fn start(program: &str, url: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", program]).env("COATROOM_BENCH_REDIS", url);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (asks, says) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, asks, says }
    }

    fn round(&mut self, word: &str) -> Vec<Duration> {
        writeln!(self.asks, "{EACH} {word}").unwrap();
        let mut line = String::new();
        assert!(self.says.read_line(&mut line).unwrap() > 0, "it goes on");
        line.split_whitespace().map(|nanos| Duration::from_nanos(nanos.parse().unwrap())).collect()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _gone_already = [self.child.kill(), self.child.wait().map(|_| ())];
    }
}

/// Two processes of eight writers each that count on one session.
fn writers(server: &Server) {
    let driver = driver(server.port);
    let cookie = block_on(logged_in(&driver));
    let child = || {
        let mut command = Command::new(env::current_exe().unwrap());
        command.env("COATROOM_BENCH_WRITER", server.port.to_string()).env("COATROOM_BENCH_COOKIE", &cookie);
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let children = [child(), child()];
    let acknowledged: u64 = children.into_iter().map(printed).sum();
    let counted = block_on(async { driver.open(cookie.as_bytes()).await.unwrap().get("n") });
    println!(
        "16 writers on one session, 2 processes: {:.0} commits/s, {acknowledged} acknowledged, {counted:?} counted",
        acknowledged as f64 / WRITING.as_secs_f64()
    );
}

fn write_as_child(port: u16) {
    let cookie: Arc<str> = env::var("COATROOM_BENCH_COOKIE").unwrap().into();
    let driver = Arc::new(driver(port));
    let acknowledged: u64 = runtime().block_on(async {
        let until = Instant::now() + WRITING;
        let writer = || {
            let (driver, cookie) = (Arc::clone(&driver), Arc::clone(&cookie));
            tokio::spawn(async move {
                let mut acknowledged = 0;
                while Instant::now() < until {
                    let mut session = driver.open(cookie.as_bytes()).await.unwrap();
                    session.add("n", 1).unwrap();
                    acknowledged += u64::from(driver.close(session).await.is_ok());
                }
                acknowledged
            })
        };
        let mut sum = 0;
        for writer in (0..WRITERS).map(|_| writer()).collect::<Vec<_>>() {
            sum += writer.await.unwrap();
        }
        sum
    });
    println!("{acknowledged}");
}

/// What one session takes in the server.
fn bytes(server: &Server) {
    let count: usize = env::var("SESSIONS").map_or(50_000, |count| count.parse().unwrap());
    let driver = Arc::new(driver(server.port));
    for principal in [None, Some("user")] {
        runtime().block_on(async {
            let mut connection = server.connect().await;
            redis::cmd("FLUSHALL").exec_async(&mut connection).await.unwrap();
            let before = used(&mut connection).await;
            let each = |at: usize| {
                let driver = Arc::clone(&driver);
                tokio::spawn(async move {
                    for number in (at..count).step_by(WRITERS) {
                        let mut session = driver.open(b"").await.unwrap();
                        session.set("cart", "x".repeat(200)).unwrap();
                        if let Some(principal) = principal {
                            session.login(&format!("{principal}{number}"), &NOBODY, 1).unwrap();
                        }
                        driver.close(session).await.unwrap();
                    }
                })
            };
            for writer in (0..WRITERS).map(each).collect::<Vec<_>>() {
                writer.await.unwrap();
            }
            let bytes = (used(&mut connection).await - before) / count as f64;
            let kind = if principal.is_some() { "logged-in" } else { "anonymous" };
            println!("{count} {kind} sessions of 200 B: {bytes:.0} B each");
        });
    }
}

async fn used(connection: &mut MultiplexedConnection) -> f64 {
    let info: String = redis::cmd("INFO").arg("memory").query_async(connection).await.unwrap();
    info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().parse().unwrap()
}

/// Three keys, about 200 bytes of data, logged in, the id confirmed: what most requests of a site meet.
async fn logged_in<S: Store>(driver: &Driver<S>) -> String {
    let mut session = driver.open(b"").await.unwrap();
    session.set("n", 0).unwrap();
    session.set("name", "Ada Lovelace").unwrap();
    session.set("cart", "x".repeat(160)).unwrap();
    session.login("ada", &["admin"], 1).unwrap();
    let reply = driver.close(session).await.unwrap();
    let line = reply.set_cookies().find(|line| line.starts_with("__Host-id=")).unwrap().to_owned();
    let cookie = line.split(';').next().unwrap().to_owned();
    driver.close(driver.open(cookie.as_bytes()).await.unwrap()).await.unwrap();
    cookie
}

async fn read<S: Store>(driver: &Driver<S>, cookie: &str) {
    let mut session = driver.open(cookie.as_bytes()).await.unwrap();
    session.get_encoded("n");
    session.get_encoded("name");
    driver.close(session).await.unwrap();
}

async fn write<S: Store>(driver: &Driver<S>, cookie: &str) {
    let mut session = driver.open(cookie.as_bytes()).await.unwrap();
    session.add("n", 1).unwrap();
    driver.close(session).await.unwrap();
}

/// A copy of the one record there is.
async fn floor_key(connection: &mut MultiplexedConnection) -> String {
    let records: Vec<String> = redis::cmd("KEYS").arg("coatroom:s:*").query_async(connection).await.unwrap();
    let key = "floor:s:AAAAAAAAAAAAAAAA".to_owned();
    let first = records.first().unwrap();
    redis::cmd("COPY").arg(first).arg(&key).arg("REPLACE").exec_async(connection).await.unwrap();
    key
}

async fn get(connection: &mut MultiplexedConnection, key: &str) -> Vec<u8> {
    redis::cmd("GET").arg(key).query_async(connection).await.unwrap()
}

async fn set(connection: &mut MultiplexedConnection, key: &str, record: &[u8]) {
    redis::cmd("SET").arg(key).arg(record).exec_async(connection).await.unwrap();
}

/// The least that a write which may be refused needs, by its digest.
async fn compare_and_set(connection: &mut MultiplexedConnection) -> String {
    let text = "if redis.call('GETRANGE', KEYS[1], 2, 17) == ARGV[1] then \
                return redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end";
    redis::cmd("SCRIPT").arg("LOAD").arg(text).query_async(connection).await.unwrap()
}

async fn timed<T>(work: impl Future<Output = T>) -> Duration {
    let started = Instant::now();
    work.await;
    started.elapsed()
}

fn compare(name: &str, ours: &mut [Duration], floor: &mut [Duration]) {
    let median = |times: &mut [Duration]| {
        times.sort_unstable();
        times.get(times.len() / 2).unwrap().as_secs_f64() * 1e6
    };
    let (ours, floor) = (median(ours), median(floor));
    println!("{name}: {ours:.1} us : {floor:.1} us = {:.2}", ours / floor);
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn printed(child: Child) -> u64 {
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim().parse().unwrap()
}

/// A server of this run alone, that keeps nothing on disk.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(10), "the server starts");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { child, port }
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    async fn connect(&self) -> MultiplexedConnection {
        redis::Client::open(self.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone_already = [self.child.kill(), self.child.wait().map(|_| ())];
    }
}
