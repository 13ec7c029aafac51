"""What a response says to browsers and to caches."""

from __future__ import annotations

import re

from harness import LOGIN, VISITOR, Browser, Reply, exchange

ID = "[A-Za-z0-9_-]{88}"
#: What stands behind it where the session is in the cookie.
RECORD = r"(\.[A-Za-z0-9_-]{200,3900})?"
ATTRIBUTES = "; Path=/; Secure; HttpOnly; SameSite=Lax"


def carries(line: str, name: str) -> bool:
    """Whether a Set-Cookie header gives out a session id in the golden form."""
    return re.fullmatch(f"{name}={ID}{RECORD}{ATTRIBUTES}", line) is not None


def removal(name: str) -> str:
    """The golden form that removes a cookie."""
    return f"{name}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT{ATTRIBUTES}"


def kept_from_caches(reply: Reply) -> bool:
    """Whether a response says that it belongs to one browser."""
    vary = ", ".join(reply.all("Vary")).lower().replace(" ", "").split(",")
    return "cookie" in vary and reply.all("Cache-Control") == ["no-store"]


def test_a_new_visitor_gets_the_visitor_cookie_only(browser: Browser) -> None:
    [line] = browser.post("/set", k="a", v="1").set_cookies
    assert carries(line, VISITOR), line


def test_a_login_sets_the_login_cookie_and_removes_the_visitors(browser: Browser) -> None:
    browser.must("/set", k="a", v="1")
    lines = sorted(browser.post("/login", user="ada").set_cookies)
    assert carries(lines[0], LOGIN), lines
    assert lines[1:] == [removal(VISITOR)]


def test_a_login_without_a_visitor_session_sets_one_cookie(browser: Browser) -> None:
    [line] = browser.post("/login", user="ada").set_cookies
    assert carries(line, LOGIN), line


def test_a_logout_removes_both_cookies(browser: Browser) -> None:
    browser.login("ada")
    assert sorted(browser.post("/logout").set_cookies) == [removal(LOGIN), removal(VISITOR)]


def test_reading_and_writing_with_a_known_id_set_no_cookie(browser: Browser) -> None:
    browser.login("ada")
    for reply in (browser.get("/me"), browser.post("/add"), browser.post("/set", k="a", v="1")):
        assert (reply.status, reply.set_cookies) == (200, [])


def test_a_dead_login_cookie_is_not_cleared(browser: Browser) -> None:
    browser.login("ada")
    late = browser.copy()
    browser.must("/logout")
    assert late.get("/me").set_cookies == []


def test_a_response_that_touched_the_session_is_kept_from_caches(browser: Browser) -> None:
    replies = [browser.get("/me"), browser.post("/set", k="a", v="1"), browser.post("/login", user="ada")]
    replies += [browser.get("/me"), browser.post("/add"), browser.post("/rotate"), browser.post("/logout")]
    assert all(kept_from_caches(reply) for reply in replies), replies


def test_a_response_that_touched_no_session_is_left_alone(browser: Browser) -> None:
    browser.login("ada")
    for reply in (exchange(browser.port, "POST", "/nowhere"), browser.post("/nowhere")):
        assert reply.status == 404
        assert (reply.all("Vary"), reply.all("Cache-Control"), reply.set_cookies) == ([], [], [])


def test_a_cookie_name_sent_twice_counts_as_absent(browser: Browser) -> None:
    browser.login("ada")
    twice = f"{LOGIN}={browser.cookies[LOGIN]}"
    reply = exchange(browser.port, "GET", "/me", {"Cookie": f"{twice}; {twice}"})
    assert (reply.status, reply.json()["user"], reply.set_cookies) == (200, None, [])


# spec: HTTP-3 779a
def test_a_refusal_is_kept_by_nobody(browser: Browser) -> None:
    browser.login("ada")
    twice = f"{LOGIN}={browser.cookies[LOGIN]}"
    reply = exchange(browser.port, "POST", "/logout", {"Cookie": f"{twice}; {twice}"})
    assert (reply.status, reply.all("Cache-Control"), reply.set_cookies) == (409, ["no-store"], [])
