"""See the package."""

import time

from django.apps import AppConfig


class UnfencedConfig(AppConfig):
    """Deadlines never pass, and every epoch may commit."""

    name = "tests.system.unfenced"

    def ready(self) -> None:
        from connections import gateways  # noqa: PLC0415  # models can be imported only now
        from trading.engine import committer  # noqa: PLC0415

        def endless(deadline: gateways.SendDeadline, monotonic: float) -> None:
            object.__setattr__(deadline, "monotonic", time.monotonic() + 5)

        gateways.SendDeadline.__init__ = endless  # type: ignore[method-assign,assignment]
        committer._fenced = lambda statements, sets: dict
