"""Who sent a request: key, signature over exactly what was sent, and its time window."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from connections.simulator.accounts import Account
from connections.simulator.binance import errors
from connections.simulator.binance.params import Params
from connections.simulator.exchange import Clearing

_KEY = re.compile(r"[A-Za-z0-9_-]{8,128}")
_EARLY_MS = 1000
_DEFAULT_WINDOW_MS = "5000"
_MAX_WINDOW_MS = 60_000


def rest_payload(query: str, body: str) -> bytes:
    """What a REST signature covers: query and body as sent, without the signature itself."""
    return (_without_signature(query) + _without_signature(body)).encode()


def _without_signature(text: str) -> str:
    return "&".join(item for item in text.split("&") if not item.startswith("signature="))


def ws_payload(params: Mapping[str, Any]) -> bytes:
    """What a WebSocket API signature covers: all other params, sorted by name."""
    return "&".join(f"{name}={as_text(params[name])}" for name in sorted(params) if name != "signature").encode()


def as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def find_account(bank: Clearing, api_key: str | None) -> Account:
    """Raises -2014 for no key or no key's form, -2015 for an unknown or disabled one."""
    if api_key is None or not _KEY.fullmatch(api_key):
        raise errors.bad_key_format()
    account = bank.accounts.get(api_key)
    if account is None or not account.enabled:
        raise errors.bad_key()
    return account


def check_signature(account: Account, payload: bytes, signature: str | None) -> None:
    """Raises -1102 without a signature, -1022 for a wrong one."""
    if not signature:
        raise errors.missing("signature")
    check = _is_ed25519_valid if account.ed25519_public_key else _is_hmac_valid
    if not check(account, payload, signature):
        raise errors.bad_signature()


def check_time(params: Params, now_ms: int) -> None:
    """Raises -1102, -1130 or -1021 for a missing, malformed or unacceptable timestamp or window."""
    timestamp = params.moment("timestamp")
    if timestamp is None:
        raise errors.missing("timestamp")
    window = float(params.matching("recvWindow", r"^\d{1,5}(\.\d{1,3})?$") or _DEFAULT_WINDOW_MS)
    if window > _MAX_WINDOW_MS:
        raise errors.ApiError(-1131, "recvWindow must be less than 60000.")
    if timestamp >= now_ms + _EARLY_MS:
        raise errors.too_early()
    if now_ms - timestamp > window:
        raise errors.too_late()


def _is_hmac_valid(account: Account, payload: bytes, signature: str) -> bool:
    expected = hmac.new(account.api_secret.encode(), payload, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.lower().encode())


def _is_ed25519_valid(account: Account, payload: bytes, signature: str) -> bool:
    key = load_pem_public_key(account.ed25519_public_key.encode())
    if not isinstance(key, Ed25519PublicKey):
        return False
    try:
        key.verify(base64.b64decode(unquote(signature), validate=True), payload)
    except (InvalidSignature, binascii.Error):
        return False
    return True
