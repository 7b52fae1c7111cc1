"""The recipe docs/recipes/add-an-exchange.md, followed once: this folder adds Tram, which doesn't exist.

| file | is |
|---|---|
| exchanges/tram/ | the adapter, as it would lie in connections/exchanges/ |
| front.py | Tram's side of the wire: the simulator's engine behind Tram's dialect |
| case.py | what the conformance suite must know of it |
| test_recipe.py | runs that suite, with this folder added to where exchanges are looked for |
"""
