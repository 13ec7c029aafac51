//! The harness of the stores' tests does what it says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use coatroom_tests::servers::{
    Cluster, Fault, PgBouncer, Postgres, Proxy, Redis, Reply, Resp, Sentinel, Server, wait_until,
};

fn ok() -> Reply {
    Reply::Text("OK".to_owned())
}

fn bytes(text: &str) -> Reply {
    Reply::Bytes(text.as_bytes().to_vec())
}

#[test]
fn a_redis_server_is_there_at_once_and_keeps_port_and_data() {
    let started = Instant::now();
    let mut redis = Redis::start(&["appendonly yes", "appendfsync always"]);
    println!("started within {:?}", started.elapsed());
    let url = redis.url();
    assert_eq!(redis.call(&["SET", "k", "v"]), ok());
    redis.kill9();
    assert!(Resp::connect(&redis.address()).is_err());
    redis.start_again();
    assert_eq!((redis.url(), redis.call(&["GET", "k"])), (url, bytes("v")));
    redis.restart();
    assert_eq!(redis.call(&["GET", "k"]), bytes("v"));
    assert_eq!(redis.calls("get"), 1, "counted since the restart");
}

#[test]
fn a_paused_server_answers_when_it_is_resumed() {
    let redis = Redis::start(&[]);
    redis.pause();
    let mut stream = TcpStream::connect(redis.address()).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut answer = [0; 7];
    assert!(stream.read_exact(&mut answer).is_err());
    redis.resume();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
}

#[test]
fn a_redis_server_speaks_tls_and_knows_users() {
    let redis = Redis::start_with_tls(&["user app on >secret ~coat:* +@all", "user default on nopass ~* +@all"]);
    let authority = redis.certificates().authority.to_str().unwrap();
    let [_, port] = redis.tls_url().rsplit_once(':').map(|(host, port)| [host.to_owned(), port.to_owned()]).unwrap();
    let output = Command::new("redis-cli")
        .args(["-h", "127.0.0.1", "-p", &port, "--tls", "--cacert", authority, "--user", "app", "--pass", "secret"])
        .args(["SET", "other", "v"])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("NOPERM"), "{output:?}");
}

#[test]
fn a_sentinel_promotes_a_replica() {
    let mut primary = Redis::start(&[]);
    let replica = Redis::replica_of(&primary, &[]);
    let sentinel = Sentinel::over(&primary);
    sentinel.wait_for_replicas(1);
    assert_eq!(sentinel.primary(), primary.port());
    primary.kill9();
    assert_eq!(sentinel.fail_over(primary.port()), replica.port());
}

#[test]
fn a_cluster_serves_every_slot_and_moves_one() {
    let cluster = Cluster::start(&[]);
    let slot = cluster.slot_of("k");
    let from = Cluster::first_owner(slot);
    assert_eq!(cluster.nodes[from].call(&["SET", "k", "v"]), ok());
    let to = (from + 1) % 3;
    cluster.move_slot(slot, from, to);
    assert_eq!(cluster.nodes[to].call(&["GET", "k"]), bytes("v"));
    assert!(cluster.nodes[from].call(&["GET", "k"]).text().starts_with("MOVED"));
}

#[test]
fn postgresql_keeps_port_and_data_and_pgbouncer_stands_before_it() {
    let mut server = Postgres::start(&[]);
    server.query("CREATE TABLE kept (n integer)");
    server.query("INSERT INTO kept VALUES (1)");
    server.kill9();
    server.start_again();
    assert_eq!(server.query("SELECT n FROM kept"), "1");
    server.restart();
    let bouncer = PgBouncer::over(&server, &[]);
    let output = Command::new("psql").args(["-XAtd", &bouncer.url(), "-c", "SELECT n FROM kept"]).output().unwrap();
    assert_eq!(output.stdout, b"1\n", "{output:?}");
}

#[test]
fn a_proxy_cuts_delays_and_swallows_replies_but_not_requests() {
    let redis = Redis::start(&[]);
    let proxy = Proxy::to(&redis.address());
    let connect = || Resp::connect(&proxy.address()).unwrap();
    assert_eq!(proxy.url(&redis.url()), format!("redis://{}", proxy.address()));

    let mut connection = connect();
    assert_eq!(connection.call(&["INCR", "n"]).unwrap(), Reply::Integer(1));
    proxy.set(Fault::CutReplyAfter(2));
    assert!(connection.call(&["INCR", "n"]).is_err());
    assert_eq!(redis.call(&["GET", "n"]), bytes("2"));

    proxy.set(Fault::Delay(Duration::from_millis(30)));
    let started = Instant::now();
    assert_eq!(connect().call(&["INCR", "n"]).unwrap(), Reply::Integer(3));
    assert!(started.elapsed() >= Duration::from_millis(30));

    proxy.set(Fault::Swallow);
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream.write_all(b"INCR n\r\n").unwrap();
    wait_until("the request arrives", Duration::from_secs(5), || redis.call(&["GET", "n"]) == bytes("4"));
    stream.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
    assert!(stream.read(&mut [0]).is_err());

    proxy.set(Fault::Refuse);
    assert!(connect().call(&["PING"]).is_err());
    proxy.set(Fault::None);
    assert_eq!(connect().call(&["PING"]).unwrap(), Reply::Text("PONG".to_owned()));
}

/// The half of the next test that is killed.
#[test]
fn servers_die_with_whoever_started_them() {
    const CHILD: &str = "COATROOM_STARTS_A_SERVER";
    if std::env::var_os(CHILD).is_some() {
        let (redis, server) = (Redis::start(&[]), Postgres::start(&[]));
        println!("\nservers: {} {}", redis.process().id(), server.process().id());
        loop {
            std::thread::park();
        }
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["servers_die_with_whoever_started_them", "--exact", "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.find_map(|line| line.unwrap().strip_prefix("servers: ").map(str::to_owned)).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    for id in line.split(' ') {
        let gone = || {
            let state = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            state.is_empty() || state.contains(") Z")
        };
        wait_until("a server is gone", Duration::from_secs(5), gone);
    }
}
