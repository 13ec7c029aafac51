//! Serial mode: how an exchange gets its turn, and how long it waits for those of others.

use core::future::Future;
use core::time::Duration;

use coatroom_core::{Closing, Error, Handle, Load, Loaded, Opening, Queued, Session, Take};

use crate::driver::{EAGER_CONFLICTS, Place};
use crate::observe::{Act, Observer, Why, during};
use crate::{Driver, Engine, Host, Refused, Store, Swapped, Wait, block_on};

/// How long an exchange has waited for the turn of another.
#[derive(Default)]
pub(crate) struct Waiting {
    since: Option<Duration>,
    pauses: u32,
}

impl<S, H: Host> Driver<S, H> {
    /// How long a turn is waited for: that of a holder that died, and one more.
    // spec: SER-4 ef64
    fn patience_for_turns(&self) -> Duration {
        let settings = self.rules().policy().settings();
        settings.lease.saturating_mul(2).saturating_add(settings.skew.saturating_mul(2))
    }

    fn start_serial(&self, cookies: &[u8]) -> Opening {
        self.rules().open_serial(cookies, self.host().now(), &mut self.host().rng())
    }

    fn has_waited(&self, since: Duration) -> bool {
        self.host().ticks().saturating_sub(since) >= self.patience_for_turns()
    }

    /// Pauses, the longer the more often it did before; false when that has gone on for too long.
    async fn waits(&self, handle: Handle, waiting: &mut Waiting) -> bool {
        let since = *waiting.since.get_or_insert_with(|| self.host().ticks());
        if self.has_waited(since) {
            return false;
        }
        self.watch().retries(Why::Turn, Some(handle));
        waiting.pauses = waiting.pauses.saturating_add(1);
        self.host().pause(self.jitter(waiting.pauses.saturating_add(EAGER_CONFLICTS))).await;
        true
    }
}

impl<S: Store, H: Host> Driver<S, H> {
    /// Opens an exchange whose handler has its turn: until it closes, nobody else writes data to the session, so code that
    /// reads, computes and sets is exact. For requests with unsafe methods, [`coatroom_core::Policy::takes_turns`].
    // spec: SER-1 0cb4, SER-2 884b
    pub async fn open_serial(&self, cookies: &[u8]) -> Result<Session, Refused> {
        self.finish_opening(self.start_serial(cookies)).await
    }

    /// Goes on with an opening that was begun elsewhere.
    pub fn finish_opening(&self, opening: Opening) -> impl Future<Output = Result<Session, Refused>> {
        during(Act::Open, self.bring_to_open(opening))
    }

    // spec: SER-1 0cb4, SER-2 884b, SER-4 ef64
    async fn bring_to_open(&self, mut opening: Opening) -> Result<Session, Refused> {
        let (mut place, mut waiting, mut refused) = (Place::default(), Waiting::default(), 0_u32);
        loop {
            opening = match opening {
                Opening::Ready(session) => return Ok(session),
                Opening::Unavailable(failure) => {
                    self.watch().refused_to_open(&failure);
                    return Err(failure.into());
                }
                Opening::Load(load) => {
                    let loaded = self.calls().load(load.handle()).await;
                    load.found(loaded)
                }
                Opening::Wait(load) => Box::pin(self.wait(load, &mut place, &mut waiting)).await,
                Opening::Take(take) => {
                    refused = refused.saturating_add(1);
                    Box::pin(self.take(take, refused, &mut waiting)).await
                }
            };
        }
    }

    async fn wait(&self, load: Load, place: &mut Place, waiting: &mut Waiting) -> Opening {
        waiting.since.get_or_insert_with(|| self.host().ticks());
        self.be_first(load.handle(), place).await;
        if self.waits(load.handle(), waiting).await {
            let (now, loaded) = (self.host().now(), self.calls().load(load.handle()).await);
            load.at(now).found(loaded)
        } else {
            load.gave_up(Error::Busy)
        }
    }

    async fn take(&self, take: Take, refused: u32, waiting: &mut Waiting) -> Opening {
        if refused > EAGER_CONFLICTS && !self.waits(take.swap().handle, waiting).await {
            return take.gave_up(Error::Busy);
        }
        match self.calls().swap(take.swap()).await {
            Swapped::Done | Swapped::Entered(_) => take.saved(),
            Swapped::Conflict(current) => take.conflicted(current),
            Swapped::Unknown => {
                let loaded = self.calls().load(take.swap().handle).await;
                take.reloaded(loaded)
            }
            Swapped::Unavailable | Swapped::Full => take.gave_up(Error::Unavailable),
        }
    }

