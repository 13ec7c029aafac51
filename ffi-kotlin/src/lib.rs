//! The native half of Coatroom for Kotlin and Swift: converts, calls once, converts back. What a session means is decided in
//! `coatroom-core` alone.
//!
//! A call over this border costs microseconds in Kotlin, so there are few, and each carries much: [`Coatroom::begin`] hands
//! over all that a handler can see, and [`Exchange::commit`] takes all that it changed as one batch of bytes. Over a store
//! of this library that is the whole exchange. Over a store of the application the same two calls stop whenever the store
//! has to be asked: [`Step::Ask`] says what for, and [`Exchange::answer`] goes on.

mod asks;
mod coatroom;
// One implementation for every language: a token made by one is checked by the other.
#[path = "../../ffi-python/src/csrf.rs"]
mod csrf;
mod edits;
mod engine;
mod error;
mod exchange;
mod host;
mod mailbox;
pub mod numbered;
mod remember;
mod settings;
mod task;
#[cfg(test)]
mod tests;
mod tokens;
mod wire;

pub use asks::{Answer, Ask, EntryParts, ListingParts};
pub use coatroom::{Call, Coatroom, Work, keygen};
pub use error::{Advice, Refusal};
pub use exchange::{Exchange, Updater};
pub use host::ManualClock;
pub use remember::Remember;
pub use settings::{Config, Policy};
pub use tokens::{ClaimParts, Issued, Issuer, Judging, Revocations, TokenKeys, Verifier};
pub use wire::{Begun, Closed, DeviceParts, Given, Head, Item, Noticed, Person, Step, TraceParts, View};

uniffi::setup_scaffolding!("coatroom_ffi");
