use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::folder::temporary;
use super::process::{Process, find};
use super::{Certificates, Port, Reply, Resp, Server, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);
/// In the folder of a server.
const SOCKET: &str = "redis.sock";

/// One Redis server.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    port: Port,
    tls: Option<(Port, Certificates)>,
    folder: TempDir,
}

impl Redis {
    /// A server with these lines in its configuration, besides port and folder. It keeps nothing on disk unless told
    /// to.
    pub fn start(lines: &[&str]) -> Self {
        Self::make(lines, false)
    }

    /// A server that serves TLS too, on a port of its own.
    pub fn start_with_tls(lines: &[&str]) -> Self {
        Self::make(lines, true)
    }

    /// A replica of `primary` that has all of its data.
    pub fn replica_of(primary: &Self, lines: &[&str]) -> Self {
        let line = format!("replicaof 127.0.0.1 {}", primary.port());
        let replica = Self::start(&[&[line.as_str()], lines].concat());
        let is_linked = || replica.call(&["INFO", "replication"]).text().contains("master_link_status:up");
        wait_until("a replica is in step", PATIENCE, is_linked);
        replica
    }

    fn make(lines: &[&str], with_tls: bool) -> Self {
        let folder = temporary();
        let port = Port::free();
        let tls = with_tls.then(|| (Port::free(), Certificates::make(folder.path(), None)));
        let mut settings = vec![format!("port {}\nunixsocket {SOCKET}", port.number)];
        if let Some((port, Certificates { authority, certificate, key })) = &tls {
            settings.push(format!("tls-port {}\ntls-auth-clients no", port.number));
            let [authority, certificate, key] = [authority, certificate, key].map(|path| path.display());
            settings.push(format!("tls-ca-cert-file {authority}\ntls-cert-file {certificate}\ntls-key-file {key}"));
        }
        settings.extend(lines.iter().map(ToString::to_string));
        let process = serve(folder.path(), &settings, &[]);
        let redis = Self { process, port, tls, folder };
        redis.wait();
        redis
    }

    pub fn port(&self) -> u16 {
        self.port.number
    }

    /// `host:port`, for a proxy in front.
    pub fn address(&self) -> String {
        self.port.address()
    }

    /// By its Unix socket, with this user and password.
    pub fn socket_url(&self, login: &str) -> String {
        format!("redis+unix://{login}@{}", self.folder().join(SOCKET).display())
    }

    /// Of a server with TLS.
    pub fn tls_url(&self) -> String {
        format!("rediss://127.0.0.1:{}", self.tls.as_ref().expect("a server with TLS").0.number)
    }

    /// Of a server with TLS.
    pub fn certificates(&self) -> &Certificates {
        &self.tls.as_ref().expect("a server with TLS").1
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A command on a connection of its own.
    pub fn call(&self, words: &[&str]) -> Reply {
        let mut connection =
            Resp::connect(&self.address()).unwrap_or_else(|error| panic!("{error}: {}", self.process.log()));
        connection.call(words).expect("a reply")
    }

    /// How often the server itself says that it was asked for `command`, as `get` or `evalsha`, since it was started or
    /// `CONFIG RESETSTAT` was sent.
    pub fn calls(&self, command: &str) -> u64 {
        let statistics = self.call(&["INFO", "commandstats"]).text();
        let line = format!("cmdstat_{command}:calls=");
        let rest = statistics.lines().find_map(|found| found.strip_prefix(&line));
        rest.map_or(0, |rest| rest.split(',').next().and_then(|calls| calls.parse().ok()).expect("a count"))
    }
}

impl Server for Redis {
    fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    fn process(&self) -> &Process {
        &self.process
    }

    fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    fn wait(&self) {
        wait_until_it_serves(&self.port.address(), &self.process);
    }
}

/// Any answer will do, also that a password is wanted; but not that the data is still being read.
fn wait_until_it_serves(address: &str, process: &Process) {
    let serves = || {
        let answer = Resp::connect(address).and_then(|mut connection| connection.call(&["PING"]));
        answer.is_ok_and(|reply| !matches!(reply, Reply::Error(text) if text.starts_with("LOADING")))
    };
    wait_until(&format!("a Redis server serves ({:?})", process.log().lines().last()), PATIENCE, serves);
}

fn serve(folder: &Path, settings: &[String], arguments: &[&str]) -> Process {
    let text = format!("bind 127.0.0.1\ndir {}\nsave \"\"\n{}\n", folder.display(), settings.join("\n"));
    let file = folder.join("server.conf");
    std::fs::write(&file, text).expect("a configuration");
    let mut all = vec![OsString::from(file)];
    all.extend(arguments.iter().map(OsString::from));
    Process::new(&find("redis-server"), all, None, folder.join("log"))
}

/// A Sentinel over a primary, whose replicas it finds by itself. One decides alone.
#[derive(Debug)]
pub struct Sentinel {
    process: Process,
    port: Port,
    _folder: TempDir,
}

impl Sentinel {
    /// The name that the primary has with the Sentinel.
    pub const NAME: &str = "coatroom";

    pub fn over(primary: &Redis) -> Self {
        let folder = temporary();
        let port = Port::free();
        let name = Self::NAME;
        let settings = [
            format!("port {}", port.number),
            format!("sentinel monitor {name} 127.0.0.1 {} 1", primary.port()),
            // It fails over when it is told to: a busy machine holds a server up for longer than any patience worth testing.
            format!("sentinel down-after-milliseconds {name} 60000"),
            format!("sentinel failover-timeout {name} 3000"),
        ];
        let process = serve_sentinel(folder.path(), &settings);
        let sentinel = Self { process, port, _folder: folder };
        sentinel.wait();
        sentinel
    }

    /// Where it says the primary is.
    pub fn primary(&self) -> u16 {
        let mut connection = Resp::connect(&self.port.address()).expect("a Sentinel");
        match connection.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self::NAME]).expect("a reply") {
            Reply::List(parts) => parts[1].text().parse().expect("a port"),
            other => panic!("{other:?}"),
        }
    }

    /// Waits until it knows that many replicas, so that it can promote one.
    pub fn wait_for_replicas(&self, count: usize) {
        wait_until("the Sentinel knows the replicas", PATIENCE, || {
            let mut connection = Resp::connect(&self.port.address()).expect("a Sentinel");
            let replicas = connection.call(&["SENTINEL", "REPLICAS", Self::NAME]).expect("a reply");
            matches!(replicas, Reply::List(list) if list.len() == count)
        });
    }

    /// Has it promote a replica, as it does by itself when the primary at `port` has been silent for long. Where that is then.
    pub fn fail_over(&self, port: u16) -> u16 {
        wait_until("the Sentinel promotes a replica", PATIENCE, || {
            let is_done = self.primary() != port;
            if !is_done {
                let mut connection = Resp::connect(&self.port.address()).expect("a Sentinel");
                let _begun_or_under_way = connection.call(&["SENTINEL", "FAILOVER", Self::NAME]).expect("a reply");
            }
            is_done
        });
        self.primary()
    }

    /// What it has printed, for the message of a test that fails.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

fn serve_sentinel(folder: &Path, settings: &[String]) -> Process {
    let file = folder.join("sentinel.conf");
    let text = format!("bind 127.0.0.1\ndir {}\n{}\n", folder.display(), settings.join("\n"));
    std::fs::write(&file, text).expect("a configuration");
    let arguments = vec![OsString::from(file), OsString::from("--sentinel")];
    Process::new(&find("redis-server"), arguments, None, folder.join("log"))
}

impl Server for Sentinel {
    fn url(&self) -> String {
        format!("redis://{}", self.port.address())
    }

    fn process(&self) -> &Process {
        &self.process
    }

    fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    fn wait(&self) {
        wait_until_it_serves(&self.port.address(), &self.process);
    }
}

/// A Redis Cluster: three primaries, and a replica of each. Nodes 0 to 2 begin as primaries, 3 to 5 as their replicas.
#[derive(Debug)]
pub struct Cluster {
    pub nodes: Vec<Redis>,
    _buses: Vec<Port>,
}

const PRIMARIES: usize = 3;
const SLOTS: u32 = 16_384;

