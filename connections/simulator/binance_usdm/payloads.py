"""USD-M's JSON shapes."""

from decimal import Decimal

from connections.simulator.accounts import Account, Fill
from connections.simulator.binance.market_payloads import Json, number
from connections.simulator.binance_usdm import filters
from connections.simulator.exchange import Market, Report
from connections.simulator.instruments import Instrument
from connections.simulator.margin import BRACKETS, Figures, Holding, Income, MarginBank, cap_of
from connections.simulator.matching import ZERO, Order, OrderType

_ONE_WAY = "BOTH"
# The label of an order by which the exchange closes a position.
LIQUIDATION = "liquidation"
_NEVER_DELIVERED = 4_133_404_800_000


def symbol_info(instrument: Instrument) -> Json:
    return {
        "symbol": instrument.symbol,
        "pair": instrument.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": _NEVER_DELIVERED,
        "onboardDate": 1_569_398_400_000,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": instrument.base,
        "quoteAsset": instrument.quote,
        "marginAsset": instrument.quote,
        "pricePrecision": _decimals(instrument.tick),
        "quantityPrecision": _decimals(instrument.lot),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10_000,
        "filters": filters.describe(instrument),
        "orderTypes": [
            "LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET",
        ],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }


def _decimals(step: Decimal) -> int:
    exponent = step.normalize().as_tuple().exponent
    return -exponent if isinstance(exponent, int) and exponent < 0 else 0


# orders


def placed_order(order: Order) -> Json:
    """As answered to placing and cancelling."""
    return {
        "orderId": order.order_id,
        "symbol": order.symbol,
        "status": order.status,
        "clientOrderId": order.client_order_id,
        "price": number(order.price),
        "avgPrice": number(average(order.quote_executed, order.executed)),
        "origQty": number(order.quantity),
        "executedQty": number(order.executed),
        "cumQty": number(order.executed),
        "cumQuote": number(order.quote_executed),
        "timeInForce": time_in_force(order),
        "type": kind(order),
        "reduceOnly": order.reduce_only,
        "closePosition": False,
        "side": order.side,
        "positionSide": _ONE_WAY,
        "stopPrice": "0",
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": kind(order),
        "priceMatch": "NONE",
        "selfTradePreventionMode": "NONE",
        "goodTillDate": 0,
        "updateTime": order.updated_ms,
    }


def acknowledged_order(order: Order) -> Json:
    """As it was taken, whatever it has traded since."""
    return {
        **placed_order(order), "status": "NEW", "avgPrice": "0.00", "executedQty": "0", "cumQty": "0", "cumQuote": "0",
    }  # fmt: skip


def queried_order(order: Order) -> Json:
    return {**placed_order(order), "time": order.created_ms}


def kind(order: Order) -> str:
    if LIQUIDATION in order.labels:
        return "LIQUIDATION"
    return "MARKET" if order.type is OrderType.MARKET else "LIMIT"


def time_in_force(order: Order) -> str:
    return "GTX" if order.type is OrderType.LIMIT_MAKER else order.time_in_force


def average(quote: Decimal, quantity: Decimal) -> Decimal:
    return quote / quantity if quantity else ZERO


def own_trade(fill: Fill) -> Json:
    return {
        "symbol": fill.symbol,
        "id": fill.trade_id,
        "orderId": fill.order_id,
        "side": "BUY" if fill.is_buyer else "SELL",
        "positionSide": _ONE_WAY,
        "price": number(fill.price),
        "qty": number(fill.quantity),
        "quoteQty": number(fill.quote),
        "realizedPnl": number(fill.realized),
        "commission": number(fill.commission),
        "commissionAsset": fill.commission_asset,
        "time": fill.time_ms,
        "buyer": fill.is_buyer,
        "maker": fill.is_maker,
    }


# accounts


