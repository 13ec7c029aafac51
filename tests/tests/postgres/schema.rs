//! The tables: made, brought up to date, refused.

use std::thread;

use coatroom_core::{Handle, Loaded};
use coatroom_store::postgres::{Postgres, SchemaError, Settings, SettingsError};
use coatroom_store::{Store, Swapped, block_on};
use coatroom_tests::servers::Server;

use crate::help::{entry, fresh, fresh_schema, login, migrated, open, record, settings, shared, store, write};

const FIRST: &str = include_str!("../../../store/src/postgres/schema/1-sessions.sql");
const ALL: [&str; 3] = [
    FIRST,
    include_str!("../../../store/src/postgres/schema/2-principals.sql"),
    include_str!("../../../store/src/postgres/schema/3-feed.sql"),
];

fn on(schema: &str) -> Postgres {
    open(&format!("{}?schema={schema}", shared().url()))
}

/// The tables of a schema with their columns, and its indices.
fn shape(schema: &str) -> String {
    let columns = format!(
        "SELECT table_name, column_name, data_type FROM information_schema.columns
        WHERE table_schema = '{schema}' ORDER BY 1, 2"
    );
    let indices = format!(
        "SELECT replace(indexdef, '{schema}.', '') FROM pg_indexes WHERE schemaname = '{schema}'
        ORDER BY 1"
    );
    format!("{}\n{}", shared().query(&columns), shared().query(&indices))
}

#[test]
fn tables_of_the_first_version_are_brought_up_to_date_with_what_is_in_them() {
    let schema = fresh_schema();
    shared().query(&format!("CREATE SCHEMA {schema}; {}", FIRST.replace("coatroom", &schema)));
    let bytes: String = record(1, b"kept").iter().map(|byte| format!("{byte:02x}")).collect();
    let kept = Handle::from_bytes([5; 12]);
    shared().query(&format!(r"INSERT INTO {schema}.session VALUES ('\x050505050505050505050505', 9, '\x{bytes}')"));
    let store = on(&schema);
    assert!(matches!(block_on(store.check()), Err(SchemaError::Older)));
    assert_eq!(block_on(store.load(kept)), Loaded::Unavailable, "not used before they are up to date");
    block_on(store.migrate()).unwrap();
    block_on(store.check()).unwrap();
    assert_eq!(block_on(store.load(kept)), Loaded::Found(record(1, b"kept")));
    assert!(matches!(block_on(store.swap(&login(entry("alice", fresh())))), Swapped::Entered(_)));
    let fresh_one = fresh_schema();
    migrated(on(&fresh_one));
    assert_eq!(shape(&schema), shape(&fresh_one), "the same as made at once");
}

#[test]
fn whoever_prefers_runs_the_documented_statements_by_hand() {
    let schema = fresh_schema();
    let by_hand = ALL.map(|step| step.replace("coatroom", &schema)).concat();
    shared().query(&format!("CREATE SCHEMA {schema}; {by_hand}"));
    let store = on(&schema);
    block_on(store.check()).unwrap();
    assert_eq!(block_on(store.swap(&write(fresh(), 0, true))), Swapped::Done);
}

#[test]
fn tables_of_a_newer_version_are_refused_and_not_touched() {
    let schema = fresh_schema();
    migrated(on(&schema));
    shared().query(&format!("UPDATE {schema}.version SET version = 99"));
    let store = on(&schema);
    assert!(matches!(block_on(store.migrate()), Err(SchemaError::Newer)));
    assert!(matches!(block_on(store.check()), Err(SchemaError::Newer)));
    assert_eq!(block_on(store.load(fresh())), Loaded::Unavailable);
    assert_eq!(block_on(store.swap(&write(fresh(), 0, true))), Swapped::Unavailable);
    assert_eq!(shared().query(&format!("SELECT version FROM {schema}.version")), "99");
}

#[test]
fn tables_of_another_program_are_not_touched() {
    let schema = fresh_schema();
    shared().query(&format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.session (id integer)"));
    let before = shape(&schema);
    assert!(matches!(block_on(on(&schema).migrate()), Err(SchemaError::Refused(_))));
    assert_eq!(shape(&schema), before);
}

#[test]
fn processes_that_make_the_tables_at_the_same_time_queue() {
    let schema = fresh_schema();
    let (schema, url) = (&schema, shared().url());
    let migrate = || block_on(open(&format!("{url}?schema={schema}")).migrate());
    thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(migrate)).collect();
        all.into_iter().for_each(|one| one.join().unwrap().unwrap());
    });
    block_on(on(schema).check()).unwrap();
}

#[test]
fn schemas_of_one_database_are_stores_of_their_own() {
    let (one, two, handle) = (store(shared()), store(shared()), fresh());
    assert_eq!(block_on(one.swap(&write(handle, 0, true))), Swapped::Done);
    assert_eq!(block_on(two.load(handle)), Loaded::Absent);
}

#[test]
fn a_server_that_cannot_be_trusted_is_not_used() {
    let (server, folder) = (shared(), tempfile::tempdir().unwrap());
    let wrong = coatroom_tests::servers::Postgres::start(&[]);
    let other = wrong.certificates().authority.display();
    let store = open(&format!("{}?sslrootcert={other}", server.url()));
    assert!(matches!(block_on(store.check()), Err(SchemaError::Unreachable(_))));
    assert_eq!(block_on(store.load(fresh())), Loaded::Unavailable);

    let plain = coatroom_tests::servers::Postgres::start(&["ssl = off"]);
    let authority = plain.certificates().authority.display();
    let store = open(&format!("{}?sslrootcert={authority}", plain.url()));
    assert!(matches!(block_on(store.check()), Err(SchemaError::Unreachable(_))), "never silently in the clear");

    let nothing = folder.path().join("none.pem");
    let refused = Postgres::new(settings(server).authority(nothing)).err();
    assert_eq!(refused, Some(SettingsError::Authority));
    assert!(Settings::parse("postgres://").is_err());
}
