//! What the search leaves out, it may leave out: each reduction of `reductions` with a test that its reason holds in the
//! code.

use std::collections::HashMap;

use coatroom_tests::exchange::{Exchange, Inputs, Phase};
use coatroom_tests::families::{Width, families, mixed};
use coatroom_tests::reductions::Pauses;
use coatroom_tests::scenarios::{BEFORES, GRACE, REQUESTS, Spec};
use coatroom_tests::search::{Bounds, Scenario};
use coatroom_tests::world::{Step, Trouble, VICTIM, World};

const ANYWHERE: Pauses = Pauses { open: true, close: true };

/// A world on the way through a scenario.
#[derive(Clone)]
struct Place {
    world: World,
    moment: usize,
}

impl Place {
    fn of(scenario: &Scenario, bounds: Bounds) -> Self {
        let mut world = scenario.world.clone();
        world.setup = world.setup.remembering().into();
        world.trouble = bounds.trouble;
        Self { world, moment: 0 }
    }

    fn after(&self, scenario: &Scenario, step: Step) -> Result<Self, String> {
        let mut next = self.clone();
        if step == Step::Tick {
            next.world.now = scenario.moments[next.moment];
            next.moment += 1;
        }
        next.world.step(step).map_err(|violation| violation.to_string())?;
        Ok(next)
    }

    fn fingerprint(&self, scenario: &Scenario) -> u128 {
        self.world.fingerprint(scenario.first)
    }
}

/// What can come of a place: each step with the fingerprint or the violation that it leads to, or, where nothing can
/// happen any more, what comes of everybody asking again.
type Future = Vec<(Option<Step>, Result<u128, String>)>;

fn future(scenario: &Scenario, bounds: Bounds, place: &Place) -> Future {
    let steps = scenario.enabled(&place.world, place.moment, bounds.pauses);
    if steps.is_empty() {
        let again = place.world.clone().ask_again(bounds.nodes);
        return vec![(None, again.map(|()| 0).map_err(|violation| violation.to_string()))];
    }
    let led_to = |step| place.after(scenario, step).map(|next| next.fingerprint(scenario));
    steps.into_iter().map(|step| (Some(step), led_to(step))).collect()
}

/// The first scenarios of all families, in mixed order.
fn some_scenarios(count: usize) -> impl Iterator<Item = (Spec, Scenario)> {
    mixed(families(Width::Test)).into_iter().take(count).map(|spec| (spec.clone(), spec.scenario()))
}

/// Every world of these scenarios, up to so many of each, found as the search finds them; again and again those that it
/// would not look at twice.
fn each_place(count: usize, most: usize, mut look: impl FnMut(&Spec, &Scenario, &Place)) {
    for (spec, scenario) in some_scenarios(count) {
        let mut known = HashMap::new();
        let mut next = vec![Place::of(&scenario, spec.bounds)];
        while let Some(place) = next.pop() {
            look(&spec, &scenario, &place);
            for step in scenario.enabled(&place.world, place.moment, spec.bounds.pauses) {
                let after = place.after(&scenario, step).unwrap();
                if known.len() >= most {
                    break;
                }
                let times: &mut u32 = known.entry(after.fingerprint(&scenario)).or_default();
                *times += 1;
                // A second time, so that there is something to compare.
                if *times <= 2 {
                    next.push(after);
                }
            }
        }
    }
}

fn running(world: &World, first: usize) -> impl Iterator<Item = &Exchange> {
    world.exchanges[first..].iter().map(|exchange| &**exchange)
}

#[test]
fn worlds_of_one_fingerprint_have_the_same_future() {
    let mut futures: HashMap<(String, u128), Future> = HashMap::new();
    let mut compared = 0;
    each_place(300, 400, |spec, scenario, place| {
        let found = future(scenario, spec.bounds, place);
        let key = (scenario.name.clone(), place.fingerprint(scenario));
        if let Some(known) = futures.get(&key) {
            compared += 1;
            assert_eq!(*known, found, "{}", scenario.name);
        } else {
            futures.insert(key, found);
        }
    });
    assert!(compared > 5_000, "{compared} worlds were met again");
}

