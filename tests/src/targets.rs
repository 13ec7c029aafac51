//! Fuzz targets: each a function over bytes that panics when a property is broken.
//!
//! The engines in `fuzz/` call them with whatever they invent, and `cargo test` with every input ever kept. What a target
//! expects comes from readers and writers of its own (`mint`, `strict`, `seal`, `cbor`), written from the documented formats and
//! sharing no code with the core.

pub mod cbor;
pub mod checks;
pub mod choices;
pub mod cookie;
pub mod id;
pub mod journal;
pub mod keys;
pub mod lies;
pub mod mint;
pub mod record;
pub mod seal;
pub mod staged;
pub mod strict;
pub mod walk;

/// One target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// The longest input worth trying.
    pub longest: usize,
    /// The bytes that one run may allocate in one piece.
    pub piece: usize,
}

const KIB: usize = 1024;

/// All of them; the parsers come first.
pub const TARGETS: [Target; 10] = [
    Target { name: "cookie", run: cookie::run, longest: 400, piece: 4 * KIB },
    Target { name: "id", run: id::run, longest: 100, piece: 4 * KIB },
    Target { name: "record", run: record::run, longest: 600, piece: 32 * KIB },
    Target { name: "seal", run: seal::run, longest: 200, piece: 32 * KIB },
    Target { name: "cbor", run: cbor::run, longest: 200, piece: 32 * KIB },
    Target { name: "keys", run: keys::run, longest: 200, piece: 4 * KIB },
    Target { name: "journal", run: journal::run, longest: 200, piece: 64 * KIB },
    Target { name: "walk", run: walk::run, longest: 300, piece: 64 * KIB },
    Target { name: "lies", run: lies::run, longest: 300, piece: 64 * KIB },
    Target { name: "staged", run: staged::run, longest: 120, piece: 64 * KIB },
];
