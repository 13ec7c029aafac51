"""Access tokens from Python: every vector, the way from a login to a verifier over every store, and how a logout gets
there. The rules are those of the crate `coatroom-token`; what is tested here is that Python gets all of them."""

from __future__ import annotations

import asyncio
import base64
import gc
import itertools
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import coatroom
import far
import jwt
import pytest
from coatroom.asgi import CoatroomMiddleware
from coatroom.testing import ManualClock
from coatroom.tokens import Claims, Issuer, Revocations, Verifier
from conftest import TEST_KEYS, Browser
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from own_stores import Dict

FOLDER = Path(__file__).parents[2] / "spec" / "vectors" / "tokens"
INDEX: dict[str, Any] = json.loads((FOLDER / "index.json").read_text())
GIVEN: dict[str, str] = INDEX["given"]
ED = "ed-1:EdDSA:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3I"
HS = GIVEN["hs256"]
SHOP, ORDERS = "https://shop.example", "orders"
BOUND = 10
NAMES = (f"user-{number}" for number in itertools.count())
"""One principal for each test: what was announced of others stays in a store."""


def verifiers(clock: ManualClock) -> dict[str, Verifier]:
    names = GIVEN["issuer"], GIVEN["audience"]
    return {
        "eddsa": Verifier(*names, jwks=GIVEN["jwks"], clock=clock),
        "hs256": Verifier(*names, shared_keys=GIVEN["hs256"], clock=clock),
    }


def judged(verifier: Verifier, token: str | bytes) -> dict[str, Any]:
    """What a verifier says, as the vectors write it."""
    try:
        claims = verifier.verify(token)
    except coatroom.TokenRefused as error:
        text = token.decode("latin-1") if isinstance(token, bytes) else token
        tells = any(part in str(error) for part in text.split(".") if len(part) > 8)
        return {"refused": error.reason} if error.status == 401 and not tells else {}
    ms = {"iat": claims.issued_at.timestamp() * 1000, "exp": claims.expires_at.timestamp() * 1000}
    stated = {"sub": claims.principal, "sid": claims.handle, "jti": claims.token_id, "level": claims.level}
    roles = {"roles": sorted(claims.roles)}
    return {"claims": {**stated, **roles, "iat_ms": round(ms["iat"]), "exp_ms": round(ms["exp"])}}


def play_all(text: str) -> int:
    """Plays the text of a file; how many cases it has."""
    cases = json.loads(text).pop("cases")
    clock = ManualClock()
    by_keys = verifiers(clock)
    for case in cases:
        name, keys, now, expect = (case.pop(field) for field in ("name", "keys", "now", "expect"))
        ((kind, token),) = case.items()
        assert kind in ("token", "bytes"), kind
        clock._native.set(now * 1000)
        if "claims" in expect:
            expect["claims"]["roles"].sort()
        assert judged(by_keys[keys], bytes.fromhex(token) if kind == "bytes" else token) == expect, name
    return len(cases)


@pytest.mark.parametrize("file", INDEX["files"])
# spec: TOKEN-4 0830, TOKEN-5 0209, TOKEN-6 8261, TOKEN-7 8b63, TOKEN-10 2a12, TOKEN-11 f067
def test_every_token_is_judged_as_it_is_written(file: str) -> None:
    cases = play_all((FOLDER / file).read_text())
    print(f"{file}: {cases} tokens")
    assert cases == INDEX["files"][file]


def test_the_index_counts_every_file() -> None:
    assert set(INDEX["files"]) == {path.name for path in FOLDER.glob("*.json")} - {"index.json"}
    assert INDEX["cases"] == sum(INDEX["files"].values()) == 244


def test_a_difference_is_noticed() -> None:
    for file, old, new in [
        ("accepted.json", '"level":1', '"level":2'),
        ("algorithms.json", '{"refused":"algorithm"}', '{"refused":"signature"}'),
        ("texts.json", '"now":', '"extra": 1, "now":'),
    ]:
        with pytest.raises((AssertionError, ValueError)):
            play_all((FOLDER / file).read_text().replace(old, new, 1))


STORES = ["memory", "sqlite", "file", "redis", "postgres", "cookie+deny"]


