//! One exchange, as the Python face holds it.
//!
//! No lock is held while Python code runs or while a store is asked: whoever uses the exchange in the meantime gets
//! "wrong stage", never a deadlock.

use core::sync::atomic::{AtomicBool, Ordering};
use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coatroom_core::staged::{Staged, Waiting};
use coatroom_core::{Client, Closing, Denied, Error, Opening, Reply, Rotation, Session};
use coatroom_store::Host;
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PyList};

use rand_core::TryRng;

use crate::convert::{decode, encode};
use crate::csrf;
use crate::error::{from_core, from_denied, from_failure};
use crate::headers::{is_named, join, latin};
use crate::people::{self, DeviceParts};
use crate::sessions::AnyDriver;
use crate::told::{EventParts, TraceParts, event_parts, trace_parts};

/// One request's exchange: opened, used by the handler, closed once.
#[pyclass(frozen, module = "coatroom._native")]
pub(crate) struct Exchange {
    driver: Arc<AnyDriver>,
    slot: Slot,
    /// Since when it waits for the turn of another, by the ticks of the host.
    waits_since: Mutex<Option<Duration>>,
    calls_back: AtomicBool,
}

/// Where an exchange is kept, and where work that is done for it elsewhere leaves what became of it.
#[derive(Clone)]
pub(crate) struct Slot(Arc<Mutex<Staged>>);

