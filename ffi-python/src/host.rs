//! What the driver needs from its surroundings, with a clock and randomness that may be a test's.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;

use coatroom_core::Timestamp;
use coatroom_store::{Host, System};
use pyo3::prelude::*;
use rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};

use crate::csrf::CsrfKeys;
use crate::own;

/// A clock that a test sets, in milliseconds since the Unix epoch; with a seed, also randomness that repeats.
#[pyclass(frozen, module = "coatroom._native")]
pub(crate) struct Clock {
    ms: Arc<AtomicU64>,
    seeded: Option<Arc<Seeded>>,
}

#[pymethods]
impl Clock {
    #[new]
    #[pyo3(signature = (unix_ms, seed = None))]
    fn new(unix_ms: u64, seed: Option<Vec<u8>>) -> Self {
        let seeded = seed.map(|seed| Arc::new(Seeded { seed, drawn: AtomicU64::new(0) }));
        Self { ms: Arc::new(AtomicU64::new(unix_ms)), seeded }
    }

    /// The present reading.
    fn unix_ms(&self) -> u64 {
        self.ms.load(Ordering::SeqCst)
    }

    /// Sets the reading.
    fn set(&self, unix_ms: u64) {
        self.ms.store(unix_ms, Ordering::SeqCst);
    }
}

/// Random bytes that a test can foretell: SHA-256 over a seed and a count.
struct Seeded {
    seed: Vec<u8>,
    drawn: AtomicU64,
}

/// The system, unless a test brings time or randomness of its own.
#[derive(Clone)]
pub(crate) struct PythonHost {
    system: System,
    clock: Option<Arc<AtomicU64>>,
    seeded: Option<Arc<Seeded>>,
    csrf: Arc<CsrfKeys>,
    /// Whether a task on an event loop does the waiting.
    is_on_loop: bool,
}

impl PythonHost {
    pub(crate) fn new(clock: Option<&Clock>, csrf: CsrfKeys) -> Self {
        Self {
            system: System::default(),
            clock: clock.map(|clock| Arc::clone(&clock.ms)),
            seeded: clock.and_then(|clock| clock.seeded.clone()),
            csrf: Arc::new(csrf),
            is_on_loop: false,
        }
    }

    pub(crate) fn on_loop(self) -> Self {
        Self { is_on_loop: true, ..self }
    }

    pub(crate) fn csrf(&self) -> &CsrfKeys {
        &self.csrf
    }
}

impl Host for PythonHost {
    fn now(&self) -> Timestamp {
        match &self.clock {
            Some(ms) => Timestamp::from_unix_ms(ms.load(Ordering::SeqCst)),
            None => self.system.now(),
        }
    }

    fn ticks(&self) -> Duration {
        self.system.ticks()
    }

    fn rng(&self) -> impl TryCryptoRng {
        Random { system: self.system.rng(), seeded: self.seeded.clone() }
    }

    async fn pause(&self, span: Duration) {
        if self.is_on_loop {
            own::pause(span).await;
        } else {
            self.system.pause(span).await;
        }
    }
}

struct Random<R> {
    system: R,
    seeded: Option<Arc<Seeded>>,
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
        let Some(seeded) = &self.seeded else { return self.system.try_fill_bytes(out) };
        for chunk in out.chunks_mut(32) {
            let count = seeded.drawn.fetch_add(1, Ordering::SeqCst);
            let block: [u8; 32] =
                Sha256::new().chain_update(&seeded.seed).chain_update(count.to_be_bytes()).finalize().into();
            for (byte, drawn) in chunk.iter_mut().zip(block) {
                *byte = drawn;
            }
        }
        Ok(())
    }
}

impl<R: TryCryptoRng> TryCryptoRng for Random<R> {}
