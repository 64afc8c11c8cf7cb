"""A trained encoder over any number of images: codes files, encoded sets, neighbours."""
