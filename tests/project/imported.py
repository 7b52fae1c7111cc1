"""Everything that an import brought into this process's database, as JSON: ids, columns, and the keys opened.

python -m tests.project.imported
"""

from collections.abc import Mapping
from typing import Any

import django

django.setup()

from accounts.models import User  # noqa: E402  # models can be imported only now
from accounts.tenancy import everyone  # noqa: E402
from connections.custody import open_credentials  # noqa: E402
from connections.models import Connection  # noqa: E402
from tests.bench.children import say  # noqa: E402
from trading.models import StrategyInstance, Trade  # noqa: E402

# Not the same in two runs: the owner's id, when it was done, and ciphertexts with their nonces.
_ONE_RUNS_OWN = ("user_id", "created_at", "updated_at", "key_set_at", "api_key_sealed", "api_secret_sealed")


def imported() -> dict[str, Any]:
    with everyone():
        rows: dict[str, Any] = {
            model._meta.db_table: [_columns(row) for row in model._default_manager.order_by("pk").values()]
            for model in (Connection, StrategyInstance, Trade)
        }
        keys = [open_credentials(row) for row in Connection.objects.order_by("pk")]
    rows["keys"] = [(key.api_key, key.api_secret) for key in keys]
    rows["users"] = list(User.objects.values_list("email", flat=True))
    return rows


def _columns(row: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in row.items() if name not in _ONE_RUNS_OWN}


if __name__ == "__main__":
    say(imported())
