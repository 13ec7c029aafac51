//! The long-lived object of an application: rules, a store, a clock.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use coatroom_core::{Error, Handle, KeyRing, Kind, Place, Policy, Rules, Settings, Timestamp};
use coatroom_store::{Driver, Engine, Host, Store, System, block_on};
use coatroom_token::{LONGEST_LEEWAY, LONGEST_LIFETIME};
use rand_core::{TryCryptoRng, TryRng};

use crate::asks::Answer;
use crate::csrf::CsrfKeys;
use crate::engine::AnyEngine;
use crate::error::{Advice, Refusal};
use crate::exchange::{Exchange, Stage};
use crate::host::{AnyHost, ManualClock};
use crate::mailbox::Mailbox;
use crate::remember::{Beside, Opened, Remembered, SAFE_METHODS, restored};
use crate::settings::Config;
use crate::task::{Progress, Task};
use crate::wire::{Begun, DeviceParts, Given, Step, ms};

/// The store of sessions that all live in their cookies: nothing ever asks it for anything.
const UNUSED: &str = "memory";

/// Rules, a store and a clock. Share one between all requests.
#[derive(uniffi::Object)]
pub struct Coatroom {
    pub(crate) inner: Arc<Inner>,
    /// Given when it is asked for.
    pub(crate) number: OnceLock<i64>,
}

pub(crate) struct Inner {
    pub(crate) drivers: Drivers,
    pub(crate) csrf: CsrfKeys,
}

pub(crate) enum Drivers {
    /// Over a store of this library.
    Here(Arc<Side<AnyEngine>>),
    /// Over a store of the application.
    Away(Arc<Side<Mailbox>>),
}

/// Sessions, and the credentials of remembered logins beside them.
pub(crate) struct Side<S> {
    pub(crate) driver: Driver<S, AnyHost>,
    pub(crate) remembered: Option<Remembered<S>>,
}

impl<S> Side<S> {
    fn new(
        rules: Arc<Rules>,
        remembered: Option<Arc<Rules>>,
        host: AnyHost,
        store: S,
        announces: bool,
    ) -> Result<Arc<Self>, Refusal>
    where
        S: Store + Clone,
    {
        let beside = |rules| Remembered::new(Driver::with_host(rules, store.clone(), host.clone()));
        let remembered = remembered.map(beside);
        let driver = announcing(Driver::with_host(rules, store, host), announces)?;
        Ok(Arc::new(Self { driver, remembered }))
    }
}

/// A driver that announces the endings of logins, if asked for. They are kept for whatever lifetime and leeway issuers and
/// verifiers may have: no two settings can disagree.
// spec: FEED-5 77d0
fn announcing<S: Store>(driver: Driver<S, AnyHost>, asked: bool) -> Result<Driver<S, AnyHost>, Refusal> {
    if asked { driver.announcing(LONGEST_LIFETIME, LONGEST_LEEWAY).map_err(Refusal::config) } else { Ok(driver) }
}

impl Inner {
    fn host(&self) -> &AnyHost {
        match &self.drivers {
            Drivers::Here(side) => side.driver.host(),
            Drivers::Away(side) => side.driver.host(),
        }
    }

    fn policy(&self) -> &Policy {
        match &self.drivers {
            Drivers::Here(side) => side.driver.rules().policy(),
            Drivers::Away(side) => side.driver.rules().policy(),
        }
    }

    /// Name of the cookie of remembered logins, if there are any.
    fn remembers(&self) -> Option<&str> {
        match &self.drivers {
            Drivers::Here(side) => side.remembered.as_ref().map(|remembered| remembered.cookie.as_str()),
            Drivers::Away(side) => side.remembered.as_ref().map(|remembered| remembered.cookie.as_str()),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.host().now()
    }

    pub(crate) fn rng(&self) -> impl TryCryptoRng {
        self.host().rng()
    }
}

impl fmt::Debug for Coatroom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coatroom").field("policy", self.inner.policy()).finish_non_exhaustive()
    }
}

/// A call that concerns principals, not one exchange.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Enum)]
pub enum Call {
    /// The live sessions of a principal.
    Devices {
        /// Whose.
        principal: String,
    },
    /// Ends one session of a principal.
    Revoke {
        /// Whose.
        principal: String,
        /// Which.
        handle: String,
    },
    /// Ends all sessions of a principal, but for one if it is named, and refuses logins that are under way.
    RevokeAll {
        /// Whose.
        principal: String,
        /// Which one stays.
        but: Option<String>,
    },
    /// Ends every login there is.
    RevokeEverything,
    /// Gives a principal another name in all its sessions.
    Rename {
        /// From this.
        old: String,
        /// To this.
        new: String,
    },
}

