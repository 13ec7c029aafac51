//! PostgreSQL: the suite, and what this engine promises beyond it, on servers of this test's own.

mod failover;
mod faults;
mod help;
mod logins;
mod push;
mod schema;
mod statements;

use std::sync::Arc;

use coatroom_store::postgres::Postgres;
use coatroom_tests::servers::{PgBouncer, Server};
use coatroom_tests::suite::feed::{forgets, holds, misses_none};
use coatroom_tests::suite::{contract, everything};

use help::{settings, shared, store};

#[test]
// spec: STORE-1 4bc6, STORE-2 4ba9, STORE-3 1632
fn postgres_passes_the_suite() {
    everything(&store(shared()));
}

#[test]
fn postgres_passes_the_suite_with_unnamed_statements() {
    everything(&help::migrated(Postgres::new(settings(shared()).unnamed_statements()).unwrap()));
}

#[test]
fn postgres_passes_the_suite_behind_pgbouncer_in_transaction_mode() {
    // Two connections for all: statements of different clients take turns on each.
    let bouncer = PgBouncer::over(shared(), &["default_pool_size = 2"]);
    let url = format!("{}?pgbouncer=true&schema={}", bouncer.url(), help::fresh_schema());
    let pooled = help::migrated(help::open(&url));
    everything(&pooled);
    logins::racing(&pooled, 100);
}

#[test]
fn postgres_keeps_the_contract_over_tls() {
    let server = shared();
    let authority = server.certificates().authority.display();
    let url = format!("{}?sslrootcert={authority}&schema={}", server.url(), help::fresh_schema());
    let store = help::migrated(help::open(&url));
    contract(&store);
    let encrypted = server.query(
        "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = 'coatroom' AND ssl",
    );
    assert_eq!(encrypted, "t");
}

#[test]
// spec: FEED-3 19a1, FEED-4 8e92
fn the_feed_is_in_order_complete_and_kept() {
    let fresh = || Arc::new(store(shared()));
    holds(&fresh());
    misses_none(&fresh());
    forgets(&fresh());
}
