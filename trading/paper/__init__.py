"""Orders that never leave DES, filled at the prices of the exchange (ADR 25)."""
