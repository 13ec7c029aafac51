//! Access tokens for Kotlin and Swift. Every rule is that of `coatroom-token`; here are conversions alone.

use core::fmt;
use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;

use coatroom_core::{NotOnRecord, Place};
use coatroom_store::{Engine, Host, NotAnnounced, block_on};
use coatroom_token::{
    Algorithm, Bell, Claims, Follower, Heard, LONGEST_LEEWAY, LONGEST_LIFETIME, Late, NotIssued, Puller, SigningKeys,
    VerifyingKeys,
};

use crate::coatroom::{Coatroom, Drivers};
use crate::engine::AnyEngine;
use crate::error::{Advice, Refusal};
use crate::exchange::Exchange;
use crate::host::{AnyHost, ManualClock};
use crate::settings::to_span;
use crate::wire::{ms, span_ms};

/// Makes tokens from sessions.
#[derive(uniffi::Object)]
pub struct Issuer(coatroom_token::Issuer);

/// A token for a client.
#[derive(Clone, uniffi::Record)]
pub struct Issued {
    /// The token itself.
    pub text: String,
    /// When it expires.
    pub expires_at_ms: i64,
    /// How long it lives, from the moment at which its session was opened.
    pub lifetime_ms: i64,
}

impl fmt::Debug for Issued {
    // spec: SEC-1 89db
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("expires_at_ms", &self.expires_at_ms).finish_non_exhaustive()
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").finish_non_exhaustive()
    }
}

#[uniffi::export]
impl Issuer {
    /// An issuer of this name, for one audience, with keys as `name:algorithm:base64url`.
    #[uniffi::constructor]
    pub fn new(issuer: &str, audience: &str, keys: &str, lifetime_ms: i64) -> Result<Arc<Self>, Refusal> {
        let keys = SigningKeys::parse(keys).map_err(Refusal::config)?;
        let lifetime = to_span("lifetime", lifetime_ms)?;
        let made = coatroom_token::Issuer::new(issuer, audience, keys).and_then(|made| made.with_lifetime(lifetime));
        made.map(|made| Arc::new(Self(made))).map_err(Refusal::config)
    }

    /// A token for the login that an exchange was opened with.
    // spec: TOKEN-1 6e31, TOKEN-3 c1a8
    pub fn issue(&self, exchange: &Exchange) -> Result<Issued, Refusal> {
        let mut rng = exchange.inner.rng();
        let token = exchange.with(|opened| self.0.issue(&opened.session, &mut rng).map_err(not_issued))?;
        let (expires_at_ms, lifetime_ms) = (ms(token.expires_at()), span_ms(token.lifetime()));
        Ok(Issued { text: token.as_str().to_owned(), expires_at_ms, lifetime_ms })
    }

    /// The public keys as a JSON Web Key Set.
    // spec: TOKEN-9 8191
    pub fn jwks(&self) -> String {
        self.0.keys().jwks()
    }

    /// How it signs: `EdDSA` or `HS256`.
    pub fn algorithm(&self) -> String {
        self.0.keys().algorithm().name().to_owned()
    }
}

/// Who is not logged in gets 401; who only just did asks again.
fn not_issued(why: NotIssued) -> Refusal {
    let (code, advice, status) = match why {
        NotIssued::NotOnRecord(NotOnRecord::Unsaved) => ("not-issued", Advice::AskAgain, 409),
        NotIssued::NotOnRecord(_) | NotIssued::EndsNow => ("unauthenticated", Advice::LogIn, 401),
        NotIssued::NoRandomness => ("no-randomness", Advice::RetryLater, 503),
        _ => ("not-issued", Advice::MendTheCall, 500),
    };
    Refusal::new(code, &why, advice, status)
}

/// What tokens are checked with.
#[derive(Clone, uniffi::Enum)]
pub enum TokenKeys {
    /// The public keys of an issuer.
    Public {
        /// A JSON Web Key Set.
        jwks: Vec<u8>,
    },
    /// Secrets that issuer and verifier share.
    Shared {
        /// As the issuer has them.
        keys: String,
    },
}

impl fmt::Debug for TokenKeys {
    // spec: SEC-1 89db
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKeys").finish_non_exhaustive()
    }
}

