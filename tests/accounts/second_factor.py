"""An authenticator app of our own: RFC 6238 from the standard library, not the arithmetic that DES uses."""

import base64
import hashlib
import hmac
import struct
from datetime import datetime

from accounts import second_factor
from accounts.caller import Caller
from accounts.models import User
from desproject.lib.clock import SYSTEM_CLOCK

CALLER = Caller("192.0.2.7", "a test")


def app_code(secret: str, at: datetime) -> str:
    """What the app shows at that moment."""
    counter = struct.pack(">Q", int(at.timestamp()) // 30)
    digest = hmac.new(base64.b32decode(secret), counter, hashlib.sha1).digest()
    start = digest[-1] & 0x0F
    number = int.from_bytes(digest[start : start + 4]) & 0x7FFF_FFFF
    return f"{number % 1_000_000:06d}"


def enable_second_factor(user: User) -> list[str]:
    """Enrols and confirms now; the recovery codes."""
    enrolment = second_factor.enrol(user, CALLER)
    user.refresh_from_db()
    return second_factor.confirm(user, app_code(enrolment.secret, SYSTEM_CLOCK.now()), CALLER)
