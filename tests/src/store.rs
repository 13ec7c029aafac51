//! A store in memory that speaks exactly the values of the core: load, and compare-and-swap on the stamp.

use std::collections::BTreeMap;
use std::sync::Arc;

use coatroom_core::{Handle, Loaded, Stamp, Swap};

/// A defect of a store, planted to show that the checkers find it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum StoreBug {
    /// A swap overwrites whatever is there.
    BlindOverwrite,
    /// A swap of a record that was removed in between puts it back.
    UpsertAfterRemoval,
}

impl StoreBug {
    pub const ALL: [Self; 2] = [Self::BlindOverwrite, Self::UpsertAfterRemoval];
}

/// Records by handle.
#[derive(Clone, Debug, Default)]
pub struct Store {
    pub records: BTreeMap<Handle, Arc<[u8]>>,
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
            (Some(present), Some(expected)) => self.bug == Some(StoreBug::BlindOverwrite) || present == expected,
            (None, Some(_)) => self.bug == Some(StoreBug::UpsertAfterRemoval),
            (Some(_), None) => false,
        };
        if !fits {
            return Err(present.map(<[u8]>::to_vec));
        }
        match &swap.new {
            Some(record) => drop(self.records.insert(swap.handle, record.as_slice().into())),
            None => drop(self.records.remove(&swap.handle)),
        }
        Ok(())
    }
}
