"""What was found in a source: a text, and a page with images of each class."""
