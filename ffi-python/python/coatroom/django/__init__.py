"""Sessions for Django: ``coatroom.django.SessionMiddleware`` takes the place of Django's own, under WSGI and ASGI.

``request.session`` keeps the interface that Django's sessions have, and is a :class:`coatroom.Session` besides. Logging
in and out by ``django.contrib.auth`` logs in and out here. The setting is ``COATROOM``: see ``docs/django.md``.
"""

from coatroom._answer import Answer
from coatroom._views import in_turn, out_of_turn, readonly, skip
from coatroom.django.conf import get_sessions
from coatroom.django.middleware import SessionMiddleware
from coatroom.django.session import DjangoSession
from coatroom.django.tokens import require_token, token_urls

__all__ = [
    "Answer",
    "DjangoSession",
    "SessionMiddleware",
    "get_sessions",
    "in_turn",
    "out_of_turn",
    "readonly",
    "require_token",
    "skip",
    "token_urls",
]
