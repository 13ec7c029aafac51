"""The contract that the conformance apps of all languages share, as one browser sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conftest import Serve
from harness import HANDLE_LENGTH, LOGIN, VISITOR, Browser, Server, alive, exchange, refusal, until

NOBODY: dict[str, Any] = {"user": None, "views": 0, "keys": {}}


def test_a_new_visitor_has_an_empty_me(browser: Browser) -> None:
    assert browser.me() == NOBODY


def test_a_session_that_was_only_read_gives_no_cookie(browser: Browser) -> None:
    assert browser.get("/me").set_cookies == []


def test_a_visitor_keeps_what_was_set(browser: Browser) -> None:
    assert browser.must("/set", k="colour", v="blue") == {"ok": True}
    assert browser.must("/incr") == {"views": 1}
    assert browser.must("/add") == {"views": 2}
    assert browser.me() == {"user": None, "views": 2, "keys": {"colour": "blue"}}
    assert set(browser.cookies) == {VISITOR}


def test_login_and_logout_say_so_in_me(browser: Browser) -> None:
    assert browser.must("/login", user="ada") == {"ok": True}
    assert browser.me()["user"] == "ada"
    assert browser.must("/logout") == {"ok": True}
    assert browser.me() == NOBODY
    assert browser.cookies == {}


def test_logout_without_a_session_is_acknowledged(browser: Browser) -> None:
    assert browser.must("/logout") == {"ok": True}


def test_a_visitors_data_is_carried_through_login(browser: Browser) -> None:
    browser.must("/set", k="cart", v="scarf")
    browser.must("/add")
    browser.must("/login", user="ada")
    assert browser.me() == {"user": "ada", "views": 1, "keys": {"cart": "scarf"}}
    assert set(browser.cookies) == {LOGIN}


def test_login_changes_the_id(browser: Browser) -> None:
    browser.must("/set", k="a", v="1")
    planted = browser.cookies[VISITOR]
    browser.must("/login", user="ada")
    assert browser.cookies[LOGIN] != planted
    assert browser.cookies[LOGIN][HANDLE_LENGTH:] != planted[HANDLE_LENGTH:]


def test_the_old_visitor_cookie_is_dead_after_login(browser: Browser) -> None:
    browser.must("/set", k="a", v="1")
    planter = browser.copy()
    browser.login("ada")
    assert planter.me() == NOBODY
    planter.post("/set", k="a", v="planted")
    assert browser.me()["keys"] == {"a": "1"}


def test_an_id_counts_only_in_the_cookie_of_its_kind(browser: Browser) -> None:
    browser.must("/set", k="a", v="1")
    visitor = browser.cookies[VISITOR]
    assert Browser(browser.port, {LOGIN: visitor}).me() == NOBODY
    browser.login("ada")
    assert Browser(browser.port, {VISITOR: browser.cookies[LOGIN]}).me() == NOBODY


def test_the_login_cookie_is_dead_after_logout(browser: Browser) -> None:
    browser.login("ada")
    thief = browser.copy()
    browser.must("/logout")
    assert thief.me() == NOBODY


def test_logging_in_as_someone_else_inherits_nothing(browser: Browser) -> None:
    browser.login("ada")
    browser.must("/set", k="secret", v="of ada")
    ada = browser.copy()
    browser.must("/login", user="bob")
    assert browser.me() == {"user": "bob", "views": 0, "keys": {}}
    assert ada.me() == NOBODY


def test_logging_in_again_as_the_same_user_changes_the_id_and_keeps_the_data(browser: Browser) -> None:
    browser.login("ada")
    browser.must("/set", k="a", v="1")
    before = browser.copy()
    browser.login("ada")
    assert browser.cookies[LOGIN] != before.cookies[LOGIN]
    assert browser.me()["keys"] == {"a": "1"}
    assert before.me() == NOBODY


def test_two_browsers_have_two_sessions(shared: Server) -> None:
    first, second = shared.browser().login("ada"), shared.browser().login("ada")
    first.must("/set", k="whose", v="first")
    second.must("/set", k="whose", v="second")
    first.must("/logout")
    assert first.me() == NOBODY
    assert second.me() == {"user": "ada", "views": 0, "keys": {"whose": "second"}}


def test_an_id_made_up_by_the_client_is_never_adopted(shared: Server) -> None:
    for name in (LOGIN, VISITOR):
        for junk in ("A" * 88, "chosen-by-the-client", "0" * 87 + "A"):
            browser = Browser(shared.port, {name: junk})
            assert browser.me() == NOBODY
            browser.must("/set", k="a", v="1")
            assert junk[:HANDLE_LENGTH] not in browser.cookies[VISITOR]
            assert Browser(shared.port, {name: junk}).me() == NOBODY


def test_a_genuine_id_of_another_store_is_not_adopted(shared: Server, serve: Serve, database: Path) -> None:
    elsewhere = serve("--store", f"sqlite:{database}").browser().login("ada")
    stranger = Browser(shared.port, dict(elsewhere.cookies))
    assert stranger.me() == NOBODY
    stranger.must("/set", k="a", v="1")
    assert stranger.cookies[VISITOR][:HANDLE_LENGTH] != elsewhere.cookies[LOGIN][:HANDLE_LENGTH]


def test_a_request_without_its_parameter_is_refused_and_writes_nothing(browser: Browser) -> None:
    for path in ("/login", "/set", "/add?ms=soon", "/set?k=views&v=1"):
        reply = browser.post(path)
        assert (reply.status, reply.set_cookies) == (400, [])


def test_what_does_not_exist_is_not_found(browser: Browser) -> None:
    assert browser.post("/nothing").status == 404


def test_a_rotation_right_after_login_is_postponed(browser: Browser) -> None:
    browser.login("ada")
    assert browser.must("/rotate") == {"rotated": False}
    assert browser.me()["user"] == "ada"


def test_a_rotation_gives_a_new_id_to_the_same_session(serve: Serve, database: Path) -> None:
    browser = serve("--store", f"sqlite:{database}", "--grace-seconds", "0.4").browser().login("ada")
    browser.must("/set", k="a", v="1")
    before = browser.cookies[LOGIN]
    assert until(5.0, lambda: bool(browser.must("/rotate")["rotated"]))
    assert browser.cookies[LOGIN] != before
    assert browser.cookies[LOGIN][:HANDLE_LENGTH] == before[:HANDLE_LENGTH]
    assert browser.me() == {"user": "ada", "views": 0, "keys": {"a": "1"}}


def test_memory_serves_one_worker(serve: Serve) -> None:
    browser = serve("--store", "memory").browser().login("ada")
    assert browser.must("/add") == {"views": 1}


def test_sessions_survive_a_restart_on_sqlite(serve: Serve, database: Path) -> None:
    first = serve("--store", f"sqlite:{database}", "--workers", "2")
    browser = first.browser()
    browser.must("/set", k="cart", v="scarf")
    browser.login("ada")
    first.stop()
    again = Browser(serve("--store", f"sqlite:{database}", "--workers", "2").port, browser.cookies)
    assert again.me() == {"user": "ada", "views": 0, "keys": {"cart": "scarf"}}


def test_idle_and_absolute_limits_end_a_session(serve: Serve, database: Path) -> None:
    server = serve("--store", f"sqlite:{database}", "--idle-seconds", "0.8", "--absolute-seconds", "2.4")
    idle, busy = server.browser().login("idle"), server.browser().login("busy")
    assert not until(1.2, lambda: busy.me()["user"] is None)
    assert idle.me() == NOBODY
    assert until(3.0, lambda: busy.me()["user"] is None)


def test_without_a_session_layer_the_replies_are_constant(serve: Serve) -> None:
    browser = serve("--store", "none").browser()
    assert browser.me() == NOBODY
    assert browser.must("/incr") == browser.must("/incr") == {"views": 1}
    assert browser.cookies == {}


def test_sigterm_stops_every_worker(serve: Serve, database: Path) -> None:
    server = serve("--store", f"sqlite:{database}", "--workers", "2")
    assert until(5.0, lambda: len(server.workers()) == 2)
    pids = [server.pid, *server.workers()]
    server.stop()
    assert until(5.0, lambda: not any(alive(pid) for pid in pids))
    with pytest.raises(ConnectionError):
        exchange(server.port, "GET", "/me")


def test_a_memory_store_for_several_workers_is_refused(app: str) -> None:
    status, message = refusal(app, "--store", "memory", "--workers", "2")
    assert status == 2
    assert "--store memory belongs to one process" in message


def test_an_unknown_app_is_refused() -> None:
    assert refusal("cobol")[0] == 2


def test_sessions_lists_the_logins_of_one_user_and_no_others(shared: Server) -> None:
    phone, laptop, other = shared.browser(), shared.browser(), shared.browser()
    assert phone.get("/sessions").status == 401
    phone.must("/login", user="dev-1")
    laptop.must("/login", user="dev-1")
    other.must("/login", user="dev-2")
    listed = phone.get("/sessions").json()["sessions"]
    assert [session["this"] for session in listed].count(True) == 1
    assert {session["handle"] for session in listed} == {
        browser.cookies[LOGIN][:HANDLE_LENGTH] for browser in (phone, laptop)
    }
    assert len(other.get("/sessions").json()["sessions"]) == 1


def test_logout_others_leaves_this_session_alone(shared: Server) -> None:
    browsers = [shared.browser() for _ in range(4)]
    for browser in browsers:
        browser.must("/login", user="dev-3")
    assert browsers[1].must("/logout-others") == {"ended": 3}
    assert [browser.me()["user"] for browser in browsers] == [None, "dev-3", None, None]


def test_logout_all_ends_every_session_of_the_user(shared: Server) -> None:
    browsers = [shared.browser() for _ in range(3)]
    for browser in browsers:
        browser.must("/login", user="dev-4")
    assert browsers[0].must("/logout-all") == {"ended": 3}
    assert browsers[0].cookies == {}
    assert [browser.me()["user"] for browser in browsers] == [None, None, None]
    browsers[0].must("/login", user="dev-4")
    assert browsers[0].me()["user"] == "dev-4", "nobody has to wait for it"
