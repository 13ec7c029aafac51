"""How gunicorn serves the apps on Flask and Django: its configuration file."""

import os

import options

_flags = options.inherited("gunicorn")

bind = f"127.0.0.1:{_flags.port}"
workers = _flags.workers
worker_class = "gthread"
threads = 16
# As `gunicorn --preload`: the app is made, and its store opened, before the workers are forked.
preload_app = "PRELOAD" in os.environ
backlog = 2048
graceful_timeout = 5
# Every request with a damaged header would be a warning.
loglevel = "error"
# Several servers of one user run at the same time in the tests; they would share this socket.
control_socket_disable = True
