//! Corners of the core that honest traffic hardly reaches: records and ids as somebody with the key or the store could
//! make them, calls out of turn, numbers at their ceilings, and the names and sentences that programs and people see.

mod commits;
mod data;
mod exact;
mod forge;
mod handler;
mod handles;
mod losses;
mod names;
mod records;
mod sealing;
mod serial;
mod stages;
mod wire;
