"""Diagnostics: what a model is and does, measured on the model itself."""
