//! What a program normally gets from std and the C runtime, for Linux on x86-64: where it starts, how it ends, memory.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::{asm, naked_asm};
use core::cell::UnsafeCell;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Exit status of a panic.
const PANICKED: u8 = 101;

/// Where the kernel enters: the stack is aligned to 16 bytes, as a call expects it.
///
/// # Safety
///
/// For the kernel alone.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!("xor ebp, ebp", "call {start}", "ud2", start = sym start)
}

extern "C" fn start() -> ! {
    exit(crate::run())
}

fn exit(status: u8) -> ! {
    // SAFETY: `exit_group` (231) takes the status in `edi`, touches no memory of ours and does not return.
    unsafe { asm!("syscall", in("eax") 231, in("edi") u32::from(status), options(noreturn, nostack)) }
}

#[panic_handler]
fn panicked(_: &PanicInfo<'_>) -> ! {
    exit(PANICKED)
}

/// The precompiled `core` and `alloc` name these two in their landing pads. Nothing unwinds here, so nothing calls them.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() -> ! {
    exit(PANICKED)
}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    exit(PANICKED)
}

/// Hands out one block of memory from front to back and takes nothing back: enough for one short run.
struct Bump {
    memory: UnsafeCell<[u8; Bump::SIZE]>,
    used: AtomicUsize,
}

impl Bump {
    const SIZE: usize = 1 << 20;
}

// SAFETY: the memory is reached only through `alloc`, which hands out each byte once.
unsafe impl Sync for Bump {}

#[global_allocator]
static HEAP: Bump = Bump { memory: UnsafeCell::new([0; Bump::SIZE]), used: AtomicUsize::new(0) };

// SAFETY: the blocks handed out do not overlap, lie within `memory`, and are aligned as asked.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.memory.get().cast::<u8>();
        let take = |used: usize| {
            let at = base.addr().checked_add(used)?.checked_next_multiple_of(layout.align())?;
            let end = at.checked_sub(base.addr())?.checked_add(layout.size())?;
            (end <= Self::SIZE).then_some(end)
        };
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(used) => match take(used).and_then(|end| end.checked_sub(layout.size())) {
                Some(offset) => base.wrapping_add(offset),
                None => core::ptr::null_mut(),
            },
            Err(_) => core::ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

/// The memory routines that compiled code may call whatever it is written in. Their loops are string instructions, or
/// compare and leave, so that the compiler does not turn them into calls of themselves.
///
/// # Safety
///
/// As in C: `n` bytes can be read at each source and written at each target; only `memmove` takes overlapping ones.
mod memory {
    use core::arch::asm;

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
        // SAFETY: reads and writes the `n` bytes that the caller vouches for; the direction flag is clear by the ABI.
        unsafe {
            asm!("rep movsb", inout("rcx") n => _, inout("rdi") to => _, inout("rsi") from => _,
                options(nostack, preserves_flags));
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
        if to.addr().wrapping_sub(from.addr()) >= n {
            // SAFETY: the target does not start within the source, so going forward reads each byte before it is
            // overwritten; the bytes are those that the caller vouches for.
            return unsafe { memcpy(to, from, n) };
        }
        let (last_to, last_from) = (to.wrapping_add(n).wrapping_sub(1), from.wrapping_add(n).wrapping_sub(1));
        // SAFETY: the same bytes from the last to the first; the direction flag is clear again afterwards.
        unsafe {
            asm!("std", "rep movsb", "cld", inout("rcx") n => _, inout("rdi") last_to => _, inout("rsi") last_from => _,
                options(nostack));
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, byte: i32, n: usize) -> *mut u8 {
        let [byte, ..] = byte.to_le_bytes();
        // SAFETY: writes the `n` bytes that the caller vouches for.
        unsafe {
            asm!("rep stosb", inout("rcx") n => _, inout("rdi") to => _, in("al") byte,
                options(nostack, preserves_flags));
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, n: usize) -> i32 {
        for at in 0..n {
            // SAFETY: `at` is less than the `n` that the caller vouches for.
            let (a, b) = unsafe { (one.add(at).read_volatile(), other.add(at).read_volatile()) };
            if a != b {
                return i32::from(a).wrapping_sub(i32::from(b));
            }
        }
        0
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, n: usize) -> i32 {
        // SAFETY: the same promise of the caller.
        unsafe { memcmp(one, other, n) }
    }
}
