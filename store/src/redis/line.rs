//! A connection of an event loop. What is asked in one turn of it is sent together, and whoever asked is called with the answer
//! where that is read: no task is woken for it, and none has to wait.
//!
//! The client library makes the connection and reads what is answered.

use core::mem::swap;
use core::ops::Deref;
use core::pin::Pin;
use core::task::{Context, Poll, Waker, ready};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::{Cmd, Pipeline, RedisError, Value};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot::{Receiver, channel};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::io::poll_read_buf;

use super::inbox::{Inbox, KEPT};
use super::wire::failure;
use crate::reactor::{Counted, LoopHandle};
use crate::runtime::handle;

/// Called with the answer.
pub(super) type Then = Box<dyn FnOnce(Result<Value, Lost>) + Send>;

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lost {
    /// The connection ended.
    Cut,
    /// The time was up.
    Late,
}

/// What those who ask share with who serves the connection.
pub(super) struct Line {
    home: LoopHandle,
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    unsent: Vec<u8>,
    asked: VecDeque<Asked>,
    /// Who serves the connection, while it waits.
    server: Option<Waker>,
    is_over: bool,
    /// Nobody will ask any more.
    is_left: bool,
    /// While somebody waits for an answer.
    counted: Option<Counted>,
}

struct Asked {
    then: Then,
    /// Until when somebody waits; somebody else looks to it where there is nothing.
    until: Option<Instant>,
}

/// Those who ask: the connection ends when this is gone, and all that was asked is answered.
pub(super) struct Askers(Arc<Line>);

impl Deref for Askers {
    type Target = Line;

    fn deref(&self) -> &Line {
        &self.0
    }
}

impl Drop for Askers {
    fn drop(&mut self) {
        let mut desk = self.0.desk();
        desk.is_left = true;
        wake_server(desk);
    }
}

/// Where to ask, and who serves that, over a stream on which the server was greeted.
pub(super) fn over<S>(stream: S, home: LoopHandle) -> (Askers, Traffic<S>) {
    let line = Arc::new(Line { home, desk: Mutex::default() });
    (Askers(Arc::clone(&line)), Traffic::new(line, stream))
}

impl Line {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a question, unless the connection is over.
    pub(super) fn question(&self) -> Option<Question<'_>> {
        let desk = self.desk();
        (!desk.is_over).then_some(Question { line: self, desk })
    }

    /// The answer to a command.
    pub(super) async fn answer(&self, command: &Cmd) -> Result<Value, RedisError> {
        let (then, told) = telling();
        if let Some(mut question) = self.question() {
            command.write_packed_command(&mut question.desk.unsent);
            question.ask([Asked { then, until: None }]);
        }
        answered(told.await)
    }

    /// The answers to several commands in a row.
    pub(super) async fn answers(&self, commands: &Pipeline) -> Result<Vec<Value>, RedisError> {
        let (asked, told): (Vec<_>, Vec<_>) = (0..commands.len())
            .map(|_| {
                let (then, told) = telling();
                (Asked { then, until: None }, told)
            })
            .unzip();
        if let Some(mut question) = self.question() {
            question.desk.unsent.extend_from_slice(&commands.get_packed_pipeline());
            question.ask(asked);
        }
        let mut answers = Vec::with_capacity(told.len());
        for told in told {
            answers.push(answered(told.await)?);
        }
        Ok(answers)
    }
}

/// Something that is about to be asked.
pub(super) struct Question<'a> {
    line: &'a Line,
    desk: MutexGuard<'a, Desk>,
}

impl Question<'_> {
    /// The command that is sent, once.
    pub(super) fn pack(&mut self, parts: &[&[u8]]) {
        pack(&mut self.desk.unsent, parts);
    }

    /// Has this called with the answer, which is waited for until then.
    pub(super) fn call(self, until: Instant, then: Then) {
        self.ask([Asked { then, until: Some(until) }]);
    }

    fn ask(self, asked: impl IntoIterator<Item = Asked>) {
        let Self { line, mut desk } = self;
        desk.asked.extend(asked);
        if desk.counted.is_none() {
            desk.counted = Some(line.home.count());
        }
        wake_server(desk);
    }
}

fn wake_server(mut desk: MutexGuard<'_, Desk>) {
    let server = desk.server.take();
    drop(desk);
    if let Some(server) = server {
        server.wake();
    }
}

/// A command: an array of strings, without another copy of its parts.
pub(super) fn pack(unsent: &mut Vec<u8>, parts: &[&[u8]]) {
    head(unsent, b'*', parts.len());
    for part in parts {
        head(unsent, b'$', part.len());
        unsent.extend_from_slice(part);
        unsent.extend_from_slice(b"\r\n");
    }
}

/// What comes before the parts of an array, or the bytes of a string.
fn head(unsent: &mut Vec<u8>, kind: u8, count: usize) {
    fn decimal(unsent: &mut Vec<u8>, number: usize) {
        if number > 9 {
            decimal(unsent, number / 10);
        }
        unsent.push(b'0' | u8::try_from(number % 10).unwrap_or_default());
    }
    unsent.push(kind);
    decimal(unsent, count);
    unsent.extend_from_slice(b"\r\n");
}

/// What tells whoever awaits it.
fn telling() -> (Then, Receiver<Result<Value, Lost>>) {
    let (tell, told) = channel();
    (Box::new(move |answer| _ = tell.send(answer)), told)
}

