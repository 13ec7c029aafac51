//! One session is written, read back and confirmed by `coatroom-core` alone: no std, no libc, no unwinding.
//!
//! The exit status is 0, or the number of the step that failed (see [`exchange::Step`]).
#![no_std]
#![no_main]

extern crate alloc;

mod runtime;

#[deny(unsafe_code)]
mod exchange;

/// Called by the entry point in [`runtime`].
fn run() -> u8 {
    match exchange::write_and_read() {
        Ok(()) => 0,
        Err(step) => step as u8,
    }
}
