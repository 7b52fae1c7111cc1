"""Who is calling: access tokens in the Authorization header."""

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts import tokens
from accounts.models import Device, User


def device_of(claims: tokens.Claims) -> Device | None:
    """The token's device with its user, if both still accept the token. One query."""
    return (
        Device.objects.select_related("user")
        .filter(pk=claims.device_id, user_id=claims.user_id, revoked_at__isnull=True)
        .filter(user__is_active=True, user__is_deleted=False, user__token_version=claims.token_version)
        .first()
    )


class AccessTokenAuthentication(BaseAuthentication):
    """``Authorization: Bearer <access token>``. ``request.auth`` holds the token's claims."""

    def authenticate(self, request: Request) -> tuple[User, tokens.Claims] | None:
        scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            claims = tokens.read(token.strip(), "access")
        except tokens.TokenInvalid as error:
            raise AuthenticationFailed(error.message, code=error.code) from None
        device = device_of(claims)
        if device is None:
            raise AuthenticationFailed("the token is no longer accepted", code=tokens.TokenInvalid.code)
        return device.user, claims

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="api"'


class AccessTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema describes the tokens."""

    target_class = AccessTokenAuthentication
    name = "accessToken"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
