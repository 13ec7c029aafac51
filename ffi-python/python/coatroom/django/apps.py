"""The Django app: its checks and its management command."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks

from coatroom.django.checks import check_deployment, check_settings


class CoatroomConfig(AppConfig):
    """``coatroom.django`` in ``INSTALLED_APPS``."""

    name = "coatroom.django"
    label = "coatroom"
    verbose_name = "Coatroom"

    def ready(self) -> None:
        checks.register(check_settings, checks.Tags.security)
        checks.register(check_deployment, checks.Tags.security, deploy=True)
