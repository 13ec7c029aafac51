//! A web node: the shipped driver over the network's store, with a clock of its own.

use core::future::Future;
use core::time::Duration;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use coatroom_core::{Rules, Timestamp, Value};
use coatroom_store::{Driver, Host};
use coatroom_tests::rng::Fixed;
use coatroom_tests::world::START;
use rand_core::TryCryptoRng;

use crate::dice::Dice;
use crate::oracle::{Answer, Op, Oracle, View};
use crate::run::FAULTS_FOR;
use crate::store::{Client, Disk};
use crate::wire::{self, Pool, sim_ms};

/// What a node is made of; its name survives a crash, nothing else does.
#[derive(Clone)]
pub struct Node {
    pub number: usize,
    pub rules: Arc<Rules>,
    pub disk: Arc<Disk>,
    /// How far its clock is ahead of the slowest, within the skew that the policy allows.
    pub ahead: u64,
    /// Counts every drawing of randomness in the simulation.
    pub drawn: Arc<AtomicU64>,
    pub dice: Arc<Mutex<Dice>>,
}

impl Node {
    pub fn name(number: usize) -> String {
        format!("node{number}")
    }

    fn oracle(&self) -> std::sync::MutexGuard<'_, Oracle> {
        self.disk.oracle.lock().unwrap()
    }

    pub async fn serve(self) -> turmoil::Result {
        let client = Client(Arc::clone(&self.disk), Pool::default());
        let driver = Driver::with_host(Arc::clone(&self.rules), client, self.clone());
        let driver = Arc::new(driver);
        wire::serve(move |number| {
            let (node, driver) = (self.clone(), Arc::clone(&driver));
            async move {
                node.exchange(&driver, usize::try_from(number).unwrap()).await;
                number
            }
        })
        .await
    }

    /// One request: open, handle, close.
    async fn exchange(&self, driver: &Driver<Client, Self>, number: usize) {
        let (op, header) = self.oracle().arrived(number, self.number, sim_ms());
        let opened = match op {
            Op::AddInTurn(_) => driver.open_serial(header.as_bytes()).await,
            _ => driver.open(header.as_bytes()).await,
        };
        let mut session = match opened {
            Ok(session) => session,
            Err(refused) => {
                let mut oracle = self.oracle();
                oracle.noticed(&refused.0.events, &[]);
                return oracle.finished(number, Err(refused.0.error), sim_ms());
            }
        };
        let keys = self.oracle().keys();
        let sum = |value| if let Some(Value::Int(sum)) = value { sum } else { 0 };
        let principal = session.principal().map(|who| who.name().to_owned());
        let sums = keys.iter().map(|key| sum(session.get(key))).collect();
        let view = View { handle: session.handle(), principal: principal.clone(), sums };
        self.oracle().opened(number, view, sim_ms());
        let pause = {
            let mut dice = self.dice.lock().unwrap();
            if dice.percent(14) && sim_ms() < FAULTS_FOR { dice.millis(500, 3500) } else { dice.millis(0, 80) }
        };
        tokio::time::sleep(pause).await;
        let mut revoked = Ok(());
        match op {
            Op::Read => {}
            Op::RevokeAll => {
                if let Some(name) = principal {
                    self.oracle().revoking(number, &name, sim_ms());
                    revoked = driver.revoke_all(&name).await.map(drop);
                }
            }
            Op::Add(add) => drop(session.add(&Oracle::key(add), Oracle::share(add))),
            Op::AddInTurn(add) => {
                let key = Oracle::key(add);
                let present = sum(session.get(&key));
                session.set(&key, present + Oracle::share(add)).unwrap();
            }
            Op::Login(name) => session.login(name, &["user"], 1).unwrap(),
            // Nobody may be logged in.
            Op::Elevate => drop(session.elevate(2)),
            Op::Rotate => drop(session.rotate()),
            Op::Logout => session.logout(),
        }
        self.oracle().closing(number, sim_ms());
        let result = driver.close(session).await;
        if let (Op::Login(name), Ok(reply)) = (op, &result)
            && let Some(handle) = reply.trace().handle
        {
            let listed = self.disk.lists(name, handle);
            self.oracle().told_of(number, name, handle, listed, sim_ms());
        }
        match &result {
            Ok(reply) => self.oracle().noticed(&reply.trace().events, &reply.trace().written),
            Err(refused) => self.oracle().noticed(&refused.0.events, &[]),
        }
        let result = revoked.and(result).map_err(|refused| refused.0.error).map(|reply| Answer {
            handle: reply.trace().handle,
            cookies: reply.set_cookies().map(str::to_owned).collect(),
            written: reply.trace().written.clone(),
        });
        self.oracle().finished(number, result, sim_ms());
    }
}

impl Host for Node {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(START + sim_ms() + self.ahead)
    }

    fn ticks(&self) -> Duration {
        Duration::from_millis(sim_ms())
    }

    fn rng(&self) -> impl TryCryptoRng {
        Fixed::new(self.drawn.fetch_add(1, Ordering::Relaxed))
    }

    fn pause(&self, span: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(span)
    }
}