impl Slot {
    /// Runs `work` under the lock. Nothing in it may touch Python: making an object, an exception included, may run any code.
    pub(crate) fn locked<T>(&self, work: impl FnOnce(&mut Staged) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Exchange {
    pub(crate) fn new(driver: Arc<AnyDriver>, staged: impl Into<Staged>) -> Self {
        let slot = Slot(Arc::new(Mutex::new(staged.into())));
        Self { driver, slot, waits_since: Mutex::default(), calls_back: AtomicBool::new(false) }
    }

    pub(crate) fn slot(&self) -> Slot {
        self.slot.clone()
    }

    /// Puts back what became of an exchange elsewhere.
    pub(crate) fn put(&self, next: Staged) {
        self.locked(|staged| *staged = next);
    }

    /// Closes the exchange as far as that takes no waiting; whether that was all.
    pub(crate) fn starts_closing(&self, py: Python<'_>) -> PyResult<bool> {
        let session = self.take_session(py)?;
        let closing = self.driver.finish_without_waiting(self.driver.start_closing(session));
        let is_over = matches!(closing, Closing::Done(_) | Closing::Failed(_));
        self.locked(|staged| *staged = closing.into());
        Ok(is_over)
    }

    pub(crate) fn driver(&self) -> &AnyDriver {
        &self.driver
    }

    /// Whether closing it may call functions of the application.
    pub(crate) fn calls_back(&self) -> bool {
        self.calls_back.load(Ordering::Relaxed)
    }

    /// What is left to wait for: "turn" for the turn of another, "store" for the store; nothing once open or over.
    fn waits(&self) -> Option<&'static str> {
        self.locked(|staged| match staged.waiting() {
            Waiting::Turn(_) => Some("turn"),
            Waiting::Load(_) | Waiting::Swap | Waiting::Entry => Some("store"),
            Waiting::Handler | Waiting::Done | Waiting::Failed | Waiting::Away => None,
        })
    }

    fn waits_since(&self) -> Duration {
        let mut since = self.waits_since.lock().unwrap_or_else(PoisonError::into_inner);
        *since.get_or_insert_with(|| self.driver.host().ticks())
    }

    /// As [`Exchange::waits`]; raises if the opening failed.
    fn opening(&self, py: Python<'_>) -> PyResult<Option<&'static str>> {
        match self.locked(|staged| (staged.failure().ok().cloned(), staged.waiting())) {
            (Some(failure), _) => Err(from_failure(py, &failure)),
            // Whoever took it out did not come back.
            (None, Waiting::Away) => Err(from_core(py, Error::Unavailable)),
            (None, _) => Ok(self.waits()),
        }
    }

    fn with<T>(&self, py: Python<'_>, work: impl FnOnce(&mut Session) -> Result<T, Error>) -> PyResult<T> {
        let result = self.locked(|staged| staged.session().and_then(work));
        result.map_err(|error| from_core(py, error))
    }

    pub(crate) fn locked<T>(&self, work: impl FnOnce(&mut Staged) -> T) -> T {
        self.slot.locked(work)
    }

    /// Runs one step without the lock and without the interpreter, then puts back what became of it.
    fn advance(&self, py: Python<'_>, step: impl Send + FnOnce(&AnyDriver) -> Staged) {
        let next = py.detach(|| step(&self.driver));
        self.locked(|staged| *staged = next);
    }

    /// Whether the response depends on the session, once the exchange is over; None when it is not. Raises if it failed.
    pub(crate) fn outcome(&self, py: Python<'_>) -> PyResult<Option<bool>> {
        let (touched, failure) = self.locked(|staged| {
            (staged.reply().ok().map(Reply::is_touched), staged.failure().ok().map(|failure| failure.error))
        });
        failure.map_or(Ok(touched), |error| Err(from_core(py, error)))
    }

    /// The name of whoever is logged in.
    fn name(&self, py: Python<'_>) -> PyResult<String> {
        self.principal_name(py)?.ok_or_else(|| from_denied(py, Denied::NotLoggedIn))
    }

    pub(crate) fn take_session(&self, py: Python<'_>) -> PyResult<Session> {
        self.locked(Staged::take_session).map_err(|error| from_core(py, error))
    }
}

#[pymethods]
impl Exchange {
    /// The value of a key; raises `KeyError`.
    fn get(&self, py: Python<'_>, key: &str) -> PyResult<Py<PyAny>> {
        let bytes = self.with(py, |session| Ok(session.get_encoded(key).map(Cow::into_owned)))?;
        match bytes {
            Some(bytes) => decode(py, &bytes),
            None => Err(PyKeyError::new_err(key.to_owned())),
        }
    }

    /// Whether there is such a key.
    fn contains(&self, py: Python<'_>, key: &str) -> PyResult<bool> {
        self.with(py, |session| Ok(session.get_encoded(key).is_some()))
    }

    /// All keys.
    fn keys(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.with(py, |session| Ok(session.keys()))
    }

    /// Sets a key.
    fn set(&self, py: Python<'_>, key: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let value = encode(value)?;
        self.with(py, |session| session.set_encoded(key, value))
    }

    /// Sets a key whose value was handed out before, if the object has changed since.
    // spec: WRITE-15 bde4
    fn set_if_changed(&self, py: Python<'_>, key: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let value = encode(value)?;
        self.with(py, |session| {
            let same = session.get_encoded(key).is_some_and(|present| *present == *value.as_bytes());
            if same { Ok(()) } else { session.set_encoded(key, value) }
        })
    }

    /// Removes a key; raises `KeyError`.
    fn remove(&self, py: Python<'_>, key: &str) -> PyResult<()> {
        let found = self.with(py, |session| {
            let found = session.get_encoded(key).is_some();
            if found {
                session.remove(key);
            }
            Ok(found)
        })?;
        if found { Ok(()) } else { Err(PyKeyError::new_err(key.to_owned())) }
    }

    /// Removes all keys.
    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |session| {
            session.clear();
            Ok(())
        })
    }

    /// Adds to an integer.
    fn add(&self, py: Python<'_>, key: &str, n: i64) -> PyResult<i64> {
        self.with(py, |session| session.add(key, n))
    }

