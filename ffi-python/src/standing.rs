//! How a session stands by now, for whoever outlives the request that opened it.

use std::sync::{Arc, Mutex, PoisonError};

use coatroom_core::{Handle, Held, Loaded, Rules};
use coatroom_store::{Engine, Host, Store};
use pyo3::prelude::*;

use crate::engine::FarDriver;
use crate::sessions::AnyDriver;

/// Handle; `login`, `visitor` or `over`; whose it is. No entry for what the store could not say.
type Standing = (String, &'static str, Option<String>);

/// The answers of a look that is under way; none until it is over.
#[derive(Clone, Default)]
#[pyclass(frozen, module = "coatroom._native")]
pub(crate) struct Looked(Arc<Mutex<Vec<Standing>>>);

impl Looked {
    pub(crate) fn put(&self, answers: Vec<Standing>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = answers;
    }
}

#[pymethods]
impl Looked {
    /// The answers, once.
    fn take(&self) -> Vec<Standing> {
        core::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Asks a far store.
pub(crate) async fn ask(driver: &FarDriver, handles: Vec<String>) -> Vec<Standing> {
    let mut answers = Vec::with_capacity(handles.len());
    for handle in parsed(handles) {
        let loaded = driver.store().load(handle).await;
        answers.extend(standing(driver.rules(), driver.host(), handle, loaded));
    }
    answers
}

/// Asks on this thread.
pub(crate) fn look(driver: &AnyDriver, handles: Vec<String>) -> Vec<Standing> {
    let here = |handle| standing(driver.rules(), driver.host(), handle, Engine::load(driver.store(), handle));
    parsed(handles).filter_map(here).collect()
}

fn parsed(handles: Vec<String>) -> impl Iterator<Item = Handle> {
    handles.into_iter().filter_map(|handle| Handle::parse(&handle))
}

fn standing(rules: &Rules, host: &impl Host, handle: Handle, loaded: Loaded) -> Option<Standing> {
    let (kind, principal) = match loaded {
        Loaded::Unavailable => return None,
        Loaded::Absent => ("over", None),
        Loaded::Found(record) => match rules.describe(handle, record, host.now()) {
            Held::Login(device) => ("login", Some(device.principal)),
            Held::Visitor => ("visitor", None),
            Held::Expired(_) | Held::Ended(..) => ("over", None),
            // A newer build may have written it.
            Held::Unreadable => return None,
        },
    };
    Some((handle.to_string(), kind, principal))
}
