//! Endings are told by NOTIFY, and that is all that depends on it.

use std::sync::Arc;
use std::time::Duration;

use coatroom_store::Store as _;
use coatroom_store::postgres::Postgres;
use coatroom_tests::push::{Listener, announce, reaches, storm};
use coatroom_tests::servers::{self, Fault, PgBouncer, Proxy, Server, wait_until};

use super::help::{fresh_schema, migrated, open, shared, store};

const PATIENCE: Duration = Duration::from_secs(60);

/// Stores over the same tables, one for each address.
fn stores<const N: usize>(schema: &str, urls: [&str; N]) -> [Arc<Postgres>; N] {
    urls.map(|url| Arc::new(migrated(open(&format!("{url}?schema={schema}")))))
}

/// Connections that listen, as the server counts them: of those that are for nothing else, it was the last word.
fn listeners(server: &servers::Postgres, schema: &str) -> String {
    server.query(&format!("SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN \"{schema}\"'"))
}

#[test]
// spec: FEED-6 f2f5
fn a_logout_is_heard_of_long_before_the_next_pull() {
    reaches(&Arc::new(store(shared())));
}

#[test]
// spec: FEED-6 f2f5
fn a_logout_is_heard_of_over_tls() {
    let authority = shared().certificates().authority.display().to_string();
    let url = format!("{}?sslrootcert={authority}&schema={}", shared().url(), fresh_schema());
    reaches(&Arc::new(migrated(open(&url))));
}

#[test]
// spec: FEED-6 f2f5
fn a_thousand_nudges_make_few_pulls() {
    let store = Arc::new(store(shared()));
    storm(&store, || assert!(announce(&*store, 1)));
}

#[test]
// spec: FEED-6 f2f5
fn a_cut_connection_and_a_restarted_server_are_noticed_as_a_pull() {
    let mut server = servers::Postgres::start(&[]);
    let proxy = Proxy::to(&server.address());
    let [announcer, far] = stores("shop", [&server.url(), &proxy.url(&server.url())]);
    let listener = Listener::over(&far);
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
    let schema = fresh_schema();
    let [store] = stores(&schema, [&shared().url()]);
    let all: Vec<_> = (0..5).map(|_| Listener::over(&store)).collect();
    wait_until("five listen", PATIENCE, || listeners(shared(), &schema) == "5");
    all.into_iter().for_each(Listener::end);
    wait_until("nobody listens", PATIENCE, || listeners(shared(), &schema) == "0");
}

#[test]
// spec: FEED-6 f2f5
fn what_cannot_be_told_is_announced_all_the_same() {
    let server = servers::Postgres::start(&[]);
    let [owner] = stores("shop", [&server.url()]);
    let listener = Listener::over(&owner);
    assert!(announce(&*owner, 1));
    listener.hears(1);
    server.query(
        "CREATE ROLE clerk LOGIN; GRANT USAGE ON SCHEMA shop TO clerk; GRANT ALL ON ALL TABLES IN SCHEMA shop TO clerk;
        GRANT ALL ON ALL SEQUENCES IN SCHEMA shop TO clerk; REVOKE EXECUTE ON FUNCTION pg_notify FROM PUBLIC",
    );
    let clerk = open(&format!("{}?schema=shop", server.url().replace("coatroom@", "clerk@")));
    assert!(announce(&clerk, 2));
    assert!(announce(&*owner, 3));
    listener.hears(2);
    listener.end();
}

#[test]
// spec: FEED-6 f2f5
fn behind_a_pooler_nobody_listens_and_whoever_is_not_hears_of_it() {
    let bouncer = PgBouncer::over(shared(), &["default_pool_size = 2"]);
    let schema = fresh_schema();
    let [direct] = stores(&schema, [&shared().url()]);
    let pooled = open(&format!("{}?pgbouncer=true&schema={schema}", bouncer.url()));
    assert!(pooled.listen(Arc::new(|| {})).is_none());
    let listener = Listener::over(&direct);
    assert!(announce(&*direct, 1));
    listener.hears(1);
    assert!(announce(&pooled, 2));
    listener.hears(2);
    listener.end();
}
