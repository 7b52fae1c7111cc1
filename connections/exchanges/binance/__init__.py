"""What Binance's venues have in common: signing, refusals, words, clock, limits, and the way of a signed request.

A venue says the rest: its api.toml, the shapes of its records, and what only it can do.
"""
