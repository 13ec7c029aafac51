"""What Django's own tests ask of its session backends and their middleware, asked of ours. Where the answer differs,
the test says so in its name, and ``docs/django.md`` gives the reason."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import coatroom
import pytest
from coatroom.django import DjangoSession, SessionMiddleware, get_sessions
from coatroom.django.sessions import SessionStore
from coatroom.remember import Remember
from conftest import TEST_KEYS
from django.core.management import call_command
from django.http import HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.urls import path
from django_project import CLOCK, MIDDLEWARE, SESSION_ONLY, User, asynchronous, coatroom_setting

MINUTE = 60.0


@pytest.fixture(autouse=True)
def _store_of_its_own() -> Iterator[None]:
    with override_settings(COATROOM=coatroom_setting()):
        yield


@pytest.fixture
def session() -> SessionStore:
    return SessionStore()


def reopened(session: SessionStore) -> SessionStore:
    """What the next request finds."""
    session.save()
    return SessionStore(session.session_key)


# A mapping


def test_a_new_session_is_neither_looked_at_nor_modified(session: SessionStore) -> None:
    assert not session.accessed
    assert not session.modified
    assert session.is_empty()
    assert session.session_key is None


def test_an_absent_key_is_none_or_the_default(session: SessionStore) -> None:
    assert session.get("cat") is None
    assert session.get("cat", "dog") == "dog"
    assert session.accessed
    assert not session.modified
    with pytest.raises(KeyError):
        session["cat"]


def test_what_was_set_is_there_and_can_be_taken_out(session: SessionStore) -> None:
    session["cat"] = "dog"
    assert session.modified
    assert reopened(session).pop("cat") == "dog"
    assert session.pop("cat") == "dog"
    assert session.get("cat") is None
    assert session.pop("cat", "none") == "none"
    assert session.pop("cat", default="none") == "none"  # type: ignore[call-overload]
    with pytest.raises(KeyError):
        session.pop("cat")


def test_taking_out_what_is_not_there_modifies_nothing(session: SessionStore) -> None:
    session.pop("cat", None)
    assert session.accessed
    assert not session.modified


def test_setdefault_and_update(session: SessionStore) -> None:
    assert session.setdefault("foo", "bar") == "bar"
    assert session.setdefault("foo", "baz") == "bar"
    session.update({"key": 1})
    assert dict(reopened(session)) == {"foo": "bar", "key": 1}


def test_keys_values_items_and_has_key(session: SessionStore) -> None:
    session["x"] = 1
    session.save()
    assert (list(session.keys()), list(session.values()), list(session.items())) == (["x"], [1], [("x", 1)])
    assert "x" in session
    assert session.has_key("x")
    assert not session.has_key("y")
    assert not session.modified
    assert session.load() == {"x": 1}


def test_clearing_leaves_an_empty_session(session: SessionStore) -> None:
    session["x"] = 1
    session.save()
    session.clear()
    assert session.modified
    assert list(reopened(session).items()) == []


def test_clearing_the_session_of_a_user_ends_it(session: SessionStore) -> None:
    session["_auth_user_id"] = "7"
    session["x"] = 1
    session.save()
    before = session.session_key
    session.clear()
    assert (session.principal, dict(session), session.session_key) == (None, {}, None)
    session.save()
    assert dict(SessionStore(before)) == {}


def test_a_session_is_true_even_if_it_is_empty(session: SessionStore) -> None:
    assert session


def test_what_is_changed_in_place_is_noticed_without_modified(session: SessionStore) -> None:
    session["cart"] = {"hats": 1}
    session.save()
    session["cart"]["hats"] = 2
    assert session.modified
    assert reopened(session)["cart"] == {"hats": 2}


@pytest.mark.parametrize("value", [{1: "one"}, object(), 2**64, {"a": {2}}])
def test_a_value_that_would_come_back_as_another_is_refused_at_once(session: SessionStore, value: object) -> None:
    with pytest.raises(coatroom.UnsupportedValue):
        session["key"] = value
    with pytest.raises(TypeError):
        session[1] = 2  # type: ignore[index]


# Storing


def test_saving_an_empty_session_makes_one_that_exists(session: SessionStore) -> None:
    session.save()
    assert session.session_key is not None
    assert session.exists(session.session_key)
    assert not session.exists("no such id")


def test_saving_does_not_clear(session: SessionStore) -> None:
    session["x"] = 1
    session.save()
    session.save()
    assert session["x"] == 1


def test_deleting_and_flushing_end_the_session_at_once(session: SessionStore) -> None:
    for end in (session.delete, session.flush):
        session["x"] = 1
        session.save()
        before = session.session_key
        assert before is not None
        end()
        assert not session.exists(before)
        assert session.session_key is None
        assert session.is_empty()


def test_a_saved_session_is_not_brought_back_after_it_ended_elsewhere(session: SessionStore) -> None:
    session["x"] = 1
    session.save()
    other = SessionStore(session.session_key)
    other.flush()
    session["x"] = 2
    with pytest.raises(coatroom.SessionEnded):
        session.save()


def test_what_is_no_id_opens_an_empty_session_under_another_id() -> None:
    for junk in ("1", "", "short", "../../etc/passwd", "x" * 1240, "A" * 88):
        session = SessionStore(junk)
        assert session.load() == {}
        session.save()
        assert session.session_key not in (None, junk)


def test_loading_creates_nothing(session: SessionStore) -> None:
    stranger = SessionStore("A" * 88)
    assert stranger.load() == {}
    assert stranger.session_key is None


def test_the_session_key_cannot_be_set(session: SessionStore) -> None:
    with pytest.raises(AttributeError):
        session.session_key = "chosen"  # type: ignore[misc]


def test_cycle_key_changes_the_id_of_a_user_once_the_last_is_confirmed_and_rested(session: SessionStore) -> None:
    session["_auth_user_id"] = "7"
    session["a"] = "b"
    session.save()
    session.save()
    before = session.session_key
    session.cycle_key()
    session.save()
    assert session.session_key == before, "it differs: right after a login there is a fresh id already"
    CLOCK.advance(61)
    session = SessionStore(session.session_key)
    session.cycle_key()
    session.save()
    assert session.session_key != before
    assert session["a"] == "b"


def test_cycle_key_leaves_a_visitor_alone_for_a_login_renews_the_id(session: SessionStore) -> None:
    session["a"] = "b"
    session.save()
    visitor = session.session_key
    session.cycle_key()
    session["_auth_user_id"] = "7"
    session.save()
    assert session.session_key != visitor
    assert dict(SessionStore(visitor)) == {}


def test_deleting_the_key_of_the_user_logs_out(session: SessionStore) -> None:
    with pytest.raises(KeyError):
        del session["_auth_user_id"]
    session["_auth_user_id"] = 7
    assert list(session) == ["_auth_user_id"]
    assert session["_auth_user_id"] == session.principal == "7"
    assert len(session) == 1
    session.save()
    del session["_auth_user_id"]
    assert session.session_key is None


def test_another_session_of_the_same_user_can_be_deleted_by_its_key() -> None:
    stores = []
    for _ in range(2):
        store = SessionStore()
        store["_auth_user_id"] = "7"
        store.save()
        stores.append(store)
    here = DjangoSession(get_sessions(), stores[0]._limits, stores[0]._cookies, False)
    other = stores[1].handle
    assert other is not None
    assert here.exists(other)
    here.delete(other)
    assert not here.exists(other)
    assert not here.exists("another")
    assert here.principal == "7"
    with pytest.raises(coatroom.CoatroomError):
        DjangoSession(get_sessions(), stores[0]._limits, "", False).delete(other)


def test_a_login_as_somebody_else_has_no_key_before_it_is_written(session: SessionStore) -> None:
    session["_auth_user_id"] = "7"
    session.save()
    ada = session.session_key
    session["_auth_user_id"] = "8"
    assert session.session_key is None
    session.save()
    assert session.session_key not in (None, ada)


def test_the_test_cookie(session: SessionStore) -> None:
    session.set_test_cookie()
    session = reopened(session)
    assert session.test_cookie_worked()
    session.delete_test_cookie()
    assert not session.test_cookie_worked()


# Time


def test_by_default_the_age_is_what_the_policy_leaves(session: SessionStore) -> None:
    assert session.get_expiry_age() == session.get_session_cookie_age() == 1800
    session.set_expiry(0)
    assert session.get_expiry_age() == 1800
    session["_auth_user_id"] = "7"
    session.save()
    CLOCK.advance(1000)
    session = SessionStore(session.session_key)
    assert session.get_expiry_age() == 1800
    session.save()
    for _ in range(24):
        CLOCK.advance(1750)
        session = SessionStore(session.session_key)
        session.save()
    assert SessionStore(session.session_key).get_expiry_age() == 43_200 - 1000 - 24 * 1750


@pytest.mark.parametrize("kind", ["seconds", "timedelta", "datetime"])
def test_a_custom_expiry_is_told_as_age_and_as_date(session: SessionStore, kind: str) -> None:
    now = CLOCK.now()
    values: dict[str, Any] = {
        "seconds": 90,
        "timedelta": timedelta(seconds=90),
        "datetime": now + timedelta(seconds=90),
    }
    session.set_expiry(values[kind])
    assert session.get_expiry_age(modification=now) == 90
    assert session.get_expiry_date(modification=now) == now + timedelta(seconds=90)
    assert session.get_expiry_age() == 90
    assert session.get_expiry_age(expiry=None) == 1800
    session.set_expiry(None)
    session.set_expiry(None)
    assert session.get_expiry_age() == 1800


def test_a_time_without_a_zone_is_local(session: SessionStore) -> None:
    local = CLOCK.now().astimezone().replace(tzinfo=None) + timedelta(seconds=90)
    session.set_expiry(local)
    assert session.get_expiry_age() in (89, 90)


def test_it_differs_that_no_expiry_reaches_beyond_the_limits(session: SessionStore) -> None:
    for value in (1_209_600, timedelta(days=14), CLOCK.now() + timedelta(days=14)):
        session.set_expiry(value)
        assert session.get_expiry_age() == 1800
    session = reopened(session)
    CLOCK.advance(1800)
    assert SessionStore(session.session_key).session_key is None


@pytest.mark.parametrize("value", [-3600, -timedelta(seconds=10), timedelta(0)])
def test_an_expiry_in_the_past_ends_the_session_at_once(session: SessionStore, value: Any) -> None:
    session["foo"] = "bar"
    session.set_expiry(value)
    assert "foo" not in reopened(session)


def test_a_session_with_a_time_ends_at_that_time_however_much_it_is_used(session: SessionStore) -> None:
    session["_auth_user_id"] = "7"
    session.set_expiry(timedelta(minutes=10))
    session.save()
    for _ in range(9):
        CLOCK.advance(MINUTE)
        session = SessionStore(session.session_key)
        assert session.principal == "7"
        session.save()
    CLOCK.advance(MINUTE)
    assert SessionStore(session.session_key).principal is None


def test_a_session_with_seconds_ends_when_it_is_not_used_for_so_long(session: SessionStore) -> None:
    session["_auth_user_id"] = "7"
    session.set_expiry(600)
    session.save()
    for _ in range(5):
        CLOCK.advance(9 * MINUTE)
        session = SessionStore(session.session_key)
        assert session.principal == "7"
        session.save()
    CLOCK.advance(10 * MINUTE)
    assert SessionStore(session.session_key).principal is None


def test_it_differs_that_seconds_below_what_is_noted_are_refused(session: SessionStore) -> None:
    with pytest.raises(ValueError, match="touch"):
        session.set_expiry(30)
    with override_settings(COATROOM=coatroom_setting(touch=5)):
        SessionStore().set_expiry(30)
    with override_settings(COATROOM=coatroom_setting(preset="aal1")):
        with pytest.raises(ValueError, match="idle"):
            SessionStore().set_expiry(600)
        SessionStore().set_expiry(31 * 86_400)


def requested(work: Callable[[Any], object], cookies: str = "", status: int = 200, **more: Any) -> HttpResponse:
    """The response of the middleware alone."""
    request = RequestFactory().get("/", headers={"cookie": cookies})
    middleware = SessionMiddleware(lambda request: HttpResponse())
    middleware.process_request(request)
    middleware.process_view(request, work, (), {})
    work(request.session)
    response = middleware.process_response(request, HttpResponse(status=status))
    response.session = request.session
    return response


def sent_back(response: Any) -> str:
    return "; ".join(morsel.OutputString().partition(";")[0] for morsel in response.cookies.values() if morsel.value)


def test_whether_browsers_forget_the_cookie_is_up_to_max_age_and_set_expiry(session: SessionStore) -> None:
    assert session.get_expire_at_browser_close()
    session.set_expiry(600)
    assert session.get_expire_at_browser_close(), "it differs: no call makes a cookie last longer"

    def login(expiry: int | None) -> Callable[[Any], None]:
        def work(session: Any) -> None:
            session["_auth_user_id"] = "7"
            session.set_expiry(expiry)
            assert session.get_expire_at_browser_close() == (expiry == 0)

        return work

    with override_settings(COATROOM=coatroom_setting(max_age=3600)):
        assert "; Max-Age=3600; " in requested(login(None)).cookies["__Host-id"].OutputString()
        response = requested(login(0))
        assert "Max-Age" not in response.cookies["__Host-id"].OutputString()
        cookies = sent_back(response)
        requested(lambda session: None, cookies)
        CLOCK.advance(901)
        rotated = requested(lambda session: None, cookies)
        line = rotated.cookies["__Host-id"].OutputString()
        assert line == f"__Host-id={rotated.cookies['__Host-id'].value}; Path=/; Secure; HttpOnly; SameSite=Lax"


def test_an_end_by_set_expiry_removes_no_cookie_and_is_noticed_by_whoever_does_not_look() -> None:
    def login(session: Any) -> None:
        session["_auth_user_id"] = "7"
        session.set_expiry(timedelta(minutes=1))

    cookies = sent_back(requested(login))
    CLOCK.advance(MINUTE)
    response = requested(lambda session: None, cookies)
    assert not response.cookies
    assert not response.has_header("Vary")
    assert get_sessions().devices("7") == []
    response = requested(lambda session: session.update(a=1), cookies)
    assert set(response.cookies) == {"__Host-visitor"}


# The middleware


def test_the_cookie_is_secure_and_http_only_whatever_djangos_settings_say() -> None:
    with override_settings(SESSION_COOKIE_HTTPONLY=False, SESSION_COOKIE_SAMESITE="None"):
        cookie = requested(lambda session: session.update(a=1)).cookies["__Host-visitor"]
        assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == (True, True, "Lax")


def test_domain_and_path_are_those_of_coatroom() -> None:
    with override_settings(COATROOM=coatroom_setting(domain="example.com", path="/example/")):
        response = requested(lambda session: session.update(a=1))
        cookie = response.cookies["__Secure-visitor"]
        assert (cookie["domain"], cookie["path"]) == ("example.com", "/example/")
        ended = requested(lambda session: session.flush(), sent_back(response))
        line = ended.cookies["__Secure-visitor"].OutputString()
        assert "Max-Age=0" in line
        assert "Path=/example/" in line
        assert "example.com" in line


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_error_saves_nothing(status: int) -> None:
    response = requested(lambda session: session.update(a=1), status=status)
    assert not response.cookies


def test_flushing_removes_the_cookies_that_were_sent_and_those_of_nobody_too() -> None:
    cookies = sent_back(requested(lambda session: session.update(a=1)))
    response = requested(lambda session: session.flush(), cookies)
    assert [morsel.value for morsel in response.cookies.values()] == ["", ""]


def test_it_differs_that_an_emptied_session_keeps_its_cookie() -> None:
    cookies = sent_back(requested(lambda session: session.update(a=1)))
    response = requested(lambda session: session.pop("a"), cookies)
    assert not response.cookies
    assert requested(lambda session: session.update(b=1), cookies).status_code == 200


def test_a_session_that_was_only_read_is_neither_stored_nor_given_a_cookie() -> None:
    response = requested(lambda session: session.get("a"))
    assert not response.cookies
    assert response.headers["Vary"] == "Cookie"


def test_it_differs_that_a_session_that_ended_meanwhile_is_409() -> None:
    cookies = sent_back(requested(lambda session: session.update(a=1)))

    def work(session: Any) -> None:
        session["a"] = 2
        requested(lambda other: other.flush(), cookies)

    assert requested(work, cookies).status_code == 409


# The asynchronous half


def test_each_asynchronous_method_does_what_the_other_does() -> None:
    async def work() -> None:
        session = SessionStore()
        await session.aset("a", 1)
        await session.aupdate({"b": 2})
        assert await session.asetdefault("c", 3) == 3
        assert await session.aget("a") == 1
        assert await session.aget("z", "none") == "none"
        assert await session.apop("a") == 1
        assert await session.apop("a", None) is None
        assert await session.ahas_key("b")
        assert (list(await session.akeys()), list(await session.avalues())) == (["b", "c"], [2, 3])
        assert list(await session.aitems()) == [("b", 2), ("c", 3)]
        await session.aset_test_cookie()
        assert await session.atest_cookie_worked()
        await session.adelete_test_cookie()
        await session.aset_expiry(timedelta(seconds=90))
        assert await session.aget_expiry_age() == 90
        assert await session.aget_expiry_date() == CLOCK.now() + timedelta(seconds=90)
        assert await session.aget_expire_at_browser_close()
        await session.aset("_auth_user_id", "7")
        await session.acycle_key()
        await session.asave()
        key = session.session_key
        assert key is not None
        assert await session.aexists(key)
        assert (await SessionStore(key).aload())["b"] == 2
        await session.aflush()
        assert not await session.aexists(key)
        await session.acreate()
        assert session.session_key is not None
        await session.adelete()
        await SessionStore.aclear_expired()

    asyncio.run(work())


def test_a_request_whose_client_has_gone_gives_its_turn_back() -> None:
    async def gone(cookies: str) -> None:
        opened = asyncio.Event()

        async def view(request: Any) -> HttpResponse:
            await request.session.aset("a", 2)
            opened.set()
            await asyncio.Event().wait()
            return HttpResponse()

        request = RequestFactory().post("/", headers={"cookie": cookies})
        task = asyncio.ensure_future(SessionMiddleware(view)(request))
        await opened.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with override_settings(COATROOM={"sessions": coatroom.Sessions("memory", TEST_KEYS, concurrency="serial")}):
        cookies = sent_back(requested(lambda session: session.update(a=1)))
        asyncio.run(gone(cookies))
        next_one = get_sessions()._native.open_without_waiting(cookies)
        assert next_one.opens() is None, "it waits for nobody"
        assert next_one.get("a") == 1


def test_no_method_of_djangos_sessions_is_missing() -> None:
    from django.contrib.sessions.backends.base import SessionBase

    theirs = {name for name in vars(SessionBase) if not name.startswith("_")}
    storage_of_text = {"decode", "encode", "key_salt"}
    assert {name for name in theirs if not hasattr(SessionStore, name)} == storage_of_text


# Around the requests


def test_clearsessions_removes_what_is_over_for_good() -> None:
    for expiry in (None, timedelta(days=14)):
        session = SessionStore()
        session["foo"] = "bar"
        session.set_expiry(expiry)
        session.save()
    CLOCK.advance(1801)
    live = SessionStore()
    live["foo"] = "bar"
    live.save()
    call_command("clearsessions")
    assert get_sessions().sweep() == 0
    CLOCK.advance(timedelta(hours=13))
    call_command("clearsessions")
    assert get_sessions().sweep() == 0


def views() -> tuple[Any, ...]:
    def count(request: Any) -> HttpResponse:
        request.session["n"] = request.session.get("n", 0) + 1
        return HttpResponse(f"{request.user.username} {request.session['n']}")

    def login(request: Any) -> HttpResponse:
        from django.contrib.auth import login

        login(request, User.objects.get(username="ada"))
        return HttpResponse()

    def logout(request: Any) -> HttpResponse:
        request.session.flush()
        return HttpResponse()

    return (path("count", count), path("login", login), path("logout", logout))


def test_djangos_test_client_logs_in_looks_and_logs_out() -> None:
    with override_settings(ROOT_URLCONF=views()):
        client = Client()
        session = client.session
        session["n"] = 5
        session.save()
        assert client.get("/count").content == b" 6"
        assert client.session["n"] == 6
        assert not client.login(username="ada", password="wrong")
        assert client.login(username="ada", password="ada's")
        assert client.get("/count").content == b"ada 7"
        assert client.session["_auth_user_id"] == str(User.objects.get(username="ada").pk)
        client.logout()
        assert client.get("/count").content == b" 1"
        client.force_login(User.objects.get(username="bob"))
        assert client.get("/count").content == b"bob 2"
        client.get("/login")
        assert client.get("/count").content == b"ada 1"
        assert client.session["n"] == 1
        client.get("/logout")
        assert dict(client.session) == {}
        assert get_sessions().devices("1") == []


def test_djangos_asynchronous_test_client_does_too() -> None:
    async def work() -> None:
        client = AsyncClient()
        await asynchronous(client, "aforce_login", "force_login")(await User.objects.aget(username="ada"))
        assert (await client.get("/count")).content == b"ada 1"
        session = await client.asession() if hasattr(client, "asession") else client.session
        assert await session.aget("n") == 1
        await asynchronous(client, "alogout", "logout")()
        assert (await client.get("/count")).content == b" 1"

    with override_settings(ROOT_URLCONF=views()):
        asyncio.run(work())


# System checks


def found(**settings: Any) -> set[str]:
    from coatroom.django.checks import check_deployment, check_settings

    with override_settings(**settings):
        return {message.id for message in [*check_settings(None), *check_deployment(None)]}


def test_the_checks_are_silent_for_a_project_that_is_set_up() -> None:
    assert found() == set()
    call_command("check", "--fail-level", "WARNING")


@pytest.mark.parametrize(
    ("middleware", "expected"),
    [
        ([], {"coatroom.E001"}),
        (["django.contrib.sessions.middleware.SessionMiddleware"], {"coatroom.E001"}),
        (["django.contrib.sessions.middleware.SessionMiddleware", *MIDDLEWARE], {"coatroom.E002"}),
        ([*SESSION_ONLY, *MIDDLEWARE], {"coatroom.E003"}),
        ([MIDDLEWARE[1], *SESSION_ONLY], {"coatroom.E004"}),
        (["no.such.Middleware", *MIDDLEWARE], set()),
        (["django.middleware.security.SecurityMiddleware", *MIDDLEWARE], set()),
    ],
)
def test_one_session_middleware_has_to_be_there_and_in_its_place(middleware: list[str], expected: set[str]) -> None:
    assert found(MIDDLEWARE=middleware) == expected


@pytest.mark.parametrize(
    "setting",
    [
        None,
        {},
        {"keys": TEST_KEYS},
        {"store": "memory", "keys": "x"},
        {"store": "memory", "keys": TEST_KEYS, "idle": 0},
        {"store": "memory", "keys": TEST_KEYS, "colour": "blue"},
        {"store": "memory", "keys": TEST_KEYS, "on_error": "no.such.function"},
        {"store": "memory", "keys": TEST_KEYS, "remember": Remember(lambda name: [])},
        {"sessions": "no.such.sessions"},
        {"sessions": "django_project.CLOCK", "idle": 60},
    ],
)
def test_a_setting_that_makes_no_sense_is_an_error(setting: Any) -> None:
    assert found(COATROOM=setting) == {"coatroom.E005"}


def test_what_has_no_effect_and_what_is_for_development_alone_are_warnings() -> None:
    assert found(SESSION_ENGINE="django.contrib.sessions.backends.db") == {"coatroom.W001"}
    assert found(SESSION_COOKIE_AGE=60) == {"coatroom.W002"}
    assert found(COATROOM=coatroom_setting(dev=True)) == {"coatroom.W003"}


def test_a_project_that_is_set_up_wrong_does_not_start() -> None:
    from django.core.exceptions import ImproperlyConfigured

    with override_settings(COATROOM={}), pytest.raises(ImproperlyConfigured, match="E005"):
        SessionMiddleware(lambda request: HttpResponse())


def on_error(error: coatroom.CoatroomError) -> coatroom.django.Answer:
    return coatroom.django.Answer(error.status, b"sorry")


def test_sessions_and_the_error_answer_may_be_named_by_their_path() -> None:
    made = get_sessions()
    globals()["made"] = made
    setting = {"sessions": f"{__name__}.made", "on_error": f"{__name__}.on_error"}
    with override_settings(COATROOM=setting):
        assert get_sessions() is made
        from coatroom.django.conf import configuration

        assert configuration().on_error is on_error
