"""The token that signs a request: a JWT with a hash of exactly what is asked."""

import base64
import hashlib
import hmac
import uuid
from collections.abc import Mapping
from urllib.parse import unquote, urlencode

import msgspec

from connections.gateways import Credentials


def query_of(params: Mapping[str, str | int]) -> str:
    """Parameters as they stand in the address. Those of a JSON body are hashed as if they stood there."""
    return urlencode(params)


def bearer(credentials: Credentials, query: str = "", *, timestamp_ms: int | None = None) -> dict[str, str]:
    """The header that signs a request with this query, hashed without its encoding; each call makes another nonce.

    ``timestamp_ms`` goes in where the exchange wants the time.
    """
    claims: dict[str, str | int] = {"access_key": credentials.api_key, "nonce": str(uuid.uuid4())}
    if timestamp_ms is not None:
        claims["timestamp"] = timestamp_ms
    if query:
        claims["query_hash"] = hashlib.sha512(unquote(query).encode()).hexdigest()
        claims["query_hash_alg"] = "SHA512"
    return {"Authorization": f"Bearer {_token(credentials.api_secret, claims)}"}


def _token(secret: str, claims: Mapping[str, str | int]) -> str:
    """RFC 7519 with HS256."""
    head = {"alg": "HS256", "typ": "JWT"}
    signed = f"{_segment(msgspec.json.encode(head))}.{_segment(msgspec.json.encode(claims))}"
    return f"{signed}.{_segment(hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest())}"


def _segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
