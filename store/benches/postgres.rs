//! PostgreSQL beside its floor: the bare statements of the same client library, on the same connection set-up, in turns with
//! ours, so that a busy machine slows both. Starts a server of its own.
//!
//! `cargo bench -p coatroom-store --features postgres --bench postgres`; `ROWS=1000000` for the whole sweep.
#![expect(clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing, reason = "a bench may fail, and prints")]
#![expect(clippy::arithmetic_side_effects, clippy::integer_division, reason = "small numbers")]

mod beside;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use coatroom_core::{Handle, Listing, Stamp, Swap, Timestamp};
use coatroom_store::postgres::{Postgres, Settings};
use coatroom_store::{Store, Swapped, block_on};
use tokio_postgres::{Client, NoTls, Statement};

use beside::quantile;

/// Operations of each kind.
const COUNT: usize = 6000;
const DATA: usize = 300;
const HOUR: u64 = 3_600_000;

fn main() {
    let server = Server::start();
    let store = || Postgres::new(Settings::parse(&server.url()).unwrap()).unwrap();
    block_on(store().migrate()).unwrap();

    println!("one client, median in microseconds, and the ratio");
    // The caller on a thread of its own, connections on another: as a synchronous program uses the engine.
    let runtime = runtime();
    thread::scope(|scope| {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let handle = runtime.handle().clone();
        scope.spawn(move || runtime.block_on(stopped));
        let bare = block_on(handle.spawn(Bare::connect(server.url()))).unwrap();
        compare("apart", &store(), &bare, |future| block_on(future));
        stop.send(()).unwrap();
    });
    // Everything on the caller's runtime.
    let runtime = self::runtime();
    let bare = runtime.block_on(Bare::connect(server.url()));
    let handle = runtime.handle().clone();
    let ours = Postgres::new(Settings::parse(&server.url()).unwrap().runtime(handle)).unwrap();
    compare("together", &ours, &bare, |future| runtime.block_on(future));

    let rows = std::env::var("ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(100_000);
    sweep(&server, &store(), rows);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

type Boxed<'a> = std::pin::Pin<Box<dyn Future<Output = ()> + 'a>>;

fn compare(how: &str, store: &Postgres, bare: &Bare, run: impl Fn(Boxed<'_>)) {
    let handle = Handle::from_bytes(if how == "apart" { [1; 12] } else { [2; 12] });
    run(Box::pin(async { assert_eq!(store.swap(&write(handle, 0, true)).await, Swapped::Done) }));
    let load = || run(Box::pin(async { drop(store.load(handle).await) }));
    let select = || run(Box::pin(bare.select(handle)));
    print("load / SELECT", how, &in_turns([&mut { load }, &mut { select }], 100, COUNT));
    let mut version = 0;
    for (name, durable, turn) in [("swap / UPDATE, sync off", false, 100), ("swap / UPDATE, sync on", true, 5)] {
        let mut swap = || {
            version += 1;
            let swap = write(handle, version, durable);
            run(Box::pin(async { assert_eq!(store.swap(&swap).await, Swapped::Done) }));
        };
        let mut update = || run(Box::pin(bare.update(durable)));
        print(name, how, &in_turns([&mut swap, &mut update], turn, if durable { COUNT / 10 } else { COUNT }));
    }
}

/// Medians of both, in turns of so many operations: short ones where a disk has good and bad moments.
fn in_turns(mut works: [&mut dyn FnMut(); 2], turn: usize, count: usize) -> [Duration; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for turns in 0..=count / turn {
        for (work, times) in works.iter_mut().zip(&mut times) {
            for _ in 0..turn {
                let started = Instant::now();
                work();
                if turns > 0 {
                    times.push(started.elapsed());
                }
            }
        }
    }
    times.map(|times| quantile(&times, 50))
}

fn print(what: &str, how: &str, [ours, floor]: &[Duration; 2]) {
    let [ours, floor] = [ours, floor].map(|time| time.as_secs_f64() * 1e6);
    println!("{what:<26} {how:<10} {ours:8.1} {floor:8.1}   {:.2}", ours / floor);
}

/// Latencies of serving with and without a sweep of `rows` expired sessions beside it.
fn sweep(server: &Server, store: &Postgres, rows: u32) {
    let values = "sha256(i::text::bytea), 1, decode(repeat(md5(i::text), 10), 'hex')";
    let fill = format!(
        "INSERT INTO coatroom.session SELECT substr(handle, 1, 12), at, record FROM (SELECT {values}
        FROM generate_series(1, {rows}) i) AS made (handle, at, record); CHECKPOINT"
    );
    server.sql(&fill);
    let now = Timestamp::from_unix_ms(1_767_225_600_000);
    let exchange = |handle, version| {
        drop(block_on(store.load(handle)));
        assert_eq!(block_on(store.swap(&write(handle, version, false))), Swapped::Done);
    };
    beside::compare("PostgreSQL", rows as usize, exchange, |most| block_on(store.sweep(now, most)).unwrap());
}

fn write(handle: Handle, from: u64, durable: bool) -> Swap {
    let record = |version: u64| {
        let mut bytes = vec![1, 0];
        bytes.extend_from_slice(&version.to_be_bytes());
        bytes.resize(DATA, 7);
        bytes
    };
    let expected = (from > 0).then(|| Stamp::of(&record(from))).flatten();
    // Long after everything that is swept.
    let garbage_at = Timestamp::from_unix_ms(1_767_225_600_000 + 100 * HOUR);
    Swap { handle, expected, new: Some(record(from + 1)), durable, garbage_at, listing: Listing::Keep }
}

/// The floor: the statements that cannot be left out, prepared, on one connection each.
struct Bare {
    client: Client,
    select: Statement,
    relaxed: (Client, Statement),
    durable: (Client, Statement),
}

impl Bare {
    async fn connect(url: String) -> Self {
        let connect = async || {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
            tokio::spawn(connection);
            client
        };
        let client = connect().await;
        let table = "CREATE TABLE IF NOT EXISTS bare (handle bytea PRIMARY KEY, at bigint, record bytea) WITH (fillfactor = 70);
            INSERT INTO bare VALUES ('\\x01', 1, '\\x02'), ('\\x02', 1, '\\x02') ON CONFLICT DO NOTHING";
        client.batch_execute(table).await.unwrap();
        let select = client.prepare("SELECT record FROM coatroom.session WHERE handle = $1").await.unwrap();
        let update = async |sync: &str| {
            let client = connect().await;
            client.batch_execute(&format!("SET synchronous_commit = {sync}")).await.unwrap();
            let statement = client.prepare("UPDATE bare SET at = $2, record = $3 WHERE handle = $1").await.unwrap();
            (client, statement)
        };
        Self { relaxed: update("off").await, durable: update("on").await, client, select }
    }

    async fn select(&self, handle: Handle) {
        let row = self.client.query_one(&self.select, &[&handle.as_bytes().as_slice()]).await.unwrap();
        drop(row.get::<_, Vec<u8>>(0));
    }

    async fn update(&self, durable: bool) {
        let ((client, statement), key) = if durable { (&self.durable, [2_u8]) } else { (&self.relaxed, [1]) };
        let record = vec![7_u8; DATA];
        client.execute(statement, &[&key.as_slice(), &7_i64, &record]).await.unwrap();
    }
}

/// A server in a folder that goes with it.
struct Server {
    folder: tempfile::TempDir,
    child: Child,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let is_root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0;
        let command = |name: &str| {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL"]);
            if is_root {
                command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
            }
            command.arg(program(name)).arg("-D").arg(&data).stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        if is_root {
            assert!(Command::new("chown").arg("postgres").arg(folder.path()).status().unwrap().success());
        }
        assert!(command("initdb").args(["-U", "coatroom", "-A", "trust", "--no-sync"]).status().unwrap().success());
        let place = folder.path().display().to_string();
        let child = command("postgres")
            .args(["-k", &place, "-c", "listen_addresses=", "-c", "max_wal_size=4GB"])
            .spawn()
            .unwrap();
        let server = Self { folder, child };
        let asked = Instant::now();
        while std::os::unix::net::UnixStream::connect(server.folder.path().join(".s.PGSQL.5432")).is_err() {
            assert!(asked.elapsed() < Duration::from_secs(30), "no server");
            thread::sleep(Duration::from_millis(20));
        }
        thread::sleep(Duration::from_secs(1));
        server
    }

    fn url(&self) -> String {
        format!("host={} user=coatroom dbname=postgres", self.folder.path().display())
    }

    fn sql(&self, statements: &str) {
        let runtime = runtime();
        runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await.unwrap();
            tokio::spawn(connection);
            for statement in statements.split(';') {
                client.batch_execute(statement).await.unwrap();
            }
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The newest that Debian's packages brought.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").unwrap();
    let newest = versions.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok()).max().unwrap();
    Path::new("/usr/lib/postgresql").join(newest.to_string()).join("bin").join(name)
}
