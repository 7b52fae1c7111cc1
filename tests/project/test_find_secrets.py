import subprocess
import sys
from pathlib import Path

import pytest

from desproject.config import BASE_DIR
from desproject.lib.crypto import new_master_key

_SCRIPT = BASE_DIR / ".ci" / "find_secrets.py"


def _check(path: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, str(_SCRIPT), str(path)], capture_output=True, text=True)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(f"MASTER_ENCRYPTION_KEY={new_master_key()}", id="master key"),
        pytest.param(
            "key = 'vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A'",  # not a secret
            id="exchange's",
        ),
        pytest.param("-----BEGIN EC " + "PRIVATE KEY-----", id="private key"),
        pytest.param("url = 'postgresql://des:" + "s3cretpassw0rd@db.internal/des'", id="url"),
    ],
)
def test_a_credential_is_found_with_its_line(tmp_path: Path, line: str) -> None:
    file = tmp_path / "file.py"
    file.write_text(f"first\n{line}\n")
    ended = _check(file)
    assert ended.returncode == 1
    assert f"{file}:2:" in ended.stderr


def test_it_does_not_print_what_it_found(tmp_path: Path) -> None:
    key = new_master_key()
    (tmp_path / "file").write_text(f"MASTER_ENCRYPTION_KEY={key}\n")
    ended = _check(tmp_path / "file")
    assert key not in ended.stdout + ended.stderr


def test_ordinary_text_passes(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("MASTER_ENCRYPTION_KEY=\ndigest = '" + "0f" * 32 + "'\n# key: see the README\n")
    assert _check(tmp_path / "file").returncode == 0
