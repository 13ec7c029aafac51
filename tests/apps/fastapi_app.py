"""The conformance app on FastAPI, served by uvicorn."""

from __future__ import annotations

import asyncio
from typing import Any

from coatroom.fastapi import CoatroomMiddleware, CurrentSession
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse

import options
import uvicorn_server

Reply = dict[str, Any]
contract = APIRouter()
baseline = APIRouter()


def create() -> FastAPI:
    """The app as its flags ask for it."""
    sessions = options.inherited("fastapi").sessions()
    app = FastAPI(openapi_url=None)
    app.include_router(baseline if sessions is None else contract)
    app.add_exception_handler(options.BadParameterError, refused)
    if sessions is not None:
        app.add_middleware(CoatroomMiddleware, sessions=sessions)
    return app


def refused(_request: Request, error: Exception) -> JSONResponse:
    """Answers 400 and says why."""
    return JSONResponse({"error": str(error)}, status_code=400)


async def pause(request: Request) -> None:
    """Sleeps as long as the request asks for, and leaves the loop to others."""
    seconds = options.pause_seconds(request.query_params)
    if seconds:
        await asyncio.sleep(seconds)


@contract.get("/me")
async def me(request: Request, session: CurrentSession) -> Reply:
    """Who is logged in, and what the session holds."""
    await pause(request)
    return options.me(session.principal, session)


@contract.post("/login")
async def login(request: Request, session: CurrentSession) -> Reply:
    """Logs in as anyone."""
    session.login(options.text(request.query_params, "user"))
    return {"ok": True}


@contract.post("/logout")
async def logout(session: CurrentSession) -> Reply:
    """Ends the session, if there is one."""
    session.logout()
    return {"ok": True}


@contract.get("/sessions")
def sessions(session: CurrentSession) -> Reply:
    """Where the same user is logged in. FastAPI calls what is not asynchronous on a thread."""
    return options.devices(session.devices())


@contract.post("/logout-others")
def logout_others(session: CurrentSession) -> Reply:
    """Ends all other sessions of the user."""
    return {"ended": session.revoke_others()}


@contract.post("/logout-all")
def logout_all(session: CurrentSession) -> Reply:
    """Ends all sessions of the user."""
    ended = session.revoke_all()
    session.logout()
    return {"ended": ended}


@contract.post("/incr")
async def incr(request: Request, session: CurrentSession) -> Reply:
    """Counts the way most applications do: read, think, write."""
    views = session.get("views", 0) + 1
    await pause(request)
    session["views"] = views
    return {"views": views}


@contract.post("/add")
async def add(request: Request, session: CurrentSession) -> Reply:
    """Counts in a way that no parallel request can spoil."""
    await pause(request)
    return {"views": session.add("views", 1)}


@contract.post("/set")
async def set_(request: Request, session: CurrentSession) -> Reply:
    """Sets one key."""
    name, value = options.key(request.query_params), request.query_params.get("v", "")
    await pause(request)
    session[name] = value
    return {"ok": True}


@contract.post("/rotate")
async def rotate(session: CurrentSession) -> Reply:
    """Asks for a new id."""
    return {"rotated": session.rotate() == "rotated"}


@baseline.get("/me")
async def nobody() -> Reply:
    """A constant reply without any session layer, to measure against."""
    return options.me(None, {})


@baseline.post("/incr")
async def one() -> Reply:
    """Another."""
    return {"views": 1}


if __name__ == "__main__":
    uvicorn_server.serve("fastapi")