fn answered<E>(told: Result<Result<Value, Lost>, E>) -> Result<Value, RedisError> {
    told.ok().and_then(Result::ok).ok_or_else(|| failure("the connection has ended"))
}

/// Sends and reads, until the connection ends. Dropped, it tells those who wait that it did.
pub(super) struct Traffic<S> {
    line: Arc<Line>,
    stream: S,
    inbox: Inbox,
    outbox: Vec<u8>,
    /// How much of it is written.
    written: usize,
    asked: VecDeque<Asked>,
    clock: Option<Pin<Box<Sleep>>>,
}

impl<S> Traffic<S> {
    fn new(line: Arc<Line>, stream: S) -> Self {
        let (inbox, asked) = (Inbox::default(), VecDeque::new());
        Self { line, stream, inbox, outbox: Vec::new(), written: 0, asked, clock: None }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Traffic<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.fetch(context);
        let (written, read) = (this.write(context), this.read(context));
        match (written, read) {
            (Ok(()), Ok(())) if !this.is_late(context) => {
                let mut desk = this.line.desk();
                if this.asked.is_empty() && desk.asked.is_empty() {
                    desk.counted = None;
                    return if desk.is_left { Poll::Ready(()) } else { Poll::Pending };
                }
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }
}

impl<S> Traffic<S> {
    /// Takes what there is to be sent, and is woken when there is more.
    fn fetch(&mut self, context: &Context<'_>) {
        let mut desk = self.line.desk();
        if self.outbox.is_empty() {
            swap(&mut self.outbox, &mut desk.unsent);
        } else {
            self.outbox.append(&mut desk.unsent);
        }
        self.asked.append(&mut desk.asked);
        desk.server = Some(context.waker().clone());
    }

    /// Whether somebody has waited for too long: then nobody waits any more, for answers come in turn.
    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        let Some(until) = self.asked.iter().find_map(|asked| asked.until) else { return false };
        let clock = if let Some(clock) = &mut self.clock {
            clock
        } else {
            let Ok(timers) = handle() else { return false };
            let _of_these = timers.enter();
            self.clock.insert(Box::pin(sleep_until(until)))
        };
        while clock.as_mut().poll(context).is_ready() {
            if until <= Instant::now() {
                return true;
            }
            clock.as_mut().reset(until);
        }
        false
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Traffic<S> {
    fn write(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let written = self.poll_write(context);
        if let Poll::Ready(Err(error)) = written { Err(error) } else { Ok(()) }
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.outbox.get(self.written..).filter(|rest| !rest.is_empty()) {
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written = self.written.saturating_add(count);
        }
        self.written = 0;
        self.outbox.clear();
        self.outbox.shrink_to(KEPT);
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn read(&mut self, context: &mut Context<'_>) -> Result<(), RedisError> {
        loop {
            while let Some(value) = self.inbox.next()? {
                // An answer to nobody is no answer of a server that can be understood.
                let asked = self.asked.pop_front().ok_or_else(|| failure("an answer that nobody asked for"))?;
                (asked.then)(Ok(value));
            }
            match poll_read_buf(Pin::new(&mut self.stream), context, self.inbox.room()) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0)) => return Err(failure("the connection has ended")),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Err(error.into()),
            }
        }
    }
}

impl<S> Drop for Traffic<S> {
    fn drop(&mut self) {
        let (server, counted) = {
            let mut desk = self.line.desk();
            desk.is_over = true;
            self.asked.append(&mut desk.asked);
            (desk.server.take(), desk.counted.take())
        };
        drop(server);
        let now = Instant::now();
        for Asked { then, until } in self.asked.drain(..) {
            then(Err(if until.is_some_and(|until| until <= now) { Lost::Late } else { Lost::Cut }));
        }
        drop(counted);
    }
}

/// A stream that is lent to the client library, for it to greet the server.
pub(super) struct Lent<S>(Arc<Mutex<S>>);

impl<S> Lent<S> {
    /// The stream to lend, and what gives it back once that is gone.
    pub(super) fn new(stream: S) -> (Self, impl FnOnce() -> Option<S>) {
        let stream = Arc::new(Mutex::new(stream));
        (Self(Arc::clone(&stream)), || Arc::into_inner(stream)?.into_inner().ok())
    }

    fn with<T>(&self, work: impl FnOnce(Pin<&mut S>) -> T) -> T
    where
        S: Unpin,
    {
        work(Pin::new(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lent<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_read(context, buffer))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lent<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    use core::pin::pin;

    use tokio::io::{BufWriter, duplex};

    use super::*;
    use crate::Reactor;
    use crate::reactor::current;

    #[test]
    fn what_a_stream_keeps_until_it_is_flushed_is_sent_with_the_turn() {
        let home = Reactor::new().unwrap().within(current).unwrap();
        let (server, stream) = duplex(64);
        // It keeps what it is given, as TLS does where the socket takes no more.
        let (askers, traffic) = over(BufWriter::new(stream), home);
        let context = &mut Context::from_waker(Waker::noop());
        assert!(pin!(askers.answer(&redis::cmd("PING"))).poll(context).is_pending());
        assert!(pin!(traffic).poll(context).is_pending());
        let mut room = [0; 64];
        let mut sent = ReadBuf::new(&mut room);
        assert!(pin!(server).poll_read(context, &mut sent).is_ready());
        assert_eq!(sent.filled(), b"*1\r\n$4\r\nPING\r\n");
    }
}