#[test]
fn the_same_inputs_come_to_the_same() {
    let mut made = 0;
    each_place(200, 100, |_, scenario, place| {
        for exchange in running(&place.world, scenario.first).filter(|exchange| exchange.phase > Phase::Sent) {
            made += 1;
            let ring = &place.world.setup.rings[exchange.inputs.ring];
            assert!(exchange.is_reproducible(ring), "{}", scenario.name);
        }
    });
    assert!(made > 5_000, "{made} exchanges were made anew");
}

#[test]
fn an_arrival_reads_nothing_but_the_request_the_ring_and_the_clock() {
    let mut arrivals: HashMap<_, Vec<_>> = HashMap::new();
    each_place(200, 100, |_, scenario, place| {
        for exchange in running(&place.world, scenario.first).filter(|exchange| exchange.phase == Phase::Sent) {
            let mut world = place.world.clone();
            let (node, number) = (exchange.script.node, exchange.number);
            world.setup = scenario.world.setup.clone();
            if world.step(Step::Arrive(number)).is_ok() {
                let read = (&exchange.sent.0, world.rings[node], world.clock(node));
                let after = &world.exchanges[number];
                let came = (after.phase, after.inputs.clone(), after.load, after.opened.clone());
                arrivals.entry(format!("{} {number} {read:?}", scenario.name)).or_default().push(came);
            }
        }
    });
    assert!(arrivals.values().map(Vec::len).sum::<usize>() > 2 * arrivals.len(), "none came twice");
    for (read, came) in &arrivals {
        assert!(came.windows(2).all(|pair| pair[0] == pair[1]), "{read}");
    }
}

#[test]
fn only_arrivals_and_closings_read_the_clock() {
    let mut taken = 0;
    each_place(200, 100, |spec, scenario, place| {
        for step in scenario.enabled(&place.world, place.moment, spec.bounds.pauses) {
            let reads = matches!(step, Step::Arrive(_) | Step::Look(_) | Step::Close(_) | Step::Tick | Step::Send(_));
            // A promise about time speaks of the time; whether such a world keeps it is not the exchange's doing.
            if reads || place.world.setup.timely {
                continue;
            }
            taken += 1;
            let mut later = place.world.clone();
            later.now += GRACE;
            let now = later.step(step).map(|()| {
                later.now = place.world.now;
                later.fingerprint(scenario.first)
            });
            let expected = place.after(scenario, step).map(|next| next.fingerprint(scenario));
            assert_eq!(now.map_err(|violation| violation.to_string()), expected, "{step:?} {}", scenario.name);
        }
    });
    assert!(taken > 5_000, "{taken} steps");
}

#[test]
fn a_response_without_cookies_changes_no_browser() {
    let mut answered = 0;
    each_place(200, 100, |spec, scenario, place| {
        for step in scenario.enabled(&place.world, place.moment, spec.bounds.pauses) {
            let Ok(next) = place.after(scenario, step) else { continue };
            for (before, after) in running(&place.world, scenario.first).zip(running(&next.world, scenario.first)) {
                let silent = after.answer.as_ref().is_some_and(|answer| answer.cookies.is_empty());
                if silent && before.phase < Phase::Answered && after.phase == Phase::Delivered {
                    answered += 1;
                    assert_eq!(*place.world.browsers, *next.world.browsers, "{}", scenario.name);
                }
            }
        }
    });
    assert!(answered > 500, "{answered} silent answers");
}

