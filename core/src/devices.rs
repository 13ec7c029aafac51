//! What a list of devices shows of a record.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use crate::bugs::{Bug, planted};
use crate::codec;
use crate::id::Handle;
use crate::opening::Rules;
use crate::record::{Cause, Client, Record};
use crate::time::Timestamp;

/// A live login of a principal, as a list of devices shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// The session's public name, by which it can be revoked.
    pub handle: Handle,
    /// Whose it is.
    pub principal: String,
    /// What the application noted of the client.
    pub client: Client,
    /// When the session was created.
    pub created_at: Timestamp,
    /// When it was last used, as far as that was written down.
    pub seen_at: Timestamp,
    /// When it is over, however much it is used.
    pub deadline: Timestamp,
    /// When the login or the last elevation took place.
    pub authenticated_at: Timestamp,
    /// Level of authentication.
    pub level: u8,
}

/// What a stored record is, to somebody who holds no id of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Held {
    /// A login within its limits.
    Login(Device),
    /// An anonymous session within its limits.
    Visitor,
    /// A session whose limit passed, though its record does not say so yet.
    Expired(Cause),
    /// A session that was ended, for this cause, and whose it was. It never comes back.
    Ended(Cause, Option<String>),
    /// Damaged, newer than this build, or ahead of this clock: nothing can be said.
    Unreadable,
}

/// Whose live login a stored record is, without judging its times: for a store that makes its index anew.
pub fn holder(record: &[u8]) -> Option<String> {
    let record = codec::decode_front(record).filter(|record| record.head.end.is_none())?;
    record.principal.map(|principal| principal.name().to_owned())
}

impl Rules {
    /// What the record stored under `handle` is at `now`.
    // spec: IDX-3 763e
    pub fn describe(&self, handle: Handle, record: Vec<u8>, now: Timestamp) -> Held {
        let Ok(record) = codec::decode(record, handle, self) else { return Held::Unreadable };
        let Record { head, principal, client, .. } = *record;
        if let Some(end) = head.end {
            return Held::Ended(end.cause, principal.map(|principal| principal.name().to_owned()));
        }
        if head.latest_reading() > now.plus(self.policy().settings().skew) {
            return Held::Unreadable;
        }
        if let Some(cause) = head.expired(now.max(head.seen_at), self.policy())
            && !planted(Bug::DevicesShowWhatIsOver)
        {
            return Held::Expired(cause);
        }
        principal.map_or(Held::Visitor, |principal| {
            Held::Login(Device {
                handle,
                principal: principal.name().to_owned(),
                client,
                created_at: head.created_at,
                seen_at: head.seen_at,
                deadline: head.deadline,
                authenticated_at: principal.authenticated_at,
                level: principal.level,
            })
        })
    }
}
