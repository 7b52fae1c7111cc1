"""The API's conventions: one error format, amounts as plain decimals, lists by cursor, bounded JSON bodies.

Every error is ``{"error": {"code", "message", "fields"?, "retry_after"?}}``; ``code`` is stable, the message is for
people.
"""

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import IO, Any

import structlog
from django.conf import settings
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.handlers.asgi import ASGIRequest
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.utils import extend_schema_field
from rest_framework import exceptions, serializers
from rest_framework.pagination import CursorPagination
from rest_framework.parsers import JSONParser
from rest_framework.response import Response

from desproject.lib.errors import DomainError, InvalidInput, NotFound
from desproject.lib.money import NotMoney, money, plain

log = structlog.get_logger(__name__)

MAX_BODY_BYTES: int = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
_MAX_DEPTH = 20
_MAX_DIGITS = 40
_PLAIN_DECIMAL = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

_CODES: dict[type[Exception], str] = {
    exceptions.ParseError: "MALFORMED_JSON",
    exceptions.AuthenticationFailed: "UNAUTHENTICATED",
    exceptions.NotAuthenticated: "UNAUTHENTICATED",
    exceptions.PermissionDenied: "FORBIDDEN",
    exceptions.NotFound: "NOT_FOUND",
    exceptions.MethodNotAllowed: "METHOD_NOT_ALLOWED",
    exceptions.NotAcceptable: "NOT_ACCEPTABLE",
    exceptions.UnsupportedMediaType: "UNSUPPORTED_MEDIA_TYPE",
    exceptions.Throttled: "RATE_LIMITED",
}


class BodyTooLarge(DomainError):
    """The request's body is over the limit."""

    code = "BODY_TOO_LARGE"
    status = 413


class ServiceUnavailable(DomainError):
    """Something that the answer needs is away; trying again later may work."""

    code = "UNAVAILABLE"
    status = 503


class ErrorDetail(serializers.Serializer[Any]):
    """What every error answer holds, for the schema."""

    code = serializers.CharField()
    message = serializers.CharField()
    fields = serializers.DictField(  # type: ignore[assignment]  # the format's own name
        child=serializers.ListField(child=serializers.CharField()), required=False
    )
    retry_after = serializers.IntegerField(required=False)


class ErrorAnswer(serializers.Serializer[Any]):
    """The body of every error answer, for the schema."""

    error = ErrorDetail()


