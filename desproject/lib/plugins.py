"""Finding plug-ins: each module of a package that offers the wanted name is one."""

import importlib
import pkgutil
from types import ModuleType
from typing import Any


class DuplicateSlug(Exception):
    """Two plug-ins of one package claim the same slug."""


def discover(package: ModuleType, attribute: str) -> dict[str, Any]:
    """Imports every module of ``package`` and maps the slug of its ``attribute`` to that object.

    Modules without the attribute are shared code and are left out. The order is by slug, so that it never
    depends on the file system.
    """
    found: dict[str, Any] = {}
    for info in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        plugin = getattr(importlib.import_module(info.name), attribute, None)
        if plugin is None:
            continue
        if plugin.slug in found:
            raise DuplicateSlug(f"{info.name}: slug {plugin.slug!r} is already taken")
        found[plugin.slug] = plugin
    return dict(sorted(found.items()))
