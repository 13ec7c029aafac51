//! Everything that concerns all sessions of a principal: the list of devices, revocation, the limit, another name.
//!
//! Each session is changed by a swap of its own, like by any request, so nothing here can bring back what ended meanwhile.

use coatroom_core::{
    Beyond, ByHandle, Cause, Change, Device, Entry, Error, Failure, Handle, Held, Loaded, Reply, Timestamp,
};

use crate::driver::{Aftermath, Begun, Surplus};
use crate::observe::{Act, Observer, during, seen};
use crate::{Driver, Host, Refused, Store, Unavailable};

/// Sessions looked at in one batch of [`Driver::revoke_everything`].
const BATCH: usize = 256;

/// What a revocation of all sessions of a principal did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RevokedAll {
    /// What the store calls this revocation. For [`coatroom_core::Session::revoked_all`].
    pub moment: Timestamp,
    /// Sessions ended by this call.
    pub ended: usize,
}

impl<S: Store, H: Host> Driver<S, H> {
    /// The live sessions of a principal, the one used last first.
    pub async fn devices(&self, principal: &str) -> Result<Vec<Device>, Refused> {
        during(Act::Devices, self.list(principal)).await
    }

    async fn list(&self, principal: &str) -> Result<Vec<Device>, Refused> {
        self.knows_logins()?;
        self.live(principal, self.sessions(principal).await?).await
    }

    /// Those of these sessions that are live logins of the principal, the one used last first.
    async fn live(
        &self,
        principal: &str,
        handles: impl IntoIterator<Item = Handle, IntoIter: Send> + Send,
    ) -> Result<Vec<Device>, Refused> {
        let mut devices = Vec::new();
        for handle in handles {
            if let Held::Login(device) = self.look(principal, handle).await?
                && device.principal == principal
            {
                devices.push(device);
            }
        }
        devices.sort_by_key(|device| core::cmp::Reverse(device.seen_at));
        Ok(devices)
    }

    /// Ends one session of a principal, and says whether it was live. Another's is [`Error::NotTheirs`].
    pub async fn revoke(&self, principal: &str, handle: Handle) -> Result<bool, Refused> {
        self.knows_logins()?;
        let reply = self.end(handle, Some(principal), Cause::Revoked).await?;
        Ok(has_ended(&reply))
    }

    /// Ends all sessions of a principal but one, and refuses logins that are under way: for "log me out everywhere else".
    pub async fn revoke_others(&self, principal: &str, but: Handle) -> Result<RevokedAll, Refused> {
        during(Act::RevokeAll, self.revoke_all_but(principal, Some(but))).await
    }

    /// Ends all sessions of a principal, and refuses logins that are under way: for a change of the password.
    ///
    /// When this returns, no session that was logged in by an exchange opened before works on any node. A handler that
    /// logs in right after it says so through [`coatroom_core::Session::revoked_all`].
    pub async fn revoke_all(&self, principal: &str) -> Result<RevokedAll, Refused> {
        during(Act::RevokeAll, self.revoke_all_but(principal, None)).await
    }

    // spec: IDX-4 667d, CLAIM-8 6865
    async fn revoke_all_but(&self, principal: &str, but: Option<Handle>) -> Result<RevokedAll, Refused> {
        self.knows_logins()?;
        let now = self.host().now();
        let early = if planted!(ListBeforeMoment) { Some(self.sessions(principal).await?) } else { None };
        // The moment first, the list after it: a login that the list misses finds the moment.
        let moment = self.persist(|| self.calls().bar(principal, now)).await.map_err(unavailable)?;
        if but.is_none() {
            self.announce_all_of(principal, moment).await.map_err(unavailable)?;
        }
        let mut ended = 0_usize;
        let mut failed = None;
        let listed = if let Some(early) = early { early } else { self.sessions(principal).await? };
        for handle in listed.into_iter().filter(|handle| Some(*handle) != but) {
            match self.end(handle, Some(principal), Cause::Revoked).await {
                Ok(reply) => ended = ended.saturating_add(usize::from(has_ended(&reply))),
                Err(Refused(Failure { error: Error::NotTheirs, .. })) => {}
                Err(refused) => failed = Some(refused),
            }
        }
        self.watch().revoked_all(false, ended);
        failed.map_or(Ok(RevokedAll { moment, ended }), Err)
    }

    /// Ends every login there is, in batches, and says how many: after an incident. Visitors stay. Logins that are under
    /// way are not refused: withdraw the keys for that, or call it again.
    pub async fn revoke_everything(&self) -> Result<usize, Refused> {
        during(Act::RevokeEverything, self.revoke_each()).await
    }

