//! Browsers and who sits before them: parallel requests, impatience, another try after an error.

use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard};

use coatroom_core::Error;
use coatroom_tests::browser::Browser;

use crate::dice::Dice;
use crate::node::Node;
use crate::oracle::{Op, Oracle, Who};
use crate::wire::{Pool, sim_ms};

pub const HOST: &str = "people";
/// Below the grace: who waits no longer has closed the connection.
const PATIENCE: Duration = Duration::from_millis(2900);

/// One browser. Its tabs share the jar.
#[derive(Clone)]
pub struct Person {
    pub who: Who,
    pub jar: Arc<Mutex<Browser>>,
    pub nodes: usize,
    pub oracle: Arc<Mutex<Oracle>>,
}

/// What came of a request, as far as the browser can tell.
pub type Heard = Result<(), Option<Error>>;

impl Person {
    pub fn new(who: Who, nodes: usize, oracle: &Arc<Mutex<Oracle>>) -> Self {
        Self { who, jar: Arc::default(), nodes, oracle: Arc::clone(oracle) }
    }

    fn oracle(&self) -> MutexGuard<'_, Oracle> {
        self.oracle.lock().unwrap()
    }

    /// One request, whose response the browser obeys if it comes.
    pub async fn ask(&self, node: usize, op: Op) -> Heard {
        let number = self.send(op);
        if Pool::default().call(&Node::name(node), number as u64, PATIENCE).await.is_err() {
            self.oracle().given_up(number, sim_ms());
            return Err(None);
        }
        let result = self.oracle().requests[number].result.clone();
        let answer = result.ok_or(None)?.map_err(Some)?;
        let mut jar = self.jar.lock().unwrap();
        answer.cookies.iter().for_each(|line| jar.obey(line));
        drop(jar);
        self.oracle().note(sim_ms(), &format!("#{number} heard"));
        Ok(())
    }

    fn send(&self, op: Op) -> usize {
        let header = self.jar.lock().unwrap().header();
        self.oracle().sent(self.who, op, header, sim_ms())
    }

    /// The same request once more, by a proxy that drops the second answer.
    fn double(&self, node: usize, op: Op) {
        let op = match op {
            Op::Add(_) => Op::Add(self.oracle().addition(self.who)),
            Op::AddInTurn(_) => Op::AddInTurn(self.oracle().addition(self.who)),
            other => other,
        };
        let number = self.send(op);
        self.oracle().counts.one("requests doubled");
        tokio::task::spawn_local(async move {
            let _unheard = Pool::default().call(&Node::name(node), number as u64, PATIENCE).await;
        });
    }

    pub fn is_logged_in(&self) -> bool {
        self.jar.lock().unwrap().login.is_some()
    }

    fn name(&self) -> &'static str {
        match self.who {
            Who::Honest(name) | Who::Thief(name) => name,
            Who::Planter => "nobody",
        }
    }

    /// One tab, until the time is over.
    pub async fn surf(self, mut dice: Dice, until: u64) {
        while sim_ms() < until {
            tokio::time::sleep(if dice.percent(25) { dice.millis(0, 40) } else { dice.millis(50, 1100) }).await;
            let op = self.wish(&mut dice);
            let node = dice.index(self.nodes);
            if dice.percent(4) {
                self.double(dice.index(self.nodes), op);
            }
            // As a person would: look, then once more what matters.
            if self.ask(node, op).await.is_err() && matches!(op, Op::Login(_) | Op::Logout) {
                tokio::time::sleep(dice.millis(200, 900)).await;
                let node = dice.index(self.nodes);
                let _heard = self.ask(node, op).await;
            }
        }
    }

    fn wish(&self, dice: &mut Dice) -> Op {
        let logged_in = self.is_logged_in();
        match (self.who, dice.below(100)) {
            (Who::Honest(_), 0..50) if !logged_in => Op::Login(self.name()),
            (Who::Honest(_), 0..3) => Op::Login(self.name()),
            (Who::Honest(_), 3..6) => Op::Logout,
            (Who::Honest(_), 6..9) if logged_in => Op::Elevate,
            (Who::Honest(_), 9) if logged_in => Op::RevokeAll,
            (Who::Honest(_), 9..30) => Op::Rotate,
            (_, 30..55) => Op::Add(self.oracle().addition(self.who)),
            (_, 55..67) => Op::AddInTurn(self.oracle().addition(self.who)),
            _ => Op::Read,
        }
    }

    /// Somebody who plants the own visitor id in the victim's browser, and goes on using it.
    pub async fn plant(self, victim: Self, dice: Dice, until: u64) {
        let add = Op::Add(self.oracle().addition(self.who));
        if self.ask(0, add).await.is_ok() {
            let planted = self.jar.lock().unwrap().visitor.clone();
            let mut jar = victim.jar.lock().unwrap();
            if jar.login.is_none() {
                jar.visitor = planted;
            }
        }
        self.surf(dice, until).await;
    }

    /// Somebody who copies the victim's cookies at some time, and uses them later.
    pub async fn steal(self, victim: Self, mut dice: Dice, until: u64) {
        tokio::time::sleep(dice.millis(2000, 12_000)).await;
        let copy = victim.jar.lock().unwrap().clone();
        self.oracle().copied(&copy.header());
        *self.jar.lock().unwrap() = copy;
        while sim_ms() < until {
            tokio::time::sleep(dice.millis(500, 6000)).await;
            let _heard = self.ask(dice.index(self.nodes), Op::Read).await;
        }
    }

    /// Once the network is whole again everything works at the first attempt.
    pub async fn live_on(&self) -> Result<(), String> {
        for node in 0..self.nodes {
            let addition = || self.oracle().addition(self.who);
            let (add, turn) = (Op::Add(addition()), Op::AddInTurn(addition()));
            for op in [Op::Read, Op::Login(self.name()), add, turn, Op::Rotate, Op::Logout, Op::Read] {
                self.ask_at_once(node, op).await?;
            }
        }
        for op in [Op::Login(self.name()), Op::RevokeAll, Op::Read] {
            self.ask_at_once(0, op).await?;
        }
        Ok(())
    }

    async fn ask_at_once(&self, node: usize, op: Op) -> Result<(), String> {
        let heard = self.ask(node, op).await;
        heard.map_err(|error| format!("{op:?} on a network that is whole again came to {error:?}"))
    }
}
