"""Sophon: one Particle Transformer over all labels (arXiv:2405.12972), or over your own."""
