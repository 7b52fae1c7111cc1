"""Every operation of the published schema."""

from collections.abc import Iterator
from typing import Any

from drf_spectacular.generators import SchemaGenerator

SCHEMA: dict[str, Any] = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]


def _operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in SCHEMA["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


# Method, path, and what the schema says of it.
OPERATIONS = list(_operations())
