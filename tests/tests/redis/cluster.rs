//! A Cluster of six nodes, three of them replicas, while slots move and nodes end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use coatroom_core::Loaded;
use coatroom_store::{Store as _, block_on};
use coatroom_tests::servers::{Cluster, Server};

use super::{Store, add, cluster_url, counted, driver, handle, is_logged_in, login, settings, visitor};

fn handle_in(cookie: &str) -> String {
    // The id begins with the handle, and 12 bytes are 16 characters.
    cookie.split_once('=').unwrap().1[..16].to_owned()
}

#[test]
fn a_slot_that_moves_under_load_loses_nothing_and_refuses_nobody() {
    let cluster = Cluster::start(&[]);
    let driver = driver(Store::connect(settings(&cluster_url(&cluster)).time_limit(Duration::from_secs(2))).unwrap());
    let cookie = visitor(&driver);
    let slots = [format!("coatroom:s:{}", handle_in(&cookie)), "coatroom:p:ada".to_owned()];
    let done = AtomicBool::new(false);
    let (acknowledged, logins) = thread::scope(|scope| {
        let writer = || {
            let (mut acknowledged, mut refused) = (0, 0);
            while !done.load(Ordering::Relaxed) {
                if add(&driver, &cookie) { acknowledged += 1 } else { refused += 1 }
            }
            (acknowledged, refused)
        };
        let writers = [scope.spawn(writer), scope.spawn(writer)];
        let logins = scope.spawn(|| {
            let mut cookies = Vec::new();
            while !done.load(Ordering::Relaxed) {
                cookies.push(login(&driver, "ada"));
            }
            cookies
        });
        for key in &slots {
            let slot = cluster.slot_of(key);
            let home = Cluster::first_owner(slot);
            for (from, to) in [(home, (home + 1) % 3), ((home + 1) % 3, (home + 2) % 3), ((home + 2) % 3, home)] {
                cluster.move_slot(slot, from, to);
                thread::sleep(Duration::from_millis(100));
            }
        }
        done.store(true, Ordering::Relaxed);
        let counts = writers.map(|writer| writer.join().unwrap());
        assert_eq!(counts.iter().map(|(_, refused)| refused).sum::<i64>(), 0, "{:?}", driver.store().trouble());
        (counts.iter().map(|(acknowledged, _)| acknowledged).sum::<i64>(), logins.join().unwrap())
    });
    assert!(acknowledged > 20 && logins.len() > 5, "{acknowledged} additions, {} logins", logins.len());
    assert_eq!(counted(&driver, &cookie), acknowledged);
    let listed = block_on(driver.store().sessions("ada")).unwrap();
    for cookie in &logins {
        assert!(listed.iter().any(|handle| handle.to_string() == handle_in(cookie)), "the index misses nobody");
    }
    block_on(driver.revoke_all("ada")).unwrap();
    assert!(logins.iter().all(|cookie| !is_logged_in(&driver, cookie)));
}

#[test]
fn a_scan_misses_nothing_of_a_slot_that_is_on_its_way() {
    let cluster = Cluster::start(&[]);
    let driver = driver(super::store(&cluster_url(&cluster)));
    let cookie = login(&driver, "ada");
    let slot = cluster.slot_of(&format!("coatroom:s:{}", handle_in(&cookie)));
    let home = Cluster::first_owner(slot);
    let target = (home + 1) % 3;
    let [from, to] = [home, target].map(|node| cluster.id(node));
    cluster.nodes[target].call(&["CLUSTER", "SETSLOT", &slot.to_string(), "IMPORTING", &from]);
    cluster.nodes[home].call(&["CLUSTER", "SETSLOT", &slot.to_string(), "MIGRATING", &to]);
    let port = cluster.nodes[target].port().to_string();
    let key = format!("coatroom:s:{}", handle_in(&cookie));
    cluster.nodes[home].call(&["MIGRATE", "127.0.0.1", &port, &key, "0", "5000"]);
    assert!(is_logged_in(&driver, &cookie), "asked of the node that is to have it");
    assert_eq!(block_on(driver.revoke_everything()), Ok(1));
    assert!(!is_logged_in(&driver, &cookie));
}

#[test]
fn a_primary_of_a_cluster_that_ends_is_followed_by_its_replica() {
    let mut cluster = Cluster::start(&[]);
    let driver = driver(super::store(&cluster_url(&cluster)));
    let cookies: Vec<String> = (0..12).map(|_| visitor(&driver)).collect();
    for cookie in &cookies {
        assert!(add(&driver, cookie));
    }
    // Writes reach the replicas a moment later.
    for node in &cluster.nodes[..3] {
        node.call(&["WAIT", "1", "1000"]);
    }
    thread::sleep(Duration::from_millis(200));
    cluster.nodes[0].kill9();
    let down = Instant::now();
    while !cookies.iter().all(|cookie| add(&driver, cookie)) {
        assert!(down.elapsed() < Duration::from_secs(20), "{:?}", driver.store().trouble());
    }
    assert!(cookies.iter().all(|cookie| counted(&driver, cookie) >= 2), "nothing was lost");
}

#[test]
fn any_node_of_a_cluster_is_enough_to_begin_with() {
    let cluster = Cluster::start(&[]);
    let replica = format!("redis+cluster://127.0.0.1:1,{}", cluster.nodes[5].address());
    assert_eq!(block_on(super::store(&replica).load(handle(1))), Loaded::Absent);
    let plain = super::store(&cluster.nodes[0].url());
    let loaded: Vec<Loaded> = (0..20).map(|number| block_on(plain.load(handle(number)))).collect();
    assert!(loaded.contains(&Loaded::Unavailable), "a node alone has not every slot");
    assert!(plain.trouble().unwrap().to_lowercase().contains("moved"));
}
