import re
import subprocess
import sys

import pytest

from desproject.config import BASE_DIR, Config, ConfigurationError, load
from desproject.lib.crypto import new_master_key
from desproject.lib.features import FEATURES, stages

_EXAMPLE = (BASE_DIR / ".env.example").read_text()


def _variables() -> set[str]:
    settings = {str(field.validation_alias) for field in Config.model_fields.values()}
    return settings | {feature.variable for feature in FEATURES}


def _example() -> dict[str, str]:
    return dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", _EXAMPLE, re.MULTILINE))


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without any variable of ours."""
    for name in _variables():
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_the_example_names_every_variable_and_no_other() -> None:
    assert set(_example()) == _variables() | {"MASTER_ENCRYPTION_KEY"}


def test_the_example_shows_the_defaults(bare: pytest.MonkeyPatch) -> None:
    defaults = Config()
    for name, value in _example().items():
        bare.setenv(name, value)
    assert Config() == defaults
    assert stages(_example()) == stages({})


def test_all_bad_values_are_named_in_one_message(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("LEASE_SECONDS", "soon")
    bare.setenv("DATABASE_URL", "mysql://root:hunter2@db/des")
    bare.setenv("LOG_LEVEL", "LOUD")
    environment = {"MASTER_ENCRYPTION_KEY": "c2hvcnQ=", "FEATURE_GATEWAY_TRUST": "110%", "FEATURE_TYPING": "on"}
    with pytest.raises(ConfigurationError) as caught:
        load(environment, keyless=False)
    message = str(caught.value)
    for name in ("LEASE_SECONDS", "DATABASE_URL", "LOG_LEVEL", *environment):
        assert name in message
    assert "\n" not in message
    assert "hunter2" not in message
    assert "c2hvcnQ" not in message


def test_a_short_signing_key_is_refused_and_not_shown(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("JWT_SECRET", "planted-jwt-secret-of-31-bytes!")
    with pytest.raises(ConfigurationError) as caught:
        load({"MASTER_ENCRYPTION_KEY": new_master_key()}, keyless=False)
    assert "JWT_SECRET" in str(caught.value)
    assert "planted" not in str(caught.value)


def test_what_is_no_network_is_no_trusted_proxy(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("TRUSTED_PROXIES", "10.0.0.0/8, the-proxy")
    with pytest.raises(ConfigurationError, match="TRUSTED_PROXIES"):
        load({"MASTER_ENCRYPTION_KEY": new_master_key()}, keyless=False)


def test_no_secret_shows_in_the_configuration_s_repr(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("JWT_SECRET", "planted-jwt-secret-of-thirty-two-bytes")
    bare.setenv("SECRET_KEY", "planted-django-secret")
    bare.setenv("DATABASE_URL", "postgresql://des:planted-password@db.example/des")
    bare.setenv("REDIS_URL", "redis://:planted-password@cache.example")
    assert "planted" not in repr(Config())


def test_a_missing_master_key_ends_the_process_with_one_line(bare: pytest.MonkeyPatch) -> None:
    bare.delenv("MASTER_ENCRYPTION_KEY", raising=False)
    ended = subprocess.run([sys.executable, "manage.py", "check"], cwd=BASE_DIR, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert "MASTER_ENCRYPTION_KEY" in ended.stderr


def test_a_keyless_command_runs_without_one(bare: pytest.MonkeyPatch) -> None:
    bare.delenv("MASTER_ENCRYPTION_KEY", raising=False)
    made = subprocess.run(
        [sys.executable, "manage.py", "generate_master_key"], cwd=BASE_DIR, capture_output=True, text=True, check=True
    )
    _, keyring, _ = load({"MASTER_ENCRYPTION_KEY": made.stdout.strip()}, keyless=False)
    assert keyring is not None
    assert keyring.open(keyring.seal("text", "here"), "here") == "text"


def test_the_newest_key_version_seals(bare: pytest.MonkeyPatch) -> None:
    environment = {"MASTER_ENCRYPTION_KEY": new_master_key(), "MASTER_ENCRYPTION_KEY_V3": new_master_key()}
    _, keyring, _ = load(environment, keyless=False)
    assert keyring is not None
    assert keyring.seal("text", "here").startswith("ENC[v3]:")
