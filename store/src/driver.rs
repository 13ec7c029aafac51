//! The loop that brings an exchange and a store together. It knows nothing of sessions: it sends what the core asks for,
//! says what came back, and limits how long that may go on.

#[cfg(feature = "redis")]
mod called;
mod now;
mod place;

use core::fmt;
use core::future::Future;
use core::time::Duration;
use std::sync::{Arc, OnceLock};

use coatroom_core::{
    Beyond, Closing, Enter, Entry, Error, Event, Failure, Handle, Listing, Loaded, Reply, Reuse, Rules, Save, Session,
    Swap,
};
use rand_core::TryRng;

use crate::feed::{Announced, Announcing};
use crate::observe::{Act, Calls, Observer, Watch, Why, during, seen};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::turns::Waiting;
use crate::{Entered, Host, NotListed, Store, Swapped, System, Unavailable};
pub(crate) use place::Place;
use place::Queued;

/// How long a commit is tried before the answer is [`Error::Busy`] or [`Error::Unavailable`].
const PATIENCE: Duration = Duration::from_secs(2);
/// How long an ending is tried: a logout that fails leaves somebody logged in.
const PATIENCE_FOR_ENDINGS: Duration = Duration::from_secs(10);
/// Conflicts that are met at once, before pauses begin.
pub(crate) const EAGER_CONFLICTS: u32 = 3;
/// The status of errors that say that the store did not answer.
const UNAVAILABLE: u16 = 503;
const LONGEST_PAUSE_EXPONENT: u32 = 15;

/// Runs exchanges over a store. Share one between all requests.
#[derive(Debug)]
pub struct Driver<S, H = System> {
    rules: Arc<Rules>,
    store: S,
    host: H,
    writes: AtomicU32,
    /// A thread of its own sweeps, and requests do not.
    swept_elsewhere: OnceLock<()>,
    pub(crate) announcing: Option<Announcing>,
    watch: Watch,
    /// Where those wait that write to the same session.
    #[cfg(feature = "queue")]
    lanes: crate::lanes::Lanes,
    /// Where those wait that want their turn in the same session.
    #[cfg(feature = "queue")]
    rooms: crate::lanes::Lanes,
}

/// An exchange that could not be opened or closed; answer with [`Error::status`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused(pub Failure);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.error.fmt(f)
    }
}

impl core::error::Error for Refused {}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl<S> Driver<S> {
    /// A driver with the clock and randomness of the operating system.
    pub fn new(rules: Arc<Rules>, store: S) -> Self {
        Self::with_host(rules, store, System::default())
    }
}

impl<S, H: Host> Driver<S, H> {
    /// A driver with a clock, randomness and pauses of its own.
    pub fn with_host(rules: Arc<Rules>, store: S, host: H) -> Self {
        Self {
            rules,
            store,
            host,
            writes: AtomicU32::new(0),
            swept_elsewhere: OnceLock::new(),
            announcing: None,
            watch: Watch::default(),
            #[cfg(feature = "queue")]
            lanes: crate::lanes::Lanes::default(),
            #[cfg(feature = "queue")]
            rooms: crate::lanes::Lanes::default(),
        }
    }

    /// The rules.
    pub const fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// The store.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// The host.
    pub const fn host(&self) -> &H {
        &self.host
    }

    /// The store, for whoever in this crate calls it.
    pub(crate) const fn calls(&self) -> Calls<'_, S, H> {
        Calls { store: &self.store, host: &self.host, watch: &self.watch }
    }

    pub(crate) const fn watch(&self) -> &Watch {
        &self.watch
    }

    pub(crate) fn is_swept_elsewhere(&self) {
        self.swept_elsewhere.get_or_init(|| ());
    }

    /// Closes an exchange as far as it goes without the store.
    // spec: TIME-6 8cae
    pub fn start_closing(&self, session: Session) -> Closing {
        session.close(self.host.now(), &mut self.host.rng())
    }

    /// A random part of a span that doubles with each attempt, from 1 to 32 ms.
    pub(crate) fn jitter(&self, attempt: u32) -> Duration {
        let exponent = attempt.saturating_sub(EAGER_CONFLICTS).saturating_add(9).min(LONGEST_PAUSE_EXPONENT);
        let mut bytes = [0; 2];
        // Without randomness the pauses are merely in step.
        let _harmless = self.host.rng().try_fill_bytes(&mut bytes);
        let span = 1_u64.checked_shl(exponent).unwrap_or(1);
        Duration::from_micros(u64::from(u16::from_be_bytes(bytes)).checked_rem(span).unwrap_or_default())
    }
}