@pytest.fixture(scope="module", params=STORES)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp(request.param.replace("+", "-"))
    if request.param == "memory":
        yield "memory"
    elif request.param == "sqlite":
        yield f"sqlite:{folder / 'sessions.db'}"
    elif request.param == "file":
        yield f"file:{folder / 'sessions'}"
    elif request.param == "cookie+deny":
        yield f"cookie+deny:sqlite:{folder / 'list.db'}"
    elif request.param == "redis":
        with far.servers().redis(folder) as address:
            yield address
    else:
        with far.postgres(TEST_KEYS) as address:
            yield address
            # The server waits for connections, which whatever is left in cycles still has.
            gc.collect()


class Site:
    """An application that issues tokens, and a service that verifies them: they share the store and nothing else."""

    def __init__(self, store: str, keys: str = ED, **settings: Any) -> None:
        self.clock = ManualClock()
        self.ada, self.bob = next(NAMES), next(NAMES)
        self.sessions = coatroom.Sessions(store, TEST_KEYS, clock=self.clock, announce=True, **settings)
        self.issuer = Issuer(SHOP, ORDERS, keys)
        # What is in the memory of this process has no address.
        place = self.sessions if store == "memory" else store
        self.revocations = Revocations(place, clock=self.clock)
        self.revocations.pull()
        chosen: dict[str, Any] = {"shared_keys": keys} if keys == HS else {"jwks": self.issuer.jwks()}
        self.verifier = Verifier(SHOP, ORDERS, revocations=self.revocations, within=BOUND, **chosen)

    def login(self, principal: str) -> Browser:
        browser = Browser()
        session = self.sessions.open("")
        session.login(principal, roles=["staff", "admin"], level=2)
        self.answer(session, browser)
        # The first request with a new id confirms it.
        self.answer(self.sessions.open(browser.header), browser)
        return browser

    def answer(self, session: coatroom.Session, browser: Browser) -> None:
        session._commit(200)
        browser.take(session._exchange.head()[2])

    def token(self, browser: Browser) -> str:
        return self.issuer.issue(self.sessions.open(browser.header)).text


@pytest.mark.parametrize("keys", [ED, HS], ids=["EdDSA", "HS256"])
# spec: TOKEN-1 6e31, TOKEN-7 8b63
def test_a_verifier_knows_from_a_token_who_is_logged_in(store: str, keys: str) -> None:
    site = Site(store, keys)
    browser = site.login(site.ada)
    session = site.sessions.open(browser.header)
    token = site.issuer.issue(session)
    claims = site.verifier.bearer(f"Bearer {token.text}")
    assert (claims.principal, claims.roles, claims.level) == (site.ada, frozenset({"staff", "admin"}), 2)
    assert (claims.handle, claims.heard, claims.expires_at) == (session.handle, "in time", token.expires_at)
    assert (token.lifetime, claims.expires_at - claims.issued_at) == (300, timedelta(minutes=5))
    claims.require_role("admin")
    with pytest.raises(coatroom.Forbidden):
        claims.require_role("root")


# spec: TOKEN-3 c1a8
def test_only_a_live_login_that_is_stored_gets_a_token(store: str) -> None:
    site = Site(store)
    with pytest.raises(coatroom.Unauthenticated):
        site.issuer.issue(site.sessions.open(""))
    session = site.sessions.open("")
    session.login("ada")
    with pytest.raises(coatroom.NotIssued) as not_yet:
        site.issuer.issue(session)
    assert (not_yet.value.status, not_yet.value.code) == (409, "not-issued")
    browser = site.login(site.ada)
    old = browser.header
    session = site.sessions.open(browser.header)
    session.logout()
    with pytest.raises(coatroom.Unauthenticated):
        site.issuer.issue(session)
    site.answer(session, browser)
    with pytest.raises(coatroom.SessionClosed):
        site.issuer.issue(session)
    with pytest.raises(coatroom.Unauthenticated):
        site.issuer.issue(site.sessions.open(old))


def ended_by_logout(site: Site, browser: Browser) -> None:
    session = site.sessions.open(browser.header)
    session.logout()
    site.answer(session, browser)


def ended_by_a_login_of_another(site: Site, browser: Browser) -> None:
    session = site.sessions.open(browser.header)
    session.login("eve")
    site.answer(session, browser)


def ended_from_another_device(site: Site, browser: Browser) -> None:
    handle = site.sessions.open(browser.header).handle
    assert handle is not None
    assert site.sessions.open(site.login(site.ada).header).revoke(handle)


def ended_with_the_others(site: Site, browser: Browser) -> None:
    assert site.sessions.open(site.login(site.ada).header).revoke_others() >= 1


def ended_with_all(site: Site, browser: Browser) -> None:
    assert site.sessions.open(browser.header).revoke_all() >= 1


