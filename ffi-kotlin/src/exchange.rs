//! One exchange, as the other language holds it.
//!
//! No lock is held while a step runs: whoever uses the exchange in the meantime gets "wrong stage", never a deadlock.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coatroom_core::value::Encoded;
use coatroom_core::{Error, Reply};
use coatroom_store::block_on;
use rand_core::TryRng;

use crate::asks::Answer;
use crate::coatroom::{Drivers, Inner};
use crate::csrf;
use crate::edits::{self, Came};
use crate::error::Refusal;
use crate::remember::{Beside, Opened};
use crate::task::{Progress, Task};
use crate::wire::{Head, Step, View, closed, view};

/// One request's exchange: begun, used by the handler, committed once. Dropped before that, it writes nothing.
#[derive(uniffi::Object)]
pub struct Exchange {
    pub(crate) inner: Arc<Inner>,
    stage: Mutex<Stage>,
}

pub(crate) enum Stage {
    Opening(Task<Result<Opened, Refusal>>),
    Open(Opened),
    /// With the edit that was refused, if one was.
    Closing(Task<Ended>, Head, Option<Refusal>),
    /// Done, failed, or in the middle of a step.
    Away,
}

type Ended = Result<(Reply, Option<Box<Beside>>), Refusal>;

/// A function of a value, which runs again after a conflict: absent in, absent out, else CBOR.
#[uniffi::export(with_foreign)]
pub trait Updater: Send + Sync {
    /// The new value.
    fn update(&self, present: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, Refusal>;
}

impl fmt::Debug for Exchange {
    // spec: SEC-1 89db
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").finish_non_exhaustive()
    }
}

#[uniffi::export]
impl Exchange {
    /// The answer of the application's store to [`Step::Ask`].
    pub fn answer(&self, answer: Answer) -> Result<Step, Refusal> {
        match self.take() {
            Stage::Opening(mut task) => {
                let progress = task.answer(answer);
                self.opened(task, progress)
            }
            Stage::Closing(mut task, head, refused) => {
                let progress = task.answer(answer);
                self.closed(task, head, refused, progress)
            }
            other => self.wrong(other),
        }
    }

    /// Does what the batch says, and shows what the session looks like then: for what the handler must know at once.
    pub fn apply(&self, edits: &[u8]) -> Result<View, Refusal> {
        self.with(|opened| {
            let came = edits::apply(opened, edits)?;
            Ok(self.look(opened, &came))
        })
    }

    /// Replaces the value of a key by a function of it, which runs again after a conflict.
    pub fn update(&self, key: &str, updater: Arc<dyn Updater>) -> Result<View, Refusal> {
        let run = move |present: Option<&[u8]>| {
            let new = updater.update(present.map(<[u8]>::to_vec)).map_err(|_| Error::UpdateRefused)?;
            new.map(|bytes| Encoded::from_bytes(bytes).map_err(Error::Value)).transpose()
        };
        // The function may come back to this exchange: the session is taken out meanwhile.
        let mut opened = self.take_opened()?;
        let outcome = opened.session.update(key, Box::new(run));
        let view = self.look(&opened, &Came::default());
        self.put(Stage::Open(opened));
        outcome.map(|()| view).map_err(Refusal::from)
    }

    /// Does what the batch says and closes the exchange. Over a store of this library the answer is [`Step::Closed`]. An
    /// edit that is refused discards all of them; what the id itself calls for is written all the same.
    // spec: WRITE-20 620d
    pub fn commit(&self, edits: &[u8], head: Head) -> Result<Step, Refusal> {
        let mut opened = self.take_opened()?;
        let refused = edits::apply(&mut opened, edits).err();
        if refused.is_some() {
            opened.discard();
        }
        let Opened { session, mut beside } = opened;
        match &self.inner.drivers {
            Drivers::Here(side) => {
                let reply = side.driver.close_now(session);
                refused.map_or(Ok(()), Err)?;
                let reply = reply?;
                if let (Some(remembered), Some(beside)) = (&side.remembered, &mut beside) {
                    block_on(remembered.settle(&side.driver, beside))?;
                }
                Ok(Step::Closed { closed: closed(&reply, &head, beside) })
            }
            Drivers::Away(side) => {
                let side = Arc::clone(side);
                let mut task = Task::new(async move {
                    let reply = side.driver.close(session).await?;
                    if let (Some(remembered), Some(beside)) = (&side.remembered, &mut beside) {
                        remembered.settle(&side.driver, beside).await?;
                    }
                    Ok((reply, beside))
                });
                let progress = task.go_on();
                self.closed(task, head, refused, progress)
            }
        }
    }

    /// Refuses unless somebody with this role is logged in.
    pub fn require_role(&self, role: &str) -> Result<(), Refusal> {
        self.with(|opened| Ok(opened.session.require_role(role)?))
    }

