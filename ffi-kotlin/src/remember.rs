//! Remembered logins: a credential of its own beside the session, which outlives it and is replaced by being used (decision
//! 0015). The same names, keys and cookie as in Python, so that one service takes what another gave.

use core::time::Duration;
use std::sync::Arc;

use coatroom_core::{
    CookieSettings, Denied, Error, Event, Held, KeyRing, Kind, Loaded, Policy, Reply, Reuse, Rules, Session, Settings,
};
use coatroom_store::{Driver, Host, Refused, Store, Unavailable, block_on};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::asks::Ask;
use crate::coatroom::Side;
use crate::csrf;
use crate::error::{Advice, Refusal};
use crate::host::AnyHost;
use crate::task::ask;
use crate::wire::{Noticed, noticed};

/// Stands before names in the index of principals, so that credentials are neither listed nor counted as sessions.
const PREFIX: &str = "remember\u{1f}";
pub(crate) const SAFE_METHODS: [&str; 4] = ["GET", "HEAD", "OPTIONS", "TRACE"];
const LONGEST: Duration = Duration::from_hours(400 * 24);

/// How logins are remembered.
#[derive(Clone, Debug, uniffi::Record)]
pub struct Remember {
    /// How long after the login with a password; no use prolongs it.
    pub span_ms: i64,
    /// Name of its cookie, to which the prefix is added.
    pub cookie: String,
}

impl Remember {
    // spec: REM-1 bbac, REM-2 698a
    pub(crate) fn rules(self, ring: &str, is_plain: bool) -> Result<Arc<Rules>, Refusal> {
        let span = u64::try_from(self.span_ms).map(Duration::from_millis).unwrap_or_default();
        if span.is_zero() || span > LONGEST {
            return Err(Refusal::config("a login is remembered for more than 0 and at most 400 days"));
        }
        let login = format!("{}{}", if is_plain { "" } else { "__Host-" }, self.cookie);
        let visitor = Some(format!("{login}-unused"));
        let settings = Settings {
            idle: None,
            absolute: span,
            rotate_every: None,
            reuse: Reuse::RevokeAll,
            cookies: CookieSettings { login: Some(login), visitor, max_age: Some(span), ..CookieSettings::default() },
            ..Settings::default()
        };
        let settings = if is_plain { settings.danger_plain_http() } else { settings };
        let keys = KeyRing::parse(&derived(ring)).map_err(Refusal::config)?;
        Ok(Rules::new(Policy::try_from(settings).map_err(Refusal::config)?, keys))
    }
}

/// What a handler did that concerns the credential, and what goes out with the response.
#[derive(Default)]
pub(crate) struct Beside {
    cookies: Vec<u8>,
    remembers: Option<String>,
    entered: Option<String>,
    has_left: bool,
    pub(crate) lines: Vec<String>,
    pub(crate) events: Vec<Noticed>,
}

impl Beside {
    pub(crate) fn of(cookies: &[u8]) -> Self {
        Self { cookies: cookies.to_vec(), ..Self::default() }
    }
}

/// A session, and what goes on beside it where logins are remembered.
pub(crate) struct Opened {
    pub(crate) session: Session,
    pub(crate) beside: Option<Box<Beside>>,
}

impl Opened {
    /// A credential that was asked for somebody else's login is not made: it would outlive this one.
    pub(crate) fn entered(&mut self, principal: &str) {
        if let Some(beside) = &mut self.beside {
            beside.remembers = beside.remembers.take().filter(|remembered| remembered == principal);
            beside.entered = Some(principal.to_owned());
        }
    }

    /// Remembers whoever is logged in beyond the session.
    // spec: REM-1 bbac
    pub(crate) fn remember(&mut self) -> Result<(), Refusal> {
        let Some(beside) = &mut self.beside else {
            return Err(Refusal::config("nothing is remembered here: say how when the sessions are made"));
        };
        self.session.require_level(1).map_err(|denied| match denied {
            Denied::LevelTooLow => {
                let reason = "a remembered login is not prolonged: log in with the password";
                Refusal::new("not-fresh", reason, Advice::LogIn, 401)
            }
            other => other.into(),
        })?;
        beside.remembers = self.session.principal().map(|principal| principal.name().to_owned());
        Ok(())
    }

