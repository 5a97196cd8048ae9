"""The sampling weights of a dataset, computed once over its training split."""

import time
from pathlib import Path

import numpy as np

from ntuplizer.labels import LABELS
from provenance.errors import UserError
from provenance.files import write_json
from training.config import Selection
from training.data.shards import RowGroup, list_row_groups, list_shards, passes, read_jet_columns
from training.data.weights import (
    GROUP_SHARES,
    PT_EDGES,
    SDMASS_EDGES,
    acceptance_of,
    label_group,
)
from training.evaluate.figures import draw_spectra


def count_jets(
    groups: list[RowGroup], group_of_label: np.ndarray, selection: Selection
) -> np.ndarray:
    """Count the selected jets of row groups, reading three columns: (n_groups, n_pt, n_sdmass)."""
    edges = (np.arange(len(GROUP_SHARES) + 1) - 0.5, PT_EDGES, SDMASS_EDGES)
    counts = np.zeros([len(edge) - 1 for edge in edges])
    for group in groups:
        pt, sdmass, label = read_jet_columns(group)
        kept = passes(pt, sdmass, selection)
        values = (group_of_label[label[kept]], pt[kept], sdmass[kept])
        counts += np.histogramdd(np.stack(values, axis=1), edges)[0]
    return counts


def write_weights(manifest: Path, output: Path, selection: Selection) -> None:
    """Compute the sampling weights of a dataset's training split, once for all epochs.

    Parameters
    ----------
    manifest
        Of the dataset.
    output
        JSON with the edges, the groups and their acceptances; a figure of the spectra before and
        after is written beside it.
    selection
        Which jets count; the same as in the training.

    Raises
    ------
    UserError
        When the dataset cannot be read or no jet passes.
    """
    started = time.perf_counter()
    names = list(GROUP_SHARES)
    group_of_label = np.array([names.index(label_group(label)) for label in LABELS])
    groups = list_row_groups(list_shards(manifest, "train", LABELS), classes=len(LABELS))
    counts = count_jets(groups, group_of_label, selection)
    if not counts.sum():
        raise UserError(f"{manifest}: no training jet passes the selection")
    acceptance = acceptance_of(counts, np.array(list(GROUP_SHARES.values())))
    drawn = counts * acceptance
    edges = {"Jet $p_T$ (GeV)": PT_EDGES, "Soft-drop mass (GeV)": SDMASS_EDGES}
    draw_spectra(output.with_suffix(""), edges, names, counts, drawn)
    write_json(
        output,
        {
            "jet_pt_edges": list(PT_EDGES),
            "jet_sdmass_edges": list(SDMASS_EDGES),
            "group_of_label": group_of_label.tolist(),
            "mean_acceptance": float(drawn.sum() / counts.sum()),
            "groups": {
                name: {
                    "jets": int(counts[i].sum()),
                    "share": share,
                    "share_drawn": float(drawn[i].sum() / drawn.sum()),
                    "acceptance": acceptance[i].round(8).tolist(),
                }
                for i, (name, share) in enumerate(GROUP_SHARES.items())
            },
            "selection": selection.model_dump(mode="json"),
            "wall_seconds": round(time.perf_counter() - started, 3),
        },
    )
