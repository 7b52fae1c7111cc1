"""Upbit's wire format."""

from connections.simulator.krw.wire import Wire

UPBIT = Wire(
    name="upbit",
    prefix="/upbit",
    place=("POST", "/v1/orders"),
    cancel=("DELETE", "/v1/order"),
    lists={"/v1/orders/open": ("wait",), "/v1/orders/closed": ("done", "cancel")},
    order_type="ord_type",
    client_id="identifier",
    order_id="uuid",
    private_socket="/websocket/v1/private",
    wants_timestamp=False,
    answers_whole_orders=True,
    partial_is_done=False,
    has_candle_streams=True,
    second_order_events=False,
    quotation=10,
    default=30,
    order=8,
    counts_by_address=False,
    tells_what_is_left=True,
    only_new="is_only_realtime",
    naive_offset_hours=0,
    price_bands=(
        ("1000000", "1000"), ("500000", "500"), ("100000", "100"), ("50000", "50"), ("10000", "10"), ("5000", "5"),
        ("100", "1"), ("10", "0.1"), ("1", "0.01"), ("0.1", "0.001"), ("0.01", "0.0001"), ("0.001", "0.00001"),
        ("0.0001", "0.000001"), ("0.00001", "0.0000001"), ("0", "0.00000001"),
    ),
)  # fmt: skip