impl TokenKeys {
    // spec: TOKEN-7 8b63, TOKEN-9 8191
    fn parse(self) -> Result<VerifyingKeys, Refusal> {
        match self {
            Self::Public { jwks } => VerifyingKeys::from_jwks(&jwks).map_err(Refusal::config),
            Self::Shared { keys } => {
                let keys = SigningKeys::parse(&keys).map_err(Refusal::config)?;
                if keys.algorithm() == Algorithm::EdDsa {
                    let reason = "these keys make tokens: give a verifier the public ones alone, as a key set";
                    return Err(Refusal::config(reason));
                }
                Ok(keys.verifying())
            }
        }
    }
}

/// Judges tokens of one issuer for one audience, under one algorithm.
#[derive(uniffi::Object)]
pub struct Verifier {
    verifier: coatroom_token::Verifier,
    host: AnyHost,
}

/// What a token states.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct ClaimParts {
    /// Who is logged in.
    pub principal: String,
    /// The session's public name.
    pub handle: String,
    /// Of the principal.
    pub roles: Vec<String>,
    /// Level of authentication.
    pub level: u8,
    /// When it was issued.
    pub issued_at_ms: i64,
    /// When it expires.
    pub expires_at_ms: i64,
    /// The token's own name.
    pub token_id: String,
    /// Whether endings were known: `never`, `in time` or `too long ago`.
    pub heard: String,
}

/// What a verifier says of a token.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Enum)]
pub enum Judging {
    /// It counts.
    Valid {
        /// What it states.
        claims: ClaimParts,
    },
    /// It does not.
    Refused {
        /// Stable, the same in every language.
        reason: String,
        /// What happened and what to do, for people.
        message: String,
        /// The HTTP status to answer with.
        status: u16,
    },
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

#[uniffi::export]
impl Verifier {
    /// For names of issuer and audience.
    #[uniffi::constructor(default(clock = None))]
    pub fn new(
        issuer: &str,
        audience: &str,
        keys: TokenKeys,
        lifetime_ms: i64,
        leeway_ms: i64,
        clock: Option<Arc<ManualClock>>,
    ) -> Result<Arc<Self>, Refusal> {
        let (lifetime, leeway) = (to_span("lifetime", lifetime_ms)?, to_span("leeway", leeway_ms)?);
        let made = coatroom_token::Verifier::new(issuer, audience, keys.parse()?)
            .and_then(|made| made.with_lifetime(lifetime))
            .and_then(|made| made.with_leeway(leeway));
        Ok(Self { verifier: made.map_err(Refusal::config)?, host: AnyHost::new(clock, false) }.into())
    }

    /// The same with other keys.
    pub fn with_keys(&self, keys: TokenKeys) -> Result<Arc<Self>, Refusal> {
        Ok(Self { verifier: self.verifier.with_keys(keys.parse()?), host: self.host.clone() }.into())
    }

    /// The same, refusing what has ended up to `within_ms` ago; when that is not known, all, unless told to accept.
    pub fn with_revocations(
        &self,
        revocations: &Revocations,
        within_ms: i64,
        accepts: bool,
    ) -> Result<Arc<Self>, Refusal> {
        let within = to_span("within", within_ms)?;
        if revocations.every.is_some_and(|every| within <= every) {
            let reason = "`within` has to be longer than `every` of the revocations: give the store some time";
            return Err(Refusal::config(reason));
        }
        let late = if accepts { Late::Accept } else { Late::Refuse };
        let verifier = self.verifier.clone().with_revocations(Arc::clone(&revocations.feed.known), within, late);
        Ok(Self { verifier, host: self.host.clone() }.into())
    }

