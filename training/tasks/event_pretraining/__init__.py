"""Pre-training on event objects: guess what is hidden of them."""
