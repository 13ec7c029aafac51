//! The quick tests in one program, for the run over mutants, which builds it a thousand times.
//! `cargo test` runs them one by one and leaves this out.

#[path = "coats.rs"]
mod coats;
#[path = "corners.rs"]
mod corners;
#[path = "edges/main.rs"]
mod edges;
#[path = "people.rs"]
mod people;
#[path = "rules.rs"]
mod rules;
#[path = "tables.rs"]
mod tables;
