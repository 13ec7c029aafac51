"""The pages of the shop and what its buttons do, whichever framework carries them."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import coatroom
from jinja2 import Environment, FileSystemLoader

from .notes import Notebook
from .panel import STATES, Card, describe, outcome
from .products import BY_SKU, PRODUCTS

#: Shorter than in production, so that "rotate now" can be tried twice within a minute.
GRACE_SECONDS = 4.0
LONGEST_NAME = 40

NOTE_COOKIE = "shop-note"
NOTE_SECONDS = 60
PANEL_MARK = "<!--coatroom-panel-->"
HERE = Path(__file__).parent

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


def database() -> Path:
    """The SQLite file."""
    return Path(os.environ["SHOP_DB"])


def make_sessions() -> coatroom.Sessions:
    """The sessions, in the store that SHOP_STORE names or else in the SQLite file."""
    store = os.environ.get("SHOP_STORE") or f"sqlite:{database()}"
    store = {"alone": "cookie", "deny": f"cookie+deny:{store}", "until-login": f"cookie-until-login+{store}"}.get(
        stateless(), store
    )
    return coatroom.Sessions(store, dev=True, grace=GRACE_SECONDS, skew=GRACE_SECONDS / 4, rotate_every=120.0)


def stateless() -> str:
    """Whether sessions live in their cookies, and how: nothing, `alone`, `deny` or `until-login`."""
    return os.environ.get("SHOP_STATELESS", "")


def make_notebook() -> Notebook:
    """The notes that the workers share."""
    return Notebook(database().with_name(database().stem + "-notes.db"))


class Refusal(Exception):
    """The request makes no sense."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass
class Visit:
    """One request."""

    session: coatroom.Session
    method: str
    path: str
    form: Mapping[str, str]
    cookies: Mapping[str, str]
    agent: str
    address: str
    message: str = ""
    page: str = ""


@dataclass
class Reply:
    """The response. Its pieces are asked for after the session was committed: the last can tell what was done."""

    status: int
    headers: dict[str, str]
    pieces: Callable[[], Iterator[str]]
    cards: list[Card] = field(default_factory=list)
    token: str | None = None


View = Callable[[Visit, str], "Reply"]


# Pages


def shop(visit: Visit, _: str) -> Reply:
    """The products, and a count of visits."""
    return show(visit, "shop.html", products=PRODUCTS, visits=visit.session.add("visits", 1))


def cart(visit: Visit, _: str) -> Reply:
    """What was put into the cart."""
    lines = [(BY_SKU[sku], count) for sku, count in cart_counts(visit.session).items()]
    return show(visit, "cart.html", lines=lines, total=sum(product.price * count for product, count in lines))


def change_cart(visit: Visit, _: str) -> Reply:
    """One more, one less, or none of a product."""
    product = BY_SKU.get(visit.form.get("sku", ""))
    if product is None:
        raise Refusal(404)
    line = f"cart.{product.sku}"
    match visit.form.get("change"):
        case "more":
            visit.session.add(line, 1)
            visit.message = f"{product.name}: one more in your cart."
        case "less":
            visit.session.update(line, lambda count: max(0, (count or 0) - 1))
            visit.message = f"{product.name}: one less in your cart."
        case "none":
            visit.session.pop(line, None)
            visit.message = f"{product.name}: out of your cart."
        case _:
            raise Refusal(400)
    return back_to("cart")


def login_form(visit: Visit, _: str) -> Reply:
    """Asks for a name."""
    return show(visit, "login.html")


def login(visit: Visit, _: str) -> Reply:
    """Logs in as anyone; a real shop would check a password here."""
    name = visit.form.get("name", "").strip()
    if not 0 < len(name) <= LONGEST_NAME:
        visit.message = f"A name has 1 to {LONGEST_NAME} characters."
        return back_to("login_form")
    visit.session.set_client(browser(visit.agent), visit.address)
    visit.session.login(name, roles=["admin"] if visit.form.get("admin") else [])
    visit.message = f"Welcome, {name}. Your cart came along, and every id from before is dead."
    return back_to("profile")


def logout(visit: Visit, _: str) -> Reply:
    """Ends the session."""
    visit.session.logout()
    visit.message = "You are logged out. The session is over on the server too: a copied cookie is worth nothing."
    return back_to("shop")


def rotate(visit: Visit, _: str) -> Reply:
    """Asks for a new id in the same session."""
    visit.message = ROTATION_WORDS[visit.session.rotate()]
    return back_to("shop" if visit.session.principal is None else "profile")


def profile(visit: Visit, _: str) -> Reply:
    """Only for who is logged in."""
    if visit.session.principal is None:
        raise Refusal(401)
    return show(visit, "profile.html", visits=visit.session.get("visits", 0))


def devices(visit: Visit, _: str) -> Reply:
    """Where the user is logged in."""
    try:
        devices = visit.session.devices()
    except coatroom.Unlisted:
        devices = None
    return show(visit, "devices.html", devices=devices)


def end_device(visit: Visit, handle: str) -> Reply:
    """Ends one session of the user."""
    try:
        ended = visit.session.revoke(handle)
    except coatroom.Refused:
        raise Refusal(404) from None
    visit.message = "That session is over." if ended else "That session was over already."
    return back_to("devices")


