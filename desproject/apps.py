from django.apps import AppConfig


class ProjectConfig(AppConfig):
    """The project as an app: it holds the commands that run the whole installation."""

    name = "desproject"
