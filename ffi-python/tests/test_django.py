"""Sessions for Django: its own login and logout, views of both kinds, and what a project may do around them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import coatroom
import pytest
from asgiref.sync import sync_to_async
from coatroom.django import SessionMiddleware, get_sessions, in_turn, skip
from conftest import Browser
from django.conf import settings
from django.contrib import auth, messages
from django.contrib.sessions.middleware import SessionMiddleware as DjangosMiddleware
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.test import RequestFactory, override_settings
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from django_project import CLOCK, MIDDLEWARE, User, asynchronous, coatroom_setting
from test_adapters import Reply, asgi_client, wsgi_client


def user_named(request: HttpRequest) -> Any:
    return User.objects.get(username=request.GET["user"])


def me(request: HttpRequest) -> JsonResponse:
    name = request.user.username
    data = {key: request.session[key] for key in request.session if not key.startswith("_auth")}
    return JsonResponse({"user": name, "key": request.session.session_key, "data": data})


def set_(request: HttpRequest) -> JsonResponse:
    request.session.update(request.GET.dict())
    return JsonResponse({})


def login(request: HttpRequest) -> JsonResponse:
    auth.login(request, user_named(request))
    request.session["after"] = 1
    return JsonResponse({})


def logout(request: HttpRequest) -> JsonResponse:
    auth.logout(request)
    return JsonResponse({})


def change_password(request: HttpRequest) -> JsonResponse:
    user = request.user
    user.set_password(request.GET["password"])
    user.save()
    auth.update_session_auth_hash(request, user)
    return JsonResponse({})


async def ame(request: HttpRequest) -> JsonResponse:
    session = request.session
    user = await (request.auser() if hasattr(request, "auser") else sync_to_async(auth.get_user)(request))
    data = {key: await session.aget(key) for key in await session.akeys() if not key.startswith("_auth")}
    return JsonResponse({"user": user.username, "key": session.session_key, "data": data})


async def aset(request: HttpRequest) -> JsonResponse:
    await request.session.aupdate(request.GET.dict())
    return JsonResponse({})


async def alogin(request: HttpRequest) -> JsonResponse:
    await asynchronous(auth, "alogin", "login")(request, await User.objects.aget(username=request.GET["user"]))
    await request.session.aset("after", 1)
    return JsonResponse({})


async def alogout(request: HttpRequest) -> JsonResponse:
    await asynchronous(auth, "alogout", "logout")(request)
    return JsonResponse({})


SYNC = (
    path("me", me),
    path("set", set_),
    path("login", login),
    path("logout", logout),
    path("password", change_password),
)
ASYNC = (path("me", ame), path("set", aset), path("login", alogin), path("logout", alogout))


class Site:
    """A project under WSGI or ASGI, asked by browsers that keep the real cookies."""

    def __init__(self, urls: tuple[Any, ...], is_async: bool = False, **more: Any) -> None:
        more.setdefault("COATROOM", coatroom_setting())
        self.settings = override_settings(ROOT_URLCONF=urls, **more)
        self.is_async = is_async
        self.browser = Browser()

    def __enter__(self) -> Site:
        self.settings.enable()
        self.client = asgi_client(ASGIHandler()) if self.is_async else wsgi_client(WSGIHandler())
        return self

    def __exit__(self, *_: object) -> None:
        self.settings.disable()

    def get(self, target: str, browser: Browser | None = None) -> Reply:
        browser = self.browser if browser is None else browser
        reply = self.client(target, browser.header)
        browser.take(reply.all("set-cookie"))
        return reply

    def must(self, target: str, browser: Browser | None = None) -> Any:
        reply = self.get(target, browser)
        assert reply.status == 200, reply
        return json.loads(reply.body)

    def me(self, browser: Browser | None = None) -> tuple[str, dict[str, Any]]:
        answer = self.must("/me", browser)
        return answer["user"], answer["data"]

    def copy(self) -> Browser:
        """A thief, or a slow tab."""
        copy = Browser()
        copy.cookies = dict(self.browser.cookies)
        return copy


NOBODY: tuple[str, dict[str, Any]] = ("", {})


@pytest.fixture(params=["wsgi", "asgi", "async views on wsgi", "sync views on asgi"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    urls = ASYNC if request.param in ("asgi", "async views on wsgi") else SYNC
    with Site(urls, is_async=request.param.endswith("asgi")) as site:
        yield site


@pytest.fixture
def wsgi() -> Iterator[Site]:
    with Site(SYNC) as site:
        yield site


@pytest.fixture
def user() -> Iterator[Any]:
    """A user of its own, whose password may change."""
    user = User.objects.create_user("eve", password="eve's")
    yield user
    user.delete()


# Django's own login and logout


def test_djangos_login_gives_a_fresh_id_and_carries_what_the_visitor_had(site: Site) -> None:
    site.must("/set?cart=scarf")
    planted = site.copy()
    site.must("/login?user=ada")
    assert set(site.browser.cookies) == {"__Host-id"}
    assert site.browser.cookies["__Host-id"] != planted.cookies["__Host-visitor"]
    assert site.me() == ("ada", {"cart": "scarf", "after": 1})
    assert site.me(planted) == NOBODY


def test_nothing_written_with_a_planted_id_reaches_the_login(site: Site) -> None:
    site.must("/set?cart=scarf")
    planted = site.copy()
    site.must("/login?user=ada")
    site.get("/set?cart=planted", planted)
    assert site.me()[1]["cart"] == "scarf"


def test_logging_in_again_changes_the_id_and_the_old_one_is_dead_at_once(site: Site) -> None:
    site.must("/login?user=ada")
    site.must("/set?kept=1")
    before = site.copy()
    site.must("/login?user=ada")
    assert site.browser.cookies != before.cookies
    assert site.me() == ("ada", {"kept": "1", "after": 1})
    assert site.me(before) == NOBODY


def test_logging_in_as_somebody_else_inherits_nothing(site: Site) -> None:
    site.must("/login?user=ada")
    site.must("/set?secret=ada")
    ada = site.copy()
    site.must("/login?user=bob")
    assert site.me() == ("bob", {"after": 1})
    assert site.me(ada) == NOBODY


def test_djangos_logout_ends_the_session_on_the_server_too(site: Site) -> None:
    site.must("/login?user=ada")
    thief = site.copy()
    site.must("/logout")
    assert site.browser.cookies == {}
    assert site.me() == site.me(thief) == NOBODY


def test_the_absolute_limit_begins_anew_with_every_login(wsgi: Site) -> None:
    wsgi.must("/login?user=ada")
    for _ in range(20):
        CLOCK.advance(1750)
        wsgi.me()
    wsgi.must("/login?user=ada")
    for _ in range(20):
        CLOCK.advance(1750)
        assert wsgi.me()[0] == "ada"


def test_a_changed_password_ends_the_other_sessions_and_every_older_id_of_this_one(wsgi: Site, user: Any) -> None:
    phone = Browser()
    for browser in (wsgi.browser, phone):
        wsgi.must("/login?user=eve", browser)
        wsgi.me(browser)
    thief = wsgi.copy()
    wsgi.must("/password?password=new")
    assert wsgi.browser.cookies != thief.cookies
    assert wsgi.me() == ("eve", {"after": 1})
    assert wsgi.me(thief) == wsgi.me(phone) == NOBODY
    assert phone.cookies == {}


def test_a_new_secret_key_logs_nobody_out_and_is_no_login(wsgi: Site) -> None:
    wsgi.must("/login?user=ada")
    wsgi.me()
    before = dict(wsgi.browser.cookies)
    with override_settings(SECRET_KEY="a new one", SECRET_KEY_FALLBACKS=[settings.SECRET_KEY]):
        assert wsgi.me()[0] == "ada"
    with override_settings(SECRET_KEY="a new one"):
        assert wsgi.me()[0] == "ada"
    assert wsgi.browser.cookies == before


def test_the_user_of_django_is_the_principal_and_nothing_else(wsgi: Site) -> None:
    wsgi.must("/login?user=ada")
    ada = User.objects.get(username="ada")
    session = get_sessions().open(wsgi.browser.header)
    assert session.principal == str(ada.pk)
    assert "_auth_user_id" not in session
    assert [device.handle for device in get_sessions().devices(str(ada.pk))] == [session.handle]
    get_sessions().revoke_all(str(ada.pk))
    assert wsgi.me() == NOBODY


def test_djangos_names_are_what_they_were() -> None:
    from coatroom.django import base

    assert (base.USER_KEY, base.HASH_KEY) == (auth.SESSION_KEY, auth.HASH_SESSION_KEY)


# Around the view


def view_of(work: Callable[[Any], object]) -> tuple[Any, ...]:
    def view(request: HttpRequest) -> HttpResponse:
        made = work(request)
        return made if isinstance(made, (HttpResponse, StreamingHttpResponse)) else JsonResponse({"made": made})

    return (path("view", view), *SYNC)


def test_a_session_saved_in_the_view_has_a_key_that_others_find() -> None:
    seen = []

    def work(request: Any) -> Any:
        assert request.session.session_key is None
        if not request.session.session_key:
            request.session.create()
        request.session["step"] = 1
        request.session.save()
        request.session["step"] = 2
        [line] = request.session._lines.values()
        seen.append(get_sessions().open(line.partition(";")[0])["step"])
        return request.session.session_key

    with Site(view_of(work)) as site:
        key = site.must("/view")["made"]
        assert seen == [1]
        assert site.must("/me")["key"] == key
        assert site.me() == ("", {"step": 2})


def test_a_login_that_was_saved_in_the_view_is_told_to_the_browser_whatever_follows() -> None:
    def work(request: Any) -> Any:
        auth.login(request, User.objects.get(username="ada"))
        request.session.save()
        request.session["lost"] = 1
        raise RuntimeError

    with Site(view_of(work)) as site:
        site.must("/set?cart=scarf")
        assert site.get("/view").status == 500
        assert site.me() == ("ada", {"cart": "scarf"})


def test_a_rotation_that_was_saved_in_the_view_may_still_be_lost_on_its_way() -> None:
    def work(request: Any) -> Any:
        request.session.cycle_key()
        request.session.save()

    with Site(view_of(work)) as site:
        site.must("/login?user=ada")
        site.me()
        CLOCK.advance(61)
        before = site.copy()
        site.must("/view")
        assert site.browser.cookies != before.cookies
        CLOCK.advance(600)
        assert site.me(before)[0] == "ada"
        assert before.cookies == site.browser.cookies


def test_a_streamed_response_has_its_cookie_in_the_head() -> None:
    def work(request: Any) -> Any:
        request.session["a"] = 1
        return StreamingHttpResponse(pieces() if site.is_async else iter([b"x"]))

    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"

    for is_async in (False, True):
        with Site(view_of(work), is_async) as site:
            assert len(site.get("/view").all("set-cookie")) == 1
            assert site.me() == ("", {"a": 1})


class LooksAtTheUser:
    """A middleware between the session and the view."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        str(request.user)
        return self.get_response(request)


