//! Bytes as what Kotlin and Swift hand to the native half: batches of edits, cookies, response heads, answers, calls in any
//! order.

use std::collections::BTreeMap;
use std::sync::Arc;

use coatroom_ffi::{
    Answer, Ask, Begun, Call, Closed, Coatroom, Config, Exchange, Given, Head, ManualClock, Policy, Refusal, Remember,
    Step, View, Work,
};

use crate::targets::choices::Choices;
use crate::targets::mint::{self, Claim};

mod batch;
mod shelf;

use batch::{Draft, PEOPLE, Seen, VALUE};
use shelf::Shelf;

const START: i64 = 1_700_000_000_000;
const SECOND: i64 = 1000;
/// No exchange needs more questions than these; whoever is asked for ever lets go of it.
const QUESTIONS: usize = 40;
const STEPS: usize = 24;
/// Name of the cookie of remembered logins.
const REMEMBERED: &str = "__Host-kept";

struct World {
    coatroom: Arc<Coatroom>,
    clock: Arc<ManualClock>,
    shelf: Shelf,
    jar: BTreeMap<String, String>,
    /// What the session of the jar holds, while that is known: a store that lied may have anything.
    seen: Option<Seen>,
    remember: batch::Remember,
    asked_for_roles: bool,
}

/// No bytes panic. A batch does what a plain map makes of it, or is refused with the code of its first mistake, and then
/// nothing of it is written. An answer to another question is refused, and the question stands. A call out of turn changes
/// nothing, what is over stays over, and no error tells an id or a value.
pub fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut world = World::new(&mut choices);
    for _ in 0..STEPS {
        if choices.is_empty() {
            return;
        }
        world.clock.set(world.clock.unix_ms() + SECOND);
        match choices.below(16) {
            0..9 => world.exchange(&mut choices),
            9 | 10 => world.visit_with_junk(&mut choices),
            11 => world.visit_of_liars(&mut choices),
            12 => world.wait(&mut choices),
            _ => world.call(&mut choices),
        }
    }
}

impl World {
    fn new(choices: &mut Choices<'_>) -> Self {
        let settings = choices.byte();
        let is_on = |bit: u8| settings >> bit & 1 == 1;
        let clock = ManualClock::new(START, Some(vec![7]));
        let config = Config {
            store: is_on(0).then(|| "memory".to_owned()),
            keys: mint::RING.to_owned(),
            enters_with_swap: is_on(1),
            // Only the absolute limit, which no wait but the longest reaches.
            policy: Policy { idle: Some(0), concurrency: is_on(2).then(|| "strict".to_owned()), ..Policy::default() },
            remember: is_on(3).then(|| Remember { span_ms: 400 * 24 * 3_600_000, cookie: "kept".to_owned() }),
            announce: is_on(0) && is_on(4),
        };
        Self {
            coatroom: Coatroom::new(config, Some(Arc::clone(&clock))).unwrap(),
            clock,
            shelf: Shelf::default(),
            jar: BTreeMap::new(),
            seen: Some(Seen::default()),
            remember: batch::Remember { can: is_on(3), ..batch::Remember::default() },
            asked_for_roles: false,
        }
    }

    fn header(&self) -> Vec<u8> {
        let pairs = self.jar.iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ").into_bytes()
    }

    /// The clock moves: not at all far, beyond the time of a rotation, or beyond every limit of a session.
    fn wait(&mut self, choices: &mut Choices<'_>) {
        let hour = 3600 * SECOND;
        let span = choices.of(&[0, 40 * SECOND, hour / 4 + SECOND, 100 * hour]);
        self.clock.set(self.clock.unix_ms() + span);
        if span > hour {
            self.seen = self.seen.is_some().then(Seen::default);
        }
    }

