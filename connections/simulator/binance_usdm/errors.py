"""What only USD-M refuses: code and message.

Messages of -2027, -4014 and -4023 are those of its documents; real answers have been seen to vary in wording.
"""

from decimal import Decimal

from connections.simulator.binance.errors import ApiError


def margin_insufficient() -> ApiError:
    return ApiError(-2019, "Margin is insufficient.")


def reduce_only_rejected() -> ApiError:
    return ApiError(-2022, "ReduceOnly Order is rejected.")


def would_trigger() -> ApiError:
    return ApiError(-2021, "Order would immediately trigger.")


def position_too_large() -> ApiError:
    return ApiError(-2027, "Exceeded the maximum allowable position at current leverage.")


def leverage_in_use() -> ApiError:
    return ApiError(-2028, "Leverage is smaller than permitted: insufficient margin balance.")


def duplicate_id() -> ApiError:
    return ApiError(-4116, "ClientOrderId is duplicated.")


def would_take() -> ApiError:
    return ApiError(
        -5022, "Due to the order could not be executed as maker, the Post Only order will be rejected. "
        "The order will not be recorded in the order history",
    )  # fmt: skip


def stops_live_elsewhere() -> ApiError:
    return ApiError(
        -4120, "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead."
    )


def wrong_position_side() -> ApiError:
    return ApiError(-4061, "Order's position side does not match user's setting.")


def too_precise() -> ApiError:
    return ApiError(-1111, "Precision is over the maximum defined for this asset.")


def quantity_not_positive() -> ApiError:
    return ApiError(-4003, "Quantity less than or equal to zero.")


def quantity_too_large() -> ApiError:
    return ApiError(-4005, "Quantity greater than max quantity.")


def price_off_tick() -> ApiError:
    return ApiError(-4014, "Price not increased by tick size.")


def price_too_high(limit: Decimal) -> ApiError:
    return ApiError(-4016, f"Limit price can't be higher than {limit}.")


def price_too_low(limit: Decimal) -> ApiError:
    return ApiError(-4024, f"Limit price can't be lower than {limit}.")


def too_small(least: Decimal) -> ApiError:
    return ApiError(-4164, f"Order's notional must be no smaller than {least} (unless you choose reduce only).")


def bad_leverage(leverage: int) -> ApiError:
    return ApiError(-4028, f"Leverage {leverage} is not valid")


def no_margin_change() -> ApiError:
    return ApiError(-4046, "No need to change margin type.")


def margin_change_with_orders() -> ApiError:
    return ApiError(-4047, "Margin type cannot be changed if there exists open orders.")


def margin_change_with_position() -> ApiError:
    return ApiError(-4048, "Margin type cannot be changed if there exists position.")


def no_listen_key() -> ApiError:
    return ApiError(-1125, "This listenKey does not exist.")


def bad_callback_rate() -> ApiError:
    return ApiError(-2007, "Invalid callBack rate.")


def cannot_close_position() -> ApiError:
    return ApiError(-4136, "Target strategy invalid for orderType, closePosition true")


def quantity_with_close_position() -> ApiError:
    return ApiError(-4137, "Quantity must be zero with closePosition equals true")