    /// A commit that has to wait for the turn of another.
    // spec: SER-4 ef64
    pub(crate) async fn queue(&self, queued: Queued, waiting: &mut Waiting) -> Closing {
        if !self.waits(queued.handle(), waiting).await {
            return queued.gave_up(Error::Busy);
        }
        let (now, loaded) = (self.host().now(), self.calls().load(queued.handle()).await);
        match loaded {
            Loaded::Unavailable => Closing::Wait(queued),
            loaded => queued.found(loaded, now),
        }
    }
}

impl<E: Engine, H: Host> Driver<E, H> {
    /// [`Driver::open_serial`] for an engine, on this thread. May wait for the turns of others, for locks and disks.
    pub fn open_serial_now(&self, cookies: &[u8]) -> Result<Session, Refused> {
        self.finish_opening_now(self.start_serial(cookies))
    }

    /// [`Driver::finish_opening`] for an engine, on this thread.
    pub fn finish_opening_now(&self, opening: Opening) -> Result<Session, Refused> {
        block_on(self.finish_opening(opening))
    }

    /// [`Driver::open_serial`] as far as the engine answers at once. What comes back may be a session, a failure, a turn of
    /// another to be looked at again ([`Driver::look_for_turn`]), or a swap for [`Driver::take_now`] on a thread that may wait.
    pub fn open_serial_without_waiting(&self, cookies: &[u8]) -> Opening {
        self.go_on_without_waiting(self.start_serial(cookies))
    }

    /// After a pause, looks again at what waits for the turn of another since `since`, by the ticks of the host.
    // spec: SER-1 0cb4, SER-4 ef64
    pub fn look_for_turn(&self, opening: Opening, since: Duration) -> Opening {
        match opening {
            Opening::Wait(load) if self.has_waited(since) => self.watched(load.gave_up(Error::Busy)),
            Opening::Wait(load) => {
                self.watch().retries(Why::Turn, Some(load.handle()));
                let (now, loaded) = (self.host().now(), self.calls().load_now(load.handle()));
                self.go_on_without_waiting(load.at(now).found(loaded))
            }
            other => other,
        }
    }

    /// The same for a closing; whatever but a turn of another is not for this call.
    // spec: SER-4 ef64
    pub fn look_again(&self, closing: Closing, since: Duration) -> Closing {
        match closing {
            Closing::Wait(queued) if self.has_waited(since) => {
                let over = queued.gave_up(Error::Busy);
                self.watch_end(&over);
                over
            }
            Closing::Wait(queued) => {
                self.watch().retries(Why::Turn, Some(queued.handle()));
                let (now, loaded) = (self.host().now(), self.calls().load_now(queued.handle()));
                self.finish_without_waiting(queued.found(loaded, now))
            }
            other => other,
        }
    }

    /// Sends the swap that takes the turn, on this thread, which may wait for locks and disks, but for no turn.
    // spec: SER-2 884b
    pub fn take_now(&self, opening: Opening) -> Opening {
        match opening {
            Opening::Take(take) => {
                let swapped = self.calls().swap_now(take.swap(), Wait::Patiently);
                let taken = self.taken(take, swapped.unwrap_or(Swapped::Unavailable));
                self.go_on_without_waiting(taken)
            }
            other => other,
        }
    }

    /// An opening that this call leads no further may be over.
    fn watched(&self, opening: Opening) -> Opening {
        if let Opening::Unavailable(failure) = &opening {
            self.watch().refused_to_open(failure);
        }
        opening
    }

    fn go_on_without_waiting(&self, mut opening: Opening) -> Opening {
        for _ in 0..=EAGER_CONFLICTS {
            opening = match opening {
                Opening::Load(load) => {
                    let loaded = self.calls().load_now(load.handle());
                    load.found(loaded)
                }
                Opening::Take(take) => match self.calls().swap_now(take.swap(), Wait::Never) {
                    Some(Swapped::Unavailable) | None => return Opening::Take(take),
                    Some(swapped) => self.taken(take, swapped),
                },
                other => return self.watched(other),
            };
        }
        self.watched(opening)
    }

    fn taken(&self, take: Take, swapped: Swapped) -> Opening {
        match swapped {
            Swapped::Done | Swapped::Entered(_) => take.saved(),
            Swapped::Conflict(current) => take.conflicted(current),
            Swapped::Unknown => {
                let loaded = self.calls().load_now(take.swap().handle);
                take.reloaded(loaded)
            }
            Swapped::Unavailable | Swapped::Full => take.gave_up(Error::Unavailable),
        }
    }
}
