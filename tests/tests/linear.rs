//! The check of histories accepts what can be put into an order, and nothing else.

use coatroom_tests::linear::{Access, Event, Object, Register, check};
use coatroom_tests::rng::Fixed;
use rand_core::TryRng;

use Access::{Load, Refused, Swapped};

fn seen(began: u64, ended: u64, call: Access) -> Event<Access> {
    Event { call, began, ended: Some(ended) }
}

fn unknown(began: u64, call: Access) -> Event<Access> {
    Event { call, began, ended: None }
}

fn accepts(history: &[Event<Access>]) -> bool {
    check::<Register>(None, history).is_ok()
}

#[test]
fn what_happened_in_order_is_accepted() {
    assert!(accepts(&[]));
    assert!(accepts(&[
        seen(1, 2, Load(None)),
        seen(3, 4, Swapped(None, Some(1))),
        seen(5, 6, Refused(None, Some(1))),
        seen(7, 8, Swapped(Some(1), Some(2))),
        seen(9, 10, Refused(Some(1), Some(2))),
        seen(11, 12, Swapped(Some(2), None)),
        seen(13, 14, Refused(Some(2), None)),
        seen(15, 16, Load(None)),
    ]));
}

#[test]
fn calls_that_overlap_may_take_place_in_either_order() {
    for found in [None, Some(1)] {
        assert!(accepts(&[seen(1, 4, Swapped(None, Some(1))), seen(2, 3, Load(found))]));
    }
}

#[test]
fn a_read_of_what_was_replaced_before_it_began_is_refused() {
    assert!(!accepts(&[seen(1, 2, Swapped(None, Some(1))), seen(3, 4, Load(None))]));
}

#[test]
fn two_reads_never_go_back() {
    let write = seen(1, 10, Swapped(None, Some(1)));
    assert!(accepts(&[write.clone(), seen(2, 3, Load(None)), seen(4, 5, Load(Some(1)))]));
    assert!(!accepts(&[write, seen(2, 3, Load(Some(1))), seen(4, 5, Load(None))]));
}

#[test]
fn two_swaps_of_one_record_do_not_both_take_place() {
    let first = seen(1, 2, Swapped(None, Some(1)));
    let (one, other) = (seen(3, 6, Swapped(Some(1), Some(2))), seen(4, 5, Swapped(Some(1), Some(3))));
    assert!(!accepts(&[first, one, other]));
}

#[test]
fn a_refusal_that_shows_what_was_expected_is_a_lie() {
    assert!(!accepts(&[seen(1, 2, Swapped(None, Some(1))), seen(3, 4, Refused(Some(1), Some(1)))]));
}

#[test]
fn an_acknowledged_write_that_is_gone_is_noticed() {
    let history =
        [seen(1, 2, Swapped(None, Some(1))), seen(3, 4, Swapped(Some(1), Some(2))), seen(5, 6, Load(Some(1)))];
    let complaint = check::<Register>(None, &history).unwrap_err();
    assert!(complaint.contains("after 2 of 3 calls"), "{complaint}");
}

#[test]
fn a_write_that_nobody_made_is_noticed() {
    assert!(!accepts(&[seen(1, 2, Load(Some(7)))]));
}

#[test]
fn an_unknown_outcome_takes_place_late_or_never_but_not_early_and_not_twice() {
    let doubt = unknown(3, Swapped(Some(1), Some(2)));
    let begun = seen(1, 2, Swapped(None, Some(1)));
    let with = |more: &[Event<Access>]| accepts(&[&[begun.clone(), doubt.clone()], more].concat());
    assert!(with(&[seen(5, 6, Load(Some(1))), seen(7, 8, Load(Some(2)))]));
    assert!(with(&[seen(5, 6, Load(Some(1))), seen(7, 8, Swapped(Some(1), Some(3)))]));
    assert!(!with(&[seen(5, 6, Load(Some(2))), seen(7, 8, Load(Some(1)))]));
    assert!(!with(&[seen(5, 6, Swapped(Some(1), Some(3))), seen(7, 8, Load(Some(2)))]));
    assert!(!accepts(&[begun, seen(2, 3, Load(Some(2))), unknown(4, Swapped(Some(1), Some(2)))]));
}

