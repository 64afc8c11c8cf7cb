"""Published codes for their readers: the contract of the files and the reader, self-contained."""