    /// What a token states, if it counts.
    // spec: TOKEN-4 0830, TOKEN-10 2a12, TOKEN-11 f067, TOKEN-12 c154
    pub fn verify(&self, token: &[u8]) -> Judging {
        match self.verifier.verify(token, self.host.now()) {
            Ok(claims) => Judging::Valid { claims: claims.into() },
            Err(refusal) => Judging::Refused {
                reason: refusal.name().to_owned(),
                message: refusal.to_string(),
                status: refusal.status(),
            },
        }
    }
}

impl From<Claims> for ClaimParts {
    fn from(claims: Claims) -> Self {
        let heard = match claims.heard {
            Heard::Never => "never",
            Heard::InTime => "in time",
            Heard::TooLongAgo => "too long ago",
        };
        Self {
            handle: claims.handle.to_string(),
            issued_at_ms: ms(claims.issued_at),
            expires_at_ms: ms(claims.expires_at),
            principal: claims.principal,
            roles: claims.roles,
            level: claims.level,
            token_id: claims.token_id,
            heard: heard.to_owned(),
        }
    }
}

/// Ended sessions and barred principals, as far as this process has heard. Kept for whatever lifetime and leeway verifiers have,
/// so that several can share it.
#[derive(uniffi::Object)]
pub struct Revocations {
    feed: Arc<Feed>,
    every: Option<Duration>,
    /// Of the thread that pulls, if it is not the application alone.
    bell: Option<Bell>,
}

struct Feed {
    known: Arc<coatroom_token::Revocations>,
    puller: Mutex<Puller<AnyEngine>>,
    host: AnyHost,
}

impl Feed {
    // spec: TOKEN-13 0b79
    fn pull(&self) -> Result<usize, NotAnnounced> {
        let mut puller = self.puller.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.host.now();
        block_on(puller.pull(now))
    }
}

/// Pulls until the bell says that nobody is left who would read.
// spec: FEED-6 f2f5
fn serve(feed: &Weak<Feed>, engine: AnyEngine, follower: Follower) {
    let listen = move |nudge| engine.listen(nudge);
    follower.run(listen, || {
        // What was not heard shows in every verifier, once it is too long ago.
        let _heard = feed.upgrade().map(|feed| feed.pull());
    });
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations").field("known", &self.feed.known).finish_non_exhaustive()
    }
}

impl Drop for Revocations {
    fn drop(&mut self) {
        if let Some(bell) = &self.bell {
            bell.end();
        }
    }
}

impl Revocations {
    fn over(engine: AnyEngine, every_ms: Option<i64>, clock: Option<Arc<ManualClock>>) -> Result<Arc<Self>, Refusal> {
        let every = every_ms.map(|every| to_span("every", every)).transpose()?;
        let known = Arc::new(coatroom_token::Revocations::new(LONGEST_LIFETIME, LONGEST_LEEWAY));
        let puller = Mutex::new(Puller::new(engine.clone(), Arc::clone(&known)));
        let feed = Arc::new(Feed { known, puller, host: AnyHost::new(clock, false) });
        let bell = every.map(|every| {
            // A store that is away is asked again by the thread.
            let _heard = feed.pull();
            let (feed, follower) = (Arc::downgrade(&feed), Follower::new(every));
            let bell = follower.bell();
            let named = thread::Builder::new().name("coatroom-feed".to_owned());
            let started = named.spawn(move || serve(&feed, engine, follower));
            let no_thread = |_| Refusal::unavailable("no thread could be started for the feed of ended sessions");
            started.map(|_| bell).map_err(no_thread)
        });
        Ok(Arc::new(Self { feed, every, bell: bell.transpose()? }))
    }
}

#[uniffi::export]
impl Revocations {
    /// From a store by its address. A thread pulls every so often; with none, only [`Revocations::pull`] does.
    #[uniffi::constructor(default(clock = None))]
    pub fn new(store: &str, every_ms: Option<i64>, clock: Option<Arc<ManualClock>>) -> Result<Arc<Self>, Refusal> {
        let Some(plain) = Place::parse(store).1 else {
            let reason = "sessions that live in their cookies alone announce no endings: name a deny list";
            return Err(Refusal::config(reason));
        };
        Self::over(AnyEngine::open(plain)?, every_ms, clock)
    }

    /// From the store of sessions.
    #[uniffi::constructor(default(clock = None))]
    pub fn of(
        sessions: &Coatroom,
        every_ms: Option<i64>,
        clock: Option<Arc<ManualClock>>,
    ) -> Result<Arc<Self>, Refusal> {
        match &sessions.inner.drivers {
            Drivers::Here(side) => Self::over(side.driver.store().clone(), every_ms, clock),
            Drivers::Away(_) => Err(Refusal::config(NotAnnounced::NoFeed)),
        }
    }

    /// Fetches what is new, and says how much that was. When the store does not answer, what came until then is known.
    pub fn pull(&self) -> Result<i64, Refusal> {
        let count = self.feed.pull().map_err(Refusal::unavailable)?;
        Ok(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// Up to when everything was heard; none before the first time.
    pub fn up_to_date_ms(&self) -> Option<i64> {
        self.feed.known.up_to_date().map(ms)
    }

    /// How many ended sessions are known.
    pub fn count(&self) -> i64 {
        i64::try_from(self.feed.known.len()).unwrap_or(i64::MAX)
    }
}
