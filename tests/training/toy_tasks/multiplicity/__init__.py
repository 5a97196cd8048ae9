"""A task of a few lines, in a folder of its own: the number of constituents from the jet alone."""
