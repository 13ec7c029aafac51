//! The store as a host of its own: the shipped memory engine, a disk that remembers what was synced, and the client that
//! nodes reach it with.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use coatroom_core::{Entry, Handle, Listing, Loaded, Stamp, Swap, Timestamp};
use coatroom_store::memory::Memory;
use coatroom_store::{Cursor, Engine, Entered, NotListed, Store, Swapped, Unavailable, Wait};
use coatroom_tests::world::START;

use crate::dice::Dice;
use crate::oracle::Oracle;
use crate::wire::{self, Lost, Pool, sim_ms};

pub const HOST: &str = "store";
const PATIENCE: Duration = Duration::from_millis(400);

/// A defect of the store, of its client or of the driver, planted to show that a simulation finds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Defect {
    /// A swap overwrites whatever is there.
    LostSwap,
    /// A swap of a record that was removed in between puts it back.
    UpsertAfterRemoval,
    /// A swap compares the version and not the commit id.
    VersionAlone,
    /// A durable swap is acknowledged before it is on disk.
    AcknowledgedBeforeDurable,
    /// A swap that timed out is said not to have taken place.
    TimeoutMeansRefused,
    /// A swap that timed out is said to have taken place.
    TimeoutMeansDone,
    /// A load that failed reads as absent.
    UnavailableMeansAbsent,
    /// An entry into the index that nobody heard of is said to stand.
    UnheardEntryStands,
    /// A list of sessions is one short.
    ListTooShort,
}

impl Defect {
    pub const ALL: [Self; 9] = [
        Self::LostSwap,
        Self::UpsertAfterRemoval,
        Self::VersionAlone,
        Self::AcknowledgedBeforeDurable,
        Self::TimeoutMeansRefused,
        Self::TimeoutMeansDone,
        Self::UnavailableMeansAbsent,
        Self::UnheardEntryStands,
        Self::ListTooShort,
    ];
}

type Kept = BTreeMap<Handle, (Vec<u8>, Timestamp)>;

/// What the hosts of a simulation share: the disk survives a crash, the engine on top of it does not.
pub struct Disk {
    inner: Mutex<Inner>,
    pub oracle: Arc<Mutex<Oracle>>,
    defect: Option<Defect>,
    /// Who is logged in where: kept apart, on the same host. Calls of it fail as others do; what it acknowledged it keeps.
    index: Memory,
}

struct Inner {
    engine: Arc<Memory>,
    /// What the engine holds, as a list.
    live: Kept,
    /// What is on disk.
    synced: Kept,
    /// Handles whose newest durable write was acknowledged without being on disk.
    cheated: BTreeSet<Handle>,
    full: bool,
    /// The index answers nobody, and does half of what it is asked for.
    silent: bool,
    calls: Vec<Call>,
    answers: Vec<Reply>,
    dice: Dice,
}

#[derive(Clone)]
enum Call {
    Load(Handle),
    Swap(Swap),
    Enter(Entry),
    Sessions(String),
    Leave(String, Handle),
    Bar(String),
}

#[derive(Clone)]
enum Reply {
    Load(Loaded),
    Swap(Swapped),
    Enter(Result<Entered, NotListed>),
    Sessions(Result<Vec<Handle>, Unavailable>),
    Leave(Result<(), Unavailable>),
    Bar(Result<Timestamp, Unavailable>),
}

