"""Strategies that aren't ours: files of a folder that the operator names, each instance run in a process of its own."""
