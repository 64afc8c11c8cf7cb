"""Sweeps: a grid of models, trained and compared."""
