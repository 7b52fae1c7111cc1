"""The settings of DES with the sabotage installed."""

from desproject import settings

globals().update({name: getattr(settings, name) for name in dir(settings) if name.isupper()})
INSTALLED_APPS = [*settings.INSTALLED_APPS, "tests.system.unfenced"]
