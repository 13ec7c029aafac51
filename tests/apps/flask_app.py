"""The conformance app on Flask, served by gunicorn."""

from __future__ import annotations

import runpy
import sys
import time
from pathlib import Path
from typing import Any, cast

import coatroom
import coatroom.flask
import flask
from flask import Flask, request

import options

Reply = dict[str, Any]


def create() -> Flask:
    """The app as its flags ask for it."""
    app = Flask(__name__)
    app.register_error_handler(options.BadParameterError, refused)
    sessions = options.inherited("flask").sessions()
    if sessions is None:
        add_baseline(app)
    else:
        coatroom.flask.Coatroom(app, sessions=sessions)
        add_contract(app)
    return app


def refused(error: options.BadParameterError) -> tuple[Reply, int]:
    """Answers 400 and says why."""
    return {"error": str(error)}, 400


def mine() -> coatroom.Session:
    """The session of this request, with its own methods."""
    return cast("coatroom.Session", flask.session)


def pause() -> None:
    """Sleeps as long as the request asks for."""
    seconds = options.pause_seconds(request.args)
    if seconds:
        time.sleep(seconds)


def add_contract(app: Flask) -> None:
    """The routes that all conformance apps share."""
    app.get("/me")(me)
    app.get("/sessions")(sessions)
    app.post("/logout-others")(logout_others)
    app.post("/logout-all")(logout_all)
    for view in (login, logout, incr, add, set_, rotate):
        app.post("/" + view.__name__.rstrip("_"))(view)


def me() -> Reply:
    """Who is logged in, and what the session holds."""
    pause()
    session = mine()
    return options.me(session.principal, session)


def login() -> Reply:
    """Logs in as anyone."""
    mine().login(options.text(request.args, "user"))
    return {"ok": True}


def logout() -> Reply:
    """Ends the session, if there is one."""
    mine().logout()
    return {"ok": True}


def sessions() -> Reply:
    """Where the same user is logged in."""
    return options.devices(mine().devices())


def logout_others() -> Reply:
    """Ends all other sessions of the user."""
    return {"ended": mine().revoke_others()}


def logout_all() -> Reply:
    """Ends all sessions of the user."""
    session = mine()
    ended = session.revoke_all()
    session.logout()
    return {"ended": ended}


def incr() -> Reply:
    """Counts the way most applications do: read, think, write."""
    session = mine()
    views = session.get("views", 0) + 1
    pause()
    session["views"] = views
    return {"views": views}


def add() -> Reply:
    """Counts in a way that no parallel request can spoil."""
    pause()
    return {"views": mine().add("views", 1)}


def set_() -> Reply:
    """Sets one key."""
    name, value = options.key(request.args), request.args.get("v", "")
    session = mine()
    pause()
    session[name] = value
    return {"ok": True}


def rotate() -> Reply:
    """Asks for a new id."""
    return {"rotated": mine().rotate() == "rotated"}


def add_baseline(app: Flask) -> None:
    """Constant replies without any session layer, to measure against."""

    @app.get("/me")
    def nobody() -> Reply:
        return options.me(None, {})

    @app.post("/incr")
    def one() -> Reply:
        return {"views": 1}


def main() -> None:
    """Becomes gunicorn, in this process."""
    options.start("flask")
    settings = Path(__file__).parent / "gunicorn_settings.py"
    sys.argv = ["gunicorn", "--config", str(settings), "flask_app:create()"]
    runpy.run_module("gunicorn", run_name="__main__")


if __name__ == "__main__":
    main()
