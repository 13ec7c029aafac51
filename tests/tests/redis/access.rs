//! Who may connect, over what, and what an operator is told.

use coatroom_core::Loaded;
use coatroom_store::redis::{Settings, SettingsError};
use coatroom_store::{Store as _, block_on};
use coatroom_tests::servers::{Redis, Reply, Server};

use super::{Store, add, driver, handle, is_logged_in, login, settings, store, visitor};

/// What the documentation of the module says that a user needs on one server.
const COMMANDS: &str = "+get +evalsha +eval +set +getrange +unlink +zadd +zrem +zscore +zcount +zrange \
                        +zremrangebyscore +pexpire +info +scan +time +wait";

#[test]
fn a_user_with_the_commands_of_the_documentation_can_do_everything() {
    let server = Redis::start(&[]);
    let words = ["ACL", "SETUSER", "coatroom", "reset", "on", ">p@ss:word", "~shop:*"];
    let all: Vec<&str> = words.into_iter().chain(COMMANDS.split_whitespace()).collect();
    assert_eq!(server.call(&all), Reply::Text("OK".to_owned()));
    let url = server.url().replace("redis://", "redis://coatroom:p%40ss%3Aword@") + "?prefix=shop:";
    let driver = driver(store(&url));
    let cookie = login(&driver, "ada");
    assert!(add(&driver, &cookie));
    assert_eq!(block_on(driver.devices("ada")).unwrap().len(), 1);
    block_on(driver.revoke_all("ada")).unwrap();
    assert!(!is_logged_in(&driver, &cookie));
    let cookie = login(&driver, "grace");
    assert_eq!(block_on(driver.revoke_everything()), Ok(1));
    assert!(!is_logged_in(&driver, &cookie));
    assert_eq!(block_on(driver.store().warnings()).map(|warnings| warnings.len()), Ok(1), "no append-only file");
    assert_eq!(driver.store().trouble(), None);

    let other = store(&server.url().replace("redis://", "redis://coatroom:p%40ss%3Aword@"));
    assert_eq!(block_on(other.load(handle(1))), Loaded::Unavailable, "keys of others are none of its business");
    assert!(other.trouble().is_some_and(|trouble| trouble.contains("NoPerm") || trouble.contains("permission")));
}

#[test]
fn tls_is_spoken_with_whom_the_authority_vouches_for() {
    let server = Redis::start_with_tls(&[]);
    let authority = server.certificates().authority.clone();
    let trusted = Store::connect(settings(&server.tls_url()).authority(&authority)).unwrap();
    let driver = driver(trusted);
    let cookie = visitor(&driver);
    assert!(add(&driver, &cookie));

    let stranger = Store::connect(settings(&server.tls_url()).authority(&server.certificates().certificate)).unwrap();
    assert_eq!(block_on(stranger.load(handle(1))), Loaded::Unavailable);
    let missing = Settings::parse("rediss://localhost").unwrap().authority("/nowhere.pem");
    assert_eq!(Store::connect(missing).err(), Some(SettingsError::Authority));
    let plain = server.tls_url().replace("rediss", "redis");
    assert_eq!(block_on(store(&plain).load(handle(1))), Loaded::Unavailable, "without TLS that port says nothing");
}

#[test]
fn databases_are_apart() {
    let server = Redis::start(&[]);
    let driver = driver(store(&format!("{}/3", server.url())));
    visitor(&driver);
    assert!(server.call(&["INFO", "keyspace"]).text().contains("db3:keys=1"));
}

#[test]
fn an_operator_is_warned_of_what_loses_sessions_or_brings_them_back() {
    let warned = |lines: &[&str]| {
        let server = Redis::start(lines);
        block_on(store(&server.url()).warnings()).unwrap()
    };
    assert_eq!(warned(&["appendonly yes"]), Vec::<String>::new());
    let evicting = warned(&["appendonly yes", "maxmemory-policy allkeys-lru"]);
    assert!(evicting.len() == 1 && evicting[0].contains("allkeys-lru"), "{evicting:?}");
    assert_eq!(warned(&[]), Vec::<String>::new(), "a server that starts empty brings nobody back");
    let snapshots = warned(&["save 60 1"]);
    assert!(snapshots.len() == 1 && snapshots[0].contains("appendonly"), "{snapshots:?}");
}
