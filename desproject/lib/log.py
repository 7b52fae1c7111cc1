"""Structured logs on stderr: ts, level, msg, module, process, fields; secrets are scrubbed before they are written."""

import logging
import logging.config
import re
from collections.abc import Mapping, MutableMapping
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

import structlog

from desproject.lib.metrics.registry import METRICS

_NAMES = r"api_?-?key|private_?-?key|listen_?-?key|secret|passw(?:or)?d|token|signature"
_SECRET_NAMES = re.compile(_NAMES + r"|authorization|master|otp|cookie", re.IGNORECASE)
_SAFE_NAMES = frozenset({"api_key_masked", "token_version", "key_version"})
_SECRET_TEXT = re.compile(
    # name=value in addresses, "name": "value" in JSON and reprs, Name: value in headers
    rf"""((?:{_NAMES})["']?\s?[=:]\s?["']?)[^&\s"',;}})]+"""
    r"|((?:Bearer|Basic) )[^\s\"']+"
    r"|(ENC\[v\d+\]:)[^\s\"']+"
    r"|(://[^/\s:@]*:)[^/\s@]+(?=@)",
    re.IGNORECASE,
)
REMOVED = "[removed]"
# Types that can't hold a credential and stay what they are.
_HARMLESS = (bool, int, float, Decimal, UUID, date, timedelta)


def scrub(value: Any) -> Any:
    """The value without anything that looks like a credential, however deep. Objects become their scrubbed text."""
    if value is None or isinstance(value, _HARMLESS):
        return value
    if isinstance(value, Mapping):
        return {key: REMOVED if _is_secret(str(key)) and item else scrub(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [scrub(item) for item in value]
    return _SECRET_TEXT.sub(lambda found: next(filter(None, found.groups())) + REMOVED, str(value))


def configure_logging(level: str, style: str, process: str) -> None:
    """Sends structlog's and the standard library's records through one chain to stderr; ``process`` marks each."""
    shared: list[Any] = [
        _Mark(process),
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
        _scrub_event,
        structlog.processors.EventRenamer("msg"),
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer(default=str)
        if style == "json"
        else structlog.dev.ConsoleRenderer(event_key="msg", colors=False)
    )
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.add_logger_name, *shared,
                    structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": [structlog.stdlib.add_logger_name, *shared],
        "processors": [_name_module, structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    }
    logging.config.dictConfig({
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"des": formatter},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "des"},
            "errors": {"()": ErrorCounter, "level": "ERROR"},
        },
        "root": {"handlers": ["stderr", "errors"], "level": level},
        "loggers": {
            "django-q": {"handlers": ["stderr", "errors"], "level": "WARNING", "propagate": False},
            "daphne": {"level": "WARNING"},
            "aiohttp.access": {"level": "WARNING"},
        },
    })


class ErrorCounter(logging.Handler):
    """Counts errors by kind: the event's name, or the logger's where a library speaks in sentences."""

    def emit(self, record: logging.LogRecord) -> None:
        METRICS.count_error(str(record.msg.get("msg")) if isinstance(record.msg, dict) else record.name)


class _Mark:
    """Adds which of the installation's processes speaks: they may share one stderr."""

    def __init__(self, process: str) -> None:
        self._process = process

    def __call__(self, _: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault("process", self._process)
        return event


@lru_cache(1000)
def _is_secret(name: str) -> bool:
    return name not in _SAFE_NAMES and _SECRET_NAMES.search(name) is not None


def _scrub_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {
        key: value if key.startswith("_") else REMOVED if _is_secret(key) and value else scrub(value)
        for key, value in event.items()
    }


def _name_module(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event["module"] = event.pop("logger", "")
    return event