def ended_by_the_application(site: Site, browser: Browser) -> None:
    assert site.sessions.revoke_all(site.ada) >= 1


def ended_with_everything(site: Site, browser: Browser) -> None:
    assert site.sessions.revoke_everything() >= 1


def ended_by_its_limit(site: Site, browser: Browser) -> None:
    site.clock.advance(31 * 60)
    site.answer(site.sessions.open(browser.header), browser)


def ended_on_an_event_loop(site: Site, browser: Browser) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["session"].logout()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def ignore(*_: Any) -> Any:
        return {"type": "http.request", "body": b""}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"cookie", browser.header.encode())]}
    asyncio.run(CoatroomMiddleware(app, site.sessions)(scope, ignore, ignore))


ENDINGS: list[Callable[[Site, Browser], None]] = [
    ended_by_logout,
    ended_by_a_login_of_another,
    ended_from_another_device,
    ended_with_the_others,
    ended_with_all,
    ended_by_the_application,
    ended_with_everything,
    ended_by_its_limit,
    ended_on_an_event_loop,
]


@pytest.mark.parametrize("end", ENDINGS, ids=lambda end: end.__name__)
# spec: FEED-1 8358, FEED-3 19a1, TOKEN-12 c154
def test_whatever_ends_a_login_ends_its_tokens_at_the_next_pull(
    store: str, end: Callable[[Site, Browser], None]
) -> None:
    site = Site(store)
    browser, other = site.login(site.ada), site.login(site.bob)
    handle = site.sessions.open(browser.header).handle
    token, kept = site.token(browser), site.token(other)
    assert site.verifier.verify(token).principal == site.ada
    end(site, browser)
    announced = site.revocations.pull()
    if end is ended_by_its_limit:
        # Its token is over as well. One that were younger would be refused all the same.
        with pytest.raises(coatroom.TokenExpired):
            site.verifier.verify(token)
        return
    assert announced >= 1
    with pytest.raises(coatroom.TokenRevoked) as refused:
        site.verifier.verify(token)
    assert (refused.value.status, refused.value.reason) == (401, "revoked")
    assert token not in str(refused.value)
    assert handle is not None
    if end is not ended_with_everything:
        assert site.verifier.verify(kept).principal == site.bob


@pytest.mark.parametrize("store", STORES[:5], indirect=True)
# spec: FEED-1 8358
def test_a_login_that_gives_way_to_a_newer_one_ends_its_tokens(store: str) -> None:
    site = Site(store, limit=("evict-oldest", 1))
    token = site.token(site.login(site.ada))
    site.clock.advance(1)
    site.login(site.ada)
    site.revocations.pull()
    with pytest.raises(coatroom.TokenRevoked):
        site.verifier.verify(token)


# spec: TOKEN-13 0b79
def test_with_a_cut_connection_tokens_are_refused_after_the_bound_unless_told_otherwise(tmp_path: Path) -> None:
    with far.servers().redis(tmp_path) as address, far.gated(address) as gate:
        site = Site(address)
        revocations = Revocations(gate.address, clock=site.clock)
        strict = Verifier(SHOP, ORDERS, jwks=site.issuer.jwks(), revocations=revocations, within=BOUND)
        lax = Verifier(SHOP, ORDERS, jwks=site.issuer.jwks(), revocations=revocations, within=BOUND, late="accept")
        browser, other = site.login(site.ada), site.login(site.bob)
        token, kept = site.token(browser), site.token(other)
        with pytest.raises(coatroom.EndingsUnknown):
            strict.verify(token)
        assert lax.verify(token).heard == "too long ago", "nothing was heard yet"
        revocations.pull()
        gate.shut(to_questions=True)
        ended_by_logout(site, browser)
        with pytest.raises(coatroom.StoreUnavailable):
            revocations.pull()
        site.clock.advance(BOUND)
        assert [one.verify(token).heard for one in (strict, lax)] == ["in time", "in time"], "within the bound"
        site.clock.advance(0.001)
        with pytest.raises(coatroom.EndingsUnknown) as stale:
            strict.verify(kept)
        assert (stale.value.status, stale.value.code) == (503, "stale")
        assert lax.verify(token).heard == "too long ago"
        gate.open()
        assert far.until(10, lambda: hears(revocations))
        assert strict.verify(kept).heard == "in time"
        for verifier in (strict, lax):
            with pytest.raises(coatroom.TokenRevoked):
                verifier.verify(token)


