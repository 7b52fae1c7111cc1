"""Two plug-ins of one slug, for test_plugins."""
