"""Benchmarks: what DES adds to the bare work that it can't do without.

    make bench
    python -m tests.bench [--database sqlite|postgresql|both] [--seconds 10] [name …]

Each prints lines of JSON: DES's figures, those of a **floor** (the same work in a plain loop, see ``floor.py`` and the
benchmark's own text) and the ratio. Both run in the same minute, slice by slice (A B A B …), because on a machine that
others use too only the ratio means something.
"""