    async fn revoke_each(&self) -> Result<usize, Refused> {
        self.knows_logins()?;
        let (mut from, mut ended, mut failed) = (None, 0_usize, None);
        loop {
            let batch = self.persist(|| self.calls().scan(from.clone(), BATCH)).await;
            let (handles, next) = batch.map_err(unavailable)?;
            for handle in handles {
                if let Loaded::Found(record) = self.load(handle).await.map_err(unavailable)?
                    && let Held::Login(_) | Held::Unreadable = self.rules().describe(handle, record, self.host().now())
                {
                    match self.end(handle, None, Cause::Revoked).await {
                        Ok(reply) => ended = ended.saturating_add(usize::from(has_ended(&reply))),
                        // One that this build or this clock cannot judge saves no other.
                        Err(refused) => failed = Some(refused),
                    }
                }
            }
            match next {
                None => {
                    self.watch().revoked_all(true, ended);
                    return failed.map_or(Ok(ended), Err);
                }
                from_here => from = from_here,
            }
        }
    }

    /// Gives a principal another name in all its sessions, and says in how many: when users may change their user name.
    /// Change it in the application first. A login under the old name that is under way keeps it.
    pub async fn rename_principal(&self, from: &str, to: &str) -> Result<usize, Refused> {
        during(Act::Rename, self.rename_each(from, to)).await
    }

    async fn rename_each(&self, from: &str, to: &str) -> Result<usize, Refused> {
        self.knows_logins()?;
        let mut renamed = 0_usize;
        for handle in self.sessions(from).await? {
            let Held::Login(device) = self.look(from, handle).await? else { continue };
            if device.principal != from {
                continue;
            }
            if !self.store().enters_with_swap() {
                let (now, until) = (self.host().now(), device.deadline);
                let entry = Entry { principal: to.to_owned(), handle, until, now, at_most: None, names: 0 };
                let entered = self.persist(|| async { self.calls().enter(&entry).await.map_err(|_| Unavailable) });
                entered.await.map_err(unavailable)?;
            }
            let now = self.host().now();
            let renaming = self.rules().rename(handle, from, to, now, &mut self.host().rng());
            match self.change(handle, renaming).await {
                Ok(reply) => {
                    renamed = renamed.saturating_add(usize::from(reply.trace().written.contains(&Change::Renamed)));
                }
                Err(Refused(Failure { error: Error::NotTheirs, .. })) => {}
                Err(refused) => return Err(refused),
            }
        }
        Ok(renamed)
    }

    /// Ends as many sessions of the principal as it has too many. What cannot be ended now is when it logs in again.
    ///
    /// Of logins that race each meets those that were entered before it, and no other, and none that has ended ends another.
    /// So of two of them one stays. Only of one that cannot tell who was there before is that not said.
    // spec: LIMIT-1 3719
    pub(crate) async fn evict(&self, surplus: Surplus) {
        let Surplus { entry, before } = surplus;
        let Some(limit) = self.rules().policy().settings().limit else { return };
        let devices = match before.filter(|_| !planted!(RacersEvictEachOther)) {
            Some(before) => self.live(&entry.principal, before.into_iter().chain([entry.handle])).await,
            None => self.list(&entry.principal).await,
        };
        let Ok(mut devices) = devices else { return };
        if !devices.iter().any(|device| device.handle == entry.handle) {
            return;
        }
        match limit.beyond {
            Beyond::Refuse => return,
            Beyond::EvictOldest => devices.sort_by_key(|device| (device.created_at, device.handle)),
            Beyond::EvictIdlest => devices.sort_by_key(|device| (device.seen_at, device.handle)),
        }
        if planted!(NewcomerEvicted) {
            let _next_time = self.end(entry.handle, Some(&entry.principal), Cause::Evicted).await;
            return;
        }
        let surplus = devices.len().saturating_sub(usize::try_from(limit.sessions).unwrap_or(usize::MAX));
        for device in devices.iter().filter(|device| device.handle != entry.handle).take(surplus) {
            let _next_time = self.end(device.handle, Some(&entry.principal), Cause::Evicted).await;
        }
    }

    /// What a login left whose answer was lost is nobody's, for its secret never went out: it takes no place, now or later.
    // spec: LIMIT-2 29e3
    pub(crate) async fn end_lost(&self, lost: Vec<Entry>) {
        for Entry { principal, handle, .. } in lost.into_iter().filter(|_| !planted!(LostLoginStays)) {
            let _once_nobody_used_it_for_long = match self.stays_absent(handle).await {
                Ok(Loaded::Absent) => self.calls().leave(&principal, handle).await.map_err(unavailable),
                Ok(_) => self.end(handle, Some(&principal), Cause::Revoked).await.map(drop),
                Err(refused) => Err(refused),
            };
        }
    }

