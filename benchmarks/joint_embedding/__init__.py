"""What pre-training by joint embedding is worth, in one go: the tables of docs/jepa.md.

    python -m benchmarks.joint_embedding DATA OUTPUT --seconds 3600 --processes 6
    python -m benchmarks.joint_embedding DATA OUTPUT --seconds 3600 --processes 2 --small

DATA holds the datasets of `config/jepa-small.yaml` (`unlabelled`, `labelled`, `top`,
`quark_gluon`). Recipes are pre-trained for as many steps; one is chosen by rule, the highest AUC of
a linear probe with 2,000 labels on the validation split of `labelled`, the mean of three draws of
labels. Then the studies run on the test splits until the time is up. Called again it goes on.
`--small` takes the networks of `joint-embedding-small.yaml`, for a CPU.

What is compared at each size and seed is trained on the same jets. Rates are tuned for each way on
a fifth of the labels of the first seed, at 500 and 5,000 labels, which more labels take over; the
strength of the prior of linear probes by cross-validation among the labels of each draw.
"""