/// What is left to do once an exchange was closed, and does not change what it was told.
#[derive(Default)]
pub(crate) struct Aftermath {
    surplus: Option<Surplus>,
    /// Logins that may have been stored, or may be yet, and were made again under other handles.
    lost: Vec<Entry>,
}

/// What was done of a closing already: what came of its first swap, and the place in which it was sent.
#[derive(Default)]
pub(crate) struct Begun {
    swapped: Option<Swapped>,
    place: Place,
}

/// A login took more than its principal's share of sessions.
pub(crate) struct Surplus {
    pub(crate) entry: Entry,
    /// Who was there before it, if that is known.
    pub(crate) before: Option<Vec<Handle>>,
}

/// How long one write has been tried.
struct Trial {
    started: Duration,
    conflicts: u32,
    doubts: u32,
    /// Whether entries of sessions that are over were cleared away for it.
    has_made_room: bool,
}

impl<S: Store, H: Host> Driver<S, H> {
    /// Opens an exchange on the bytes of the Cookie header.
    // spec: STORE-5 5484
    pub async fn open(&self, cookies: &[u8]) -> Result<Session, Refused> {
        self.finish_opening(self.rules.open(cookies, self.host.now())).await
    }

    /// Closes an exchange: when this returns a reply, every write is acknowledged.
    pub async fn close(&self, session: Session) -> Result<Reply, Refused> {
        self.finish(self.start_closing(session)).await
    }

    /// Goes on with a closing that was begun elsewhere.
    pub fn finish(&self, closing: Closing) -> impl Future<Output = Result<Reply, Refused>> {
        self.finish_after(closing, None)
    }

    /// The same where the first swap of the closing was sent already, and this came of it.
    pub fn finish_after(
        &self,
        closing: Closing,
        first: Option<Swapped>,
    ) -> impl Future<Output = Result<Reply, Refused>> {
        during(Act::Close, self.bring_to_an_end(closing, Begun { swapped: first, place: Place::default() }))
    }

    // What seldom happens waits in boxes of its own: what always does is moved for each call, and as large as the largest part.

    async fn bring_to_an_end(&self, closing: Closing, begun: Begun) -> Result<Reply, Refused> {
        let mut aftermath = Aftermath::default();
        let result = self.drive(closing, begun, &mut aftermath).await;
        self.watch.closed(seen(&result), || self.host.ticks());
        let is_unavailable = matches!(&result, Err(Refused(failure)) if failure.error.status() == UNAVAILABLE);
        if !aftermath.lost.is_empty() && !is_unavailable {
            Box::pin(self.end_lost(aftermath.lost)).await;
        }
        if let (Ok(_), Some(surplus)) = (&result, aftermath.surplus) {
            Box::pin(self.evict(surplus)).await;
        }
        if self.rules.policy().settings().reuse == Reuse::RevokeAll {
            let events = match &result {
                Ok(reply) => &reply.trace().events,
                Err(Refused(failure)) => &failure.events,
            };
            for event in events {
                if let Event::Reuse(handle) = event {
                    Box::pin(self.revoke_all_after_reuse(*handle)).await;
                }
            }
        }
        result
    }

    /// Sends what the closing asks for until it is over.
    pub(crate) async fn drive(
        &self,
        closing: Closing,
        begun: Begun,
        aftermath: &mut Aftermath,
    ) -> Result<Reply, Refused> {
        let mut announced = Announced::default();
        let result = self.send_all(closing, begun, aftermath, &mut announced).await;
        self.renew(announced).await;
        result
    }

