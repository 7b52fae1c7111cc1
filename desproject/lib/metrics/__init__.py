"""What every process counts and times, cheaply enough for the order path.

``registry``: counters, gauges and recorders of this process (``METRICS``). ``publishing``: its snapshot to Redis, once
a second. ``merging``: the snapshots of all living processes as one picture.
"""
