"""The conformance app on Starlette, served by uvicorn."""

from __future__ import annotations

import asyncio
from typing import cast

import coatroom
from coatroom.asgi import CoatroomMiddleware
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import options
import uvicorn_server


def create() -> Starlette:
    """The app as its flags ask for it."""
    sessions = options.inherited("starlette").sessions()
    routes = baseline() if sessions is None else contract()
    app = Starlette(routes=routes)
    app.add_exception_handler(options.BadParameterError, refused)
    if sessions is not None:
        app.add_middleware(CoatroomMiddleware, sessions=sessions)
    return app


def refused(_request: Request, error: Exception) -> JSONResponse:
    """Answers 400 and says why."""
    return JSONResponse({"error": str(error)}, status_code=400)


def mine(request: Request) -> coatroom.Session:
    """The session of this request, with its own methods."""
    return cast("coatroom.Session", request.session)


async def pause(request: Request) -> None:
    """Sleeps as long as the request asks for, and leaves the loop to others."""
    seconds = options.pause_seconds(request.query_params)
    if seconds:
        await asyncio.sleep(seconds)


def contract() -> list[Route]:
    """The routes that all conformance apps share."""
    writing = (login, logout, incr, add, set_, rotate)
    return [
        Route("/me", me, methods=["GET"]),
        Route("/sessions", sessions, methods=["GET"]),
        Route("/logout-others", logout_others, methods=["POST"]),
        Route("/logout-all", logout_all, methods=["POST"]),
        *(Route("/" + view.__name__.rstrip("_"), view, methods=["POST"]) for view in writing),
    ]


async def me(request: Request) -> JSONResponse:
    """Who is logged in, and what the session holds."""
    await pause(request)
    session = mine(request)
    return JSONResponse(options.me(session.principal, session))


async def login(request: Request) -> JSONResponse:
    """Logs in as anyone."""
    mine(request).login(options.text(request.query_params, "user"))
    return JSONResponse({"ok": True})


async def logout(request: Request) -> JSONResponse:
    """Ends the session, if there is one."""
    mine(request).logout()
    return JSONResponse({"ok": True})


async def sessions(request: Request) -> JSONResponse:
    """Where the same user is logged in."""
    return JSONResponse(options.devices(await asyncio.to_thread(mine(request).devices)))


async def logout_others(request: Request) -> JSONResponse:
    """Ends all other sessions of the user."""
    return JSONResponse({"ended": await asyncio.to_thread(mine(request).revoke_others)})


async def logout_all(request: Request) -> JSONResponse:
    """Ends all sessions of the user."""
    session = mine(request)
    ended = await asyncio.to_thread(session.revoke_all)
    session.logout()
    return JSONResponse({"ended": ended})


async def incr(request: Request) -> JSONResponse:
    """Counts the way most applications do: read, think, write."""
    session = mine(request)
    views = session.get("views", 0) + 1
    await pause(request)
    session["views"] = views
    return JSONResponse({"views": views})


async def add(request: Request) -> JSONResponse:
    """Counts in a way that no parallel request can spoil."""
    await pause(request)
    return JSONResponse({"views": mine(request).add("views", 1)})


async def set_(request: Request) -> JSONResponse:
    """Sets one key."""
    name, value = options.key(request.query_params), request.query_params.get("v", "")
    session = mine(request)
    await pause(request)
    session[name] = value
    return JSONResponse({"ok": True})


async def rotate(request: Request) -> JSONResponse:
    """Asks for a new id."""
    return JSONResponse({"rotated": mine(request).rotate() == "rotated"})


def baseline() -> list[Route]:
    """Constant replies without any session layer, to measure against."""

    async def nobody(_request: Request) -> JSONResponse:
        return JSONResponse(options.me(None, {}))

    async def one(_request: Request) -> JSONResponse:
        return JSONResponse({"views": 1})

    return [Route("/me", nobody, methods=["GET"]), Route("/incr", one, methods=["POST"])]


if __name__ == "__main__":
    uvicorn_server.serve("starlette")
