"""The key that signs tokens (ACC-7): JWT_SECRET, else one made once, stored sealed and shared by every process."""

import secrets
from functools import cache

from django.conf import settings

from accounts.models import SystemConfig
from desproject.lib.crypto import MasterKeyInvalid

_NAME = "jwt_signing_key"
_PLACE = f"system_config.value:{_NAME}"


@cache
def signing_key() -> str:
    """The installation's key. Two processes that start at once agree: the row that came first wins."""
    if settings.CONFIG.jwt_secret:
        return str(settings.CONFIG.jwt_secret)
    keyring = settings.KEYRING
    if keyring is None:
        raise MasterKeyInvalid("this process has no master key")
    row = SystemConfig.objects.filter(key=_NAME).first()
    if row is None:
        sealed = keyring.seal(secrets.token_hex(32), _PLACE)
        row, _ = SystemConfig.objects.get_or_create(key=_NAME, defaults={"value": sealed})
    return str(keyring.open(row.value, _PLACE))