    /// An exchange of the browser, as a model does it too.
    fn exchange(&mut self, choices: &mut Choices<'_>) {
        let restores = self.jar.contains_key(REMEMBERED) && choices.one_in(2);
        let (header, in_turn) = (self.header(), !restores && choices.one_in(8));
        let begun =
            if restores { self.coatroom.begin_restoring(&header) } else { self.coatroom.begin(&header, in_turn) };
        let Some((exchange, view)) = self.opened(begun.unwrap(), !restores && !in_turn, choices) else { return };
        let mut draft = self.draft(&view, restores);
        for _ in 0..choices.below(3) {
            self.apply(&exchange, &mut draft, choices);
        }
        self.out_of_turn(&exchange, choices);
        // Given up. Over a store of the library, others would wait for the turn by a real clock.
        if !in_turn && choices.one_in(16) {
            if restores {
                self.forget_credential();
            }
            return;
        }
        self.commit(&exchange, draft, restores, choices);
        self.is_over(&exchange);
    }

    /// Goes on to the handler; nothing if the store was away.
    fn opened(&mut self, begun: Begun, may_fail: bool, choices: &mut Choices<'_>) -> Option<(Arc<Exchange>, View)> {
        let exchange = begun.exchange;
        if matches!(begun.step, Step::Ask { .. }) && may_fail && choices.one_in(16) {
            self.says(&exchange.answer(Answer::Unavailable).unwrap_err(), "unavailable");
            self.is_over(&exchange);
            return None;
        }
        self.asked_for_roles = false;
        match self.drive(begun.step, |answer| exchange.answer(answer), choices) {
            Ok(Step::Open { view }) => Some((exchange, view)),
            Err(refused) if self.seen.is_none() => {
                self.tells_nothing(&refused);
                None
            }
            other => panic!("not open: {other:?}"),
        }
    }

    /// Answers as a store does, and now and then as none does.
    fn drive(
        &mut self,
        mut step: Step,
        answer: impl Fn(Answer) -> Result<Step, Refusal>,
        choices: &mut Choices<'_>,
    ) -> Result<Step, Refusal> {
        for _ in 0..QUESTIONS {
            let Step::Ask { ask } = step else { return Ok(step) };
            if choices.one_in(8) {
                let refused = answer(shelf::misfit(&ask, choices)).expect_err("an answer to another question");
                self.says(&refused, "border");
            }
            self.asked_for_roles |= matches!(ask, Ask::Roles { .. });
            if let Ask::Pause { ms } = ask {
                self.clock.set(self.clock.unix_ms() + ms.max(SECOND));
            }
            step = answer(self.shelf.answer(&ask))?;
        }
        panic!("no end of questions: {step:?}")
    }

    /// What the handler sees is what the model has; a remembered login may have begun.
    fn draft(&mut self, view: &View, restores: bool) -> Draft {
        let mut seen = self.seen.clone().unwrap_or_else(|| seen(view));
        if restores && seen.who.is_none() && self.seen.is_some() {
            seen.who = self.remember.before.clone().map(|name| (name, vec!["buyer".to_owned()], 0));
            assert_eq!(self.asked_for_roles, seen.who.is_some(), "asked for roles");
        }
        assert_eq!(seen, self::seen(view), "what is seen at first");
        let found_who = seen.who.clone().filter(|_| !self.asked_for_roles);
        let before = self.seen.clone().unwrap_or_else(|| Seen { who: found_who, ..seen.clone() });
        Draft { before, seen, remember: self.remember.clone(), head_sent: false, is_used: false, sum: None }
    }

    fn apply(&mut self, exchange: &Exchange, draft: &mut Draft, choices: &mut Choices<'_>) {
        let bytes = batch::batch(choices);
        match (exchange.apply(&bytes), draft.apply(&bytes)) {
            (Ok(view), Ok(())) => {
                assert_eq!((seen(&view), view.sum), (draft.seen.clone(), draft.sum), "after {bytes:x?}");
            }
            (Err(refused), Err(code)) => self.says(&refused, code),
            (done, expected) => panic!("{bytes:x?}: {done:?}, model: {expected:?}"),
        }
        // What came before the edit that was refused stays done, and nothing else.
        let view = exchange.apply(&[]).unwrap();
        assert_eq!(seen(&view), draft.seen, "after {bytes:x?}");
    }

