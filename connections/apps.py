from django.apps import AppConfig
from django.db.backends.signals import connection_created


class ConnectionsConfig(AppConfig):
    name = "connections"

    def ready(self) -> None:
        from connections.database import limit_idle_transactions  # noqa: PLC0415  # settings are complete only now

        connection_created.connect(limit_idle_transactions)
