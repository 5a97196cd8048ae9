"""What can be learned: each task binds a network, a loss and metrics."""
