//! What the driver needs from its surroundings, with a clock and randomness that may be a test's.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::thread;

use coatroom_core::Timestamp;
use coatroom_store::{Host, System};
use rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};

use crate::asks::pause_ask;
use crate::task::ask;
use crate::wire::{moment, ms};

/// A clock that a test sets, in milliseconds since the Unix epoch; with a seed, also randomness that repeats: SHA-256 over
/// the seed and a count of 8 bytes, as in the test kit for Python.
#[derive(uniffi::Object)]
pub struct ManualClock {
    ms: AtomicU64,
    seed: Option<Vec<u8>>,
    drawn: AtomicU64,
}

impl core::fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ManualClock").field("ms", &self.ms).finish_non_exhaustive()
    }
}

#[uniffi::export]
impl ManualClock {
    /// A clock that stands still.
    #[uniffi::constructor(default(seed = None))]
    pub fn new(unix_ms: i64, seed: Option<Vec<u8>>) -> Arc<Self> {
        let ms = AtomicU64::new(moment(unix_ms).as_unix_ms());
        Arc::new(Self { ms, seed, drawn: AtomicU64::new(0) })
    }

    /// The present reading.
    pub fn unix_ms(&self) -> i64 {
        ms(self.now())
    }

    /// Sets the reading.
    pub fn set(&self, unix_ms: i64) {
        self.ms.store(moment(unix_ms).as_unix_ms(), Ordering::SeqCst);
    }
}

impl ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.ms.load(Ordering::SeqCst))
    }
}

/// The system, unless a test brings time or randomness of its own.
#[derive(Clone, Debug)]
pub(crate) struct AnyHost {
    system: System,
    clock: Option<Arc<ManualClock>>,
    /// Whether it is a task that pauses.
    pub(crate) asks: bool,
}

impl AnyHost {
    pub(crate) fn new(clock: Option<Arc<ManualClock>>, asks: bool) -> Self {
        Self { system: System::default(), clock, asks }
    }
}

impl Host for AnyHost {
    fn now(&self) -> Timestamp {
        self.clock.as_ref().map_or_else(|| self.system.now(), |clock| clock.now())
    }

    fn ticks(&self) -> Duration {
        self.system.ticks()
    }

    fn rng(&self) -> impl TryCryptoRng {
        Random { system: self.system.rng(), clock: self.clock.clone() }
    }

    /// A task's pause is left to whoever runs it; any other is this thread's.
    async fn pause(&self, span: Duration) {
        if self.asks {
            ask::<()>(pause_ask(span)).await;
        } else {
            thread::sleep(span);
        }
    }
}

struct Random<R> {
    system: R,
    clock: Option<Arc<ManualClock>>,
}

impl<R: TryRng> TryRng for Random<R> {
    type Error = R::Error;

    fn try_next_u32(&mut self) -> Result<u32, R::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes).map(|()| u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, R::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), R::Error> {
        let seeded = self.clock.as_deref().and_then(|clock| Some((clock.seed.as_deref()?, &clock.drawn)));
        let Some((seed, drawn)) = seeded else { return self.system.try_fill_bytes(out) };
        for chunk in out.chunks_mut(32) {
            let count = drawn.fetch_add(1, Ordering::SeqCst);
            let block: [u8; 32] = Sha256::new().chain_update(seed).chain_update(count.to_be_bytes()).finalize().into();
            chunk.iter_mut().zip(block).for_each(|(byte, drawn)| *byte = drawn);
        }
        Ok(())
    }
}

impl<R: TryCryptoRng> TryCryptoRng for Random<R> {}
