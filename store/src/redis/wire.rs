//! One connection to one server, from the first byte to the last.

use core::convert::Infallible;
use core::pin::pin;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, Pipeline, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, RedisError, Value,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, StreamOwned};

use super::held::{Held, Limited, Stream};
use super::line::{self, Askers, Lent, Line};
use super::net::lock;
use super::reach::{connected, connected_for};
use super::runner::{Cut, Runner};
use super::settings::{Address, Layout, Login, Place, Settings, SettingsError};
use super::time::until;
use crate::Nudge;

/// Which part of the time limit one Sentinel is given.
const SENTINEL_SHARE: u32 = 8;

/// A connection. It is closed when this is gone.
pub(super) struct Wire {
    channel: Channel,
    pub(super) number: u64,
    is_over: Arc<AtomicBool>,
    traffic: Cut,
}

/// Who carries questions and answers.
enum Channel {
    /// The client library, within a runtime.
    Library(MultiplexedConnection),
    Line(Askers),
    /// Whoever asks, who waits for the answer and for nothing else.
    Held(Mutex<Held>),
}

impl Wire {
    /// Sends a command, once, and waits for the answer. An error says nothing about whether the server did it.
    pub(super) async fn ask(&self, command: &Cmd) -> Result<Value, RedisError> {
        match &self.channel {
            Channel::Library(connection) => connection.clone().send_packed_command(command).await,
            Channel::Line(line) => line.answer(command).await,
            Channel::Held(held) => lock(held).answer(command),
        }
    }

    /// The same for several in a row.
    pub(super) async fn ask_all(&self, commands: &Pipeline) -> Result<Vec<Value>, RedisError> {
        match &self.channel {
            Channel::Library(connection) => connection.clone().send_packed_commands(commands, 0, commands.len()).await,
            Channel::Line(line) => line.answers(commands).await,
            Channel::Held(held) => lock(held).answers(commands),
        }
    }

    /// Has whoever the connections were made for told of every message on a channel.
    pub(super) async fn subscribe(&self, channel: &[u8]) -> Result<(), RedisError> {
        match &self.channel {
            Channel::Library(connection) => connection.clone().subscribe(channel).await,
            Channel::Line(_) | Channel::Held(_) => Err(failure("this connection hears nothing that was not asked for")),
        }
    }

    /// Where those who ask can be called, if they can.
    pub(super) fn line(&self) -> Option<&Line> {
        match &self.channel {
            Channel::Line(line) => Some(line),
            Channel::Library(_) | Channel::Held(_) => None,
        }
    }

    /// The answer to a command that is made of these parts, for a thread that has this one to itself.
    pub(super) fn answer_to(&self, parts: &[&[u8]]) -> Option<Result<Value, RedisError>> {
        match &self.channel {
            Channel::Held(held) => Some(lock(held).answer_to(parts)),
            Channel::Library(_) | Channel::Line(_) => None,
        }
    }

    /// Says until when a thread that has this one to itself will wait for answers. Whether there is anything to wait for.
    pub(super) fn begin(&self, until: Instant) -> bool {
        match &self.channel {
            Channel::Held(held) => lock(held).begin(until),
            Channel::Library(_) | Channel::Line(_) => !self.is_over(),
        }
    }

    /// Whether it is known to be closed.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// What closes it, whatever is under way.
    pub(super) fn cut(&self) -> Cut {
        self.traffic.clone()
    }
}

/// What connections are made from.
pub(super) struct Dialer {
    pub(super) settings: Settings,
    tls: Option<TlsConnector>,
    made: AtomicU64,
    /// Whom connections tell of messages that nobody asked for.
    nudge: Option<Nudge>,
}

/// Who is told when a connection is over.
pub(super) type OnEnd = Box<dyn FnOnce(u64) + Send>;

/// Who asks on a connection.
pub(super) enum Users {
    /// All callers of the runtime or the loop that it is made in.
    All(OnEnd),
    /// One thread at a time, which waits. It has the number of the connection that others have there meanwhile.
    One(u64),
}

/// What is said to a server first.
struct Hello<'a> {
    login: &'a Login,
    database: i64,
    to_primary: bool,
}

impl Dialer {
    pub(super) fn new(settings: Settings) -> Result<Self, SettingsError> {
        settings.check()?;
        let tls = if settings.tls { Some(trusting(&settings)?) } else { None };
        Ok(Self { settings, tls, made: AtomicU64::new(0), nudge: None })
    }

    /// For connections that listen.
    pub(super) fn listening(&self, nudge: Nudge) -> Self {
        let (settings, tls) = (self.settings.clone(), self.tls.clone());
        Self { settings, tls, made: AtomicU64::new(0), nudge: Some(nudge) }
    }

