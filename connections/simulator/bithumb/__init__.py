"""Bithumb's wire format."""

from connections.simulator.krw.wire import Wire

BITHUMB = Wire(
    name="bithumb",
    prefix="/bithumb",
    place=("POST", "/v2/orders"),
    cancel=("DELETE", "/v2/order"),
    lists={"/v1/orders": None},
    order_type="order_type",
    client_id="client_order_id",
    order_id="order_id",
    private_socket="/websocket/v2/private",
    wants_timestamp=True,
    answers_whole_orders=False,
    partial_is_done=True,
    has_candle_streams=False,
    second_order_events=True,
    quotation=150,
    default=140,
    order=140,
    counts_by_address=True,
    tells_what_is_left=False,
    only_new="isOnlyRealtime",
    naive_offset_hours=9,
    price_bands=(
        ("1000000", "1000"), ("500000", "500"), ("100000", "100"), ("50000", "50"), ("10000", "10"), ("5000", "5"),
        ("100", "1"), ("10", "0.01"), ("1", "0.001"), ("0", "0.0001"),
    ),
)  # fmt: skip
