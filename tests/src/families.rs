//! The families of scenarios that are searched. Each is a list of beginnings and requests, and each search through one is
//! finite: see `search`. What a family bounds, it says.

use crate::fold::Fold;
use crate::ops::Op;
use crate::reductions::Pauses;
use crate::scenarios::{BEFORES, Before, FEW, FEWEST, Keys, REQUESTS, SKEW, Spec, casts, choices};
use crate::search::Bounds;
use crate::world::{NODES, Trouble, VICTIM};

/// Scenarios of one kind.
#[derive(Clone, Debug)]
pub struct Family {
    pub name: &'static str,
    pub specs: Vec<Spec>,
}

/// How much is searched.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Width {
    /// What every change must pass, in about a minute.
    Test,
    /// What a release must pass, in some hours.
    Assure,
}

const ANYWHERE: Pauses = Pauses { open: true, close: true };
const AHEAD: i64 = SKEW as i64;

type Requests = &'static [&'static [Op]];

/// Everything that is searched at this width.
pub fn families(width: Width) -> Vec<Family> {
    let wide = width == Width::Assure;
    vec![
        pairs(),
        nodes(if wide { &REQUESTS } else { &FEW }),
        troubles(if wide { &REQUESTS } else { &FEW }, wide),
        power(if wide { &REQUESTS } else { &FEW }, wide),
        keys(if wide { &REQUESTS } else { &FEWEST }),
        apart(if wide { &REQUESTS } else { &FEW }),
        chains(if wide { &FEW } else { &FEWEST }),
        repeats(if wide { &FEW } else { &FEWEST }),
        timely(wide),
        triples(wide),
        serial(wide),
    ]
}

/// The scenarios of all families in turn, in no order that anybody chose: where a defect is, one of the first shows it.
pub fn mixed(families: Vec<Family>) -> Vec<Spec> {
    let place = |family: &Family, at: usize| (Fold::of(&(family.name, at)), family.specs[at].clone());
    let mut placed: Vec<Vec<_>> =
        families.iter().map(|family| (0..family.specs.len()).map(|at| place(family, at)).collect()).collect();
    placed.iter_mut().for_each(|specs: &mut Vec<(u128, Spec)>| specs.sort_by_key(|(place, _)| *place));
    let longest = placed.iter().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|at| placed.iter().filter_map(move |specs| Some(specs.get(at)?.1.clone()))).collect()
}

/// All ways for so many of these requests to be asked by those who take part, on these nodes.
fn overlaps(befores: &[Before], requests: Requests, nodes: &[usize], bounds: Bounds) -> Vec<Spec> {
    let mut specs = Vec::new();
    for &before in befores {
        for cast in casts(before, nodes.len()) {
            for choice in choices(requests.len(), nodes.len()) {
                // Exchanges of one browser on one node may change places.
                let equal = |at: usize| (cast[at - 1], nodes[at - 1]) == (cast[at], nodes[at]);
                if (1..nodes.len()).all(|at| !equal(at) || choice[at - 1] <= choice[at]) {
                    let asked = cast.iter().zip(&choice).zip(nodes);
                    let spec = Spec::new(before, Bounds { nodes: NODES, ..bounds });
                    specs.push(asked.fold(spec, |spec, ((&who, &what), &node)| spec.ask(who, requests[what], node)));
                }
            }
        }
    }
    specs
}

fn with(mut specs: Vec<Spec>, change: impl Fn(&mut Spec)) -> Vec<Spec> {
    specs.iter_mut().for_each(change);
    specs
}

/// Two exchanges of every kind, on nodes of one clock, with every pause. Bounded by two exchanges and two ticks.
fn pairs() -> Family {
    let bounds = Bounds { pauses: ANYWHERE, ..Bounds::default() };
    Family { name: "pairs", specs: overlaps(&BEFORES, &REQUESTS, &[0, 0], bounds) }
}

/// Two exchanges on two nodes, of which the second is as far ahead or behind as the policy allows; the node that served
/// before is one of them. Bounded by two exchanges and two ticks.
fn nodes(requests: Requests) -> Family {
    let skewed = |ahead| {
        let both = [[0, 1], [1, 0]].into_iter();
        let specs = both.flat_map(|nodes| overlaps(&BEFORES, requests, &nodes, Bounds::default())).collect();
        with(specs, |spec| spec.clocks = [0, ahead, 0])
    };
    Family { name: "nodes", specs: [AHEAD, -AHEAD].into_iter().flat_map(skewed).collect() }
}

