"""Killing the real flow, again and again, and comparing what comes out in the end."""
