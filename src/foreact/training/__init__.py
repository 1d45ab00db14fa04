"""Training: runs, stages, the loop, checkpoints, resuming, several processes."""
