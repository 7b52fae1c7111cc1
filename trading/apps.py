from django.apps import AppConfig
from django.db.models.signals import post_migrate


class TradingConfig(AppConfig):
    name = "trading"

    def ready(self) -> None:
        from trading import schedules, seams  # noqa: PLC0415  # models can be imported only now

        seams.connect()
        post_migrate.connect(schedules.install, sender=self)
