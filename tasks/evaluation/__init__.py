"""How good a model is, and the baselines it is compared with."""
