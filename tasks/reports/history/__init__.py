"""The page of all runs, from the journals of all datasets."""