def hears(revocations: Revocations) -> bool:
    try:
        revocations.pull()
    except coatroom.StoreUnavailable:
        return False
    return True


def refuses(verifier: Verifier, token: str) -> bool:
    try:
        verifier.verify(token)
    except coatroom.TokenRevoked:
        return True
    return False


def end_child(claim: Callable[[], bool]) -> None:
    """Ends this process, which was forked from the tests and must not go on with them, by whether a claim holds."""
    code = 1
    try:
        code = 0 if claim() else 1
    finally:
        os._exit(code)


# spec: TOKEN-13 0b79
def test_a_thread_hears_of_an_ending_by_itself(store: str) -> None:
    sessions = coatroom.Sessions(store, TEST_KEYS, announce=True)
    revocations = Revocations(sessions, every=0.02)
    issuer = Issuer(SHOP, ORDERS, ED)
    verifier = Verifier(SHOP, ORDERS, jwks=issuer.jwks(), revocations=revocations)
    token, _ = token_of(sessions, issuer, name := next(NAMES))
    assert verifier.verify(token).heard == "in time"
    sessions.revoke_all(name)
    assert far.until(10, lambda: refuses(verifier, token))
    # The principal comes first, the session itself perhaps with the next pull.
    assert far.until(10, lambda: len(revocations) >= 1)


@pytest.mark.parametrize("store", ["memory", "redis", "postgres"], indirect=True)
# spec: FEED-6 f2f5
def test_where_a_store_pushes_an_ending_is_heard_of_long_before_the_next_pull(store: str) -> None:
    sessions = coatroom.Sessions(store, TEST_KEYS, announce=True)
    revocations = Revocations(sessions if store == "memory" else store, every=3600)
    issuer = Issuer(SHOP, ORDERS, ED)
    verifier = Verifier(SHOP, ORDERS, jwks=issuer.jwks(), revocations=revocations, within=7200)
    for _ in range(2):
        token, _ = token_of(sessions, issuer, name := next(NAMES))
        assert verifier.verify(token).heard == "in time"
        sessions.revoke_all(name)
        assert far.until(30, partial(refuses, verifier, token))


def token_of(sessions: coatroom.Sessions, issuer: Issuer, principal: str) -> tuple[str, Browser]:
    browser = Browser()
    session = sessions.open("")
    session.login(principal)
    session._commit(200)
    browser.take(session._exchange.head()[2])
    return issuer.issue(sessions.open(browser.header)).text, browser


@pytest.mark.parametrize("store", STORES[1:], indirect=True)
# spec: TOKEN-13 0b79
def test_a_process_that_was_forked_goes_on_hearing(store: str) -> None:
    sessions = coatroom.Sessions(store, TEST_KEYS, announce=True)
    goes_on_hearing(sessions, store if store.startswith(("sqlite", "file")) else sessions, every=0.02)


@pytest.mark.parametrize("store", ["redis", "postgres"], indirect=True)
# spec: FEED-6 f2f5
def test_a_process_that_was_forked_is_pushed_to_as_its_parent_is(store: str) -> None:
    goes_on_hearing(coatroom.Sessions(store, TEST_KEYS, announce=True), store, every=3600)


def goes_on_hearing(sessions: coatroom.Sessions, place: str | coatroom.Sessions, every: float) -> None:
    revocations = Revocations(place, every=every)
    issuer = Issuer(SHOP, ORDERS, ED)
    verifier = Verifier(SHOP, ORDERS, jwks=issuer.jwks(), revocations=revocations, within=10 + 2 * every)
    for _ in range(5):
        token, _ = token_of(sessions, issuer, name := next(NAMES))
        hears_of_it = partial(far.until, 10, partial(refuses, verifier, token))
        child = os.fork()
        if child == 0:
            end_child(hears_of_it)
        try:
            sessions.revoke_all(name)
            assert hears_of_it(), "the parent goes on as well"
            _, status = os.waitpid(child, 0)
        except BaseException:
            os.kill(child, signal.SIGKILL)
            raise
        assert os.waitstatus_to_exitcode(status) == 0


def test_revocations_that_nobody_has_any_more_leave_no_thread(tmp_path: Path) -> None:
    def pulling() -> int:
        return far.threads().count("coatroom-feed")

    gc.collect()
    before = pulling()
    # One that looks just before it is told to end would wait for its next pull; of so many, some do.
    many = [Revocations(f"sqlite:{tmp_path / 'sessions.db'}", every=3600) for _ in range(200)]
    assert far.until(10, lambda: pulling() >= len(many))
    many.clear()
    assert far.until(10, lambda: pulling() <= before)