    fn commit(&mut self, exchange: &Exchange, mut draft: Draft, restores: bool, choices: &mut Choices<'_>) {
        let bytes = batch::batch(choices);
        let head = Head { vary: field(choices), cache_control: field(choices) };
        let expected = draft.apply(&bytes);
        let was_refused = expected.is_err();
        let records = self.shelf.records.clone();
        let step = exchange.commit(&bytes, head.clone());
        let ended = step.and_then(|step| self.drive(step, |answer| exchange.answer(answer), choices));
        match (ended, expected) {
            (Ok(Step::Closed { closed }), Ok(())) => {
                let changes = draft.seen != draft.before;
                assert!(!(draft.head_sent && changes && self.seen.is_some()), "written after the head was sent");
                self.closed(&closed, &head, &draft);
                self.seen = self.seen.is_some().then_some(draft.seen);
                self.remember.before = draft.remember.after();
                return;
            }
            (Err(refused), Err(code)) => self.says(&refused, code),
            (Err(refused), Ok(())) if self.seen.is_none() => self.tells_nothing(&refused),
            (Err(refused), Ok(())) if draft.head_sent => self.says(&refused, "head-sent"),
            (ended, expected) => panic!("{bytes:x?}: {ended:?}, model: {expected:?}"),
        }
        let is_new = |handle: &String| !records.contains_key(handle);
        let made = was_refused && self.shelf.records.keys().any(is_new);
        assert!(!made || restores, "a session out of a batch that was refused");
        if restores {
            self.forget_credential();
        }
    }

    /// Its cookie was replaced, and the new one did not arrive.
    fn forget_credential(&mut self) {
        self.jar.remove(REMEMBERED);
        self.remember.before = None;
    }

