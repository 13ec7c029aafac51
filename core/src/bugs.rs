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
    /// The grace of a replaced id never ends.
    GraceForever,
    /// A rotation moves the absolute limit.
    RotationMovesDeadline,
    /// A rotation replaces an id that is already being replaced.
    RotateTwice,
    /// A rotation follows the last one at once.
    RotateWithoutRest,
    /// A logout by a replaced id in grace leaves its successor alone.
    LogoutSparesSuccessor,
    /// Visitors and logins share one cookie.
    OneCookie,
    /// A write of unknown outcome is repeated without asking whether it took place.
    BlindRepeat,
    /// On a conflict the data is written back as it was read.
    WriteBackWhole,
    /// A copied id is refused and nothing more.
    ReuseIgnored,
    /// A limit that passed is not written down.
    ExpiryForgotten,
    /// What a dead id calls for is dropped when the exchange is refused.
    ReactionDropped,
    /// A limit that passed by a record read long ago ends the session, whatever happened since.
    StaleExpiry,
    /// A commit is judged by the time at which its exchange was opened.
    CommitByOpening,
}

#[cfg(coatroom_bugs)]
impl Bug {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::KeepOldId,
        Self::NoFloorCheck,
        Self::GraceBeyondDeadline,
        Self::GraceForever,
        Self::RotationMovesDeadline,
        Self::RotateTwice,
        Self::RotateWithoutRest,
        Self::LogoutSparesSuccessor,
        Self::OneCookie,
        Self::BlindRepeat,
        Self::WriteBackWhole,
        Self::ReuseIgnored,
        Self::ExpiryForgotten,
        Self::ReactionDropped,
        Self::StaleExpiry,
        Self::CommitByOpening,
    ];
}

#[cfg(coatroom_bugs)]
mod switch {
    extern crate std;

    use super::Bug;
    use core::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Once;

    static PLANTED: AtomicUsize = AtomicUsize::new(0);
    static ENVIRONMENT: Once = Once::new();

    /// Switches one defect on and every other off, for the whole process.
    pub fn plant(bug: Option<Bug>) {
        ENVIRONMENT.call_once(|| ());
        store(bug);
    }

    fn store(bug: Option<Bug>) {
        let number = bug.and_then(|bug| Bug::ALL.iter().position(|other| *other == bug));
        PLANTED.store(number.map_or(0, |number| number.saturating_add(1)), Ordering::SeqCst);
    }

    /// A defect is also planted by its name in `COATROOM_BUG`, so that any test can be run with it.
    pub(crate) fn planted(bug: Bug) -> bool {
        ENVIRONMENT.call_once(|| {
            let name = std::env::var("COATROOM_BUG").unwrap_or_default();
            store(Bug::ALL.into_iter().find(|bug| std::format!("{bug:?}") == name));
        });
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
