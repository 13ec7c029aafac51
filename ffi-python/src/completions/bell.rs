//! A descriptor that wakes an event loop.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

/// Closed with the last one who may ring it: a number of a descriptor that is another's by then is never written to.
pub(super) enum Bell {
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux has them"))]
    Event(File),
    /// What the loop reads, and what is written to.
    Pair(UnixStream, UnixStream),
}

impl Bell {
    /// An event descriptor if that is wanted and to be had, else a pair of sockets.
    pub(super) fn new(event: bool) -> io::Result<Self> {
        if let Some(file) = event.then(event_descriptor).flatten() {
            return Ok(Self::Event(file));
        }
        let (read, written) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        written.set_nonblocking(true)?;
        Ok(Self::Pair(read, written))
    }

    pub(super) fn descriptor(&self) -> i32 {
        match self {
            Self::Event(file) => file.as_raw_fd(),
            Self::Pair(read, _) => read.as_raw_fd(),
        }
    }

    /// Fails only while it is ringing already.
    pub(super) fn ring(&self) {
        let _rings = match self {
            Self::Event(file) => (&mut &*file).write(&1_u64.to_ne_bytes()),
            Self::Pair(_, written) => (&mut &*written).write(&[1]),
        };
    }

    /// Fails only if it does not ring.
    pub(super) fn hush(&self) {
        let mut bytes = [0; 8];
        let _is_quiet = match self {
            Self::Event(file) => (&mut &*file).read(&mut bytes),
            Self::Pair(read, _) => (&mut &*read).read(&mut bytes),
        };
    }
}

#[cfg(target_os = "linux")]
fn event_descriptor() -> Option<File> {
    use rustix::event::{EventfdFlags, eventfd};
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok().map(File::from)
}

#[cfg(not(target_os = "linux"))]
fn event_descriptor() -> Option<File> {
    None
}
