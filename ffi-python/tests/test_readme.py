"""The Python examples of the READMEs run as they stand there."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import TEST_KEYS

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _as_a_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COATROOM_KEYS", TEST_KEYS)


def run(readme: str, number: int) -> dict[str, Any]:
    blocks = re.findall(r"```python\n(.*?)```", (REPOSITORY / readme).read_text(), re.DOTALL)
    names: dict[str, Any] = {"__name__": "__main__", "checked_user": lambda form: form["user"]}
    exec(blocks[number], names)
    return names


@pytest.mark.parametrize("readme", ["README.md", "ffi-python/README.md"])
def test_the_flask_example_counts(readme: str) -> None:
    client = run(readme, 0)["app"].test_client()
    assert client.get("/").json == {"visits": 1, "user": None}
    assert client.get("/").json == {"visits": 2, "user": None}


def test_the_flask_example_logs_in_and_keeps_what_the_visitor_had() -> None:
    client = run("README.md", 0)["app"].test_client()
    client.get("/")
    assert client.post("/login", data={"user": "ada"}).status_code == 302
    assert client.get("/").json == {"visits": 2, "user": "ada"}


def test_the_asgi_example_answers_with_a_cookie() -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b"", "root_path": ""}
    asyncio.run(run("README.md", 1)["app"]({**scope, "scheme": "https", "http_version": "1.1"}, receive, send))
    assert sent[0]["status"] == 200
    assert [name for name, _ in sent[0]["headers"]].count(b"set-cookie") == 1
    assert sent[1]["body"] == b'{"visits":1,"user":null}'
