"""Forged requests, told as an attacker would try them, on each adapter."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import coatroom
import flask
import pytest
from coatroom._body import peek
from coatroom.asgi import CoatroomMiddleware as AsgiMiddleware
from coatroom.csrf import Csrf
from coatroom.flask import Coatroom, csrf_exempt, skip
from coatroom.testing import KEYS, ManualClock
from coatroom.wsgi import CoatroomMiddleware as WsgiMiddleware
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect
from werkzeug.test import Client as WerkzeugClient
from werkzeug.wrappers import Request as WerkzeugRequest
from werkzeug.wrappers import Response as WerkzeugResponse

FORM = "application/x-www-form-urlencoded"
OTHER_KEYS = "2:" + base64.urlsafe_b64encode(b"another key that is for tests alone").decode().rstrip("=")
Events = list[tuple[str, str | None, str | None]]


@dataclass
class Site:
    """One application on one adapter, and a browser at it."""

    client: Any
    sessions: coatroom.Sessions
    clock: ManualClock
    events: Events = field(default_factory=list)

    def get(self, path: str = "/form") -> str:
        response = self.client.get(path, headers={"Sec-Fetch-Site": "same-origin"})
        assert response.status_code == 200
        text: str = response.text
        return text

    def token(self) -> str:
        found = re.search('name="csrf_token" value="([^"]*)"', self.get())
        assert found
        return found[1]

    def post(self, path: str, token: str | None = None, body: str = "", **headers: str) -> Any:
        fields = [f"csrf_token={token}"] if token is not None else []
        content = "&".join([*fields, body] if body else fields)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named.setdefault("Content-Type", FORM)
        return send(self.client, path, content.encode(), named)

    def cookies(self) -> str:
        jar = getattr(self.client, "cookies", None)
        if jar is not None:
            return "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar.jar)
        return "; ".join(f"{cookie.decoded_key}={cookie.decoded_value}" for cookie in self.client._cookies.values())


def send(client: Any, path: str, content: bytes, headers: dict[str, str]) -> Any:
    if isinstance(client, TestClient):
        return client.post(path, content=content, headers=headers)
    return client.post(path, data=content, headers=headers)


def act(session: coatroom.Session, path: str, form: dict[str, str]) -> str:
    if path == "/form":
        return f"<form>{session.csrf_input()}</form>"
    if path == "/login":
        session.login(form.get("user", "ada"))
    elif path == "/elevate":
        session.elevate(2)
    elif path == "/logout":
        session.logout()
    elif path == "/length":
        return str(len(form["to"]))
    elif "to" in form:
        session["changed"] = form["to"]
    return f"{session.principal} {session.get('changed')}"


PATHS = ("form", "login", "elevate", "logout", "change", "length", "hooks/pay", "hooksy")


def on_flask(sessions: coatroom.Sessions, csrf: Csrf | bool) -> Any:
    app = flask.Flask(__name__)
    Coatroom(app, sessions, csrf=csrf)
    for path in PATHS:

        def view(path: str = path) -> str:
            return act(flask.session, f"/{path}", dict(flask.request.form))  # type: ignore[arg-type]

        app.add_url_rule(f"/{path}", path, view, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    return app.test_client()


def on_wsgi(sessions: coatroom.Sessions, csrf: Csrf | bool) -> Any:
    @WerkzeugRequest.application
    def app(request: WerkzeugRequest) -> WerkzeugResponse:
        form = dict(request.form)
        return WerkzeugResponse(act(request.environ["coatroom.session"], request.path, form))

    return WerkzeugClient(WsgiMiddleware(app, sessions, csrf=csrf))


def on_asgi(sessions: coatroom.Sessions, csrf: Csrf | bool) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        body = (await request.body()).decode("latin-1")
        form = dict(pair.split("=", 1) for pair in body.split("&") if "=" in pair)
        await HTMLResponse(act(scope["session"], scope["path"], form))(scope, receive, send)

    return TestClient(AsgiMiddleware(app, sessions, csrf=csrf), base_url="https://localhost")


MAKERS: dict[str, Callable[[coatroom.Sessions, Csrf | bool], Any]] = {
    "flask": on_flask,
    "wsgi": on_wsgi,
    "asgi": on_asgi,
}


def make(kind: str, csrf: Csrf | bool = True, **settings: Any) -> Site:
    clock = ManualClock()
    events: Events = []
    sessions = coatroom.Sessions("memory", KEYS, clock=clock, on_event=lambda *event: events.append(event), **settings)
    return Site(MAKERS[kind](sessions, csrf), sessions, clock, events)


@pytest.fixture(params=list(MAKERS))
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def site(kind: str) -> Site:
    return make(kind)


def refusal(response: Any) -> str:
    assert response.status_code == 403, response.text
    assert '"error": "csrf"' in response.text
    return str(response.text)


# spec: CSRF-4 1695
def test_a_form_of_ours_goes_through_and_one_without_its_token_does_not(site: Site) -> None:
    token = site.token()
    assert site.post("/login", token).status_code == 200
    token = site.token()
    assert "no token" in refusal(site.post("/change", body="to=forged"))
    assert "None" in site.get("/change"), "nothing of it was done"
    assert site.post("/change", token, body="to=mine").text == "ada mine"
    assert site.post("/change", X_CSRF_Token=token, body="to=script").text == "ada script"
    assert ("forged request", site.sessions.devices("ada")[0].handle, "no-token") in site.events


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
# spec: CSRF-4 1695
def test_every_unsafe_method_needs_a_token_and_no_safe_one_does(site: Site, method: str) -> None:
    assert getattr(site.client, method)("/change").status_code == 403
    assert site.client.get("/change").status_code == 200
    assert site.client.options("/change").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "cross-site", "Origin": "https://localhost"},
        {"Sec_Fetch_Site": "same-origin, cross-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost"},
        {"Origin": "https://localhost.evil.example"},
        {"Origin": "https://localhost:8443"},
        {"Origin": "https://localhost@evil.example"},
        {"Origin": "https://["},
        {"Origin": "https://localhost, https://evil.example"},
    ],
)
# spec: CSRF-4 1695
def test_a_stolen_token_does_not_help_a_page_of_another_site(site: Site, headers: dict[str, str]) -> None:
    assert "another site" in refusal(site.post("/login", site.token(), **headers))
    assert site.events[-1][0] == "forged request"
    assert site.events[-1][2] == "cross-site"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec_Fetch_Site": "same-origin"},
        {"Sec_Fetch_Site": "none"},
        {"Origin": "https://localhost"},
        {"Origin": "https://LOCALHOST:443"},
        {"Origin": "https://app.example.org", "Sec_Fetch_Site": "cross-site"},
    ],
)
# spec: CSRF-4 1695
def test_our_own_pages_and_trusted_ones_are_heard_with_a_token(kind: str, headers: dict[str, str]) -> None:
    site = make(kind, Csrf(trusted=["https://app.example.org"]))
    assert site.post("/login", site.token(), **headers).status_code == 200
    assert site.post("/change", **headers).status_code == 403


# spec: CSRF-1 2d9f, CSRF-2 c5a7
def test_a_token_outlives_rotations_and_no_change_of_privilege(site: Site) -> None:
    before = site.token()
    assert site.post("/login", before).status_code == 200
    refusal(site.post("/change", before))
    of_login = site.token()
    for _ in range(4):
        site.clock.advance(16 * 60)
        site.get("/change")
        site.get("/change")
        assert site.post("/change", of_login).status_code == 200
    assert [name for name, _, _ in site.events].count("rotated") >= 3
    site.clock.advance(1)
    assert site.post("/login", of_login).status_code == 200, "the same user logs in again"
    refusal(site.post("/change", of_login))
    of_second = site.token()
    site.clock.advance(1)
    assert site.post("/elevate", of_second).status_code == 200
    refusal(site.post("/change", of_second))
    of_third = site.token()
    assert site.post("/logout", of_third).status_code == 200
    refusal(site.post("/login", of_third))
    assert site.post("/login", site.token()).status_code == 200


# spec: CSRF-1 2d9f
def test_a_token_is_of_one_session_and_one_browser(kind: str) -> None:
    site = make(kind)
    other = Site(MAKERS[kind](site.sessions, True), site.sessions, site.clock)
    theirs = other.token()
    refusal(site.post("/login", theirs))
    site.token()
    refusal(site.post("/login", theirs))
    assert other.post("/login", theirs, body="user=mallory").status_code == 200
    assert site.post("/login", site.token()).status_code == 200
    refusal(site.post("/change", other.token()))
    second = Site(MAKERS[kind](site.sessions, True), site.sessions, site.clock)
    assert second.post("/login", second.token()).status_code == 200
    # Of the same user, on another device.
    refusal(site.post("/change", second.token()))


# spec: CSRF-3 e68e
def test_a_form_for_a_visitor_stores_nothing(site: Site) -> None:
    site.token()
    assert site.sessions._native.scan(None, 10)[0] == []
    assert site.cookies().startswith("__Host-csrf=")
    assert site.post("/login", site.token()).status_code == 200


# spec: CSRF-3 e68e
def test_a_visitor_keeps_the_token_when_a_session_begins(site: Site) -> None:
    token = site.token()
    assert site.post("/change", token, body="to=cart").text == "None cart"
    assert site.post("/change", token, body="to=more").text == "None more"
    assert "__Host-visitor" in site.cookies()


@pytest.mark.parametrize("value", ["", "short", "A" * 23, "!" * 22, "A" * 21 + "é"])
# spec: CSRF-3 e68e
def test_a_visitors_cookie_that_is_none_counts_as_absent(kind: str, value: str) -> None:
    site = make(kind)
    token = site.token()
    for cookies in (f"__Host-csrf={value}", f"{site.cookies()}; __Host-csrf={'A' * 22}"):
        session = site.sessions.open(cookies.encode())
        assert not coatroom.csrf.checks(session, token)
    assert coatroom.csrf.checks(site.sessions.open(site.cookies()), token)


# spec: CSRF-1 2d9f
def test_no_two_pages_hold_the_same_bytes(site: Site) -> None:
    tokens = [site.token() for _ in range(8)]
    decoded = [base64.urlsafe_b64decode(token) for token in tokens]
    assert len({token[2:] for token in decoded}) == 8
    masked = {bytes(a ^ b for a, b in zip(token[2:34], token[34:], strict=True)) for token in decoded}
    assert len(masked) == 1, "below the mask it is one token"
    assert site.post("/login", tokens[0]).status_code == 200


# spec: CSRF-1 2d9f, ID-6 0632
def test_every_bit_of_a_token_counts(site: Site) -> None:
    token = base64.urlsafe_b64decode(site.token())
    session = site.sessions.open(site.cookies())
    for bit in range(len(token) * 8):
        changed = bytearray(token)
        changed[bit // 8] ^= 1 << bit % 8
        assert not coatroom.csrf.checks(session, base64.urlsafe_b64encode(changed).decode())
    for junk in ("", "A" * 88, "é" * 88, "A" * 87, "A" * 89):
        assert not coatroom.csrf.checks(session, junk)


# spec: CSRF-1 2d9f
def test_a_token_stands_while_its_key_is_in_the_ring() -> None:
    def open_with(keys: str) -> coatroom.Session:
        return coatroom.Sessions("memory", keys).open(f"__Host-csrf={'A' * 22}")

    token = open_with(KEYS).csrf_token()
    assert coatroom.csrf.checks(open_with(f"{OTHER_KEYS},{KEYS}"), token)
    assert not coatroom.csrf.checks(open_with(OTHER_KEYS), token)
    renumbered = "1:" + OTHER_KEYS[2:]
    assert not coatroom.csrf.checks(open_with(renumbered), token)


# spec: CSRF-2 c5a7
def test_a_login_has_no_token_before_it_is_written() -> None:
    session = coatroom.Sessions("memory", KEYS).open("")
    session.csrf_token()
    session.login("ada")
    with pytest.raises(coatroom.SessionClosed):
        session.csrf_token()


# spec: CSRF-4 1695
def test_what_is_exempt_is_that_path_and_what_lies_below_it(kind: str) -> None:
    site = make(kind, Csrf(exempt=["/hooks"]))
    assert site.post("/hooks/pay").status_code == 200
    assert site.post("/hooksy").status_code == 403
    csrf = Csrf(exempt=["/hooks"])
    for path in ("/hooks/../change", "/hooks/./pay", "/hooks//change", "/hooks\\..\\change", "/HOOKS", "/change/hooks"):
        assert csrf.guards("POST", path), path
    assert not csrf.guards("POST", "/hooks")


# spec: CSRF-4 1695
def test_without_tokens_the_browser_has_to_vouch(kind: str) -> None:
    site = make(kind, Csrf(tokens=False))
    assert "nothing says" in refusal(site.post("/login"))
    assert site.post("/login", Origin="https://evil.example").status_code == 403
    assert site.post("/login", Origin="https://localhost").status_code == 200
    assert site.post("/change", Sec_Fetch_Site="same-origin").status_code == 200


@pytest.mark.parametrize("size", [0, 70_000, 200_000])
# spec: CSRF-4 1695
def test_a_body_is_whole_after_its_token_was_found(site: Site, size: int) -> None:
    response = site.post("/length", site.token(), body="to=" + "x" * size)
    assert response.text == str(size)


def test_an_upload_carries_its_token_in_front(site: Site) -> None:
    head = '--B\r\nContent-Disposition: form-data; name="csrf_token"\r\n\r\n{}\r\n--B--\r\n'
    for token, status in ((site.token(), 200), ("A" * 88, 403)):
        body = head.format(token).encode()
        headers = {"Content-Type": "multipart/form-data; boundary=B"}
        assert send(site.client, "/change", body, headers).status_code == status


def test_a_text_form_that_looks_like_json_is_refused(site: Site) -> None:
    site.post("/login", site.token())
    headers = {"Content-Type": "text/plain"}
    assert send(site.client, "/change", b'{"to": "forged"}', headers).status_code == 403


def test_a_page_with_a_token_is_of_one_browser(site: Site) -> None:
    response = site.client.get("/form")
    assert response.headers["Cache-Control"] == "no-store"
    assert "Cookie" in response.headers["Vary"]


# spec: CSRF-3 e68e
def test_the_cookie_of_a_visitor_is_of_this_host_alone(kind: str) -> None:
    for settings, line in (
        ({}, "__Host-csrf={}; Path=/; Secure; HttpOnly; SameSite=Lax"),
        ({"domain": "example.org"}, "__Host-csrf={}; Path=/; Secure; HttpOnly; SameSite=Lax"),
        ({"same_site": "none"}, "__Host-csrf={}; Path=/; Secure; HttpOnly; SameSite=None"),
        ({"dev": True}, "csrf={}; Path=/; HttpOnly; SameSite=Lax"),
    ):
        response = make(kind, **settings).client.get("/form")
        pattern = re.escape(line).replace(r"\{\}", "[A-Za-z0-9_-]{22}")
        assert re.fullmatch(pattern, response.headers["Set-Cookie"])


def test_ids_in_headers_need_no_token_for_no_browser_sends_them_on_its_own(kind: str) -> None:
    site = make(kind, transport="header")
    response = site.post("/login", Origin="https://evil.example")
    assert response.status_code == 200
    assert response.headers["X-Session"]


@pytest.mark.parametrize(
    ("origin", "is_open"),
    [
        (None, True),
        ("https://localhost", True),
        ("https://evil.example", False),
        ("null", False),
        ("https://app.example.org", True),
    ],
)
# spec: CSRF-5 5a07
def test_a_socket_opens_for_our_own_pages(origin: str | None, is_open: bool) -> None:
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(str(websocket.session.principal))  # type: ignore[attr-defined]
        await websocket.close()

    app = Starlette(routes=[WebSocketRoute("/ws", socket)])
    csrf = Csrf(trusted=["https://app.example.org"])
    guarded = AsgiMiddleware(app, coatroom.Sessions("memory", KEYS), csrf=csrf)
    client = TestClient(guarded, base_url="https://localhost")
    headers = {} if origin is None else {"Origin": origin}
    if is_open:
        with client.websocket_connect("wss://localhost/ws", headers=headers) as connection:
            assert connection.receive_text() == "None"
    else:
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("wss://localhost/ws", headers=headers):
            pass


def test_flask_views_are_exempt_one_by_one() -> None:
    app = flask.Flask(__name__)
    Coatroom(app, coatroom.Sessions("memory", KEYS), csrf=True)
    app.add_url_rule("/hook", "hook", csrf_exempt(lambda: "heard"), methods=["POST"])
    app.add_url_rule("/skipped", "skipped", skip(lambda: "heard"), methods=["POST"])
    client = app.test_client()
    assert client.post("/hook", headers={"Origin": "https://evil.example"}).text == "heard"
    assert client.post("/skipped").text == "heard"
    assert client.post("/skipped", headers={"Origin": "https://evil.example"}).status_code == 403
    assert client.post("/nowhere").status_code == 404


def test_settings_that_mean_nothing_are_refused() -> None:
    mistakes: tuple[dict[str, Any], ...] = (
        {"exempt": ["hooks"]},
        {"trusted": ["app.example.org"]},
        {"trusted": ["https://a.example/path"]},
    )
    for wrong in mistakes:
        with pytest.raises(coatroom.ConfigError):
            Csrf(**wrong)


def test_a_length_of_thousands_of_digits_is_none() -> None:
    assert peek({"CONTENT_LENGTH": "9" * 5000, "wsgi.input": io.BytesIO(b"csrf_token=x")}) == b""
