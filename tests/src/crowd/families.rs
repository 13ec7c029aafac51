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

const KINDS: [Kind; 3] = [Kind::Here, Kind::Server, Kind::Cluster];
/// Of one whom nothing is known of yet.
const NEW: Deed = Login("ann", None);
const MINUTE: u64 = 60_000;

/// Everything that is searched; the wide search has more trouble.
pub fn families(wide: bool) -> Vec<Family> {
    vec![revocations(wide), limits(wide), names(wide), copies(wide)]
}

fn each(lists: &[(&[Deed], &[Deed])], change: impl Fn(Scenario) -> Vec<Scenario>) -> Vec<Scenario> {
    let of = |kind| lists.iter().map(move |(before, deeds)| Scenario::new(kind, before, deeds));
    KINDS.into_iter().flat_map(of).flat_map(change).collect()
}

/// Without trouble, and with one of a kind; of few deeds, in the wide search, with one of each at once.
fn troubles(scenario: &Scenario, wide: bool) -> Vec<Scenario> {
    let mut all = vec![scenario.clone(), scenario.clone().troubled(0, 0, 1)];
    let few = scenario.deeds.len() < 3;
    if wide || few && scenario.kind != Kind::Server {
        all.extend([scenario.clone().troubled(1, 0, 0), scenario.clone().troubled(0, 1, 0)]);
    }
    all.extend((wide && few).then(|| scenario.clone().troubled(1, 1, 1)));
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
    let scenarios = each(lists, |scenario| {
        let skewed = Scenario { ahead: vec![0, 4000, -4000], ..scenario.clone() };
        let mut all = troubles(&scenario, wide);
        all.extend((scenario.kind != Kind::Here).then_some(skewed));
        all
    });
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
        (&[NEW, Wait(31 * MINUTE)], &[NEW, NEW]),
        (&[Visit], &[Login("ann", Some(0)), NEW]),
    ];
    let mut scenarios = Vec::new();
    for (sessions, beyond) in [(1, Beyond::Refuse), (1, Beyond::EvictOldest), (1, Beyond::EvictIdlest)] {
        scenarios.extend(each(lists, |scenario| troubles(&scenario.limited(sessions, beyond), wide)));
    }
    let more: &[(&[Deed], &[Deed])] =
        &[(&[NEW, NEW], &[NEW, NEW]), (&[NEW, NEW], &[NEW, Login("ben", None), Request(0)])];
    for beyond in [Beyond::Refuse, Beyond::EvictOldest, Beyond::EvictIdlest] {
        scenarios.extend(each(more, |scenario| troubles(&scenario.limited(2, beyond), wide)));
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
    Family { name: "names", scenarios: each(lists, |scenario| troubles(&scenario, wide)) }
}

/// IDX-6: a copied id is noticed, and all sessions of its principal end, logins that are under way among them.
fn copies(wide: bool) -> Family {
    let noticed: &[Deed] = &[NEW, NEW, Request(0), Wait(16 * MINUTE), Rotate(0), Request(4), Wait(MINUTE)];
    let lists: &[(&[Deed], &[Deed])] =
        &[(noticed, &[Request(0), NEW]), (noticed, &[Request(0), Request(1), Logout(4)])];
    let scenarios = each(lists, |scenario| {
        let scenario = Scenario { reuse: Reuse::RevokeAll, ..scenario };
        troubles(&scenario, wide)
    });
    Family { name: "copies", scenarios }
}
