//! The driver over an engine: on the caller's thread, without a runtime, and as far as may be without waiting.

use coatroom_core::{Closing, Listing, Opening, Reply, Reuse, Save, Session};

use super::{Begun, Driver, EAGER_CONFLICTS, Refused};
use crate::observe::{Act, Observer, Why, within};
use crate::sync::atomic::Ordering;
use crate::{Engine, Host, Store, Swapped, Wait, block_on};

/// An engine is swept a little after every so many writes.
const WRITES_PER_SWEEP: u32 = 64;
const SWEPT_AT_ONCE: usize = 128;

impl<E: Engine, H: Host> Driver<E, H> {
    /// [`Driver::open`] for an engine, on this thread. Waits for nobody, but while a fork or the recovery of a
    /// log holds the engine up.
    pub fn open_now(&self, cookies: &[u8]) -> Result<Session, Refused> {
        let mut opening = self.rules.open(cookies, self.host.now());
        loop {
            opening = match opening {
                Opening::Ready(session) => return Ok(session),
                Opening::Load(load) => {
                    let loaded = self.calls().load_now(load.handle());
                    load.found(loaded)
                }
                Opening::Unavailable(failure) => {
                    self.watch.refused_to_open(&failure);
                    return Err(failure.into());
                }
                waits => return self.finish_opening_now(waits),
            }
        }
    }

    /// [`Driver::close`] for an engine, on this thread. May wait for locks and disks.
    pub fn close_now(&self, session: Session) -> Result<Reply, Refused> {
        self.finish_now(self.start_closing(session))
    }

    /// [`Driver::finish`] for an engine, on this thread. May wait for locks and disks.
    pub fn finish_now(&self, closing: Closing) -> Result<Reply, Refused> {
        if matches!(closing, Closing::Done(_) | Closing::Failed(_)) {
            return self.go_on_now(closing, Begun::default());
        }
        let result = within(Act::Close, || {
            let (closing, begun) = self.swap_if_plain(closing);
            self.go_on_now(closing, begun)
        });
        block_on(self.sweep_if_due());
        result
    }

    fn go_on_now(&self, closing: Closing, begun: Begun) -> Result<Reply, Refused> {
        self.watch_end(&closing);
        match closing {
            Closing::Done(reply) => Ok(reply),
            Closing::Failed(failure) => Err(failure.into()),
            waiting => block_on(self.bring_to_an_end(waiting, begun)),
        }
    }

    /// Does the swap of a closing that begins with a plain one.
    fn swap_if_plain(&self, closing: Closing) -> (Closing, Begun) {
        let save = match closing {
            Closing::Save(save) if self.is_plain(&save) => save,
            closing => return (closing, Begun::default()),
        };
        let Some(mut place) = self.front(&save) else { return (Closing::Save(save), Begun::default()) };
        match self.calls().swap_now(save.swap(), Wait::Patiently) {
            Some(Swapped::Done) => {
                place.leave(&save);
                (save.saved(), Begun::default())
            }
            swapped => (Closing::Save(save), Begun { swapped, place }),
        }
    }

    /// Goes on with a closing as far as the engine answers at once. A save that comes back is for [`Driver::finish_now`]
    /// on a thread that may wait.
    pub fn finish_without_waiting(&self, closing: Closing) -> Closing {
        let closing = self.go_far(closing);
        self.watch_end(&closing);
        closing
    }

    fn go_far(&self, mut closing: Closing) -> Closing {
        for _ in 0..=EAGER_CONFLICTS {
            closing = match closing {
                Closing::Save(save) if self.may_lead_on(&save) => return Closing::Save(save),
                Closing::Save(save) => match self.calls().swap_now(save.swap(), Wait::Never) {
                    Some(Swapped::Done) => {
                        self.sweep_if_cheap();
                        save.saved()
                    }
                    Some(Swapped::Entered(answer)) => {
                        self.sweep_if_cheap();
                        save.entered(answer.by(self.host.now()))
                    }
                    Some(Swapped::Conflict(current)) => save.conflicted(current),
                    Some(Swapped::Unknown) => {
                        self.watch.retries(Why::Doubt, Some(save.swap().handle));
                        let loaded = self.calls().load_now(save.swap().handle);
                        save.reloaded(loaded)
                    }
                    Some(Swapped::Unavailable | Swapped::Full) | None => return Closing::Save(save),
                },
                Closing::Enter(enter) => match self.calls().enter_now(enter.entry()) {
                    Ok(answer) => enter.entered(answer.by(self.host.now())),
                    Err(_) => return Closing::Enter(enter),
                },
                over => return over,
            };
        }
        closing
    }

    /// Whether what is saved may be followed by changes of other sessions, which is not for an event loop.
    fn may_lead_on(&self, save: &Save) -> bool {
        let settings = self.rules.policy().settings();
        match save.swap().listing {
            Listing::Keep => false,
            Listing::Enter(_) => settings.limit.is_some(),
            Listing::Leave(_) => settings.reuse == Reuse::RevokeAll || self.announces(),
        }
    }

    fn sweep_if_cheap(&self) {
        if self.store.sweeps_at_once() {
            block_on(self.sweep_if_due());
        }
    }
}

impl<S: Store, H: Host> Driver<S, H> {
    /// Whether nothing but its own record depends on it, and nothing has to follow.
    pub(super) fn is_plain(&self, save: &Save) -> bool {
        let swap = save.swap();
        swap.expected.is_some()
            && swap.new.is_some()
            && swap.listing == Listing::Keep
            && !save.is_ending()
            && self.rules.policy().settings().reuse != Reuse::RevokeAll
    }

    /// Tells of a closing that is over already.
    pub(crate) fn watch_end(&self, closing: &Closing) {
        match closing {
            Closing::Done(reply) => self.watch.closed(Ok(reply), || self.host.ticks()),
            Closing::Failed(failure) => self.watch.closed(Err(failure), || self.host.ticks()),
            Closing::Save(_) | Closing::Wait(_) | Closing::Enter(_) => {}
        }
    }

    /// Keeps a store from growing without bound, a little at a time, after writes that are acknowledged. Call it after each:
    /// what ends in [`Driver::finish_now`] has done so.
    // spec: STORE-9 0682
    pub async fn sweep_if_due(&self) {
        if self.swept_elsewhere.get().is_none() && self.writes.fetch_add(1, Ordering::Relaxed) >= WRITES_PER_SWEEP {
            self.writes.store(0, Ordering::Relaxed);
            // Sweeping is only a matter of space: the next one will do.
            self.watch.swept(self.calls().sweep(self.host.now(), SWEPT_AT_ONCE).await);
        }
    }
}
