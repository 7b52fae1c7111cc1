"""Symbols as traders write them, whatever the exchange: ``BTC/USDT``, perpetuals ``BTC/USDT:USDT``."""

import re

PATTERN = re.compile(r"[A-Z0-9]{1,20}/[A-Z0-9]{1,20}(:[A-Z0-9]{1,20})?")
# What is said of one that doesn't fit.
SHAPE = "must look like BTC/USDT"
