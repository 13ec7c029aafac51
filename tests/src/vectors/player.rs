//! Plays the steps of a case on the core, one call each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coatroom_core::staged::{Staged, Waiting};
use coatroom_core::value::Encoded;
use coatroom_core::{
    Beyond, Carry, Client, Concurrency, Entry, Error, Handle, KeyRing, Limit, Listed, Listing, Loaded, Place, Policy,
    Reuse, Rotation, Rules, Session, Settings, Swap, Timestamp,
};
use serde_json::{Value, json};

use super::fields::{Fields, hex, string, unhex};
use super::seeded::Seeded;

/// One case under way.
pub struct Player {
    rules: Arc<Rules>,
    rng: Seeded,
    exchanges: BTreeMap<String, Staged>,
    /// What is stored, as far as the calls say.
    pub store: BTreeMap<String, String>,
}

/// The keys of an outcome: exactly one of them.
pub const fn outcome_kinds() -> [&'static str; 6] {
    ["load", "handler", "swap", "entry", "done", "failed"]
}

/// Plays the text of a file. How many cases it has, or the first difference.
pub fn play(text: &str) -> Result<usize, String> {
    let mut file = Fields::of(serde_json::from_str(text).expect("JSON"));
    let cases = file.list("cases");
    file.end();
    let count = cases.len();
    cases.into_iter().try_for_each(play_case)?;
    Ok(count)
}

fn play_case(case: Value) -> Result<(), String> {
    let mut case = Fields::of(case);
    let name = case.text("name");
    let mut player = Player::new(case.must("given"));
    for (number, step) in (1..).zip(case.list("steps")) {
        let mut step = Fields::of(step);
        let (call, exchange) = (step.text("call"), step.text("exchange"));
        let (args, expect) = (step.must("args"), step.must("expect"));
        step.end();
        let came = player.call(&call, &exchange, args);
        if came != expect {
            return Err(format!("{name}, step {number} ({call}): {came} instead of {expect}"));
        }
    }
    let mut then = Fields::of(case.must("then"));
    let store = then.must("store");
    then.end();
    case.end();
    let stored = json!(player.store);
    if stored == store { Ok(()) } else { Err(format!("{name}: the store holds {stored} instead of {store}")) }
}

impl Player {
    pub fn new(given: Value) -> Self {
        let mut given = Fields::of(given);
        let keys = KeyRing::parse(&given.text("keys")).unwrap();
        let place = match given.maybe("place").map(string).as_deref() {
            None => Place::Store,
            Some("cookie") => Place::Cookie,
            Some(other) => panic!("place {other}"),
        };
        let policy = Policy::try_from(Settings { place, ..settings(given.must("settings")) }).unwrap();
        let rng = Seeded::new(given.bytes("seed"));
        let stored = given.maybe("store").unwrap_or_else(|| json!({}));
        given.end();
        let store = Fields::of(stored);
        Self { rules: Rules::new(policy, keys), rng, exchanges: BTreeMap::new(), store: store.into_texts() }
    }

    /// Makes one call; what came of it.
    pub fn call(&mut self, call: &str, exchange: &str, args: Value) -> Value {
        let mut args = Fields::of(args);
        if call == "open" {
            let (cookies, now) = (args.bytes("cookies"), time(args.number("now")));
            args.end();
            let opened = Staged::from(self.rules.open(&cookies, now));
            let before = self.exchanges.insert(exchange.to_owned(), opened);
            assert!(before.is_none(), "{exchange} is open already");
            return outcome(self.exchanges.get_mut(exchange).unwrap());
        }
        let Self { rng, store, exchanges, .. } = self;
        let staged = exchanges.get_mut(exchange).unwrap_or_else(|| panic!("{exchange} was not opened"));
        let swap = staged.swap().ok().cloned();
        let awaited = match staged.waiting() {
            Waiting::Load(handle) => Some(handle),
            _ => swap.as_ref().map(|swap| swap.handle),
        };
        let done = match call {
            "found" => staged.found(loaded(&mut args, awaited, store)),
            "edits" => {
                let edits = args.list("edits");
                args.end();
                return edited(staged, edits);
            }
            "close" => staged.close(time(args.number("now")), rng),
            "saved" => {
                if let Some(swap) = &swap {
                    put(store, swap.handle, swap.new.as_deref().map(hex));
                }
                staged.saved()
            }
            "entered" => {
                let revoked = time(args.number("revoked"));
                let count = u32::try_from(args.number("count")).unwrap();
                staged.entered(Listed { revoked, not_before: revoked, count })
            }
            "conflicted" => match loaded(&mut args, awaited, store) {
                Loaded::Found(record) => staged.conflicted(Some(record)),
                _ => staged.conflicted(None),
            },
            "unknown" => staged.reloaded(loaded(&mut args, awaited, store)),
            "unavailable" => staged.gave_up(Error::Unavailable),
            other => panic!("unknown call {other}"),
        };
        args.end();
        done.map_or_else(refused, |()| outcome(staged))
    }
}

