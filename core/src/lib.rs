//! Web sessions as a pure state machine.
//!
//! The browser holds a ticket, the server keeps the coat. This crate says what a session *is*: it reads no clock, draws no
//! randomness, does no I/O and knows no async. Time, random bytes and the answers of a store come in as arguments; what
//! has to be loaded, swapped and sent comes out as values. `coatroom-store` drives it over real stores.
//!
//! One request is one *exchange*. Each stage is a value that the next step consumes, and waiting means returning:
//!
//! ```
//! use coatroom_core::{Closing, KeyRing, Listed, Loaded, Opening, Policy, Rules, Settings, Timestamp};
//! # use core::convert::Infallible;
//! # struct Rng(u8);
//! # impl rand_core::TryRng for Rng {
//! #     type Error = Infallible;
//! #     fn try_next_u32(&mut self) -> Result<u32, Infallible> { Ok(4) }
//! #     fn try_next_u64(&mut self) -> Result<u64, Infallible> { Ok(4) }
//! #     fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> { bytes.fill(self.0); Ok(()) }
//! # }
//! # impl rand_core::TryCryptoRng for Rng {}
//! # let mut rng = Rng(4);
//! # let mut stored = std::collections::HashMap::new();
//! let keys = KeyRing::parse("1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE")?;
//! let rules = Rules::new(Policy::try_from(Settings::default())?, keys);
//! let now = Timestamp::from_unix_ms(1_767_225_600_000);
//!
//! let mut opening = rules.open(b"", now);
//! let mut session = loop {
//!     opening = match opening {
//!         Opening::Ready(session) => break session,
//!         Opening::Load(load) => {
//!             let found = stored.get(&load.handle()).cloned();
//!             load.found(found.map_or(Loaded::Absent, Loaded::Found))
//!         }
//!         Opening::Take(_) | Opening::Wait(_) => unreachable!("this exchange takes no turn: `Rules::open_serial` does"),
//!         Opening::Unavailable(failure) => return Err(failure.error.into()),
//!     }
//! };
//! session.set("greeting", "hello")?;
//!
//! let mut closing = session.close(now, &mut rng);
//! let reply = loop {
//!     closing = match closing {
//!         Closing::Done(reply) => break reply,
//!         Closing::Save(save) => {
//!             let swap = save.swap();
//!             assert!(swap.expected.is_none() && !stored.contains_key(&swap.handle));
//!             stored.insert(swap.handle, swap.new.clone().unwrap_or_default());
//!             save.saved()
//!         }
//!         Closing::Wait(_) => unreachable!("nobody else has a turn"),
//!         Closing::Enter(enter) => enter.entered(Listed::default()), // after a login: the index of who is logged in where
//!         Closing::Failed(failure) => return Err(failure.error.into()),
//!     }
//! };
//! assert!(reply.set_cookies().next().is_some_and(|line| line.starts_with("__Host-visitor=")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]

extern crate alloc;

mod announcement;
mod attempt;
pub mod base64url;
#[cfg_attr(not(coatroom_bugs), expect(unreachable_pub, reason = "public in test builds alone"))]
mod bugs;
mod by_handle;
mod cbor;
mod closer;
mod closing;
mod coat;
mod codec;
mod commit;
mod cookie;
mod create;
mod data;
mod devices;
mod ending;
mod entering;
mod error;
mod event;
mod id;
mod journal;
mod keys;
mod listing;
mod on_record;
mod opening;
mod plan;
mod policy;
mod record;
mod reply;
mod seal;
mod serial;
mod session;
mod time;

pub mod lifecycle;
pub mod staged;
pub mod value;

pub use announcement::{Announcement, Subject};
#[cfg(coatroom_bugs)]
pub use bugs::{Bug, plant, planted};
pub use by_handle::ByHandle;
pub use closing::{Closing, Save, Swap};
pub use codec::Stamp;
pub use cookie::{CookieError, CookieSettings, Kind, SameSite};
pub use devices::{Device, Held, holder};
pub use entering::{Enter, NOT_BEFORE_KEPT};
pub use error::{Error, Remedy};
pub use event::Event;
pub use id::{Handle, ID_CHARS};
pub use journal::UpdateFn;
pub use keys::{KeyError, KeyRing};
pub use lifecycle::State;
pub use listing::{Entry, Listed, Listing};
pub use on_record::{NotOnRecord, OnRecord};
pub use opening::{Failure, Load, Loaded, Opening, Rules};
pub use plan::{Change, Denied, Rotation, Trace};
pub use policy::{Assurance, Beyond, Carry, Concurrency, Danger, Limit, Place, Policy, PolicyError, Reuse, Settings};
pub use record::{Cause, Client, Principal};
pub use reply::Reply;
pub use serial::{Queued, Take};
pub use session::{Peek, Session};
pub use time::Timestamp;
pub use value::Value;
