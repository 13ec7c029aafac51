//! Defects planted on purpose, as in `core/src/bugs.rs`: only in test builds, and one at a time.

#[cfg(coatroom_bugs)]
macro_rules! planted {
    ($bug:ident) => {
        coatroom_core::planted(coatroom_core::Bug::$bug)
    };
}

#[cfg(not(coatroom_bugs))]
macro_rules! planted {
    ($bug:ident) => {
        false
    };
}