class TakesItForNobody(LooksAtTheUser):
    def __call__(self, request: Any) -> Any:
        try:
            return super().__call__(request)
        except coatroom.StoreUnavailable:
            return HttpResponse("Hello, stranger")


@pytest.mark.parametrize("between", ["LooksAtTheUser", "TakesItForNobody"])
def test_a_store_that_cannot_answer_is_503_and_never_nobody(between: str, tmp_path: Path) -> None:
    with Site(SYNC) as site:
        site.must("/login?user=ada")
        known = site.browser
    for is_async in (False, True):
        database = tmp_path / f"{is_async}.db"
        setting = coatroom_setting(store=f"sqlite:{database}")
        middleware = [*MIDDLEWARE, f"{__name__}.{between}"]
        with Site(SYNC, is_async, COATROOM=setting, MIDDLEWARE=middleware) as site:
            database.write_bytes(b"this is no database. " * 100)
            reply = site.get("/me", known)
            assert (reply.status, reply.all("retry-after"), reply.all("set-cookie")) == (503, ["1"], [])


def test_views_and_paths_that_are_skipped_open_no_session_unless_they_ask() -> None:
    class Plain(View):  # type: ignore[misc]
        def get(self, request: Any) -> HttpResponse:
            return JsonResponse({"opened": request.session._opened is not None})

    marked = method_decorator(skip, name="dispatch")(type("Marked", (Plain,), {}))
    urls = (
        path("plain", Plain.as_view()),
        path("marked", marked.as_view()),
        path("static/x", Plain.as_view()),
        path("static/asks", me),
        *SYNC,
    )
    for is_async in (False, True):
        with Site(urls, is_async, COATROOM=coatroom_setting(skip=["/static/"])) as site:
            assert site.must("/plain") == {"opened": True}
            assert site.must("/marked") == {"opened": False}
            assert site.must("/static/x") == {"opened": False}
            site.must("/login?user=ada")
            assert site.must("/static/asks")["user"] == "ada"