fn put(store: &mut BTreeMap<String, String>, handle: Handle, record: Option<String>) {
    let handle = hex(handle.as_bytes());
    match record {
        Some(record) => drop(store.insert(handle, record)),
        None => drop(store.remove(&handle)),
    }
}

/// What the store answered, which is what it holds.
fn loaded(args: &mut Fields, awaited: Option<Handle>, store: &mut BTreeMap<String, String>) -> Loaded {
    if let Some(unavailable) = args.maybe("unavailable") {
        assert_eq!(unavailable, json!(true));
        return Loaded::Unavailable;
    }
    let record = match args.must("record") {
        Value::Null => None,
        record => Some(string(record)),
    };
    if let Some(handle) = awaited {
        put(store, handle, record.clone());
    }
    record.map_or(Loaded::Absent, |record| Loaded::Found(unhex(&record)))
}

fn refused(error: Error) -> Value {
    json!({"error": error.code()})
}

fn edited(staged: &mut Staged, edits: Vec<Value>) -> Value {
    let session = match staged.session() {
        Ok(session) => session,
        Err(error) => return refused(error),
    };
    let results: Result<Vec<_>, _> = edits.into_iter().map(|edit| edit_one(session, edit)).collect();
    results.map_or_else(refused, |results| json!({"results": results}))
}

fn edit_one(session: &mut Session, edit: Value) -> Result<Value, Error> {
    let mut edit = Fields::of(edit);
    let kind = edit.text("edit");
    let result = match &*kind {
        "get" => json!(session.get_encoded(&edit.text("key")).map(|bytes| hex(&bytes))),
        "set" => {
            let (key, value) = (edit.text("key"), edit.bytes("value"));
            session.set_encoded(&key, Encoded::from_bytes(value)?)?;
            Value::Null
        }
        "add" => {
            let (key, n) = (edit.text("key"), edit.must("n"));
            json!(session.add(&key, n.as_i64().expect("an integer"))?)
        }
        "login" => {
            let roles: Vec<_> = edit.list("roles").into_iter().map(string).collect();
            let level = u8::try_from(edit.number("level")).unwrap();
            session.login(&edit.text("principal"), &roles, level)?;
            Value::Null
        }
        "rotate" => json!(match session.rotate() {
            Rotation::Rotated => "rotated",
            Rotation::Pending => "pending",
            Rotation::Postponed => "postponed",
        }),
        _ => {
            plain_edit(session, &kind, &mut edit)?;
            Value::Null
        }
    };
    edit.end();
    Ok(result)
}

fn plain_edit(session: &mut Session, kind: &str, edit: &mut Fields) -> Result<(), Error> {
    match kind {
        "remove" => session.remove(&edit.text("key")),
        "clear" => session.clear(),
        "elevate" => session.elevate(u8::try_from(edit.number("level")).unwrap())?,
        "logout" => session.logout(),
        "strict" => session.strict(),
        "client" => session.set_client(Client { label: edit.text("label"), address: edit.text("address") })?,
        "head_sent" => session.head_sent(),
        "discard" => session.discard(),
        other => panic!("unknown edit {other}"),
    }
    Ok(())
}

fn outcome(staged: &mut Staged) -> Value {
    match staged.waiting() {
        Waiting::Load(handle) => json!({"load": hex(handle.as_bytes())}),
        Waiting::Handler => json!({"handler": view(staged.session().unwrap())}),
        Waiting::Swap => json!({"swap": swap(staged.swap().unwrap())}),
        Waiting::Entry => json!({"entry": entry(staged.entry().unwrap())}),
        Waiting::Done => {
            let reply = staged.reply().unwrap();
            let cookies: Vec<_> = reply.set_cookies().collect();
            let written: Vec<_> = reply.trace().written.iter().map(|change| change.name()).collect();
            let events: Vec<_> = reply.trace().events.iter().map(|event| event.name()).collect();
            json!({"done": {"cookies": cookies, "written": written, "events": events}})
        }
        Waiting::Failed => {
            let failure = staged.failure().unwrap();
            let events: Vec<_> = failure.events.iter().map(|event| event.name()).collect();
            json!({"failed": {"error": failure.error.code(), "events": events}})
        }
        other @ (Waiting::Turn(_) | Waiting::Away) => panic!("{other:?} is in no vector"),
    }
}

