"""What the numbers of an evaluation say; the report shows them."""

MEANINGS = {
    "jets": "how many were measured",
    "effective_rank": "how many directions the embeddings fill, exp of the entropy of the spectrum",
    "embedding_std": "spread of an embedding's component over jets; near 0 all jets are alike",
    "neighbour_accuracy": "share of jets whose class 10 neighbours in the embedding tell",
    "largest_class": "what guessing the largest class would reach",
}