    fn closed(&mut self, closed: &Closed, head: &Head, draft: &Draft) {
        assert!(closed.touched || (!draft.is_used && closed.set_cookies.is_empty()), "used, and not said so");
        let has = |field: &Option<String>, name: &[&str]| {
            let names = field.iter().flat_map(|field| field.split(','));
            names.map(|given| given.trim().to_lowercase()).any(|given| name.contains(&given.as_str()))
        };
        let vary = match &head.vary {
            _ if !closed.touched || has(&head.vary, &["*", "cookie"]) => None,
            Some(vary) if !vary.trim().is_empty() => Some(format!("{vary}, Cookie")),
            _ => Some("Cookie".to_owned()),
        };
        let stays = !closed.touched || has(&head.cache_control, &["no-store"]);
        assert_eq!(closed.vary, vary, "Vary");
        assert_eq!(closed.cache_control.as_deref(), (!stays).then_some("no-store"), "Cache-Control");
        for line in &closed.set_cookies {
            let (pair, attributes) = line.split_once("; ").expect("every line has attributes");
            let (name, value) = pair.split_once('=').expect("every line has a name");
            assert!(line.is_ascii() && !line.contains(['\r', '\n']), "a header of several lines");
            if attributes.contains("Max-Age=0;") {
                self.jar.remove(name);
            } else {
                let is_ours = name == REMEMBERED || Claim::read(value.as_bytes()).is_some();
                assert!(is_ours, "a cookie that is no id");
                self.jar.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// While a handler has its session, nobody is asked anything; and tokens are of this session and visitor alone.
    fn out_of_turn(&mut self, exchange: &Exchange, choices: &mut Choices<'_>) {
        if choices.one_in(4) {
            self.says(&exchange.answer(self.shelf.lie(choices)).unwrap_err(), "wrong-stage");
        }
        if !choices.one_in(4) {
            return;
        }
        let visitor = choices.some(4).to_vec();
        for refused in [
            exchange.require_role("buyer").err(),
            exchange.require_level(choices.of(&[-1, 0, 1, i64::MAX])).err(),
            exchange.require_fresh(choices.of(&[i64::MIN, 0, i64::MAX])).err(),
        ] {
            refused.iter().for_each(|refused| self.tells_nothing(refused));
        }
        let mut token = match exchange.csrf_token(&visitor) {
            Ok(token) => token,
            Err(refused) => return self.says(&refused, "wrong-stage"),
        };
        assert_eq!(exchange.csrf_checks(&visitor, &token), Ok(true));
        let at = choices.below(token.len());
        token[at] ^= 1 << choices.below(8);
        assert_eq!(exchange.csrf_checks(&visitor, &token), Ok(false), "a token with another byte");
        assert_eq!(exchange.csrf_checks(&visitor, choices.some(8)), Ok(false));
    }

    /// Another browser, with cookies that were never given out.
    fn visit_with_junk(&mut self, choices: &mut Choices<'_>) {
        let header = match self.jar.iter().next() {
            Some((name, value)) if choices.one_in(2) => {
                let mut value = value.clone().into_bytes();
                let at = choices.below(value.len());
                value[at] = if value[at] == b'A' { b'B' } else { b'A' };
                [name.as_bytes(), b"=", &value].concat()
            }
            _ => {
                let length = choices.below(64);
                choices.some(length).to_vec()
            }
        };
        let begun = if choices.one_in(4) && self.remember.can {
            self.coatroom.begin_restoring(&header)
        } else {
            self.coatroom.begin(&header, false)
        };
        let begun = begun.unwrap();
        let exchange = begun.exchange;
        let Ok(Step::Open { view }) = self.drive(begun.step, |answer| exchange.answer(answer), choices) else {
            panic!("not open")
        };
        assert_eq!(seen(&view), Seen::default(), "somebody by {header:x?}");
        let step = exchange.commit(&batch::batch(choices), Head::default());
        let ended = step.and_then(|step| self.drive(step, |answer| exchange.answer(answer), choices));
        ended.err().iter().for_each(|refused| self.tells_nothing(refused));
        self.is_over(&exchange);
    }

    /// An exchange whose store answers anything. What the jar holds afterwards, nobody knows.
    fn visit_of_liars(&mut self, choices: &mut Choices<'_>) {
        (self.seen, self.remember.before) = (None, None);
        let begun = match choices.below(3) {
            2 if self.remember.can => self.coatroom.begin_restoring(&self.header()),
            serial => self.coatroom.begin(&self.header(), serial == 1),
        };
        let begun = begun.unwrap();
        let exchange = begun.exchange;
        let went = self.lied_to(begun.step, |answer| exchange.answer(answer), choices);
        if let Some(Ok(Step::Open { .. })) = went {
            let ended = match exchange.commit(&batch::batch(choices), Head::default()) {
                Ok(step) => self.lied_to(step, |answer| exchange.answer(answer), choices),
                refused => Some(refused),
            };
            if ended.is_none() {
                return;
            }
        } else if went.is_none() {
            return;
        }
        self.is_over(&exchange);
    }

    fn lied_to(
        &mut self,
        mut step: Step,
        answer: impl Fn(Answer) -> Result<Step, Refusal>,
        choices: &mut Choices<'_>,
    ) -> Option<Result<Step, Refusal>> {
        for _ in 0..QUESTIONS {
            let Step::Ask { ask } = step else { return Some(Ok(step)) };
            let told = if choices.one_in(2) { self.shelf.lie(choices) } else { self.shelf.answer(&ask) };
            step = match answer(told) {
                Ok(next) => next,
                Err(refused) => {
                    self.tells_nothing(&refused);
                    if refused.code() != "border" {
                        return Some(Err(refused));
                    }
                    Step::Ask { ask }
                }
            };
        }
        None
    }

    /// A call for principals.
    fn call(&mut self, choices: &mut Choices<'_>) {
        let principal = choices.of(&PEOPLE).to_owned();
        let handle = self.jar.get("__Host-id").map_or("", |id| &id[..16]).to_owned();
        let call = match choices.below(6) {
            0 => Call::Devices { principal: principal.clone() },
            1 => Call::Revoke { principal: principal.clone(), handle: handle.clone() },
            2 => Call::RevokeAll { principal: principal.clone(), but: None },
            3 => Call::RevokeAll { principal: principal.clone(), but: Some(handle.clone()) },
            4 => Call::Rename { old: principal.clone(), new: choices.of(&PEOPLE).to_owned() },
            _ => Call::Revoke { principal: principal.clone(), handle: "\u{e9}".repeat(choices.below(20)) },
        };
        let is_in = self.seen.as_ref().is_some_and(|seen| seen.who.as_ref().is_some_and(|who| who.0 == principal));
        let work = match self.coatroom.call(call.clone()) {
            Ok(work) => work,
            Err(refused) if matches!(call, Call::Rename { .. }) => return self.says(&refused, "bad-principal"),
            Err(refused) => return self.says(&refused, "not-theirs"),
        };
        let given = work.start().and_then(|step| self.drive(step, |answer| work.answer(answer), choices));
        self.work_is_over(&work);
        match given {
            Ok(Step::Given { given }) => self.given(&call, &given, is_in),
            Ok(other) => panic!("{other:?}"),
            Err(refused) => {
                self.tells_nothing(&refused);
                assert!(!is_in || matches!(call, Call::Rename { .. } | Call::RevokeAll { but: Some(_), .. }));
                if matches!(call, Call::RevokeAll { .. }) {
                    self.forget_credential();
                }
            }
        }
    }

    fn given(&mut self, call: &Call, given: &Given, is_in: bool) {
        let is_remembered = |who: &str| self.remember.before.as_deref() == Some(who);
        match (call, given) {
            (Call::Devices { .. }, Given::Devices { devices }) => assert!(!devices.is_empty() || !is_in),
            (Call::Revoke { .. }, Given::Ended { was_live }) => {
                assert!(*was_live || !is_in);
                if is_in {
                    self.seen = Some(Seen::default());
                }
            }
            (Call::RevokeAll { principal, but }, Given::Revoked { ended, .. }) => {
                assert!(*ended > 0 || !is_in || but.is_some());
                if is_remembered(principal) {
                    self.remember.before = None;
                }
                if is_in && but.is_none() {
                    self.seen = Some(Seen::default());
                }
            }
            (Call::Rename { old, new }, Given::Count { .. }) => {
                if is_remembered(old) {
                    self.remember.before = Some(new.clone());
                }
                if let Some((name, ..)) = self.seen.as_mut().and_then(|seen| seen.who.as_mut()).filter(|_| is_in) {
                    name.clone_from(new);
                }
            }
            (call, given) => panic!("{call:?}: {given:?}"),
        }
    }

    /// Whatever is called now, nothing happens.
    fn is_over(&self, exchange: &Exchange) {
        self.says(&exchange.apply(&[]).unwrap_err(), "wrong-stage");
        self.says(&exchange.answer(Answer::Done).unwrap_err(), "wrong-stage");
        self.says(&exchange.commit(&[], Head::default()).unwrap_err(), "wrong-stage");
        self.says(&exchange.require_role("buyer").unwrap_err(), "wrong-stage");
        self.says(&exchange.csrf_token(&[]).unwrap_err(), "wrong-stage");
    }

    fn work_is_over(&self, work: &Work) {
        self.says(&work.start().unwrap_err(), "wrong-stage");
        self.says(&work.answer(Answer::Absent).unwrap_err(), "wrong-stage");
    }

    fn says(&self, refused: &Refusal, expected: &str) {
        assert_eq!(refused.code(), expected, "{refused:?}");
        self.tells_nothing(refused);
    }

    /// Behind its handle, an id is a secret.
    fn tells_nothing(&self, refused: &Refusal) {
        let text = format!("{refused} {refused:?}");
        assert!(!text.contains(VALUE), "a value in {text}");
        for id in self.jar.values() {
            let secret = id.as_bytes().get(24..).unwrap_or_default();
            assert!(secret.windows(12).all(|part| !text.contains(&*String::from_utf8_lossy(part))), "an id in {text}");
        }
        assert!(!text.contains("b2J2aW91c2x5"), "a key in {text}");
    }
}

fn field(choices: &mut Choices<'_>) -> Option<String> {
    let pieces = ["Accept", "cookie", "*", " ", ",", "no-store", "max-age=3", "\u{e9}"];
    choices.one_in(2).then(|| (0..choices.below(5)).map(|_| choices.of(&pieces)).collect())
}

fn seen(view: &View) -> Seen {
    let order: Vec<_> = view.data.iter().map(|item| (item.key.len(), &item.key)).collect();
    assert!(order.is_sorted(), "keys out of order");
    Seen {
        data: view.data.iter().map(|item| (item.key.clone(), item.value.clone())).collect(),
        who: view.person.as_ref().map(|person| (person.name.clone(), person.roles.clone(), person.level)),
    }
}
