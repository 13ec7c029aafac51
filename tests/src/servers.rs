//! Real servers for the tests of the stores: started on loopback, on ports and in folders of their own, and ended by
//! process id.
//!
//! A server ends with the value that stands for it, and, when the test process is killed, with that: the kernel sees to it
//! (`PR_SET_PDEATHSIG`, through `setpriv`). `scripts/need servers` installs the programs; one that is missing fails the test.
//! A server that was stopped or killed is started again on the same port and the same data.
//!
//! ```no_run
//! use coatroom_tests::servers::{Redis, Server};
//!
//! let mut redis = Redis::start(&["appendonly yes"]);
//! println!("{}", redis.url());
//! redis.kill9();
//! redis.start_again();
//! ```

mod folder;
mod port;
mod postgres;
mod process;
mod proxy;
mod redis;
mod resp;
mod tls;

pub use port::Port;
pub use postgres::{PgBouncer, Postgres};
pub use process::Process;
pub use proxy::{Fault, Proxy};
pub use redis::{Cluster, Redis, Sentinel};
pub use resp::{Reply, Resp};
pub use tls::Certificates;

pub use crate::suite::until as wait_until;

/// Something that the fault tests may stop, kill and halt.
pub trait Server {
    /// Where clients find it, in the form that the store takes.
    fn url(&self) -> String;
    /// The process, or the one of several that matters.
    fn process(&self) -> &Process;
    fn process_mut(&mut self) -> &mut Process;
    /// Waits until it serves.
    fn wait(&self);

    /// Asks it to end, and waits for that.
    fn stop(&mut self) {
        self.process_mut().stop("TERM");
    }

    /// Kills it and everything that it started.
    fn kill9(&mut self) {
        self.process_mut().kill9();
    }

    /// Starts it on the same port and the same data, and waits until it serves.
    fn start_again(&mut self) {
        self.process_mut().start();
        self.wait();
    }

    fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// Halts it: connections stay open, and nothing answers.
    fn pause(&self) {
        self.process().signal("STOP");
    }

    fn resume(&self) {
        self.process().signal("CONT");
    }
}