impl Disk {
    pub fn new(seed: u64, oracle: Arc<Mutex<Oracle>>, defect: Option<Defect>) -> Arc<Self> {
        let inner = Inner {
            engine: Arc::default(),
            live: Kept::new(),
            synced: Kept::new(),
            cheated: BTreeSet::new(),
            full: false,
            silent: false,
            calls: Vec::new(),
            answers: Vec::new(),
            dice: Dice::new(seed, 1),
        };
        Arc::new(Self { inner: Mutex::new(inner), oracle, defect, index: Memory::default() })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// The server. Time passes before and after a call takes effect, so that a crash can fall on either side.
    pub async fn serve(self: Arc<Self>) -> turmoil::Result {
        wire::serve(move |number| {
            let disk = Arc::clone(&self);
            async move {
                let pause = disk.inner().dice.millis(0, 6);
                tokio::time::sleep(pause).await;
                let (answer, pause) = disk.take_effect(number);
                tokio::time::sleep(pause).await;
                answer
            }
        })
        .await
    }

    fn take_effect(&self, number: u64) -> (u64, Duration) {
        let mut inner = self.inner();
        let call = inner.calls[usize::try_from(number).unwrap()].clone();
        let reply = match call {
            Call::Load(handle) => Reply::Load(Engine::load(&*inner.engine, handle)),
            Call::Swap(_) if inner.full => Reply::Swap(Swapped::Unavailable),
            Call::Swap(swap) => Reply::Swap(self.swap(&mut inner, swap)),
            call => self.ask_index(&mut inner, &call),
        };
        inner.answers.push(reply);
        // Some answers are overtaken by what others ask for after them.
        let pause = if inner.dice.percent(4) { inner.dice.millis(50, 300) } else { inner.dice.millis(0, 12) };
        (inner.answers.len() as u64 - 1, pause)
    }

    /// The index goes by the clock of its own host.
    fn ask_index(&self, inner: &mut Inner, call: &Call) -> Reply {
        let now = Timestamp::from_unix_ms(START + sim_ms());
        let unheard = inner.silent;
        let undone = inner.full || (unheard && inner.dice.percent(50));
        let heard = if unheard { Err(Unavailable) } else { Ok(()) };
        if unheard || undone {
            self.oracle.lock().unwrap().counts.one("calls of the index failed");
        }
        match call {
            Call::Enter(entry) => {
                let entered = if undone { Err(NotListed::Unavailable) } else { Engine::enter(&self.index, entry) };
                let aged = entered.map(|it| Entered { ago: Some(now.since(it.revoked)), ..it });
                Reply::Enter(if unheard { Err(NotListed::Unavailable) } else { aged })
            }
            Call::Leave(principal, handle) => {
                let left = if undone { Err(Unavailable) } else { Engine::leave(&self.index, principal, *handle) };
                Reply::Leave(left.and(heard))
            }
            Call::Bar(principal) => {
                let barred = if undone { Err(Unavailable) } else { Engine::bar(&self.index, principal, now) };
                Reply::Bar(heard.and(barred))
            }
            Call::Sessions(principal) => Reply::Sessions(heard.and(Engine::sessions(&self.index, principal))),
            Call::Load(_) | Call::Swap(_) => unreachable!("these are for the records"),
        }
    }

    /// Whether the index has this session of the principal.
    pub fn lists(&self, principal: &str, handle: Handle) -> bool {
        Engine::sessions(&self.index, principal).unwrap().contains(&handle)
    }

    fn swap(&self, inner: &mut Inner, mut swap: Swap) -> Swapped {
        // The index is apart.
        swap.listing = Listing::Keep;
        let done = Engine::swap(&*inner.engine, &swap, Wait::Patiently).unwrap();
        let forced = match (&done, self.defect) {
            (Swapped::Conflict(Some(_)), Some(Defect::LostSwap)) => swap.expected.is_some(),
            (Swapped::Conflict(None), Some(Defect::UpsertAfterRemoval)) => true,
            (Swapped::Conflict(Some(there)), Some(Defect::VersionAlone)) => {
                swap.expected.is_some_and(|wanted| there[Stamp::AT..][..8] == wanted.as_bytes()[..8])
            }
            _ => false,
        };
        if let (true, Swapped::Conflict(there)) = (forced, &done) {
            swap.expected = there.as_deref().and_then(Stamp::of);
            assert!(Engine::swap(&*inner.engine, &swap, Wait::Patiently) == Some(Swapped::Done));
        } else if done != Swapped::Done {
            return done;
        }
        match &swap.new {
            Some(record) => drop(inner.live.insert(swap.handle, (record.clone(), swap.garbage_at))),
            None => drop(inner.live.remove(&swap.handle)),
        }
        self.oracle.lock().unwrap().stored(swap.handle, swap.new.as_deref());
        if swap.durable && self.defect == Some(Defect::AcknowledgedBeforeDurable) {
            inner.cheated.insert(swap.handle);
        } else if swap.durable {
            inner.sync(swap.handle);
        }
        Swapped::Done
    }

    /// The engine is gone. Of the writes that were not synced, some had reached the disk all the same.
    pub fn crash(&self) {
        let mut inner = self.inner();
        let handles: BTreeSet<Handle> = inner.live.keys().chain(inner.synced.keys()).copied().collect();
        let mut oracle = self.oracle.lock().unwrap();
        for handle in handles {
            if inner.live.get(&handle) == inner.synced.get(&handle) {
                continue;
            }
            if inner.dice.percent(35) {
                inner.sync(handle);
            } else {
                let cheated = inner.cheated.remove(&handle);
                oracle.lost(handle, cheated);
            }
        }
        drop(oracle);
        inner.live = inner.synced.clone();
        let engine = Memory::default();
        for (&handle, (record, garbage_at)) in &inner.live {
            let new = Some(record.clone());
            let swap =
                Swap { handle, expected: None, new, durable: true, garbage_at: *garbage_at, listing: Listing::Keep };
            assert!(Engine::swap(&engine, &swap, Wait::Patiently) == Some(Swapped::Done));
        }
        inner.engine = Arc::new(engine);
    }

    /// Whether the disk has no room.
    pub fn fill(&self, full: bool) {
        self.inner().full = full;
    }

    /// Whether the index answers nobody.
    pub fn silence_index(&self, silent: bool) {
        self.inner().silent = silent;
    }

    /// What a kernel does every now and then.
    pub fn sync_all(&self) {
        let mut inner = self.inner();
        let Inner { live, synced, cheated, .. } = &mut *inner;
        synced.clone_from(live);
        cheated.clear();
    }
}

impl Inner {
    fn sync(&mut self, handle: Handle) {
        self.cheated.remove(&handle);
        match self.live.get(&handle) {
            Some(kept) => drop(self.synced.insert(handle, kept.clone())),
            None => drop(self.synced.remove(&handle)),
        }
    }
}

/// What a node reaches the store with. It sends each swap at most once, and says what it knows of the outcome.
pub struct Client(pub Arc<Disk>, pub Pool);

impl Client {
    async fn call(&self, call: Call) -> Result<Reply, Lost> {
        let number = {
            let mut inner = self.0.inner();
            inner.calls.push(call);
            inner.calls.len() as u64 - 1
        };
        let answer = self.1.call(HOST, number, PATIENCE).await?;
        Ok(self.0.inner().answers[usize::try_from(answer).unwrap()].clone())
    }

