"""Damaged files of each format are read in one line or not at all: `python -m tests.fuzz`."""
