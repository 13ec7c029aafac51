//! A connection that is made again by itself whenever it is lost.

use core::mem::take;
use core::pin::pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::watch;
use tokio::time::Instant;

use super::net::{Net, Outcome, lock};
use super::runner::Runner;
use super::settings::Address;
use super::time::{pause as rest, until};
use super::wire::{Users, Wire};
use crate::listening::jittered;

/// The first pause between two attempts; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// With the time that an attempt takes, what an outage may outlast the server's return by.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Attempts that nobody waits for, before there are no more until somebody does.
const UNASKED_ATTEMPTS: u32 = 20;

/// How many connections that no thread holds are kept. More threads than that may hold one at once.
const MOST_AT_REST: usize = 32;

/// Whom a link leads to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Target {
    /// The one server, or the primary that the Sentinels name.
    Primary,
    /// A node of a Cluster.
    Node(Address),
}

/// The way to one server, for the callers of one runtime or loop.
pub(super) struct Link {
    pub(super) target: Target,
    net: Weak<Net>,
    runner: Runner,
    state: watch::Sender<State>,
    is_asked_for: AtomicBool,
    /// Connections for threads that wait, while none holds them; the one used last on top.
    at_rest: Mutex<Vec<Wire>>,
}

enum State {
    Up(Arc<Wire>),
    /// Since when, if somebody tries to connect.
    Down(Option<Instant>),
}

impl Link {
    pub(super) fn new(target: Target, net: &Arc<Net>, runner: Runner) -> Arc<Self> {
        let state = watch::Sender::new(State::Down(None));
        let is_asked_for = AtomicBool::new(false);
        Arc::new(Self { target, net: Arc::downgrade(net), runner, state, is_asked_for, at_rest: Mutex::default() })
    }

    /// The connection, if there is one before the deadline. An outage that has lasted longer than the time limit is told
    /// at once, so that requests do not pile up.
    pub(super) async fn wire(self: &Arc<Self>, net: &Net, deadline: Instant) -> Option<Arc<Wire>> {
        if let Some(wire) = self.present() {
            return Some(wire);
        }
        self.is_asked_for.store(true, Ordering::Relaxed);
        self.try_to_connect();
        let mut states = self.state.subscribe();
        let patience = net.time_limit();
        let deadline = match &*states.borrow() {
            State::Down(Some(since)) => since.checked_add(patience).map_or(deadline, |end| end.min(deadline)),
            _ => deadline,
        };
        let up = states.wait_for(|state| matches!(state, State::Up(_)));
        match &*until(deadline, pin!(up)).await.ok()?.ok()? {
            State::Up(wire) => Some(Arc::clone(wire)),
            State::Down(_) => None,
        }
    }

    /// The connection, if there is one already.
    pub(super) fn present(&self) -> Option<Arc<Wire>> {
        match &*self.state.borrow() {
            State::Up(wire) => Some(Arc::clone(wire)),
            State::Down(_) => None,
        }
    }

    /// A connection for this thread, until it gives it back. There is none where others have none either: what goes on
    /// between one request and the next, such as trying to connect during an outage, is for whoever serves those.
    pub(super) async fn hold(self: &Arc<Self>, net: &Arc<Net>, deadline: Instant) -> Option<Wire> {
        let number = self.number()?;
        let rested = self.rested(number, deadline);
        if rested.is_some() {
            return rested;
        }
        let wire = Box::pin(self.another(net, Users::One(number), deadline)).await;
        if wire.is_none() && Instant::now() >= deadline {
            self.lost(number);
        }
        wire.filter(|wire| wire.begin(deadline))
    }

    /// One that another thread gave back, while all have the connection with this number.
    pub(super) fn rested(&self, number: u64, deadline: Instant) -> Option<Wire> {
        loop {
            let wire = lock(&self.at_rest).pop()?;
            if wire.number == number && wire.begin(deadline) {
                return Some(wire);
            }
        }
    }

    /// Takes one back, unless there may be an answer still to come.
    pub(super) fn keep(&self, wire: Wire, outcome: &Outcome) {
        let mut at_rest = lock(&self.at_rest);
        if matches!(outcome, Outcome::Answer(_) | Outcome::Refused(_)) && at_rest.len() < MOST_AT_REST {
            at_rest.push(wire);
        }
    }

