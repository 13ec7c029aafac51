//! PostgreSQL: the suite, and what this engine promises beyond it, on servers of this test's own.

mod failover;
mod faults;
mod help;
mod logins;
mod schema;
mod statements;

use coatroom_store::postgres::Postgres;
use coatroom_tests::servers::{PgBouncer, Server};
use coatroom_tests::suite::{contract, counting, everything};

use help::{settings, shared, store};

#[test]
// spec: STORE-1 4bc6, STORE-2 4ba9, STORE-3 1632
fn postgres_keeps_the_contract() {
    everything(&store(shared()));
}

#[test]
fn postgres_keeps_the_contract_with_unnamed_statements() {
    let unnamed = || help::migrated(Postgres::new(settings(shared()).unnamed_statements()).unwrap());
    contract(&unnamed());
    counting(&unnamed(), 4, 50);
}

#[test]
fn postgres_keeps_the_contract_behind_pgbouncer_in_transaction_mode() {
    // Two connections for all: statements of different clients take turns on each.
    let bouncer = PgBouncer::over(shared(), &["default_pool_size = 2"]);
    let pooled = || {
        let url = format!("{}?pgbouncer=true&schema={}", bouncer.url(), help::fresh_schema());
        help::migrated(help::open(&url))
    };
    contract(&pooled());
    counting(&pooled(), 4, 50);
    logins::racing(&pooled(), 100);
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
