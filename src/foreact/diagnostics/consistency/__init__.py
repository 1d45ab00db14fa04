"""What the consistency of imagined futures says of success, and where it misleads (Is the Future Compatible?, 2026, section 3)."""
