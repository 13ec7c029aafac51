//! What serial mode promises, as functions over what a step did.

use crate::exchange::{Exchange, Phase};
use crate::invariants::require;
use crate::ops::Op;
use crate::record::{Front, data};
use crate::scenarios::{LEASE, SKEW};
use crate::world::{Seen, World};

/// What its clock says, raised to what the record has seen.
fn clock(exchange: &Exchange, front: &Front) -> u64 {
    exchange.latest_clock().max(front.seen)
}

fn fronts(seen: &Seen<'_>) -> Option<(usize, Front, Option<Front>)> {
    let Seen::Swapped { by, swap, before } = *seen else { return None };
    let after = swap.new.as_deref().and_then(Front::read).filter(|after| !after.is_ended());
    Some((by, before.and_then(Front::read)?, after))
}

fn writes_data(seen: &Seen<'_>) -> bool {
    let Seen::Swapped { swap, before, .. } = *seen else { return false };
    before.map(data) != swap.new.as_deref().map(data)
}

/// Part of claim 3: since an exchange took its turn nobody else has changed data, when it does.
pub fn a_serial_write_sees_no_other(world: &World, seen: &Seen<'_>) -> Result<(), String> {
    let (Some((by, _, Some(_))), true) = (fronts(seen), writes_data(seen)) else { return Ok(()) };
    let Seen::Swapped { swap, before: Some(before), .. } = *seen else { return Ok(()) };
    let exchange = &world.exchanges[by];
    let live = exchange.opened.as_ref().and_then(|opened| opened.live.as_ref());
    if exchange.token.is_none() || live.is_none_or(|id| id.handle != swap.handle) {
        return Ok(());
    }
    let base = exchange.inputs.loads.last().and_then(Option::as_deref).map(data);
    require(base == Some(data(before)), || format!("{by} wrote, and others had written in its turn"))
}

/// While another has its turn, nobody takes it, ends it or writes data, but logins, which leave its holder below the
/// floor and so end it; afterwards data that is written ends it. A turn lasts as long as the policy says.
pub fn a_turn_is_respected(world: &World, seen: &Seen<'_>) -> Result<(), String> {
    let Some((by, before, Some(after))) = fronts(seen) else { return Ok(()) };
    let exchange = &world.exchanges[by];
    let now = clock(exchange, &before);
    if let Some((token, until)) = after.lease.filter(|lease| before.lease != Some(*lease)) {
        require(exchange.token == Some(token), || format!("{by} gave a turn to another"))?;
        require(until == now + LEASE, || format!("{by} took its turn until {until}, and it is {now}"))?;
    }
    let Some((_, until)) = before.lease.filter(|(token, _)| exchange.token != Some(*token)) else { return Ok(()) };
    if after.floor > before.floor {
        return require(after.lease.is_none(), || format!("{by} left a turn to an id from before the login"));
    }
    let writes = writes_data(seen);
    if now < until + SKEW {
        require(after.lease == before.lease, || format!("{by} ended the turn of another"))?;
        require(!writes, || format!("{by} wrote in the turn of another"))
    } else {
        require(!writes || after.lease != before.lease, || format!("{by} wrote, and left another its turn"))
    }
}

/// Whoever is answered has no turn any more, unless it was told that something is in doubt.
pub fn a_turn_ends(world: &World, seen: &Seen<'_>) -> Result<(), String> {
    let Seen::Answered(number) = *seen else { return Ok(()) };
    let exchange = &world.exchanges[number];
    let Some(token) = exchange.token.filter(|_| !world.undone.contains(&number)) else { return Ok(()) };
    let uncertain = exchange.answer.as_ref().unwrap().is_uncertain();
    let held = |record: &[u8]| Front::read(record).and_then(|front| front.lease).is_some_and(|lease| lease.0 == token);
    let kept = world.store.records.values().any(|record| held(record));
    require(uncertain || !kept, || format!("{number} is over, and its turn is not"))
}

/// An exchange waits only for another's turn whose time is not over, and at its end only with data to write. Endings,
/// logins and elevations never wait.
pub fn nobody_waits_for_nothing(world: &World, seen: &Seen<'_>) -> Result<(), String> {
    let Seen::Waits(number) = *seen else { return Ok(()) };
    let exchange = &world.exchanges[number];
    let (record, at) = exchange.inputs.last_look();
    let front = record.and_then(|record| Front::read(record));
    let live = front.as_ref().and_then(|front| Some((front.lease?, at.max(front.seen))));
    let right = live.is_some_and(|((token, until), now)| now < until + SKEW && exchange.token != Some(token));
    require(right, || format!("{number} waits for no turn"))?;
    let ops = exchange.wished();
    let somebody = exchange.opened.as_ref().is_some_and(|opened| opened.principal.is_some());
    let hurries = |op: &Op| matches!(op, Op::Login(_)) || (somebody && *op == Op::Elevate);
    let has_to = ops.iter().any(Op::writes) && (!ops.iter().any(hurries) || exchange.token.is_some());
    require(exchange.phase == Phase::Held || has_to, || format!("{number} waits with nothing to write"))
}
