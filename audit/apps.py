from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "audit"

    def ready(self) -> None:
        from accounts import journal  # noqa: PLC0415  # models can be imported only now
        from audit.record import record  # noqa: PLC0415

        journal.use(record)
