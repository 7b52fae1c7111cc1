"""How a request to Tram is signed: HMAC-SHA256 over time, method, path with query, and body."""

import hashlib
import hmac

from connections.gateways import Credentials


def signed_headers(
    credentials: Credentials, now_ms: int, method: str, target: str, body: bytes = b""
) -> dict[str, str]:
    """``target`` is the path, with the query behind it."""
    text = f"{now_ms}\n{method}\n{target}\n".encode() + body
    signature = hmac.new(credentials.api_secret.encode(), text, hashlib.sha256).hexdigest()
    return {"Tram-Key": credentials.api_key, "Tram-Time": str(now_ms), "Tram-Sign": signature}
