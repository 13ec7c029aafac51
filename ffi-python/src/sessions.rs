//! The long-lived object of an application: rules, an engine, a clock.

use core::time::Duration;
use std::sync::Arc;

use coatroom_core::{
    Beyond, Carry, Concurrency, CookieSettings, KeyRing, Kind, Limit, Opening, Place, Policy, Reuse, Rules, SameSite,
    Settings,
};
use coatroom_store::{Driver, Engine, Host, Store, System, block_on};
use coatroom_token::{LONGEST_LEEWAY, LONGEST_LIFETIME};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyStringMethods};
use rand_core::TryRng;

use crate::csrf::CsrfKeys;
use crate::engine::{AnyEngine, FarDriver};
use crate::error::{config, from_refused, raise};
use crate::exchange::Exchange;
use crate::host::{Clock, PythonHost};
use crate::inspect::{self, Row};
use crate::own::{LoopDriver, OnLoop, Own, Task};
use crate::people::{self, DeviceParts};
use crate::standing;

/// The store of sessions that all live in their cookies: nothing ever asks it for anything.
const UNUSED: &str = "memory";

pub(crate) type AnyDriver = Driver<AnyEngine, PythonHost>;

/// Rules, an engine and a clock.
#[pyclass(frozen, module = "coatroom._native")]
pub(crate) struct Sessions {
    driver: Arc<AnyDriver>,
    /// The same for event loops, if the store is behind a network.
    far: Option<Arc<FarDriver>>,
    /// The same for event loops, if the store is an asynchronous one of the application.
    on_loop: Option<Arc<LoopDriver>>,
}

impl Sessions {
    /// The driver for event loops.
    pub(crate) fn far(&self) -> PyResult<&Arc<FarDriver>> {
        self.far.as_ref().ok_or_else(|| PyRuntimeError::new_err("this store answers at once"))
    }

    pub(crate) fn exchange(&self, opening: Opening) -> Exchange {
        Exchange::new(Arc::clone(&self.driver), opening)
    }
}

impl Sessions {
    pub(crate) const fn driver(&self) -> &Arc<AnyDriver> {
        &self.driver
    }
}

#[pymethods]
impl Sessions {
    #[new]
    #[pyo3(signature = (store, keys, settings, clock = None))]
    fn new(
        py: Python<'_>,
        store: &Bound<'_, PyAny>,
        keys: &str,
        settings: &Bound<'_, PyDict>,
        clock: Option<&Bound<'_, Clock>>,
    ) -> PyResult<Self> {
        let host = || PythonHost::new(clock.map(Bound::get), CsrfKeys::parse(keys));
        let ring = KeyRing::parse(keys).map_err(|error| config(py, &error))?;
        let address = store.cast::<PyString>().ok().map(PyStringMethods::to_cow).transpose()?;
        let (place, address) = address.as_deref().map_or((Place::Store, None), |text| {
            let (place, address) = Place::parse(text);
            (place, Some(address.unwrap_or(UNUSED)))
        });
        let announces = settings.get_item("announce")?.is_some_and(|asked| asked.is_truthy().unwrap_or(true));
        let settings = Settings { place, ..read_settings(settings)? };
        let policy = Policy::try_from(settings).map_err(|error| config(py, &error))?;
        let rules = Rules::new(policy, ring);
        let (engine, on_loop) = if let Some(address) = address {
            (AnyEngine::open(py, address)?, None)
        } else {
            let on_loop = || Arc::new(Driver::with_host(Arc::clone(&rules), OnLoop, host().on_loop()));
            let is_async = store.getattr("is_async")?.extract::<bool>()?;
            (AnyEngine::Own(Arc::new(Own::new(store.clone().unbind(), host()))), is_async.then(on_loop))
        };
        if announces && place == Place::Cookie {
            return Err(config(py, &"`announce` needs a place on the server: name a store, or a deny list"));
        }
        let far = engine.far().map(|far| announcing(py, Driver::with_host(Arc::clone(&rules), far, host()), announces));
        let driver = announcing(py, Driver::with_host(rules, engine, host()), announces)?;
        Ok(Self { driver, far: far.transpose()?, on_loop })
    }

