//! Counts on one session in an SQLite file for ever, and prints each sum once it is acknowledged: to be killed.

use std::io::Write;

use coatroom_store::Driver;
use coatroom_store::sqlite::Sqlite;
use coatroom_tests::suite::rules;

fn main() {
    let [path, cookie] = [1, 2].map(|at| std::env::args().nth(at).expect("a path and a cookie"));
    let driver = Driver::new(rules(), Sqlite::new(path).expect("a store"));
    loop {
        let mut session = driver.open_now(cookie.as_bytes()).expect("a session");
        session.add("n", 1).expect("an integer");
        session.rotate();
        driver.close_now(session).expect("an acknowledgement");
        println!("1");
        std::io::stdout().flush().expect("a reader");
    }
}
