//! When to pull.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use coatroom_store::{Listening, Nudge};

/// However often a bell is rung, there is so much between two pulls.
const BREATH: Duration = Duration::from_millis(50);

/// Has a thread pull every so often, and at once when the store says that there is something new.
///
/// ```no_run
/// # use core::time::Duration;
/// # use std::sync::Arc;
/// # use coatroom_store::{Host, Store, System, block_on, memory::Memory};
/// # use coatroom_token::{Follower, Puller, Revocations};
/// # let (store, revocations) = (Arc::new(Memory::default()), Arc::new(Revocations::new(Duration::ZERO, Duration::ZERO)));
/// let follower = Follower::new(Duration::from_secs(2));
/// let bell = follower.bell();
/// let mut puller = Puller::new(Arc::clone(&store), revocations);
/// let thread = std::thread::spawn(move || {
///     follower.run(|nudge| store.listen(nudge), || {
///         let _heard = block_on(puller.pull(System::default().now()));     // verifiers tell if it was too long ago
///     });
/// });
/// // ... and when nobody verifies any more:
/// bell.end();
/// # thread.join().unwrap();
/// ```
#[derive(Debug)]
pub struct Follower {
    every: Duration,
    bell: Bell,
    rung: Receiver<()>,
}

/// Has a follower pull at once, or end. Rings that come together are one.
#[derive(Clone, Debug)]
pub struct Bell {
    rung: SyncSender<()>,
    is_over: Arc<AtomicBool>,
}

impl Bell {
    /// Waits for nobody.
    pub fn ring(&self) {
        // A bell that rings already is heard.
        let _heard = self.rung.try_send(());
    }

    /// Has it end, without another pull; one that is under way it finishes. Waits for nobody: 50 ms later it is over, if it waits.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.ring();
    }
}

impl Follower {
    /// For a pull every so often, whatever else happens.
    pub fn new(every: Duration) -> Self {
        let (sender, rung) = sync_channel(1);
        Self { every, bell: Bell { rung: sender, is_over: Arc::default() }, rung }
    }

    /// To have it pull, and to end it.
    pub fn bell(&self) -> Bell {
        self.bell.clone()
    }

    /// Goes on until [`Bell::end`]. `listen` is [`coatroom_store::Store::listen`] of the store that is pulled from: what it brings
    /// forward is the next pull, which would take place without it.
    ///
    /// Nudges that come together are one pull, and the next one follows 50 ms later at the earliest.
    // spec: FEED-6 f2f5
    pub fn run(self, listen: impl FnOnce(Nudge) -> Option<Listening>, mut pull: impl FnMut()) {
        let (every, bell) = (self.every, self.bell());
        let _until_the_end = listen(Arc::new(move || bell.ring()));
        loop {
            let pulled = Instant::now();
            thread::sleep(BREATH.min(every));
            let _rung_or_time = self.rung.recv_timeout(every.saturating_sub(pulled.elapsed()));
            if self.bell.is_over.load(Ordering::SeqCst) {
                return;
            }
            pull();
        }
    }
}
