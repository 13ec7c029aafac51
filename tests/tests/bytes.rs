//! Ids and records of one life, byte for byte. The bytes were computed from the clauses by a program of the Python standard
//! library that knows nothing of this code: `hmac`, `hashlib`, `base64`, `struct`.

use std::convert::Infallible;

use coatroom_core::staged::Staged;
use coatroom_core::{Event, Kind, Listed, Rotation, Session, Settings, Stamp, Swap, Timestamp};
use coatroom_tests::browser::read_line;
use coatroom_tests::house::House;
use coatroom_tests::world::RING;
use rand_core::{TryCryptoRng, TryRng};

/// Gives 0, 1, 2, … for ever, so that exchange `n` of this test draws the 40 bytes from `40 * n` on.
struct Counting(u8);

impl TryRng for Counting {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(0)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for byte in bytes {
            *byte = self.0;
            self.0 = self.0.wrapping_add(1);
        }
        Ok(())
    }
}

impl TryCryptoRng for Counting {}

/// What one exchange writes and says.
fn exchange(house: &mut House, number: u8, handler: impl FnOnce(&mut Session)) -> (Swap, Option<String>) {
    let mut staged: Staged = house.open();
    handler(staged.session().unwrap());
    staged.close(Timestamp::from_unix_ms(house.now), &mut Counting(number.wrapping_mul(40))).unwrap();
    let swap = staged.swap().unwrap().clone();
    house.store.swap(&swap).unwrap();
    staged.entered(Listed::default()).unwrap();
    let reply = staged.reply().unwrap();
    let id = reply.set_cookies().map(read_line).find(|line| !line.2).map(|line| line.1.to_owned());
    reply.set_cookies().for_each(|line| house.browser.obey(line));
    (swap, id)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const VISITOR: &str = "-gjVKbh24x_eCazBAAAAAAABVb2-sO9ztQWppmxM8WAwc3hszfjVmVHigtJPNl3czeYaYcQU7CMjcbhJJLGCKnbU";
const LOGIN: &str = "-gjVKbh24x_eCazBAAAAAQABsw9l-nuI435sB0heWmsJpEPIwqsa1Lb6JRTeRNq9yuQSPvmWek4urTGj8N7oZDig";
const ROTATED: &str = "-gjVKbh24x_eCazBAAAAAgABsryBebu1POAjUR7GMbNlrdHHrqAr11UnzKjl9vJpcEh4aZmHQw0RXyKVAOs3Xv1g";

const CREATED_RECORD: &str = "\
010000000000000000010001020304050607000000000000000000000000000000000000000000000000019b76daa800019b76daa800019b796dd6000000\
001b7740000000006322cc6bade6040f94bb682720d6d874508058a5ad9cee3d77df652456b94c53019b76daa80000000000000000000000000000000000\
a1616101";
const LOGIN_RECORD: &str = "\
0101000000000000000228292a2b2c2d2e2f000102030405060700000000000000000000000000000000019b76daa800019b76daabe8019b796dd9e80000\
001b774000000001ad5b284272feae0e47e685969567d21e1111cc14ba14dfae8466a50dfe894c55019b76daabe800000000000000000001000101019b76\
daabe80005616c6963650002000561646d696e00047573657200000000a1616101";
const ROTATED_RECORD: &str = "\
0101000000000000000478797a7b7c7d7e7f505152535455565728292a2b2c2d2e2f0001020304050607019b76daa800019b76db9a30019b796dd9e80000\
001b774000000002e4f3fc0d20630abb152086ebe76f207fb2cdd495704a4c18e817f8e5744e7bb8019b76db9a300000000000000000000101ad5b284272\
feae0e47e685969567d21e1111cc14ba14dfae8466a50dfe894c55784eaa70aec14bcc6af07c6b005ddd4e0101019b76daabe80005616c69636500020005\
61646d696e00047573657200000000a1616101";
const CONFIRMED_RECORD: &str = "\
01010000000000000005a0a1a2a3a4a5a6a778797a7b7c7d7e7f505152535455565728292a2b2c2d2e2f019b76daa800019b76db9e18019b796dd9e80000\
001b774000000002e4f3fc0d20630abb152086ebe76f207fb2cdd495704a4c18e817f8e5744e7bb8019b76db9a30019b76db9e180000000102ad5b284272\
feae0e47e685969567d21e1111cc14ba14dfae8466a50dfe894c55019b76dc13480101019b76daabe80005616c6963650002000561646d696e0004757365\
7200000000a1616101";
const ENDED_RECORD: &str = "\
01020000000000000006c8c9cacbcccdcecfa0a1a2a3a4a5a6a778797a7b7c7d7e7f5051525354555657019b76daa800019b76db9e18019b796dd9e80000\
001b774000000002e4f3fc0d20630abb152086ebe76f207fb2cdd495704a4c18e817f8e5744e7bb8019b76db9a30019b76db9e180000000100019b76dba2\
00000101019b76daabe80005616c696365000000000000a0";

#[test]
// spec: ID-1 bd5d, ID-2 5b7c, ID-5 2023, ID-7 ac74, ID-8 2cc6, KEY-3 e373, KEY-4 af29, ROT-3 0963, REC-1 14f3
// spec: REC-7 d895, REC-8 1a1b, STORE-2 4ba9, WRITE-10 a015, LOGIN-1 3794, CLAIM-11 f3a7
fn the_ids_and_records_of_a_life_are_these_bytes() {
    let mut house = House::new(Settings::default());
    let record = |swap: &Swap| hex(swap.new.as_deref().unwrap());

    let (created, id) = exchange(&mut house, 0, |session| session.set("a", 1).unwrap());
    assert_eq!((id.as_deref(), record(&created).as_str()), (Some(VISITOR), CREATED_RECORD));
    assert_eq!(created.expected, None);
    assert_eq!(created.handle.to_string(), VISITOR[..16]);

    house.now += 1_000;
    let (login, id) = exchange(&mut house, 1, |session| session.login("alice", &["user", "admin", "user"], 1).unwrap());
    assert_eq!((id.as_deref(), record(&login).as_str()), (Some(LOGIN), LOGIN_RECORD));
    let stamp = login.expected.unwrap();
    assert_eq!(Some(stamp), Stamp::of(created.new.as_deref().unwrap()));
    assert_eq!(hex(stamp.as_bytes()), CREATED_RECORD[4..36]);

    house.now += 1_000;
    let (_, id) = exchange(&mut house, 2, |_| ());
    assert_eq!(id, None);

    house.now += 60_000;
    let (rotated, id) = exchange(&mut house, 3, |session| assert_eq!(session.rotate(), Rotation::Rotated));
    assert_eq!((id.as_deref(), record(&rotated).as_str()), (Some(ROTATED), ROTATED_RECORD));

    house.now += 1_000;
    let (confirmed, _) = exchange(&mut house, 4, |_| ());
    assert_eq!(record(&confirmed), CONFIRMED_RECORD);

    house.now += 1_000;
    let (ended, _) = exchange(&mut house, 5, Session::logout);
    assert_eq!(record(&ended), ENDED_RECORD);
}

// The same life with another ending, sealed. XChaCha20-Poly1305 was written once more for these, from RFC 8439 and its draft.
const SEALED_CREATED: &str = "\
020000000000000000010001020304050607000000000000000000000000000000000000000000000000019b76daa800019b76daa800019b796dd6000000\
001b7740000000006322cc6bade6040f94bb682720d6d874508058a5ad9cee3d77df652456b94c53019b76daa80000000000000000000000000000010b76\
8ae4da8da4cf36466e5c9a0c4b6f23e2e226db2c447a5d682f5b93b2c3350f2e6959d9f913a3568fcf1a39994716";
const SEALED_LOGIN: &str = "\
0201000000000000000228292a2b2c2d2e30000102030405060700000000000000000000000000000000019b76daa800019b76daabe8019b796dd9e80000\
001b774000000001ad5b284272feae0e47e685969567d21e1111cc14ba14dfae8466a50dfe894c55019b76daabe800000000000000000001000101019b76\
daabe80005616c6963650002000561646d696e0004757365720001488629909ebc68d387d15cb5c69e3fc0aad7169b24aca953ac5afaca2e95b9e4fdfc7a\
844be62bc23bfc7d40ca814f75";
const SEALED_ENDED: &str = "\
02020000000000000003505152535455565728292a2b2c2d2e3000010203040506070000000000000000019b76daa800019b76daabe8019b796dd9e80000\
001b774000000001ad5b284272feae0e47e685969567d21e1111cc14ba14dfae8466a50dfe894c55019b76daabe80000000000000000000100019b76daaf\
d0000101019b76daabe80005616c69636500000001553d00695b0988b24c880f40f4b3b74651f886b4863d78fbd7e3fbd47de0da2c99a7cbdba84835f8f0\
7bfe1d14";

#[test]
// spec: SEAL-1 8b14, SEAL-2 c06e, SEAL-3 7efc, KEY-4 af29, WRITE-10 a015
fn the_sealed_records_of_a_life_are_these_bytes() {
    let ring = format!("{RING},513:YW4gb2xkZXIgdGVzdCBrZXksIG5vIHNlY3JldCBlaXRoZXI");
    let mut house = House::with_ring(Settings { sealed: true, ..Settings::default() }, &ring);
    let record = |swap: &Swap| hex(swap.new.as_deref().unwrap());

    let (created, id) = exchange(&mut house, 0, |session| session.set("a", 1).unwrap());
    assert_eq!((id.as_deref(), record(&created).as_str()), (Some(VISITOR), SEALED_CREATED));

    house.now += 1_000;
    let mut staged = house.open();
    staged.session().unwrap().login("alice", &["user", "admin", "user"], 1).unwrap();
    staged.close(Timestamp::from_unix_ms(house.now), &mut Counting(40)).unwrap();
    // Refused once, by the same record: the second attempt has another commit id, and another nonce.
    staged.conflicted(created.new).unwrap();
    let login = staged.swap().unwrap().clone();
    assert_eq!(record(&login), SEALED_LOGIN);
    house.drive(staged).unwrap().cookies.iter().for_each(|line| house.browser.obey(line));

    house.now += 1_000;
    let (ended, _) = exchange(&mut house, 2, Session::logout);
    assert_eq!(record(&ended), SEALED_ENDED);
}

#[test]
// spec: REC-2 d46f
fn a_record_that_contradicts_itself_is_damaged() {
    let mut house = House::new(Settings::default());
    exchange(&mut house, 0, |session| session.set("a", 1).unwrap());
    house.now += 1_000;
    exchange(&mut house, 1, |session| session.login("alice", &["admin", "user"], 1).unwrap());
    let handle = house.id(Kind::Login).handle;
    let whole = house.store.get(handle).unwrap().to_vec();
    let mut is_damaged = |record: Vec<u8>| {
        house.store.records.insert(handle, record.into());
        let trace = house.open().session().unwrap().trace();
        assert_eq!(trace.handle.is_none(), trace.events == [Event::Damaged(handle)]);
        trace.handle.is_none()
    };
    assert!(!is_damaged(whole.clone()));
    let change = |changes: &[(usize, u8)]| {
        let mut changed = whole.clone();
        changes.iter().for_each(|&(place, byte)| changed[place] = byte);
        changed
    };
    // State, floor, kind of previous id, presence of a principal, a role out of order, an indefinite map, a cut-off value.
    let at = |text: &[u8]| whole.windows(text.len()).position(|window| window == text).unwrap();
    let changes = [(1, 0), (1, 2), (1, 3), (114, 9), (118, 1), (118, 3), (119, 0), (119, 2), (at(b"admin"), b'z')];
    for (place, byte) in changes.into_iter().chain([(whole.len() - 4, 0xbf), (whole.len() - 1, 0x18)]) {
        assert!(is_damaged(change(&[(place, byte)])), "byte {place} as {byte}");
    }
    // With a previous id: pending or in its grace, the current one confirmed or not, at the floor or above it.
    for (kind, length) in [(1, 48), (2, 38)] {
        for (confirmed, floor) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let mut with = change(&[(113, confirmed), (117, floor), (118, kind)]);
            with.splice(119..119, vec![7; length]);
            let may_be = floor == 0 && (kind == 1) == (confirmed == 0);
            assert_eq!(is_damaged(with), !may_be, "{kind} {confirmed} {floor}");
        }
    }
    // Ended, with roles and data; and a byte too many.
    let mut ended = change(&[(1, 2)]);
    ended.splice(119..119, [0; 7]);
    assert!(is_damaged(ended));
    assert!(is_damaged([&whole[..], &[0]].concat()));
}

#[test]
// spec: REC-3 e864, REC-4 ee90, CLAIM-9 72e0
fn no_part_of_a_record_is_one_whatever_lengths_it_claims() {
    let mut house = House::new(Settings::default());
    exchange(&mut house, 0, |session| session.set("a", vec![7; 40]).unwrap());
    let handle = house.id(Kind::Visitor).handle;
    let whole = house.store.get(handle).unwrap().to_vec();
    assert!(house.open().session().unwrap().is_live());
    let claims = (120..124).map(|place| {
        let mut changed = whole.clone();
        changed[place] = 0xff;
        changed
    });
    let many = [&whole[..124], &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]].concat();
    let parts = (0..whole.len()).map(|length| whole[..length].to_vec());
    for part in parts.chain(claims).chain([many]) {
        house.store.records.insert(handle, part.into());
        let mut staged = house.open();
        assert_eq!(staged.session().unwrap().trace().events, [Event::Damaged(handle)]);
    }
}
