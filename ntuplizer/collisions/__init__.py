"""Real collisions: CMS NanoAOD and PFNano, and simulation in the same formats."""
