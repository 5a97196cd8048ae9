"""Pre-training of jets by joint embedding prediction, after HEP-JEPA (arXiv:2502.03933)."""
