//! The queue of the exchanges of this process that write to the same session.

use coatroom_core::{Closing, Handle, Save};
#[cfg(feature = "queue")]
use coatroom_core::{Error, Stamp};

use super::{Driver, Trial};
#[cfg(feature = "queue")]
use crate::observe::Observer;
use crate::{Host, Store};

/// The place of an exchange in the queue of those that write to the same session, or want their turn in it.
#[derive(Default)]
pub(crate) struct Place(#[cfg(feature = "queue")] Option<crate::lanes::Turn>);

impl Place {
    /// Whoever comes next begins with what was just written.
    #[cfg_attr(
        not(feature = "queue"),
        expect(clippy::unused_self, clippy::needless_pass_by_ref_mut, reason = "with the feature it is told")
    )]
    pub(super) fn leave(&mut self, save: &Save) {
        #[cfg(feature = "queue")]
        if let Some(turn) = self.0.as_mut().filter(|turn| turn.handle() == save.swap().handle) {
            turn.leave(save.swap().new.clone());
        }
        #[cfg(not(feature = "queue"))]
        let _ = save;
    }
}

/// What the queue says.
pub(super) enum Queued {
    /// Send it.
    Next(Save),
    /// It was overtaken, or waited too long.
    #[cfg_attr(not(feature = "queue"), expect(dead_code, reason = "nobody waits"))]
    Overtaken(Closing),
}

impl<S: Store, H: Host> Driver<S, H> {
    /// Waits until it is this exchange's turn among those of this process that write to the session. If another has
    /// written meanwhile, what it left is met without asking the store.
    #[cfg(feature = "queue")]
    pub(super) async fn queue_up(&self, save: Save, place: &mut Place, trial: &mut Option<Trial>) -> Queued {
        let handle = save.swap().handle;
        let creates = save.swap().expected.is_none();
        if creates || self.store.is_here() || place.0.as_ref().is_some_and(|turn| turn.handle() == handle) {
            return Queued::Next(save);
        }
        place.0 = self.lanes.free_turn(handle);
        if place.0.is_none() {
            let trial = trial.get_or_insert_with(|| self.trial());
            place.0 = self.lanes.turn(handle).await;
            if self.is_over(&save, trial) {
                return Queued::Overtaken(save.gave_up(Error::Busy));
            }
        }
        // The store may have shown this exchange what the one before wrote, and what others wrote after it, before the one
        // before heard that it had: news is only what is newer.
        let version = |stamp: Option<Stamp>| stamp.map(|stamp| stamp.version());
        let seen = version(save.swap().expected);
        let left = place.0.as_mut().and_then(crate::lanes::Turn::take_left);
        match left.filter(|left| {
            version(Stamp::of(left)) > seen || (planted!(OldNews) && Stamp::of(left) != save.swap().expected)
        }) {
            Some(left) => {
                self.watch().overtaken(handle);
                Queued::Overtaken(save.overtaken(left))
            }
            None => Queued::Next(save),
        }
    }

    /// The place of an exchange that nobody is before; none if somebody is, or was and left something.
    #[cfg(feature = "queue")]
    pub(super) fn front(&self, save: &Save) -> Option<Place> {
        if self.store.is_here() {
            return Some(Place::default());
        }
        let mut turn = self.lanes.free_turn(save.swap().handle)?;
        turn.take_left().is_none().then(|| Place(Some(turn)))
    }

    #[cfg(not(feature = "queue"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "with the feature others are asked for")]
    pub(super) fn front(&self, _: &Save) -> Option<Place> {
        Some(Place::default())
    }

    /// Waits until this exchange is the first of this process that wants its turn: it alone asks the store when that of
    /// another is over.
    // spec: SER-4 ef64
    #[cfg(feature = "queue")]
    pub(crate) async fn be_first(&self, handle: Handle, place: &mut Place) {
        if !self.store.is_here() && place.0.as_ref().is_none_or(|turn| turn.handle() != handle) {
            place.0 = None;
            place.0 = self.rooms.turn(handle).await;
        }
    }

    #[cfg(not(feature = "queue"))]
    #[expect(clippy::unused_async, reason = "with the feature it waits")]
    pub(crate) async fn be_first(&self, _: Handle, _: &mut Place) {}

    #[cfg(not(feature = "queue"))]
    #[expect(clippy::unused_async, reason = "with the feature it waits")]
    pub(super) async fn queue_up(&self, save: Save, _: &mut Place, _: &mut Option<Trial>) -> Queued {
        Queued::Next(save)
    }
}
