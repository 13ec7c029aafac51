//! A store in memory that speaks exactly the values of the core: load, and compare-and-swap on the stamp.

use std::collections::BTreeMap;

use coatroom_core::{Handle, Loaded, Stamp, Swap};

use crate::exchange::Bytes;

/// A defect of a store, planted to show that the checkers find it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum StoreBug {
    /// A swap overwrites whatever is there.
    BlindOverwrite,
    /// A swap of a record that was removed in between puts it back.
    UpsertAfterRemoval,
    /// A swap looks at the version alone, and so takes another's write of the same number for the one it read.
    VersionOnly,
    /// A refused swap is said to be done.
    RefusalUnnoticed,
    /// No write is synced, also where the core asks for it.
    NothingDurable,
}

impl StoreBug {
    pub const ALL: [Self; 5] = [
        Self::BlindOverwrite,
        Self::UpsertAfterRemoval,
        Self::VersionOnly,
        Self::RefusalUnnoticed,
        Self::NothingDurable,
    ];
}

/// Records by handle.
#[derive(Clone, Debug, Default)]
pub struct Store {
    pub records: BTreeMap<Handle, Bytes>,
    pub bug: Option<StoreBug>,
}

impl Store {
    pub fn get(&self, handle: Handle) -> Option<&[u8]> {
        self.records.get(&handle).map(|record| &**record)
    }

    pub fn load(&self, handle: Handle) -> Loaded {
        self.get(handle).map_or(Loaded::Absent, |record| Loaded::Found(record.to_vec()))
    }

    /// Applies the swap, or says what is there instead.
    pub fn swap(&mut self, swap: &Swap) -> Result<(), Option<Vec<u8>>> {
        let present = self.get(swap.handle);
        let fits = match (present.and_then(Stamp::of), swap.expected) {
            (None, None) => true,
            (Some(present), Some(expected)) => {
                present == expected
                    || self.bug == Some(StoreBug::BlindOverwrite)
                    || self.bug == Some(StoreBug::VersionOnly) && version(present) == version(expected)
            }
            (None, Some(_)) => self.bug == Some(StoreBug::UpsertAfterRemoval),
            (Some(_), None) => false,
        };
        if !fits {
            let unnoticed = self.bug == Some(StoreBug::RefusalUnnoticed);
            return if unnoticed { Ok(()) } else { Err(present.map(<[u8]>::to_vec)) };
        }
        match &swap.new {
            Some(record) => drop(self.records.insert(swap.handle, record.as_slice().into())),
            None => drop(self.records.remove(&swap.handle)),
        }
        Ok(())
    }
}

fn version(stamp: Stamp) -> [u8; 8] {
    *stamp.as_bytes().first_chunk().expect("a stamp begins with the version")
}

/// The index of principals of a store under test, left to an engine.
#[macro_export]
macro_rules! index_of {
    ($self:ident => $engine:expr) => {
        async fn enter(&$self, entry: &coatroom_core::Entry) -> Result<coatroom_store::Entered, coatroom_store::NotListed> {
            coatroom_store::Engine::enter($engine, entry)
        }

        async fn sessions(&$self, principal: &str) -> Result<Vec<coatroom_core::Handle>, coatroom_store::Unavailable> {
            coatroom_store::Engine::sessions($engine, principal)
        }

        async fn leave(
            &$self,
            principal: &str,
            handle: coatroom_core::Handle,
        ) -> Result<(), coatroom_store::Unavailable> {
            coatroom_store::Engine::leave($engine, principal, handle)
        }

        async fn bar(&$self, principal: &str, now: coatroom_core::Timestamp) -> Result<coatroom_core::Timestamp, coatroom_store::Unavailable> {
            coatroom_store::Engine::bar($engine, principal, now)
        }

        async fn scan(
            &$self,
            from: Option<coatroom_store::Cursor>,
            max: usize,
        ) -> Result<(Vec<coatroom_core::Handle>, Option<coatroom_store::Cursor>), coatroom_store::Unavailable> {
            coatroom_store::Engine::scan($engine, from, max)
        }

        async fn sweep(
            &$self,
            now: coatroom_core::Timestamp,
            max: usize,
        ) -> Result<usize, coatroom_store::Unavailable> {
            coatroom_store::Engine::sweep($engine, now, max)
        }
    };
}
