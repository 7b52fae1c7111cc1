from django.apps import AppConfig
from django.db.backends.signals import connection_created


class ConnectionsConfig(AppConfig):
    name = "connections"

    def ready(self) -> None:
        # Settings are complete, and models can be imported, only now.
        from accounts import listeners  # noqa: PLC0415
        from connections import demand, key_destruction  # noqa: PLC0415
        from connections.database import limit_idle_transactions, measure_queries  # noqa: PLC0415

        listeners.on_deleted(key_destruction.wake_streams)
        demand.on_beat(key_destruction.destroy_due_keys)
        connection_created.connect(limit_idle_transactions)
        connection_created.connect(measure_queries)
