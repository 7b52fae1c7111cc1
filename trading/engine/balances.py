"""Balances that an exchange told, taken over where they are newer than ours."""

from connections.gateways import AccountSnapshot
from trading.engine import booking, news
from trading.engine.desk import Desk
from trading.engine.state import Account
from trading.engine.tenant import Tenant
from trading.models import Balance


async def book_snapshot(desk: Desk, tenant: Tenant, account: Account, snapshot: AccountSnapshot) -> list[Balance]:
    """Takes over what is newer; returns the rows that changed."""
    rows = booking.book_balances(tenant.state, account, snapshot)
    moved = [row for asset, row in rows.items() if _is_news(account.balances.get(asset), row)]
    if moved:
        writes = tenant.write_set()
        for row in moved:
            writes.save(row, "total", "locked", "as_of")
        await desk.committer.commit(writes)
    account.balances.update(rows)
    for row in moved:
        news.tell_balance(desk, tenant.state, account, row)
    return moved


def _is_news(known: Balance | None, row: Balance) -> bool:
    return known is None or (known.total, known.locked) != (row.total, row.locked)