def _asset_figures(asset: str, figures: Figures, updated_ms: int) -> Json:
    wallet, available = number(figures.wallet), number(max(figures.available, ZERO))
    return {
        "asset": asset,
        "walletBalance": wallet,
        "unrealizedProfit": number(figures.unrealized),
        "marginBalance": number(figures.wallet + figures.unrealized),
        "maintMargin": number(figures.maintenance),
        "initialMargin": number(figures.position_margin + figures.order_margin),
        "positionInitialMargin": number(figures.position_margin),
        "openOrderInitialMargin": number(figures.order_margin),
        "crossWalletBalance": wallet,
        "crossUnPnl": number(figures.unrealized),
        "availableBalance": available,
        "maxWithdrawAmount": available,
        "updateTime": updated_ms,
    }


def account_info(bank: MarginBank, account: Account, markets: list[Market]) -> Json:
    assets = {asset: bank.figures(account, asset) for asset in sorted(account.balances)}
    rows = [_asset_figures(asset, figures, account.updated_ms) for asset, figures in assets.items()]
    total = assets.get("USDT", Figures(ZERO, ZERO, ZERO, ZERO, ZERO))
    usdt = _asset_figures("USDT", total, 0)
    totals = {
        "totalInitialMargin": usdt["initialMargin"], "totalMaintMargin": usdt["maintMargin"],
        "totalWalletBalance": usdt["walletBalance"], "totalUnrealizedProfit": usdt["unrealizedProfit"],
        "totalMarginBalance": usdt["marginBalance"], "totalPositionInitialMargin": usdt["positionInitialMargin"],
        "totalOpenOrderInitialMargin": usdt["openOrderInitialMargin"], "totalCrossWalletBalance": usdt["walletBalance"],
        "totalCrossUnPnl": usdt["unrealizedProfit"], "availableBalance": usdt["availableBalance"],
        "maxWithdrawAmount": usdt["maxWithdrawAmount"],
    }  # fmt: skip
    positions = [_account_position(bank, account, market.instrument) for market in markets]
    return {**account_config(account), **totals, "assets": rows, "positions": positions}


def _account_position(bank: MarginBank, account: Account, instrument: Instrument) -> Json:
    risk = position_risk(bank, account, instrument)
    return {
        "symbol": instrument.symbol,
        "initialMargin": number(bank.position_margin(account, instrument.symbol)),
        "maintMargin": number(bank.maintenance(account, instrument.symbol)),
        "unrealizedProfit": risk["unRealizedProfit"],
        "leverage": risk["leverage"],
        "isolated": risk["marginType"] == "isolated",
        "entryPrice": risk["entryPrice"],
        "positionSide": _ONE_WAY,
        "positionAmt": risk["positionAmt"],
        "notional": risk["notional"],
        "updateTime": risk["updateTime"],
    }


def account_config(account: Account) -> Json:
    return {
        "feeTier": 0,
        "canTrade": account.permissions.can_trade,
        "canDeposit": True,
        "canWithdraw": True,
        "dualSidePosition": False,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
    }


def balance(account: Account, asset: str, figures: Figures) -> Json:
    row = _asset_figures(asset, figures, account.updated_ms)
    names = ("asset", "crossWalletBalance", "crossUnPnl", "availableBalance", "maxWithdrawAmount", "updateTime")
    return {
        "accountAlias": f"sim{account.uid}", "balance": row["walletBalance"], "marginAvailable": True,
        **{name: row[name] for name in names},
    }  # fmt: skip


def position_risk(bank: MarginBank, account: Account, instrument: Instrument) -> Json:
    symbol = instrument.symbol
    margin, mark = bank.margin_of(account), bank.mark(symbol)
    holding = margin.holdings[symbol]
    isolated = symbol in margin.isolated
    own_margin = number(bank.position_margin(account, symbol) if isolated else ZERO)
    return {
        "symbol": symbol,
        "positionAmt": number(holding.quantity),
        "entryPrice": number(holding.entry_price),
        "breakEvenPrice": number(holding.entry_price),
        "markPrice": number(mark),
        "unRealizedProfit": number(holding.unrealized(mark)),
        "liquidationPrice": number(bank.liquidation_price(account, symbol, instrument.quote)),
        "leverage": str(margin.leverage[symbol]),
        "maxNotionalValue": str(cap_of(margin.leverage[symbol])),
        "marginType": "isolated" if isolated else "cross",
        "isolatedMargin": own_margin,
        "isAutoAddMargin": "false",
        "positionSide": _ONE_WAY,
        "notional": number(bank.worth(account, symbol)),
        "isolatedWallet": own_margin,
        "updateTime": holding.updated_ms,
    }


