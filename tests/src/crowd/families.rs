//! The scenarios that are searched, and what each family bounds.

use coatroom_core::{Beyond, Reuse};

use super::actor::Deed::{
    self, Devices, Login, Logout, Rename, Request, Reset, Revoke, RevokeAll, RevokeOthers, Rotate,
};
use super::actor::Deed::{Visit, Wait};
use super::search::Scenario;
use super::shelf::Kind;

pub struct Family {
    pub name: &'static str,
    pub scenarios: Vec<Scenario>,
}

/// Of one whom nothing is known of yet.
const NEW: Deed = Login("ann", None);
const MINUTE: u64 = 60_000;

/// Everything that is searched; the wide search has more trouble.
pub fn families(wide: bool) -> Vec<Family> {
    vec![revocations(wide), limits(wide), names(wide), copies(wide)]
}

fn each(lists: &[(&[Deed], &[Deed])], wide: bool, change: impl Fn(Scenario) -> Scenario) -> Vec<Scenario> {
    let kinds = if wide { &[Kind::Here, Kind::Server, Kind::Cluster][..] } else { &[Kind::Here, Kind::Cluster] };
    let of = |kind: &Kind| {
        let kind = *kind;
        lists.iter().map(move |(before, deeds)| Scenario::new(kind, before, deeds))
    };
    kinds.iter().flat_map(of).map(change).flat_map(|scenario| troubles(scenario, wide)).collect()
}

/// Without trouble, and with one of a kind; of few deeds, in the wide search, with one of each at once. In the narrow search
/// only few deeds have trouble, under a limit only crashes, and more of them no tick.
fn troubles(scenario: Scenario, wide: bool) -> Vec<Scenario> {
    let few = scenario.deeds.len() < 3;
    if !few && !wide {
        return vec![Scenario { ticks: 0, ..scenario }];
    }
    let mut all = vec![scenario.clone().troubled(0, 0, 1)];
    if wide || scenario.kind == Kind::Here && scenario.limit.is_none() {
        all.push(scenario.clone().troubled(0, 1, 0));
    }
    if wide || scenario.kind == Kind::Cluster && scenario.limit.is_none() {
        all.push(scenario.clone().troubled(1, 0, 0));
    }
    all.extend((wide && few).then(|| scenario.troubled(1, 1, 1)));
    all
}

/// CLAIM-8, IDX-1, IDX-2, IDX-4, IDX-5: logins, requests and revocations of one principal, and of another that is nobody's
/// business. Bounded by three deeds, one tick, one trouble.
fn revocations(wide: bool) -> Family {
    let lists: &[(&[Deed], &[Deed])] = &[
        (&[], &[NEW, RevokeAll("ann")]),
        (&[], &[NEW, NEW, RevokeAll("ann")]),
        (&[], &[NEW, Login("ben", None), RevokeAll("ann")]),
        (&[NEW], &[Login("ann", Some(0)), RevokeAll("ann")]),
        (&[NEW], &[Rotate(0), RevokeAll("ann"), Logout(0)]),
        (&[NEW], &[Rotate(0), NEW, RevokeAll("ann")]),
        (&[Visit], &[Login("ann", Some(0)), Login("ben", Some(0)), RevokeAll("ann")]),
        (&[NEW], &[Login("ben", Some(0)), RevokeAll("ann"), RevokeAll("ben")]),
        (&[NEW, NEW], &[RevokeOthers("ann", 0), NEW, Request(0)]),
        (&[NEW, NEW], &[RevokeOthers("ann", 0), RevokeOthers("ann", 1)]),
        (&[NEW], &[Reset("ann"), NEW]),
        (&[NEW], &[Reset("ann"), RevokeAll("ann")]),
        (&[NEW, Login("ben", None)], &[Revoke("ann", 0), Revoke("ann", 1), Login("ann", Some(0))]),
        (&[NEW], &[Revoke("ann", 0), Devices("ann"), NEW]),
        (&[NEW], &[Logout(0), Devices("ann"), Login("ann", Some(0))]),
    ];
    let mut scenarios = each(lists, wide, |scenario| scenario);
    // Nodes whose clocks differ, over a store that has its own.
    let skewed = lists.iter().filter(|(_, deeds)| deeds.len() < 3).flat_map(|(before, deeds)| {
        let server = Scenario::new(Kind::Server, before, deeds);
        [[2_000, -2_000], [-2_000, 2_000]].map(|ahead| Scenario { ahead: ahead.to_vec(), ..server.clone() })
    });
    scenarios.extend(skewed);
    Family { name: "revocations", scenarios }
}

/// LIMIT-1: logins that meet a limit, which refuses or evicts, and one that logs out or is revoked meanwhile. Bounded by
/// three deeds, one tick, one trouble.
fn limits(wide: bool) -> Family {
    let lists: &[(&[Deed], &[Deed])] = &[
        (&[], &[NEW, NEW]),
        (&[NEW], &[NEW, NEW]),
        (&[NEW], &[NEW, Login("ann", Some(0))]),
        (&[NEW], &[NEW, Logout(0), Devices("ann")]),
        (&[NEW], &[NEW, RevokeAll("ann")]),
        (&[NEW, Wait(31 * MINUTE)], &[NEW]),
        (&[NEW, Wait(31 * MINUTE)], &[NEW, NEW]),
        (&[Visit], &[Login("ann", Some(0)), NEW]),
    ];
    let mut scenarios = Vec::new();
    for (sessions, beyond) in [(1, Beyond::Refuse), (1, Beyond::EvictOldest), (1, Beyond::EvictIdlest)] {
        scenarios.extend(each(lists, wide, |scenario| scenario.limited(sessions, beyond)));
    }
    let more: &[(&[Deed], &[Deed])] =
        &[(&[NEW, NEW], &[NEW, NEW]), (&[NEW, NEW], &[NEW, Login("ben", None), Request(0)])];
    for beyond in [Beyond::Refuse, Beyond::EvictOldest, Beyond::EvictIdlest] {
        scenarios.extend(each(more, wide, |scenario| scenario.limited(2, beyond)));
    }
    Family { name: "limits", scenarios }
}

/// IDX-8: a new name for a principal, among its logins, requests and revocations.
fn names(wide: bool) -> Family {
    let rename = Rename("ann", "anna");
    let lists: &[(&[Deed], &[Deed])] = &[
        (&[NEW], &[rename, Request(0), Devices("ann")]),
        (&[NEW], &[rename, Rotate(0), NEW]),
        (&[NEW], &[rename, Logout(0), Devices("anna")]),
        (&[NEW], &[rename, Rename("anna", "ann")]),
    ];
    Family { name: "names", scenarios: each(lists, wide, |scenario| scenario) }
}

/// IDX-6: a copied id is noticed, and all sessions of its principal end, logins that are under way among them.
fn copies(wide: bool) -> Family {
    let noticed: &[Deed] = &[NEW, NEW, Request(0), Wait(16 * MINUTE), Rotate(0), Request(4), Wait(MINUTE)];
    let lists: &[(&[Deed], &[Deed])] =
        &[(noticed, &[Request(0), NEW]), (noticed, &[Request(0), Request(1), Logout(4)])];
    let scenarios = each(lists, wide, |scenario| Scenario { reuse: Reuse::RevokeAll, ..scenario });
    Family { name: "copies", scenarios }
}
