"""``manage.py clearsessions``, also without ``django.contrib.sessions``: removes what is over for good."""

from django.contrib.sessions.management.commands.clearsessions import Command

__all__ = ["Command"]
