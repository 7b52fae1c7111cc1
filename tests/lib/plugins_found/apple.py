"""A plug-in for test_plugins."""


class Plugin:
    slug = "apple"
