"""How the rows of the products are made: the physics, over arrays."""
