"""What each kind of caller gets of alice's things: by every operation of the API, by every message that a page may send
on ``/ws/stream``, and of every kind of news there. Tests walk the tables, and fail where there is an operation, a
message or a kind of news that isn't here.

The *owner* is alice; the *stranger* is bob, another trader; the *manager* leads alice's team; *nobody* isn't logged in;
the *deleted* one is alice herself, by what let her in before she was deleted.
"""

from dataclasses import dataclass

from trading.push import News

CALLERS = ("owner", "stranger", "manager", "nobody", "deleted")


@dataclass(frozen=True)
class Verdict:
    """The answer's status to each caller. ``shown_to`` may find alice's ids in it; ``turned_away`` are the statuses of
    who isn't let in, who then has changed nothing either."""

    owner: int
    stranger: int
    manager: int
    nobody: int
    deleted: int
    shown_to: frozenset[str] = frozenset({"owner"})
    turned_away: frozenset[int] = frozenset({401, 403, 404})


def of_a_row(owner: int) -> Verdict:
    """The request names a row of alice's."""
    return Verdict(owner, 404, 404, 401, 401)


def own(status: int) -> Verdict:
    """About the caller's own things, which others have too."""
    return Verdict(status, status, status, 401, 401)


def open_to_all(status: int) -> Verdict:
    return Verdict(status, status, status, status, status)


OPERATORS_ONLY = Verdict(403, 403, 403, 401, 401)
OWN_LIST, OWN_TEXT_NEEDED = own(200), own(400)

API: dict[tuple[str, str], Verdict] = {
    ("get", "/api/audit-logs"): OWN_LIST,
    ("get", "/api/audit-logs/export"): OWN_LIST,
    ("get", "/api/balances"): OWN_LIST,
    ("get", "/api/candles"): of_a_row(200),
    ("get", "/api/connections"): OWN_LIST,
    ("post", "/api/connections"): OWN_TEXT_NEEDED,
    ("get", "/api/connections/{id}"): of_a_row(200),
    ("patch", "/api/connections/{id}"): of_a_row(200),
    ("delete", "/api/connections/{id}"): of_a_row(409),
    ("post", "/api/connections/{id}/leaked"): of_a_row(200),
    # Alice's is a spot account.
    ("get", "/api/connections/{id}/leverage"): of_a_row(400),
    ("put", "/api/connections/{id}/leverage"): of_a_row(400),
    ("post", "/api/connections/{id}/paper-account"): of_a_row(201),
    ("post", "/api/connections/{id}/reconcile"): of_a_row(202),
    ("post", "/api/connections/{id}/test"): of_a_row(200),
    ("get", "/api/devices"): OWN_LIST,
    ("delete", "/api/devices/{id}"): of_a_row(204),
    ("get", "/api/disclosure"): OWN_LIST,
    ("post", "/api/disclosure/accept"): own(200),
    ("get", "/api/equity"): OWN_LIST,
    ("get", "/api/health"): open_to_all(200),
    ("get", "/api/health/ready"): open_to_all(503),
    ("get", "/api/kill-switch"): OWN_LIST,
    ("post", "/api/kill-switch"): of_a_row(201),
    ("delete", "/api/kill-switch"): of_a_row(200),
    ("post", "/api/login"): open_to_all(400),
    ("post", "/api/logout"): OWN_LIST,
    ("get", "/api/me"): OWN_LIST,
    ("post", "/api/me/delete"): OWN_TEXT_NEEDED,
    ("get", "/api/metrics"): OPERATORS_ONLY,
    ("get", "/api/metrics/latency"): OPERATORS_ONLY,
    ("get", "/api/orders"): OWN_LIST,
    ("post", "/api/orders"): of_a_row(202),
    ("get", "/api/orders/{id}"): of_a_row(200),
    ("patch", "/api/orders/{id}"): of_a_row(202),
    ("delete", "/api/orders/{id}"): of_a_row(202),
    ("post", "/api/otp/confirm"): OWN_TEXT_NEEDED,
    ("post", "/api/otp/disable"): OWN_TEXT_NEEDED,
    ("post", "/api/otp/enrol"): own(200),
    ("post", "/api/password/change"): OWN_TEXT_NEEDED,
    ("post", "/api/password/reset"): open_to_all(400),
    ("post", "/api/password/reset/confirm"): open_to_all(400),
    ("get", "/api/positions"): OWN_LIST,
    ("get", "/api/prices"): OWN_LIST,
    ("get", "/api/reconciliations"): OWN_LIST,
    ("post", "/api/register"): open_to_all(400),
    ("get", "/api/risk/events"): OWN_LIST,
    ("post", "/api/risk/events"): OPERATORS_ONLY,
    ("get", "/api/risk/events/report"): OWN_LIST,
    ("get", "/api/risk/events/{id}"): of_a_row(200),
    ("patch", "/api/risk/events/{id}"): OPERATORS_ONLY,
    ("get", "/api/risk/headroom"): OWN_LIST,
    ("get", "/api/risk/metrics"): OWN_LIST,
    ("get", "/api/risk/metrics/summed"): OWN_LIST,
    ("get", "/api/risk/policy"): OWN_LIST,
    ("put", "/api/risk/policy"): of_a_row(200),
    ("get", "/api/signals"): OWN_LIST,
    ("get", "/api/strategies"): OWN_LIST,
    ("get", "/api/strategy-instances"): OWN_LIST,
    ("post", "/api/strategy-instances"): of_a_row(201),
    ("get", "/api/strategy-instances/{id}"): of_a_row(200),
    ("patch", "/api/strategy-instances/{id}"): of_a_row(200),
    ("delete", "/api/strategy-instances/{id}"): of_a_row(204),
    ("post", "/api/strategy-instances/{id}/dry-run-lift"): OPERATORS_ONLY,
    ("get", "/api/strategy-instances/{id}/fires"): of_a_row(200),
    ("post", "/api/strategy-instances/{id}/pause"): of_a_row(409),
    ("post", "/api/strategy-instances/{id}/start"): of_a_row(200),
    ("post", "/api/strategy-instances/{id}/stop"): of_a_row(200),
    ("post", "/api/token/refresh"): open_to_all(400),
    ("get", "/api/trades"): OWN_LIST,
    # The team's manager sees its members, and makes new ones.
    ("get", "/api/users"): Verdict(403, 403, 200, 401, 401, shown_to=frozenset({"manager"})),
    ("post", "/api/users"): Verdict(403, 403, 400, 401, 401),
    # Administrators only, to whom nobody here belongs: whosever id it is.
    ("delete", "/api/users/{id}"): of_a_row(404),
}


