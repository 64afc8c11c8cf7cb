"""Runs: the manifest, the quality gate, publication and retention."""
