"""Where the master keys come from (KEY-2): the environment, mounted files, or HashiCorp Vault. Read once, at start.

Whatever goes wrong is told in one line that holds no key and no token.
"""

import json
import os
import re
import ssl
import stat
import urllib.request
from collections.abc import Iterable, Mapping
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote

from desproject.lib.crypto import MasterKeyInvalid, parse_master_key

VAULT_SECONDS = 5.0
_VARIABLE = re.compile(r"MASTER_ENCRYPTION_KEY(?:_V([1-9]\d{0,5}))?")
# Name of a file in the folder, or of a field of Vault's secret.
_VERSION = re.compile(r"v([1-9]\d{0,5})")
_REFUSALS = {403: "the token isn't accepted, or may not read the secret", 404: "there is no such secret", 503: "sealed"}
_LONGEST = 4096
_LONGEST_ANSWER = 65_536


class SourceUnusable(Exception):
    """The source can't be read, or what it holds is no master key; the text says which one, in one line."""


Keys = dict[int, bytes]


def from_environment(environ: Mapping[str, str]) -> Keys:
    """Of MASTER_ENCRYPTION_KEY, MASTER_ENCRYPTION_KEY_V2, _V3, …; empty ones count as unset. Raises SourceUnusable."""
    found = {name: match for name, value in environ.items() if value and (match := _VARIABLE.fullmatch(name))}
    return _parsed((name, int(match[1] or 1), environ[name]) for name, match in found.items())


def from_files(path: Path) -> Keys:
    """Of a file, which is version 1, or of a folder's files ``v1``, ``v2``, …: readable by their owner alone.

    Raises SourceUnusable.
    """
    if not path.is_dir():
        return _parsed([(str(path), 1, _read_private(path))])
    try:
        names = sorted(entry.name for entry in path.iterdir())
    except OSError as error:
        raise SourceUnusable(f"{path}: {error.strerror}") from None
    versions = [(name, int(match[1])) for name in names if (match := _VERSION.fullmatch(name))]
    if not versions:
        raise SourceUnusable(f"{path}: holds no file v1, v2, …")
    return _parsed((str(path / name), version, _read_private(path / name)) for name, version in versions)


def from_vault(address: str, path: str, token: str, *, namespace: str = "", ca_file: Path | None = None) -> Keys:
    """Of a secret in a KV engine of version 2, fields ``v1``, ``v2``, …; ``path`` is ``<mount>/<secret>``.

    Raises SourceUnusable.
    """
    mount, _, secret = path.strip("/").partition("/")
    request = urllib.request.Request(  # noqa: S310  # http or https: the configuration is checked
        f"{address}/v1/{quote(mount)}/data/{quote(secret)}", headers={"X-Vault-Token": token, "X-Vault-Request": "true"}
    )
    if namespace:
        request.add_header("X-Vault-Namespace", namespace)
    fields = _fields(_ask(request, ca_file))
    versions = [(name, int(match[1]), value) for name, value in fields.items() if (match := _VERSION.fullmatch(name))]
    if not versions:
        raise SourceUnusable(f"Vault: {path} holds no field v1, v2, …")
    return _parsed((f"Vault: {path} {name}", version, str(value)) for name, version, value in versions)


def vault_token(token: str, token_file: Path | None) -> str:
    """The token itself, or what its file holds. Raises SourceUnusable."""
    found = token or (_read_private(token_file).strip() if token_file else "")
    if not found:
        raise SourceUnusable("Vault: no token, set VAULT_TOKEN or VAULT_TOKEN_FILE")
    if not (found.isascii() and found.isprintable()):
        raise SourceUnusable("Vault: the token isn't printable ASCII")
    return found


def _parsed(found: Iterable[tuple[str, int, str]]) -> Keys:
    """By version, from (where it stands, version, text)."""
    keys: Keys = {}
    faults = []
    for where, version, text in found:
        try:
            keys[version] = parse_master_key(text)
        except MasterKeyInvalid as error:
            faults.append(f"{where}: {error}")
    if faults:
        raise SourceUnusable("; ".join(faults))
    return keys


def _read_private(path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise SourceUnusable(f"{path}: is no regular file")
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise SourceUnusable(f"{path}: others than its owner may read or change it (chmod 0400)")
            return file.read(_LONGEST).decode("ascii")
    except OSError as error:
        raise SourceUnusable(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SourceUnusable(f"{path}: not base64 or hex") from None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token to wherever it points."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


def _ask(request: urllib.request.Request, ca_file: Path | None) -> Any:
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        # No proxy from the environment either.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), _NoRedirects
        )
        with opener.open(request, timeout=VAULT_SECONDS) as answer:
            return json.loads(answer.read(_LONGEST_ANSWER))
    except HTTPError as error:
        raise SourceUnusable(f"Vault: {_refusal(error)}") from None
    except URLError as error:
        raise SourceUnusable(f"Vault: can't be reached ({_reason(error.reason)})") from None
    except (HTTPException, OSError) as error:
        raise SourceUnusable(f"Vault: can't be reached ({_reason(error)})") from None
    except ValueError:
        raise SourceUnusable("Vault: its answer is no JSON") from None


def _refusal(error: HTTPError) -> str:
    with error:
        return f"{_REFUSALS.get(error.code, 'an unexpected answer')} ({error.code})"


def _reason(error: object) -> str:
    """What is known to hold no address with a password in it."""
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


def _fields(answer: Any) -> Mapping[str, Any]:
    try:
        fields = answer["data"]["data"]
    except (KeyError, TypeError):
        fields = None
    if not isinstance(fields, dict):
        raise SourceUnusable("Vault: the answer isn't that of a KV engine of version 2")
    return fields