@extend_schema_field({
    "type": "string", "format": "decimal", "pattern": f"^{_PLAIN_DECIMAL.pattern}$", "example": "0.015",
})
class AmountField(serializers.Field[Decimal, Any, str, Any]):
    """An exact amount: a string of a plain decimal. Whole JSON numbers are taken too, broken ones aren't exact.

    ``positive`` refuses zero and what is below it.
    """

    default_error_messages = {  # noqa: RUF012  # DRF's own declaration
        "invalid": "Must be a plain decimal number in a string, like \"0.015\".",
        "positive": "Must be above 0.",
    }

    def __init__(self, *, positive: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.positive = positive

    def to_internal_value(self, data: Any) -> Decimal:
        if isinstance(data, bool) or not isinstance(data, str | int):
            self.fail("invalid")
        if isinstance(data, str) and not _PLAIN_DECIMAL.fullmatch(data):
            self.fail("invalid")
        try:
            amount = money(data)
        except NotMoney as error:
            raise serializers.ValidationError(f"Not an amount: {error}.") from error
        if self.positive and amount <= 0:
            self.fail("positive")
        return amount

    def to_representation(self, value: Decimal) -> str:
        return plain(value)


class NewestFirst(CursorPagination):
    """Lists answer newest first; ``next`` and ``previous`` are links, ``limit`` is the page's size (1 to 200)."""

    ordering = ("-created_at", "-pk")
    page_size_query_param = "limit"
    max_page_size = 200

    def paginate_queryset(self, *args: Any, **kwargs: Any) -> list[Any] | None:
        try:
            return super().paginate_queryset(*args, **kwargs)
        except (exceptions.NotFound, ValidationError) as error:
            # No base64, or of something that is no place in this list.
            raise serializers.ValidationError({self.cursor_query_param: ["This is no cursor of ours."]}) from error


class JsonBody(JSONParser):
    """JSON that is bounded in bytes and depth, and holds only text that every database can store."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        raw = stream.read(MAX_BODY_BYTES + 1)
        if len(raw) > MAX_BODY_BYTES:
            raise BodyTooLarge(f"a request may hold at most {MAX_BODY_BYTES} bytes")
        try:
            body = json.loads(raw.decode(), parse_int=_whole_number)
        except (ValueError, RecursionError) as error:
            raise exceptions.ParseError("the body is no valid JSON") from error
        require_storable(body)
        return body


def _whole_number(digits: str) -> int | float:
    """Past all bounds it is as much as infinite: which field it stands in, is found out later."""
    return int(digits) if len(digits) <= _MAX_DIGITS else math.inf


def require_storable(value: Any, path: str = "", depth: int = 0) -> None:
    """Raises InvalidInput, naming the field, for what some database can't store, and for what is nested too deep."""
    if depth > _MAX_DEPTH:
        raise _not_storable(path.partition(".")[0], f"nested deeper than {_MAX_DEPTH}")
    if isinstance(value, str):
        if _UNSTORABLE.search(value):
            raise _not_storable(path, "text can't hold a NUL, nor half a surrogate pair")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _not_storable(path, f"a number is finite, and of at most {_MAX_DIGITS} digits")
    elif isinstance(value, dict):
        for key, item in value.items():
            require_storable(key, path, depth)
            require_storable(item, f"{path}.{key}" if path else key, depth + 1)
    elif isinstance(value, list):
        for item in value:
            require_storable(item, path, depth + 1)


def _not_storable(path: str, reason: str) -> InvalidInput:
    return InvalidInput(reason, fields={path or "non_field_errors": [reason]})


def error_response(error: Exception, context: Mapping[str, Any]) -> Response:
    """Any error as the API's error format; what is not foreseen is logged and told without details."""
    domain_error = as_domain_error(error)
    if domain_error.status >= 500:
        view = type(context.get("view")).__name__
        log.error("request_failed", view=view, code=domain_error.code, exc_info=error)
    headers = _headers(error, domain_error)
    return Response(error_body(domain_error), status=domain_error.status, headers=headers)


def error_body(error: DomainError) -> dict[str, Any]:
    """The error as the API shows it."""
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.fields:
        body["fields"] = error.fields
    if error.retry_after is not None:
        body["retry_after"] = math.ceil(error.retry_after)
    return {"error": body}


def as_domain_error(error: Exception) -> DomainError:
    """The error that users see for this exception."""
    if isinstance(error, DomainError):
        return error
    if isinstance(error, exceptions.ValidationError):
        return _invalid(error.detail)
    if isinstance(error, exceptions.APIException):
        return _from_rest_framework(error)
    if isinstance(error, Http404):
        return NotFound("not found")
    if isinstance(error, PermissionDenied):
        return _with_status("you may not do this", "FORBIDDEN", 403)
    if isinstance(error, ValidationError):
        return InvalidInput("; ".join(error.messages))
    if isinstance(error, OperationalError | InterfaceError):
        return ServiceUnavailable("the database is away, try again shortly", retry_after=1)
    return _with_status("something went wrong on our side", "INTERNAL", 500)


def _from_rest_framework(error: exceptions.APIException) -> DomainError:
    code = _CODES.get(type(error)) or str(error.default_code).upper()
    own_code = getattr(error.detail, "code", error.default_code)
    if own_code != error.default_code:
        code = str(own_code).upper()
    found = _with_status(str(error.detail), code, error.status_code)
    found.retry_after = getattr(error, "wait", None)
    return found


def _with_status(message: str, code: str, status: int) -> DomainError:
    error = DomainError(message, code=code)
    error.status = status
    return error


def _invalid(detail: Any) -> InvalidInput:
    fields: dict[str, list[str]] = {}
    _flatten(detail, "", fields)
    general = fields.get("non_field_errors")
    return InvalidInput(general[0] if general and len(fields) == 1 else "some values can't be accepted", fields=fields)


def _flatten(detail: Any, path: str, fields: dict[str, list[str]]) -> None:
    """DRF's nested details as dotted field name → reasons."""
    if isinstance(detail, Mapping):
        for name, item in detail.items():
            _flatten(item, f"{path}.{name}" if path else str(name), fields)
    elif isinstance(detail, Sequence) and not isinstance(detail, str):
        for item in detail:
            _flatten(item, path, fields)
    else:
        fields.setdefault(path or "non_field_errors", []).append(str(detail))


def _headers(error: Exception, shown: DomainError) -> dict[str, str]:
    headers = {}
    if shown.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(shown.retry_after))
    if (challenge := getattr(error, "auth_header", None)) is not None:
        headers["WWW-Authenticate"] = challenge
    return headers


def refuse_large(request: HttpRequest) -> None:
    """Raises BodyTooLarge for a body over the limit, before any of it is read.

    A body that came in chunks has no announced length, and would pass for none: it is measured.
    """
    if not request.META.get("CONTENT_LENGTH") and isinstance(request, ASGIRequest):
        request.META["CONTENT_LENGTH"] = str(_measure(request._stream))
    length = request.META.get("CONTENT_LENGTH") or "0"
    if length.isascii() and length.isdigit() and int(length[:20]) > MAX_BODY_BYTES:
        raise BodyTooLarge(f"a request may hold at most {MAX_BODY_BYTES} bytes")


def _measure(body: IO[bytes]) -> int:
    length = body.seek(0, os.SEEK_END)
    body.seek(0)
    return length


# Django's own error pages: JSON under /api/, pages for people elsewhere.


def _json_error(request: HttpRequest, message: str, code: str, status: int) -> HttpResponse | None:
    if not request.path.startswith("/api/"):
        return None
    return JsonResponse(error_body(DomainError(message, code=code)), status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400."""
    answer = _json_error(request, "the request can't be understood", "BAD_REQUEST", 400)
    return answer or defaults.bad_request(request, exception)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler403."""
    answer = _json_error(request, "you may not do this", "FORBIDDEN", 403)
    return answer or defaults.permission_denied(request, exception)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler404."""
    return _json_error(request, "not found", "NOT_FOUND", 404) or defaults.page_not_found(request, exception)


@csrf_exempt  # its answer is the same whoever asks, and a page about cookies isn't
def no_such_path(request: HttpRequest, rest: str = "") -> HttpResponse:
    """Answers paths under /api/ that don't exist."""
    return JsonResponse(error_body(NotFound("there is no such path")), status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500."""
    answer = _json_error(request, "something went wrong on our side", "INTERNAL", 500)
    return answer or defaults.server_error(request)
