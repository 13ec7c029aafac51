"""A small Django project, set up by importing this: its settings, and two users in a database in memory."""

from __future__ import annotations

from typing import Any

import django
from asgiref.sync import sync_to_async
from coatroom.testing import ManualClock
from conftest import TEST_KEYS
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command

CLOCK = ManualClock()

SESSION_ONLY = ["coatroom.django.SessionMiddleware"]
MIDDLEWARE = [
    *SESSION_ONLY,
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]


def asynchronous(holder: Any, name: str, synchronous: str) -> Any:
    """A function of Django's for asynchronous code, or what code does without before there is one (Django 4.2)."""
    return getattr(holder, name, None) or sync_to_async(getattr(holder, synchronous))


def coatroom_setting(**more: Any) -> dict[str, Any]:
    """The setting COATROOM with a store of its own."""
    return {"store": "memory", "keys": TEST_KEYS, "clock": CLOCK, **more}


def set_up() -> None:
    """Configures Django."""
    settings.configure(
        ALLOWED_HOSTS=["*"],
        AUTHENTICATION_BACKENDS=["django.contrib.auth.backends.ModelBackend"],
        COATROOM=coatroom_setting(),
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "file:tests?mode=memory&cache=shared"}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "django.contrib.messages",
            "django.contrib.sessions",
            "coatroom.django",
        ],
        LOGGING_CONFIG=None,
        MESSAGE_STORAGE="django.contrib.messages.storage.session.SessionStorage",
        MIDDLEWARE=MIDDLEWARE,
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        ROOT_URLCONF=(),
        SECRET_KEY="of the tests",
        SESSION_ENGINE="coatroom.django.sessions",
        USE_TZ=True,
    )
    django.setup()
    call_command("migrate", verbosity=0)
    for name in ("ada", "bob"):
        get_user_model().objects.create_user(name, password=f"{name}'s")


set_up()
User = get_user_model()
