"""A pytest plug-in that prepares the environment before Django's settings are read: fresh key, fresh data folder."""

import os
import tempfile

from desproject.lib.crypto import new_master_key

os.environ.setdefault("MASTER_ENCRYPTION_KEY", new_master_key())
os.environ.setdefault("DES_DATA_DIR", tempfile.mkdtemp(prefix="des-test-"))
os.environ.setdefault("LOG_LEVEL", "WARNING")