@dataclass(frozen=True)
class Heard:
    """What each caller hears first after a message that names what is alice's: its type, or the code of an error."""

    owner: str
    stranger: str
    manager: str
    # Has no token, and says so where one is asked for.
    nobody: str
    # Is refused when the token is shown, whatever comes after it.
    deleted: str = "TOKEN_INVALID"


# By the message's type. What is asked for without an answer of its own is followed by asking for a snapshot.
STREAM: dict[str, Heard] = {
    "auth": Heard("ready", "ready", "ready", "TOKEN_INVALID"),
    "snapshot": Heard("snapshot", "snapshot", "snapshot", "UNAUTHENTICATED"),
    "watch": Heard("snapshot", "NOT_FOUND", "NOT_FOUND", "UNAUTHENTICATED"),
}
OWNER_ONLY = frozenset({"owner"})
# Who hears of what happens to alice. The whole system's kill switch is everybody's (tests/web/stream/test_news.py).
NEWS: dict[News, frozenset[str]] = {
    News.ORDER: OWNER_ONLY,
    News.TRADE: OWNER_ONLY,
    News.POSITION: OWNER_ONLY,
    News.BALANCE: OWNER_ONLY,
    News.SIGNAL: OWNER_ONLY,
    News.INSTANCE: OWNER_ONLY,
    News.EQUITY: OWNER_ONLY,
    News.KILL: OWNER_ONLY,
    News.HEADROOM: OWNER_ONLY,
    News.CANDLE: OWNER_ONLY,
}
