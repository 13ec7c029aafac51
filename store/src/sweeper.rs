//! Sweeping in the background, off the path of any request.

use core::time::Duration;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;
use std::{fmt, io};

use rand_core::TryRng;

use crate::observe::Observer;
use crate::{Driver, Host, Store, Unavailable, block_on};

/// It sweeps for a hundredth of the time: of a hundred requests, one at most meets it.
const SHARE: u32 = 100;

/// A thread that removes what is over, every now and then, until this is dropped.
pub struct Sweeper {
    over: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Sweeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sweeper")
    }
}

impl Sweeper {
    /// Sweeps about every `every`, sooner or later by up to a half so that the processes of a site do not meet, `batch`
    /// records at a time until none is left. Between two batches it rests a hundred times as long as the first took, but
    /// no longer than `every`: about a thousand records a second over PostgreSQL, in batches of 500. Requests sweep no more from
    /// then on.
    pub fn start<S, H>(driver: Arc<Driver<S, H>>, every: Duration, batch: usize) -> io::Result<Self>
    where
        S: Store + 'static,
        H: Host + 'static,
    {
        let over = Arc::new((Mutex::new(false), Condvar::new()));
        let ends = Arc::clone(&over);
        driver.is_swept_elsewhere();
        let run = move || {
            while !is_over_after(&ends, jittered(every, driver.host())) {
                let mut started = Instant::now();
                while sweep(&driver, batch).is_ok_and(|swept| swept >= batch) {
                    if is_over_after(&ends, started.elapsed().saturating_mul(SHARE).min(every)) {
                        return;
                    }
                    started = Instant::now();
                }
            }
        };
        let thread = thread::Builder::new().name("coatroom-sweeper".into()).spawn(run)?;
        Ok(Self { over, thread: Some(thread) })
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        let (over, woken) = &*self.over;
        *over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        woken.notify_all();
        if let Some(thread) = self.thread.take() {
            // A sweep that panicked has nothing left to end.
            let _ended = thread.join();
        }
    }
}

fn sweep<S: Store, H: Host>(driver: &Driver<S, H>, batch: usize) -> Result<usize, Unavailable> {
    let swept = block_on(driver.calls().sweep(driver.host().now(), batch));
    driver.watch().swept(swept);
    swept
}

/// Waits, and says whether the end came meanwhile.
fn is_over_after(ends: &(Mutex<bool>, Condvar), span: Duration) -> bool {
    let (over, woken) = ends;
    let over = over.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = woken.wait_timeout_while(over, span, |over| !*over);
    *waited.unwrap_or_else(PoisonError::into_inner).0
}

/// A random span between a half and three halves.
fn jittered<H: Host>(every: Duration, host: &H) -> Duration {
    let mut bytes = [0x80; 2];
    // Without randomness it is merely punctual.
    let _harmless = host.rng().try_fill_bytes(&mut bytes);
    let part = every.checked_div(0x1_0000).unwrap_or_default();
    every.checked_div(2).unwrap_or_default().saturating_add(part.saturating_mul(u32::from(u16::from_be_bytes(bytes))))
}
