"""The key that signs tokens (ACC-7): JWT_SECRET, else one made once, stored sealed and shared by every process."""

from django.conf import settings

from accounts.stored_keys import stored_key
from accounts.unreadable import secret_unreadable
from desproject.lib.crypto import CustodyError

_NAME = "jwt_signing_key"


def signing_key() -> str:
    """The installation's key. Raises SecretUnreadable, audited."""
    if settings.CONFIG.jwt_secret:
        return str(settings.CONFIG.jwt_secret)
    try:
        return stored_key(_NAME)
    except CustodyError as error:
        raise secret_unreadable(error, user_id=None, resource_type="system_config", resource_id=_NAME) from None
