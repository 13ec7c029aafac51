//! A connection whose loop tells when there is something to read, or room to write.

use core::fmt::Debug;
use core::mem::take;
use core::ops::Range;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker, ready};
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
/// Bytes that are kept back for more to go with them, and no fewer: codecs write what they have at 8 KB, also if they are about
/// to have more in this turn.
const FEW: usize = 8 * 1024;
/// Bytes above which nothing is kept back.
const MANY: usize = 64 * 1024;

/// A connection of a reactor.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    token: Token,
    ears: Arc<Ears>,
    home: LoopHandle,
    /// Where the system puts what it has: a buffer of the reader's would have to be filled with zeros for each attempt.
    inbox: Box<[u8]>,
    /// What of it is still to be read.
    unread: Range<usize>,
    outbox: Vec<u8>,
    /// The system takes nothing more at the moment.
    is_stuck: bool,
}

/// Who waits for a connection. The system tells once of what comes.
#[derive(Debug)]
pub(super) struct Ears {
    /// Whether there may be more to read.
    may_read: AtomicBool,
    /// The other side has sent its last.
    is_last: AtomicBool,
    /// Nothing is left to be done in this turn that could have more to write.
    pub(super) may_write: AtomicBool,
    reader: Mutex<Option<Waker>>,
    writer: Mutex<Option<Waker>>,
}

impl Ears {
    /// Has what was kept back written.
    pub(super) fn write(&self) {
        self.may_write.store(true, Ordering::SeqCst);
        wake(&self.writer);
    }

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
            may_write: AtomicBool::new(false),
            reader: Mutex::default(),
            writer: Mutex::default(),
        });
        lock(&home.0.ears).insert(token, Arc::clone(&ears));
        let registered = home.0.registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE);
        let inbox = vec![0; INBOX].into();
        let socket = Self { stream, token, ears, home, inbox, unread: 0..0, outbox: Vec::new(), is_stuck: false };
        registered.map(|()| socket)
    }

    fn is_closed(&self) -> bool {
        self.home.0.is_closed.load(Ordering::SeqCst)
    }

    /// Writes what the system takes of `bytes`.
    fn write(&self, context: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            if self.is_closed() {
                return Poll::Ready(Err(ErrorKind::NotConnected.into()));
            }
            match (&self.stream).write(bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    listen(&self.ears.writer, context);
                    return Poll::Pending;
                }
                written => return Poll::Ready(written),
            }
        }
    }

    /// Writes all that was kept back.
    fn write_out(&mut self, context: &Context<'_>) -> Poll<io::Result<()>> {
        let mut outbox = take(&mut self.outbox);
        let mut written = 0;
        let outcome = loop {
            let Some(rest) = outbox.get(written..).filter(|rest| !rest.is_empty()) else { break Poll::Ready(Ok(())) };
            match self.write(context, rest) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => written = written.saturating_add(count),
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        outbox.drain(..written);
        self.outbox = outbox;
        self.is_stuck = outcome.is_pending();
        outcome
    }

    /// The same, unless more may come in this turn: then it is written at the end of the turn.
    fn write_soon(&mut self, context: &Context<'_>) -> Poll<io::Result<()>> {
        let is_time = self.ears.may_write.swap(false, Ordering::SeqCst);
        if is_time || self.is_stuck || !(FEW..MANY).contains(&self.outbox.len()) {
            return self.write_out(context);
        }
        listen(&self.ears.writer, context);
        self.home.0.keep_back(&self.ears);
        Poll::Ready(Ok(()))
    }
}