    // spec: STORE-4 194b, END-4 71db
    async fn send_all(
        &self,
        mut closing: Closing,
        Begun { swapped: mut first, mut place }: Begun,
        aftermath: &mut Aftermath,
        announced: &mut Announced,
    ) -> Result<Reply, Refused> {
        let mut trial: Option<Trial> = None;
        let mut waiting = Waiting::default();
        loop {
            let save = match closing {
                Closing::Done(reply) => return Ok(reply),
                Closing::Failed(failure) => return Err(failure.into()),
                Closing::Wait(queued) => {
                    // Whoever has its turn may need to write in order to end it.
                    place = Place::default();
                    closing = Box::pin(self.queue(queued, &mut waiting)).await;
                    continue;
                }
                Closing::Enter(enter) => {
                    closing = Box::pin(self.enter(enter, &mut aftermath.surplus)).await;
                    continue;
                }
                Closing::Save(save) if first.is_some() => save,
                Closing::Save(save) => match self.queue_up(save, &mut place, &mut trial).await {
                    Queued::Next(save) => save,
                    Queued::Overtaken(next) => {
                        closing = next;
                        continue;
                    }
                },
            };
            if planted!(LeavesBeforeItEnds) {
                self.leave(save.swap()).await;
            }
            let swapped = match first.take() {
                Some(swapped) => swapped,
                None => self.send(save.swap(), announced).await,
            };
            closing = match swapped {
                Swapped::Done => {
                    trial = None;
                    place.leave(&save);
                    self.leave(save.swap()).await;
                    save.saved()
                }
                Swapped::Entered(answer) => {
                    trial = None;
                    place.leave(&save);
                    aftermath.surplus = self.surplus(save.swap().listing.entry(), &answer, false);
                    save.entered(answer.by(self.host.now()))
                }
                Swapped::Full => {
                    // Who clears away others' sessions holds up nobody meanwhile.
                    place = Place::default();
                    let lost = core::mem::take(&mut aftermath.lost);
                    Box::pin(self.make_room(save, lost, trial.get_or_insert_with(|| self.trial()))).await
                }
                Swapped::Conflict(current) => {
                    Box::pin(self.conflicted(save, current, trial.get_or_insert_with(|| self.trial()))).await
                }
                Swapped::Unknown => {
                    aftermath
                        .lost
                        .extend(save.swap().listing.entry().filter(|_| save.swap().expected.is_none()).cloned());
                    Box::pin(self.reload(save, trial.get_or_insert_with(|| self.trial()))).await
                }
                Swapped::Unavailable
                    if save.is_ending() && !self.is_over(&save, trial.get_or_insert_with(|| self.trial())) =>
                {
                    self.watch.retries(Why::Outage, Some(save.swap().handle));
                    Box::pin(self.host.pause(self.jitter(u32::MAX))).await;
                    Closing::Save(save)
                }
                Swapped::Unavailable => save.gave_up(Error::Unavailable),
            };
        }
    }

    /// Sends a swap. Where the index is apart and limits how many sessions there are, the place is taken first.
    async fn send(&self, swap: &Swap, announced: &mut Announced) -> Swapped {
        let entry = swap.listing.entry().filter(|entry| !self.store.enters_with_swap() && entry.at_most.is_some());
        if let Some(entry) = entry {
            match Box::pin(self.calls().enter(entry)).await {
                Ok(_) => {}
                Err(NotListed::Full) => return Swapped::Full,
                Err(NotListed::Unavailable) => return Swapped::Unavailable,
            }
        }
        if planted!(AnnouncedAfter) {
            let swapped = Box::pin(self.calls().swap(swap)).await;
            let _too_late = self.announce_ending(swap, announced).await;
            return swapped;
        }
        // Where the feed is out of reach, so is the ending: nobody is told that it took place.
        match self.announce_ending(swap, announced).await {
            Ok(()) => self.calls().swap(swap).await,
            Err(Unavailable) => Swapped::Unavailable,
        }
    }

    /// Where the index is apart, the entry of a session that has ended goes now; if it does not, when somebody looks.
    async fn leave(&self, swap: &Swap) {
        if let Listing::Leave(principal) = &swap.listing
            && !self.store.enters_with_swap()
        {
            let _when_somebody_looks = Box::pin(self.calls().leave(principal, swap.handle)).await;
        }
    }

    /// Makes the entry of a login that was stored. Nobody is told of the login before that.
    // spec: IDX-1 7e62
    async fn enter(&self, enter: Enter, surplus: &mut Option<Surplus>) -> Closing {
        if planted!(ToldBeforeEntered) {
            return enter.entered(coatroom_core::Listed::default());
        }
        let entry = enter.entry().clone();
        let asked = AtomicU32::new(0);
        let ask = || async {
            asked.fetch_add(1, Ordering::Relaxed);
            self.calls().enter(&entry).await.map_err(|_| Unavailable)
        };
        match self.persist(ask).await {
            Ok(answer) => {
                // It may have been made before this: where the swap makes it, or by a call whose answer was lost.
                let in_doubt = self.store.enters_with_swap() || asked.into_inner() > 1;
                *surplus = self.surplus(Some(&entry), &answer, in_doubt);
                enter.entered(answer.by(self.host.now()))
            }
            Err(Unavailable) => enter.gave_up(),
        }
    }

