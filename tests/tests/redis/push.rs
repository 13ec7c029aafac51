//! Endings are published, and that is all that depends on it.

use std::sync::Arc;
use std::time::Duration;

use coatroom_tests::push::{Listener, announce, reaches, storm};
use coatroom_tests::servers::{Cluster, Fault, Proxy, Redis, Reply, Sentinel, Server, wait_until};

use super::{Store, cluster_url, store};

const PATIENCE: Duration = Duration::from_secs(60);

fn shared(url: &str) -> Arc<Store> {
    Arc::new(store(url))
}

/// Connections that listen, as the server counts them.
fn listeners(server: &Redis) -> usize {
    server.call(&["CLIENT", "LIST", "TYPE", "pubsub"]).text().lines().filter(|line| !line.is_empty()).count()
}

#[test]
// spec: FEED-6 f2f5
fn a_logout_is_heard_of_long_before_the_next_pull() {
    let server = Redis::start(&[]);
    reaches(&shared(&server.url()));
    reaches(&shared(&server.socket_url("")));
}

#[test]
// spec: FEED-6 f2f5
fn a_logout_is_heard_of_on_every_node_of_a_cluster() {
    let cluster = Cluster::start(&[]);
    reaches(&shared(&cluster_url(&cluster)));
    let announcer = shared(&cluster_url(&cluster));
    for (number, node) in (1..).zip(&cluster.nodes) {
        let listener = Listener::over(&shared(&format!("redis+cluster://{}", node.address())));
        assert!(announce(&*announcer, number));
        listener.hears(number);
        listener.end();
    }
}

#[test]
// spec: FEED-6 f2f5
fn a_logout_is_heard_of_after_a_failover_too() {
    let mut primary = Redis::start(&[]);
    let _replica = Redis::replica_of(&primary, &[]);
    let sentinel = Sentinel::over(&primary);
    sentinel.wait_for_replicas(1);
    let store = shared(&format!("redis+sentinel://{}/{}", &sentinel.url()["redis://".len()..], Sentinel::NAME));
    let listener = Listener::over(&store);
    assert!(announce(&*store, 1));
    listener.hears(1);
    primary.kill9();
    sentinel.fail_over(primary.port());
    wait_until("the new primary takes announcements", PATIENCE, || announce(&*store, 2));
    listener.hears(2);
    listener.end();
}

#[test]
// spec: FEED-6 f2f5
fn a_thousand_nudges_make_few_pulls() {
    let server = Redis::start(&[]);
    storm(&shared(&server.url()), || drop(server.call(&["PUBLISH", "coatroom:f", "anything"])));
}

#[test]
// spec: FEED-6 f2f5
fn a_cut_connection_and_a_restarted_server_are_noticed_as_a_pull() {
    let mut server = Redis::start(&[]);
    let proxy = Proxy::to(&server.address());
    let listener = Listener::over(&shared(&proxy.url(&server.url())));
    let announcer = shared(&server.url());
    assert!(announce(&*announcer, 1));
    listener.hears(1);
    for number in 2..5 {
        let before = listener.pulls();
        proxy.cut();
        listener.pulls_again(before);
        assert!(announce(&*announcer, number));
        listener.hears(number);
    }
    proxy.set(Fault::Refuse);
    assert!(announce(&*announcer, 5));
    proxy.set(Fault::None);
    listener.hears(5);
    server.stop();
    let before = listener.pulls();
    server.start_again();
    listener.pulls_again(before);
    wait_until("the server takes announcements again", PATIENCE, || announce(&*announcer, 6));
    listener.hears(6);
    listener.end();
}

#[test]
// spec: FEED-6 f2f5
fn who_stops_listening_leaves_no_connection_behind() {
    let server = Redis::start(&[]);
    let store = shared(&server.url());
    let all: Vec<_> = (0..5).map(|_| Listener::over(&store)).collect();
    wait_until("five listen", PATIENCE, || listeners(&server) == 5);
    all.into_iter().for_each(Listener::end);
    wait_until("nobody listens", PATIENCE, || listeners(&server) == 0);
}

#[test]
// spec: FEED-6 f2f5
fn a_user_who_may_not_publish_announces_all_the_same() {
    let server = Redis::start(&[]);
    let url = server.url().replace("redis://", "redis://coatroom:pw@");
    let user = |more: &[&str]| {
        let words =
            ["ACL", "SETUSER", "coatroom", "reset", "on", ">pw", "~coatroom:*", "+evalsha", "+eval", "+pexpire"];
        let feed = ["+time", "+xadd", "+xrange", "+xrevrange"];
        let all = [&words[..], &feed, more].concat();
        assert_eq!(server.call(&all), Reply::Text("OK".to_owned()));
    };
    user(&[]);
    assert!(announce(&*shared(&url), 1));
    // What the documentation of the module says is all that it takes.
    user(&["+publish", "+subscribe", "&coatroom:f"]);
    let listener = Listener::over(&shared(&url));
    listener.hears(1);
    assert!(announce(&*shared(&url), 2));
    listener.hears(2);
    listener.end();
}
