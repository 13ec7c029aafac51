//! The stores that a wheel brings, behind one type.
//!
//! Redis and PostgreSQL are asked from the thread that calls, which waits without the interpreter. An event loop does not:
//! see [`crate::completions`].

use std::sync::Arc;

use coatroom_core::{Announcement, Entry, Handle, Loaded, Swap, Timestamp};
use coatroom_store::file::Files;
use coatroom_store::memory::Memory;
use coatroom_store::postgres::{self, Postgres};
use coatroom_store::redis::{self, Redis};
use coatroom_store::sqlite::Sqlite;
use coatroom_store::{
    Calling, Cursor, Driver, Engine, Entered, Increment, Listening, NotAnnounced, NotListed, Nudge, Store, Swapped,
    Unavailable, Wait, block_on, block_on_far,
};
use pyo3::prelude::*;

use crate::error::config;
use crate::host::PythonHost;
use crate::own::Own;

/// A store, whichever it is. A clone is the same store.
#[derive(Clone)]
pub(crate) enum AnyEngine {
    Memory(Arc<Memory>),
    Sqlite(Arc<Sqlite>),
    Files(Arc<Files>),
    Far(Far),
    Own(Arc<Own>),
}

/// A store behind a network.
#[derive(Clone)]
pub(crate) enum Far {
    Redis(Arc<Redis>),
    Postgres(Arc<Postgres>),
}

impl Far {
    /// Whether its connections can be served by the loop whose requests use them. The pool of PostgreSQL is one for all.
    pub(crate) fn is_served_by_loops(&self) -> bool {
        matches!(self, Self::Redis(_))
    }

    /// Waits on this thread. Redis is asked by it; PostgreSQL, whose connections are shared, by the thread that serves them.
    fn wait<F: Future>(&self, call: F) -> F::Output {
        match self {
            Self::Redis(_) => block_on_far(call),
            Self::Postgres(_) => block_on(call),
        }
    }
}

/// What runs the exchanges of event loops over a far store.
pub(crate) type FarDriver = Driver<Far, PythonHost>;

/// The same call on whichever engine it is.
macro_rules! on {
    ($self:ident, $method:ident($($argument:expr),*)) => {
        match $self {
            AnyEngine::Memory(engine) => Engine::$method(&**engine, $($argument),*),
            AnyEngine::Sqlite(engine) => Engine::$method(&**engine, $($argument),*),
            AnyEngine::Files(engine) => Engine::$method(&**engine, $($argument),*),
            AnyEngine::Far(store) => store.wait(Store::$method(store, $($argument),*)),
            AnyEngine::Own(engine) => Engine::$method(&**engine, $($argument),*),
        }
    };
}

impl AnyEngine {
    /// By what the application wrote: `memory`, `sqlite:PATH`, `file:PATH`, or an address.
    pub(crate) fn open(py: Python<'_>, store: &str) -> PyResult<Self> {
        if store == "memory" {
            return Ok(Self::Memory(Arc::default()));
        }
        let open = || match store.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() => {
                Some(Sqlite::new(path).map(|engine| Self::Sqlite(Arc::new(engine))).map_err(|error| error.to_string()))
            }
            Some(("file", path)) if !path.is_empty() => {
                Some(Files::new(path).map(|engine| Self::Files(Arc::new(engine))).map_err(|error| error.to_string()))
            }
            Some((scheme, _)) if redis::Settings::has_scheme(scheme) => {
                let opened = redis::Settings::parse(store).and_then(Redis::connect);
                Some(opened.map(|store| Self::Far(Far::Redis(Arc::new(store)))).map_err(|error| error.to_string()))
            }
            Some(("postgres" | "postgresql", _)) => {
                let opened = postgres::Settings::parse(store).and_then(Postgres::new);
                Some(opened.map(|store| Self::Far(Far::Postgres(Arc::new(store)))).map_err(|error| error.to_string()))
            }
            _ => None,
        };
        match py.detach(open) {
            Some(opened) => opened.map_err(|error| config(py, &error)),
            None => Err(config(
                py,
                &"`store` must be `memory`, `sqlite:PATH`, `file:PATH`, `redis://...` or `postgres://...`, or `cookie`, \
                  `cookie+deny:` or `cookie-until-login+` before one of them",
            )),
        }
    }

    /// The store itself, if it is behind a network.
    pub(crate) fn far(&self) -> Option<Far> {
        if let Self::Far(far) = self { Some(far.clone()) } else { None }
    }

    /// What an operator ought to know of the store as it is set up.
    pub(crate) fn warnings(&self) -> Result<Vec<String>, Unavailable> {
        match self {
            Self::Far(Far::Redis(store)) => block_on(store.warnings()),
            _ => Ok(Vec::new()),
        }
    }

    /// Closes what is open and holds newcomers back, before a fork.
    pub(crate) fn release(&self) {
        if let Self::Sqlite(engine) = self {
            engine.release();
        }
    }

    /// Lets in whoever [`AnyEngine::release`] holds back.
    pub(crate) fn resume(&self) {
        if let Self::Sqlite(engine) = self {
            engine.resume();
        }
    }

    /// Makes or brings up to date what the store keeps records in, where that is not done by itself.
    pub(crate) fn migrate(&self) -> Result<(), String> {
        match self {
            Self::Far(Far::Postgres(store)) => block_on(store.migrate()).map_err(|error| error.to_string()),
            _ => Ok(()),
        }
    }
}

impl Engine for AnyEngine {
    fn load(&self, handle: Handle) -> Loaded {
        on!(self, load(handle))
    }

