"""One module for each file format that images are read from."""
