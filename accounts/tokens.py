"""Access and refresh tokens: JWT, HS256 and nothing else (ACC-6)."""

import uuid
from datetime import datetime, timedelta
from typing import Any, Literal, cast
from uuid import UUID

import msgspec
from django.conf import settings
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenBackendError, TokenBackendExpiredToken

from accounts.models import Device, User
from accounts.signing import signing_key
from desproject.lib.errors import DomainError

TokenType = Literal["access", "refresh"]
_LONGEST = 4096


class TokenInvalid(DomainError):
    """No token of ours, of another kind, or no longer accepted: log in again."""

    code = "TOKEN_INVALID"
    status = 401


class TokenExpired(TokenInvalid):
    """Too old: refresh it, or log in again."""

    code = "TOKEN_EXPIRED"


class Claims(msgspec.Struct, frozen=True):
    """What a token says. ``exp`` and ``iat`` are epoch seconds."""

    user_id: UUID
    email: str
    device_id: UUID
    exp: int
    iat: int
    jti: UUID
    token_version: int
    type: TokenType


def _backend() -> TokenBackend:
    return TokenBackend("HS256", signing_key())


def require_key() -> None:
    """Before a transaction that issues tokens: raises SecretUnreadable, and its audit row isn't rolled back."""
    signing_key()


def lifetime(kind: TokenType) -> timedelta:
    """How long a token of this kind is accepted."""
    found: timedelta = settings.ACCESS_TOKEN_LIFETIME if kind == "access" else settings.REFRESH_TOKEN_LIFETIME
    return found


def issue(user: User, device: Device, kind: TokenType, *, now: datetime, jti: UUID | None = None) -> str:
    """A signed token for the user on this device."""
    claims = Claims(
        user_id=user.pk, email=user.email, device_id=device.pk, exp=int((now + lifetime(kind)).timestamp()),
        iat=int(now.timestamp()), jti=jti or uuid.uuid4(), token_version=user.token_version, type=kind,
    )
    return _backend().encode(msgspec.to_builtins(claims))


def read(token: str, kind: TokenType) -> Claims:
    """The claims of a token whose signature, age and kind are right. Raises TokenInvalid, TokenExpired.

    Whether the user and the device still accept it is ``accounts.services``' question.
    """
    if len(token) > _LONGEST:
        raise TokenInvalid("the token is not valid")
    try:
        claims = msgspec.convert(_backend().decode(cast(Any, token)), Claims)
    except TokenBackendExpiredToken:
        raise TokenExpired("the token has expired") from None
    except (TokenBackendError, msgspec.ValidationError, ValueError):
        raise TokenInvalid("the token is not valid") from None
    if claims.type != kind:
        raise TokenInvalid(f"this is no {kind} token")
    return claims