    pub(crate) fn logout(&mut self) {
        self.session.logout();
        if let Some(beside) = &mut self.beside {
            (beside.remembers, beside.entered, beside.has_left) = (None, None, true);
        }
    }

    /// Forgets whatever was asked for.
    pub(crate) fn discard(&mut self) {
        self.session.discard();
        if let Some(beside) = &mut self.beside {
            (beside.remembers, beside.entered, beside.has_left) = (None, None, false);
        }
    }
}

/// Opens an exchange for a request that carries a credential.
pub(crate) async fn restored<S: Store>(side: Arc<Side<S>>, mut beside: Box<Beside>) -> Result<Opened, Refusal> {
    let Some(remembered) = &side.remembered else { return Err(Error::WrongStage.into()) };
    let mut session = remembered.run(side.driver.open(&beside.cookies)).await?;
    if let Err(refused) = remembered.restore(&side.driver, &mut session, &mut beside).await {
        // What was found of the session itself is written down all the same.
        session.discard();
        let _refused_anyway = remembered.run(side.driver.close(session)).await;
        return Err(refused);
    }
    if !beside.lines.is_empty() {
        // The response depends on who asks.
        let _is_looked_at = session.principal();
    }
    Ok(Opened { session, beside: Some(beside) })
}

/// The credentials beside the sessions of one application: sessions of their own in the same store, without data.
pub(crate) struct Remembered<S> {
    driver: Driver<S, AnyHost>,
    pub(crate) cookie: String,
}

impl<S> Remembered<S> {
    pub(crate) fn new(driver: Driver<S, AnyHost>) -> Self {
        Self { cookie: driver.rules().policy().cookie_name(Kind::Login).to_owned(), driver }
    }
}

impl<S: Store> Remembered<S> {
    /// Over a store of this library, whose answers are waited for here, nobody is asked on the way.
    async fn run<T>(&self, work: impl Future<Output = Result<T, Refused>> + Send) -> Result<T, Refusal> {
        Ok(if self.driver.host().asks { work.await } else { block_on(work) }?)
    }

    /// Logs in whom the credential names, at level 0, if nobody is logged in; the credential is replaced.
    // spec: REM-2 698a, REM-3 3625
    async fn restore(
        &self,
        main: &Driver<S, AnyHost>,
        session: &mut Session,
        beside: &mut Beside,
    ) -> Result<(), Refusal> {
        if session.peek().principal.is_some() {
            return Ok(());
        }
        let mut credential = self.run(self.driver.open(&beside.cookies)).await?;
        if let Some(principal) = name_of(&credential) {
            let told: Result<Option<Vec<String>>, Unavailable> = ask(Ask::Roles { principal: principal.clone() }).await;
            match told {
                Ok(Some(roles)) => {
                    credential.rotate();
                    session.login(&principal, &roles, 0)?;
                }
                Ok(None) => credential.logout(),
                Err(Unavailable) => return Err(Refusal::unavailable("nobody could say which roles the user has")),
            }
        }
        self.commit(main, credential, beside).await
    }

    /// Whether [`Remembered::settle`] has something to do.
    fn is_due(&self, beside: &Beside) -> bool {
        let name = format!("{}=", self.cookie);
        let is_in = || beside.cookies.windows(name.len()).any(|bytes| bytes == name.as_bytes());
        beside.remembers.is_some() || ((beside.has_left || beside.entered.is_some()) && is_in())
    }

    /// After a session was committed: makes the credential that was asked for, or ends one that a logout or the login of
    /// somebody else leaves behind.
    ///
    /// The session stands already. A credential that cannot be made costs the user one more login, and is an event; one that
    /// cannot be ended is an error: a page that says "logged out" must not log in again.
    // spec: REM-1 bbac, REM-4 55b3
    pub(crate) async fn settle(&self, main: &Driver<S, AnyHost>, beside: &mut Beside) -> Result<(), Refusal> {
        if !self.is_due(beside) {
            return Ok(());
        }
        let result = self.change(main, beside).await;
        if result.is_err() && beside.remembers.is_some() {
            beside.events.push(Noticed { name: "not remembered".into(), handle: None, cause: None });
            return Ok(());
        }
        result
    }

