"""The second factor (ACC-4): time-based codes of an authenticator app, and recovery codes for who lost it.

django-otp gives the arithmetic (RFC 6238) only: its tables would hold the secrets in the clear.
"""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

import segno
from django.db import transaction
from django.db.models import Q
from django_otp.oath import TOTP

from accounts.caller import Caller
from accounts.journal import record_act
from accounts.models import RecoveryCode, User
from accounts.unreadable import secret_unreadable
from desproject.lib.clock import SYSTEM_CLOCK, Clock
from desproject.lib.crypto import CustodyError
from desproject.lib.custody import keyring, place
from desproject.lib.errors import Conflict, InvalidInput

_ISSUER = "DES"
# As RFC 4226 asks for: as long as the hash.
_SECRET_BYTES = 20
_DIGITS = 6
# The code before and the one after are taken too: clocks of telephones are off, people type slowly.
_TOLERANCE = 1
RECOVERY_CODES = 10
_RECOVERY_BYTES = 10


class OtpAlreadyEnabled(Conflict):
    """The second factor is on; disable it first."""

    code = "OTP_ALREADY_ENABLED"


class OtpNotEnrolled(Conflict):
    """There is no secret that waits for its first code."""

    code = "OTP_NOT_ENROLLED"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an authenticator app needs, shown once. ``qr_svg`` is the address as a picture, a data: URI."""

    secret: str = field(repr=False)
    otpauth_uri: str = field(repr=False)
    qr_svg: str = field(repr=False)


def enrol(user: User, caller: Caller) -> Enrolment:
    """A new secret, which counts from ``confirm`` on. Raises OtpAlreadyEnabled."""
    secret = secrets.token_bytes(_SECRET_BYTES)
    encoded = base64.b32encode(secret).decode()
    sealed = keyring().seal(encoded, otp_place(user))
    with transaction.atomic():
        if not User.objects.filter(pk=user.pk, otp_verified=False).update(otp_secret=sealed, otp_last_step=None):
            raise OtpAlreadyEnabled("the second factor is on already, disable it first")
        record_act("otp.enrolled", user.pk, caller)
    query = urlencode({"secret": encoded, "issuer": _ISSUER, "algorithm": "SHA1", "digits": _DIGITS, "period": 30})
    uri = f"otpauth://totp/{_ISSUER}:{quote(user.email)}?{query}"
    # White by itself: cameras don't read dark squares on a dark page.
    picture = segno.make(uri, error="m", micro=False).svg_data_uri(scale=5, light="#fff")
    return Enrolment(encoded, uri, picture)


def confirm(user: User, otp: str, caller: Caller, clock: Clock = SYSTEM_CLOCK) -> list[str]:
    """Switches the second factor on by its first code; answers the recovery codes, which nobody can read again.

    Raises OtpNotEnrolled, InvalidInput, SecretUnreadable.
    """
    if not user.otp_secret or user.otp_verified:
        raise OtpNotEnrolled("enrol first")
    step = _step_of(user, otp, clock)
    if step is None:
        raise InvalidInput("the code is wrong", fields={"otp": ["This is not the app's present code."]})
    codes = [_new_recovery_code() for _ in range(RECOVERY_CODES)]
    with transaction.atomic():
        # Of the secret that was looked at: another one may have been enrolled meanwhile.
        waiting = User.objects.filter(pk=user.pk, otp_secret=user.otp_secret, otp_verified=False)
        if not waiting.update(otp_verified=True, otp_last_step=step):
            raise OtpNotEnrolled("enrol first")
        RecoveryCode.objects.filter(user=user).delete()
        RecoveryCode.objects.bulk_create([RecoveryCode(user=user, code_hash=_hash(code)) for code in codes])
        record_act("otp.confirmed", user.pk, caller)
    return codes


def accepts(user: User, otp: str, clock: Clock = SYSTEM_CLOCK) -> bool:
    """Whether this is the user's present code or one of their recovery codes. It is spent then.

    Raises SecretUnreadable, audited: not inside a transaction.
    """
    step = _step_of(user, otp, clock)
    if step is not None:
        unspent = Q(otp_last_step__isnull=True) | Q(otp_last_step__lt=step)
        return User.objects.filter(unspent, pk=user.pk, otp_secret=user.otp_secret).update(otp_last_step=step) == 1
    unused = RecoveryCode.objects.filter(user=user, code_hash=_hash(otp), used_at__isnull=True)
    return unused.update(used_at=clock.now()) == 1


def remove(user: User, caller: Caller) -> None:
    """Switches the second factor off and forgets its secret."""
    with transaction.atomic():
        User.objects.filter(pk=user.pk).update(otp_secret="", otp_verified=False, otp_last_step=None)
        RecoveryCode.objects.filter(user=user).delete()
        record_act("otp.disabled", user.pk, caller)


def _step_of(user: User, otp: str, clock: Clock) -> int | None:
    """The 30 seconds whose code this is, None when it is none of the present ones."""
    code = otp.replace(" ", "")
    if len(code) != _DIGITS or not (code.isascii() and code.isdigit()):
        return None
    totp = TOTP(base64.b32decode(_open_secret(user)), digits=_DIGITS)
    totp.time = clock.now().timestamp()
    return int(totp.t()) if totp.verify(int(code), tolerance=_TOLERANCE) else None


def _open_secret(user: User) -> str:
    try:
        return keyring().open(user.otp_secret, otp_place(user))
    except CustodyError as error:
        raise secret_unreadable(error, user_id=user.pk, resource_type="user", resource_id=user.pk) from None


def _new_recovery_code() -> str:
    letters = base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode()
    return "-".join(letters[at : at + 4] for at in range(0, len(letters), 4))


def _hash(code: str) -> str:
    # 80 random bits can't be guessed: a plain hash is enough.
    return hashlib.sha256(code.upper().replace("-", "").replace(" ", "").encode()).hexdigest()


def otp_place(user: User) -> str:
    """Where a user's secret is stored, as the associated data of its encryption."""
    return place("users.otp_secret", user.pk, user.pk)
