//! An attempt to make a session that did not exist before.

use crate::attempt::{Attempt, Outcome, check_size, entry, swap};
use crate::bugs::{Bug, planted};
use crate::closer::Closer;
use crate::coat::Coat;
use crate::commit::replay;
use crate::cookie::Kind;
use crate::data::Data;
use crate::error::Error;
use crate::event::Event;
use crate::id::{CommitId, SessionId};
use crate::listing::Listing;
use crate::opening::Presence;
use crate::plan::{Change, Plan, Privilege};
use crate::record::{Head, Issued, Principal};

/// A session that did not exist before. Nothing when there is nothing to keep in it.
// spec: ID-4 9900, COOK-15 907f, COOK-16 bfe5, COOK-17 b93e, COOK-18 0051, WRITE-13 2f77, LIFE-7 2908
// spec: COAT-5 350e, COAT-7 a7fd, COAT-8 4b97
pub(crate) fn create(plan: &mut Plan, closer: &Closer) -> Result<Attempt, Error> {
    let exchange = &closer.exchange;
    let settings = closer.policy().settings();
    let empty = Data::empty();
    let carry = plan.carry(false, &settings.carry);
    let (carried, brought) = plan.carried.as_deref().map_or((&empty, None), |(data, client)| (data, Some(client)));
    let data = replay(&mut plan.before, &mut plan.after, carry, carried)?;
    let principal = match &plan.privilege {
        Some(Privilege::Login(principal)) => Some(Principal { authenticated_at: exchange.now, ..principal.clone() }),
        _ => None,
    };
    let kind = if principal.is_some() || planted(Bug::OneCookie) { Kind::Login } else { Kind::Visitor };
    if principal.is_none() {
        if data.as_ref() == empty.as_bytes() && plan.client.is_none() {
            return Ok(Attempt::Nothing(Outcome::default()));
        }
        if exchange.superseded && !planted(Bug::SupersededStartsAfresh) {
            return Err(Error::Superseded);
        }
    }
    if closer.presence(kind) == Presence::Twice {
        return Err(Error::DuplicateCookie);
    }
    let attempt = closer.creates.checked_add(1).ok_or(Error::Busy)?;
    let id = SessionId { handle: closer.draws.handle(attempt), generation: 0, secret: closer.draws.secret(attempt) };
    let head = first_head(&id, closer);
    let client = plan.client.as_ref().or(brought).cloned().unwrap_or_default();
    let listing = principal
        .as_ref()
        .map_or(Listing::Keep, |principal| Listing::Enter(entry(principal, id.handle, &head, closer)));
    let mut outcome = Outcome { at: Some((id.handle, head)), ..Outcome::default() };
    outcome.note(Change::Created, Some(Event::Created(id.handle)));
    if principal.is_some() {
        outcome.note(Change::LoggedIn, Some(Event::LoggedIn(id.handle)));
    }
    let place = closer.policy().place();
    if place.is_worn(kind) {
        let coat = Coat { kind, id: &id, head: &head, principal: principal.as_ref(), client: &client, data: &data };
        outcome.line = Some((kind, coat.line(closer)?));
        if principal.is_none() || !place.is_listed() {
            return Ok(Attempt::Nothing(outcome));
        }
        // On the list, so that it can be found and revoked.
        return Ok(Attempt::Swap(coat.listed(None, head.deadline, listing, closer)?, outcome));
    }
    let new = closer.encode(id.handle, &head, principal.as_ref(), &client, &data)?;
    check_size(&new, closer.policy())?;
    let swap = swap(id.handle, None, &head, Some(new), true, listing, closer.policy());
    outcome.id = Some((kind, id, head.deadline));
    Ok(Attempt::Swap(swap, outcome))
}

// spec: TIME-3 cd01, TIME-12 144d, REC-7 d895
pub(crate) fn first_head(id: &SessionId, closer: &Closer) -> Head {
    let now = closer.exchange.now;
    let settings = closer.policy().settings();
    let none = CommitId([0; 8]);
    Head {
        version: 1,
        commits: [closer.commit(), none, none, none],
        created_at: now,
        seen_at: now,
        deadline: now.plus(settings.absolute),
        idle: settings.idle,
        current: Issued { generation: id.generation, digest: id.secret.digest(), issued_at: now, confirmed_at: None },
        previous: None,
        floor: id.generation,
        lease: None,
        end: None,
    }
}