    async fn change(&self, main: &Driver<S, AnyHost>, beside: &mut Beside) -> Result<(), Refusal> {
        let mut credential = self.run(self.driver.open(&beside.cookies)).await?;
        if let Some(name) = &beside.remembers {
            credential.login(&format!("{PREFIX}{name}"), &[""; 0], 0)?;
        } else if beside.has_left || name_of(&credential) != beside.entered {
            credential.logout();
        }
        self.commit(main, credential, beside).await
    }

    // spec: REM-3 3625
    async fn commit(&self, main: &Driver<S, AnyHost>, credential: Session, beside: &mut Beside) -> Result<(), Refusal> {
        let reply: Reply = self.run(self.driver.close(credential)).await?;
        let events = &reply.trace().events;
        beside.events.extend(noticed(events).into_iter().map(|event| {
            let name = format!("remembered {}", event.name);
            Noticed { name, ..event }
        }));
        let own = format!("{}=", self.cookie);
        beside.lines = reply.set_cookies().filter(|line| line.starts_with(&own)).map(str::to_owned).collect();
        for event in events {
            if let Event::Reuse(handle) = event
                && let Loaded::Found(record) = self.run(async { Ok(self.driver.store().load(*handle).await) }).await?
            {
                let held = self.driver.rules().describe(*handle, record, main.host().now());
                let owner = match held {
                    Held::Login(device) => Some(device.principal),
                    Held::Ended(_, principal) => principal,
                    _ => None,
                };
                // Whoever had the copy may have logged in with it.
                if let Some(name) = owner.as_deref().and_then(|owner| owner.strip_prefix(PREFIX)) {
                    self.run(main.revoke_all(name)).await?;
                }
            }
        }
        Ok(())
    }

    /// Ends all credentials of a principal.
    // spec: REM-4 55b3
    pub(crate) async fn revoke(&self, principal: &str) -> Result<(), Refusal> {
        self.run(self.driver.revoke_all(&format!("{PREFIX}{principal}"))).await?;
        Ok(())
    }

    /// Ends all credentials there are, and with them what else their store holds; says how many.
    pub(crate) async fn revoke_everything(&self) -> Result<usize, Refusal> {
        self.run(self.driver.revoke_everything()).await
    }

    /// Gives a principal another name.
    pub(crate) async fn rename(&self, old: &str, new: &str) -> Result<(), Refusal> {
        self.run(self.driver.rename_principal(&format!("{PREFIX}{old}"), &format!("{PREFIX}{new}"))).await?;
        Ok(())
    }
}

/// Whose credential it is.
fn name_of(credential: &Session) -> Option<String> {
    credential.peek().principal?.name().strip_prefix(PREFIX).map(str::to_owned)
}

/// A ring for this use alone, so that no id of one kind is one of the other.
// spec: REM-1 bbac
fn derived(ring: &str) -> String {
    let entries = ring.split([',', '\n']).filter_map(|entry| {
        let (number, material) = csrf::entry(entry.trim())?;
        let mac = Hmac::<Sha256>::new_from_slice(&material).ok()?;
        let key = mac.chain_update(b"coatroom/1 remembered login").finalize().into_bytes();
        Some(format!("{number}:{}", base64url(&key)))
    });
    entries.collect::<Vec<_>>().join(",")
}

/// Without padding (RFC 4648 section 5).
fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group =
            [0, 1, 2].into_iter().fold(0_u32, |group, at| group << 8 | u32::from(chunk.get(at).copied().unwrap_or(0)));
        let letters = [18, 12, 6, 0].map(|shift| LETTERS.get(usize::try_from(group >> shift & 63).unwrap_or(0)));
        text.extend(
            letters.into_iter().flatten().take(chunk.len().saturating_add(1)).map(|letter| char::from(*letter)),
        );
    }
    text
}
