//! Counts on one session for ever, and prints a line for each addition that is acknowledged: to be killed.

use std::io::Write;

use coatroom_core::{Error, Session};
use coatroom_store::file::Files;
use coatroom_store::sqlite::Sqlite;
use coatroom_store::{Driver, Refused, Store, block_on};
use coatroom_tests::suite::rules;

fn main() {
    let [url, cookie] = [1, 2].map(|at| std::env::args().nth(at).expect("a store and a cookie"));
    match url.split_once(':').expect("a store is named kind:place") {
        ("sqlite", path) => count(Sqlite::new(path).expect("a file"), &cookie),
        ("file", path) => count(Files::new(path).expect("a folder"), &cookie),
        (kind, _) => panic!("no store of the kind {kind}"),
    }
}

fn count(store: impl Store, cookie: &str) {
    let driver = Driver::new(rules(), store);
    loop {
        let mut session: Session = block_on(driver.open(cookie.as_bytes())).expect("a session");
        session.add("n", 1).expect("an integer");
        session.rotate();
        match block_on(driver.close(session)) {
            Ok(_) => println!("1"),
            // The store may be busy with another that was halted.
            Err(Refused(failure)) if matches!(failure.error, Error::Unavailable | Error::Busy) => continue,
            Err(refused) => panic!("{refused}"),
        }
        std::io::stdout().flush().expect("a reader");
    }
}