    /// The number of the connection that all have, if there is one.
    pub(super) fn number(&self) -> Option<u64> {
        match &*self.state.borrow() {
            State::Up(present) => Some(present.number),
            State::Down(_) => None,
        }
    }

    /// A connection besides the one that all have.
    pub(super) async fn another(&self, net: &Arc<Net>, users: Users, deadline: Instant) -> Option<Wire> {
        let (dialing, target) = (Arc::clone(net), self.target.clone());
        let dialed = self.runner.result_of(async move { dialing.dial(&target, users).await });
        match until(deadline, pin!(dialed)).await.ok()?? {
            Ok(wire) => Some(wire),
            Err(error) => {
                net.note(error.to_string());
                None
            }
        }
    }

    /// Whether there is a connection, or an attempt to make one.
    pub(super) fn is_in_use(&self) -> bool {
        !matches!(&*self.state.borrow(), State::Down(None))
    }

    /// A connection that did not answer in time, or that leads to the wrong server, is used by nobody who comes later. It
    /// is cut once those who wait for an answer on it have given up too.
    pub(super) fn suspect(self: &Arc<Self>, wire: &Wire) {
        if self.lost(wire.number) {
            let (cut, patience) = (wire.cut(), self.net.upgrade().map_or(LONGEST_PAUSE, |net| net.time_limit()));
            drop(self.runner.spawn(async move {
                rest(patience).await;
                cut.now();
            }));
        }
    }

    /// Whether the connection with this number was the present one.
    pub(super) fn lost(self: &Arc<Self>, number: u64) -> bool {
        let was_present = self.state.send_if_modified(|state| {
            let is_present = matches!(state, State::Up(wire) if wire.number == number);
            if is_present {
                *state = State::Down(None);
            }
            is_present
        });
        if was_present {
            let left = take(&mut *lock(&self.at_rest));
            drop(left);
            self.try_to_connect();
        }
        was_present
    }

    fn try_to_connect(self: &Arc<Self>) {
        let begins = self.state.send_if_modified(|state| {
            let begins = matches!(state, State::Down(None));
            if begins {
                *state = State::Down(Some(Instant::now()));
            }
            begins
        });
        if begins {
            let attempts = Attempts(Arc::downgrade(self));
            drop(self.runner.spawn(attempts.go_on()));
        }
    }

    async fn dial(self: &Arc<Self>, net: &Net) -> Result<Wire, String> {
        let link = Arc::downgrade(self);
        let users = Users::All(Box::new(move |number| {
            if let Some(link) = link.upgrade() {
                link.lost(number);
            }
        }));
        match until(net.deadline(), pin!(net.dial(&self.target, users))).await {
            Ok(dialed) => dialed.map_err(|error| error.to_string()),
            Err(_) => Err("the server does not answer".to_owned()),
        }
    }
}

/// Attempts to connect, one after another. However they end, the next caller may begin again.
struct Attempts(Weak<Link>);

impl Attempts {
    async fn go_on(self) {
        let (mut pause, mut unasked) = (FIRST_PAUSE, 0_u32);
        while unasked < UNASKED_ATTEMPTS {
            let Some((link, net)) = self.0.upgrade().and_then(|link| Some((link.clone(), link.net.upgrade()?))) else {
                return;
            };
            match link.dial(&net).await {
                Ok(wire) => {
                    let wire = Arc::new(wire);
                    link.state.send_replace(State::Up(Arc::clone(&wire)));
                    if wire.is_over() {
                        link.lost(wire.number);
                    }
                    return;
                }
                Err(trouble) => net.note(trouble),
            }
            unasked = if link.is_asked_for.swap(false, Ordering::Relaxed) { 0 } else { unasked.saturating_add(1) };
            drop((link, net));
            rest(jittered(pause)).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }
}

impl Drop for Attempts {
    fn drop(&mut self) {
        if let Some(link) = self.0.upgrade() {
            link.state.send_if_modified(|state| {
                let gave_up = matches!(state, State::Down(Some(_)));
                if gave_up {
                    *state = State::Down(None);
                }
                gave_up
            });
        }
    }
}
