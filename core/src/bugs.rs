//! Defects planted on purpose, to show that the checkers in `tests/` find them. A build has them only under
//! `--cfg coatroom_bugs`; in every other build `planted` is the constant `false` and nothing of them is left.

/// A defect that a test can switch on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// Login keeps the id that the client had before.
    KeepOldId,
    /// Ids from before the login are judged as if there were no floor.
    NoFloorCheck,
    /// The grace of a replaced id outlasts the session's absolute limit.
    GraceBeyondDeadline,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::KeepOldId, Self::NoFloorCheck, Self::GraceBeyondDeadline];
}

#[cfg(coatroom_bugs)]
mod switch {
    use super::Bug;
    use core::sync::atomic::{AtomicUsize, Ordering};

    static PLANTED: AtomicUsize = AtomicUsize::new(0);

    /// Switches one defect on and every other off, for the whole process.
    pub fn plant(bug: Option<Bug>) {
        let number = bug.and_then(|bug| Bug::ALL.iter().position(|other| *other == bug));
        PLANTED.store(number.map_or(0, |number| number.saturating_add(1)), Ordering::SeqCst);
    }

    pub(crate) fn planted(bug: Bug) -> bool {
        let number = PLANTED.load(Ordering::Relaxed).checked_sub(1);
        number.and_then(|number| Bug::ALL.get(number)) == Some(&bug)
    }
}

#[cfg(coatroom_bugs)]
pub use switch::plant;
#[cfg(coatroom_bugs)]
pub(crate) use switch::planted;

#[cfg(not(coatroom_bugs))]
pub(crate) const fn planted(_: Bug) -> bool {
    false
}
