//! Browsers, nodes and a store on a simulated network that loses, delays and cuts messages, with nodes and a store that
//! crash. The nodes run the shipped driver over the shipped core, the store is the shipped memory engine; clocks,
//! randomness and the network are simulated, so that a run follows from its seed and can be had again.

pub mod dice;
pub mod faults;
pub mod node;
pub mod oracle;
pub mod people;
pub mod run;
pub mod store;
pub mod wire;

pub use oracle::Counts;
pub use run::{Mode, Outcome, run};
pub use store::Defect;
