"""The bases of all API views. TenantView opens the caller's tenant scope around the whole request: it fails closed."""

import contextlib
from typing import Any, cast

from django.http import HttpRequest, HttpResponseBase
from drf_spectacular.utils import OpenApiResponse
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.viewsets import ViewSetMixin

from accounts.models import User
from accounts.tenancy import tenant_scope
from desproject.lib.api import ErrorAnswer, refuse_large

# What an operation may answer besides its success, for the schema.
REFUSED = {
    400: OpenApiResponse(ErrorAnswer, "A value or the body can't be accepted; `fields` names which."),
    401: OpenApiResponse(ErrorAnswer, "No valid access token."),
}
FORBIDDEN = {403: OpenApiResponse(ErrorAnswer, "The caller's role doesn't allow it.")}
MISSING = {404: OpenApiResponse(ErrorAnswer, "There is none, or it is somebody else's.")}
TOO_MANY = {429: OpenApiResponse(ErrorAnswer, "Too many tries; `retry_after` seconds are to be waited.")}
CONFLICT = {409: OpenApiResponse(ErrorAnswer, "The request doesn't fit the present state.")}


class ApiView(GenericAPIView[Any]):
    """A view that refuses bodies over the limit. Anonymous views derive from this one."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        refuse_large(request._request)
        super().initial(request, *args, **kwargs)


class TenantView(ApiView):
    """A view that sees the rows of the logged-in user and nobody else's."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        with contextlib.ExitStack() as self._scope:
            return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self._scope.enter_context(tenant_scope(self.tenant.pk))

    @property
    def tenant(self) -> User:
        """The logged-in user."""
        # The permission class let only users in.
        return cast(User, self.request.user)


class TenantViewSet(ViewSetMixin, TenantView):
    """One resource's operations on the caller's own rows, found by UUID."""

    lookup_field = "id"
    lookup_url_kwarg = "id"
    lookup_value_converter = "uuid"