    fn swap(&self, swap: &Swap, wait: Wait) -> Option<Swapped> {
        match self {
            Self::Memory(engine) => Engine::swap(&**engine, swap, wait),
            Self::Sqlite(engine) => Engine::swap(&**engine, swap, wait),
            Self::Files(engine) => Engine::swap(&**engine, swap, wait),
            Self::Own(engine) => Engine::swap(&**engine, swap, wait),
            Self::Far(_) if wait == Wait::Never => None,
            Self::Far(store) => Some(store.wait(Store::swap(store, swap))),
        }
    }

    fn enter(&self, entry: &Entry) -> Result<Entered, NotListed> {
        on!(self, enter(entry))
    }

    fn sessions(&self, principal: &str) -> Result<Vec<Handle>, Unavailable> {
        on!(self, sessions(principal))
    }

    fn leave(&self, principal: &str, handle: Handle) -> Result<(), Unavailable> {
        on!(self, leave(principal, handle))
    }

    fn bar(&self, principal: &str, now: Timestamp) -> Result<Timestamp, Unavailable> {
        on!(self, bar(principal, now))
    }

    fn scan(&self, from: Option<Cursor>, max: usize) -> Result<(Vec<Handle>, Option<Cursor>), Unavailable> {
        on!(self, scan(from, max))
    }

    fn sweep(&self, now: Timestamp, max: usize) -> Result<usize, Unavailable> {
        on!(self, sweep(now, max))
    }

    fn sweeps_at_once(&self) -> bool {
        matches!(self, Self::Memory(_))
    }

    fn enters_with_swap(&self) -> bool {
        match self {
            Self::Far(store) => Store::enters_with_swap(store),
            Self::Own(engine) => Engine::enters_with_swap(&**engine),
            _ => true,
        }
    }

    fn has_feed(&self) -> bool {
        match self {
            Self::Memory(engine) => Engine::has_feed(&**engine),
            Self::Sqlite(engine) => Engine::has_feed(&**engine),
            Self::Files(engine) => Engine::has_feed(&**engine),
            Self::Far(store) => Store::has_feed(store),
            Self::Own(engine) => Engine::has_feed(&**engine),
        }
    }

    fn announce(&self, announcement: &Announcement, forget_at: Timestamp) -> Result<(), NotAnnounced> {
        on!(self, announce(announcement, forget_at))
    }

    fn announced(&self, since: Option<Cursor>, max: usize) -> Result<Increment, NotAnnounced> {
        on!(self, announced(since, max))
    }

    fn listen(&self, nudge: Nudge) -> Option<Listening> {
        match self {
            Self::Memory(engine) => Engine::listen(&**engine, nudge),
            Self::Far(Far::Redis(store)) => Store::listen(&**store, nudge),
            Self::Far(Far::Postgres(store)) => Store::listen(&**store, nudge),
            Self::Sqlite(_) | Self::Files(_) | Self::Own(_) => None,
        }
    }

    fn is_here(&self) -> bool {
        !matches!(self, Self::Far(_) | Self::Own(_))
    }
}

/// The same call on whichever store it is.
macro_rules! ask {
    ($self:ident, $method:ident($($argument:expr),*)) => {
        match $self {
            Far::Redis(store) => Store::$method(&**store, $($argument),*).await,
            // Boxed, for it is much larger, and all that is asked of the other would be as large.
            Far::Postgres(store) => Box::pin(Store::$method(&**store, $($argument),*)).await,
        }
    };
}

impl Calling for Far {
    fn begin_load(&self, handle: Handle, then: impl FnOnce(Option<Loaded>) + Send + 'static) {
        match self {
            Self::Redis(store) => store.begin_load(handle, then),
            Self::Postgres(_) => then(None),
        }
    }

    fn begin_swap<W>(&self, whose: W, then: impl FnOnce(W, Option<Swapped>) + Send + 'static)
    where
        W: AsRef<Swap> + Send + 'static,
    {
        match self {
            Self::Redis(store) => store.begin_swap(whose, then),
            Self::Postgres(_) => then(whose, None),
        }
    }
}

impl Store for Far {
    fn enters_with_swap(&self) -> bool {
        match self {
            Self::Redis(store) => Store::enters_with_swap(&**store),
            Self::Postgres(store) => Store::enters_with_swap(&**store),
        }
    }

    async fn load(&self, handle: Handle) -> Loaded {
        ask!(self, load(handle))
    }

    async fn swap(&self, swap: &Swap) -> Swapped {
        ask!(self, swap(swap))
    }

    async fn enter(&self, entry: &Entry) -> Result<Entered, NotListed> {
        ask!(self, enter(entry))
    }

    async fn sessions(&self, principal: &str) -> Result<Vec<Handle>, Unavailable> {
        ask!(self, sessions(principal))
    }

    async fn leave(&self, principal: &str, handle: Handle) -> Result<(), Unavailable> {
        ask!(self, leave(principal, handle))
    }

    async fn bar(&self, principal: &str, now: Timestamp) -> Result<Timestamp, Unavailable> {
        ask!(self, bar(principal, now))
    }

    async fn scan(&self, from: Option<Cursor>, max: usize) -> Result<(Vec<Handle>, Option<Cursor>), Unavailable> {
        ask!(self, scan(from, max))
    }

    async fn sweep(&self, now: Timestamp, max: usize) -> Result<usize, Unavailable> {
        ask!(self, sweep(now, max))
    }

    fn has_feed(&self) -> bool {
        match self {
            Self::Redis(store) => Store::has_feed(&**store),
            Self::Postgres(store) => Store::has_feed(&**store),
        }
    }

    async fn announce(&self, announcement: &Announcement, forget_at: Timestamp) -> Result<(), NotAnnounced> {
        ask!(self, announce(announcement, forget_at))
    }

    async fn announced(&self, since: Option<Cursor>, max: usize) -> Result<Increment, NotAnnounced> {
        ask!(self, announced(since, max))
    }
}
