from django.apps import AppConfig


class ProjectConfig(AppConfig):
    """The project as an app: it holds the commands that run the whole installation."""

    name = "desproject"

    def ready(self) -> None:
        from django_q.signals import post_spawn  # noqa: PLC0415  # settings are complete only now

        from connections import key_holders  # noqa: PLC0415
        from desproject import task_metrics  # noqa: PLC0415

        task_metrics.connect()
        post_spawn.connect(key_holders.start)
