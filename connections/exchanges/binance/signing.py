"""Binance's signatures: HMAC-SHA256 over exactly what is sent, percent-encoded before signing."""

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import urlencode


def _sign(secret: str, payload: str) -> str:
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def signed_query(secret: str, params: Mapping[str, str | int]) -> str:
    """The query string of a REST request, its signature at the end."""
    query = urlencode(params)
    return f"{query}&signature={_sign(secret, query)}"


def signed_params(secret: str, params: Mapping[str, str | int]) -> dict[str, str | int]:
    """The params of a WebSocket API request with their signature, which covers them sorted by name."""
    payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
    return {**params, "signature": _sign(secret, payload)}
