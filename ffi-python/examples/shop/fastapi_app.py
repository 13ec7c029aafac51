"""The shop on FastAPI."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qsl

from coatroom.fastapi import CoatroomMiddleware, CurrentSession
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from fastapi.staticfiles import StaticFiles

from . import pages


def create_app() -> FastAPI:
    """The application."""
    app = FastAPI(openapi_url=None)
    app.add_middleware(CoatroomMiddleware, sessions=pages.make_sessions(), skip=["/static/"])
    # The panel tells what was committed, so it stands outside: what is added last is outermost.
    app.add_middleware(Panel)
    app.mount("/static", StaticFiles(directory=pages.HERE / "static"))
    app.add_api_route("/{path:path}", answer, methods=["GET", "POST"])
    return app


async def answer(request: Request, session: CurrentSession) -> StreamingResponse:
    """The response of the shop to this request."""
    body = (await request.body()).decode()
    visit = pages.Visit(
        session=session,
        method=request.method,
        path=request.url.path,
        form=dict(parse_qsl(body)),
        cookies=request.cookies,
        agent=request.headers.get("User-Agent", ""),
        address=request.client.host if request.client else "",
    )
    # Some of it asks the store, or reads a file.
    reply = await asyncio.to_thread(pages.answer, visit)
    request.scope["shop"] = (visit, reply)
    response = StreamingResponse(reply.pieces(), reply.status, reply.headers)
    if reply.token:
        response.set_cookie(pages.NOTE_COOKIE, reply.token, max_age=pages.NOTE_SECONDS, httponly=True, samesite="lax")
    return response


class Panel:
    """A middleware that runs after Coatroom committed, before anything is sent."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def watched(message: Any) -> None:
            if message["type"] == "http.response.start" and "shop" in scope:
                set_cookies = [value.decode() for name, value in message["headers"] if name == b"set-cookie"]
                visit, reply = scope["shop"]
                await asyncio.to_thread(pages.committed, visit, reply, message["status"], set_cookies)
            await send(message)

        await self.app(scope, receive, watched)
