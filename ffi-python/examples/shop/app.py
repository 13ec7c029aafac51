"""The shop: pages, cart, login; and the panel beside them."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import coatroom
import flask
from coatroom.flask import Coatroom, skip
from flask import Blueprint, Flask, Response, abort, current_app, g, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from .notes import Notebook
from .panel import STATES, Card, describe, outcome
from .products import BY_SKU, PRODUCTS

#: Shorter than in production, so that "rotate now" can be tried twice within a minute.
GRACE_SECONDS = 4.0
LONGEST_NAME = 40

NOTE_COOKIE = "shop-note"
NOTE_SECONDS = 60
PANEL_MARK = "<!--coatroom-panel-->"

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

ROTATION_WORDS = {
    "rotated": "You have a new id. The old one works for a few seconds more, for requests under way.",
    "pending": "A new id is already on its way to your browser.",
    "postponed": "Not yet: an id is replaced only after your browser has used it for "
    f"{2 * GRACE_SECONDS:.0f} seconds. Try again in a moment.",
}

pages = Blueprint("pages", __name__)


def create_app() -> Flask:
    """The shop with its sessions in the store that SHOP_STORE names, or else in the SQLite file SHOP_DB."""
    database = Path(os.environ["SHOP_DB"])
    store = os.environ.get("SHOP_STORE") or f"sqlite:{database}"
    app = Flask(__name__)
    sessions = coatroom.Sessions(store, dev=True, grace=GRACE_SECONDS, skew=GRACE_SECONDS / 4, rotate_every=120.0)
    Coatroom(app, sessions=sessions)
    app.extensions["notebook"] = Notebook(database.with_name(database.stem + "-notes.db"))
    app.view_functions["static"] = skip(app.view_functions["static"])
    app.register_blueprint(pages)
    app.register_error_handler(coatroom.Unauthenticated, lambda _: refusal(401))
    app.register_error_handler(coatroom.Forbidden, lambda _: refusal(403))
    app.register_error_handler(HTTPException, lambda error: refusal(error.code or 500))
    return app


def mine() -> coatroom.Session:
    """The session of this request, with its own methods."""
    return cast("coatroom.Session", flask.session)


# Pages


@pages.get("/")
def shop() -> Response:
    """The products, and a count of visits."""
    return page("shop.html", products=PRODUCTS, visits=mine().add("visits", 1))


@pages.get("/cart")
def cart() -> Response:
    """What was put into the cart."""
    lines = [(BY_SKU[sku], count) for sku, count in cart_counts().items()]
    return page("cart.html", lines=lines, total=sum(product.price * count for product, count in lines))


@pages.post("/cart")
def change_cart() -> AnyResponse:
    """One more, one less, or none of a product."""
    product = BY_SKU.get(request.form.get("sku", "")) or abort(404)
    line = f"cart.{product.sku}"
    match request.form.get("change"):
        case "more":
            mine().add(line, 1)
            note(f"{product.name}: one more in your cart.")
        case "less":
            mine().update(line, lambda count: max(0, (count or 0) - 1))
            note(f"{product.name}: one less in your cart.")
        case "none":
            mine().pop(line, None)
            note(f"{product.name}: out of your cart.")
        case _:
            abort(400)
    return back_to("pages.cart")


@pages.get("/login")
def login_form() -> Response:
    """Asks for a name."""
    return page("login.html")


@pages.post("/login")
def login() -> AnyResponse:
    """Logs in as anyone; a real shop would check a password here."""
    name = request.form.get("name", "").strip()
    if not 0 < len(name) <= LONGEST_NAME:
        note(f"A name has 1 to {LONGEST_NAME} characters.")
        return back_to("pages.login_form")
    mine().set_client(browser(request.user_agent.string), request.remote_addr or "")
    mine().login(name, roles=["admin"] if request.form.get("admin") else [])
    note(f"Welcome, {name}. Your cart came along, and every id from before is dead.")
    return back_to("pages.profile")


@pages.post("/logout")
def logout() -> AnyResponse:
    """Ends the session."""
    mine().logout()
    note("You are logged out. The session is over on the server too: a copied cookie is worth nothing.")
    return back_to("pages.shop")


@pages.post("/rotate")
def rotate() -> AnyResponse:
    """Asks for a new id in the same session."""
    note(ROTATION_WORDS[mine().rotate()])
    return back_to("pages.shop" if mine().principal is None else "pages.profile")


@pages.get("/profile")
def profile() -> Response:
    """Only for who is logged in."""
    if mine().principal is None:
        abort(401)
    return page("profile.html", visits=mine().get("visits", 0))


@pages.get("/devices")
def devices() -> Response:
    """Where the user is logged in."""
    return page("devices.html", devices=mine().devices())


@pages.post("/devices/<handle>/end")
def end_device(handle: str) -> AnyResponse:
    """Ends one session of the user."""
    try:
        ended = mine().revoke(handle)
    except coatroom.Refused:
        abort(404)
    note("That session is over." if ended else "That session was over already.")
    return back_to("pages.devices")


@pages.post("/devices/end-others")
def end_other_devices() -> AnyResponse:
    """Ends all other sessions of the user."""
    note(f"Other sessions ended: {mine().revoke_others()}.")
    return back_to("pages.devices")


@pages.get("/admin")
def admin() -> Response:
    """Only for the role admin."""
    mine().require_role("admin")
    return page("admin.html", products=PRODUCTS)


def refusal(status: int) -> Response:
    """The page for a request that is refused."""
    return page("refusal.html", status)


def browser(agent: str) -> str:
    """What people call the browser that names itself so."""
    names = {"Firefox/": "Firefox", "Edg/": "Edge", "Chrome/": "Chrome", "Safari/": "Safari", "curl/": "curl"}
    systems = {"Android": "Android", "iPhone": "iPhone", "Mac OS X": "macOS", "Windows": "Windows", "Linux": "Linux"}
    name = next((name for mark, name in names.items() if mark in agent), "A browser")
    system = next((system for mark, system in systems.items() if mark in agent), "")
    return f"{name} on {system}" if system else name


def cart_counts() -> dict[str, int]:
    """How many of each product, in the order of the shop."""
    counts = {sku: mine().get(f"cart.{sku}", 0) for sku in BY_SKU}
    return {sku: count for sku, count in counts.items() if count > 0}


def back_to(endpoint: str) -> AnyResponse:
    """After a POST, the browser asks for a page: reloading repeats nothing."""
    return redirect(url_for(endpoint), 303)


# The panel. A page is rendered before the commit and sent after it: its last part can tell what was done.


def page(template: str, status: int = 200, **values: object) -> Response:
    """A page whose panel is filled in when the session has been committed."""
    previous = g.previous = take_note()
    session = mine()
    shown = {"session": session, "in_cart": sum(cart_counts().values()), "status": status, "previous": previous}
    before, _, after = render_template(template, **shown, **values).partition(PANEL_MARK)
    g.cards = cards = [previous] if previous else []
    panel = current_app.jinja_env.get_template("panel.html")

    def pieces() -> Iterator[str]:
        yield before
        yield panel.render(cards=cards)
        yield after

    return Response(pieces(), status, mimetype="text/html")


def note(message: str) -> None:
    """Says something on the next page."""
    g.message = message


def take_note() -> Card | None:
    """The card of the POST that led here, if there was one."""
    token = request.cookies.get(NOTE_COOKIE)
    text = notebook().take(token) if token else None
    return Card.from_json(text) if text else None


def notebook() -> Notebook:
    """The notes that the workers share."""
    return cast("Notebook", current_app.extensions["notebook"])


@pages.app_template_test("current")
def is_current(endpoint: str) -> bool:
    """Whether a page is the one on show."""
    return request.endpoint == f"pages.{endpoint}"


@pages.after_app_request
def before_commit(response: Response) -> Response:
    """Runs before Coatroom commits: the head can still change."""
    g.response = response
    response.headers.update(SECURITY_HEADERS)
    if request.method == "POST":
        g.token = secrets.token_urlsafe(12)
        response.set_cookie(NOTE_COOKIE, g.token, max_age=NOTE_SECONDS, httponly=True, samesite="Lax")
    return response


@pages.teardown_app_request
def after_commit(_error: BaseException | None) -> None:
    """Runs after Coatroom committed, before anything is sent: the trace is final."""
    if "response" not in g or request.endpoint == "static":
        return
    # Without a store there is no session to tell of.
    with contextlib.suppress(coatroom.CoatroomError):
        card = this_exchange()
        if "token" in g:
            notebook().put(g.token, card.to_json())
        elif "cards" in g:
            g.cards.append(card)


def this_exchange() -> Card:
    """The card of the exchange that is about to end."""
    trace = mine().trace()
    sent = [name for name in request.cookies if name != NOTE_COOKIE]
    set_cookies = [line for line in g.response.headers.getlist("Set-Cookie") if not line.startswith(NOTE_COOKIE)]
    return Card(
        request=f"{request.method} {request.path}",
        status=g.response.status_code,
        state=outcome(trace),
        meaning=STATES.get(trace.state, ""),
        message=g.get("message", ""),
        facts=describe(trace, sent, set_cookies),
    )
