//! A connection that one thread asks on at a time. It waits in the system for the answer: nothing is woken, and nothing turns.

use core::mem::take;
use core::time::Duration;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use redis::{Cmd, Pipeline, RedisError, Value};
use tokio::time::Instant;
use tokio_rustls::rustls::{ClientConnection, StreamOwned};

use super::inbox::{Inbox, KEPT, ROOM};
use super::line::pack;
use super::wire::failure;

/// A limit of the system's is as good as another that is so much longer or shorter: to set one is a call.
const NEARLY: Duration = Duration::from_millis(20);
/// What is said of a server that does not answer.
pub(super) const SILENCE: &str = "the server does not answer in time";
/// A rest after which a connection may have ended unnoticed.
const REST: Duration = Duration::from_millis(10);
/// A rest after which whatever lies between here and the server may have forgotten the connection.
const LONG_REST: Duration = Duration::from_mins(1);

/// A connection on which the server was greeted.
pub(super) struct Held {
    stream: Stream,
    /// Where the system puts what it has.
    room: Box<[u8]>,
    inbox: Inbox,
    outbox: Vec<u8>,
    last_used: Instant,
}

/// Bytes to and from a server.
pub(super) enum Stream {
    Plain(Limited),
    Secure(Box<StreamOwned<ClientConnection, Limited>>),
}

/// A socket on which nobody waits after a moment.
pub(super) struct Limited {
    socket: TcpStream,
    until: Instant,
    /// What the system limits each wait to.
    limit: Duration,
}

impl Held {
    pub(super) fn new(stream: Stream) -> Self {
        let (room, inbox, outbox) = (vec![0; ROOM].into(), Inbox::default(), Vec::new());
        Self { stream, room, inbox, outbox, last_used: Instant::now() }
    }

    /// Says until when is waited from now on, and whether there is anything to wait for: the connection may have ended.
    pub(super) fn begin(&mut self, until: Instant) -> bool {
        let rest = self.last_used.elapsed();
        let limited = self.stream.limited();
        limited.until = until;
        rest < REST || (rest < LONG_REST && limited.is_quiet())
    }

    /// The answer to a command.
    pub(super) fn answer(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        command.write_packed_command(&mut self.outbox);
        self.send()?;
        self.receive()
    }

    /// The answer to a command that is made of these parts.
    pub(super) fn answer_to(&mut self, parts: &[&[u8]]) -> Result<Value, RedisError> {
        pack(&mut self.outbox, parts);
        self.send()?;
        self.receive()
    }

    /// The answers to several commands in a row.
    pub(super) fn answers(&mut self, commands: &Pipeline) -> Result<Vec<Value>, RedisError> {
        self.outbox.extend_from_slice(&commands.get_packed_pipeline());
        self.send()?;
        (0..commands.len()).map(|_| self.receive()).collect()
    }

    fn send(&mut self) -> io::Result<()> {
        let mut outbox = take(&mut self.outbox);
        let stream = self.stream.both_ways();
        stream.write_all(&outbox).and_then(|()| stream.flush()).map_err(late)?;
        outbox.clear();
        outbox.shrink_to(KEPT);
        self.outbox = outbox;
        Ok(())
    }

    fn receive(&mut self) -> Result<Value, RedisError> {
        loop {
            if let Some(value) = self.inbox.next()? {
                self.last_used = Instant::now();
                return Ok(value);
            }
            match self.stream.both_ways().read(&mut self.room) {
                Ok(0) => return Err(failure("the connection has ended")),
                Ok(count) => self.inbox.room().extend_from_slice(self.room.get(..count).unwrap_or_default()),
                Err(error) => return Err(late(error).into()),
            }
        }
    }
}

impl Stream {
    fn limited(&mut self) -> &mut Limited {
        match self {
            Self::Plain(limited) => limited,
            Self::Secure(secure) => &mut secure.sock,
        }
    }

    fn both_ways(&mut self) -> &mut dyn ReadWrite {
        match self {
            Self::Plain(limited) => limited,
            Self::Secure(secure) => secure,
        }
    }
}

trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

impl Limited {
    /// Takes a socket over from a runtime.
    pub(super) fn new(socket: tokio::net::TcpStream, limit: Duration) -> io::Result<Self> {
        let socket = socket.into_std()?;
        socket.set_nonblocking(false)?;
        let mut limited = Self { socket, until: Instant::now(), limit };
        limited.set(limit)?;
        Ok(limited)
    }

    fn set(&mut self, limit: Duration) -> io::Result<()> {
        self.socket.set_read_timeout(Some(limit))?;
        self.socket.set_write_timeout(Some(limit))?;
        self.limit = limit;
        Ok(())
    }

    /// Has the next wait end in time.
    fn limit(&mut self) -> io::Result<()> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        if left.abs_diff(self.limit) > NEARLY { self.set(left) } else { Ok(()) }
    }

    /// Does something that may have to wait; once more where a signal came in between.
    fn wait(&mut self, mut work: impl FnMut(&TcpStream) -> io::Result<usize>) -> io::Result<usize> {
        loop {
            self.limit()?;
            match work(&self.socket) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    /// Whether it is open, and nothing has come that nobody asked for.
    fn is_quiet(&self) -> bool {
        let peeked = self.socket.set_nonblocking(true).and_then(|()| self.socket.peek(&mut [0]));
        let is_quiet = peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        is_quiet && self.socket.set_nonblocking(false).is_ok()
    }
}

impl Read for Limited {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.wait(|mut socket| socket.read(room))
    }
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait(|mut socket| socket.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a wait that the system has ended means.
fn late(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => io::Error::other(SILENCE),
        _ => error,
    }
}
