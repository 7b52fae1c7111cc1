"""The environments of the clients: one each, because their pins clash with the project's and with each other's.

python-binance and both connectors even own the same file, `binance/__init__.py`: in one environment whichever was
installed last would decide what all of them are. `python -m tests.clients.environments` makes them.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

CLIENTS = ("python_binance", "binance_connector", "binance_futures_connector", "ccxt")
HERE = Path(__file__).parent
ROOT = Path(os.environ.get("VENV_CLIENTS") or HERE.parents[1] / ".venv-clients").absolute()


def python_of(client: str) -> Path:
    """The interpreter of a client's environment, made first if it is missing or its lock file has changed."""
    folder = ROOT / client
    lock = HERE / f"{client}.lock"
    stamp, wanted = folder / ".installed", hashlib.sha256(lock.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        _install(folder, lock)
        stamp.write_text(wanted)
    return _interpreter(folder)


def _install(folder: Path, lock: Path) -> None:
    """With uv, which takes seconds, or with pip where there is none."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pinned = ["--quiet", "--require-hashes", "-r", str(lock)]
    if importlib.util.find_spec("uv"):
        command = [sys.executable, "-m", "uv", "pip", "install", "--python", str(_interpreter(folder)), *pinned]
    else:
        command = [str(_interpreter(folder)), "-m", "pip", "install", "--disable-pip-version-check", *pinned]
    subprocess.run(command, check=True)


def _interpreter(folder: Path) -> Path:
    return folder / "bin" / "python"


if __name__ == "__main__":
    for name in CLIENTS:
        sys.stdout.write(f"{python_of(name)}\n")
