"""A package of plug-ins, for test_plugins."""
