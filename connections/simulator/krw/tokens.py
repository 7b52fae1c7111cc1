"""Who sent a request: the bearer token, its signature, and the hash of exactly what was asked."""

import base64
import binascii
import hashlib
import hmac
from collections import deque
from typing import Any
from urllib.parse import unquote

import msgspec

from connections.simulator.accounts import Account
from connections.simulator.exchange import Clearing
from connections.simulator.krw.errors import unsigned

_HASHES = {"HS256": hashlib.sha256, "HS512": hashlib.sha512}
_REMEMBERED_NONCES = 10_000
_LONGEST_MS = 60_000


class Tokens:
    """Checks the tokens of one venue."""

    def __init__(self, bank: Clearing, *, wants_timestamp: bool) -> None:
        self._bank = bank
        self._wants_timestamp = wants_timestamp
        self._nonces: set[str] = set()
        self._order: deque[str] = deque()

    def sender(self, header: str, query: str, now_ms: int) -> Account:
        """The account whose key signed a request with these parameters. Raises ApiError."""
        kind, _, token = header.partition(" ")
        if kind != "Bearer" or not token:
            raise unsigned("no_authorization_token", "The request carries no token.")
        head, claims, signed, signature = _parts(token)
        account = self._bank.accounts.get(str(claims.get("access_key", "")))
        if account is None:
            raise unsigned("invalid_access_key", "The access key is not valid.")
        if not account.enabled:
            raise unsigned("expired_access_key", "The access key has expired.")
        function = _HASHES.get(str(head.get("alg")))
        expected = hmac.new(account.api_secret.encode(), signed, function).digest() if function else b""
        if not function or not hmac.compare_digest(expected, signature):
            raise unsigned("jwt_verification", "The token could not be verified.")
        self._check_claims(claims, query, now_ms)
        return account

    def _check_claims(self, claims: dict[str, Any], query: str, now_ms: int) -> None:
        told = claims.get("query_hash", "")
        hashed = hashlib.sha512(unquote(query).encode()).hexdigest() if query else ""
        if told != hashed or (hashed and claims.get("query_hash_alg") != "SHA512"):
            raise unsigned("invalid_query_payload", "The token's hash is not that of the request.")
        stamp = claims.get("timestamp")
        if self._wants_timestamp and (not isinstance(stamp, int) or abs(now_ms - stamp) > _LONGEST_MS):
            raise unsigned("expired_jwt", "The token has no time, or is too old.")
        nonce = str(claims.get("nonce", ""))
        if not nonce or nonce in self._nonces:
            raise unsigned("nonce_used", "The nonce was used before.")
        self._nonces.add(nonce)
        self._order.append(nonce)
        if len(self._order) > _REMEMBERED_NONCES:
            self._nonces.discard(self._order.popleft())


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    """(head, claims, what is signed, the signature). Raises ApiError."""
    try:
        head, claims, signature = token.split(".")
        read = msgspec.json.Decoder(dict[str, Any]).decode
        return read(_bytes(head)), read(_bytes(claims)), f"{head}.{claims}".encode(), _bytes(signature)
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise unsigned("jwt_verification", "The token is none.") from None


def _bytes(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
