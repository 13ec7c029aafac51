//! The stages of an exchange behind one object, for languages in which a value cannot be consumed. Each call checks the
//! stage it is in; a call out of turn is [`Error::WrongStage`] and changes nothing.

use core::fmt;

use alloc::vec::Vec;

use rand_core::TryCryptoRng;

use crate::closing::{Closing, Save, Swap};
use crate::entering::Enter;
use crate::error::Error;
use crate::id::Handle;
use crate::listing::{Entry, Listed};
use crate::opening::{Failure, Load, Loaded, Opening};
use crate::reply::Reply;
use crate::serial::{Queued, Take};
use crate::session::Session;
use crate::time::Timestamp;

/// One exchange, in whatever stage it is.
pub struct Staged(Stage);

enum Stage {
    Loading(Load),
    Taking(Take),
    /// Another exchange has its turn.
    Held(Load),
    Queued(Queued),
    Open(Session),
    Saving(Save),
    Entering(Enter),
    Done(Reply),
    Failed(Failure),
    /// While a step runs, or after the value was taken out.
    Away,
}

/// What a [`Staged`] exchange waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waiting {
    /// For [`Staged::found`].
    Load(Handle),
    /// For the handler, then [`Staged::close`].
    Handler,
    /// For the answer to [`Staged::swap`].
    Swap,
    /// For the turn of another exchange to end: after a pause, for [`Staged::found_after`].
    Turn(Handle),
    /// For the answer to [`Staged::entry`].
    Entry,
    /// For nothing: [`Staged::reply`].
    Done,
    /// For nothing: [`Staged::failure`].
    Failed,
    /// For the value that was taken out.
    Away,
}

impl From<Opening> for Staged {
    fn from(opening: Opening) -> Self {
        Self(match opening {
            Opening::Ready(session) => Stage::Open(session),
            Opening::Load(load) => Stage::Loading(load),
            Opening::Take(take) => Stage::Taking(take),
            Opening::Wait(load) => Stage::Held(load),
            Opening::Unavailable(failure) => Stage::Failed(failure),
        })
    }
}

impl From<Closing> for Staged {
    fn from(closing: Closing) -> Self {
        Self(match closing {
            Closing::Done(reply) => Stage::Done(reply),
            Closing::Save(save) => Stage::Saving(save),
            Closing::Wait(queued) => Stage::Queued(queued),
            Closing::Enter(enter) => Stage::Entering(enter),
            Closing::Failed(failure) => Stage::Failed(failure),
        })
    }
}

impl Staged {
    /// What comes next.
    pub const fn waiting(&self) -> Waiting {
        match &self.0 {
            Stage::Loading(load) => Waiting::Load(load.handle()),
            Stage::Open(_) => Waiting::Handler,
            Stage::Taking(_) | Stage::Saving(_) => Waiting::Swap,
            Stage::Held(load) => Waiting::Turn(load.handle()),
            Stage::Queued(queued) => Waiting::Turn(queued.handle()),
            Stage::Entering(_) => Waiting::Entry,
            Stage::Done(_) => Waiting::Done,
            Stage::Failed(_) => Waiting::Failed,
            Stage::Away => Waiting::Away,
        }
    }

    /// The store's answer to a load.
    pub fn found(&mut self, loaded: Loaded) -> Result<(), Error> {
        self.step(|stage| match stage {
            Stage::Loading(load) => Ok(load.found(loaded).into()),
            other => Err(other),
        })
    }

    /// What the record is after a pause, by another reading of the clock.
    pub fn found_after(&mut self, loaded: Loaded, now: Timestamp) -> Result<(), Error> {
        self.step(|stage| match stage {
            Stage::Held(load) => Ok(load.at(now).found(loaded).into()),
            Stage::Queued(queued) => Ok(queued.found(loaded, now).into()),
            other => Err(other),
        })
    }

    /// The session, while the handler runs.
    // spec: ERR-3 8717
    pub const fn session(&mut self) -> Result<&mut Session, Error> {
        match &mut self.0 {
            Stage::Open(session) => Ok(session),
            _ => Err(Error::WrongStage),
        }
    }

    /// Closes the exchange.
    pub fn close<R: TryCryptoRng + ?Sized>(&mut self, now: Timestamp, rng: &mut R) -> Result<(), Error> {
        self.step(|stage| match stage {
            Stage::Open(session) => Ok(session.close(now, rng).into()),
            other => Err(other),
        })
    }

    /// The swap to send, at most once.
    pub const fn swap(&self) -> Result<&Swap, Error> {
        match &self.0 {
            Stage::Taking(take) => Ok(take.swap()),
            Stage::Saving(save) => Ok(save.swap()),
            _ => Err(Error::WrongStage),
        }
    }

