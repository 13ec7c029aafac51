"""Stores of the application: the suite for them, on the stores of the wheel and on the example; and what the core makes
of stores that misbehave."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coatroom
import pytest
from coatroom.asgi import CoatroomMiddleware
from coatroom.flask import Coatroom
from coatroom.store import Swap, Swapped
from coatroom.store_suite import IndexSuite, ScanSuite, StoreSuite, SweepSuite
from coatroom.testing import KEYS
from flask import Flask, session
from own_stores import AsyncDict, AsyncWheel, Dict, Wheel, redis_server
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from test_docs import examples

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as address:
        yield address


def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("own_store")


class TestDict(StoreSuite):
    @pytest.fixture
    def store(self) -> Dict:
        return Dict()


class TestAsyncDict(StoreSuite):
    @pytest.fixture
    def store(self) -> AsyncDict:
        return AsyncDict()


class TestMemory(StoreSuite, IndexSuite, SweepSuite, ScanSuite):
    @pytest.fixture
    def store(self) -> Wheel:
        return Wheel("memory")


class TestAsyncMemory(StoreSuite, IndexSuite, SweepSuite, ScanSuite):
    @pytest.fixture
    def store(self) -> AsyncWheel:
        return AsyncWheel("memory")


class TestSqlite(StoreSuite, IndexSuite, SweepSuite, ScanSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Wheel:
        return Wheel(f"sqlite:{tmp_path}/sessions.db")


class TestRedis(StoreSuite, IndexSuite, ScanSuite):
    @pytest.fixture
    def store(self, redis: str) -> Wheel:
        return Wheel(redis)


class TestExample(StoreSuite, IndexSuite):
    @pytest.fixture
    def store(self, redis: str, monkeypatch: pytest.MonkeyPatch) -> Any:
        return example(monkeypatch).RedisStore(redis)


@pytest.mark.parametrize(
    "store",
    [
        "Upserts()",
        "ComparesVersions()",
        "FoldsCase()",
        "SaysNothingOfWhatIsThere()",
        "ComparesFirstAndWritesLater()",
        "Forgetful('memory')",
        "CountsInTwoSteps('memory')",
        "NamesWhoCameLater('memory')",
        "RepeatsMoments('memory')",
    ],
)
def test_the_suite_finds_a_store_that_is_wrong(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    suites = "StoreSuite, IndexSuite" if "memory" in store else "StoreSuite"
    file = tmp_path / f"test_{store.partition('(')[0]}.py"
    file.write_text(
        "import pytest, wrong_stores\n"
        "from coatroom.store_suite import IndexSuite, StoreSuite\n"
        f"class TestWrong({suites}):\n"
        "    @pytest.fixture\n"
        f"    def store(self): return wrong_stores.{store}\n"
    )
    monkeypatch.chdir(tmp_path)
    arguments = ["-q", "-x", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", file.name]
    assert pytest.main(arguments) == 1
    assert "1 failed" in capsys.readouterr().out


class Fails(Dict):
    """Raises at the call of which it is told, before or after the work, with the id of somebody in its text."""

    def __init__(self) -> None:
        super().__init__()
        self.failing = ""
        self.error: Exception = ConnectionError("refused: __Host-id=secret")

    def load(self, handle: str) -> bytes | None:
        if self.failing == "load":
            raise self.error
        return super().load(handle)

    def swap(self, swap: Swap) -> Swapped:
        if self.failing == "swap":
            raise self.error
        answer = super().swap(swap)
        if self.failing == "answer":
            self.failing = ""
            raise self.error
        return answer


class FailsAsync(Fails):
    async def load(self, handle: str) -> bytes | None:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().load(handle)

    async def swap(self, swap: Swap) -> Swapped:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().swap(swap)


def flask_client(sessions: coatroom.Sessions) -> Any:
    app = Flask(__name__)
    Coatroom(app, sessions)

    @app.get("/me")
    def me() -> dict[str, Any]:
        return {"n": session.get("n")}

    @app.post("/add")
    def add() -> dict[str, Any]:
        return {"n": session.add("n")}  # type: ignore[attr-defined]

    return app.test_client()


def starlette_client(sessions: coatroom.Sessions) -> Any:
    async def me(request: Request) -> JSONResponse:
        return JSONResponse({"n": request.session.get("n")})

    async def add(request: Request) -> JSONResponse:
        return JSONResponse({"n": request.session.add("n")})  # type: ignore[attr-defined]

    app = Starlette(routes=[Route("/me", me), Route("/add", add, methods=["POST"])])
    return TestClient(CoatroomMiddleware(app, sessions), base_url="https://testserver")


@pytest.fixture(params=["wsgi", "asgi", "asgi, sync store"])
def served(request: pytest.FixtureRequest) -> tuple[Fails, Any]:
    store = FailsAsync() if request.param == "asgi" else Fails()
    sessions = coatroom.Sessions(store, KEYS)
    return store, (flask_client if request.param == "wsgi" else starlette_client)(sessions)


def test_a_load_that_raises_is_an_error_and_never_nobody(served: tuple[Fails, Any], caplog: Any) -> None:
    store, client = served
    assert client.post("/add").status_code == 200
    store.failing = "load"
    response = client.get("/me")
    assert response.status_code == 503
    assert "secret" not in response.text + caplog.text, "what a store says in its errors is shown to nobody"
    assert "Set-Cookie" not in response.headers
    store.failing = ""
    assert client.post("/add").status_code == 200
    assert "load raised ConnectionError" in caplog.text


def test_a_swap_that_took_place_and_raised_counts_once(served: tuple[Fails, Any]) -> None:
    store, client = served
    client.post("/add")
    store.failing = "answer"
    response = client.post("/add")
    assert (response.status_code, response.get_json() if hasattr(response, "get_json") else response.json()) == (
        200,
        {"n": 2},
    )


def test_a_swap_that_was_not_sent_is_tried_for_a_while_or_refused(served: tuple[Fails, Any]) -> None:
    store, client = served
    client.post("/add")
    store.failing, store.error = "swap", coatroom.StoreUnavailable("secret")
    response = client.post("/add")
    assert response.status_code == 503
    assert "secret" not in response.text


def test_what_is_no_store_is_refused_at_the_start() -> None:
    class Half:
        def load(self, handle: str) -> None: ...

    class Mixed(Dict):
        async def load(self, handle: str) -> bytes | None:  # type: ignore[override]
            return None

    class HalfAnIndex(Dict):
        def sessions(self, principal: str) -> list[str]:
            return []

    for store, reason in ((Half(), "swap is missing"), (Mixed(), "all `async def`"), (HalfAnIndex(), "an index has")):
        with pytest.raises(coatroom.ConfigError, match=reason):
            coatroom.Sessions(store, KEYS)  # type: ignore[arg-type]


def test_what_needs_an_index_says_so_and_at_the_start_if_it_is_known_then() -> None:
    for settings in ({"limit": ("refuse", 1)}, {"reuse": "revoke-all"}):
        with pytest.raises(coatroom.ConfigError, match="Index"):
            coatroom.Sessions(Dict(), KEYS, **settings)
    sessions = coatroom.Sessions(Dict(), KEYS)
    for ask in (sessions.devices, sessions.revoke_all):
        with pytest.raises(coatroom.ConfigError, match="Index"):
            ask("ada")
    with pytest.raises(coatroom.ConfigError, match="Scan"):
        sessions.revoke_everything()
    assert sessions.sweep() == 0


def test_a_store_that_answers_nonsense_wrote_nobody_knows_what(caplog: pytest.LogCaptureFixture) -> None:
    class ForgetsToAnswer(Dict):
        def swap(self, swap: Swap) -> Swapped:
            super().swap(swap)
            return None  # type: ignore[return-value]

    sessions = coatroom.Sessions(ForgetsToAnswer(), KEYS)
    session = sessions.open("")
    session["n"] = 1
    with caplog.at_level(logging.ERROR, "coatroom"), pytest.raises(coatroom.Unavailable):
        session._commit(200)
    assert "swap raised TypeError" in caplog.text


def test_an_asynchronous_store_is_not_waited_for_on_its_own_loop() -> None:
    sessions = coatroom.Sessions(AsyncDict(), KEYS)

    async def opens() -> None:
        sessions.open("")

    with pytest.raises(RuntimeError, match="to_thread"):
        asyncio.run(opens())


def test_devices_of_an_asynchronous_store_are_asked_from_a_thread(redis: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = coatroom.Sessions(example(monkeypatch).RedisStore(redis, "devices:"), KEYS)

    async def login(request: Request) -> JSONResponse:
        request.session.login("ada")  # type: ignore[attr-defined]
        return JSONResponse({})

    async def devices(request: Request) -> JSONResponse:
        found = await asyncio.to_thread(request.session.devices)  # type: ignore[attr-defined]
        return JSONResponse([device.is_this for device in found])

    app = Starlette(routes=[Route("/login", login), Route("/devices", devices)])
    with TestClient(CoatroomMiddleware(app, sessions), base_url="https://testserver") as client:
        client.get("/login")
        assert client.get("/devices").json() == [True]


def test_requests_in_turn_wait_for_each_other_on_the_loop() -> None:
    sessions = coatroom.Sessions(AsyncDict(), KEYS, concurrency="serial")
    middleware = CoatroomMiddleware(read_and_add, sessions)

    async def main() -> int:
        cookie = await post(middleware, "")
        await asyncio.gather(*(post(middleware, cookie) for _ in range(10)))
        answers: list[bytes] = []
        await post(middleware, cookie, answers)
        return int(answers[0])

    assert asyncio.run(main()) == 12


async def read_and_add(scope: Any, receive: Any, send: Any) -> None:
    n = scope["session"].get("n", 0)
    await asyncio.sleep(0.001)
    scope["session"]["n"] = n + 1
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(n + 1).encode()})


async def post(app: Any, cookie: str, answers: list[bytes] | None = None) -> str:
    cookies: list[str] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 200
            cookies.extend(value.decode() for name, value in message["headers"] if name == b"set-cookie")
        elif answers is not None:
            answers.append(message["body"])

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"cookie", cookie.encode())]}
    await app(scope, None, send)
    return cookies[0].partition(";")[0] if cookies else cookie


def test_the_store_of_the_page_passes_the_suite_and_serves(
    redis: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REDIS", redis)
    monkeypatch.setenv("COATROOM_KEYS", KEYS)
    (tmp_path / "test_page.py").write_text(examples("own-store.md"))
    monkeypatch.chdir(tmp_path)
    assert pytest.main(["-q", "-x", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", "test_page.py"]) == 0
    names: dict[str, Any] = {"__name__": "page"}
    exec(examples("own-store.md"), names)
    with TestClient(names["app"], base_url="https://testserver") as client:
        assert [client.get("/").json() for _ in range(2)] == [1, 2]


def test_what_cannot_be_stored_is_an_error_and_nothing_of_it_is_written() -> None:
    store = AsyncDict()
    sessions = coatroom.Sessions(store, KEYS)

    async def fill(request: Request) -> JSONResponse:
        request.session["list"] = []
        return JSONResponse({})

    async def spoil(request: Request) -> JSONResponse:
        request.session["list"].append(object())
        request.session["n"] = 1
        return JSONResponse({})

    app = Starlette(routes=[Route("/fill", fill), Route("/spoil", spoil)])
    client = TestClient(CoatroomMiddleware(app, sessions), base_url="https://testserver")
    assert client.get("/fill").status_code == 200
    client.get("/fill")
    before = dict(store.inner.records)
    response = client.get("/spoil")
    assert (response.status_code, response.json()["error"]) == (500, "value")
    assert store.inner.records == before


class Gated(AsyncDict):
    """Holds swaps up while it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.opens = asyncio.Event()
        self.opens.set()
        self.reached = asyncio.Event()
        self.done = asyncio.Event()

    async def swap(self, swap: Swap) -> Swapped:
        self.reached.set()
        await self.opens.wait()
        answer = await super().swap(swap)
        self.done.set()
        return answer


