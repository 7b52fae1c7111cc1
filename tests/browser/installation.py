"""The installation that browsers look at."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from desproject.lib.crypto import new_master_key
from tests.system.installation import Installation
from tests.system.services import own_services
from tests.system.trading import Trading

# A market with something to see, on a machine that also runs a browser.
_SPEED = "3"
# All tests together load more pages in a minute than people do.
_MANY_REQUESTS = {"RATE_LIMIT_REQUESTS": "10000", "RATE_LIMIT_GLOBAL_REQUESTS": "100000", "RATE_LIMIT_SOCKETS": "100"}


@contextmanager
def running(folder: Path) -> Iterator[Trading]:
    """Started; its users trade."""
    # The demo's own keys are known to nobody else; with these the installation has its commands too.
    keys = {"MASTER_ENCRYPTION_KEY": new_master_key(), "JWT_SECRET": secrets.token_urlsafe(32)}
    with own_services() as services:
        installation = Installation(folder, services)
        try:
            installation.start("--speed", _SPEED, environment={**keys, **_MANY_REQUESTS})
            installation.wait_until((installation.folder / "demo.json").exists, "the demo's users are there")
            installation.wait_for_trades(2)
            yield Trading(installation, {**services, **keys, "DES_DATA_DIR": str(installation.folder)})
        finally:
            installation.destroy()
