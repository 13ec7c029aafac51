//! Every schedule of logins, revocations, evictions and new names that overlap, on the shipped driver and the shipped core.
//!
//! `COATROOM_CROWD=2` searches more; `COATROOM_FAMILY` names the one family to search, and `COATROOM_SEARCH_EACH` prints the
//! size of each scenario.

use std::sync::Mutex;
use std::time::Instant;

use coatroom_tests::crowd::families::families;
use coatroom_tests::crowd::search::Found;

#[test]
// spec: CLAIM-8 6865, IDX-1 7e62, IDX-2 e0df, IDX-4 667d, IDX-5 75ca, IDX-6 5449, IDX-8 b396, LIMIT-1 3719
fn no_schedule_loses_or_spares_a_session_that_it_must_not() {
    let wide = std::env::var("COATROOM_CROWD").is_ok_and(|width| width != "1");
    let wanted = std::env::var("COATROOM_FAMILY").ok();
    let each = std::env::var_os("COATROOM_SEARCH_EACH").is_some();
    let begin = Instant::now();
    let mut all = Found::default();
    for family in families(wide).iter().filter(|family| wanted.as_deref().is_none_or(|name| name == family.name)) {
        let queue = Mutex::new(family.scenarios.iter());
        let next = || queue.lock().unwrap().next();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let search = || {
            let mut sum = Found::default();
            while let Some(scenario) = next() {
                let found = scenario.search().unwrap_or_else(|told| panic!("{told}"));
                if each {
                    println!("{:>9} {scenario:?}", found.states);
                }
                sum.add(&found);
            }
            sum
        };
        let mut sum = Found::default();
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(search)).collect();
            running.into_iter().for_each(|thread| sum.add(&thread.join().unwrap()));
        });
        println!(
            "{:>12}: {} scenarios, {} states, {} steps, {} ends, up to {} deep",
            family.name,
            family.scenarios.len(),
            sum.states,
            sum.steps,
            sum.ends,
            sum.deepest
        );
        all.add(&sum);
    }
    println!("{} distinct states, {} steps, {:.0} s", all.states, all.steps, begin.elapsed().as_secs_f32());
    if wanted.is_none() {
        assert!(all.states >= 300_000, "a search that became small shows little: {} states", all.states);
    }
}
