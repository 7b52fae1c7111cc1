"""Registering and sessions over HTTP."""

import secrets
from typing import Any, cast
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import deletion, disclosure, password_reset, roles, second_factor, services, users
from accounts.caller import caller_of
from accounts.models import Device, DisclosureAcceptance, Role, User
from accounts.tokens import Claims
from accounts.views import CONFLICT, FORBIDDEN, MISSING, REFUSED, TOO_MANY, ApiView, TenantView


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


class RegisterSerializer(CredentialsSerializer):
    beta_code = serializers.CharField(
        max_length=40, required=False, allow_blank=True, write_only=True,
        help_text="Needed where registration isn't open to all.",
    )


class LoginSerializer(CredentialsSerializer):
    otp = serializers.CharField(
        max_length=40, required=False, allow_blank=True, write_only=True,
        help_text="The second factor's code, or a recovery code, where the user has switched it on.",
    )


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


class OtpSerializer(serializers.Serializer[Any]):
    otp = serializers.CharField(max_length=40, write_only=True)


class EnrolmentSerializer(serializers.Serializer[Any]):
    secret = serializers.CharField(help_text="For typing it in by hand.")
    otpauth_uri = serializers.CharField()
    qr_svg = serializers.CharField(help_text="The address as a picture: a data: URI of an SVG image.")


class RecoveryCodesSerializer(serializers.Serializer[Any]):
    success = serializers.BooleanField()
    recovery_codes = serializers.ListField(child=serializers.CharField(), help_text="Each works once; shown only now.")


class PasswordSerializer(serializers.Serializer[Any]):
    password = serializers.CharField(max_length=128, trim_whitespace=False, write_only=True)


class DeviceSerializer(serializers.ModelSerializer[Device]):
    current = serializers.SerializerMethodField(help_text="Whether it is the one that asks.")

    class Meta:
        model = Device
        fields = ("id", "name", "user_agent", "ip", "last_used_at", "created_at", "current")

    def get_current(self, device: Device) -> bool:
        return bool(device.pk == self.context["current"])


class PasswordResetSerializer(serializers.Serializer[Any]):
    email = serializers.EmailField(max_length=254)


class PasswordResetConfirmSerializer(serializers.Serializer[Any]):
    token = serializers.CharField(max_length=100, write_only=True)
    new_password = serializers.CharField(max_length=128, trim_whitespace=False, write_only=True)


class DisclosureSerializer(serializers.Serializer[Any]):
    version = serializers.CharField()
    text = serializers.CharField(help_text="Markdown.")
    accepted_at = serializers.DateTimeField(allow_null=True)


class DisclosureAcceptSerializer(serializers.Serializer[Any]):
    version = serializers.CharField(
        max_length=16, required=False, help_text="The version that was read; without one the current is meant."
    )


class DisclosureAcceptanceSerializer(serializers.ModelSerializer[DisclosureAcceptance]):
    class Meta:
        model = DisclosureAcceptance
        fields = ("version", "accepted_at", "ip")


class MemberSerializer(serializers.ModelSerializer[User]):
    class Meta:
        model = User
        fields = ("id", "email", "role", "manager", "is_active", "otp_verified", "created_at")


class NewUserSerializer(serializers.Serializer[Any]):
    email = serializers.EmailField(max_length=254)
    password = serializers.CharField(
        max_length=128, trim_whitespace=False, write_only=True, required=False,
        help_text="Without one the user gets a mail to set it.",
    )
    role = serializers.ChoiceField(choices=[Role.TRADER, Role.MANAGER], default=Role.TRADER)

    validate_email = CredentialsSerializer.validate_email


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

    serializer_class = RegisterSerializer

    @extend_schema(
        operation_id="register", responses={201: SessionSerializer, 400: REFUSED[400], **CONFLICT, **TOO_MANY}
    )
    def post(self, request: Request) -> Response:
        data = self.validated(request)
        session = services.register(
            email=data["email"], password=data["password"], device_name=_device_name(data),
            beta_code=data.get("beta_code", ""), caller=caller_of(request._request),
        )
        return _session_answer(session, status.HTTP_201_CREATED)


