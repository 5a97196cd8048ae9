"""Boosted trees on a few numbers of a jet: its mass, its N-subjettiness, its constituents.

    python -m training.baselines.jet_trees --config FILE --manifest M --rows 500 2000 --seeds 1 2 3

measures them on the jets that a probe of the same configuration, size and seed is trained on.
"""

import argparse
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from training.config import load_config
from training.data.reader import RowGroup
from training.data.shards import list_row_groups, open_dataset, read_table, training_rows
from training.jets.constituents import ConstituentReader
from training.tasks.probe.config import Config
from training.tasks.probe.task import Probe

COLUMNS = (
    *("jet_pt", "jet_energy", "jet_eta", "jet_sdmass", "jet_nparticles"),
    *(f"jet_tau{n}" for n in range(1, 5)),
)
TREES = {"max_iter": 100, "learning_rate": 0.05, "max_leaf_nodes": 8, "min_samples_leaf": 20}


def jet_table(
    groups: Sequence[RowGroup], reader: ConstituentReader
) -> tuple[np.ndarray, np.ndarray]:
    """Read the selected jets of row groups.

    Returns
    -------
    features : numpy.ndarray
        (n, 8): pT, mass, soft-drop mass, number of constituents, τ1 and three ratios of τ.
    label : numpy.ndarray
        (n,) index of the class.
    """
    tables, labels = [], []
    name = str(reader.config.label)
    for group in groups:
        table = read_table(group, dict.fromkeys((*COLUMNS, *reader.scalars)))
        columns = {column: table[column].to_numpy() for column in table.column_names}
        chosen = reader.select(columns)
        tables.append(np.stack([columns[c][chosen] for c in COLUMNS], axis=1).astype(np.float64))
        labels.append(reader.classes[columns[name][chosen]])
    pt, energy, eta, sdmass, constituents, *taus = np.concatenate(tables).T
    mass = np.sqrt(np.maximum(energy**2 - (pt * np.cosh(eta)) ** 2, 0))
    ratios = [high / np.maximum(low, 1e-6) for low, high in pairwise(taus)]
    features = np.stack((pt, mass, sdmass, constituents, taus[0], *ratios), axis=1)
    return features, np.concatenate(labels)


def tree_scores(config: Config, manifest: Path) -> dict[str, float]:
    """Train trees on the jets of a probe's training, and measure them on the test split.

    Returns
    -------
    dict
        `accuracy`, and `auc`, the mean over classes of each against all others.
    """
    reader = Probe(config).reader
    assert isinstance(reader, ConstituentReader)
    dataset = open_dataset(manifest, config, reader)
    features, label = jet_table(training_rows(dataset, reader, config), reader)
    model = HistGradientBoostingClassifier(random_state=config.seed, early_stopping=False, **TREES)
    model.fit(features, label)
    features, label = jet_table(list_row_groups(dataset.shards("test"), reader), reader)
    found = np.zeros((len(label), len(reader.labels or ())))
    found[:, model.classes_] = model.predict_proba(features)
    areas = [
        roc_auc_score(label == i, found[:, i])
        for i in range(found.shape[1])
        if 0 < np.count_nonzero(label == i) < len(label)
    ]
    return {
        "accuracy": float((found.argmax(axis=1) == label).mean()),
        "auc": float(np.mean(areas)),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line of JSON for each size and seed."""
    parser = argparse.ArgumentParser(prog="python -m training.baselines.jet_trees")
    parser.add_argument("--config", required=True, help="of a training of the task probe")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--rows", type=int, nargs="+", required=True, help="labelled jets")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    options = parser.parse_args(arguments)
    for rows in options.rows:
        for seed in options.seeds:
            changes = [*options.set, f"data.train_rows={rows}", f"seed={seed}"]
            config = load_config(options.config, changes)
            assert isinstance(config, Config), "a configuration of the task probe is needed"
            scores = tree_scores(config, options.manifest)
            print(json.dumps({"rows": rows, "seed": seed, **scores}))  # noqa: T201


if __name__ == "__main__":
    main()
