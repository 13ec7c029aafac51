//! Who goes on where a loop does not turn.

use core::sync::atomic::Ordering;
use core::time::Duration;
use std::sync::Weak;

use super::{Inner, LoopHandle, Turned};

/// How often it is looked whether the loop turns, while there is work.
const LOOK: Duration = Duration::from_millis(10);
/// How often it goes on where the loop does not.
const STEP: Duration = Duration::from_millis(2);
/// Looks without work, after which there are no more until there is some.
const IDLE_LOOKS: u32 = 100;

/// Does the work of a loop that does not turn.
pub(super) async fn watch(watched: Weak<Inner>) {
    let (mut seen, mut idle, mut pause) = (0, 0, LOOK);
    loop {
        tokio::time::sleep(pause).await;
        let Some(home) = watched.upgrade().map(LoopHandle) else { return };
        let turns = home.0.turns.load(Ordering::Relaxed);
        pause = LOOK;
        if home.0.works.load(Ordering::SeqCst) > 0 {
            idle = 0;
            if turns == seen {
                let Turned { did, was_rung } = home.turn(Duration::ZERO);
                // What was told to the loop is its own to fetch.
                if did || was_rung {
                    home.ring();
                }
                if did {
                    pause = STEP;
                }
            }
        } else {
            idle = u32::saturating_add(idle, 1);
            if idle > IDLE_LOOKS {
                home.0.is_watched.store(false, Ordering::SeqCst);
                // Whoever came first since then relied on this watch.
                if home.0.works.load(Ordering::SeqCst) == 0 || home.0.is_watched.swap(true, Ordering::SeqCst) {
                    return;
                }
                idle = 0;
            }
        }
        seen = turns;
    }
}

/// A piece of work, while it is under way.
pub(crate) struct Counted(LoopHandle);

impl Counted {
    pub(super) fn new(home: &LoopHandle) -> Self {
        home.0.works.fetch_add(1, Ordering::SeqCst);
        Self(home.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.works.fetch_sub(1, Ordering::SeqCst);
    }
}
