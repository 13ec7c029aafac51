//! Fuzz targets: each a function over bytes that panics when a property is broken.
//!
//! The engines in `fuzz/` call them with whatever they invent, and `cargo test` with every input ever kept. What a target
//! expects comes from readers and writers of its own (`mint`, `strict`, `seal`, `coat`, `cbor`), written from the documented formats and
//! sharing no code with the core.

pub mod cbor;
#[cfg(feature = "checkers")]
pub mod checks;
pub mod choices;
pub mod coat;
#[cfg(feature = "checkers")]
pub mod cookie;
#[cfg(feature = "checkers")]
pub mod id;
#[cfg(feature = "checkers")]
pub mod journal;
#[cfg(feature = "checkers")]
pub mod keys;
#[cfg(feature = "checkers")]
pub mod lies;
pub mod mint;
#[cfg(all(feature = "checkers", feature = "native"))]
pub mod native;
#[cfg(feature = "checkers")]
pub mod record;
pub mod seal;
#[cfg(feature = "checkers")]
pub mod staged;
pub mod strict;
#[cfg(all(feature = "checkers", feature = "vectors"))]
pub mod token;
#[cfg(feature = "checkers")]
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

#[cfg(feature = "checkers")]
const KIB: usize = 1024;

/// All of them; the parsers come first.
#[cfg(feature = "checkers")]
pub const TARGETS: &[Target] = &[
    Target { name: "cookie", run: cookie::run, longest: 400, piece: 4 * KIB },
    Target { name: "id", run: id::run, longest: 100, piece: 4 * KIB },
    Target { name: "record", run: record::run, longest: 600, piece: 32 * KIB },
    Target { name: "seal", run: seal::run, longest: 200, piece: 32 * KIB },
    Target { name: "coat", run: coat::run, longest: 400, piece: 32 * KIB },
    Target { name: "cbor", run: cbor::run, longest: 200, piece: 32 * KIB },
    #[cfg(feature = "vectors")]
    Target { name: "token", run: token::run, longest: 600, piece: 32 * KIB },
    Target { name: "keys", run: keys::run, longest: 200, piece: 4 * KIB },
    Target { name: "journal", run: journal::run, longest: 200, piece: 64 * KIB },
    Target { name: "walk", run: walk::run, longest: 300, piece: 64 * KIB },
    Target { name: "lies", run: lies::run, longest: 300, piece: 64 * KIB },
    Target { name: "staged", run: staged::run, longest: 120, piece: 64 * KIB },
    #[cfg(feature = "native")]
    Target { name: "native", run: native::run, longest: 400, piece: 64 * KIB },
];
