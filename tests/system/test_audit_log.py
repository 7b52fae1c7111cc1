"""Everything of an installation is killed in the middle of trading: the audit log has every move, and verifies."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping

from desproject.config import BASE_DIR
from desproject.lib.crypto import new_master_key
from tests.system.audit_rows import audited_moves, moves, orders_sent
from tests.system.installation import QUICK, Installation


def _command(installation: Installation, keys: Mapping[str, str], *arguments: str) -> str:
    """What a manage.py command of the installation prints; fails where it does."""
    own = {**installation.services, **keys, "DES_DATA_DIR": str(installation.folder), "LOG_LEVEL": "ERROR"}
    if "DATABASE_URL" not in own:
        own["DATABASE_URL"] = ""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=BASE_DIR, env={**os.environ, **own}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _kill_all(installation: Installation) -> None:
    """At once, until nobody is left who could have been started meanwhile."""
    while found := installation.processes():
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def test_nothing_is_missing_after_all_was_killed_in_the_middle_of_trading(installation: Installation) -> None:
    keys = {"MASTER_ENCRYPTION_KEY": new_master_key()}
    installation.start(environment={**QUICK, **keys})
    installation.wait_until(lambda: installation.trades() > 0, "somebody traded")
    installation.wait_until(lambda: installation.count("SELECT count(*) FROM audit_seals") > 0, "something is sealed")
    installation.wait_for_trades(10)

    _kill_all(installation)

    recorded = moves(installation)
    assert recorded == audited_moves(installation)
    assert orders_sent(installation) == {order for order, _ in recorded}
    # Rows of the last second have no seal yet, which is no fault; then every row gets one.
    assert "all as they were written" in _command(installation, keys, "verify_audit")
    _command(installation, keys, "shell", "--command", "from audit.sealer import seal_all; seal_all()")
    rows = installation.count("SELECT count(*) FROM audit_logs")
    assert _command(installation, keys, "verify_audit").startswith(f"{rows} sealed rows")
