"""Models: from an architecture and a recipe to trained weights, never trained twice."""