/// Two exchanges on two nodes; a swap or its answer may be lost, a swap may be late, an exchange may stop halfway, a
/// response may be lost, and one may arrive twice. Bounded by two exchanges, two ticks, and a budget for each trouble.
fn troubles(requests: Requests, wide: bool) -> Family {
    let few = [Before::LoggedIn, Before::Pending];
    let more = u8::from(wide);
    let trouble = Trouble { faults: 1, delays: 1, crashes: 1 + more, doubles: more, cuts: 0 };
    let bounds = Bounds { trouble, ..Bounds::default() };
    let specs = overlaps(if wide { &BEFORES } else { &few }, requests, &[0, 1], bounds);
    Family { name: "troubles", specs: with(specs, |spec| spec.clocks = [0, AHEAD, 0]) }
}

/// Two exchanges on two nodes, and a power failure that undoes any number of the newest writes that were not synced, those
/// of the beginning included, so that version numbers recur; nodes may outlive it, as if the store ran elsewhere. Swaps are
/// not late here: a store that forgets writes and remembers swaps under way is none that we know of. Bounded by two
/// exchanges, two ticks, one failure.
fn power(requests: Requests, wide: bool) -> Family {
    let trouble = Trouble { cuts: 1, faults: u8::from(wide), crashes: u8::from(wide), ..Trouble::default() };
    Family { name: "power", specs: overlaps(&BEFORES, requests, &[0, 1], Bounds { trouble, ..Bounds::default() }) }
}

/// Two exchanges on two nodes, each of which begins to sign with another key at some moment, and in half of the scenarios
/// forgets the old one. Bounded by two exchanges, two ticks, two changes of ring for each node.
fn keys(requests: Requests) -> Family {
    let of = |keys| with(overlaps(&BEFORES, requests, &[0, 1], Bounds::default()), |spec| spec.keys = keys);
    Family { name: "keys", specs: [Keys::Second, Keys::Withdrawn].into_iter().flat_map(of).collect() }
}

/// Two exchanges on two nodes whose clocks differ by more than the policy allows. Sessions may be unavailable then, and
/// rotations may cost a login; every claim that speaks of safety holds all the same. Bounded by two exchanges, two ticks.
fn apart(requests: Requests) -> Family {
    let trouble = Trouble { faults: 1, ..Trouble::default() };
    let skewed = |ahead| {
        let specs = overlaps(&BEFORES, requests, &[0, 1], Bounds { trouble, ..Bounds::default() });
        with(specs, |spec| spec.clocks = [0, ahead, 0])
    };
    Family { name: "apart", specs: [4 * AHEAD, -4 * AHEAD].into_iter().flat_map(skewed).collect() }
}

/// Two browsers, each with a request and then another with the cookies that the first one brought: whoever copied or
/// planted an id acts on what he is told. Bounded by four exchanges and two ticks.
fn chains(requests: Requests) -> Family {
    let mut specs = Vec::new();
    let wide = requests.len() > FEWEST.len();
    for before in
        if wide { &[Before::Planted, Before::Copied, Before::Grace][..] } else { &[Before::Planted, Before::Copied] }
    {
        let other = casts(*before, 2)[0][0];
        for choice in choices(requests.len(), 4) {
            let bounds = Bounds { nodes: 2, ..Bounds::default() };
            let mut spec = Spec::new(*before, bounds);
            for (at, what) in choice.into_iter().enumerate() {
                spec = spec.ask([other, VICTIM][at / 2], requests[what], at / 2);
                spec.scripts[at].after = (at % 2 == 1).then(|| at - 1);
            }
            specs.push(spec);
        }
    }
    Family { name: "chains", specs }
}

/// A request that something on the way sends again to another node, and another request of the same browser; in the wide
/// search responses may be lost, and one may arrive twice. Bounded by three exchanges and two ticks.
fn repeats(requests: Requests) -> Family {
    let wide = requests.len() > FEWEST.len();
    let trouble = Trouble { crashes: u8::from(wide), doubles: 1, ..Trouble::default() };
    let mut specs = Vec::new();
    for before in BEFORES {
        for choice in choices(requests.len(), 2) {
            let spec = Spec::new(before, Bounds { trouble, nodes: 2, ..Bounds::default() });
            let [first, other] = [requests[choice[0]], requests[choice[1]]];
            let mut spec = spec.ask(VICTIM, first, 0).ask(VICTIM, first, 1).ask(VICTIM, other, 0);
            spec.scripts[1].repeats = Some(0);
            specs.push(spec);
        }
    }
    Family { name: "repeats", specs }
}

