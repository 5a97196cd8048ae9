"""Classes of jets from the tokens of an encoder: frozen, fine-tuned or from scratch."""