    /// Takes what is over out of the index.
    pub(crate) async fn clear_away(&self, principal: &str) -> Result<(), Unavailable> {
        for handle in self.calls().sessions(principal).await? {
            if let Held::Expired(cause) = self.look(principal, handle).await.map_err(|_| Unavailable)? {
                // Once it is seen expired it is expired: written down, no clock takes it back.
                let _next_time = self.end(handle, Some(principal), cause).await;
            }
        }
        Ok(())
    }

    /// The session whose copied id was noticed has ended, by this exchange or by one that came first; its principal's other
    /// sessions end too.
    // spec: IDX-6 5449
    pub(crate) async fn revoke_all_after_reuse(&self, handle: Handle) {
        if let Ok(Loaded::Found(record)) = self.load(handle).await
            && !planted!(ReuseSparesOthers)
            && let Held::Ended(_, Some(principal)) = self.rules().describe(handle, record, self.host().now())
        {
            let _noticed_again_at_the_next_reuse = self.revoke_all(&principal).await;
        }
    }

    /// Where logins live in cookies alone, nothing can be said or done about them, and saying "none" would be a lie.
    // spec: COAT-11 2527
    fn knows_logins(&self) -> Result<(), Refused> {
        let knows = self.rules().policy().place().knows_logins();
        if knows { Ok(()) } else { Err(Refused(Failure { error: Error::Unlisted, events: Vec::new() })) }
    }

    async fn sessions(&self, principal: &str) -> Result<Vec<Handle>, Refused> {
        self.persist(|| self.calls().sessions(principal)).await.map_err(unavailable)
    }

    /// What the record of an entry is. One that is over leaves the index.
    // spec: IDX-2 e0df
    async fn look(&self, principal: &str, handle: Handle) -> Result<Held, Refused> {
        let mut loaded = self.load(handle).await.map_err(unavailable)?;
        if loaded == Loaded::Absent && !self.store().enters_with_swap() && !planted!(AbsentIsGone) {
            loaded = self.stays_absent(handle).await?;
        }
        let held = match loaded {
            Loaded::Unavailable => return Err(unavailable(Unavailable)),
            Loaded::Absent => Held::Ended(Cause::Logout, None),
            Loaded::Found(record) => self.rules().describe(handle, record, self.host().now()),
        };
        let is_another = planted!(AnotherIsGone) && matches!(held, Held::Visitor);
        if matches!(held, Held::Ended(..)) || is_another {
            let _next_time = self.calls().leave(principal, handle).await;
        }
        Ok(held)
    }

    /// Where the index is apart, an entry may be there before its record. So what is absent is made to stay so, or else is
    /// there by now.
    // spec: IDX-2 e0df
    async fn stays_absent(&self, handle: Handle) -> Result<Loaded, Refused> {
        let now = self.host().now();
        let forestalling = self.rules().forestall(handle, now, &mut self.host().rng());
        let reply = self.change(handle, forestalling).await?;
        if has_ended(&reply) { Ok(Loaded::Absent) } else { self.load(handle).await.map_err(unavailable) }
    }

    /// A record, asked for until the store answers or patience is over: what is skipped here would live on.
    // spec: END-4 71db
    async fn load(&self, handle: Handle) -> Result<Loaded, Unavailable> {
        self.persist(|| async {
            match self.calls().load(handle).await {
                Loaded::Unavailable => Err(Unavailable),
                loaded => Ok(loaded),
            }
        })
        .await
    }

    async fn end(&self, handle: Handle, principal: Option<&str>, cause: Cause) -> Result<Reply, Refused> {
        let now = self.host().now();
        let ending = self.rules().revoke(handle, principal, cause, now, &mut self.host().rng());
        self.change(handle, ending).await
    }

    async fn change(&self, handle: Handle, by_handle: Result<ByHandle, Failure>) -> Result<Reply, Refused> {
        let change = async {
            let by_handle = by_handle?;
            let loaded = self.load(handle).await.unwrap_or(Loaded::Unavailable);
            self.drive(by_handle.found(loaded), Begun::default(), &mut Aftermath::default()).await
        };
        let result = during(Act::Change(handle), change).await;
        self.watch().changed(handle, seen(&result), || self.host().ticks());
        result
    }
}

fn has_ended(reply: &Reply) -> bool {
    reply.trace().written.contains(&Change::Ended)
}

fn unavailable(_: Unavailable) -> Refused {
    Refused(Failure { error: Error::Unavailable, events: Vec::new() })
}
