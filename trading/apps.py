from django.apps import AppConfig


class TradingConfig(AppConfig):
    name = "trading"

    def ready(self) -> None:
        from trading import seams  # noqa: PLC0415  # models can be imported only now

        seams.connect()
