//! Connections: made on a runtime, used from anywhere, thrown away as soon as anything about them is in doubt.

use core::future::{pending, poll_fn};
use core::pin::{Pin, pin};
use core::task::Poll;
use core::time::Duration;
use std::sync::Arc;

use deadpool_postgres::{
    ClientWrapper, Connect, Hook, HookError, Manager, ManagerConfig, Object, Pool, QueueMode, RecyclingMethod,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Error, NoTls, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::listen::read;
use super::schema;
use super::settings::{Settings, SettingsError};
use super::sql::{BEGIN, Sql};
use crate::Nudge;
use crate::runtime;

/// The values for a statement, in order.
pub(super) type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

/// How to encrypt, if at all.
#[derive(Clone)]
pub(super) struct Tls(Option<MakeRustlsConnect>);

impl Tls {
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        if settings.server.get_ssl_mode() != SslMode::Require {
            return Ok(Self(None));
        }
        let mut roots = RootCertStore::empty();
        match &settings.authority {
            Some(file) => {
                let certificates = CertificateDer::pem_file_iter(file).map_err(|_| SettingsError::Authority)?;
                for certificate in certificates {
                    let added = certificate.map(|certificate| roots.add(certificate));
                    added.map_err(|_| SettingsError::Authority)?.map_err(|_| SettingsError::Authority)?;
                }
            }
            None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        }
        if roots.is_empty() {
            return Err(SettingsError::Authority);
        }
        // Named here, for a program may hold several providers and then none of them is its default.
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|_| SettingsError::Authority)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Some(MakeRustlsConnect::new(config))))
    }
}

/// Makes connections on a runtime, for callers that may not be on any.
#[derive(Clone)]
pub(super) struct Dialler {
    pub(super) handle: Handle,
    tls: Tls,
    time_limit: Duration,
}

impl Dialler {
    pub(super) fn new(settings: &Settings, tls: &Tls) -> std::io::Result<Self> {
        let handle = settings.runtime.clone().map_or_else(runtime::handle, Ok)?;
        Ok(Self { handle, tls: tls.clone(), time_limit: settings.time_limit })
    }

    pub(super) async fn dial(&self, config: Config) -> Result<(Client, JoinHandle<()>), Error> {
        let tls = self.tls.0.clone();
        let dialling = self.handle.spawn(async move {
            if let Some(tls) = tls {
                let (client, connection) = config.connect(tls).await?;
                return Ok((client, tokio::spawn(async { drop(connection.await) })));
            }
            let (client, connection) = config.connect(NoTls).await?;
            Ok((client, tokio::spawn(async { drop(connection.await) })))
        });
        let mut dialling = AbortOnDrop(dialling);
        match Pin::new(&mut dialling.0).await {
            Ok(dialled) => dialled,
            // The runtime is ending. Whoever waits gives up in time.
            Err(_) => pending().await,
        }
    }

    /// Listens in this runtime: the task that reads the connection tells of whatever the server says of its own accord.
    pub(super) async fn listen(&self, config: &Config, nudge: Nudge) -> Result<(Client, JoinHandle<()>), Error> {
        if let Some(tls) = self.tls.0.clone() {
            let (client, connection) = config.connect(tls).await?;
            return Ok((client, tokio::spawn(read(connection, nudge))));
        }
        let (client, connection) = config.connect(NoTls).await?;
        Ok((client, tokio::spawn(read(connection, nudge))))
    }

    /// What `work` comes to, unless it takes longer than `limit`. May be polled from anywhere.
    pub(super) async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        let sleep = {
            let _inside = self.handle.enter();
            tokio::time::sleep(limit)
        };
        let (mut sleep, mut work) = (pin!(sleep), pin!(work));
        let either = poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => sleep.as_mut().poll(context).map(|()| None),
        });
        either.await
    }

    /// Asks the server to give up what it does for this client, so that statements nobody waits for do not pile up there.
    fn cancel(&self, client: &Client) {
        let (token, tls, limit) = (client.cancel_token(), self.tls.0.clone(), self.time_limit);
        drop(self.handle.spawn(async move {
            let cancel = async {
                match tls {
                    Some(tls) => token.cancel_query(tls).await,
                    None => token.cancel_query(NoTls).await,
                }
            };
            drop(tokio::time::timeout(limit, cancel).await);
        }));
    }
}

