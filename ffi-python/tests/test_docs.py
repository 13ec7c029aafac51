"""The examples of the task pages run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import coatroom
import pytest
from coatroom._answer import session_headers
from coatroom.testing import KEYS, session_of
from coatroom.tokens import Issuer

DOCS = Path(__file__).parents[2] / "docs"


def examples(page: str) -> str:
    blocks: list[str] = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    return "\n".join(blocks)


@pytest.mark.parametrize("page", ["testing.md"])
def test_the_tests_of_a_page_pass(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "test_example.py").write_text(examples(page))
    monkeypatch.chdir(tmp_path)
    assert pytest.main(["-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", "test_example.py"]) == 0


@pytest.fixture
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COATROOM_KEYS", KEYS)


def run(page: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "example"}
    exec(examples(page), names)
    return names


@pytest.mark.usefixtures("_keys")
def test_the_form_of_the_page_on_forged_requests_is_heard_with_its_token_alone() -> None:
    client = run("csrf.md")["app"].test_client()
    token = re.findall('value="([^"]+)"', client.get("/send").text)[0]
    assert client.post("/send", data={"to": "ada"}).status_code == 403
    assert client.post("/send", data={"csrf_token": token, "to": "ada"}).text == "sent to ada"


@pytest.mark.usefixtures("_keys")
def test_the_views_of_the_page_on_roles_are_guarded() -> None:
    app = run("access.md")["app"]
    client = app.test_client()
    assert [client.get(path).status_code for path in ("/me", "/admin")] == [401, 401]
    with session_of(client, app.session_interface.sessions) as session:
        session.login("ada", ["admin"])
    assert [client.get(path).status_code for path in ("/me", "/admin")] == [200, 200]


@pytest.mark.usefixtures("_keys")
def test_the_callback_of_the_page_on_events_logs(caplog: pytest.LogCaptureFixture) -> None:
    sessions = run("events.md")["sessions"]
    with caplog.at_level("INFO", "audit"):
        session = sessions.open("")
        session.login("ada")
        session._commit(200)
    assert "logged in" in caplog.text


@pytest.mark.usefixtures("_keys")
def test_the_login_of_the_page_on_remembered_logins_remembers_whoever_asks() -> None:
    names = run("remember.md")
    for form, count in (({"user": "ada"}, 1), ({"user": "ada", "remember": "on"}, 2)):
        session = names["sessions"].open("")
        names["login"](session, form)
        session._commit(200)
        assert len(session_headers(session, [])) == count + 2, "Vary, Cache-Control, and the cookies"


@pytest.mark.usefixtures("_keys")
def test_the_two_services_of_the_page_on_access_tokens_know_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOKEN_KEYS", Issuer.new_key("2026-11"))
    shop_code, orders_code = re.findall(r"```python\n(.*?)```", (DOCS / "tokens.md").read_text(), re.DOTALL)
    shop: dict[str, Any] = {"__name__": "shop"}
    exec(shop_code, shop)
    client = shop["app"].test_client()
    monkeypatch.setenv("SHOP_KEYS", client.get("/.well-known/jwks.json").text)
    orders: dict[str, Any] = {"__name__": "orders"}
    exec(orders_code, orders)
    service = orders["app"].test_client()
    https = {"base_url": "https://localhost"}
    assert client.get("/login/ada", **https).status_code == 200
    assert client.post("/token", **https).status_code == 403
    sessions = shop["app"].session_interface.sessions
    with session_of(client, sessions) as session:
        csrf_token = session.csrf_token()
    token = client.post("/token", headers={"X-CSRF-Token": csrf_token}, **https).json["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    assert service.get("/orders", headers=bearer).json == {"orders of": "ada"}
    assert service.get("/orders").status_code == 401
    sessions.revoke_all("ada")
    orders["revocations"].pull()
    assert service.get("/orders", headers=bearer).status_code == 401


@pytest.mark.usefixtures("_keys")
def test_the_handlers_of_the_page_on_messages_show_one_once() -> None:
    names = run("messages.md")
    session = coatroom.Sessions("memory").open("")
    names["save"](session)
    assert names["page"](session) == ["success: Saved."]
    assert names["page"](session) == []
