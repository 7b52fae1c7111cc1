"""Streams of exchanges: sockets kept up, what they say published to Redis, shared out to processes by leases."""
