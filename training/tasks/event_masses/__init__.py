"""Pre-training on event objects: the invariant masses of combinations."""
