"""Browser sessions: each belongs to a device, and ends with it.

The session itself is Django's: an HttpOnly cookie, ended at once by a new password or a raised token version. What
is added here is its device, so that it stands in the user's list of devices and can be revoked there.
"""

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib import auth
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.models import Session
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from accounts import services, tokens
from accounts.caller import caller_of
from accounts.models import Device, User
from desproject.lib.clock import SYSTEM_CLOCK, Clock

_DEVICE = "device_id"
_NAMED = "browser "
_BACKEND = "accounts.backends.RecordedBackend"
# More rows in one transaction would hold up writers on SQLite.
_BATCH = 200


class NoDevice(tokens.TokenInvalid):
    """The browser's session has no living device: log in again."""


def new_device_name() -> str:
    """A browser has no name of its own: each log-in is a new device."""
    return f"{_NAMED}{uuid.uuid4().hex}"


def is_browser(device: Device) -> bool:
    """Whether a browser's log-in made it."""
    return device.name.startswith(_NAMED)


def begin(request: HttpRequest, session: services.Session) -> None:
    """Logs the browser in under a new session key and a new CSRF token; who was logged in by it is logged out."""
    end(request)
    auth.login(request, session.user, backend=_BACKEND)
    request.session[_DEVICE] = str(session.device.pk)


def end(request: HttpRequest) -> None:
    """Logs the browser out and revokes its device."""
    if request.user.is_authenticated and (device := device_id(request)):
        services.log_out(user=request.user, device_id=device, caller=caller_of(request))
    auth.logout(request)


def access_token(request: HttpRequest, user: User, *, clock: Clock = SYSTEM_CLOCK) -> tuple[str, datetime]:
    """A fresh access token of the session's device, and when it ends. Raises NoDevice."""
    now, caller = clock.now(), caller_of(request)
    device = _living(request.session.get(_DEVICE), user)
    if device is None:
        raise NoDevice("this browser is no longer logged in")
    Device.objects.filter(pk=device.pk).update(last_used_at=now, ip=caller.ip, user_agent=caller.user_agent)
    return tokens.issue(user, device, "access", now=now), now + tokens.lifetime("access")


def device_id(request: HttpRequest) -> uuid.UUID | None:
    """The device of the browser that asks."""
    found = request.session.get(_DEVICE)
    return uuid.UUID(found) if found else None


def forget_ended(clock: Clock = SYSTEM_CLOCK) -> int:
    """Removes sessions that have expired, and devices none of whose tokens or sessions can live; answers how many."""
    now = clock.now()
    # A session lasts as long as a refresh token, from a log-in that was a use of its device; a day is for good measure.
    unused = now - settings.REFRESH_TOKEN_LIFETIME - timedelta(days=1)
    expired = Session.objects.filter(expire_date__lt=now)
    return _remove(expired) + _remove(Device.objects.filter(last_used_at__lt=unused))


def _remove(rows: "QuerySet[Any]") -> int:
    removed = 0
    while batch := list(rows.values_list("pk", flat=True)[:_BATCH]):
        # Looked at once more: a device may have been used meanwhile.
        gone, _ = rows.filter(pk__in=batch).delete()
        removed += gone
        if len(batch) < _BATCH:
            break
    return removed


class DeviceSessionMiddleware:
    """Nobody is logged in by a session whose device was revoked. Looks only when somebody asks who it is."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        found = request.user
        request.user = SimpleLazyObject(lambda: _accepted(request, found))  # type: ignore[assignment]
        answer = self._get_response(request)
        if request.session.accessed and auth.SESSION_KEY in request.session and _DEVICE not in request.session:
            # Logged in by another door than begin(), the admin site's.
            request.session[_DEVICE] = str(_new_device(request).pk)
        return answer


def _accepted(request: HttpRequest, user: User | AnonymousUser) -> User | AnonymousUser:
    device = request.session.get(_DEVICE) if isinstance(user, User) else None
    if device is None or _living(device, user):
        return user
    request.session.flush()
    return AnonymousUser()


def _living(device: str | None, user: User | AnonymousUser) -> Device | None:
    if device is None:
        return None
    return Device.objects.filter(pk=device, user=user.pk, revoked_at__isnull=True).first()


def _new_device(request: HttpRequest) -> Device:
    caller = caller_of(request)
    return Device.objects.create(
        user_id=uuid.UUID(request.session[auth.SESSION_KEY]), name=new_device_name(), refresh_jti=uuid.uuid4(),
        last_used_at=SYSTEM_CLOCK.now(), ip=caller.ip, user_agent=caller.user_agent,
    )
