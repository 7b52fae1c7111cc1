"""The won exchanges' errors: HTTP status, name and message."""

from typing import Any

from connections.simulator.matching import Side

BID_ASK = {Side.BUY: "bid", Side.SELL: "ask"}


class ApiError(Exception):
    """An answer that refuses a request."""

    def __init__(self, name: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.name = name
        self.message = message
        self.status = status

    def body(self) -> dict[str, Any]:
        return {"error": {"name": self.name, "message": self.message}}


def invalid(what: str) -> ApiError:
    return ApiError("validation_error", f"{what} is missing or does not have a valid value")


def wrong_order(side: Side) -> ApiError:
    return ApiError(f"create_{BID_ASK[side]}_error", "The parameters do not fit the type of order.")


def bad_price(side: Side) -> ApiError:
    return ApiError(f"invalid_price_{BID_ASK[side]}", "The price does not fit the market's unit.")


def too_small(side: Side) -> ApiError:
    return ApiError(f"under_min_total_{BID_ASK[side]}", "The order is below the least total.")


def no_funds(side: Side) -> ApiError:
    return ApiError(f"insufficient_funds_{BID_ASK[side]}", "insufficient balance")


def used_id(name: str) -> ApiError:
    return ApiError(f"duplicated_{name}", f"The {name} has been used before.")


def unknown_order() -> ApiError:
    return ApiError("order_not_found", "The order was not found.", 404)


def unknown_market() -> ApiError:
    return ApiError("404", "Code not found", 404)


def unsigned(name: str, message: str) -> ApiError:
    return ApiError(name, message, 401)


def out_of_scope() -> ApiError:
    return ApiError("out_of_scope", "The key has no permission for this.", 401)


def too_many(group: str) -> ApiError:
    return ApiError("too_many_requests", f"Too many requests in group {group}.", 429)


def banned(seconds: int) -> ApiError:
    return ApiError("too_many_requests", f"Too many requests: blocked for {seconds} seconds.", 418)
