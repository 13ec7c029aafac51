//! Every engine of one host against the suite, and what SQLite and files promise beyond it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use coatroom_core::{Closing, Entry, Handle, Listing, Loaded, Swap, Timestamp, Value};
use coatroom_store::file::{self, Files};
use coatroom_store::memory::Memory;
use coatroom_store::sqlite::{OpenError, Sqlite};
use coatroom_store::{Driver, Engine, Swapped, Sweeper, Wait, block_on};
use coatroom_tests::people;
use coatroom_tests::suite::{everything, rules};

fn sqlite() -> (tempfile::TempDir, Sqlite) {
    let folder = tempfile::tempdir().unwrap();
    let engine = Sqlite::new(folder.path().join("sessions.db")).unwrap();
    (folder, engine)
}

fn files() -> (tempfile::TempDir, Files) {
    let folder = tempfile::tempdir().unwrap();
    let engine = Files::new(folder.path().join("sessions")).unwrap();
    (folder, engine)
}

#[test]
// spec: STORE-1 4bc6, STORE-2 4ba9, STORE-3 1632, STORE-7 250a
fn memory_passes_the_suite() {
    everything(&Memory::default());
}

#[test]
// spec: STORE-1 4bc6, STORE-2 4ba9, STORE-3 1632, STORE-7 250a
fn sqlite_passes_the_suite() {
    let (_folder, engine) = sqlite();
    everything(&engine);
}

#[test]
// spec: STORE-1 4bc6, STORE-2 4ba9, STORE-3 1632, STORE-7 250a
fn files_pass_the_suite() {
    let (_folder, engine) = files();
    everything(&engine);
}

#[test]
// spec: IDX-3 763e, CLAIM-8 6865
fn files_keep_principals_and_devices() {
    let (_folder, engine) = files();
    people::stories(&Arc::new(engine));
    let (_folder, engine) = files();
    people::everything(&Arc::new(engine));
}

