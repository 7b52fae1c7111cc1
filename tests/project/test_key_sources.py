"""Master keys from files and from Vault: what is refused, and that no fault shows a secret."""

import json
import os
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from desproject import key_sources
from desproject.config import ConfigurationError, load
from desproject.key_sources import SourceUnusable, from_files, from_vault, vault_token
from desproject.lib.crypto import new_master_key, parse_master_key

FIRST, SECOND = new_master_key(), new_master_key()
TOKEN = "hvs.planted-vault-token"


def put(path: Path, text: str, mode: int = 0o400) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_file_is_version_one(tmp_path: Path) -> None:
    assert from_files(put(tmp_path / "key", FIRST + "\n")) == {1: parse_master_key(FIRST)}


def test_a_folder_holds_a_file_a_version_and_others_dont_matter(tmp_path: Path) -> None:
    put(tmp_path / "v1", FIRST)
    put(tmp_path / "v12", parse_master_key(SECOND).hex(), 0o600)
    put(tmp_path / "README", "not a key", 0o644)
    assert from_files(tmp_path) == {1: parse_master_key(FIRST), 12: parse_master_key(SECOND)}


def test_a_mounted_secret_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "v1").symlink_to(put(tmp_path / "real", FIRST))
    assert from_files(tmp_path / "keys") == {1: parse_master_key(FIRST)}


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o420, 0o644])
def test_a_file_that_others_may_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(SourceUnusable, match="chmod 0400"):
        from_files(put(tmp_path / "key", FIRST, mode))


@pytest.mark.parametrize("text", ["", "c2hvcnQ=", "planted-not-a-key", "schlüssel"])
def test_a_bad_file_is_named_and_not_shown(tmp_path: Path, text: str) -> None:
    put(tmp_path / "v1", text)
    with pytest.raises(SourceUnusable) as caught:
        from_files(tmp_path)
    assert str(tmp_path / "v1") in str(caught.value)
    assert not text or text not in str(caught.value)


def test_missing_files_empty_folders_and_pipes_are_refused(tmp_path: Path) -> None:
    bad = {tmp_path / "away": "No such file", tmp_path: "holds no file v1", Path("/dev/null"): "regular"}
    for path, reason in bad.items():
        with pytest.raises(SourceUnusable, match=reason):
            from_files(path)


# A server that speaks what Vault's KV engine of version 2 does: paths, header, JSON and refusals as in its API docs.


@dataclass
class Vault:
    """``secrets`` by path; ``answer`` takes the place of the ordinary one."""

    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    namespace: str = ""
    answer: Any = None
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def reply(self, path: str, headers: Any) -> tuple[int, bytes, dict[str, str]]:
        self.asked.append(path)
        if self.answer is not None:
            return self.answer  # type: ignore[no-any-return]
        if headers["X-Vault-Token"] != TOKEN or (headers["X-Vault-Namespace"] or "") != self.namespace:
            return 403, b'{"errors":["permission denied"]}', {}
        data = self.secrets.get(path)
        if data is None:
            return 404, b'{"errors":[]}', {}
        metadata = {"created_time": "2026-11-21T00:00:00Z", "deletion_time": "", "destroyed": False, "version": 3}
        return 200, json.dumps({"request_id": "1", "data": {"data": data, "metadata": metadata}}).encode(), {}


@pytest.fixture
def vault() -> Iterator[Vault]:
    state = Vault({"/v1/secret/data/des/master-keys": {"v1": FIRST, "v2": SECOND, "note": "rotated in May"}})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body, headers = state.reply(self.path, self.headers)
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Tests are quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        state.address = f"http://127.0.0.1:{server.server_port}"
        yield state
        server.shutdown()


def ask(vault: Vault, **rest: Any) -> dict[int, bytes]:
    return from_vault(vault.address, "secret/des/master-keys", rest.pop("token", TOKEN), **rest)


def test_vault_s_fields_are_the_versions(vault: Vault) -> None:
    assert ask(vault) == {1: parse_master_key(FIRST), 2: parse_master_key(SECOND)}


def test_a_namespace_is_asked_for_by_its_header(vault: Vault) -> None:
    vault.namespace = "team/des"
    assert set(ask(vault, namespace="team/des")) == {1, 2}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((404, b'{"errors":[]}', {}), "no such secret"),
        ((503, b'{"errors":["Vault is sealed"]}', {}), "sealed"),
        ((500, b"planted", {}), "unexpected answer .500"),
        ((200, b"<html>planted</html>", {}), "no JSON"),
        ((200, b'{"data":{"v1":"planted"}}', {}), "KV engine of version 2"),
        ((200, b'{"data":{"data":null}}', {}), "KV engine of version 2"),
        ((200, b'{"data":{"data":{"key":"planted"}}}', {}), "no field v1"),
        ((200, b'{"data":{"data":{"v1":"planted"}}}', {}), "v1: not base64"),
    ],
)
def test_what_vault_can_answer_wrongly_is_one_clear_line(vault: Vault, answer: Any, reason: str) -> None:
    vault.answer = answer
    with pytest.raises(SourceUnusable, match=reason) as caught:
        ask(vault)
    assert "planted" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_token_is_refused_and_not_shown(vault: Vault) -> None:
    with pytest.raises(SourceUnusable, match="token isn't accepted") as caught:
        ask(vault, token="hvs.planted-wrong")
    assert "planted" not in str(caught.value)


