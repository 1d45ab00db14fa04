"""Test time: propose, score, choose. Pure functions; the model comes in as one."""
