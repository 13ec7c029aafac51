//! Texts and numbers on the wire: each has one form, and what is near it is refused.

use core::time::Duration;

use coatroom_core::staged::{Staged, Waiting};
use coatroom_core::value::ValueError;
use coatroom_core::{
    CookieError, CookieSettings, ID_CHARS, KeyError, KeyRing, Policy, PolicyError, Settings, Timestamp, Value,
};
use coatroom_tests::scenarios::settings;

use super::forge::{NOW, handle, id, open, rules};

#[test]
// spec: ID-3 a335, KEY-1 d259
fn an_id_or_a_key_counts_only_as_it_was_written() {
    // Foreign characters that the decoder reads as the bits of others.
    let text = id(5);
    for at in 0..ID_CHARS {
        for foreign in ["!", "=", "+", "/", "[", "`", "{", "@", ":", ",", ".", "^", "~", "\u{7f}"] {
            let staged = open(&rules(settings()), &[&text[..at], foreign, &text[at + 1..]].concat(), b"", NOW);
            assert!(matches!(staged.waiting(), Waiting::Handler), "{foreign} at {at}");
        }
    }
    let key = |end: &str| KeyRing::parse(&format!("1:{}{end}", "A".repeat(42))).err();
    assert_eq!(key("A"), None);
    // Bits after the last byte of a text that is one, and two, characters short of a group.
    for end in ["B", "C", "AAAB", "AAB", "AAAAB"] {
        assert_eq!(key(end), Some(KeyError::Malformed { position: 1 }), "{end}");
    }
}

#[test]
// spec: COOK-5 2d59, COOK-6 7a78
fn a_path_is_printable_and_ends_no_attribute() {
    for byte in 0..=127_u8 {
        let path = format!("/a{}", char::from(byte));
        let cookies = CookieSettings { path, domain: Some("example.org".to_owned()), ..CookieSettings::default() };
        let policy = Policy::try_from(Settings { cookies, ..Settings::default() });
        let allowed = byte.is_ascii_graphic() && byte != b';';
        assert_eq!(policy.err(), (!allowed).then_some(PolicyError::Cookie(CookieError::Attribute)), "{byte}");
    }
}

#[test]
fn a_number_takes_the_fewest_bytes_that_hold_it() {
    let sizes = [(1.5, 3), (65_504.0, 3), (65_505.0, 5), (0.1, 9), (f64::from(0.1_f32), 5)];
    for (number, bytes) in sizes {
        assert_eq!(Value::Float(number).encode().unwrap().as_bytes().len(), bytes, "{number}");
    }
}

#[test]
// spec: COOK-7 03b4
fn a_header_that_is_no_text_is_read_all_the_same() {
    let header = [b"x=\xff; y=\xfe=; ; =; __Host-id=", id(5).as_bytes(), b"; z"].concat();
    let opening = rules(settings()).open(&header, Timestamp::from_unix_ms(NOW));
    assert!(matches!(Staged::from(opening).waiting(), Waiting::Load(asked) if asked == handle()));
}

#[test]
// spec: VAL-2 59d7
fn tags_and_other_simple_values_are_no_values() {
    for bytes in [&b"\xc0\x01"[..], b"\xd8\x20\x61a", b"\xe0", b"\xf7", b"\xf8\x20", b"\xff"] {
        assert_eq!(Value::decode(bytes).err(), Some(ValueError::NotCanonical), "{bytes:?}");
    }
}

#[test]
fn a_span_of_four_hundred_days_is_the_longest() {
    let days = Duration::from_secs(400 * 24 * 3600);
    for (more, allowed) in [(0, true), (1, false)] {
        let absolute = days + Duration::from_millis(more);
        assert_eq!(Policy::try_from(Settings { absolute, ..settings() }).is_ok(), allowed);
        assert_eq!(Policy::try_from(Settings { tombstone: absolute, ..settings() }).is_ok(), allowed);
    }
}
