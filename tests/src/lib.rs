//! What the tests of the core share: a store that compares and swaps, browsers that keep cookies, a world in which
//! exchanges advance one step at a time, the claims as invariants over it, and a search through all its schedules.

pub mod browser;
pub mod choices;
pub mod clauses;
pub mod crowd;
pub mod duel;
pub mod exchange;
pub mod families;
#[cfg(feature = "servers")]
pub mod faults;
pub mod fold;
pub mod generate;
pub mod house;
pub mod invariants;
pub mod linear;
pub mod model;
pub mod ops;
pub mod people;
pub mod record;
pub mod reductions;
pub mod rng;
pub mod scenarios;
pub mod search;
#[cfg(feature = "servers")]
pub mod servers;
pub mod shared;
pub mod store;
pub mod suite;
pub mod targets;
pub mod traces;
pub mod turns;
pub mod values;
pub mod walk;
pub mod world;