def test_a_commit_is_finished_when_its_request_is_cancelled() -> None:
    async def main() -> int:
        store = Gated()
        middleware = CoatroomMiddleware(read_and_add, coatroom.Sessions(store, KEYS))
        cookie = await post(middleware, "")
        store.opens.clear()
        store.reached.clear()
        request = asyncio.create_task(post(middleware, cookie))
        await store.reached.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        store.done.clear()
        store.opens.set()
        await store.done.wait()
        answers: list[bytes] = []
        await post(middleware, cookie, answers)
        return int(answers[0])

    assert asyncio.run(main()) == 3


def test_a_request_that_is_cancelled_while_it_takes_its_turn_gives_it_back() -> None:
    async def main() -> None:
        store = Gated()
        middleware = CoatroomMiddleware(read_and_add, coatroom.Sessions(store, KEYS, concurrency="serial"))
        cookie = await post(middleware, "")
        store.opens.clear()
        store.reached.clear()
        request = asyncio.create_task(post(middleware, cookie))
        await store.reached.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        store.opens.set()
        # The turn would last ten seconds.
        await asyncio.wait_for(post(middleware, cookie), 5)

    asyncio.run(main())


class Slow(AsyncDict):
    """Lets others run in each call."""

    async def load(self, handle: str) -> bytes | None:
        await asyncio.sleep(0)
        return await super().load(handle)

    async def swap(self, swap: Swap) -> Swapped:
        await asyncio.sleep(0.001)
        return await super().swap(swap)


async def add(scope: Any, receive: Any, send: Any) -> None:
    n = scope["session"].add("n")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(n).encode()})


def test_writers_of_one_session_queue_on_the_loop_and_nobody_is_turned_away() -> None:
    sessions = coatroom.Sessions(Slow(), KEYS)
    middleware = CoatroomMiddleware(add, sessions)

    async def main() -> int:
        cookie = await post(middleware, "")
        requests = [asyncio.create_task(post(middleware, cookie)) for _ in range(250)]
        await asyncio.sleep(0)
        for request in requests[:50]:
            # Those who leave hold nobody up.
            request.cancel()
        await asyncio.gather(*requests[50:])
        answers: list[bytes] = []
        await post(middleware, cookie, answers)
        return int(answers[0])

    assert asyncio.run(main()) >= 202
