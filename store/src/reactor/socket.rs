//! A connection whose loop tells when there is something to read, or room to write.

use core::fmt::Debug;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::{Arc, Mutex};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Token};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{LoopHandle, lock};

/// Bytes that are read at once.
const INBOX: usize = 16 * 1024;

/// A connection of a reactor.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    token: Token,
    ears: Arc<Ears>,
    home: LoopHandle,
    /// Where the system puts what it has: a buffer of the reader's would have to be filled with zeros for each attempt.
    inbox: Box<[u8]>,
}

/// Who waits for a connection. The system tells once of what comes.
#[derive(Debug)]
pub(super) struct Ears {
    /// Whether there may be more to read.
    may_read: AtomicBool,
    /// The other side has sent its last.
    is_last: AtomicBool,
    reader: Mutex<Option<Waker>>,
    writer: Mutex<Option<Waker>>,
}

impl Ears {
    pub(super) fn hear(&self, event: &Event) {
        if event.is_read_closed() || event.is_error() {
            self.is_last.store(true, Ordering::SeqCst);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.may_read.store(true, Ordering::SeqCst);
            wake(&self.reader);
        }
        if event.is_writable() || event.is_write_closed() || event.is_error() {
            wake(&self.writer);
        }
    }

    pub(super) fn wake(&self) {
        wake(&self.reader);
        wake(&self.writer);
    }
}

fn wake(waiting: &Mutex<Option<Waker>>) {
    let waker = lock(waiting).take();
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Socket {
    pub(crate) fn new(stream: std::net::TcpStream, home: LoopHandle) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        let token = Token(home.0.tokens.fetch_add(1, Ordering::Relaxed).wrapping_add(1));
        let ears = Arc::new(Ears {
            may_read: AtomicBool::new(true),
            is_last: AtomicBool::new(false),
            reader: Mutex::default(),
            writer: Mutex::default(),
        });
        lock(&home.0.ears).insert(token, Arc::clone(&ears));
        let registered = home.0.registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE);
        let socket = Self { stream, token, ears, home, inbox: vec![0; INBOX].into() };
        registered.map(|()| socket)
    }

    fn is_closed(&self) -> bool {
        self.home.0.is_closed.load(Ordering::SeqCst)
    }

    fn write_with(
        &self,
        context: &Context<'_>,
        mut write: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.is_closed() {
                return Poll::Ready(Err(ErrorKind::NotConnected.into()));
            }
            match write(&self.stream) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    *lock(&self.ears.writer) = Some(context.waker().clone());
                    return Poll::Pending;
                }
                written => return Poll::Ready(written),
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        lock(&self.home.0.ears).remove(&self.token);
        // It is closed next, which says the same.
        let _best_effort = self.home.0.registry.deregister(&mut self.stream);
    }
}

// Only who turns the loop polls a connection, and the loop is told of what comes by turning: between an attempt that would
// have to wait and the note of who waits, nothing is missed.
impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let ears = &this.ears;
        loop {
            if this.is_closed() {
                return Poll::Ready(Ok(()));
            }
            if !ears.may_read.load(Ordering::SeqCst) {
                *lock(&ears.reader) = Some(context.waker().clone());
                return Poll::Pending;
            }
            let asked = this.inbox.len().min(buffer.remaining());
            let Some(room) = this.inbox.get_mut(..asked) else { return Poll::Ready(Ok(())) };
            match this.stream.read(room) {
                Ok(count) => {
                    buffer.put_slice(room.get(..count).unwrap_or_default());
                    // Less than there was room for is all there was; whatever comes after is told.
                    if count < asked && !ears.is_last.load(Ordering::SeqCst) {
                        ears.may_read.store(false, Ordering::SeqCst);
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => ears.may_read.store(false, Ordering::SeqCst),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write_with(context, |mut stream| stream.write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        all: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write_with(context, |mut stream| stream.write_vectored(all))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown(Shutdown::Write))
    }
}
