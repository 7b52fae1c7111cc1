"""What tells one won exchange's wire format from the other's."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Wire:
    """Paths begin after the venue's prefix, which only the simulator has: their real paths are alike."""

    name: str
    prefix: str
    place: tuple[str, str]
    cancel: tuple[str, str]
    # Lists of orders: by path, which states they show; None: those that `state` asks for.
    lists: dict[str, tuple[str, ...] | None]
    # The names in a request to place, and in the look-ups.
    order_type: str
    client_id: str
    order_id: str
    private_socket: str
    # Whether tokens must carry the time.
    wants_timestamp: bool
    # What placing and cancelling answer: the whole order, or its ids only.
    answers_whole_orders: bool
    # Whether an order that may not rest counts as "done" with a part of it filled.
    partial_is_done: bool
    has_candle_streams: bool
    # In the private socket: order events of the second version, with other names and fields for order and trade.
    second_order_events: bool
    # From this price on, this step.
    price_bands: tuple[tuple[str, str], ...] = field(repr=False)
    # Requests a second: of public groups, private ones, and placing.
    quotation: int
    default: int
    order: int
    # Whether private groups count by address too, and whether answers say what is left.
    counts_by_address: bool
    tells_what_is_left: bool
    # The flag that keeps old data out of a subscription, and the hours off UTC of a time that doesn't say.
    only_new: str
    naive_offset_hours: int
    public_socket: str = "/websocket/v1"
