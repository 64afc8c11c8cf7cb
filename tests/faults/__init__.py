"""A fault at every system call that writes, injected from outside, and what is left of it."""
