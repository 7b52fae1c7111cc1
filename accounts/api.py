"""Registering and sessions over HTTP."""

import secrets
from typing import Any, cast

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import limits, services
from accounts.caller import caller_of
from accounts.models import User
from accounts.tokens import Claims
from accounts.views import CONFLICT, REFUSED, ApiView, TenantView


class UserSerializer(serializers.ModelSerializer[User]):
    class Meta:
        model = User
        fields = ("id", "email")


class CredentialsSerializer(serializers.Serializer[Any]):
    email = serializers.EmailField(max_length=254)
    password = serializers.CharField(max_length=128, trim_whitespace=False, write_only=True)
    device_id = serializers.CharField(
        max_length=100, required=False, help_text="The client's own name of the device; without one it is a new device."
    )

    def validate_email(self, email: str) -> str:
        # Letters that look like others would make two users of one address.
        if not email.isascii():
            raise serializers.ValidationError("Use the ASCII form of the address.")
        return email


class SessionSerializer(serializers.Serializer[Any]):
    success = serializers.BooleanField()
    token = serializers.CharField()
    refresh = serializers.CharField()
    user = UserSerializer()


class RefreshSerializer(serializers.Serializer[Any]):
    refresh = serializers.CharField(max_length=4096)


class TokensSerializer(serializers.Serializer[Any]):
    token = serializers.CharField()
    refresh = serializers.CharField()


class PasswordChangeSerializer(serializers.Serializer[Any]):
    current_password = serializers.CharField(max_length=128, trim_whitespace=False, write_only=True)
    new_password = serializers.CharField(max_length=128, trim_whitespace=False, write_only=True)


class DoneSerializer(serializers.Serializer[Any]):
    success = serializers.BooleanField()


def _session_answer(session: services.Session, code: int) -> Response:
    body = {"success": True, "token": session.access, "refresh": session.refresh, "user": session.user}
    return Response(SessionSerializer(body).data, status=code)


def _device_name(data: dict[str, Any]) -> str:
    return str(data.get("device_id") or secrets.token_hex(16))


class _AnonymousView(ApiView):
    authentication_classes = ()
    permission_classes = ()

    def validated(self, request: Request) -> dict[str, Any]:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)


class RegisterView(_AnonymousView):
    """Creates a user and logs them in."""

    serializer_class = CredentialsSerializer

    @extend_schema(operation_id="register", responses={201: SessionSerializer, 400: REFUSED[400], **CONFLICT})
    def post(self, request: Request) -> Response:
        data = self.validated(request)
        limits.check_login(request._request, data["email"])
        session = services.register(
            email=data["email"], password=data["password"], device_name=_device_name(data),
            caller=caller_of(request._request),
        )
        return _session_answer(session, status.HTTP_201_CREATED)


class LoginView(_AnonymousView):
    """Logs a user in on a device."""

    serializer_class = CredentialsSerializer

    @extend_schema(operation_id="login", responses={200: SessionSerializer, **REFUSED})
    def post(self, request: Request) -> Response:
        data = self.validated(request)
        limits.check_login(request._request, data["email"])
        session = services.log_in(
            email=data["email"], password=data["password"], device_name=_device_name(data),
            caller=caller_of(request._request),
        )
        return _session_answer(session, status.HTTP_200_OK)


class RefreshView(_AnonymousView):
    """Trades a refresh token, once, for a new pair."""

    serializer_class = RefreshSerializer

    @extend_schema(operation_id="token_refresh", responses={200: TokensSerializer, **REFUSED})
    def post(self, request: Request) -> Response:
        session = services.refresh(token=self.validated(request)["refresh"], caller=caller_of(request._request))
        return Response({"token": session.access, "refresh": session.refresh})


class LogoutView(TenantView):
    """Ends the session of the device that the token belongs to."""

    @extend_schema(operation_id="logout", request=None, responses={200: DoneSerializer, 401: REFUSED[401]})
    def post(self, request: Request) -> Response:
        claims = cast(Claims, request.auth)  # what our authentication class puts there
        services.log_out(user=self.tenant, device_id=claims.device_id, caller=caller_of(request._request))
        return Response({"success": True})


class PasswordChangeView(TenantView):
    """Sets a new password; every token of the user ends."""

    serializer_class = PasswordChangeSerializer

    @extend_schema(operation_id="password_change", responses={200: DoneSerializer, **REFUSED})
    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        limits.check_login(request._request, self.tenant.email)
        services.change_password(
            user=self.tenant, current=serializer.validated_data["current_password"],
            new=serializer.validated_data["new_password"], caller=caller_of(request._request),
        )
        return Response({"success": True})
