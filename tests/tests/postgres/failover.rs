//! A standby takes over: what an acknowledged logout is worth then.

use std::process::Command;
use std::time::Duration;

use coatroom_core::{Handle, Listing, Loaded, Swap};
use coatroom_store::postgres::{Postgres, Settings};
use coatroom_store::{Store, Swapped, block_on};
use coatroom_tests::servers::{self, Fault, Proxy, Server, wait_until};

use crate::help::{entry, fresh, login, migrated, record, write};

/// A primary, its standby, what is between them, and a store that uses whichever takes writes.
struct Pair {
    primary: servers::Postgres,
    between: Proxy,
    standby: servers::Postgres,
    store: Postgres,
}

impl Pair {
    fn start() -> Self {
        let primary = servers::Postgres::start(&[]);
        let mut standby = servers::Postgres::start(&[]);
        standby.stop();
        let between = Proxy::to(&primary.address());
        let (folder, port, way) = (standby.folder().display().to_string(), primary.port(), between.port());
        let script = format!(
            "cd {folder} && cp data/postgresql.auto.conf own && rm -r data &&
            pg_basebackup -D data -h 127.0.0.1 -p {port} -U coatroom --checkpoint=fast && cp own data/postgresql.auto.conf &&
            echo \"primary_conninfo = 'host=127.0.0.1 port={way} user=coatroom application_name=standby'\" \
                >> data/postgresql.auto.conf &&
            touch data/standby.signal && if [ $(id -u) = 0 ]; then chown -R postgres data; fi"
        );
        assert!(Command::new("/bin/sh").args(["-ec", &script]).status().unwrap().success());
        standby.start_again();
        let url = format!("postgres://coatroom@127.0.0.1:{port},127.0.0.1:{}/postgres", standby.port());
        let settings = Settings::parse(&url).unwrap().time_limit(Duration::from_secs(1));
        let store = migrated(Postgres::new(settings).unwrap());
        Self { primary, between, standby, store }
    }

    /// A session that the standby knows of.
    fn logged_in(&self) -> Handle {
        let handle = fresh();
        assert!(matches!(block_on(self.store.swap(&login(entry("alice", handle)))), Swapped::Entered(_)));
        let caught_up = "SELECT pg_current_wal_lsn() = replay_lsn FROM pg_stat_replication";
        wait_until("the standby has it", Duration::from_secs(20), || self.primary.query(caught_up) == "t");
        handle
    }

    fn log_out(&self, handle: Handle) -> Swapped {
        let ended = Swap { listing: Listing::Leave("alice".to_owned()), ..write(handle, 1, true) };
        block_on(self.store.swap(&ended))
    }

    /// What the store holds once the standby has taken over.
    fn failed_over(&mut self, handle: Handle) -> Loaded {
        self.primary.kill9();
        self.standby.query("SELECT pg_promote()");
        wait_until("the store has moved", Duration::from_secs(10), || {
            block_on(self.store.swap(&write(fresh(), 0, true))) == Swapped::Done
        });
        block_on(self.store.load(handle))
    }
}

#[test]
fn a_failover_to_a_standby_that_nobody_waits_for_may_bring_a_session_back() {
    let mut pair = Pair::start();
    let handle = pair.logged_in();
    pair.between.set(Fault::Refuse);
    assert_eq!(pair.log_out(handle), Swapped::Done, "acknowledged by the primary alone");
    assert_eq!(pair.failed_over(handle), Loaded::Found(record(1, &[9; 200])), "this loss is in the docs");
}

#[test]
fn a_failover_to_a_synchronous_standby_loses_no_ending() {
    let mut pair = Pair::start();
    pair.primary.query("ALTER SYSTEM SET synchronous_standby_names = 'standby'");
    pair.primary.query("SELECT pg_reload_conf()");
    let is_waited_for = "SELECT sync_state = 'sync' FROM pg_stat_replication";
    wait_until("it counts", Duration::from_secs(10), || pair.primary.query(is_waited_for) == "t");
    let (ended, in_doubt) = (pair.logged_in(), pair.logged_in());
    assert_eq!(pair.log_out(ended), Swapped::Done);
    pair.between.set(Fault::Refuse);
    assert_eq!(pair.log_out(in_doubt), Swapped::Unknown, "not acknowledged before the standby has it");
    let data = Swap { ..write(fresh(), 0, false) };
    assert_eq!(block_on(pair.store.swap(&data)), Swapped::Done, "data waits for no standby");
    assert_eq!(pair.failed_over(ended), Loaded::Found(record(2, &[9; 200])));
}