def test_a_redirect_isnt_followed_for_it_would_carry_the_token_away(vault: Vault) -> None:
    vault.answer = (307, b"", {"Location": f"{vault.address}/elsewhere"})
    with pytest.raises(SourceUnusable, match="307"):
        ask(vault)
    assert vault.asked == ["/v1/secret/data/des/master-keys"]


def test_a_vault_that_is_away_or_never_answers_is_given_up_soon(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_sources, "VAULT_SECONDS", 0.2)

    def late(*_: Any) -> tuple[int, bytes, dict[str, str]]:
        time.sleep(0.6)
        return 200, b"{}", {}

    monkeypatch.setattr(vault, "reply", late)
    with pytest.raises(SourceUnusable, match="can't be reached"):
        ask(vault)
    with pytest.raises(SourceUnusable, match="Connection refused"):
        from_vault("http://127.0.0.1:1", "secret/des", TOKEN)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1 that it signed itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vault")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "vault.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    body = json.dumps({"data": {"data": {"v1": FIRST}}}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Tests are quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"https://127.0.0.1:{server.server_port}"
        with pytest.raises(SourceUnusable, match="can't be reached"):
            from_vault(address, "secret/des", TOKEN)
        assert set(from_vault(address, "secret/des", TOKEN, ca_file=certificate)) == {1}
        server.shutdown()


def test_the_token_comes_from_a_private_file(tmp_path: Path) -> None:
    assert vault_token("", put(tmp_path / "token", TOKEN + "\n")) == TOKEN
    with pytest.raises(SourceUnusable, match="chmod 0400"):
        vault_token("", put(tmp_path / "open", TOKEN, 0o644))
    with pytest.raises(SourceUnusable, match="no token"):
        vault_token("", None)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.startswith(("MASTER_", "VAULT_"))]:
        monkeypatch.delenv(name)
    return monkeypatch


def test_the_configuration_chooses_the_source(vault: Vault, tmp_path: Path, bare: pytest.MonkeyPatch) -> None:
    bare.setenv("MASTER_KEY_SOURCE", "files")
    bare.setenv("MASTER_KEY_PATH", str(put(tmp_path / "key", FIRST)))
    assert "[1]" in repr(load(dict(os.environ), keyless=False)[1])
    bare.setenv("MASTER_KEY_SOURCE", "vault")
    bare.setenv("VAULT_ADDR", vault.address)
    bare.setenv("VAULT_KEY_PATH", "secret/des/master-keys")
    bare.setenv("VAULT_TOKEN", TOKEN)
    config, keyring, _ = load(dict(os.environ), keyless=False)
    assert "[1, 2]" in repr(keyring)
    assert TOKEN not in repr(config)


def test_a_keyless_command_asks_no_vault(vault: Vault, bare: pytest.MonkeyPatch) -> None:
    bare.setenv("MASTER_KEY_SOURCE", "vault")
    bare.setenv("VAULT_ADDR", vault.address)
    bare.setenv("VAULT_KEY_PATH", "secret/des/master-keys")
    bare.setenv("VAULT_TOKEN", TOKEN)
    assert load(dict(os.environ), keyless=True)[1] is None
    assert vault.asked == []


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"MASTER_KEY_SOURCE": "files"}, "MASTER_KEY_PATH"),
        ({"MASTER_KEY_SOURCE": "vault"}, "VAULT_ADDR"),
        ({"MASTER_KEY_SOURCE": "vault", "VAULT_ADDR": "http://vault.example.org"}, "https://"),
        ({"MASTER_KEY_SOURCE": "vault", "VAULT_ADDR": "https://a:planted@vault.example.org"}, "VAULT_ADDR"),
        ({"MASTER_KEY_SOURCE": "cloud"}, "MASTER_KEY_SOURCE"),
        ({"VAULT_KEY_PATH": "../../sys/mounts?planted"}, "VAULT_KEY_PATH"),
    ],
)
def test_a_source_that_isnt_complete_ends_the_start(
    bare: pytest.MonkeyPatch, variables: dict[str, str], named: str
) -> None:
    for name, value in variables.items():
        bare.setenv(name, value)
    with pytest.raises(ConfigurationError, match=named) as caught:
        load(dict(os.environ), keyless=False)
    assert "planted" not in str(caught.value)
