"""The parameters of the flows: form, flags and manifest in one definition."""