def leverage_brackets(symbol: str) -> Json:
    floors = [ZERO, *(bracket.cap for bracket in BRACKETS)]
    return {
        "symbol": symbol,
        "brackets": [
            {
                "bracket": index + 1, "initialLeverage": bracket.max_leverage, "notionalCap": int(bracket.cap),
                "notionalFloor": int(floors[index]), "maintMarginRatio": float(bracket.rate),
                "cum": float(bracket.too_much),
            }
            for index, bracket in enumerate(BRACKETS)
        ],
    }  # fmt: skip


def income(row: Income) -> Json:
    return {
        "symbol": row.symbol,
        "incomeType": row.kind,
        "income": number(row.amount),
        "asset": row.asset,
        "info": row.kind,
        "time": row.time_ms,
        "tranId": row.income_id,
        "tradeId": str(row.trade_id) if row.trade_id else "",
    }


# user events


def order_event(report: Report, event_ms: int) -> Json:
    order, fill, progress = report.order, report.fill, report.progress
    body: Json = {
        "s": order.symbol,
        "c": order.client_order_id,
        "S": order.side,
        "o": kind(order),
        "f": time_in_force(order),
        "q": number(order.quantity),
        "p": number(order.price),
        "ap": number(average(progress.quote_executed, progress.executed)),
        "sp": "0",
        "x": "CALCULATED" if report.kind == "TRADE" and LIQUIDATION in order.labels else report.kind,
        "X": progress.status,
        "i": order.order_id,
        "l": number(fill.quantity if fill else None),
        "z": number(progress.executed),
        "L": number(fill.price if fill else None),
        "T": report.time_ms,
        "t": fill.trade_id if fill else 0,
        "b": "0",
        "a": "0",
        "m": fill.is_maker if fill else False,
        "R": order.reduce_only,
        "wt": "CONTRACT_PRICE",
        "ot": kind(order),
        "ps": _ONE_WAY,
        "cp": False,
        "rp": number(fill.realized if fill else None),
        "pP": False,
        "si": 0,
        "ss": 0,
        "V": "NONE",
        "pm": "NONE",
        "gtd": 0,
    }
    if fill is not None:
        body |= {"N": fill.commission_asset, "n": number(fill.commission)}
    return {"e": "ORDER_TRADE_UPDATE", "E": event_ms, "T": report.time_ms, "o": body}


def account_event(
    reason: str, balances: dict[str, tuple[Decimal, Decimal]], holdings: dict[str, Json], at_ms: int, event_ms: int
) -> Json:
    """`balances` are (wallet, change not from trading) by asset."""
    rows = [
        {"a": asset, "wb": number(wallet), "cw": number(wallet), "bc": number(change)}
        for asset, (wallet, change) in balances.items()
    ]
    body = {"m": reason, "B": rows, "P": list(holdings.values())}
    return {"e": "ACCOUNT_UPDATE", "E": event_ms, "T": at_ms, "a": body}


def holding_row(symbol: str, holding: Holding, mark: Decimal, isolated: bool) -> Json:
    return {
        "s": symbol,
        "pa": number(holding.quantity),
        "ep": number(holding.entry_price),
        "bep": number(holding.entry_price),
        "cr": number(holding.realized),
        "up": number(holding.unrealized(mark)),
        "mt": "isolated" if isolated else "cross",
        "iw": "0",
        "ps": _ONE_WAY,
    }


def config_event(symbol: str, leverage: int, event_ms: int) -> Json:
    return {"e": "ACCOUNT_CONFIG_UPDATE", "E": event_ms, "T": event_ms, "ac": {"s": symbol, "l": leverage}}
