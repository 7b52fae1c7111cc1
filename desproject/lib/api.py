"""The API's conventions: one error format, lists by cursor."""

from rest_framework.pagination import CursorPagination
from rest_framework.response import Response
from rest_framework.views import exception_handler


class NewestFirst(CursorPagination):
    """Lists answer newest first; ``next`` and ``previous`` are links."""

    ordering = "-created_at"


def error_response(error: Exception, context: dict[str, object]) -> Response | None:
    """Any error as the API's error format."""
    return exception_handler(error, context)