    /// What connections that listen tell whom they were made for.
    pub(super) fn nudge(&self) {
        if let Some(nudge) = &self.nudge {
            nudge();
        }
    }

    /// Connects to the server at an address. Runs where the connection is to be served.
    pub(super) async fn address(&self, address: &Address, users: Users) -> Result<Wire, RedisError> {
        self.connect(&Place::Network(address.clone()), self.hello(false), users).await
    }

    /// Connects to the one server there is, or to the one that the Sentinels call the primary.
    pub(super) async fn primary(&self, users: Users) -> Result<Wire, RedisError> {
        match &self.settings.layout {
            Layout::Single(place) => self.connect(place, self.hello(false), users).await,
            Layout::Sentinel(sentinels, name) => self.named(sentinels, name, users).await,
            Layout::Cluster(_) => Err(failure("a Cluster has no one primary")),
        }
    }

    const fn hello(&self, to_primary: bool) -> Hello<'_> {
        Hello { login: &self.settings.login, database: self.settings.database, to_primary }
    }

    async fn named(&self, sentinels: &[Address], name: &str, users: Users) -> Result<Wire, RedisError> {
        let mut last = silence();
        for sentinel in sentinels {
            let patience = self.settings.time_limit.checked_div(SENTINEL_SHARE).unwrap_or_default();
            let now = Instant::now();
            let looking_up = pin!(self.look_up(sentinel, name));
            let looked_up = until(now.checked_add(patience).unwrap_or(now), looking_up).await;
            match looked_up.unwrap_or_else(|_| Err(silence())) {
                Ok(place) => return self.connect(&place, self.hello(true), users).await,
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn look_up(&self, sentinel: &Address, name: &str) -> Result<Place, RedisError> {
        let hello = Hello { login: &self.settings.sentinel_login, database: 0, to_primary: false };
        let sentinel = Place::Network(sentinel.clone());
        let wire = self.connect(&sentinel, hello, Users::All(Box::new(|_| {}))).await?;
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
        let answer = wire.ask(&question).await?.extract_error()?;
        let found: Option<(String, u16)> = redis::from_redis_value(answer)?;
        let (host, port) = found.ok_or_else(|| failure("the Sentinels know no primary of that name"))?;
        Ok(Place::Network(Address { host, port }))
    }

    async fn connect(&self, to: &Place, hello: Hello<'_>, users: Users) -> Result<Wire, RedisError> {
        let runner = Runner::here().ok_or_else(|| failure("nobody serves this thread"))?;
        let on_end = match users {
            Users::All(on_end) => on_end,
            Users::One(number) => {
                let stream = Box::pin(self.to_hold(to, hello)).await?;
                let channel = Channel::Held(Mutex::new(Held::new(stream)));
                return Ok(Wire { channel, number, is_over: Arc::default(), traffic: Cut::Nothing });
            }
        };
        match &runner {
            Runner::Loop(home) => {
                let stream = connected_for(to, home.clone()).await?;
                Box::pin(self.secure(stream, &runner, to, hello, on_end)).await
            }
            Runner::Tokio(_) => {
                let stream = connected(to).await?;
                Box::pin(self.secure(stream, &runner, to, hello, on_end)).await
            }
        }
    }

    async fn to_hold(&self, to: &Place, hello: Hello<'_>) -> Result<Stream, RedisError> {
        let (stream, limit) = (connected(to).await?, self.settings.time_limit);
        Ok(match &self.tls {
            None => Stream::Plain(Limited::new(self.greeted(stream, &hello).await?, limit)?),
            Some(tls) => {
                let stream = tls.connect(server_name(to)?, stream).await?;
                let (socket, session) = self.greeted(stream, &hello).await?.into_inner();
                Stream::Secure(Box::new(StreamOwned::new(session, Limited::new(socket, limit)?)))
            }
        })
    }

    async fn secure<S>(
        &self,
        stream: S,
        runner: &Runner,
        to: &Place,
        hello: Hello<'_>,
        on_end: OnEnd,
    ) -> Result<Wire, RedisError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match &self.tls {
            None => self.greet(stream, runner, &hello, on_end).await,
            Some(tls) => self.greet(tls.connect(server_name(to)?, stream).await?, runner, &hello, on_end).await,
        }
    }

    async fn greet<S>(&self, stream: S, runner: &Runner, hello: &Hello<'_>, on_end: OnEnd) -> Result<Wire, RedisError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let is_over = Arc::<AtomicBool>::default();
        let end = End { is_over: Arc::clone(&is_over), number, on_end: Some(on_end) };
        let (channel, traffic) = match runner {
            Runner::Tokio(_) => {
                let (info, limits) = self.manners(hello);
                let (mut connection, traffic) = MultiplexedConnection::new_with_config(&info, stream, limits).await?;
                let traffic = end.after(runner, traffic);
                first_questions(&mut connection, hello).await?;
                (Channel::Library(connection), traffic)
            }
            Runner::Loop(home) => {
                let (askers, traffic) = line::over(self.greeted(stream, hello).await?, home.clone());
                (Channel::Line(askers), end.after(runner, traffic))
            }
        };
        Ok(Wire { channel, number, is_over, traffic })
    }

    /// Has the client library greet the server, and takes the stream back from it.
    async fn greeted<S>(&self, stream: S, hello: &Hello<'_>) -> Result<S, RedisError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (lent, give_back) = Lent::new(stream);
        {
            let (info, limits) = self.manners(hello);
            let (mut connection, traffic) = MultiplexedConnection::new_with_config(&info, lent, limits).await?;
            tokio::select! {
                () = traffic => Err(failure("the connection has ended")),
                asked = first_questions(&mut connection, hello) => asked,
            }?;
        }
        give_back().ok_or_else(|| failure("the client library keeps the connection"))
    }

    fn manners(&self, hello: &Hello<'_>) -> (RedisConnectionInfo, AsyncConnectionConfig) {
        let mut info = RedisConnectionInfo::default().set_db(hello.database).set_skip_set_lib_name();
        if let Some(user) = &hello.login.user {
            info = info.set_username(user);
        }
        if let Some(password) = &hello.login.password {
            info = info.set_password(password);
        }
        // Time limits are kept outside: the one of the client library would leave a late answer to the next question.
        let mut limits = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        if let Some(nudge) = self.nudge.clone() {
            info = info.set_protocol(ProtocolVersion::RESP3);
            // Told from where they are read, so that none piles up.
            limits = limits.set_push_sender(move |push: PushInfo| {
                if push.kind == PushKind::Message {
                    nudge();
                }
                Ok::<_, Infallible>(())
            });
        }
        (info, limits)
    }
}

fn server_name(of: &Place) -> io::Result<ServerName<'static>> {
    match of {
        Place::Network(address) => ServerName::try_from(address.host.clone()).map_err(io::Error::other),
        Place::Socket(_) => Err(ErrorKind::Unsupported.into()),
    }
}