def test_a_view_may_have_the_session_in_turn() -> None:
    def turn(request: Any) -> Any:
        return JsonResponse({"turn": request.session._in_turn})

    with Site((path("a", turn), path("b", in_turn(lambda request: turn(request))))) as site:
        assert [site.must("/a"), site.must("/b")] == [{"turn": False}, {"turn": True}]


def test_messages_and_csrf_may_live_in_the_session() -> None:
    def say(request: Any) -> Any:
        messages.info(request, "hello")

    def show(request: Any) -> Any:
        return [str(message) for message in messages.get_messages(request)]

    def token(request: Any) -> Any:
        return get_token(request)

    views = {"say": say, "show": show, "csrf": token}
    urls = [path(name, view_of(work)[0].callback) for name, work in views.items()]
    middleware = [*MIDDLEWARE, "django.middleware.csrf.CsrfViewMiddleware"]
    with Site((*urls, *SYNC), CSRF_USE_SESSIONS=True, MIDDLEWARE=middleware) as site:
        site.must("/say")
        assert site.must("/show") == {"made": ["hello"]}
        assert site.must("/show") == {"made": []}
        site.must("/csrf")
        before = site.me()[1]["_csrftoken"]
        site.must("/login?user=ada")
        assert site.me()[1]["_csrftoken"] != before