fn view(session: &mut Session) -> Value {
    let principal = session.principal().map(|principal| {
        let roles: Vec<_> = principal.roles().collect();
        json!({"name": principal.name(), "roles": roles, "level": principal.level()})
    });
    let data: BTreeMap<_, _> = session
        .keys()
        .into_iter()
        .map(|key| {
            let value = session.get_encoded(&key).map(|bytes| hex(&bytes));
            (key, value)
        })
        .collect();
    json!({
        "state": session.state().map(coatroom_core::State::name),
        "handle": session.handle().map(|handle| hex(handle.as_bytes())),
        "principal": principal,
        "data": data,
    })
}

fn swap(swap: &Swap) -> Value {
    json!({
        "handle": hex(swap.handle.as_bytes()),
        "expected": swap.expected.map(|stamp| hex(stamp.as_bytes())),
        "new": swap.new.as_deref().map(hex),
        "durable": swap.durable,
        "garbage_at": swap.garbage_at.as_unix_ms(),
        "listing": match &swap.listing {
            Listing::Keep => Value::Null,
            Listing::Enter(made) => json!({"enter": entry(made)}),
            Listing::Leave(principal) => json!({"leave": principal}),
        },
    })
}

fn entry(entry: &Entry) -> Value {
    json!({
        "principal": entry.principal,
        "handle": hex(entry.handle.as_bytes()),
        "until": entry.until.as_unix_ms(),
        "now": entry.now.as_unix_ms(),
        "at_most": entry.at_most,
    })
}

fn time(ms: u64) -> Timestamp {
    Timestamp::from_unix_ms(ms)
}

fn settings(given: Value) -> Settings {
    let mut given = Fields::of(given);
    let mut settings = Settings::default();
    let mut span = |name: &str, place: &mut Option<Duration>| {
        if let Some(value) = given.maybe(name) {
            *place = value.as_u64().map(Duration::from_millis);
        }
    };
    span("idle_ms", &mut settings.idle);
    span("touch_ms", &mut settings.touch);
    span("activation_ms", &mut settings.activation);
    span("rotate_every_ms", &mut settings.rotate_every);
    let mut must = |name: &str, place: &mut Duration| {
        *place = given.maybe(name).map_or(*place, |value| Duration::from_millis(value.as_u64().unwrap()));
    };
    must("absolute_ms", &mut settings.absolute);
    must("skew_ms", &mut settings.skew);
    must("grace_ms", &mut settings.grace);
    must("tombstone_ms", &mut settings.tombstone);
    let settings = choices(settings, &mut given);
    given.end();
    settings
}

fn choices(mut settings: Settings, given: &mut Fields) -> Settings {
    if let Some(size) = given.maybe("size") {
        settings.size = size.as_u64().unwrap().try_into().unwrap();
    }
    if let Some(sealed) = given.maybe("sealed") {
        settings.sealed = sealed.as_bool().unwrap();
    }
    match given.maybe("carry") {
        None => {}
        Some(Value::Array(keys)) => settings.carry = Carry::Keys(keys.into_iter().map(string).collect()),
        Some(word) if word == "all" => settings.carry = Carry::All,
        Some(word) if word == "none" => settings.carry = Carry::Nothing,
        Some(other) => panic!("carry {other}"),
    }
    match given.maybe("concurrency").map(string).as_deref() {
        None | Some("merge") => {}
        Some("strict") => settings.concurrency = Concurrency::Strict,
        Some(other) => panic!("concurrency {other}"),
    }
    if let Some(limit) = given.maybe("limit") {
        let beyond = match limit[0].as_str().unwrap() {
            "refuse" => Beyond::Refuse,
            "evict-oldest" => Beyond::EvictOldest,
            "evict-idlest" => Beyond::EvictIdlest,
            other => panic!("limit {other}"),
        };
        settings.limit = Some(Limit { beyond, sessions: limit[1].as_u64().unwrap().try_into().unwrap() });
    }
    match given.maybe("reuse").map(string).as_deref() {
        None | Some("destroy") => settings,
        Some("revoke-all") => Settings { reuse: Reuse::RevokeAll, ..settings },
        Some("danger-refuse-only") => settings.danger_refuse_reuse_only(),
        Some(other) => panic!("reuse {other}"),
    }
}
