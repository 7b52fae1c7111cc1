"""make audit-dependencies tells findings from not having been able to ask."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from desproject.config import BASE_DIR

_SCRIPT = BASE_DIR / ".ci" / "audit_dependencies.py"
verdict: Any = runpy.run_path(str(_SCRIPT))["verdict"]

HEALTHY = {"name": "alpha", "version": "1.0", "vulns": []}
HIT = {"name": "beta", "version": "2.0", "vulns": [{"id": "PYSEC-2026-1", "fix_versions": ["2.1"]}]}
UNFOUND = {"name": "gamma", "skip_reason": "not found on PyPI"}


@pytest.mark.parametrize(
    ("dependencies", "code", "text"),
    [
        ([HEALTHY], 0, "No vulnerability is known of any of 1 locked dependencies."),
        ([HEALTHY, HIT], 1, "beta 2.0: PYSEC-2026-1, mended in 2.1"),
        ([HEALTHY, UNFOUND], 2, "gamma: nothing is known, not found on PyPI"),
    ],
)
def test_what_is_known_is_told(dependencies: list[dict[str, Any]], code: int, text: str) -> None:
    assert verdict(json.dumps({"dependencies": dependencies, "fixes": []})) == (code, text)


def test_a_service_that_cant_be_asked_is_told_and_is_no_clean_bill(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"alpha==1.0 --hash=sha256:{'0' * 64}\n")
    nowhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:1")
    done = subprocess.run(
        [sys.executable, str(_SCRIPT), str(lock)], env={**os.environ, **nowhere}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("The advisory service couldn't be asked, so nothing is known")
    assert done.stdout == ""