def test_the_name_of_djangos_cookie_means_nothing_to_a_real_request(wsgi: Site) -> None:
    wsgi.must("/login?user=ada")
    stranger = Browser()
    stranger.cookies = {settings.SESSION_COOKIE_NAME: wsgi.browser.cookies["__Host-id"]}
    assert wsgi.me(stranger) == NOBODY


def without_csrf(get_response: Any) -> Any:
    """What many projects use in production to be rid of the checks."""

    def respond(request: Any) -> Any:
        request._dont_enforce_csrf_checks = True
        return get_response(request)

    return respond


@pytest.mark.parametrize("is_async", [False, True])
def test_a_project_without_csrf_checks_is_not_taken_for_the_test_client(is_async: bool) -> None:
    with Site(SYNC, is_async, MIDDLEWARE=[f"{__name__}.without_csrf", *MIDDLEWARE]) as site:
        site.must("/login?user=ada")
        assert set(site.browser.cookies) == {"__Host-id"}
        stranger = Browser()
        stranger.cookies = {settings.SESSION_COOKIE_NAME: site.browser.cookies["__Host-id"]}
        assert site.me(stranger) == NOBODY


def test_the_middleware_may_be_called_by_its_halves() -> None:
    with override_settings(COATROOM=coatroom_setting()):
        request = RequestFactory().get("/")
        middleware = SessionMiddleware(lambda request: HttpResponse())
        middleware.process_request(request)
        request.session.save()
        assert request.session.session_key is not None
        request.session["a"] = 1
        response = middleware.process_response(request, HttpResponse())
        [line] = [morsel.OutputString() for morsel in response.cookies.values()]
        assert line.endswith("; Path=/; Secure; HttpOnly; SameSite=Lax")
        assert response.cookies["__Host-visitor"]["secure"] is True
        assert response.cookies["__Host-visitor"]["path"] == "/"
        assert get_sessions().open(line.partition(";")[0])["a"] == 1


def test_the_admin_knows_the_middleware() -> None:
    assert issubclass(SessionMiddleware, DjangosMiddleware)