    /// Opens an exchange on the Cookie header, in turn if asked for. Raises when the store cannot say.
    #[pyo3(signature = (cookies, serial = false))]
    fn open(&self, py: Python<'_>, cookies: &Bound<'_, PyAny>, serial: bool) -> PyResult<Exchange> {
        let driver = &self.driver;
        let open = |bytes: &[u8]| if serial { driver.open_serial_now(bytes) } else { driver.open_now(bytes) };
        let opened =
            with_bytes(cookies, |bytes| if bytes.is_empty() { open(bytes) } else { py.detach(|| open(bytes)) })?;
        let session = opened.map_err(|refused| from_refused(py, &refused))?;
        Ok(self.exchange(Opening::Ready(session)))
    }

    /// As `open`, on an event loop, for a store of the application that is asynchronous.
    fn opening(&self, py: Python<'_>, cookies: &Bound<'_, PyAny>, serial: bool) -> PyResult<Task> {
        let cookies = with_bytes(cookies, <[u8]>::to_vec)?;
        Ok(Task::opening(Arc::clone(&self.driver), self.on_loop(py)?, cookies, serial))
    }

    /// Closes an exchange that `opening` led to; then `closed` of the exchange says what came of it.
    fn closing(&self, py: Python<'_>, exchange: Py<Exchange>) -> PyResult<Task> {
        let on_loop = self.on_loop(py)?;
        let closing = on_loop.start_closing(exchange.get().take_session(py)?);
        Ok(Task::closing(Arc::clone(&self.driver), on_loop, exchange, closing))
    }

    /// As `open` in turn, as far as that takes no waiting: `opens` of the exchange says how to go on.
    fn open_without_waiting(&self, py: Python<'_>, cookies: &Bound<'_, PyAny>) -> PyResult<Exchange> {
        let driver = &self.driver;
        let opening = with_bytes(cookies, |bytes| py.detach(|| driver.open_serial_without_waiting(bytes)))?;
        Ok(self.exchange(opening))
    }

    /// Whether an exchange for this method takes its turn.
    fn takes_turns(&self, method: &str) -> bool {
        self.driver.rules().policy().takes_turns(method)
    }

    /// The names of the login and the visitor cookie.
    fn cookie_names(&self) -> (&str, &str) {
        let policy = self.driver.rules().policy();
        (policy.cookie_name(Kind::Login), policy.cookie_name(Kind::Visitor))
    }

    /// Whether opening and closing an exchange may wait for a network.
    fn waits(&self) -> bool {
        !Engine::is_here(self.driver.store())
    }

    /// Whether the native module asks the store by itself, without a thread for each request.
    const fn is_far(&self) -> bool {
        self.far.is_some()
    }

    /// What an operator ought to know of the store as it is set up.
    fn warnings(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        py.detach(|| self.driver.store().warnings()).map_err(|error| raise(py, "unavailable", &error.to_string(), 503))
    }

    /// Makes or brings up to date what the store keeps records in.
    fn migrate(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.driver.store().migrate()).map_err(|error| raise(py, "unavailable", &error, 503))
    }

    /// Lets in whoever `release` holds back.
    fn resume(&self) {
        self.driver.store().resume();
    }

    /// Closes what is open and holds newcomers back, before a fork.
    fn release(&self, py: Python<'_>) {
        py.detach(|| self.driver.store().release());
    }

    /// The live sessions of a principal, the one used last first.
    fn devices(&self, py: Python<'_>, principal: &str) -> PyResult<Vec<DeviceParts>> {
        people::devices(py, &self.driver, principal)
    }

    /// Ends one session of a principal; whether it was live.
    fn revoke(&self, py: Python<'_>, principal: &str, handle: &str) -> PyResult<bool> {
        people::revoke(py, &self.driver, principal, handle)
    }

    /// Ends all sessions of a principal, but for one if it is named; how many.
    #[pyo3(signature = (principal, but = None))]
    fn revoke_all(&self, py: Python<'_>, principal: &str, but: Option<&str>) -> PyResult<usize> {
        let but = but.map(|handle| people::parse(py, handle)).transpose()?;
        Ok(people::revoke_all(py, &self.driver, principal, but)?.ended)
    }

    /// Ends every login there is; how many.
    fn revoke_everything(&self, py: Python<'_>) -> PyResult<usize> {
        py.detach(|| block_on(self.driver.revoke_everything())).map_err(|refused| from_refused(py, &refused))
    }

    /// Gives a principal another name in all its sessions; in how many.
    fn rename_principal(&self, py: Python<'_>, old: &str, new: &str) -> PyResult<usize> {
        py.detach(|| block_on(self.driver.rename_principal(old, new))).map_err(|refused| from_refused(py, &refused))
    }

    /// What the settings came to, by name.
    fn policy<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        inspect::policy(py, self.driver.rules().policy())
    }

    /// What about `max` stored records are, in the store's own order, and where the next ones begin.
    fn scan(&self, py: Python<'_>, place: Option<Vec<u8>>, max: usize) -> PyResult<(Vec<Row>, Option<Vec<u8>>)> {
        inspect::scan(py, &self.driver, place, max)
    }

    /// What is stored under a handle.
    fn look_up(&self, py: Python<'_>, handle: &str) -> PyResult<Option<Row>> {
        inspect::look_up(py, &self.driver, handle)
    }

    /// How sessions stand by now: handle; `login`, `visitor` or `over`; whose it is. Nothing of what the store cannot say.
    fn standing(&self, py: Python<'_>, handles: Vec<String>) -> Vec<(String, &'static str, Option<String>)> {
        py.detach(|| standing::look(&self.driver, handles))
    }

    /// Removes at most about `max` records that are garbage by now.
    fn sweep(&self, py: Python<'_>, max: usize) -> PyResult<usize> {
        let driver = &self.driver;
        py.detach(|| Engine::sweep(driver.store(), driver.host().now(), max))
            .map_err(|error| raise(py, "unavailable", &error.to_string(), 503))
    }
}

