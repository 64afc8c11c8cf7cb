"""Copies of published runs in an object store, for readers without a shared disk."""
