"""Image sets: from any source to a verified, memory-mapped dataset."""
