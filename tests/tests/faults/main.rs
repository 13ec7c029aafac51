//! Stores whose writers, disks, servers and connections fail.

mod disk;
mod toy;

use std::path::Path;
use std::time::Duration;

use coatroom_store::file::Files;
use coatroom_store::sqlite::Sqlite;
use coatroom_tests::faults::{self, Outage};
use coatroom_tests::servers::{Proxy, Redis};
use coatroom_tests::suite;

use disk::{SmallDisk, refuse_writes, unprivileged};
use toy::Toy;

const COUNTER: &str = env!("CARGO_BIN_EXE_counter");
/// Longer than an engine waits for a lock.
const LIMIT: Duration = Duration::from_secs(5);

fn sqlite() -> (tempfile::TempDir, Sqlite, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.db");
    let url = format!("sqlite:{}", path.display());
    (folder, Sqlite::new(path).unwrap(), url)
}

fn files() -> (tempfile::TempDir, Files, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions");
    let url = format!("file:{}", path.display());
    (folder, Files::new(path).unwrap(), url)
}

#[test]
// spec: STORE-3 1632, WRITE-16 ef0b
fn kill_9_of_a_writer_loses_no_acknowledged_write() {
    let (_folder, engine, url) = sqlite();
    faults::killed_writers(&engine, Path::new(COUNTER), &url);
}

#[test]
// spec: STORE-3 1632, WRITE-16 ef0b
fn kill_9_of_a_writer_of_files_loses_no_acknowledged_write() {
    let (_folder, engine, url) = files();
    faults::killed_writers(&engine, Path::new(COUNTER), &url);
}

#[test]
fn a_halted_writer_holds_nobody_up_for_long() {
    let (_folder, engine, url) = sqlite();
    faults::halted_writers(&engine, Path::new(COUNTER), &url, LIMIT);
    let (_folder, engine, url) = files();
    faults::halted_writers(&engine, Path::new(COUNTER), &url, LIMIT);
}

#[test]
fn a_full_disk_refuses_and_forgets_nothing() {
    let name = "a_full_disk_refuses_and_forgets_nothing";
    SmallDisk::with(name, |disk| {
        let engine = Sqlite::new(disk.path().join("sessions.db")).unwrap();
        faults::full_disk(&engine, || disk.make_room());
    });
}

#[test]
fn a_full_disk_refuses_files_and_forgets_none() {
    let name = "a_full_disk_refuses_files_and_forgets_none";
    SmallDisk::with(name, |disk| {
        let engine = Files::new(disk.path().join("sessions")).unwrap();
        faults::full_disk(&engine, || disk.make_room());
    });
}

#[test]
fn a_store_that_may_not_write_says_so() {
    if !unprivileged("a_store_that_may_not_write_says_so") {
        return;
    }
    let (folder, engine, _) = sqlite();
    faults::read_only(&engine, || {
        engine.release();
        refuse_writes(folder.path());
        engine.resume();
    });
    let (folder, engine, _) = files();
    faults::read_only(&engine, || refuse_writes(folder.path()));
}

#[test]
fn a_store_of_a_stranger_passes_the_suite() {
    let redis = Redis::start(&[]);
    suite::everything(&Toy::at(&redis.address()));
}

#[test]
fn a_server_that_is_killed_stopped_or_halted_loses_nothing() {
    let mut redis = Redis::start(&["appendonly yes", "appendfsync always"]);
    let store = Toy::at(&redis.address());
    for outage in [Outage::Kill, Outage::Stop, Outage::Pause(Duration::from_millis(500))] {
        faults::outages(&store, &mut redis, outage, true);
    }
    faults::comes_back(&store, &mut redis, Duration::from_millis(200), Duration::from_secs(1));
}

#[test]
#[should_panic(expected = "no order explains what was seen")]
fn a_server_that_forgets_is_found() {
    let mut redis = Redis::start(&[]);
    faults::outages(&Toy::at(&redis.address()), &mut redis, Outage::Kill, true);
}

#[test]
fn a_bad_network_is_survived() {
    let redis = Redis::start(&[]);
    let proxy = Proxy::to(&redis.address());
    let store = Toy::at(&proxy.address());
    faults::slow_replies(&store, &proxy);
    faults::cut_replies(&store, &proxy);
    faults::counting_through_cuts(&store, &proxy);
    faults::never_hangs(&store, &proxy, LIMIT);
}

#[test]
#[should_panic(expected = "though nobody else writes")]
fn a_client_that_sends_a_swap_twice_is_found() {
    let redis = Redis::start(&[]);
    let proxy = Proxy::to(&redis.address());
    faults::cut_replies(&Toy::impatiently(&proxy.address()), &proxy);
}