def end_other_devices(visit: Visit, _: str) -> Reply:
    """Ends all other sessions of the user."""
    visit.message = f"Other sessions ended: {visit.session.revoke_others()}."
    return back_to("devices")


def admin(visit: Visit, _: str) -> Reply:
    """Only for the role admin."""
    visit.session.require_role("admin")
    return show(visit, "admin.html", products=PRODUCTS)


#: Method, path and view. `HANDLE` stands for the one part of a path that varies.
HANDLE = "HANDLE"
ROUTES: tuple[tuple[str, str, View], ...] = (
    ("GET", "/", shop),
    ("GET", "/cart", cart),
    ("POST", "/cart", change_cart),
    ("GET", "/login", login_form),
    ("POST", "/login", login),
    ("POST", "/logout", logout),
    ("POST", "/rotate", rotate),
    ("GET", "/profile", profile),
    ("GET", "/devices", devices),
    ("POST", f"/devices/{HANDLE}/end", end_device),
    ("POST", "/devices/end-others", end_other_devices),
    ("GET", "/admin", admin),
)
PATHS = {view.__name__: path for _, path, view in ROUTES}


def answer(visit: Visit) -> Reply:
    """Finds the view for a request and runs it."""
    try:
        view, handle = find(visit.method, visit.path)
        visit.page = view.__name__
        reply = view(visit, handle)
    except Refusal as refused:
        reply = refusal(visit, refused.status)
    except (coatroom.Unauthenticated, coatroom.Forbidden) as refused:
        reply = refusal(visit, refused.status)
    reply.headers.update(SECURITY_HEADERS)
    if visit.method == "POST":
        reply.token = secrets.token_urlsafe(12)
    return reply


def find(method: str, path: str) -> tuple[View, str]:
    """The view of a path, and the handle in it."""
    method = "GET" if method == "HEAD" else method
    for its_method, its_path, view in ROUTES:
        front, varies, rest = its_path.partition(HANDLE)
        handle = path[len(front) : len(path) - len(rest)]
        if method == its_method and (path == its_path or (varies and path == front + handle + rest and handle)):
            return view, handle
    raise Refusal(404)


def refusal(visit: Visit, status: int) -> Reply:
    """The page for a request that is refused."""
    return show(visit, "refusal.html", status)


def back_to(page: str) -> Reply:
    """After a POST, the browser asks for a page: reloading repeats nothing."""
    return Reply(303, {"Location": url(page)}, lambda: iter(()))


def url(page: str, handle: str = "") -> str:
    """Where a page is."""
    return PATHS[page].replace(HANDLE, handle)


def browser(agent: str) -> str:
    """What people call the browser that names itself so."""
    names = {"Firefox/": "Firefox", "Edg/": "Edge", "Chrome/": "Chrome", "Safari/": "Safari", "curl/": "curl"}
    systems = {"Android": "Android", "iPhone": "iPhone", "Mac OS X": "macOS", "Windows": "Windows", "Linux": "Linux"}
    name = next((name for mark, name in names.items() if mark in agent), "A browser")
    system = next((system for mark, system in systems.items() if mark in agent), "")
    return f"{name} on {system}" if system else name


def cart_counts(session: coatroom.Session) -> dict[str, int]:
    """How many of each product, in the order of the shop."""
    counts = {sku: session.get(f"cart.{sku}", 0) for sku in BY_SKU}
    return {sku: count for sku, count in counts.items() if count > 0}


# The panel. A page is rendered before the commit and sent after it: its last part can tell what was done.

TEMPLATES = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True)
TEMPLATES.globals["url"] = url


def show(visit: Visit, template: str, status: int = 200, **values: object) -> Reply:
    """A page whose panel is filled in when the session has been committed."""
    token = visit.cookies.get(NOTE_COOKIE)
    text = make_notebook().take(token) if token else None
    previous = Card.from_json(text) if text else None
    in_cart = sum(cart_counts(visit.session).values())
    shown = {"session": visit.session, "in_cart": in_cart, "status": status, "previous": previous, "here": visit.page}
    before, _, after = TEMPLATES.get_template(template).render(**shown, **values).partition(PANEL_MARK)
    cards = [previous] if previous else []

    def pieces() -> Iterator[str]:
        yield before
        yield TEMPLATES.get_template("panel.html").render(cards=cards)
        yield after

    return Reply(status, {"Content-Type": "text/html; charset=utf-8"}, pieces, cards)


def committed(visit: Visit, reply: Reply, status: int, set_cookies: list[str]) -> None:
    """Runs after Coatroom committed, before anything is sent: the trace is final."""
    # Without a store there is no session to tell of.
    with contextlib.suppress(coatroom.CoatroomError):
        card = this_exchange(visit, status, set_cookies)
        if reply.token is not None:
            make_notebook().put(reply.token, card.to_json())
        else:
            reply.cards.append(card)


def this_exchange(visit: Visit, status: int, set_cookies: list[str]) -> Card:
    """The card of the exchange that is about to end."""
    trace = visit.session.trace()
    sent = [name for name in visit.cookies if name != NOTE_COOKIE]
    lines = [line for line in set_cookies if not line.startswith(NOTE_COOKIE)]
    return Card(
        request=f"{visit.method} {visit.path}",
        status=status,
        state=outcome(trace),
        meaning=STATES.get(trace.state, ""),
        message=visit.message,
        facts=describe(trace, sent, lines, stateless()),
    )
