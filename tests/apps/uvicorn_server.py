"""How uvicorn serves the asynchronous apps."""

from __future__ import annotations

import contextlib
import socket

import uvicorn
from uvicorn.supervisors import Multiprocess

import options


def serve(name: str) -> None:
    """Serves an app, which its module makes with `create`, until the process is told to stop."""
    flags = options.start(name)
    config = uvicorn.Config(
        f"{name}_app:create",
        factory=True,
        host="127.0.0.1",
        port=flags.port,
        workers=flags.workers,
        log_level="error",
        access_log=False,
        timeout_graceful_shutdown=5,
    )
    if flags.workers == 1:
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run()
        return
    listener = config.bind_socket()
    # Without it a reply on a kept connection waits 40 ms for the client's delayed acknowledgement: the event loop sets
    # it only on sockets that name their protocol, which this one does not.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    Multiprocess(config, sockets=[listener]).run()
