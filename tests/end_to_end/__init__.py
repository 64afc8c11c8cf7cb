"""Readers that are not ours, and disks that are full: what a stand-in cannot show."""
