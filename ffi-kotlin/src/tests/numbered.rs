//! The calls that go by numbers, as the crate for JNI makes them.

use std::collections::HashSet;
use std::sync::Arc;
use std::thread;

use uniffi::Lift;

use super::{batch, coatroom};
use crate::numbered::{DONE, FAILED, Numbers, REFUSED, apply, begin, coded, commit, drop, exchange_numbered};
use crate::{Closed, Head, Refusal, Step, UniFfiTag, View};

fn read<T: Lift<UniFfiTag>>(bytes: &mut &[u8]) -> T {
    T::try_read(bytes).unwrap()
}

fn done<T: Lift<UniFfiTag>>(bytes: &[u8]) -> T {
    let (kind, mut rest) = bytes.split_first().unwrap();
    assert_eq!(*kind, DONE, "{:?}", code(bytes));
    let value = read(&mut rest);
    assert!(rest.is_empty());
    value
}

fn code(bytes: &[u8]) -> String {
    let (kind, mut rest) = bytes.split_first().unwrap();
    assert_eq!(*kind, REFUSED);
    read::<Refusal>(&mut rest).code().to_owned()
}

fn begun(coatroom: i64, cookies: &[u8]) -> (View, i64) {
    let bytes = begin(coatroom, cookies, false);
    assert_eq!(bytes.first(), Some(&DONE));
    let mut rest = bytes.get(1..).unwrap();
    let both = (read(&mut rest), read(&mut rest));
    assert!(rest.is_empty());
    both
}

fn closed(bytes: &[u8]) -> Closed {
    if let Step::Closed { closed } = done(bytes) { closed } else { panic!("not closed") }
}

#[test]
fn an_exchange_goes_by_its_number_and_is_the_one_that_objects_show() {
    let coatroom = coatroom(Some("memory"));
    let number = Arc::clone(&coatroom).number();
    assert_eq!(number, Arc::clone(&coatroom).number());
    let (view, exchange) = begun(number, b"");
    assert!(view.data.is_empty());
    let view: View = done(&apply(exchange, &batch(&[("add", &["n"], Some(2))])));
    assert_eq!(view.sum, Some(2));
    assert_eq!(exchange_numbered(exchange).unwrap().apply(&[]).unwrap().data, view.data);
    let cookies = closed(&commit(exchange, &[], &[])).set_cookies;
    let cookie = cookies.first().unwrap().split(';').next().unwrap();
    assert_eq!(begun(number, cookie.as_bytes()).0.data, view.data);
}

#[test]
fn what_the_response_has_already_is_read() {
    let coatroom = coatroom(Some("memory"));
    let (_, exchange) = begun(Arc::clone(&coatroom).number(), b"");
    let mut head = Vec::new();
    <Head as uniffi::Lower<UniFfiTag>>::write(Head { vary: Some("Origin".to_owned()), cache_control: None }, &mut head);
    let edits = batch(&[("add", &["n"], Some(1))]);
    assert_eq!(closed(&commit(exchange, &edits, &head)).vary.as_deref(), Some("Origin, Cookie"));
}

#[test]
fn a_number_is_of_no_use_after_the_commit_or_the_drop() {
    let coatroom = coatroom(Some("memory"));
    let number = Arc::clone(&coatroom).number();
    let committed = begun(number, b"").1;
    closed(&commit(committed, &[], &[]));
    let refused = begun(number, b"").1;
    assert_eq!(code(&commit(refused, b"junk", &[])), "border");
    let ill = begun(number, b"").1;
    assert_eq!(code(&commit(ill, &[], b"junk")), "border");
    let dropped = begun(number, b"").1;
    drop(dropped);
    for gone in [committed, refused, ill, dropped, 0, -1, i64::MIN, i64::MAX] {
        drop(gone);
        assert_eq!(code(&apply(gone, &[])), "wrong-stage");
        assert_eq!(code(&commit(gone, &[], &[])), "wrong-stage");
        assert_eq!(exchange_numbered(gone).unwrap_err().code(), "wrong-stage");
    }
}

#[test]
fn a_coatroom_that_is_closed_has_no_number_any_more_and_its_exchanges_end_well() {
    let coatroom = coatroom(Some("memory"));
    let number = Arc::clone(&coatroom).number();
    let (_, exchange) = begun(number, b"");
    std::mem::drop(coatroom);
    for gone in [number, 0, -1, i64::MAX] {
        assert_eq!(code(&begin(gone, b"", false)), "border");
    }
    closed(&commit(exchange, &[], &[]));
}

#[test]
fn a_store_of_the_application_is_not_asked_by_numbers() {
    let coatroom = coatroom(None);
    assert_eq!(code(&begin(Arc::clone(&coatroom).number(), b"", false)), "border");
    assert!(coatroom.begin(b"", false).is_ok());
}

#[test]
fn a_panic_ends_at_the_border() {
    for bytes in [coded(|_| panic!("on purpose")), coded(|_| panic!("{} purpose", "on"))] {
        let (kind, mut rest) = bytes.split_first().unwrap();
        assert_eq!((*kind, read::<String>(&mut rest)), (FAILED, "on purpose".to_owned()));
    }
}

#[test]
fn no_number_is_given_twice() {
    static NUMBERS: Numbers<()> = Numbers::new();
    let some = || (0..1000).map(|_| NUMBERS.put(())).inspect(|number| assert_eq!(NUMBERS.take(*number), Some(())));
    let threads: Vec<_> = (0..8).map(|_| thread::spawn(move || some().collect::<Vec<_>>())).collect();
    let given: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    assert_eq!(given.iter().collect::<HashSet<_>>().len(), 8000);
    assert_eq!(NUMBERS.len(), 0);
}
