"""Binance USD-M futures: perpetual contracts, in one-way mode.

Facts: its public documents; addresses, paths and field names are in api.toml. Orders carry no position side, so an
account in hedge mode refuses them (-4061).
"""

from connections.exchanges.binance_usdm.venue import BinanceUsdm

VENUE = BinanceUsdm()
