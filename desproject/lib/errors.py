"""The error that users see.

Every error that may reach a user derives from DomainError; what raises it sits beside it, in the module of the
thing that fails. ``desproject.lib.api`` turns one into the API's error format.
"""

from collections.abc import Mapping


class DomainError(Exception):
    """Something the caller can act on. ``code`` is stable and upper case, ``status`` is the HTTP status."""

    code = "ERROR"
    status = 400

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        fields: Mapping[str, list[str]] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.fields = dict(fields or {})
        self.retry_after = retry_after


class NotFound(DomainError):
    """The thing does not exist, or belongs to somebody else: callers can't tell which."""

    code = "NOT_FOUND"
    status = 404


class InvalidInput(DomainError):
    """A value is outside what is allowed; ``fields`` names which and what is allowed."""

    code = "INVALID"
    status = 400


class Conflict(DomainError):
    """The request doesn't fit the state that the thing is in."""

    code = "CONFLICT"
    status = 409
