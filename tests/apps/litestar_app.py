"""The conformance app on Litestar, served by uvicorn."""

from __future__ import annotations

import asyncio
from typing import Any

import litestar
from coatroom.litestar import CoatroomPlugin, session_of
from litestar import Litestar, get, post

import options
import uvicorn_server

Reply = dict[str, Any]
Request = litestar.Request[Any, Any, Any]


def create() -> Litestar:
    """The app as its flags ask for it."""
    sessions = options.inherited("litestar").sessions()
    return Litestar(
        BASELINE if sessions is None else CONTRACT,
        plugins=[] if sessions is None else [CoatroomPlugin(sessions)],
        exception_handlers={options.BadParameterError: refused},
        openapi_config=None,
        logging_config=None,
    )


def refused(_request: Request, error: Exception) -> litestar.Response[Reply]:
    """Answers 400 and says why."""
    return litestar.Response({"error": str(error)}, status_code=400)


async def pause(request: Request) -> None:
    """Sleeps as long as the request asks for, and leaves the loop to others."""
    seconds = options.pause_seconds(request.query_params)
    if seconds:
        await asyncio.sleep(seconds)


@get("/me")
async def me(request: Request) -> Reply:
    """Who is logged in, and what the session holds."""
    await pause(request)
    session = session_of(request)
    return options.me(session.principal, session)


@post("/login", status_code=200)
async def login(request: Request) -> Reply:
    """Logs in as anyone."""
    session_of(request).login(options.text(request.query_params, "user"))
    return {"ok": True}


@post("/logout", status_code=200)
async def logout(request: Request) -> Reply:
    """Ends the session, if there is one, by Litestar's own call."""
    request.clear_session()
    return {"ok": True}


@get("/sessions", sync_to_thread=True)
def sessions(request: Request) -> Reply:
    """Where the same user is logged in."""
    return options.devices(session_of(request).devices())


@post("/logout-others", status_code=200, sync_to_thread=True)
def logout_others(request: Request) -> Reply:
    """Ends all other sessions of the user."""
    return {"ended": session_of(request).revoke_others()}


@post("/logout-all", status_code=200, sync_to_thread=True)
def logout_all(request: Request) -> Reply:
    """Ends all sessions of the user."""
    ended = session_of(request).revoke_all()
    request.clear_session()
    return {"ended": ended}


@post("/incr", status_code=200)
async def incr(request: Request) -> Reply:
    """Counts the way most applications do: read, think, write."""
    session = session_of(request)
    views = session.get("views", 0) + 1
    await pause(request)
    session["views"] = views
    return {"views": views}


@post("/add", status_code=200)
async def add(request: Request) -> Reply:
    """Counts in a way that no parallel request can spoil."""
    await pause(request)
    return {"views": session_of(request).add("views", 1)}


@post("/set", status_code=200)
async def set_(request: Request) -> Reply:
    """Sets one key."""
    name, value = options.key(request.query_params), request.query_params.get("v", "")
    await pause(request)
    request.session[name] = value
    return {"ok": True}


@post("/rotate", status_code=200)
async def rotate(request: Request) -> Reply:
    """Asks for a new id."""
    return {"rotated": session_of(request).rotate() == "rotated"}


@get("/me")
async def nobody() -> Reply:
    """A constant reply without any session layer, to measure against."""
    return options.me(None, {})


@post("/incr", status_code=200)
async def one() -> Reply:
    """Another."""
    return {"views": 1}


#: The routes that all conformance apps share.
CONTRACT = [me, login, logout, sessions, logout_others, logout_all, incr, add, set_, rotate]
BASELINE = [nobody, one]


if __name__ == "__main__":
    uvicorn_server.serve("litestar")