/// A set of at most one: what was put in may be put in again.
enum Flag {}

impl Object for Flag {
    type State = bool;
    /// Raised, lowered or seen.
    type Call = (Option<bool>, bool);

    fn after(state: &bool, (new, seen): &(Option<bool>, bool)) -> Option<bool> {
        new.or((seen == state).then_some(*state))
    }

    fn only_looks(call: &(Option<bool>, bool)) -> bool {
        call.0.is_none()
    }
}

#[test]
fn a_call_that_would_change_nothing_at_first_may_have_to_come_later() {
    let seen = |began, ended, call| Event { call, began, ended: Some(ended) };
    let (lowers, raises) = (seen(1, 6, (Some(false), false)), seen(2, 3, (Some(true), false)));
    let looks = |state| seen(7, 8, (None, state));
    for state in [false, true] {
        assert!(check::<Flag>(false, &[lowers.clone(), raises.clone(), looks(state)]).is_ok());
    }
    assert!(check::<Flag>(false, &[lowers, raises, looks(false), seen(9, 10, (None, true))]).is_err());
}

/// Every order of a small history, one after another: slow, and plainly right.
fn brute_force(state: Option<u64>, history: &[Event<Access>]) -> bool {
    let until = history.iter().filter_map(|event| event.ended).min().unwrap_or(u64::MAX);
    history.iter().all(|event| event.ended.is_none())
        || (0..history.len()).filter(|at| history[*at].began < until).any(|at| {
            let rest = [&history[..at], &history[at + 1..]].concat();
            Register::after(&state, &history[at].call).is_some_and(|state| brute_force(state, &rest))
        })
}

/// What a register says to calls that take place one after another, seen through intervals that overlap; in every other
/// history one of the answers is made up.
fn history(seed: u64) -> Vec<Event<Access>> {
    let mut rng = Fixed::new(seed);
    let mut draw = |below: u64| rng.try_next_u64().unwrap() % below;
    let mut state = None;
    let mut history: Vec<_> = (1..8)
        .map(|number| {
            let guess = if draw(3) > 0 { state } else { Some(draw(number)).filter(|record| *record > 0) };
            let call = match draw(3) {
                0 => Load(state),
                _ if guess == state => Swapped(guess, Some(number).filter(|_| draw(6) > 0)),
                _ => Refused(guess, state),
            };
            let took_place = draw(8) > 0;
            if let (Swapped(_, new), true) = (&call, took_place) {
                state = *new;
            }
            // No two moments are the same.
            let (began, ended) = (10 * number - draw(25).min(10 * number), 10 * number + 1 + draw(25));
            let ended = Some(ended * 16 + number + 8).filter(|_| took_place);
            Event { call, began: began * 16 + number, ended }
        })
        .collect();
    if draw(2) == 0 {
        let at = draw(7) as usize;
        let other = Some(draw(8)).filter(|record| *record > 0);
        history[at].call = match &history[at].call {
            Load(_) => Load(other),
            Swapped(expected, _) | Refused(expected, _) => Refused(*expected, other),
        };
    }
    history
}

#[test]
fn it_agrees_with_trying_every_order() {
    let (mut accepted, mut refused) = (0, 0);
    for seed in 0..20_000 {
        let history = history(seed);
        let found = accepts(&history);
        assert_eq!(found, brute_force(None, &history), "seed {seed}: {history:?}");
        *(if found { &mut accepted } else { &mut refused }) += 1;
    }
    println!("{accepted} accepted, {refused} refused");
    assert!(accepted > 4000 && refused > 4000, "both kinds: {accepted}, {refused}");
}
