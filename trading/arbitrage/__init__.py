"""Arbitrage as sums: what a fire would win, what it has to win at least, what became of it. No I/O, no clock."""
