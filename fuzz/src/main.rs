//! One target, named by `COATROOM_TARGET`, under the engine that this build was made for; without an engine, on the files
//! given.
#![cfg_attr(feature = "libfuzzer", no_main)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use coatroom_tests::targets::{TARGETS, Target};

/// Refuses to allocate a piece that is larger than the target's input can justify, which ends the run.
struct Bounded;

static PIECE: AtomicUsize = AtomicUsize::new(usize::MAX);

// SAFETY: hands everything on to the system's allocator, or returns null, as an allocator may.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > PIECE.load(Relaxed) { std::ptr::null_mut() } else { unsafe { System.alloc(layout) } }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > PIECE.load(Relaxed) { std::ptr::null_mut() } else { unsafe { System.realloc(place, layout, size) } }
    }
}

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;

fn run(bytes: &[u8]) {
    static CHOSEN: OnceLock<Target> = OnceLock::new();
    let target = CHOSEN.get_or_init(choose);
    PIECE.store(target.piece.max(bytes.len() * 32), Relaxed);
    (target.run)(bytes);
    PIECE.store(usize::MAX, Relaxed);
}

fn choose() -> Target {
    let name = std::env::var("COATROOM_TARGET").unwrap_or_default();
    let known = TARGETS.iter().find(|target| target.name == name);
    // What is made once is made before the allocations are counted; a panic may allocate what it likes.
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PIECE.store(usize::MAX, Relaxed);
        print(info);
    }));
    let target = known.unwrap_or_else(|| panic!("COATROOM_TARGET names no target: {name:?}"));
    (target.run)(&[]);
    *target
}

#[cfg(feature = "libfuzzer")]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));

#[cfg(feature = "afl")]
fn main() {
    afl::fuzz(true, run);
}

#[cfg(not(any(feature = "libfuzzer", feature = "afl")))]
fn main() -> std::io::Result<()> {
    for path in std::env::args().skip(1) {
        run(&std::fs::read(&path)?);
        println!("{path}: as it should be");
    }
    Ok(())
}
