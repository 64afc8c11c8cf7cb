"""The figures of a report: each from numbers to a file."""