    /// Refuses unless whoever is logged in proved who they are no more milliseconds ago than this. Level 0 is never fresh.
    pub fn require_fresh(&self, within_ms: i64) -> Result<(), Refusal> {
        let (within, now) = (Duration::from_millis(u64::try_from(within_ms).unwrap_or(0)), self.inner.now());
        self.with(|opened| Ok(opened.session.require_fresh(within, now)?))
    }

    /// Refuses unless somebody with this level of authentication or a higher one is logged in.
    pub fn require_level(&self, level: i64) -> Result<(), Refusal> {
        let level = u8::try_from(level).map_err(|_| Refusal::border("a level is a number from 0 to 255"))?;
        self.with(|opened| Ok(opened.session.require_level(level)?))
    }

    /// A fresh copy of the token against forged requests: of whoever is logged in, or of the visitor with this value.
    pub fn csrf_token(&self, visitor: &[u8]) -> Result<Vec<u8>, Refusal> {
        let bound =
            self.with(|opened| csrf::bound(&mut opened.session, visitor).ok_or_else(|| Error::WrongStage.into()))?;
        let mut mask = [0; 32];
        self.inner.rng().try_fill_bytes(&mut mask).map_err(|_| Error::NoRandomness)?;
        Ok(self.inner.csrf.token(&bound, mask).to_vec())
    }

    /// Whether a token is that of whoever is logged in, or of the visitor with this value.
    pub fn csrf_checks(&self, visitor: &[u8], token: &[u8]) -> Result<bool, Refusal> {
        let bound = self.with(|opened| Ok(csrf::bound(&mut opened.session, visitor)))?;
        Ok(bound.is_some_and(|bound| self.inner.csrf.checks(&bound, token)))
    }
}

impl Exchange {
    pub(crate) fn new(inner: Arc<Inner>, stage: Stage) -> Arc<Self> {
        Arc::new(Self { inner, stage: Mutex::new(stage) })
    }

    /// The first step.
    pub(crate) fn begin(&self) -> Result<Step, Refusal> {
        match self.take() {
            Stage::Open(opened) => Ok(self.open(opened)),
            Stage::Opening(mut task) => {
                let progress = task.go_on();
                self.opened(task, progress)
            }
            other => self.wrong(other),
        }
    }

    fn opened(
        &self,
        task: Task<Result<Opened, Refusal>>,
        progress: Result<Progress<Result<Opened, Refusal>>, Refusal>,
    ) -> Result<Step, Refusal> {
        match progress {
            Ok(Progress::Over(opened)) => Ok(self.open(opened?)),
            Ok(Progress::Asks(ask)) => {
                self.put(Stage::Opening(task));
                Ok(Step::Ask { ask })
            }
            Err(misfit) => {
                self.put(Stage::Opening(task));
                Err(misfit)
            }
        }
    }

    fn open(&self, opened: Opened) -> Step {
        let view = self.look(&opened, &Came::default());
        self.put(Stage::Open(opened));
        Step::Open { view }
    }

    fn closed(
        &self,
        task: Task<Ended>,
        head: Head,
        refused: Option<Refusal>,
        progress: Result<Progress<Ended>, Refusal>,
    ) -> Result<Step, Refusal> {
        match progress {
            Ok(Progress::Over(ended)) => {
                refused.map_or(Ok(()), Err)?;
                let (reply, beside) = ended?;
                Ok(Step::Closed { closed: closed(&reply, &head, beside) })
            }
            Ok(Progress::Asks(ask)) => {
                self.put(Stage::Closing(task, head, refused));
                Ok(Step::Ask { ask })
            }
            Err(misfit) => {
                self.put(Stage::Closing(task, head, refused));
                Err(misfit)
            }
        }
    }

    fn look(&self, opened: &Opened, came: &Came) -> View {
        view(&opened.session.peek(), self.inner.now(), came.sum, came.rotation)
    }

    /// Uses the session, if the handler has it now.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Opened) -> Result<T, Refusal>) -> Result<T, Refusal> {
        match &mut *self.stage.lock().unwrap_or_else(PoisonError::into_inner) {
            Stage::Open(opened) => work(opened),
            _ => Err(Error::WrongStage.into()),
        }
    }

    fn take(&self) -> Stage {
        std::mem::replace(&mut *self.stage.lock().unwrap_or_else(PoisonError::into_inner), Stage::Away)
    }

    fn take_opened(&self) -> Result<Opened, Refusal> {
        match self.take() {
            Stage::Open(opened) => Ok(opened),
            other => self.wrong(other),
        }
    }

    fn put(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    /// Puts back what was taken by a call out of turn.
    // spec: ERR-3 8717
    fn wrong<T>(&self, stage: Stage) -> Result<T, Refusal> {
        if !matches!(stage, Stage::Away) {
            self.put(stage);
        }
        Err(Error::WrongStage.into())
    }
}