    /// What is to be done about it if the principal of an entry has more sessions by now than the policy allows. A session
    /// that was listed before takes no further place.
    fn surplus(&self, entry: Option<&Entry>, answer: &Entered, in_doubt: bool) -> Option<Surplus> {
        let limit = self.rules.policy().settings().limit.filter(|limit| limit.beyond != Beyond::Refuse)?;
        let entry = entry.filter(|_| answer.count > limit.sessions && (answer.before.is_some() || in_doubt))?;
        Some(Surplus { entry: entry.clone(), before: answer.before.clone() })
    }

    /// Some of the sessions that fill the principal's share may be over, or be left of this very login: then there is room
    /// after all.
    // spec: LIMIT-1 3719, LIMIT-2 29e3
    async fn make_room(&self, save: Save, lost: Vec<Entry>, trial: &mut Trial) -> Closing {
        let is_worth_it = !trial.has_made_room || !lost.is_empty();
        let entry = save.swap().listing.entry().filter(|_| is_worth_it && !planted!(OverTakesPlace));
        let Some(entry) = entry.cloned() else { return save.full() };
        trial.has_made_room = true;
        self.end_lost(lost).await;
        match self.clear_away(&entry.principal).await {
            Ok(()) => Closing::Save(save),
            Err(Unavailable) => save.gave_up(Error::Unavailable),
        }
    }

    /// Asks again for as long as it is worth, with pauses, while the store does not answer.
    pub(crate) async fn persist<T, F: Future<Output = Result<T, Unavailable>> + Send>(
        &self,
        ask: impl Fn() -> F + Send,
    ) -> Result<T, Unavailable> {
        let started = self.host.ticks();
        loop {
            let answer = ask().await;
            if answer.is_ok() || self.host.ticks().saturating_sub(started) >= PATIENCE_FOR_ENDINGS {
                return answer;
            }
            self.watch.retries(Why::Outage, None);
            self.host.pause(self.jitter(u32::MAX)).await;
        }
    }

    /// The first conflicts are met at once with the record that came with them; later ones after a pause, on what is
    /// stored by then.
    // spec: STORE-8 8f18
    async fn conflicted(&self, save: Save, current: Option<Vec<u8>>, trial: &mut Trial) -> Closing {
        trial.conflicts = trial.conflicts.saturating_add(1);
        if trial.conflicts <= EAGER_CONFLICTS {
            return save.conflicted(current);
        }
        if self.is_over(&save, trial) {
            return save.gave_up(Error::Busy);
        }
        self.host.pause(self.jitter(trial.conflicts)).await;
        match self.calls().load(save.swap().handle).await {
            Loaded::Found(record) => save.conflicted(Some(record)),
            Loaded::Absent => save.conflicted(None),
            Loaded::Unavailable => save.conflicted(current),
        }
    }

    /// Only what is stored can tell whether a swap took place. Where every load shows that it did not, and every swap is in
    /// doubt again, that has an end too.
    // spec: WRITE-11 c612, STORE-8 8f18
    async fn reload(&self, save: Save, trial: &mut Trial) -> Closing {
        trial.doubts = trial.doubts.saturating_add(1);
        self.watch.retries(Why::Doubt, Some(save.swap().handle));
        if trial.doubts > EAGER_CONFLICTS {
            self.host.pause(self.jitter(u32::MAX)).await;
        }
        let (handle, creates) = (save.swap().handle, save.swap().expected.is_none());
        loop {
            let loaded = self.calls().load(handle).await;
            let over = self.is_over(&save, trial);
            if loaded == Loaded::Unavailable && !over {
                self.watch.retries(Why::Outage, Some(handle));
                self.host.pause(self.jitter(u32::MAX)).await;
                continue;
            }
            return match save.reloaded(loaded) {
                // The same write once more, under another handle if it is a create.
                Closing::Save(again)
                    if over && (again.swap().handle == handle || (creates && again.swap().expected.is_none())) =>
                {
                    again.gave_up(Error::Busy)
                }
                next => next,
            };
        }
    }

    fn trial(&self) -> Trial {
        Trial { started: self.host.ticks(), conflicts: 0, doubts: 0, has_made_room: false }
    }

    // spec: STORE-8 8f18, END-4 71db
    fn is_over(&self, save: &Save, trial: &Trial) -> bool {
        let patience = if save.is_ending() { PATIENCE_FOR_ENDINGS } else { PATIENCE };
        self.host.ticks().saturating_sub(trial.started) >= patience
    }
}
