//! The stores that the library brings, behind one type.
//!
//! Redis and PostgreSQL are asked from the thread that calls: whoever must not wait calls from a thread that may. Such a thread
//! reads and writes a connection of its own to Redis.

use std::sync::Arc;

use coatroom_core::{Announcement, Entry, Handle, Loaded, Swap, Timestamp};
use coatroom_store::file::Files;
use coatroom_store::memory::Memory;
use coatroom_store::postgres::{self, Postgres};
use coatroom_store::redis::{self, Redis};
use coatroom_store::sqlite::Sqlite;
use coatroom_store::{
    Cursor, Engine, Entered, Increment, Listening, NotAnnounced, NotListed, Nudge, Store, Swapped, Unavailable, Wait,
    block_on, block_on_far,
};

use crate::error::Refusal;

/// A clone is the same store.
#[derive(Clone)]
pub(crate) enum AnyEngine {
    Memory(Arc<Memory>),
    Sqlite(Arc<Sqlite>),
    Files(Arc<Files>),
    Redis(Arc<Redis>),
    Postgres(Arc<Postgres>),
}

/// The same call on whichever engine it is.
macro_rules! on {
    ($self:ident, $method:ident($($argument:expr),*)) => {
        match $self {
            AnyEngine::Memory(engine) => Engine::$method(&**engine, $($argument),*),
            AnyEngine::Sqlite(engine) => Engine::$method(&**engine, $($argument),*),
            AnyEngine::Files(engine) => Engine::$method(&**engine, $($argument),*),
            AnyEngine::Redis(store) => block_on_far(Store::$method(&**store, $($argument),*)),
            AnyEngine::Postgres(store) => block_on(Store::$method(&**store, $($argument),*)),
        }
    };
}

impl AnyEngine {
    /// By what the application wrote: `memory`, `sqlite:PATH`, `file:PATH`, or an address.
    pub(crate) fn open(store: &str) -> Result<Self, Refusal> {
        if store == "memory" {
            return Ok(Self::Memory(Arc::default()));
        }
        match store.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() => {
                Sqlite::new(path).map(|engine| Self::Sqlite(Arc::new(engine))).map_err(Refusal::config)
            }
            Some(("file", path)) if !path.is_empty() => {
                Files::new(path).map(|engine| Self::Files(Arc::new(engine))).map_err(Refusal::config)
            }
            Some((scheme, _)) if redis::Settings::has_scheme(scheme) => {
                let opened = redis::Settings::parse(store).and_then(Redis::connect);
                opened.map(|store| Self::Redis(Arc::new(store))).map_err(Refusal::config)
            }
            Some(("postgres" | "postgresql", _)) => {
                let opened = postgres::Settings::parse(store).and_then(Postgres::new);
                opened.map(|store| Self::Postgres(Arc::new(store))).map_err(Refusal::config)
            }
            _ => Err(Refusal::config(
                "`store` must be `memory`, `sqlite:PATH`, `file:PATH`, `redis://...` or `postgres://...`, or `cookie`, \
                 `cookie+deny:` or `cookie-until-login+` before one of them",
            )),
        }
    }

    /// What an operator ought to know of the store as it is set up.
    pub(crate) fn warnings(&self) -> Result<Vec<String>, Unavailable> {
        match self {
            Self::Redis(store) => block_on(store.warnings()),
            _ => Ok(Vec::new()),
        }
    }

    /// Makes or brings up to date what the store keeps records in, where that is not done by itself.
    pub(crate) fn migrate(&self) -> Result<(), String> {
        match self {
            Self::Postgres(store) => block_on(store.migrate()).map_err(|error| error.to_string()),
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
            Self::Redis(_) | Self::Postgres(_) if wait == Wait::Never => None,
            Self::Redis(store) => Some(block_on_far(Store::swap(&**store, swap))),
            Self::Postgres(store) => Some(block_on(Store::swap(&**store, swap))),
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

    fn has_feed(&self) -> bool {
        true
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
            Self::Redis(store) => Store::listen(&**store, nudge),
            Self::Postgres(store) => Store::listen(&**store, nudge),
            Self::Sqlite(_) | Self::Files(_) => None,
        }
    }

    fn sweeps_at_once(&self) -> bool {
        matches!(self, Self::Memory(_))
    }

    fn enters_with_swap(&self) -> bool {
        match self {
            Self::Redis(store) => Store::enters_with_swap(&**store),
            _ => true,
        }
    }

    fn is_here(&self) -> bool {
        !matches!(self, Self::Redis(_) | Self::Postgres(_))
    }
}
