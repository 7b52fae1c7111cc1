"""Random keys that an installation makes once and all its processes share, stored sealed in ``system_config``.

Unlike keys derived from the master key they survive its rotation: only their sealing changes.
"""

import secrets
from functools import cache

from accounts.models import SystemConfig
from desproject.lib.custody import keyring


@cache
def stored_key(name: str) -> str:
    """The installation's key of this name: 64 hex digits. Two processes that start at once agree: the row that came
    first wins. Raises CustodyError, which isn't cached."""
    place = value_place(name)
    row = SystemConfig.objects.filter(key=name).first()
    if row is None:
        sealed = keyring().seal(secrets.token_hex(32), place)
        row, _ = SystemConfig.objects.get_or_create(key=name, defaults={"value": sealed})
    return str(keyring().open(row.value, place))


def value_place(name: str) -> str:
    """Where a value is stored, as the associated data of its encryption."""
    return f"system_config.value:{name}"