impl Cluster {
    pub fn start(lines: &[&str]) -> Self {
        let buses: Vec<Port> = (0..2 * PRIMARIES).map(|_| Port::free()).collect();
        let node = |bus: &Port| {
            let bus = format!("cluster-port {}", bus.number);
            let ours = ["cluster-enabled yes", "cluster-node-timeout 1000", &bus];
            Redis::start(&[&ours, lines].concat())
        };
        let nodes: Vec<Redis> = buses.iter().map(node).collect();
        let cluster = Self { nodes, _buses: buses };
        cluster.meet();
        cluster
    }

    fn meet(&self) {
        for (at, node) in self.nodes.iter().enumerate() {
            done(node.call(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]));
        }
        for (at, node) in self.nodes.iter().take(PRIMARIES).enumerate() {
            let border = |at: usize| SLOTS * at as u32 / PRIMARIES as u32;
            let [first, last] = [border(at), border(at + 1) - 1].map(|slot| slot.to_string());
            done(node.call(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]));
        }
        let (first, others) = self.nodes.split_first().expect("six nodes");
        for (node, bus) in others.iter().zip(&self._buses[1..]) {
            let [port, bus] = [node.port(), bus.number].map(|port| port.to_string());
            done(first.call(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]));
        }
        wait_until("the nodes know each other", PATIENCE, || {
            self.nodes.iter().all(|node| info(node).contains("cluster_known_nodes:6"))
        });
        for (at, node) in self.nodes.iter().enumerate().skip(PRIMARIES) {
            let primary = self.id(at - PRIMARIES);
            // A node may have heard of the other without its slots yet, and then refuses.
            wait_until("a node becomes a replica", PATIENCE, || {
                node.call(&["CLUSTER", "REPLICATE", &primary]) == Reply::Text("OK".to_owned())
            });
        }
        self.wait();
        wait_until("the replicas are in step", PATIENCE, || {
            let replicas = self.nodes.iter().skip(PRIMARIES);
            replicas.into_iter().all(|node| {
                let text = node.call(&["INFO", "replication"]).text();
                text.contains("master_link_status:up")
            })
        });
    }

    /// Waits until every node that runs says that every slot is served.
    pub fn wait(&self) {
        wait_until("the cluster serves", PATIENCE, || {
            self.nodes.iter().all(|node| Resp::connect(&node.address()).is_err() || info(node).contains("state:ok"))
        });
    }

    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Server::url).collect()
    }

    /// The name of a node in the cluster.
    pub fn id(&self, node: usize) -> String {
        self.nodes[node].call(&["CLUSTER", "MYID"]).text()
    }

    pub fn slot_of(&self, key: &str) -> u16 {
        match self.nodes[0].call(&["CLUSTER", "KEYSLOT", key]) {
            Reply::Integer(slot) => slot as u16,
            other => panic!("{other:?}"),
        }
    }

    /// Which primary serves a slot at the start.
    pub fn first_owner(slot: u16) -> usize {
        (0..PRIMARIES).rev().find(|at| u32::from(slot) >= SLOTS * *at as u32 / PRIMARIES as u32).expect("a primary")
    }

    /// Moves a slot from one primary to another, key by key, while clients go on.
    pub fn move_slot(&self, slot: u16, from: usize, to: usize) {
        let [source, target] = [from, to].map(|node| self.id(node));
        let slot = slot.to_string();
        let port = self.nodes[to].port().to_string();
        done(self.nodes[to].call(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source]));
        done(self.nodes[from].call(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target]));
        loop {
            let Reply::List(keys) = self.nodes[from].call(&["CLUSTER", "GETKEYSINSLOT", &slot, "1"]) else {
                panic!("no list of keys")
            };
            let [key] = &keys[..] else { break };
            let moved = self.nodes[from].call(&["MIGRATE", "127.0.0.1", &port, &key.text(), "0", "5000"]);
            assert!(!matches!(moved, Reply::Error(_)), "{moved:?}");
        }
        for node in [to, from] {
            done(self.nodes[node].call(&["CLUSTER", "SETSLOT", &slot, "NODE", &target]));
        }
    }
}

fn info(node: &Redis) -> String {
    node.call(&["CLUSTER", "INFO"]).text()
}

fn done(reply: Reply) {
    assert_eq!(reply, Reply::Text("OK".to_owned()));
}
