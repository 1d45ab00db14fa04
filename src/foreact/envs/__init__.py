"""Simulated robots: what they show, what they take, exact rewind, and how they are drawn."""