    fn oracle(&self) -> MutexGuard<'_, Oracle> {
        self.0.oracle.lock().unwrap()
    }
}

impl Store for Client {
    async fn load(&self, handle: Handle) -> Loaded {
        let began = self.oracle().tick();
        match self.call(Call::Load(handle)).await {
            Ok(Reply::Load(loaded)) => {
                self.oracle().loaded(began, handle, &loaded);
                loaded
            }
            _ if self.0.defect == Some(Defect::UnavailableMeansAbsent) => Loaded::Absent,
            _ => Loaded::Unavailable,
        }
    }

    async fn swap(&self, swap: &Swap) -> Swapped {
        let sent = self.oracle().tick();
        let swapped = match (self.call(Call::Swap(swap.clone())).await, self.0.defect) {
            (Ok(Reply::Swap(swapped)), _) => swapped,
            (Err(Lost::Unanswered), Some(Defect::TimeoutMeansRefused)) => Swapped::Unavailable,
            (Err(Lost::Unanswered), Some(Defect::TimeoutMeansDone)) => Swapped::Done,
            (Err(Lost::Unsent), _) => Swapped::Unavailable,
            _ => Swapped::Unknown,
        };
        self.oracle().swapped(sent, swap, &swapped);
        swapped
    }

    async fn enter(&self, entry: &Entry) -> Result<Entered, NotListed> {
        match self.call(Call::Enter(entry.clone())).await {
            Ok(Reply::Enter(Ok(entered))) => Ok(entered),
            Ok(Reply::Enter(Err(NotListed::Full))) => Err(NotListed::Full),
            _ if self.0.defect == Some(Defect::UnheardEntryStands) => Ok(Entered::default()),
            _ => Err(NotListed::Unavailable),
        }
    }

    async fn sessions(&self, principal: &str) -> Result<Vec<Handle>, Unavailable> {
        let Ok(Reply::Sessions(listed)) = self.call(Call::Sessions(principal.to_owned())).await else {
            return Err(Unavailable);
        };
        let short = usize::from(self.0.defect == Some(Defect::ListTooShort));
        listed.map(|handles| handles[..handles.len().saturating_sub(short)].to_vec())
    }

    async fn leave(&self, principal: &str, handle: Handle) -> Result<(), Unavailable> {
        match self.call(Call::Leave(principal.to_owned(), handle)).await {
            Ok(Reply::Leave(left)) => left,
            _ => Err(Unavailable),
        }
    }

    async fn bar(&self, principal: &str, _: Timestamp) -> Result<Timestamp, Unavailable> {
        match self.call(Call::Bar(principal.to_owned())).await {
            Ok(Reply::Bar(moment)) => moment,
            _ => Err(Unavailable),
        }
    }

    /// Nobody here ends everything or sweeps.
    async fn scan(&self, _: Option<Cursor>, _: usize) -> Result<(Vec<Handle>, Option<Cursor>), Unavailable> {
        Err(Unavailable)
    }

    async fn sweep(&self, _: Timestamp, _: usize) -> Result<usize, Unavailable> {
        Err(Unavailable)
    }
}