impl Connect for Dialler {
    fn connect(
        &self,
        config: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        let config = config.clone();
        Box::pin(self.dial(config))
    }
}

/// A task that nobody waits for any more ends.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The connections of one process.
pub(super) struct Connections {
    pub(super) dialler: Dialler,
    pool: Pool,
    unnamed: bool,
}

/// Why a statement has no result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Failure {
    /// It was not sent, or the server said that it was not carried out.
    NotDone,
    /// The server gave up because of what others did at the same time; it was not carried out.
    Overtaken,
    /// It was sent, and the connection was lost before the answer; or the answer says nothing about it.
    Unknown,
}

impl Connections {
    pub(super) fn new(settings: &Settings, tls: &Tls) -> std::io::Result<Self> {
        let dialler = Dialler::new(settings, tls)?;
        // A connection comes back only if its last answer was complete, so there is nothing to clean.
        let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(settings.server.clone(), dialler.clone(), config);
        let (schema, unnamed) = (settings.quoted_schema(), settings.unnamed);
        let pool = Pool::builder(manager)
            .max_size(settings.connections)
            .queue_mode(QueueMode::Lifo)
            .post_create(Hook::async_fn(move |client: &mut ClientWrapper, _| {
                let schema = schema.clone();
                Box::pin(async move {
                    schema::check(client, &schema).await.map_err(|error| HookError::message(error.to_string()))?;
                    let begun = if unnamed { Ok(()) } else { client.batch_execute(BEGIN).await };
                    begun.map_err(HookError::Backend)
                })
            }))
            .build()
            .map_err(std::io::Error::other)?;
        Ok(Self { dialler, pool, unnamed })
    }

    pub(super) async fn lease(&self) -> Option<Lease<'_>> {
        let object = self.pool.get().await.ok()?;
        Some(Lease { object: Some(object), connections: self, state: State::Whole })
    }

    /// Whoever lost one connection does not trust the ones that were idle meanwhile.
    pub(super) fn distrust_idle(&self) {
        drop(self.pool.retain(|_, _| false));
    }
}

/// A connection for one operation. It serves another only if this one was answered in full and without an error, which
/// may come from a server that is no longer the right one. Dropped before the answer, what it was doing is given up.
pub(super) struct Lease<'a> {
    object: Option<Object>,
    connections: &'a Connections,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    Waiting,
    Answered,
}

/// A statement that is ready to be sent.
pub(super) enum Ready<'a> {
    Named(Statement),
    Unnamed(&'a Sql),
}

