"""The image of the container backend: what it is made of, and its two recipes."""
