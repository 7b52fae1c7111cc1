import re
import subprocess
import sys

import pytest

from desproject.config import BASE_DIR, Config, ConfigurationError, load
from desproject.lib.crypto import new_master_key

_EXAMPLE = (BASE_DIR / ".env.example").read_text()


def _variables() -> set[str]:
    return {str(field.validation_alias) for field in Config.model_fields.values()}


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


def test_all_bad_values_are_named_in_one_message(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("LEASE_SECONDS", "soon")
    bare.setenv("DATABASE_URL", "mysql://root:hunter2@db/des")
    bare.setenv("LOG_LEVEL", "LOUD")
    with pytest.raises(ConfigurationError) as caught:
        load({"MASTER_ENCRYPTION_KEY": "c2hvcnQ="}, keyless=False)
    message = str(caught.value)
    for name in ("LEASE_SECONDS", "DATABASE_URL", "LOG_LEVEL", "MASTER_ENCRYPTION_KEY"):
        assert name in message
    assert "\n" not in message
    assert "hunter2" not in message
    assert "c2hvcnQ" not in message


def test_no_secret_shows_in_the_configuration_s_repr(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("JWT_SECRET", "planted-jwt-secret")
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
    _, keyring = load({"MASTER_ENCRYPTION_KEY": made.stdout.strip()}, keyless=False)
    assert keyring is not None
    assert keyring.open(keyring.seal("text", "here"), "here") == "text"


def test_the_newest_key_version_seals(bare: pytest.MonkeyPatch) -> None:
    environment = {"MASTER_ENCRYPTION_KEY": new_master_key(), "MASTER_ENCRYPTION_KEY_V3": new_master_key()}
    _, keyring = load(environment, keyless=False)
    assert keyring is not None
    assert keyring.seal("text", "here").startswith("ENC[v3]:")