/// Has this task woken.
fn listen(waiting: &Mutex<Option<Waker>>, context: &Context<'_>) {
    let mut waiting = lock(waiting);
    match &*waiting {
        Some(waker) if waker.will_wake(context.waker()) => {}
        _ => *waiting = Some(context.waker().clone()),
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
        loop {
            if let Some(unread) = this.inbox.get(this.unread.clone()).filter(|unread| !unread.is_empty()) {
                let count = unread.len().min(buffer.remaining());
                buffer.put_slice(unread.get(..count).unwrap_or_default());
                this.unread.start = this.unread.start.saturating_add(count);
                return Poll::Ready(Ok(()));
            }
            let ears = &this.ears;
            if this.is_closed() {
                return Poll::Ready(Ok(()));
            }
            if !ears.may_read.load(Ordering::SeqCst) {
                listen(&ears.reader, context);
                if this.outbox.is_empty() {
                    return Poll::Pending;
                }
                // Whoever only reads from now on has said all that there is to say.
                return match this.write_soon(context) {
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    _ => Poll::Pending,
                };
            }
            match (&this.stream).read(&mut this.inbox) {
                Ok(0) => return Poll::Ready(Ok(())),
                Ok(count) => {
                    this.unread = 0..count;
                    // Less than there was room for is all there was; whatever comes after is told.
                    if count < INBOX && !ears.is_last.load(Ordering::SeqCst) {
                        ears.may_read.store(false, Ordering::SeqCst);
                    }
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
        let this = self.get_mut();
        if this.is_closed() {
            return Poll::Ready(Err(ErrorKind::NotConnected.into()));
        }
        if this.outbox.len().saturating_add(bytes.len()) > MANY {
            ready!(this.write_out(context))?;
        }
        if bytes.len() > MANY {
            return this.write(context, bytes);
        }
        this.outbox.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().write_soon(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.write_out(context))?;
        Poll::Ready(this.stream.shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "small numbers")]
mod tests {
    use core::future::poll_fn;
    use core::pin::Pin;
    use core::sync::atomic::{AtomicUsize, Ordering};
    use core::task::Poll;
    use std::io::{ErrorKind, Read};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::thread;

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::super::Reactor;
    use super::{FEW, MANY, Socket};

    /// Writes so many bytes at a time, then reads a byte; what the other side has before the end of the turn.
    fn written(times: usize, bytes: usize) -> (usize, TcpStream, Reactor) {
        let (mut peer, stream) = pair();
        let mut there = peer.try_clone().unwrap();
        let reactor = Reactor::new().unwrap();
        let mut socket = Socket::new(stream, reactor.0.clone()).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        reactor.spawn(Box::pin(async move {
            for _ in 0..times {
                let mut left = bytes;
                while left > 0 {
                    let some = vec![7; left];
                    left -= poll_fn(|context| Pin::new(&mut socket).poll_write(context, &some)).await.unwrap();
                }
                poll_fn(|context| Pin::new(&mut socket).poll_flush(context)).await.unwrap();
            }
            tell.send(read_all(&mut peer)).unwrap();
            let mut byte = [0];
            let read = poll_fn(|context| Pin::new(&mut socket).poll_read(context, &mut ReadBuf::new(&mut byte)));
            read.await.unwrap();
        }));
        reactor.run();
        let before = told.try_recv().unwrap();
        let after = before + read_all(&mut there);
        assert_eq!(after, times * bytes, "all of it, and by the end of the turn");
        (before, there, reactor)
    }

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let peer = listener.accept().unwrap().0;
        peer.set_nonblocking(true).unwrap();
        (peer, stream)
    }

    fn read_all(peer: &mut TcpStream) -> usize {
        let (mut count, mut buffer) = (0, vec![0; MANY]);
        // Over loopback, what is written is there.
        loop {
            match peer.read(&mut buffer) {
                Ok(0) => return count,
                Ok(more) => count += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return count,
                Err(error) => panic!("{error}"),
            }
            thread::yield_now();
        }
    }

    #[test]
    fn a_connection_that_takes_nothing_more_holds_nobody_up_and_takes_the_rest_later() {
        let (mut peer, stream) = pair();
        let reactor = Reactor::new().unwrap();
        let mut socket = Socket::new(stream, reactor.0.clone()).unwrap();
        let polls = Arc::<AtomicUsize>::default();
        let (counted, some) = (Arc::clone(&polls), [7; FEW]);
        let total = Arc::<AtomicUsize>::default();
        let taken = Arc::clone(&total);
        let mut is_full = false;
        reactor.spawn(Box::pin(poll_fn(move |context| {
            if counted.fetch_add(1, Ordering::Relaxed) > 1000 {
                return Poll::Ready(());
            }
            while !is_full {
                match Pin::new(&mut socket).poll_write(context, &some) {
                    Poll::Ready(count) => drop(taken.fetch_add(count.unwrap(), Ordering::Relaxed)),
                    Poll::Pending => is_full = true,
                }
            }
            // As the client library does, whatever wakes it.
            let _none = Pin::new(&mut socket).poll_read(context, &mut ReadBuf::new(&mut [0]));
            let _more = Pin::new(&mut socket).poll_flush(context);
            Poll::Pending
        })));
        reactor.run();
        assert!(polls.load(Ordering::Relaxed) < 10, "asked again and again");
        let mut read = 0;
        while read < total.load(Ordering::Relaxed) {
            read += read_all(&mut peer);
            reactor.turn();
        }
        assert!(polls.load(Ordering::Relaxed) > 1, "it was full");
    }

    #[test]
    fn what_may_not_be_all_is_written_at_the_end_of_the_turn_and_the_rest_at_once() {
        assert_eq!(written(1, FEW - 1).0, FEW - 1);
        assert_eq!(written(2, FEW).0, 0);
        assert_eq!(written(1, MANY + 1).0, MANY + 1);
    }
}
