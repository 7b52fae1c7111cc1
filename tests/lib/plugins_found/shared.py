"""Code that plug-ins share: none itself."""

SHARED = 1