impl Sessions {
    fn on_loop(&self, py: Python<'_>) -> PyResult<Arc<LoopDriver>> {
        self.on_loop
            .clone()
            .ok_or_else(|| raise(py, "wrong-stage", "the store of these sessions is not asynchronous", 500))
    }
}

/// The text of the store itself, without what it says of where sessions live; none if there is no store.
#[pyfunction]
pub(crate) fn plain_store(text: &str) -> Option<&str> {
    Place::parse(text).1
}

/// 32 fresh random bytes for a key ring.
#[pyfunction]
pub(crate) fn keygen(py: Python<'_>) -> PyResult<Bound<'_, PyBytes>> {
    let mut bytes = [0; 32];
    System::default()
        .rng()
        .try_fill_bytes(&mut bytes)
        .map_err(|_| raise(py, "no-randomness", "the system gave no random bytes: try again shortly", 503))?;
    Ok(PyBytes::new(py, &bytes))
}

/// The Cookie header as bytes.
pub(crate) fn with_bytes<T>(cookies: &Bound<'_, PyAny>, work: impl FnOnce(&[u8]) -> T) -> PyResult<T> {
    if let Ok(bytes) = cookies.cast::<PyBytes>() {
        return Ok(work(bytes.as_bytes()));
    }
    let text = cookies.cast::<PyString>()?.to_string_lossy();
    Ok(work(text.as_bytes()))
}

/// A driver that announces the endings of logins, if asked for. They are kept for whatever lifetime and leeway issuers and
/// verifiers may have: no two settings can disagree.
// spec: FEED-5 77d0
fn announcing<S: Store, H: Host>(py: Python<'_>, driver: Driver<S, H>, asked: bool) -> PyResult<Arc<Driver<S, H>>> {
    let driver = if asked { driver.announcing(LONGEST_LIFETIME, LONGEST_LEEWAY) } else { Ok(driver) };
    driver.map(Arc::new).map_err(|error| config(py, &error))
}

/// Settings by name. Spans come as seconds; an absent name keeps its default.
fn read_settings(given: &Bound<'_, PyDict>) -> PyResult<Settings> {
    let py = given.py();
    let mut settings = preset(py, get(given, "preset")?.as_deref())?;
    for (name, value) in given {
        let name = name.cast::<PyString>()?.to_cow()?.into_owned();
        let span = || value.extract::<f64>().and_then(|seconds| to_span(py, &name, seconds));
        let maybe = || if value.is_none() { Ok(None) } else { span().map(Some) };
        match name.as_str() {
            "preset" | "announce" => {}
            "idle" => settings.idle = maybe()?,
            "touch" => settings.touch = maybe()?,
            "absolute" => settings.absolute = span()?,
            "activation" => settings.activation = maybe()?,
            "skew" => settings.skew = span()?,
            "lease" => settings.lease = span()?,
            "rotate_every" => settings.rotate_every = maybe()?,
            "grace" => settings.grace = span()?,
            "tombstone" => settings.tombstone = span()?,
            "size" => settings.size = value.extract()?,
            "limit" => settings.limit = to_limit(py, &value)?,
            "sealed" => settings.sealed = value.extract()?,
            "carry" => settings.carry = to_carry(py, &value)?,
            "reuse" => settings = to_reuse(py, settings, value.extract()?)?,
            "concurrency" => settings.concurrency = to_concurrency(py, value.extract()?)?,
            "plain_http" => {
                if value.extract()? {
                    settings = settings.danger_plain_http();
                }
            }
            _ => set_cookie(py, &mut settings.cookies, &name, &value)?,
        }
    }
    Ok(settings)
}

fn get(given: &Bound<'_, PyDict>, name: &str) -> PyResult<Option<String>> {
    given.get_item(name)?.map(|value| value.extract()).transpose()
}

fn preset(py: Python<'_>, name: Option<&str>) -> PyResult<Settings> {
    match name {
        None => Ok(Settings::default()),
        Some("aal1") => Ok(Settings::aal1()),
        Some("aal2") => Ok(Settings::aal2()),
        Some("aal3") => Ok(Settings::aal3()),
        Some(_) => Err(config(py, &"`preset` must be `aal1`, `aal2` or `aal3`")),
    }
}

pub(crate) fn to_span(py: Python<'_>, name: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|_| config(py, &format!("`{name}` must be a span in seconds")))
}

fn to_carry(py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Carry> {
    if let Ok(word) = value.cast::<PyString>() {
        return match &*word.to_cow()? {
            "all" => Ok(Carry::All),
            "none" => Ok(Carry::Nothing),
            _ => Err(config(py, &"`carry` must be `all`, `none` or a list of keys")),
        };
    }
    value.extract().map(Carry::Keys)
}

/// A number of sessions and what gives way beyond it: ("evict-oldest", 3).
fn to_limit(py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Option<Limit>> {
    let Some((beyond, sessions)) = value.extract::<Option<(String, u32)>>()? else { return Ok(None) };
    let beyond = match &*beyond {
        "refuse" => Beyond::Refuse,
        "evict-oldest" => Beyond::EvictOldest,
        "evict-idlest" => Beyond::EvictIdlest,
        _ => return Err(config(py, &"`limit` is (\"refuse\", \"evict-oldest\" or \"evict-idlest\", a number)")),
    };
    Ok(Some(Limit { sessions, beyond }))
}

fn to_reuse(py: Python<'_>, settings: Settings, word: &str) -> PyResult<Settings> {
    match word {
        "destroy" => Ok(Settings { reuse: Reuse::Destroy, ..settings }),
        "revoke-all" => Ok(Settings { reuse: Reuse::RevokeAll, ..settings }),
        "danger-refuse-only" => Ok(settings.danger_refuse_reuse_only()),
        _ => Err(config(py, &"`reuse` must be `destroy` or `revoke-all`")),
    }
}

fn to_concurrency(py: Python<'_>, word: &str) -> PyResult<Concurrency> {
    match word {
        "merge" => Ok(Concurrency::Merge),
        "strict" => Ok(Concurrency::Strict),
        "serial" => Ok(Concurrency::Serial),
        _ => Err(config(py, &"`concurrency` must be `merge`, `strict` or `serial`")),
    }
}

fn set_cookie(py: Python<'_>, cookies: &mut CookieSettings, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    match name {
        "login_cookie" => cookies.login = value.extract()?,
        "visitor_cookie" => cookies.visitor = value.extract()?,
        "path" => cookies.path = value.extract()?,
        "domain" => cookies.domain = value.extract()?,
        "max_age" if value.is_none() => cookies.max_age = None,
        "max_age" => cookies.max_age = Some(to_span(py, name, value.extract()?)?),
        "same_site" => {
            cookies.same_site = match value.extract::<String>()?.to_ascii_lowercase().as_str() {
                "lax" => SameSite::Lax,
                "strict" => SameSite::Strict,
                "none" => SameSite::None,
                _ => return Err(config(py, &"`same_site` must be `lax`, `strict` or `none`")),
            }
        }
        _ => return Err(config(py, &format!("there is no setting `{name}`"))),
    }
    Ok(())
}