#[uniffi::export]
impl Coatroom {
    /// Checks everything that can be checked at start. A test brings a clock of its own.
    #[uniffi::constructor(default(clock = None))]
    pub fn new(config: Config, clock: Option<Arc<ManualClock>>) -> Result<Arc<Self>, Refusal> {
        let Config { store, keys, enters_with_swap, announce, policy, remember } = config;
        let remembered = remember.map(|remember| remember.rules(&keys, policy.danger_plain_http)).transpose()?;
        let csrf = CsrfKeys::parse(&keys);
        let keys = KeyRing::parse(&keys).map_err(Refusal::config)?;
        let (place, store) = store.as_deref().map_or((Place::Store, None), |text| {
            let (place, store) = Place::parse(text);
            (place, Some(store.unwrap_or(UNUSED)))
        });
        if announce && place == Place::Cookie {
            return Err(Refusal::config("`announce` needs a place on the server: name a store, or a deny list"));
        }
        let settings = Settings { place, ..Settings::try_from(policy)? };
        let policy = Policy::try_from(settings).map_err(Refusal::config)?;
        let (rules, host) = (Rules::new(policy, keys), AnyHost::new(clock, store.is_none()));
        let drivers = match store {
            Some(store) => Drivers::Here(Side::new(rules, remembered, host, AnyEngine::open(store)?, announce)?),
            None => Drivers::Away(Side::new(rules, remembered, host, Mailbox { enters_with_swap }, announce)?),
        };
        Ok(Arc::new(Self { inner: Arc::new(Inner { drivers, csrf }), number: OnceLock::new() }))
    }

    /// Opens an exchange on the bytes of the Cookie header, in turn if asked for.
    pub fn begin(&self, cookies: &[u8], serial: bool) -> Result<Begun, Refusal> {
        let beside = self.inner.remembers().map(|_| Box::new(Beside::of(cookies)));
        let stage = match &self.inner.drivers {
            Drivers::Here(side) => {
                let driver = &side.driver;
                let session = if serial { driver.open_serial_now(cookies)? } else { driver.open_now(cookies)? };
                Stage::Open(Opened { session, beside })
            }
            Drivers::Away(side) => {
                let (side, cookies) = (Arc::clone(side), cookies.to_vec());
                Stage::Opening(Task::new(async move {
                    let driver = &side.driver;
                    let session =
                        if serial { driver.open_serial(&cookies).await? } else { driver.open(&cookies).await? };
                    Ok(Opened { session, beside })
                }))
            }
        };
        self.begun(stage)
    }

    /// As `begin`, for a request for which [`Coatroom::restores`] holds and whose cookies name [`Coatroom::remember_cookie`]:
    /// logs in whom that names. The application is asked for the roles by a [`Step::Ask`].
    pub fn begin_restoring(&self, cookies: &[u8]) -> Result<Begun, Refusal> {
        let beside = Box::new(Beside::of(cookies));
        let stage = match &self.inner.drivers {
            Drivers::Here(side) => Stage::Opening(Task::new(restored(Arc::clone(side), beside))),
            Drivers::Away(side) => Stage::Opening(Task::new(restored(Arc::clone(side), beside))),
        };
        self.begun(stage)
    }

    /// Whether a remembered login may begin in an exchange for this method: not where a forged request would change something.
    // spec: REM-3 3625
    pub fn restores(&self, method: &str) -> bool {
        self.inner.remembers().is_some() && SAFE_METHODS.contains(&method)
    }

    /// Name of the cookie of remembered logins; none if none are.
    pub fn remember_cookie(&self) -> Option<String> {
        self.inner.remembers().map(str::to_owned)
    }

    /// Begins a call for principals. Over a store of this library its first step is its last.
    pub fn call(&self, call: Call) -> Result<Arc<Work>, Refusal> {
        let call = call.checked()?;
        let task = match &self.inner.drivers {
            Drivers::Here(side) => {
                let side = Arc::clone(side);
                Task::new(async move { block_on(run(&*side, call)) })
            }
            Drivers::Away(side) => {
                let side = Arc::clone(side);
                Task::new(async move { run(&*side, call).await })
            }
        };
        Ok(Arc::new(Work(Mutex::new(Some(task)))))
    }

    /// Whether an exchange for this method takes its turn.
    pub fn takes_turns(&self, method: &str) -> bool {
        self.inner.policy().takes_turns(method)
    }

    /// The names of the login and the visitor cookie, in this order.
    pub fn cookie_names(&self) -> Vec<String> {
        [Kind::Login, Kind::Visitor].map(|kind| self.inner.policy().cookie_name(kind).to_owned()).into()
    }

    /// Whether opening and closing an exchange may wait for a disk or a network.
    pub fn waits(&self) -> bool {
        match &self.inner.drivers {
            Drivers::Here(side) => !matches!(side.driver.store(), AnyEngine::Memory(_)),
            Drivers::Away(_) => false,
        }
    }

    /// What an operator ought to know of the store as it is set up.
    pub fn warnings(&self) -> Result<Vec<String>, Refusal> {
        match &self.inner.drivers {
            Drivers::Here(side) => side.driver.store().warnings().map_err(Refusal::unavailable),
            Drivers::Away(_) => Ok(Vec::new()),
        }
    }

    /// Makes or brings up to date what the store keeps records in.
    pub fn migrate(&self) -> Result<(), Refusal> {
        match &self.inner.drivers {
            Drivers::Here(side) => side.driver.store().migrate().map_err(Refusal::unavailable),
            Drivers::Away(_) => Ok(()),
        }
    }

