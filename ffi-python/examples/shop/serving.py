"""How gunicorn serves the shop: its configuration."""

import os

bind = f"127.0.0.1:{os.environ['SHOP_PORT']}"
workers = 2
worker_class = "gthread"
threads = 4
preload_app = True
graceful_timeout = 3
loglevel = "warning"
# One shop may run beside other gunicorn servers of the same user; they would share this socket.
control_socket_disable = True
