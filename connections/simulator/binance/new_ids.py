"""Client order ids of orders that came without one."""

import secrets
import string

_ALPHABET = string.ascii_letters + string.digits


def new_client_id() -> str:
    """22 characters, as Binance makes them up."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(22))
