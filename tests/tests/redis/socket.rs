//! A server on this host, by its Unix socket.

use coatroom_core::Loaded;
use coatroom_store::{Store as _, block_on};
use coatroom_tests::servers::Redis;
use coatroom_tests::suite::all_but_sweeping;

use super::on_loop::{OnLoop, lasting, whatever_the_server_does};
use super::waiting::Waiting;
use super::{Store, add, driver, handle, settings, store, visitor};

/// How many connections a server has by its socket.
fn by_socket(server: &Redis) -> usize {
    server.call(&["CLIENT", "LIST"]).text().lines().filter(|line| line.contains("redis.sock")).count()
}

#[test]
// spec: STORE-1 4bc6, STORE-2 4ba9, STORE-3 1632
fn a_server_passes_the_suite_by_its_socket_whoever_asks() {
    let server = Redis::start(&[]);
    let asked = |prefix: &str| Store::connect(settings(&server.socket_url("")).prefix(prefix)).unwrap();
    let library = asked("library:");
    all_but_sweeping(&library);
    assert_eq!(by_socket(&server), 1);
    let (on_loop, called, waiting) =
        (OnLoop::new(asked("loop:")), OnLoop::calling(asked("called:")), Waiting(asked("waiting:")));
    all_but_sweeping(&on_loop);
    all_but_sweeping(&called);
    assert_eq!(by_socket(&server), 3);
    all_but_sweeping(&waiting);
    assert!(by_socket(&server) > 3);
}

#[test]
// spec: STORE-3 1632, STORE-5 5484
fn whatever_a_server_does_who_asks_by_its_socket_is_told_in_time() {
    let mut server = lasting();
    let asked = || store(&server.socket_url(""));
    let (library, on_loop, waiting) = (asked(), OnLoop::calling(asked()), Waiting(asked()));
    whatever_the_server_does(&library, &mut server);
    whatever_the_server_does(&on_loop, &mut server);
    whatever_the_server_does(&waiting, &mut server);
}

#[test]
fn who_asks_by_a_socket_says_who_it_is_and_for_which_database() {
    let server = Redis::start(&[]);
    server.call(&["ACL", "SETUSER", "shop", "on", ">open-sesame", "~*", "&*", "+@all"]);
    let driver = driver(store(&format!("{}?db=3", server.socket_url("shop:open-sesame"))));
    let cookie = visitor(&driver);
    assert!(add(&driver, &cookie));
    assert!(server.call(&["INFO", "keyspace"]).text().contains("db3:keys=1"));
    let clients = server.call(&["CLIENT", "LIST"]).text();
    assert!(clients.lines().any(|line| line.contains("redis.sock") && line.contains("user=shop")), "{clients}");
    let stranger = store(&server.socket_url("shop:guessed"));
    assert_eq!(block_on(stranger.load(handle(1))), Loaded::Unavailable);
}