/// Rotations among requests that keep to the times which claim 4 names, on nodes whose clocks differ; requests are sent
/// again, responses are lost and doubled. Bounded by three exchanges, in one scenario four, and five ticks over three times
/// the grace.
fn timely(wide: bool) -> Family {
    let rotate: &[Op] = &[Op::Rotate, Op::Add];
    let read: &[Op] = &[Op::Get("a")];
    let write: &[Op] = &[Op::Set("a")];
    let trouble = Trouble { crashes: 1, doubles: 1, faults: u8::from(wide), ..Trouble::default() };
    let mut specs = Vec::new();
    for before in [Before::LoggedIn, Before::Pending] {
        for [a, b, c] in [[rotate, read, rotate], [rotate, rotate, rotate], [rotate, write, read]] {
            let plain = Spec::new(before, Bounds { nodes: 2, ..Bounds::default() });
            let plain = Spec { timely: true, ..plain.ask(VICTIM, a, 0).ask(VICTIM, b, 1).ask(VICTIM, c, 0) };
            let clocks = [0, AHEAD, 0];
            specs.push(Spec { clocks, ..plain.clone() });
            specs.push(Spec { clocks: [0, -AHEAD, 0], ..plain.clone() });
            if b != a || c != a {
                let mut troubled = plain.clone();
                (troubled.bounds.trouble, troubled.scripts[1].repeats) = (trouble, Some(0));
                troubled.scripts[1].ops = a.to_vec();
                specs.push(troubled);
            }
            if wide {
                specs.push(Spec { bounds: Bounds { trouble, ..plain.bounds }, clocks, ..plain });
            }
        }
    }
    let plain = Spec::new(Before::Pending, Bounds { nodes: 1, ..Bounds::default() });
    let four = [read, read, read, rotate].into_iter().fold(plain, |spec, ops| spec.ask(VICTIM, ops, 0));
    specs.push(Spec { timely: true, ticks: if wide { 5 } else { 1 }, ..four });
    Family { name: "timely", specs }
}

/// Three exchanges, in the wide search on three nodes of three clocks, where one may stop halfway and a swap or its answer
/// be lost. Bounded by three exchanges, two ticks and a budget for each trouble.
fn triples(wide: bool) -> Family {
    if !wide {
        let few = [Before::Planted, Before::LoggedIn, Before::Grace];
        let specs = overlaps(&few, &FEWEST, &[0, 1, 0], Bounds::default());
        return Family { name: "triples", specs: with(specs, |spec| spec.clocks = [0, AHEAD, 0]) };
    }
    let trouble = Trouble { faults: 1, crashes: 1, ..Trouble::default() };
    let specs = overlaps(&BEFORES, &FEW, &[0, 1, 2], Bounds { trouble, ..Bounds::default() });
    Family { name: "triples", specs: with(specs, |spec| spec.clocks = [0, AHEAD, AHEAD / 2]) }
}

/// Two exchanges on two nodes, of which the first takes its turn, and the second takes one too or does something else; a
/// swap or its answer may be lost, and each may stop halfway, its turn in hand. And three in turn on nodes of three clocks.
/// Bounded by two exchanges, in some scenarios three, two ticks that each outlast every turn, and a budget for each trouble.
fn serial(wide: bool) -> Family {
    const TURNS: [&[Op]; 4] =
        [&[Op::ReadAdd], &[Op::ReadAdd, Op::Discard], &[Op::ReadAdd, Op::Login("alice")], &[Op::Logout, Op::ReadAdd]];
    const BESIDE: [&[Op]; 8] = [
        &[],
        &[Op::Add],
        &[Op::Strict, Op::Set("b")],
        &[Op::Rotate, Op::Update],
        &[Op::Login("alice"), Op::Add],
        &[Op::Elevate],
        &[Op::Login("bob"), Op::Set("b")],
        &[Op::Logout],
    ];
    let few = [Before::Visitor, Before::LoggedIn];
    let more = u8::from(wide);
    let trouble = Trouble { faults: 1, crashes: 1, delays: more, ..Trouble::default() };
    let in_turn = |before, turns: &[&[Op]], beside: Option<&[Op]>, ahead| {
        let spec = Spec::new(before, Bounds { trouble, nodes: 2, ..Bounds::default() });
        let nodes = turns.iter().zip(0..);
        let mut spec = nodes.fold(spec, |spec, (ops, node)| spec.ask(VICTIM, ops, node));
        spec.scripts.iter_mut().for_each(|script| script.serial = true);
        let spec = beside.into_iter().fold(spec, |spec, ops| spec.ask(VICTIM, ops, 1));
        Spec { clocks: [0, ahead, AHEAD / 2], ticks: 2, ..spec }
    };
    let mut specs = Vec::new();
    for &before in if wide { &BEFORES[..] } else { &few } {
        for &ahead in if wide { &[AHEAD, -AHEAD][..] } else { &[AHEAD] } {
            for turn in TURNS {
                specs.extend(BESIDE.map(|beside| in_turn(before, &[turn], Some(beside), ahead)));
                specs.extend(TURNS.map(|other| in_turn(before, &[turn, other], None, ahead)));
            }
        }
    }
    if wide {
        specs.push(in_turn(Before::LoggedIn, &[TURNS[0]; 3], None, AHEAD));
    }
    Family { name: "serial", specs }
}
