"""Codes that let people register where registration isn't open to all (ACC-2)."""

import base64
import hashlib
import secrets
from datetime import datetime

from django.conf import settings
from django.db.models import F, Q

from accounts.models import BetaCode
from desproject.lib.clock import Clock
from desproject.lib.errors import InvalidInput

_CODE_BYTES = 10


class BetaCodeInvalid(InvalidInput):
    """No such code, or it is used up or too old: one text for all."""

    code = "BETA_CODE_INVALID"


def create(*, note: str, max_uses: int = 1, expires_at: datetime | None = None) -> str:
    """A new code, shown only now."""
    code = base64.b32encode(secrets.token_bytes(_CODE_BYTES)).decode()
    hint = f"{note[:50]} …{code[-4:]}".strip()
    BetaCode.objects.create(code_hash=_hash(code), hint=hint, max_uses=max_uses, expires_at=expires_at)
    return code


def use(code: str, clock: Clock) -> str:
    """Counts one use; answers the code's hint. Without BETA_CODES_REQUIRED a user may come without one.

    Raises BetaCodeInvalid.
    """
    if not code and not settings.CONFIG.beta_codes_required:
        return ""
    found = BetaCode.objects.filter(Q(expires_at=None) | Q(expires_at__gt=clock.now()), code_hash=_hash(code))
    # In one statement: of two who come for the last use, one gets it.
    if not found.filter(uses__lt=F("max_uses")).update(uses=F("uses") + 1):
        raise BetaCodeInvalid("a valid code is needed to register", fields={"beta_code": ["This code isn't valid."]})
    return found.values_list("hint", flat=True)[0]


def _hash(code: str) -> str:
    # 80 random bits can't be guessed: a plain hash is enough.
    return hashlib.sha256(code.strip().upper().encode()).hexdigest()
