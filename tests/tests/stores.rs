//! Every engine against the suite, and what SQLite promises beyond it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use coatroom_core::{Closing, Value};
use coatroom_store::memory::Memory;
use coatroom_store::sqlite::{OpenError, Sqlite};
use coatroom_store::{Driver, Engine};
use coatroom_tests::suite::{contract, counting, rules, sweeping};

fn sqlite() -> (tempfile::TempDir, Sqlite) {
    let folder = tempfile::tempdir().unwrap();
    let engine = Sqlite::new(folder.path().join("sessions.db")).unwrap();
    (folder, engine)
}

#[test]
// spec: STORE-1 4bc6, STORE-2 4ba9, STORE-3 1632, STORE-7 250a
fn memory_keeps_the_contract() {
    contract(&Memory::default());
    counting(Memory::default(), 8, 500);
    sweeping(&Memory::default());
}

#[test]
// spec: STORE-1 4bc6, STORE-2 4ba9, STORE-3 1632, STORE-7 250a
fn sqlite_keeps_the_contract() {
    let (_folder, engine) = sqlite();
    contract(&engine);
    let (_folder, engine) = sqlite();
    counting(engine, 4, 100);
    let (_folder, engine) = sqlite();
    sweeping(&engine);
}

#[test]
fn sqlite_keeps_its_records_when_it_is_opened_again() {
    let (folder, engine) = sqlite();
    contract(&engine);
    drop(engine);
    let again = Sqlite::new(folder.path().join("sessions.db")).unwrap();
    let kept = coatroom_core::Handle::from_bytes([1; 12]);
    assert!(matches!(Engine::load(&again, kept), coatroom_core::Loaded::Found(_)));
}

#[test]
fn memory_does_not_grow_without_bound_under_visitors_who_never_return() {
    let driver = Driver::with_host(rules(), Memory::default(), coatroom_store::System::default());
    // Half an hour idle: whoever came at the beginning is garbage at the end.
    for _ in 0..2000 {
        let mut session = driver.open_now(b"").unwrap();
        session.set("n", 1).unwrap();
        driver.close_now(session).unwrap();
    }
    let later = coatroom_core::Timestamp::from_unix_ms(u64::MAX);
    while driver.store().sweep(later, 100).unwrap() > 0 {}
    assert!(driver.store().is_empty());
}

#[test]
// spec: STORE-6 aac8
fn what_cannot_wait_goes_as_far_as_it_can_and_comes_back_whole() {
    let (_folder, engine) = sqlite();
    let driver = Driver::new(rules(), engine);
    let mut session = driver.open_now(b"").unwrap();
    session.set("n", 1).unwrap();
    // A create is durable: it waits for the disk.
    let closing = driver.finish_without_waiting(driver.start_closing(session));
    assert!(matches!(closing, Closing::Save(_)));
    let reply = driver.finish_now(closing).unwrap();
    let cookie = reply.set_cookies().next().unwrap().split(';').next().unwrap().to_owned();
    // Data is not.
    let mut session = driver.open_now(cookie.as_bytes()).unwrap();
    session.set("n", 2).unwrap();
    let closing = driver.finish_without_waiting(driver.start_closing(session));
    assert!(matches!(closing, Closing::Done(_)));
    assert_eq!(driver.open_now(cookie.as_bytes()).unwrap().get("n"), Some(Value::Int(2)));
}

#[test]
// spec: REC-4 ee90
fn a_damaged_record_reads_as_absent_and_is_never_written_over() {
    let (folder, engine) = sqlite();
    let path = folder.path().join("sessions.db");
    let driver = Driver::new(rules(), engine);
    let mut session = driver.open_now(b"").unwrap();
    session.set("n", 1).unwrap();
    let cookie = driver.close_now(session).unwrap().set_cookies().next().unwrap().split(';').next().unwrap().to_owned();
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute("UPDATE session SET record = substr(record, 1, length(record) - 1)", []).unwrap();
    let read = || raw.query_row("SELECT record FROM session", [], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    let damaged = read();

    let mut session = driver.open_now(cookie.as_bytes()).unwrap();
    assert_eq!(session.get("n"), None);
    driver.close_now(session).unwrap();
    assert_eq!(read(), damaged);
}

#[test]
fn a_folder_or_a_text_is_no_store() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(Sqlite::new(folder.path()), Err(OpenError::Unreachable(..))));
    let text = folder.path().join("text");
    std::fs::write(&text, "not a database, though long enough to be looked at as one").unwrap();
    assert!(matches!(Sqlite::new(&text), Err(OpenError::Damaged(_))));
}

/// Writers that are killed in the middle of a write loop, while others go on: whatever was acknowledged is there.
#[test]
// spec: STORE-3 1632, WRITE-16 ef0b
fn kill_9_of_a_writer_loses_no_acknowledged_write() {
    let (folder, engine) = sqlite();
    let path = folder.path().join("sessions.db");
    let driver = Driver::new(rules(), engine);
    let mut session = driver.open_now(b"").unwrap();
    session.set("n", 0).unwrap();
    let cookie = driver.close_now(session).unwrap().set_cookies().next().unwrap().split(';').next().unwrap().to_owned();

    let start = || -> Child {
        Command::new(env!("CARGO_BIN_EXE_counter")).arg(&path).arg(&cookie).stdout(Stdio::piped()).spawn().unwrap()
    };
    let mut acknowledged = 0;
    for round in 0..8 {
        let mut writers = [start(), start()];
        std::thread::sleep(Duration::from_millis(60 + 17 * round));
        for writer in &mut writers {
            writer.kill().unwrap();
            writer.wait().unwrap();
            acknowledged += BufReader::new(writer.stdout.take().unwrap()).lines().count();
        }
    }
    let mut session = driver.open_now(cookie.as_bytes()).unwrap();
    let Some(Value::Int(counted)) = session.get("n") else { panic!("the count is gone") };
    let counted = usize::try_from(counted).unwrap();
    assert!(acknowledged > 0, "the writers did write");
    assert!(counted >= acknowledged, "{counted} of {acknowledged}");
    // A write that was done but not yet told is no loss; there is at most one for each killed writer.
    assert!(counted <= acknowledged + 16, "{counted} of {acknowledged}");
}
