"""The Python examples of the framework pages run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from conftest import TEST_KEYS
from django.test import RequestFactory, override_settings
from django_project import User, coatroom_setting
from fastapi.testclient import TestClient
from litestar.testing import TestClient as LitestarClient
from starlette.websockets import WebSocketDisconnect

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(autouse=True)
def _as_a_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COATROOM_KEYS", TEST_KEYS)


def run(page: str, number: int) -> dict[str, Any]:
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(blocks[number], names)
    return names


@pytest.mark.parametrize("settings", [{0}, {0, 3}])
def test_the_settings_of_the_django_page_pass_its_checks(settings: set[int]) -> None:
    from coatroom.django.checks import check_settings

    merged: dict[str, Any] = {}
    for number in sorted(settings):
        merged |= {name: value for name, value in run("django.md", number).items() if name.isupper()}
    with override_settings(**merged):
        assert list(check_settings(None)) == []


def test_the_views_of_the_django_page() -> None:
    from coatroom.django.sessions import SessionStore

    with override_settings(COATROOM=coatroom_setting()):
        ada = User.objects.get(username="ada")
        session = SessionStore()
        session["_auth_user_id"] = ada.pk
        session.save()
        request = RequestFactory().post("/", {"sku": "hat"})
        request.session = session
        run("django.md", 2)["add_to_cart"](request)
        assert session["cart.hat"] == 1
        assert run("django.md", 1)["lock_out"](ada) == 1


def test_every_check_is_on_the_django_page() -> None:
    source = (DOCS.parent / "ffi-python/python/coatroom/django/checks.py").read_text()
    page = (DOCS / "django.md").read_text()
    for check in re.findall(r'id="coatroom\.([EW]\d+)"', source):
        assert check in page


def test_the_flask_login_example() -> None:
    client = run("frameworks.md", 0)["app"].test_client()
    reply = client.post("/login", data={"user": "ada"})
    assert reply.json == {"user": "ada"}
    assert reply.headers["Set-Cookie"].startswith("__Host-id=")


def test_the_fastapi_example() -> None:
    client = TestClient(run("frameworks.md", 1)["app"], base_url="https://shop.local")
    assert [client.get("/").json() for _ in range(2)] == [{"visits": 1}, {"visits": 2}]
    assert client.get("/profile").status_code == 401


def test_the_litestar_example() -> None:
    client: Any = LitestarClient(run("frameworks.md", 2)["app"], base_url="https://shop.local")
    assert [client.get("/").json() for _ in range(2)] == [{"visits": 1}, {"visits": 2}]


def test_the_socket_of_the_page_on_event_loops_is_closed_when_its_session_is_over() -> None:
    app = run("event-loops.md", 0)["app"]
    session = app.sessions.open("")
    session.login("ada")
    session._commit(200)
    headers = {"Cookie": session._exchange.head()[2][0].partition(";")[0]}
    with TestClient(app).websocket_connect("wss://shop.local/", headers=headers) as socket:
        socket.send_text("hello")
        assert socket.receive_text() == "hello"
        app.sessions.revoke_all("ada")
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
        assert closed.value.code == 4401