impl Lease<'_> {
    /// Makes a statement known on this connection, unless it is.
    pub(super) async fn ready<'s>(&mut self, sql: &'s Sql) -> Result<Ready<'s>, Failure> {
        if self.connections.unnamed {
            return Ok(Ready::Unnamed(sql));
        }
        let object = self.object.as_ref().ok_or(Failure::NotDone)?;
        self.state = State::Waiting;
        let prepared = object.prepare_typed_cached(&sql.text, sql.types).await;
        self.state = State::Answered;
        let statement = prepared.map_err(|_| Failure::NotDone)?;
        self.state = State::Whole;
        Ok(Ready::Named(statement))
    }

    /// Something is about to be sent.
    pub(super) const fn begin(&mut self) {
        self.state = State::Waiting;
    }

    /// Everything was answered.
    pub(super) const fn answered(&mut self) {
        self.state = State::Answered;
    }

    /// Everything was answered, and well.
    pub(super) const fn settled(&mut self) {
        self.state = State::Whole;
    }

    /// Sends at the first poll, and ends when the server has answered *and* committed: the end of the answer comes after
    /// the end of its transaction.
    pub(super) async fn send(&self, ready: &Ready<'_>, values: Values<'_>) -> Result<Vec<Row>, Failure> {
        let object = self.object.as_ref().ok_or(Failure::NotDone)?;
        let sent = match ready {
            Ready::Named(statement) => object.query(statement, values).await,
            Ready::Unnamed(sql) => {
                let typed: Vec<_> = values.iter().copied().zip(sql.types.iter().cloned()).collect();
                object.query_typed(&sql.text, &typed).await
            }
        };
        sent.map_err(|error| failure(&error))
    }

    /// As [`Lease::send`], for how many rows were changed.
    pub(super) async fn count(&self, ready: &Ready<'_>, values: Values<'_>) -> Result<u64, Failure> {
        match ready {
            Ready::Named(statement) => {
                let object = self.object.as_ref().ok_or(Failure::NotDone)?;
                object.execute(statement, values).await.map_err(|error| failure(&error))
            }
            Ready::Unnamed(_) => Ok(self.send(ready, values).await?.len().try_into().unwrap_or(u64::MAX)),
        }
    }

    /// Sends what nobody relies on, if there is anything, at the first poll. Whether it was done in half of the time that
    /// operations have: otherwise this connection is of no further use.
    // spec: FEED-6 f2f5
    pub(super) async fn say(&self, text: Option<&str>) -> bool {
        let Some(text) = text else { return true };
        let Dialler { time_limit, .. } = self.connections.dialler;
        let said =
            self.connections.dialler.within(time_limit.checked_div(2).unwrap_or_default(), self.order(text)).await;
        said.is_some_and(|said| said.is_ok())
    }

    /// Sends a statement without values or result, at the first poll.
    pub(super) async fn order(&self, text: &str) -> Result<(), Failure> {
        let object = self.object.as_ref().ok_or(Failure::NotDone)?;
        object.batch_execute(text).await.map_err(|error| failure(&error))
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let Some(object) = self.object.take().filter(|_| self.state != State::Whole) else { return };
        let client = Object::take(object);
        if self.state == State::Waiting && !client.is_closed() {
            self.connections.dialler.cancel(&client);
        }
    }
}

/// What an error says about a statement in a transaction of its own.
///
/// An error reply means that the transaction ended, and not by a commit: the reply to the statement ends with the server's
/// readiness for another, which comes after the commit, and an error comes instead. But a pooler in between replies on its
/// own account as well, when it has lost the server. So only those classes of errors that the server alone uses, and only
/// for what it did not do, count as not done:
///
/// | class | what | why it was not done |
/// |---|---|---|
/// | 0A | a cached plan no longer fits | before it began |
/// | 22, 23 | a value or a constraint | the statement was rolled back |
/// | 25 | read-only transaction, aborted transaction | refused before it began |
/// | 26, 42 | no such statement, table, or right | refused before it began |
/// | 40, but 40003 | serialisation failure, deadlock | rolled back in favour of another; 40003 says that nobody knows |
/// | 53, 54 | no room, no memory, too many connections, too long | the statement was rolled back; where the log itself cannot be written, the server panics and does not reply |
/// | 55 | a lock is not to be had | the statement was rolled back |
/// | 57014, 57P03 | cancelled; the server is starting | rolled back; never begun |
///
/// All else is unknown: 08 is what PgBouncer says when its server vanished in the middle of a commit, 57P01 and 57P02 (the
/// server ends) may come from a pooler too, XX and 58 from several.
fn failure(error: &Error) -> Failure {
    let Some(state) = error.code() else { return Failure::Unknown };
    if *state == SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN {
        return Failure::Unknown;
    }
    match state.code().get(..2) {
        Some("40") => Failure::Overtaken,
        Some("0A" | "22" | "23" | "25" | "26" | "42" | "53" | "54" | "55") => Failure::NotDone,
        _ if *state == SqlState::QUERY_CANCELED || *state == SqlState::CANNOT_CONNECT_NOW => Failure::NotDone,
        _ => Failure::Unknown,
    }
}
