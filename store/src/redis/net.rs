//! From an order to the server that is to carry it out, and back with what is known of the outcome.

use core::pin::pin;
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use redis::{Cmd, Pipeline, RedisError, ServerError, ServerErrorKind, Value};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::cluster::Cluster;
use super::confirm;
use super::held::SILENCE;
use super::home::Home;
use super::link::{Link, Target};
use super::refusal::{is_refusal, leads_astray};
use super::runner::Runner;
use super::scripts::Call;
use super::settings::{Layout, Settings};
use super::time::{by, until};
use super::wire::{Dialer, Users, Wire};
use crate::host::{Kept, is_asking, kept};

/// Connections at most, per process, on which a write waits for replicas: no other command passes there meanwhile.
const LANES: usize = 16;
/// How often what may be done twice is sent again after its outcome was unknown.
const REPEATS: u32 = 2;

/// Something to ask of a server.
pub(super) enum Order<'a> {
    Plain(&'a Cmd),
    Script(&'a Call),
}

/// What is known of an order.
pub(super) enum Outcome {
    /// The server answered.
    Answer(Value),
    /// The server refused before it did anything.
    Refused(ServerError),
    /// It was never sent.
    Unsent,
    /// It was sent, and may or may not have been carried out.
    Unknown,
}

/// All connections of a store in one process.
pub(super) struct Net {
    pub(super) cluster: Option<Cluster>,
    dialer: Arc<Dialer>,
    homes: RwLock<Vec<Arc<Home>>>,
    lanes: Semaphore,
    trouble: Mutex<Option<String>>,
    /// Who keeps the time, once that was asked for.
    timers: OnceLock<Handle>,
}

impl Net {
    pub(super) fn new(dialer: Arc<Dialer>) -> Arc<Self> {
        let cluster = match &dialer.settings.layout {
            Layout::Cluster(seeds) => Some(Cluster::new(seeds.clone())),
            _ => None,
        };
        Arc::new(Self {
            cluster,
            dialer,
            homes: RwLock::default(),
            lanes: Semaphore::new(LANES),
            trouble: Mutex::default(),
            timers: OnceLock::new(),
        })
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.dialer.settings
    }

    pub(super) fn time_limit(&self) -> Duration {
        self.settings().time_limit
    }

    pub(super) fn deadline(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.time_limit()).unwrap_or(now)
    }

    fn timers(&self) -> Option<&Handle> {
        if self.timers.get().is_none() {
            let _as_good_as_this_one = self.timers.set(crate::runtime::handle().ok()?);
        }
        self.timers.get()
    }

    /// Remembers why something failed.
    pub(super) fn note(&self, trouble: String) {
        *lock(&self.trouble) = Some(trouble);
    }

    /// The same where there was no answer.
    pub(super) fn note_silence(&self) {
        self.note(SILENCE.to_owned());
    }

    pub(super) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    pub(super) async fn dial(&self, target: &Target, users: Users) -> Result<Wire, RedisError> {
        match target {
            Target::Primary => self.dialer.primary(users).await,
            Target::Node(address) => self.dialer.address(address, users).await,
        }
    }

    /// The connections for this caller: those of its loop or runtime, or those of the helper thread.
    pub(super) fn home(self: &Arc<Self>) -> Option<Arc<Home>> {
        match (Runner::here(), kept()) {
            (Some(here @ Runner::Loop(_)), _) | (Some(here), Kept::Free) => Some(self.home_of(here)),
            _ => self.timers().map(|runtime| self.home_of(Runner::Tokio(runtime.clone()))),
        }
    }

    /// The present connection to the one server, if this is done for an event loop.
    pub(super) fn wire_of_this_loop(&self) -> Option<Arc<Wire>> {
        let homes = self.homes.read().unwrap_or_else(PoisonError::into_inner);
        let home = homes.iter().find(|home| home.runner.is_this_loop()).filter(|_| self.cluster.is_none())?;
        home.primary.present()
    }

    /// What becomes of a command to the one server on a connection that this thread, which waits, has to itself; None if none is at
    /// hand.
    pub(super) fn ask_held(&self, parts: &[&[u8]], deadline: Instant) -> Option<Outcome> {
        let home = self.known(&Runner::Tokio(self.timers()?.clone())).filter(|_| self.cluster.is_none())?;
        let link = &home.primary;
        let wire = link.rested(link.number()?, deadline)?;
        let outcome = self.judge(link, &wire, wire.answer_to(parts)?);
        link.keep(wire, &outcome);
        Some(outcome)
    }

    fn known(&self, runner: &Runner) -> Option<Arc<Home>> {
        let homes = self.homes.read().unwrap_or_else(PoisonError::into_inner);
        homes.iter().find(|home| home.runner.is(runner)).cloned()
    }

    fn home_of(self: &Arc<Self>, runner: Runner) -> Arc<Home> {
        if let Some(home) = self.known(&runner) {
            return home;
        }
        let mut homes = self.homes.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(home) = homes.iter().find(|home| home.runner.is(&runner)) {
            return Arc::clone(home);
        }
        homes.retain(|home| home.is_in_use());
        let home = Arc::new(Home::new(self, runner));
        homes.push(Arc::clone(&home));
        home
    }

    // What seldom happens below waits in boxes of its own, so that what happens always is small: it is moved for each call.

    /// Sends an order to whoever has the key, at most once, and says what became of it before the deadline.
    pub(super) async fn send(self: &Arc<Self>, key: &[u8], order: &Order<'_>, confirm: bool) -> Outcome {
        self.send_by(self.deadline(), key, order, confirm).await
    }

    /// The same for what may be done twice: where the outcome is unknown it is sent again, while there is time.
    pub(super) async fn insist(self: &Arc<Self>, key: &[u8], order: &Order<'_>, confirm: bool) -> Outcome {
        self.insist_by(self.deadline(), key, order, confirm).await
    }

    pub(super) async fn insist_by(
        self: &Arc<Self>,
        deadline: Instant,
        key: &[u8],
        order: &Order<'_>,
        confirm: bool,
    ) -> Outcome {
        for _ in 0..REPEATS {
            match self.send_by(deadline, key, order, confirm).await {
                Outcome::Unknown if Instant::now() < deadline => {}
                outcome => return outcome,
            }
        }
        self.send_by(deadline, key, order, confirm).await
    }

    async fn send_by(self: &Arc<Self>, deadline: Instant, key: &[u8], order: &Order<'_>, confirm: bool) -> Outcome {
        let Some(home) = self.home() else { return Outcome::Unsent };
        let sent = match &self.cluster {
            None => self.send_to(&home, &Target::Primary, order, Manner { confirm, asking: false }, deadline).await,
            Some(cluster) => Box::pin(cluster.send(self, &home, key, order, confirm, deadline)).await,
        };
        if let Outcome::Refused(error) = &sent {
            self.note(error.to_string());
        }
        sent
    }

    /// Sends an order to one server.
    pub(super) async fn send_to(
        self: &Arc<Self>,
        home: &Arc<Home>,
        target: &Target,
        order: &Order<'_>,
        manner: Manner,
        deadline: Instant,
    ) -> Outcome {
        let link = home.link(self, target);
        let patience = self.settings().confirm.filter(|_| manner.confirm).map(|confirm| confirm.patience);
        if is_asking() && !home.runner.is_this_loop() {
            let deadline = patience.and_then(|patience| deadline.checked_add(patience)).unwrap_or(deadline);
            if let Some(wire) = link.hold(self, deadline).await {
                let outcome = self.converse(&link, &wire, order, manner, deadline).await;
                link.keep(wire, &outcome);
                return outcome;
            }
        }
        match patience {
            None => {
                let present = link.present();
                let wire = if present.is_some() { present } else { Box::pin(link.wire(self, deadline)).await };
                let Some(wire) = wire else { return Outcome::Unsent };
                self.converse(&link, &wire, order, manner, deadline).await
            }
            Some(patience) => Box::pin(self.send_on_a_lane(home, &link, order, manner, deadline, patience)).await,
        }
    }

    /// Sends an order on a connection that nobody else uses meanwhile, and waits for replicas on it.
    async fn send_on_a_lane(
        self: &Arc<Self>,
        home: &Arc<Home>,
        link: &Arc<Link>,
        order: &Order<'_>,
        manner: Manner,
        deadline: Instant,
        patience: Duration,
    ) -> Outcome {
        let Ok(Ok(_permit)) = until(deadline, pin!(self.lanes.acquire())).await else { return Outcome::Unsent };
        let Some(wire) = home.lane(self, link, deadline).await else { return Outcome::Unsent };
        let deadline = deadline.checked_add(patience).unwrap_or(deadline);
        let outcome = self.converse(link, &wire, order, manner, deadline).await;
        if let Outcome::Answer(_) = outcome {
            home.leave_lane(link, wire);
        } else {
            wire.cut().now();
        }
        outcome
    }

    /// A script that the server does not know by its digest was not run: it is sent whole. It is at once where replicas are
    /// waited for, since the wait behind a refused one takes as long.
    async fn converse(
        &self,
        link: &Arc<Link>,
        wire: &Wire,
        order: &Order<'_>,
        manner: Manner,
        deadline: Instant,
    ) -> Outcome {
        let call = match order {
            Order::Plain(command) => return self.exchange(link, wire, command, manner, deadline).await,
            Order::Script(call) if manner.confirm && self.settings().confirm.is_some() => {
                return Box::pin(self.exchange(link, wire, &call.whole(), manner, deadline)).await;
            }
            Order::Script(call) => call,
        };
        match self.exchange(link, wire, &call.by_digest, manner, deadline).await {
            Outcome::Refused(error) if error.kind() == Some(ServerErrorKind::NoScript) => {
                Box::pin(self.exchange(link, wire, &call.whole(), manner, deadline)).await
            }
            outcome => outcome,
        }
    }

    async fn exchange(
        &self,
        link: &Arc<Link>,
        wire: &Wire,
        command: &Cmd,
        manner: Manner,
        deadline: Instant,
    ) -> Outcome {
        let Some(timers) = self.timers() else { return Outcome::Unsent };
        let answered = match manner {
            Manner { asking: false, confirm: false } => by(timers, deadline, pin!(wire.ask(command))).await,
            _ => by(timers, deadline, Box::pin(self.with_others(wire, command, manner))).await,
        };
        let Ok(answered) = answered else {
            self.note_silence();
            link.suspect(wire);
            return Outcome::Unknown;
        };
        self.judge(link, wire, answered)
    }

    fn judge(&self, link: &Arc<Link>, wire: &Wire, answered: Result<Value, RedisError>) -> Outcome {
        match answered {
            Ok(Value::ServerError(error)) => {
                if leads_astray(&error) {
                    link.suspect(wire);
                }
                if is_refusal(&error) {
                    return Outcome::Refused(error);
                }
                self.note(error.to_string());
                Outcome::Unknown
            }
            Ok(value) => Outcome::Answer(value),
            Err(error) => {
                // Whoever asks again asks on another connection, also if the end of this one is still to be noticed.
                link.lost(wire.number);
                self.note(error.to_string());
                Outcome::Unknown
            }
        }
    }

    /// A command with what goes before and after it on the same connection.
    async fn with_others(&self, wire: &Wire, command: &Cmd, manner: Manner) -> Result<Value, RedisError> {
        let mut commands = Pipeline::with_capacity(3);
        if manner.asking {
            commands.cmd("ASKING");
        }
        commands.add_command(command.clone());
        let confirm = self.settings().confirm.filter(|_| manner.confirm);
        if let Some(confirm) = confirm {
            commands.cmd("WAIT").arg(confirm.replicas).arg(confirm.patience.as_millis().to_string());
        }
        let mut answers = wire.ask_all(&commands).await?;
        if confirm.is_some() {
            let replicas = answers.pop().unwrap_or_default();
            confirm::tell(&replicas, answers.last());
        }
        Ok(answers.pop().unwrap_or_default())
    }
}

/// How an order is sent.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    /// With the wait for replicas that the settings ask for.
    pub(super) confirm: bool,
    /// To a node that is about to take over the slot.
    pub(super) asking: bool,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
