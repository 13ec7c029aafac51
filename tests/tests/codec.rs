//! What is written reads back the same, nothing else reads at all, and nothing outgrows its budget: values, records, ids
//! and key rings, through the public interface. `COATROOM_CASES` sets how many of each (100,000 unless given).

use std::sync::Arc;
use std::time::Duration;

use coatroom_core::staged::{Staged, Waiting};
use coatroom_core::value::{Encoded, MAX_DEPTH, Reader, Token, ValueError, Writer as CoreWriter, key_order};
use coatroom_core::{
    Client, Error, Event, ID_CHARS, KeyRing, Listed, Loaded, Policy, Rotation, Rules, Session, Settings, Timestamp,
    Value,
};
use coatroom_tests::browser::{Browser, NAMES};
use coatroom_tests::choices::Choices;
use coatroom_tests::record::{Front, Previous};
use coatroom_tests::rng::Fixed;
use coatroom_tests::store::Store;
use coatroom_tests::values::{Writer, damage, text, value};
use coatroom_tests::world::{RING, START};

fn cases() -> impl Iterator<Item = u64> {
    let seed: u64 = std::env::var("COATROOM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let cases = std::env::var("COATROOM_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(100_000);
    (0..cases).map(move |case| seed << 40 | case)
}

/// Reads token by token and writes the same again, as a binding does.
fn copy(reader: &mut Reader<'_>, writer: &mut CoreWriter) -> Result<(), ValueError> {
    match reader.token()? {
        Token::Null => writer.null(),
        Token::Bool(value) => writer.bool(value),
        Token::Int(value) => writer.int(value),
        Token::Float(value) => writer.float(value)?,
        Token::Text(value) => writer.text(value),
        Token::Bytes(value) => writer.bytes(value),
        Token::List(items) => {
            writer.list(items as usize);
            (0..items).try_for_each(|_| copy(reader, writer))?;
        }
        Token::Map(items) => {
            writer.map(items as usize);
            let mut last = None;
            for _ in 0..items {
                writer.text(reader.key(&mut last)?);
                copy(reader, writer)?;
            }
        }
    }
    Ok(())
}

#[test]
fn a_value_is_written_as_a_second_writer_does_and_reads_back_the_same() {
    let second = Writer::default();
    for case in cases() {
        let value = value(&mut Choices::random(case), 4);
        let encoded = value.encode().unwrap();
        assert_eq!(encoded.as_bytes(), second.write(&value), "case {case}: {value:?}");
        let back = Value::decode(encoded.as_bytes()).unwrap();
        // Debug tells -0.0 from 0.0, and an integer from a float.
        assert_eq!(format!("{back:?}"), format!("{value:?}"), "case {case}");
        let mut writer = CoreWriter::default();
        copy(&mut Reader::new(encoded.as_bytes()), &mut writer).unwrap();
        assert_eq!(writer.into_bytes(), encoded.as_bytes(), "case {case}");
    }
}

#[test]
fn damaged_bytes_are_no_value_or_the_only_encoding_of_another() {
    let mut accepted = 0;
    for case in cases() {
        let mut choices = Choices::random(case);
        let mut bytes = value(&mut choices, 3).encode().unwrap().as_bytes().to_vec();
        damage(&mut choices, &mut bytes);
        let decoded = Value::decode(&bytes);
        let checked = Encoded::from_bytes(bytes.clone());
        assert_eq!(decoded.as_ref().err(), checked.as_ref().err(), "case {case}: {bytes:x?}");
        if let Ok(value) = decoded {
            assert_eq!(value.encode().unwrap().as_bytes(), bytes, "case {case}: {value:?}");
            accepted += 1;
        }
    }
    assert!(accepted > 10, "only {accepted} damaged values were read at all");
}

#[test]
fn thirty_two_levels_are_read_and_written_and_no_more() {
    for case in cases().take(1_000) {
        let mut choices = Choices::random(case);
        let levels = choices.within(MAX_DEPTH - 2, MAX_DEPTH + 2);
        let inside = value(&mut choices, 0);
        let wrap = |inner: (Value, Vec<u8>), _| {
            let (inner, bytes) = inner;
            if choices.one_in(2) {
                (Value::List(vec![inner]), [vec![0x81], bytes].concat())
            } else {
                (Value::Map([("k".to_owned(), inner)].into()), [vec![0xa1, 0x61, b'k'], bytes].concat())
            }
        };
        let (value, bytes) = (0..levels).fold((inside.clone(), Writer::default().write(&inside)), wrap);
        let fits = levels <= MAX_DEPTH;
        let too_deep = (!fits).then_some(ValueError::TooDeep);
        assert_eq!(value.encode().err(), too_deep, "{levels} levels");
        assert_eq!(Value::decode(&bytes).err(), too_deep, "{levels} levels");
        assert_eq!(Encoded::from_bytes(bytes).err(), too_deep, "{levels} levels");
    }
}

#[test]
fn keys_are_ordered_as_their_encodings_are() {
    let encoded = |key: &str| Value::from(key).encode().unwrap().as_bytes().to_vec();
    for case in cases() {
        let mut choices = Choices::random(case);
        let (a, b) = (text(&mut choices, 40), text(&mut choices, 40));
        assert_eq!(key_order(&a, &b), encoded(&a).cmp(&encoded(&b)), "case {case}: {a:?}, {b:?}");
    }
}

/// One browser, one store, one exchange after the other.
struct House {
    rules: Arc<Rules>,
    store: Store,
    browser: Browser,
    now: u64,
    number: u64,
}

impl House {
    fn new(settings: Settings, ring: &str, seed: u64) -> Self {
        let rules = Rules::new(Policy::try_from(settings).unwrap(), KeyRing::parse(ring).unwrap());
        Self { rules, store: Store::default(), browser: Browser::default(), now: START, number: seed }
    }

    fn run(&mut self, handler: impl FnOnce(&mut Session)) -> Result<Vec<Event>, Error> {
        self.number += 1;
        let now = Timestamp::from_unix_ms(self.now);
        let mut staged = Staged::from(self.rules.open(self.browser.header().as_bytes(), now));
        while let Waiting::Load(handle) = staged.waiting() {
            staged.found(self.store.load(handle)).unwrap();
        }
        handler(staged.session().unwrap());
        staged.close(now, &mut Fixed::new(self.number)).unwrap();
        while let Ok(swap) = staged.swap() {
            self.store.swap(swap).unwrap();
            staged.entered(Listed::default()).unwrap();
        }
        if let Ok(failure) = staged.failure() {
            return Err(failure.error);
        }
        staged.reply().unwrap().set_cookies().for_each(|line| self.browser.obey(line));
        Ok(staged.reply().unwrap().trace().events.clone())
    }

    fn record(&self) -> Vec<u8> {
        self.store.records.values().next_back().unwrap().to_vec()
    }
}

/// Somebody is logged in, with any data, and the id is confirmed.
fn logged_in(choices: &mut Choices<'_>) -> House {
    let settings = Settings { rotate_every: None, ..Settings::default() };
    let mut house = House::new(settings, RING, choices.word() >> 1);
    let roles: Vec<String> = (0..choices.below(3)).map(|_| format!("r{}", text(choices, 9))).collect();
    let name = format!("p{}", text(choices, 20));
    house
        .run(|session| {
            session.login(&name, &roles, choices.byte()).unwrap();
            for _ in 0..choices.below(4) {
                session.set(&text(choices, 9), value(choices, 2)).unwrap();
            }
            let client = Client { label: text(choices, 20), address: text(choices, 9) };
            session.set_client(client).unwrap();
        })
        .unwrap();
    house.run(|_| ()).unwrap();
    house
}

/// A touch rewrites a record: whatever was read must come out again, byte for byte, but for its stamp and the time.
#[test]
fn a_record_that_is_read_at_all_is_written_again_as_it_was() {
    let (mut read, mut refused) = (0, 0);
    for case in cases() {
        let mut choices = Choices::random(case);
        let house = logged_in(&mut choices);
        let mut bytes = house.record();
        if !choices.one_in(4) {
            damage(&mut choices, &mut bytes);
        }
        let now = START + 120_000;
        let mut staged =
            Staged::from(house.rules.open(house.browser.header().as_bytes(), Timestamp::from_unix_ms(now)));
        staged.found(Loaded::Found(bytes.clone())).unwrap();
        let confirmed = Front::read(&bytes).is_some_and(|front| front.confirmed > 0);
        let Some(session) = staged.session().ok().filter(|session| session.is_live() && confirmed) else {
            refused += 1;
            continue;
        };
        assert!(session.keys().iter().all(|key| session.get(key).is_some()), "case {case}");
        staged.close(Timestamp::from_unix_ms(now), &mut Fixed::new(7)).unwrap();
        let Ok(swap) = staged.swap() else { continue };
        let written = swap.new.clone().unwrap();
        let version = u64::from_be_bytes(*bytes[2..].first_chunk().unwrap()) + 1;
        let mut expected = bytes.clone();
        expected.splice(2..10, version.to_be_bytes());
        expected.splice(18..42, bytes[10..34].iter().copied());
        expected.splice(10..18, written[10..18].iter().copied());
        expected.splice(48..54, now.to_be_bytes()[2..].iter().copied());
        assert_eq!(written, expected, "case {case}");
        read += 1;
    }
    assert!(read * 10 > refused && refused * 10 > read, "{read} read, {refused} refused");
}

#[test]
fn a_record_is_as_long_as_its_parts_and_never_over_its_limit() {
    let mut too_large = 0;
    for case in cases().take(20_000) {
        let mut choices = Choices::random(case);
        let size = choices.within(512, 1_024);
        let mut house = House::new(Settings { size, ..Settings::default() }, RING, case);
        let (name, label) = ("p".repeat(choices.within(1, 99)), "l".repeat(choices.below(99)));
        let bytes = choices.below(900);
        let level = choices.byte();
        let anonymous = choices.one_in(3);
        let outcome = house.run(|session| {
            if !anonymous {
                session.login(&name, &["user"], level).unwrap();
            }
            session.set_client(Client { label: label.clone(), address: String::new() }).unwrap();
            let _refused_alone = session.set("k", vec![7; bytes]);
        });
        let head = 1 + usize::from(bytes > 23) + usize::from(bytes > 255);
        let data = if 1 + head + bytes > size { 1 } else { 1 + 2 + head + bytes };
        let principal = if anonymous { 0 } else { 1 + 6 + 2 + name.len() + 2 + 2 + 4 };
        let expected = 119 + 1 + principal + 2 + label.len() + 2 + data;
        match outcome {
            Ok(_) => assert_eq!(house.record().len(), expected, "case {case}"),
            Err(error) => {
                assert_eq!(error, Error::TooLarge { bytes: expected, limit: size }, "case {case}");
                assert!(house.store.records.is_empty() && expected > size, "case {case}");
                too_large += 1;
                continue;
            }
        }
        assert!(expected <= size, "case {case}: {expected} bytes of {size} were written");
        house.run(|_| ()).unwrap();
        house.now += 61_000;
        house.run(|session| assert_eq!(session.rotate() == Rotation::Rotated, !anonymous)).unwrap();
        let front = Front::read(&house.record()).unwrap();
        let previous = match front.previous {
            Previous::None => 0,
            Previous::Pending => 48,
            Previous::Until(_) => 38,
        };
        assert_eq!(previous > 0, !anonymous, "case {case}");
        assert_eq!(house.record().len(), expected + previous, "case {case}");
    }
    assert!(too_large > 100);
}

#[test]
fn an_id_opens_its_session_and_no_other_text_does() {
    let choices = &mut Choices::random(1);
    let mut house = logged_in(choices);
    let good = house.browser.login.clone().unwrap();
    assert_eq!(good.len(), ID_CHARS);
    for case in cases() {
        let mut choices = Choices::random(case);
        let mut bytes = good.clone().into_bytes();
        damage(&mut choices, &mut bytes);
        let header = [format!("{}=", NAMES[0].0).as_bytes(), &bytes].concat();
        let opened = Staged::from(house.rules.open(&header, Timestamp::from_unix_ms(house.now)));
        // A name that now comes twice, or a text that now ends early: what counts is that only the id itself is loaded.
        let loads = matches!(opened.waiting(), Waiting::Load(_));
        let text = bytes.split(|byte| *byte == b';').next().unwrap();
        assert_eq!(loads, text == good.as_bytes(), "case {case}: {}", String::from_utf8_lossy(&bytes));
    }
    assert!(house.run(|session| assert!(session.is_live())).is_ok());
}

/// One entry of a ring, and the number it has.
fn entry(choices: &mut Choices<'_>) -> (u16, String) {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let number = choices.of(&[1, 2, 3, 9, 10, 65_535]);
    let groups = choices.within(11, 20);
    let key: String = (0..groups * 4).map(|_| char::from(choices.of(ALPHABET))).collect();
    (number, format!("{number}:{key}"))
}

#[test]
fn a_key_ring_reads_back_in_order_and_ids_outlive_every_ring_that_keeps_their_key() {
    let mut kept = 0;
    for case in cases().take(20_000) {
        let mut choices = Choices::random(case);
        let entries: Vec<(u16, String)> = (0..choices.within(1, 4)).map(|_| entry(&mut choices)).collect();
        let glue = choices.of(&[",", "\n", " , ", "\n\n", ",\r\n"]);
        let ring = entries.iter().map(|entry| entry.1.as_str()).collect::<Vec<_>>().join(glue);
        let numbers: Vec<u16> = entries.iter().map(|entry| entry.0).collect();
        let doubled = (1..numbers.len()).find(|at| numbers[..*at].contains(&numbers[*at]));
        match (KeyRing::parse(&ring), doubled) {
            (Ok(parsed), None) => assert_eq!(format!("{parsed:?}"), format!("{numbers:?}"), "case {case}"),
            (Err(error), Some(at)) => {
                assert!(error.to_string().starts_with(&format!("key {} repeats", at + 1)), "case {case}: {error}");
                continue;
            }
            (parsed, doubled) => panic!("case {case}: {parsed:?}, {doubled:?}"),
        }
        let mut house = House::new(Settings::default(), &ring, case);
        house.run(|session| session.set("a", 1).unwrap()).unwrap();
        // Another ring, with or without the key that signed.
        let mut others: Vec<(u16, String)> = entries.iter().skip(1).cloned().collect();
        let keeps = choices.one_in(2) || others.is_empty();
        if keeps {
            others.push(entries[0].clone());
        }
        let ring = others.iter().map(|entry| entry.1.as_str()).collect::<Vec<_>>().join(",");
        house.rules = Rules::new(Policy::try_from(Settings::default()).unwrap(), KeyRing::parse(&ring).unwrap());
        house.run(|session| assert_eq!(session.is_live(), keeps, "case {case}")).unwrap();
        kept += u32::from(keeps);
    }
    assert!(kept > 0);
}

#[test]
fn no_text_in_place_of_a_key_ring_does_harm_or_shows_in_the_error() {
    for case in cases() {
        let mut choices = Choices::random(case);
        let mut bytes = (0..2).map(|_| entry(&mut choices).1).collect::<Vec<_>>().join(",").into_bytes();
        damage(&mut choices, &mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Err(error) = KeyRing::parse(&text) {
            let (error, secret) = (format!("{error} {error:?}"), text.get(10..).unwrap_or_default());
            let shown =
                secret.char_indices().filter_map(|(at, _)| secret.get(at..at + 8)).any(|part| error.contains(part));
            assert!(!shown, "case {case}: {error}");
        }
    }
}

#[test]
fn lines_that_set_a_cookie_are_single_and_within_four_kilobytes() {
    use coatroom_core::{CookieSettings, SameSite};
    let mut longest = 0;
    let mut accepted = 0;
    for case in cases().take(20_000) {
        let mut choices = Choices::random(case);
        let domain = choices.one_in(2).then(|| "d".repeat(choices.of(&[1, 63, 253, 1_024, 1_025])));
        let path = format!(
            "/{}",
            choices.of(&["", "p", "p;x", "p\r\nX: y", "ü"]).repeat(choices.of(&[1, 1, 511, 1_023, 1_024]))
        );
        let prefix = if domain.is_none() && path == "/" { "__Host-" } else { "__Secure-" };
        let name = |choices: &mut Choices<'_>| {
            choices.one_in(2).then(|| {
                let name =
                    choices.of(&["n", "v", "a=b", "a b", "a;b", "_-"]).repeat(choices.of(&[1, 2, 120, 247, 249]));
                format!("{prefix}{name}")
            })
        };
        let cookies = CookieSettings {
            login: name(&mut choices),
            visitor: name(&mut choices),
            path,
            domain,
            same_site: choices.of(&[SameSite::Strict, SameSite::Lax, SameSite::None]),
            max_age: choices.of(&[None, Some(Duration::from_secs(1)), Some(Duration::from_hours(9_600))]),
        };
        let settings = Settings { cookies, ..Settings::default() };
        let Ok(policy) = Policy::try_from(settings) else { continue };
        let rules = Rules::new(policy, KeyRing::parse(RING).unwrap());
        let mut staged = Staged::from(rules.open(b"", Timestamp::from_unix_ms(START)));
        let session = staged.session().unwrap();
        session.logout();
        if choices.one_in(2) {
            session.login::<&str>("alice", &[], 1).unwrap();
        }
        session.set("a", 1).unwrap();
        staged.close(Timestamp::from_unix_ms(START), &mut Fixed::new(case)).unwrap();
        staged.entered(Listed::default()).unwrap();
        let lines: Vec<&str> = staged.reply().unwrap().set_cookies().collect();
        assert_eq!(lines.len(), 2, "case {case}");
        for line in lines {
            assert!(line.len() <= 4_096, "case {case}: {} bytes", line.len());
            assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "case {case}: {line}");
            longest = longest.max(line.len());
        }
        accepted += 1;
    }
    assert!(accepted > 1_000 && longest > 2_000, "{accepted} settings, {longest} bytes");
}