    /// Removes at most about so many records that are garbage now, and says how many.
    pub fn sweep(&self, max: u32) -> Result<i64, Refusal> {
        let Drivers::Here(side) = &self.inner.drivers else { return Ok(0) };
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let swept = Engine::sweep(side.driver.store(), self.inner.now(), max).map_err(Refusal::unavailable)?;
        Ok(i64::try_from(swept).unwrap_or(i64::MAX))
    }

    /// The reading of the clock that exchanges go by.
    pub fn now_ms(&self) -> i64 {
        ms(self.inner.now())
    }
}

impl Coatroom {
    fn begun(&self, stage: Stage) -> Result<Begun, Refusal> {
        let exchange = Exchange::new(Arc::clone(&self.inner), stage);
        let step = exchange.begin()?;
        Ok(Begun { exchange, step })
    }
}

/// A call for principals that is under way.
#[derive(uniffi::Object)]
pub struct Work(Mutex<Option<Task<Result<Given, Refusal>>>>);

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").finish_non_exhaustive()
    }
}

#[uniffi::export]
impl Work {
    /// Runs to the end, or to the first question to the application's store.
    pub fn start(&self) -> Result<Step, Refusal> {
        self.run(Task::go_on)
    }

    /// The answer of the application's store to [`Step::Ask`].
    pub fn answer(&self, answer: Answer) -> Result<Step, Refusal> {
        self.run(|task| task.answer(answer))
    }
}

type Went = Result<Progress<Result<Given, Refusal>>, Refusal>;

impl Work {
    fn run(&self, step: impl FnOnce(&mut Task<Result<Given, Refusal>>) -> Went) -> Result<Step, Refusal> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut task = lock().take().ok_or(Error::WrongStage)?;
        match step(&mut task) {
            Ok(Progress::Over(given)) => Ok(Step::Given { given: given? }),
            Ok(Progress::Asks(ask)) => {
                *lock() = Some(task);
                Ok(Step::Ask { ask })
            }
            Err(misfit) => {
                *lock() = Some(task);
                Err(misfit)
            }
        }
    }
}

/// A call whose handles are handles.
enum Checked {
    Devices(String),
    Revoke(String, Handle),
    RevokeAll(String, Option<Handle>),
    RevokeEverything,
    Rename(String, String),
}

impl Call {
    fn checked(self) -> Result<Checked, Refusal> {
        let parse = |handle: &str| Handle::parse(handle).ok_or(Refusal::from(Error::NotTheirs));
        Ok(match self {
            Self::Devices { principal } => Checked::Devices(principal),
            Self::Revoke { principal, handle } => Checked::Revoke(principal, parse(&handle)?),
            Self::RevokeAll { principal, but } => {
                Checked::RevokeAll(principal, but.map(|but| parse(&but)).transpose()?)
            }
            Self::RevokeEverything => Checked::RevokeEverything,
            // The index of credentials would take the empty name, behind its prefix.
            Self::Rename { new, .. } if new.is_empty() => return Err(Error::BadPrincipal.into()),
            Self::Rename { old, new } => Checked::Rename(old, new),
        })
    }
}

async fn run<S: Store>(side: &Side<S>, call: Checked) -> Result<Given, Refusal> {
    let Side { driver, remembered } = side;
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    Ok(match call {
        Checked::Devices(principal) => {
            let devices = driver.devices(&principal).await?;
            Given::Devices { devices: devices.into_iter().map(DeviceParts::from).collect() }
        }
        Checked::Revoke(principal, handle) => Given::Ended { was_live: driver.revoke(&principal, handle).await? },
        Checked::RevokeAll(principal, but) => {
            if let Some(remembered) = remembered {
                remembered.revoke(&principal).await?;
            }
            let revoked = match but {
                Some(but) => driver.revoke_others(&principal, but).await?,
                None => driver.revoke_all(&principal).await?,
            };
            Given::Revoked { ended: count(revoked.ended), moment_ms: ms(revoked.moment) }
        }
        Checked::RevokeEverything => {
            // Credentials first, for they log in: in one store with the sessions, these end with them.
            let before = match remembered {
                Some(remembered) => remembered.revoke_everything().await?,
                None => 0,
            };
            Given::Count { count: count(before.saturating_add(driver.revoke_everything().await?)) }
        }
        Checked::Rename(old, new) => {
            if let Some(remembered) = remembered {
                remembered.rename(&old, &new).await?;
            }
            Given::Count { count: count(driver.rename_principal(&old, &new).await?) }
        }
    })
}

/// 32 fresh random bytes for a key ring.
#[uniffi::export]
pub fn keygen() -> Result<Vec<u8>, Refusal> {
    let mut bytes = vec![0; 32];
    System::default().rng().try_fill_bytes(&mut bytes).map_err(|_| {
        Refusal::new("no-randomness", "the system gave no random bytes: try again shortly", Advice::RetryLater, 503)
    })?;
    Ok(bytes)
}
