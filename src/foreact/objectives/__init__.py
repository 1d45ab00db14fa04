"""Training signals beside the main loss."""