    /// Replaces a value by a function of it, which runs again after a conflict.
    fn update(&self, py: Python<'_>, key: &str, function: Py<PyAny>) -> PyResult<()> {
        let raised = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&raised);
        let run = move |present: Option<&[u8]>| {
            Python::attach(|py| {
                let call = || {
                    let present = present.map(|bytes| decode(py, bytes)).transpose()?;
                    encode(&function.bind(py).call1((present,))?)
                };
                call().map(Some).map_err(|error| {
                    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    Error::UpdateRefused
                })
            })
        };
        self.calls_back.store(true, Ordering::Relaxed);
        // The function may come back to this exchange: it is taken out meanwhile.
        let mut session = self.take_session(py)?;
        let updated = session.update(key, Box::new(run));
        self.locked(|staged| *staged = Opening::Ready(session).into());
        let raised = raised.lock().unwrap_or_else(PoisonError::into_inner).take();
        updated.map_err(|error| raised.unwrap_or_else(|| from_core(py, error)))
    }

    /// Makes this exchange strict.
    fn strict(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |session| {
            session.strict();
            Ok(())
        })
    }

    /// Logs a principal in.
    fn login(&self, py: Python<'_>, principal: &str, roles: &Bound<'_, PyList>, level: u8) -> PyResult<()> {
        let roles: Vec<PyBackedStr> = roles.extract()?;
        self.with(py, |session| session.login(principal, &roles, level))
    }

    /// Changes the level of authentication.
    fn elevate(&self, py: Python<'_>, level: u8) -> PyResult<()> {
        self.with(py, |session| session.elevate(level))
    }

    /// Ends the session.
    fn logout(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |session| {
            session.logout();
            Ok(())
        })
    }

    /// Asks for a new id: "rotated", "pending" or "postponed".
    fn rotate(&self, py: Python<'_>) -> PyResult<&'static str> {
        self.with(py, |session| {
            Ok(match session.rotate() {
                Rotation::Rotated => "rotated",
                Rotation::Pending => "pending",
                Rotation::Postponed => "postponed",
            })
        })
    }

    /// Notes what a list of devices shows of this client.
    fn set_client(&self, py: Python<'_>, label: String, address: String) -> PyResult<()> {
        self.with(py, |session| session.set_client(Client { label, address }))
    }

    /// The live sessions of whoever is logged in; raises when nobody is.
    fn devices(&self, py: Python<'_>) -> PyResult<Vec<DeviceParts>> {
        people::devices(py, &self.driver, &self.name(py)?)
    }

    /// Ends one session of whoever is logged in; whether it was live.
    fn revoke(&self, py: Python<'_>, handle: &str) -> PyResult<bool> {
        people::revoke(py, &self.driver, &self.name(py)?, handle)
    }

    /// Ends all sessions of whoever is logged in, but for this one if it is to stay; how many. A login of this exchange
    /// that follows is not one of those that the revocation refuses.
    fn revoke_all(&self, py: Python<'_>, but_this: bool) -> PyResult<usize> {
        let name = self.name(py)?;
        let but = if but_this { self.with(py, |session| Ok(session.handle()))? } else { None };
        let revoked = people::revoke_all(py, &self.driver, &name, but)?;
        self.with(py, |session| {
            session.revoked_all(revoked.moment);
            Ok(())
        })?;
        Ok(revoked.ended)
    }

    /// The principal's name.
    fn principal_name(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.with(py, |session| Ok(session.principal().map(|principal| principal.name().to_owned())))
    }

    /// The principal's name, roles and level.
    fn principal(&self, py: Python<'_>) -> PyResult<Option<(String, Vec<String>, u8)>> {
        self.with(py, |session| {
            let parts = |principal: &coatroom_core::Principal| {
                (principal.name().to_owned(), principal.roles().map(str::to_owned).collect(), principal.level())
            };
            Ok(session.principal().map(parts))
        })
    }

    /// Raises unless somebody with this role is logged in.
    fn require_role(&self, py: Python<'_>, role: &str) -> PyResult<()> {
        self.with(py, |session| Ok(session.require_role(role)))?.map_err(|denied| from_denied(py, denied))
    }

    /// Raises unless whoever is logged in proved who they are no more seconds ago than this.
    fn require_fresh(&self, py: Python<'_>, seconds: f64) -> PyResult<()> {
        let within = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
        let now = self.driver.host().now();
        self.with(py, |session| Ok(session.require_fresh(within, now)))?.map_err(|denied| from_denied(py, denied))
    }

    /// Raises unless somebody with this level of authentication or a higher one is logged in.
    fn require_level(&self, py: Python<'_>, level: u8) -> PyResult<()> {
        self.with(py, |session| Ok(session.require_level(level)))?.map_err(|denied| from_denied(py, denied))
    }

    /// A fresh copy of the token against forged requests: of whoever is logged in, or of the visitor with this value.
    fn csrf_token<'py>(&self, py: Python<'py>, visitor: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let bound = self.with(py, |session| csrf::bound(session, visitor).ok_or(Error::WrongStage))?;
        let host = self.driver.host();
        let mut mask = [0; 32];
        let drawn = host.rng().try_fill_bytes(&mut mask);
        drawn.map_err(|_| from_core(py, Error::NoRandomness))?;
        Ok(PyBytes::new(py, &host.csrf().token(&bound, mask)))
    }

    /// Whether a token is that of whoever is logged in, or of the visitor with this value.
    fn csrf_checks(&self, py: Python<'_>, visitor: &[u8], token: &[u8]) -> PyResult<bool> {
        let bound = self.with(py, |session| Ok(csrf::bound(session, visitor)))?;
        Ok(bound.is_some_and(|bound| self.driver.host().csrf().checks(&bound, token)))
    }

    /// What was noticed, once the exchange is over: name, handle, cause.
    fn events(&self) -> Vec<EventParts> {
        let events = self.locked(|staged| match (staged.reply(), staged.failure()) {
            (Ok(reply), _) => reply.trace().events.clone(),
            (_, Ok(failure)) => failure.events.clone(),
            _ => Vec::new(),
        });
        event_parts(&events)
    }

    /// The response head is gone.
    fn head_sent(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |session| {
            session.head_sent();
            Ok(())
        })
    }

    /// Forgets every change asked for.
    fn discard(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |session| {
            session.discard();
            Ok(())
        })
    }

    /// What the opening waits for: "turn" for the turn of another, to be looked at again after a pause; "store", to be taken on
    /// another thread; None once it is open. Raises if it failed.
    fn opens(&self, py: Python<'_>) -> PyResult<Option<&'static str>> {
        self.opening(py)
    }

    /// Looks again, after a pause, whether the turn of another is over. As `opens`.
    fn look(&self, py: Python<'_>) -> PyResult<Option<&'static str>> {
        let opening = self.locked(Staged::take_opening).map_err(|error| from_core(py, error))?;
        let since = self.waits_since();
        self.advance(py, |driver| driver.look_for_turn(opening, since).into());
        self.opening(py)
    }

    /// Takes the turn on this thread, which may wait for the store. As `opens`.
    fn take(&self, py: Python<'_>) -> PyResult<Option<&'static str>> {
        let opening = self.locked(Staged::take_opening).map_err(|error| from_core(py, error))?;
        self.advance(py, |driver| driver.take_now(opening).into());
        self.opening(py)
    }

    /// Whether the closing waits for the turn of another.
    fn waits_for_turn(&self) -> bool {
        self.waits() == Some("turn")
    }

    /// Looks again, after a pause, whether the turn of another is over. Whether the response depends
    /// on the session, if it was; raises when that was refused.
    fn look_again(&self, py: Python<'_>) -> PyResult<Option<bool>> {
        let closing = self.locked(Staged::take_closing).map_err(|error| from_core(py, error))?;
        let since = self.waits_since();
        self.advance(py, |driver| driver.look_again(closing, since).into());
        self.outcome(py)
    }

    /// Whether the response depends on the session, once what was left of the closing is done. Raises when it was refused.
    fn closed(&self, py: Python<'_>) -> PyResult<bool> {
        // Whoever took it out and did not come back may have written.
        self.outcome(py)?.ok_or_else(|| from_core(py, Error::Unknown))
    }

    /// Closes the exchange on this thread, which may wait. Whether the response depends on the session. Raises when it was
    /// refused.
    fn close(&self, py: Python<'_>) -> PyResult<Option<bool>> {
        let session = self.take_session(py)?;
        self.advance(py, |driver| finished(driver, driver.start_closing(session)));
        self.outcome(py)
    }

    /// Closes the exchange as far as that takes no waiting. As `close`, and None if that was not all: then `finish` has to
    /// follow on a thread that may wait, or `look_again` where it waits for a turn. In the end `closed` tells how it went.
    pub(crate) fn close_without_waiting(&self, py: Python<'_>) -> PyResult<Option<bool>> {
        let session = self.take_session(py)?;
        *self.waits_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.advance(py, |driver| driver.finish_without_waiting(driver.start_closing(session)).into());
        self.outcome(py)
    }

    /// Goes on with a closing on this thread, which may wait.
    fn finish(&self, py: Python<'_>) -> PyResult<Option<bool>> {
        let closing = self.locked(Staged::take_closing).map_err(|error| from_core(py, error))?;
        self.advance(py, |driver| finished(driver, closing));
        self.outcome(py)
    }

    /// After closing: the value that Vary must have and the one that Cache-Control must have, given those that the response
    /// has and None where it may stay, and values for Set-Cookie headers.
    #[pyo3(signature = (vary = None, cache_control = None))]
    fn head(
        &self,
        vary: Option<&str>,
        cache_control: Option<&str>,
    ) -> (Option<String>, Option<&'static str>, Vec<String>) {
        self.locked(|staged| match staged.reply() {
            Ok(reply) => {
                let cookies = reply.set_cookies().map(str::to_owned).collect();
                (reply.vary(vary), reply.cache_control(cache_control), cookies)
            }
            Err(_) => (None, None, Vec::new()),
        })
    }

    /// The same for the headers of an ASGI response, pairs of bytes: all of them but for Vary, with the Cache-Control that
    /// is right; the value that Vary must have, if any; values for Set-Cookie headers.
    // spec: HTTP-1 99c4
    fn asgi_head<'py>(
        &self,
        py: Python<'py>,
        headers: &Bound<'py, PyAny>,
    ) -> PyResult<(Bound<'py, PyList>, Option<String>, Vec<String>)> {
        let kept = PyList::empty(py);
        let (mut vary, mut cache_control) = (None, None);
        for header in headers.try_iter()? {
            let header = header?;
            let name = header.get_item(0)?;
            if is_named(&name, b"vary") {
                join(&mut vary, &header.get_item(1)?)?;
            } else if is_named(&name, b"cache-control") {
                join(&mut cache_control, &header.get_item(1)?)?;
            } else {
                kept.append(header)?;
            }
        }
        let (new_vary, new_cache_control, cookies) = self.head(vary.as_deref(), cache_control.as_deref());
        if let Some(value) = new_cache_control.map(str::to_owned).or(cache_control) {
            kept.append((PyBytes::new(py, b"cache-control"), PyBytes::new(py, &latin(&value))))?;
        }
        Ok((kept, new_vary.or(vary), cookies))
    }

    /// The headers of an ASGI response with all that [`Exchange::asgi_head`] says, where ids travel in cookies.
    // spec: HTTP-1 99c4
    fn asgi_headers<'py>(&self, py: Python<'py>, headers: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let (kept, vary, cookies) = self.asgi_head(py, headers)?;
        for (name, value) in
            vary.map(|value| ("vary", value)).into_iter().chain(cookies.into_iter().map(|line| ("set-cookie", line)))
        {
            kept.append((PyBytes::new(py, name.as_bytes()), PyBytes::new(py, &latin(&value))))?;
        }
        Ok(kept)
    }

    /// State, generation, handle, what was or would be written, store calls, seconds left (idle, absolute), events.
    fn trace(&self, py: Python<'_>) -> PyResult<TraceParts> {
        let trace = self.locked(|staged| match staged.reply() {
            Ok(reply) => Ok(reply.trace().clone()),
            Err(_) => staged.session().map(|session| session.trace()),
        });
        trace.map(|trace| trace_parts(&trace)).map_err(|error| from_core(py, error))
    }

    /// The canonical encoding of an object, for tests and tools.
    #[staticmethod]
    fn encode<'py>(py: Python<'py>, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, encode(value)?.as_bytes()))
    }
}

fn finished(driver: &AnyDriver, closing: Closing) -> Staged {
    match driver.finish_now(closing) {
        Ok(reply) => Closing::Done(reply).into(),
        Err(refused) => Closing::Failed(refused.0).into(),
    }
}
