"""How the admin site checks passwords: as the API does, limited and recorded."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from accounts import gate
from accounts.caller import Caller, caller_of
from accounts.models import User
from desproject.lib.errors import DomainError


class RecordedBackend(ModelBackend):
    """Users by e-mail and password. Deleted users and those that were shut out stay out, with their sessions."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, otp: str = "",
        **_: Any,
    ) -> User | None:
        if username is None or password is None:
            return None
        caller = caller_of(request) if request else Caller(None, "")
        try:
            return gate.check_credentials(email=username, password=password, otp=otp, caller=caller)
        except DomainError:
            # Django's way of saying no without asking another backend.
            raise PermissionDenied from None

    def user_can_authenticate(self, user: Any) -> bool:
        return bool(user.is_active and not user.is_deleted)