def test_a_fork_waits_for_a_pull_that_is_under_way(tmp_path: Path) -> None:
    with far.servers().redis(tmp_path) as address, far.gated(address) as gate:
        sessions = coatroom.Sessions(address, TEST_KEYS, announce=True)
        issuer = Issuer(SHOP, ORDERS, ED)
        revocations = Revocations(gate.address, every=0.02)
        verifier = Verifier(SHOP, ORDERS, jwks=issuer.jwks(), revocations=revocations)
        token, _ = token_of(sessions, issuer, "ada")
        gate.shut()
        assert gate.asked.wait(10)
        threading.Timer(0.2, gate.open).start()
        child = os.fork()
        if child == 0:
            end_child(partial(far.until, 10, partial(refuses, verifier, token)))
        sessions.revoke_all("ada")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# spec: FEED-5 77d0
def test_a_store_without_a_feed_is_refused_at_start() -> None:
    stores: list[Any] = ["cookie", Dict()]
    for place in stores:
        with pytest.raises(coatroom.ConfigError):
            coatroom.Sessions(place, TEST_KEYS, announce=True)
    own = coatroom.Sessions(Dict(), TEST_KEYS)
    for place in ("cookie", own):
        with pytest.raises(coatroom.ConfigError):
            Revocations(place)


def test_who_does_not_ask_for_it_announces_nothing(sessions: coatroom.Sessions) -> None:
    session = sessions.open("")
    session.login("ada")
    session._commit(200)
    assert sessions.revoke_all("ada") == 1
    assert Revocations(sessions).pull() == 0


# spec: TOKEN-11 f067
def test_a_token_counts_until_it_expires_and_clocks_are_given_their_leeway() -> None:
    site = Site("memory")
    token = site.token(site.login(site.ada))
    plain = Verifier(SHOP, ORDERS, jwks=site.issuer.jwks(), clock=site.clock)
    start = plain.verify(token).issued_at
    for seconds, counts in [(-5, True), (-6, False), (304, True), (305, False)]:
        site.clock._native.set(int(start.timestamp() * 1000) + seconds * 1000)
        assert (judged(plain, token) == {"refused": "not yet valid" if seconds < 0 else "expired"}) != counts, seconds
    assert judged(Verifier(SHOP, "others", jwks=site.issuer.jwks(), clock=site.clock), token) == {"refused": "audience"}


# spec: TOKEN-2 9702
def test_no_token_outlives_its_session() -> None:
    site = Site("memory", idle=timedelta(minutes=2))
    session = site.sessions.open(site.login(site.ada).header)
    assert site.issuer.issue(session).lifetime in (119, 120)


# spec: TOKEN-8 d2bf
def test_rotating_keys_refuses_no_live_token() -> None:
    site = Site("memory")
    browser = site.login(site.ada)
    old, new = Issuer.new_key("2026-11"), Issuer.new_key("2026-12")
    issuers = [Issuer(SHOP, ORDERS, keys) for keys in (old, f"{old},{new}", f"{new}\n{old}", new)]
    verifier = Verifier(SHOP, ORDERS, jwks=issuers[0].jwks(), clock=site.clock)
    first, last = (issuer.issue(site.sessions.open(browser.header)).text for issuer in (issuers[0], issuers[2]))
    with pytest.raises(coatroom.UnknownTokenKey):
        verifier.verify(last)
    for issuer in issuers[1:3]:
        verifier.set_keys(jwks=json.loads(issuer.jwks()))
        assert [verifier.verify(token).principal for token in (first, last)] == [site.ada] * 2
    verifier.set_keys(jwks=issuers[3].jwks().encode())
    assert judged(verifier, first) == {"refused": "unknown key"}


