//! Principals and their devices on the engines of this process, and on a store whose index is apart from its records.

use std::sync::Arc;

use coatroom_core::{Entry, Handle, Listed, Listing, Loaded, Swap, Timestamp};
use coatroom_store::memory::Memory;
use coatroom_store::sqlite::Sqlite;
use coatroom_store::{Cursor, Engine, NotListed, Store, Swapped, Unavailable, Wait};
use coatroom_tests::people::{everything, stories};

/// As on a cluster: the record in one place, the index in another.
#[derive(Default)]
struct Apart {
    records: Memory,
    index: Memory,
}

impl Store for Apart {
    const ENTERS_WITH_SWAP: bool = false;

    async fn load(&self, handle: Handle) -> Loaded {
        Engine::load(&self.records, handle)
    }

    async fn swap(&self, swap: &Swap) -> Swapped {
        let swap = Swap { listing: Listing::Keep, ..swap.clone() };
        Engine::swap(&self.records, &swap, Wait::Patiently).unwrap()
    }

    async fn enter(&self, entry: &Entry) -> Result<Listed, NotListed> {
        Engine::enter(&self.index, entry)
    }

    async fn sessions(&self, principal: &str) -> Result<Vec<Handle>, Unavailable> {
        Engine::sessions(&self.index, principal)
    }

    async fn leave(&self, principal: &str, handle: Handle) -> Result<(), Unavailable> {
        Engine::leave(&self.index, principal, handle)
    }

    async fn bar(&self, principal: &str, at: Timestamp) -> Result<(), Unavailable> {
        Engine::bar(&self.index, principal, at)
    }

    async fn scan(&self, from: Option<Cursor>, max: usize) -> Result<(Vec<Handle>, Option<Cursor>), Unavailable> {
        Engine::scan(&self.records, from, max)
    }

    async fn sweep(&self, now: Timestamp, max: usize) -> Result<usize, Unavailable> {
        Engine::sweep(&self.records, now, max)
    }
}

#[test]
fn memory_knows_who_is_logged_in_where() {
    stories(&Arc::new(Memory::default()));
    everything(&Arc::new(Memory::default()));
}

#[test]
fn sqlite_knows_who_is_logged_in_where() {
    let folder = tempfile::tempdir().unwrap();
    stories(&Arc::new(Sqlite::new(folder.path().join("stories.db")).unwrap()));
    everything(&Arc::new(Sqlite::new(folder.path().join("everything.db")).unwrap()));
}

#[test]
fn a_store_with_its_index_apart_knows_who_is_logged_in_where() {
    stories(&Arc::new(Apart::default()));
    everything(&Arc::new(Apart::default()));
}