class LoginView(_AnonymousView):
    """Logs a user in on a device. 401 with code OTP_REQUIRED asks for the second factor's code as well."""

    serializer_class = LoginSerializer

    @extend_schema(operation_id="login", responses={200: SessionSerializer, **REFUSED, **TOO_MANY})
    def post(self, request: Request) -> Response:
        data = self.validated(request)
        session = services.log_in(
            email=data["email"], password=data["password"], otp=data.get("otp", ""), device_name=_device_name(data),
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

    @extend_schema(operation_id="password_change", responses={200: DoneSerializer, **REFUSED, **TOO_MANY})
    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        services.change_password(
            user=self.tenant, current=serializer.validated_data["current_password"],
            new=serializer.validated_data["new_password"], caller=caller_of(request._request),
        )
        return Response({"success": True})


class OtpEnrolView(TenantView):
    """A new secret for an authenticator app. It counts once its first code is confirmed."""

    serializer_class = EnrolmentSerializer

    @extend_schema(
        operation_id="otp_enrol", request=None, responses={200: EnrolmentSerializer, 401: REFUSED[401], **CONFLICT}
    )
    def post(self, request: Request) -> Response:
        enrolment = second_factor.enrol(self.tenant, caller_of(request._request))
        return Response(self.get_serializer(enrolment).data)


class OtpConfirmView(TenantView):
    """Switches the second factor on by the app's first code."""

    serializer_class = OtpSerializer

    @extend_schema(operation_id="otp_confirm", responses={200: RecoveryCodesSerializer, **REFUSED, **CONFLICT})
    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        codes = second_factor.confirm(self.tenant, serializer.validated_data["otp"], caller_of(request._request))
        return Response({"success": True, "recovery_codes": codes})


class OtpDisableView(TenantView):
    """Switches the second factor off."""

    serializer_class = PasswordSerializer

    @extend_schema(operation_id="otp_disable", responses={200: DoneSerializer, **REFUSED, **TOO_MANY})
    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        services.disable_otp(
            user=self.tenant, password=serializer.validated_data["password"], caller=caller_of(request._request)
        )
        return Response({"success": True})


class DevicesView(TenantView):
    """Where the caller is logged in, newest first."""

    serializer_class = DeviceSerializer
    queryset = Device.objects.none()

    @extend_schema(operation_id="devices", responses={200: DeviceSerializer(many=True), **REFUSED})
    def get(self, request: Request) -> Response:
        page = self.paginate_queryset(services.devices(self.tenant))
        claims = cast(Claims, request.auth)
        shown = DeviceSerializer(page, many=True, context={"current": claims.device_id})
        return self.get_paginated_response(shown.data)


class DeviceView(TenantView):
    """One device of the caller."""

    @extend_schema(operation_id="device_revoke", responses={204: None, 401: REFUSED[401], **MISSING})
    def delete(self, request: Request, id: UUID) -> Response:
        """Logs it out: none of its tokens is accepted any more."""
        services.revoke_device(user=self.tenant, device_id=id, caller=caller_of(request._request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class PasswordResetView(_AnonymousView):
    """Has a one-time code mailed. The answer is the same whether anybody has this e-mail or not."""

    serializer_class = PasswordResetSerializer

    @extend_schema(operation_id="password_reset", responses={202: DoneSerializer, 400: REFUSED[400], **TOO_MANY})
    def post(self, request: Request) -> Response:
        data = self.validated(request)
        password_reset.request_reset(email=data["email"], caller=caller_of(request._request))
        return Response({"success": True}, status=status.HTTP_202_ACCEPTED)


class PasswordResetConfirmView(_AnonymousView):
    """Sets a new password by the code from the mail; every session of the user ends."""

    serializer_class = PasswordResetConfirmSerializer

    @extend_schema(
        operation_id="password_reset_confirm", responses={200: DoneSerializer, 400: REFUSED[400], **TOO_MANY}
    )
    def post(self, request: Request) -> Response:
        data = self.validated(request)
        password_reset.confirm(token=data["token"], new=data["new_password"], caller=caller_of(request._request))
        return Response({"success": True})


class DisclosureView(TenantView):
    """The current risk disclosure, and whether the caller has accepted it."""

    serializer_class = DisclosureSerializer
    pagination_class = None

    @extend_schema(operation_id="disclosure", responses={200: DisclosureSerializer, 401: REFUSED[401]})
    def get(self, request: Request) -> Response:
        accepted = disclosure.acceptance(self.tenant)
        return Response({
            "version": disclosure.current_version(), "text": disclosure.current_text(),
            "accepted_at": accepted.accepted_at if accepted else None,
        })


class DisclosureAcceptView(TenantView):
    """Accepts the current risk disclosure; live trading needs it."""

    serializer_class = DisclosureAcceptSerializer

    @extend_schema(
        operation_id="disclosure_accept", responses={200: DisclosureAcceptanceSerializer, **REFUSED, **CONFLICT}
    )
    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        row = disclosure.accept(
            user=self.tenant, version=serializer.validated_data.get("version"), caller=caller_of(request._request)
        )
        return Response(DisclosureAcceptanceSerializer(row).data)


class UsersView(TenantView):
    """The users of a manager's team; all users for administrators."""

    serializer_class = MemberSerializer
    queryset = User.objects.none()

    @extend_schema(operation_id="users", responses={200: MemberSerializer(many=True), **REFUSED, **FORBIDDEN})
    def get(self, request: Request) -> Response:
        page = self.paginate_queryset(users.users(self.tenant))
        return self.get_paginated_response(MemberSerializer(page, many=True).data)

    @extend_schema(
        operation_id="user_create", request=NewUserSerializer,
        responses={201: MemberSerializer, **REFUSED, **FORBIDDEN, **CONFLICT},
    )
    def post(self, request: Request) -> Response:
        """Creates a trader in the manager's team; administrators may create managers too."""
        roles.require(self.tenant, roles.Thing.USERS)
        serializer = NewUserSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        user = users.add_user(
            creator=self.tenant, email=data["email"], password=data.get("password"), role=data["role"],
            caller=caller_of(request._request),
        )
        return Response(MemberSerializer(user).data, status=status.HTTP_201_CREATED)


class UserView(TenantView):
    """One user, for administrators."""

    @extend_schema(
        operation_id="user_delete", responses={204: None, 401: REFUSED[401], **MISSING, **CONFLICT}
    )
    def delete(self, request: Request, id: UUID) -> Response:
        """Ends the user's sessions, strategies and streams at once, then their orders, then destroys their keys."""
        deletion.delete_user(deleter=self.tenant, user_id=id, caller=caller_of(request._request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class DeleteMeView(TenantView):
    """Deletes the caller's account, by their password: trading ends at once, open orders are cancelled, keys are
    destroyed. It can't be taken back."""

    serializer_class = PasswordSerializer

    @extend_schema(operation_id="me_delete", responses={200: DoneSerializer, **REFUSED, **CONFLICT, **TOO_MANY})
    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        deletion.delete_own(
            user=self.tenant, password=serializer.validated_data["password"], caller=caller_of(request._request)
        )
        return Response({"success": True})
