"""Pre-training on event objects: which two measurements are of one event."""
