"""Sweeps: grids of models, trained and compared."""
