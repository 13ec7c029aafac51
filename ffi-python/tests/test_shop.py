"""The example shop, on each framework: the same pages, and a panel that tells what was committed."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from conftest import Browser

SHOP = Path(__file__).parents[1] / "examples" / "shop"


class Visitor:
    def __init__(self, port: int) -> None:
        self.port = port
        self.browser = Browser()

    def ask(self, method: str, path: str, **form: str) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        headers = {"Cookie": self.browser.header, "Content-Type": "application/x-www-form-urlencoded"}
        connection.request(method, path, urllib.parse.urlencode(form), headers)
        response = connection.getresponse()
        body = response.read().decode()
        self.browser.take(response.headers.get_all("Set-Cookie", []))
        connection.close()
        if response.status == 303:
            return self.ask("GET", response.headers["Location"])
        return response.status, body


@pytest.fixture(scope="module", params=["flask", "django", "fastapi"])
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    database = tmp_path_factory.mktemp("shop") / "shop.db"
    command = [sys.executable, str(SHOP), "--port", str(port), "--db", str(database), "--framework", request.param]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        ends = time.monotonic() + 60
        while time.monotonic() < ends:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(20)


def panel(body: str) -> str:
    return re.sub(r"<[^>]*>|\s+", " ", body.partition('id="panel"')[2])


def test_a_visit_from_the_first_page_to_the_logout(port: int) -> None:
    visitor = Visitor(port)
    status, body = visitor.ask("GET", "/")
    assert (status, "This is your first visit" in body) == (200, True)
    assert "none → Created" in panel(body)
    assert "visitor (new id)" in panel(body)
    status, body = visitor.ask("POST", "/cart", sku="hat", change="more")
    assert "Bobble hat: one more in your cart." in body
    assert body.count('class="ticket"') == 2, "what the button did, and this page"
    status, body = visitor.ask("POST", "/login", name="Ada", admin="yes")
    assert "Welcome, Ada." in body
    assert "logged in" in panel(body)
    assert "in the cart" in body
    assert visitor.ask("GET", "/admin")[0] == 200
    assert "this one" in visitor.ask("GET", "/devices")[1].lower()
    status, body = visitor.ask("POST", "/logout")
    assert "You are logged out." in body
    assert visitor.ask("GET", "/admin")[0] == 401


def test_other_sessions_can_be_ended(port: int) -> None:
    here, there = Visitor(port), Visitor(port)
    for visitor in (here, there):
        visitor.ask("POST", "/login", name="Bob")
    assert "Other sessions ended: 1." in here.ask("POST", "/devices/end-others")[1]
    assert there.ask("GET", "/profile")[0] == 401
    assert "was over already" in here.ask("POST", "/devices/AAAAAAAAAAAAAAAA/end")[1]


def test_what_makes_no_sense_is_refused_with_a_page(port: int) -> None:
    visitor = Visitor(port)
    assert visitor.ask("GET", "/nowhere")[0] == 404
    assert visitor.ask("POST", "/cart", sku="yacht", change="more")[0] == 404
    assert visitor.ask("POST", "/cart", sku="hat", change="eat")[0] == 400
    assert visitor.ask("GET", "/profile")[0] == 401
    assert "Please log in first" in visitor.ask("GET", "/profile")[1]


def test_static_files_have_no_session(port: int) -> None:
    visitor = Visitor(port)
    status, body = visitor.ask("GET", "/static/shop.css")
    assert (status, "{" in body) == (200, True)
    assert visitor.browser.cookies == {}