/// Whether the server answers at all: the system accepts connections for one that is halted, or still reads its data. And whether
/// it is the primary: a Sentinel may still name the old one, which may have become a replica. A user that may not ask trusts it.
async fn first_questions(connection: &mut MultiplexedConnection, hello: &Hello<'_>) -> Result<(), RedisError> {
    match connection.send_packed_command(&redis::cmd("PING")).await? {
        Value::ServerError(error) if error.code() != "NOPERM" => return Err(error.into()),
        _ => {}
    }
    if hello.to_primary
        && let Value::Array(parts) = connection.send_packed_command(&redis::cmd("ROLE")).await?
        && !matches!(parts.first(), Some(Value::BulkString(role)) if role == b"master")
    {
        return Err(failure("a failover is under way"));
    }
    Ok(())
}

/// Tells that a connection is over, however it came to that.
struct End {
    is_over: Arc<AtomicBool>,
    number: u64,
    on_end: Option<OnEnd>,
}

impl End {
    /// Has a connection served until it is over.
    fn after(self, runner: &Runner, traffic: impl Future<Output = ()> + Send + 'static) -> Cut {
        runner.spawn(async move {
            let _told_when_dropped = self;
            traffic.await;
        })
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        if let Some(tell) = self.on_end.take() {
            tell(self.number);
        }
    }
}

fn trusting(settings: &Settings) -> Result<TlsConnector, SettingsError> {
    let mut roots = RootCertStore::empty();
    match &settings.authority {
        Some(file) => {
            let certificates = CertificateDer::pem_file_iter(file).map_err(|_| SettingsError::Authority)?;
            for certificate in certificates {
                let certificate = certificate.map_err(|_| SettingsError::Authority)?;
                roots.add(certificate).map_err(|_| SettingsError::Authority)?;
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if roots.is_empty() {
        return Err(SettingsError::Authority);
    }
    // Named here, since a program that links two providers has no default one.
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().map_err(|_| SettingsError::Authority)?;
    Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}

fn silence() -> RedisError {
    failure("no Sentinel answers")
}

pub(super) fn failure(text: &'static str) -> RedisError {
    io::Error::other(text).into()
}