#[test]
fn before_its_first_swap_an_exchange_changes_nothing_but_itself() {
    let mut taken = 0;
    each_place(200, 100, |_, scenario, place| {
        for exchange in running(&place.world, scenario.first).filter(|exchange| {
            exchange.phase < Phase::Saving && exchange.phase != Phase::Taking && exchange.token.is_none()
        }) {
            let Some(step) = place.world.next_of(exchange.number) else { continue };
            let Ok(next) = place.after(scenario, step) else { continue };
            // What is told is told by the delivery, which is a step of its own.
            if next.world.exchanges[exchange.number].phase > Phase::Saving {
                continue;
            }
            taken += 1;
            let (before, after) = (&place.world, &next.world);
            assert_eq!((&before.store.records, &*before.browsers), (&after.store.records, &*after.browsers));
            assert_eq!((before.now, before.rings, before.trouble), (after.now, after.rings, after.trouble));
            let (one, other) = ((&*before.undone, &*before.deadlines), (&*after.undone, &*after.deadlines));
            assert_eq!(one, other);
            assert_eq!((before.delayed.len(), before.unsynced.len()), (after.delayed.len(), after.unsynced.len()));
            for (one, other) in running(before, scenario.first).zip(running(after, scenario.first)) {
                assert!(one.number == exchange.number || one.history == other.history && one.phase == other.phase);
            }
        }
    });
    assert!(taken > 5_000, "{taken} steps");
}

/// What an exchange shows of itself, but for random bytes and the mark that it writes.
fn shape(exchange: &Exchange) -> impl PartialEq + std::fmt::Debug {
    let Inputs { opened_at, closed_at, .. } = exchange.inputs;
    let cookies = |cookies: &[String]| cookies.iter().map(|line| line.split('=').next().map(str::to_owned)).collect();
    let answer = exchange.answer.as_ref().map(|answer| {
        let events: Vec<_> = answer.events.iter().map(std::mem::discriminant).collect();
        let cookies: Vec<_> = cookies(&answer.cookies);
        (answer.error, cookies, answer.written.clone(), events)
    });
    let swap = exchange.swap.as_ref().map(|swap| (swap.expected.is_some(), swap.new.is_some(), swap.durable));
    (exchange.phase, opened_at, closed_at, exchange.load.is_some(), swap, answer)
}

#[test]
fn equal_requests_may_change_places() {
    let mut compared = 0;
    for (before, ops) in BEFORES.into_iter().flat_map(|before| REQUESTS.map(|ops| (before, ops))) {
        let trouble = Trouble { faults: 1, ..Trouble::default() };
        let spec = Spec::new(before, Bounds { trouble, pauses: ANYWHERE, nodes: 1 });
        let spec = spec.ask(VICTIM, ops, 0).ask(VICTIM, ops, 0);
        let scenario = spec.scenario();
        let first = scenario.first;
        let mirrored = |step: Step| {
            let other = |number: usize| 2 * first + 1 - number;
            match step {
                Step::Send(number) => Step::Send(other(number)),
                Step::Arrive(number) => Step::Arrive(other(number)),
                Step::Load(number) => Step::Load(other(number)),
                Step::Close(number) => Step::Close(other(number)),
                Step::Swap(number) => Step::Swap(other(number)),
                Step::SwapUnheard(number) => Step::SwapUnheard(other(number)),
                Step::SwapLost(number) => Step::SwapLost(other(number)),
                Step::Reload(number) => Step::Reload(other(number)),
                Step::Deliver(number) => Step::Deliver(other(number)),
                step => step,
            }
        };
        let mut known = std::collections::HashSet::new();
        let start = Place::of(&scenario, spec.bounds);
        let mut next = vec![(start.clone(), start)];
        while let Some((one, other)) = next.pop() {
            for step in scenario.enabled(&one.world, one.moment, ANYWHERE) {
                let (one, other) = (one.after(&scenario, step), other.after(&scenario, mirrored(step)));
                let (one, other) = (one.unwrap(), other.unwrap());
                compared += 1;
                let [a, b] = [0, 1].map(|at| shape(&one.world.exchanges[first + at]));
                let [c, d] = [1, 0].map(|at| shape(&other.world.exchanges[first + at]));
                assert_eq!((a, b), (c, d), "{step:?} {}", scenario.name);
                let fronts = |place: &Place| place.world.store.records.len();
                assert_eq!(fronts(&one), fronts(&other));
                if known.len() < 300 && known.insert(one.fingerprint(&scenario)) {
                    next.push((one, other));
                }
            }
        }
    }
    assert!(compared > 10_000, "{compared} steps");
}