# spec: TOKEN-8 d2bf, TOKEN-9 8191
def test_keys_that_cannot_be_meant_are_refused_and_none_is_told() -> None:
    private = json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "AA", "d": "c2VjcmV0"}]})
    secret = ED.rpartition(":")[2]
    wrong: list[Callable[[], object]] = [
        lambda: Issuer(SHOP, ORDERS, ""),
        lambda: Issuer(SHOP, ORDERS, f"{ED},{ED}"),
        lambda: Issuer(SHOP, ORDERS, f"{ED},{HS}"),
        lambda: Issuer(SHOP, "", ED),
        lambda: Issuer(SHOP, ORDERS, ED, lifetime=timedelta(hours=2)),
        lambda: Verifier(SHOP, ORDERS),
        lambda: Verifier(SHOP, ORDERS, jwks=GIVEN["jwks"], shared_keys=HS),
        lambda: Verifier(SHOP, ORDERS, shared_keys=ED),
        lambda: Verifier(SHOP, ORDERS, jwks=private),
        lambda: Verifier(SHOP, ORDERS, jwks={"keys": []}),
        lambda: Verifier(SHOP, ORDERS, jwks=GIVEN["jwks"], leeway=61),
        lambda: Verifier(SHOP, ORDERS, jwks=GIVEN["jwks"], late="maybe"),  # type: ignore[arg-type]
        lambda: Verifier(SHOP, ORDERS, jwks=GIVEN["jwks"], revocations=Revocations("memory", every=10), within=10),
    ]
    for number, make in enumerate(wrong):
        with pytest.raises(coatroom.ConfigError) as refused:
            make()
        assert not any(part in str(refused.value) for part in (secret, HS.rpartition(":")[2], "c2VjcmV0")), number


# spec: TOKEN-9 8191
def test_a_key_set_shows_public_keys_alone_and_nothing_secret_is_printed() -> None:
    issuer = Issuer(SHOP, ORDERS, ED)
    (key,) = json.loads(issuer.jwks())["keys"]
    assert set(key) == {"alg", "crv", "kid", "kty", "use", "x"}
    assert json.loads(Issuer(SHOP, ORDERS, HS).jwks()) == {"keys": []}
    site = Site("memory")
    token = site.issuer.issue(site.sessions.open(site.login(site.ada).header))
    printed = f"{issuer!r} {site.verifier!r} {token!r} {token} {[token]}"
    assert not any(part in printed for part in (ED.rpartition(":")[2], *token.text.split(".")))


def test_a_header_without_a_token_is_told_from_one_with_a_wrong_token() -> None:
    verifier = verifiers(ManualClock())["eddsa"]
    for header in (None, "", "Basic YTpi", "Bearer"):
        with pytest.raises(coatroom.TokenRefused) as refused:
            verifier.bearer(header)
        assert isinstance(refused.value, coatroom.TokenMissing) == (header != "Bearer")
    for token in ("\ud800.a.b", b"\xff.\xff.\xff", "a" * 5000):
        with pytest.raises(coatroom.TokenRefused):
            verifier.verify(token)
    with pytest.raises(TypeError):
        verifier.verify(None)  # type: ignore[arg-type]


def material(entry: str) -> bytes:
    text = entry.rpartition(":")[2]
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.mark.parametrize(("keys", "algorithm"), [(ED, "EdDSA"), (HS, "HS256")])
# spec: TOKEN-1 6e31, TOKEN-6 8261
def test_pyjwt_accepts_our_tokens_and_we_its(keys: str, algorithm: str) -> None:
    site = Site("memory", keys)
    token = site.token(site.login(site.ada))
    shared: Any = material(keys)
    public: Any = shared if keys == HS else jwt.PyJWKSet.from_json(site.issuer.jwks()).keys[0].key
    theirs = jwt.decode(token, public, algorithms=[algorithm], audience=ORDERS, issuer=SHOP)
    assert (theirs["sub"], theirs["roles"], theirs["level"]) == (site.ada, ["admin", "staff"], 2)
    header = jwt.get_unverified_header(token)
    assert header == {"alg": algorithm, "kid": keys.partition(":")[0], "typ": "at+jwt"}
    private: Any = shared if keys == HS else Ed25519PrivateKey.from_private_bytes(shared)
    made = jwt.encode(theirs, private, algorithm=algorithm, headers=header)
    assert isinstance(site.verifier.verify(made), Claims)
    for change in ({"typ": "JWT"}, {"jku": "https://evil.example"}, {"kid": "../../dev/null"}):
        with pytest.raises(coatroom.TokenRefused):
            site.verifier.verify(jwt.encode(theirs, private, algorithm=algorithm, headers=header | change))


# spec: TOKEN-7 8b63
def test_a_public_key_is_no_shared_one() -> None:
    verifier = verifiers(ManualClock())["eddsa"]
    x = json.loads(GIVEN["jwks"])["keys"][0]["x"]
    forged = jwt.encode({"sub": "eve"}, material(x), algorithm="HS256", headers={"kid": "ed-1", "typ": "at+jwt"})
    assert judged(verifier, forged) == {"refused": "algorithm"}