#[test]
fn records_and_index_are_there_when_a_store_is_opened_again() {
    fn reopened<E: Engine>(open: impl Fn() -> E) {
        let driver = Driver::new(rules(), open());
        let mut session = driver.open_now(b"").unwrap();
        session.login("alice", &["admin"], 1).unwrap();
        driver.close_now(session).unwrap();
        let [handle] = driver.store().sessions("alice").unwrap()[..] else { panic!("one session") };
        let moment = driver.store().bar("alice", Timestamp::from_unix_ms(7)).unwrap();
        drop(driver);

        let again = open();
        assert!(matches!(Engine::load(&again, handle), Loaded::Found(_)));
        assert_eq!(again.sessions("alice"), Ok(vec![handle]));
        let until = Timestamp::from_unix_ms(u64::MAX);
        let entry =
            Entry { principal: "alice".into(), handle, until, now: Timestamp::default(), at_most: None, names: 0 };
        assert_eq!(again.enter(&entry).unwrap().revoked, moment);
    }
    let folder = tempfile::tempdir().unwrap();
    reopened(|| Sqlite::new(folder.path().join("sessions.db")).unwrap());
    reopened(|| Files::new(folder.path().join("sessions")).unwrap());
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

/// Fills a store with sessions that were over long ago.
fn fill_with_garbage(engine: &impl Engine, count: u16) {
    for number in 0..count {
        let mut handle = [0; 12];
        // Spread like random ones, for neighbours share pages.
        handle[..2].copy_from_slice(&number.wrapping_mul(40_503).to_be_bytes());
        let mut record = vec![1, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        record.resize(300, 7);
        let garbage_at = Timestamp::from_unix_ms(1);
        let handle = Handle::from_bytes(handle);
        let swap =
            Swap { handle, expected: None, new: Some(record), durable: false, garbage_at, listing: Listing::Keep };
        assert_eq!(engine.swap(&swap, Wait::Patiently), Some(Swapped::Done));
    }
}

#[test]
// spec: STORE-7 250a
fn a_sweeper_removes_by_and_by_what_is_over_and_nothing_else() {
    let driver = Arc::new(Driver::new(rules(), Memory::default()));
    let mut session = driver.open_now(b"").unwrap();
    session.set("n", 1).unwrap();
    driver.close_now(session).unwrap();
    fill_with_garbage(driver.store(), 1050);

    let sweeper = Sweeper::start(Arc::clone(&driver), Duration::from_millis(1), 100).unwrap();
    let started = Instant::now();
    while driver.store().len() > 1 {
        assert!(started.elapsed() < Duration::from_secs(20), "{} are left", driver.store().len());
        std::thread::yield_now();
    }
    drop(sweeper);
    assert_eq!((driver.store().len(), Arc::strong_count(&driver)), (1, 1));
}

#[test]
fn the_log_of_sqlite_does_not_grow_while_much_is_swept() {
    let (folder, engine) = sqlite();
    fill_with_garbage(&engine, 4000);
    let log = || std::fs::metadata(folder.path().join("sessions.db-wal")).unwrap().len();
    let before = log();
    let later = Timestamp::from_unix_ms(1 << 40);
    while engine.sweep(later, 100).unwrap() > 0 {}
    assert!(log() <= before, "{} bytes after {before}", log());
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
    assert!(matches!(Files::new(folder.path()), Err(file::OpenError::Foreign(_))));
    assert!(matches!(Files::new(&text), Err(file::OpenError::Unreachable(..))));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was touched");
}

#[test]
fn a_folder_of_a_newer_format_is_refused() {
    let (folder, engine) = files();
    drop(engine);
    let root = folder.path().join("sessions");
    std::fs::write(root.join("format"), "coatroom sessions 2\n").unwrap();
    assert!(matches!(Files::new(&root), Err(file::OpenError::Newer(_))));
    std::fs::write(root.join("format"), "something else\n").unwrap();
    assert!(matches!(Files::new(&root), Err(file::OpenError::Foreign(_))));
}

#[test]
fn files_are_for_their_owner_alone_and_name_no_principal() {
    fn walk(path: &Path, seen: &mut Vec<(PathBuf, u32)>) {
        for entry in std::fs::read_dir(path).unwrap().map(Result::unwrap) {
            let permissions = entry.metadata().unwrap().permissions().mode() & 0o777;
            seen.push((entry.path(), permissions));
            if entry.path().is_dir() {
                walk(&entry.path(), seen);
            }
        }
    }
    let (folder, engine) = files();
    let driver = Driver::new(rules(), engine);
    let mut session = driver.open_now(b"").unwrap();
    session.login("alice/../../bob", &["admin"], 1).unwrap();
    driver.close_now(session).unwrap();
    driver.store().bar("alice/../../bob", Timestamp::from_unix_ms(1)).unwrap();
    let mut seen = Vec::new();
    walk(folder.path(), &mut seen);
    assert!(seen.iter().any(|(path, _)| path.ends_with("not-before")));
    for (path, permissions) in seen {
        assert_eq!(permissions, if path.is_dir() { 0o700 } else { 0o600 }, "{path:?}");
        let text = path.display().to_string();
        assert!(!text.contains("alice") && !text.contains("bob"), "{text}");
    }
}

#[test]
fn many_who_create_the_same_folder_share_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("sessions");
    std::thread::scope(|scope| {
        let open = || Files::new(&root).map(drop);
        let openings: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
        openings.into_iter().for_each(|opening| opening.join().unwrap().unwrap());
    });
}

#[test]
// spec: REC-4 ee90
fn a_file_that_was_cut_short_reads_as_damaged_and_is_never_written_over() {
    let (folder, engine) = files();
    let driver = Driver::new(rules(), engine);
    let mut session = driver.open_now(b"").unwrap();
    session.login("alice", &["admin"], 1).unwrap();
    let cookie = driver.close_now(session).unwrap().set_cookies().next().unwrap().split(';').next().unwrap().to_owned();
    let [handle] = driver.store().sessions("alice").unwrap()[..] else { panic!("one session") };
    let name: String = handle.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let file = folder.path().join("sessions/sessions").join(&name[..2]).join(&name);
    let whole = std::fs::read(&file).unwrap();
    for length in [0, 3, 8, 20, whole.len() - 1] {
        std::fs::write(&file, &whole[..length]).unwrap();
        let mut session = driver.open_now(cookie.as_bytes()).unwrap();
        assert_eq!(session.principal(), None);
        session.login("alice", &["admin"], 1).unwrap();
        driver.close_now(session).unwrap();
        let create = Swap {
            handle,
            expected: None,
            new: Some(whole[8..].to_vec()),
            durable: true,
            garbage_at: Timestamp::from_unix_ms(u64::MAX),
            listing: Listing::Keep,
        };
        let damaged = whole[..length].get(8..).unwrap_or_default().to_vec();
        let refused = Engine::swap(driver.store(), &create, Wait::Patiently);
        assert_eq!(refused, Some(Swapped::Conflict(Some(damaged))));
        assert_eq!(std::fs::read(&file).unwrap(), &whole[..length]);
    }
}

#[test]
fn a_folder_that_was_taken_away_is_unavailable_and_not_empty() {
    let (folder, engine) = files();
    std::fs::remove_dir_all(folder.path().join("sessions")).unwrap();
    assert_eq!(Engine::load(&engine, Handle::from_bytes([7; 12])), Loaded::Unavailable);
    assert!(engine.sessions("alice").is_err() && engine.scan(None, 1).is_err());
}

/// The schema of version 1, as it was: without an index of principals.
const VERSION_1: &str = "
    CREATE TABLE session (
        handle BLOB NOT NULL UNIQUE,
        garbage_at INTEGER NOT NULL,
        record BLOB NOT NULL
    ) STRICT;
    CREATE INDEX session_garbage ON session (garbage_at);
    PRAGMA application_id = 0x436f6174;
    PRAGMA user_version = 1;
    PRAGMA journal_mode = WAL;";

#[test]
fn a_file_of_version_1_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.db");
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute_batch(VERSION_1).unwrap();
    let insert = |handle: Handle, record: &[u8]| {
        // 17 minutes are one unit of it; this is in the year 2044.
        let row = rusqlite::params![handle.as_bytes(), 2_240_000, record];
        raw.execute("INSERT INTO session VALUES (?1, ?2, ?3)", row).unwrap();
    };
    // Two logins, one that has ended, a visitor, and a record that nobody can read.
    let memory = Driver::new(rules(), Memory::default());
    let cookie = |principal: Option<&str>| {
        let mut session = memory.open_now(b"").unwrap();
        session.set("n", 1).unwrap();
        principal.iter().for_each(|principal| session.login(principal, &["admin"], 1).unwrap());
        let reply = memory.close_now(session).unwrap();
        reply.set_cookies().next().unwrap().split(';').next().unwrap().to_owned()
    };
    let cookies = [Some("alice"), Some("bob"), Some("alice"), None].map(cookie);
    let handles = cookies.each_ref().map(|cookie| memory.open_now(cookie.as_bytes()).unwrap().handle().unwrap());
    let mut ended = memory.open_now(cookies[2].as_bytes()).unwrap();
    ended.logout();
    memory.close_now(ended).unwrap();
    for handle in handles {
        let Loaded::Found(record) = Engine::load(memory.store(), handle) else { panic!("a record") };
        insert(handle, &record);
    }
    insert(Handle::from_bytes([7; 12]), b"damaged");
    drop(raw);

    // Several processes may be the first.
    std::thread::scope(|scope| {
        let openings: Vec<_> = (0..4).map(|_| scope.spawn(|| Sqlite::new(&path).map(drop))).collect();
        openings.into_iter().for_each(|opening| opening.join().unwrap().unwrap());
    });
    let driver = Driver::new(rules(), Sqlite::new(&path).unwrap());
    assert_eq!(driver.store().sessions("alice"), Ok(vec![handles[0]]), "who has ended is nobody's");
    assert_eq!(driver.store().sessions("bob"), Ok(vec![handles[1]]));
    for (cookie, principal) in [(&cookies[0], Some("alice")), (&cookies[2], None), (&cookies[3], None)] {
        let mut session = driver.open_now(cookie.as_bytes()).unwrap();
        assert_eq!(session.principal().map(|principal| principal.name().to_owned()).as_deref(), principal);
    }
    assert_eq!(Engine::load(driver.store(), Handle::from_bytes([7; 12])), Loaded::Found(b"damaged".to_vec()));
    assert_eq!(block_on(driver.revoke_all("alice")).unwrap().ended, 1);
    let raw = rusqlite::Connection::open(&path).unwrap();
    assert_eq!(raw.query_row("PRAGMA user_version", [], |row| row.get(0)), Ok(2));
}

/// The first who open a file recover its log, and whoever opens it then has to wait for them.
#[test]
fn several_engines_that_begin_together_all_read() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..100 {
        let path = folder.path().join(round.to_string());
        let engines = [(); 6].map(|()| Sqlite::new(&path).unwrap());
        let begin = std::sync::Barrier::new(engines.len());
        let read = |engine: &Sqlite| {
            begin.wait();
            Engine::load(engine, Handle::from_bytes([7; 12]))
        };
        std::thread::scope(|scope| {
            let reads = engines.each_ref().map(|engine| scope.spawn(|| read(engine)));
            reads.into_iter().for_each(|found| assert_eq!(found.join().unwrap(), Loaded::Absent));
        });
    }
}

#[test]
fn a_file_of_a_newer_version_is_refused() {
    let (folder, engine) = sqlite();
    drop(engine);
    let path = folder.path().join("sessions.db");
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute_batch("PRAGMA user_version = 3").unwrap();
    assert!(matches!(Sqlite::new(&path), Err(OpenError::Newer(_))));
    assert_eq!(raw.query_row("PRAGMA user_version", [], |row| row.get(0)), Ok(3));
}
