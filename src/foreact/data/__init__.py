"""Data: LeRobot datasets read and written, windows to learn from, caches, statistics and the preflight check."""