    /// The store acknowledged the swap.
    pub fn saved(&mut self) -> Result<(), Error> {
        self.step(|stage| match stage {
            Stage::Taking(take) => Ok(take.saved().into()),
            Stage::Saving(save) => Ok(save.saved().into()),
            other => Err(other),
        })
    }

    /// The store acknowledged the swap together with its entry in the index, or the entry that was asked for alone.
    pub fn entered(&mut self, listed: Listed) -> Result<(), Error> {
        self.step(|stage| match stage {
            Stage::Saving(save) => Ok(save.entered(listed).into()),
            Stage::Entering(enter) => Ok(enter.entered(listed).into()),
            other => Err(other),
        })
    }

    /// The store refused the swap because the principal has as many sessions as the swap allows.
    pub fn full(&mut self) -> Result<(), Error> {
        self.step(|stage| match stage {
            Stage::Saving(save) => Ok(save.full().into()),
            other => Err(other),
        })
    }

    /// The entry to make in the index of principals.
    pub const fn entry(&self) -> Result<&Entry, Error> {
        match &self.0 {
            Stage::Entering(enter) => Ok(enter.entry()),
            _ => Err(Error::WrongStage),
        }
    }

    /// The store refused the swap and holds this instead.
    pub fn conflicted(&mut self, current: Option<Vec<u8>>) -> Result<(), Error> {
        self.step(|stage| match stage {
            Stage::Taking(take) => Ok(take.conflicted(current).into()),
            Stage::Saving(save) => Ok(save.conflicted(current).into()),
            other => Err(other),
        })
    }

    /// The outcome of the swap is unknown, and a load of the same handle gave this.
    pub fn reloaded(&mut self, loaded: Loaded) -> Result<(), Error> {
        self.step(|stage| match stage {
            Stage::Taking(take) => Ok(take.reloaded(loaded).into()),
            Stage::Saving(save) => Ok(save.reloaded(loaded).into()),
            other => Err(other),
        })
    }

    /// Patience is over: a mere touch is let go; else `error`, or [`Error::Unknown`] if an attempt was.
    pub fn gave_up(&mut self, error: Error) -> Result<(), Error> {
        self.step(|stage| match stage {
            Stage::Taking(take) => Ok(take.gave_up(error).into()),
            Stage::Held(load) => Ok(load.gave_up(error).into()),
            Stage::Saving(save) => Ok(save.gave_up(error).into()),
            Stage::Queued(queued) => Ok(queued.gave_up(error).into()),
            Stage::Entering(enter) => Ok(enter.gave_up().into()),
            other => Err(other),
        })
    }

    /// The reply, once done.
    pub const fn reply(&self) -> Result<&Reply, Error> {
        match &self.0 {
            Stage::Done(reply) => Ok(reply),
            _ => Err(Error::WrongStage),
        }
    }

    /// Why the exchange failed, if it did.
    pub const fn failure(&self) -> Result<&Failure, Error> {
        match &self.0 {
            Stage::Failed(failure) => Ok(failure),
            _ => Err(Error::WrongStage),
        }
    }

    /// Takes the session out, for a driver that works on values; give back what it became with `*self = closing.into()`.
    pub fn take_session(&mut self) -> Result<Session, Error> {
        match core::mem::replace(&mut self.0, Stage::Away) {
            Stage::Open(session) => Ok(session),
            other => {
                self.0 = other;
                Err(Error::WrongStage)
            }
        }
    }

    /// Takes an opening out that is under way, for a driver that works on values.
    pub fn take_opening(&mut self) -> Result<Opening, Error> {
        match core::mem::replace(&mut self.0, Stage::Away) {
            Stage::Loading(load) => Ok(Opening::Load(load)),
            Stage::Taking(take) => Ok(Opening::Take(take)),
            Stage::Held(load) => Ok(Opening::Wait(load)),
            other => {
                self.0 = other;
                Err(Error::WrongStage)
            }
        }
    }

    /// Takes a closing out that is under way, for a driver that works on values.
    pub fn take_closing(&mut self) -> Result<Closing, Error> {
        match core::mem::replace(&mut self.0, Stage::Away) {
            Stage::Saving(save) => Ok(Closing::Save(save)),
            Stage::Entering(enter) => Ok(Closing::Enter(enter)),
            Stage::Queued(queued) => Ok(Closing::Wait(queued)),
            other => {
                self.0 = other;
                Err(Error::WrongStage)
            }
        }
    }

    // spec: ERR-3 8717
    fn step(&mut self, step: impl FnOnce(Stage) -> Result<Self, Stage>) -> Result<(), Error> {
        match step(core::mem::replace(&mut self.0, Stage::Away)) {
            Ok(next) => {
                *self = next;
                Ok(())
            }
            Err(same) => {
                self.0 = same;
                Err(Error::WrongStage)
            }
        }
    }
}

impl fmt::Debug for Staged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Staged").field(&self.waiting()).finish()
    }
}
