"""JetClass (Zenodo 6619768): our columns already, in ROOT trees, with ten labels."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ntuplizer.imports import CHUNK, Source, no_label
from provenance.errors import UserError

if TYPE_CHECKING:
    from ntuplizer.imports.jets import ImportedJets

TREE = "tree"
LABELS = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")
JET = ("pt", "eta", "phi", "energy", "sdmass", "tau1", "tau2", "tau3", "tau4")


def _read(path: Path, label: str | None) -> "Iterator[ImportedJets]":
    import awkward as ak
    import numpy as np
    import uproot

    from ntuplizer.imports.jets import GROUPS, ImportedJets

    no_label(path, label)
    momenta = ("px", "py", "pz", "energy")
    features = [name for names in GROUPS.values() for name in names]
    branches = [
        *(f"part_{name}" for name in (*momenta, *features)),
        *(f"jet_{name}" for name in JET),
        *(f"label_{name}" for name in LABELS),
    ]
    try:
        with uproot.open(path) as file:
            for chunk in file[TREE].iterate(branches, step_size=CHUNK):
                flat = {
                    name: ak.to_numpy(ak.flatten(chunk[f"part_{name}"]))
                    for name in (*momenta, *features)
                }
                truth = np.stack([ak.to_numpy(chunk[f"label_{name}"]) for name in LABELS], axis=1)
                yield ImportedJets(
                    ak.to_numpy(ak.num(chunk["part_px"])),
                    np.stack([flat[name] for name in momenta], axis=1).astype(np.float64),
                    truth.argmax(axis=1),
                    {name: flat[name] for name in features},
                    {name: ak.to_numpy(chunk[f"jet_{name}"]) for name in JET},
                )
    except (KeyError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path}: not of JetClass: a ROOT file with a tree `{TREE}` with `part_…`, `jet_…` and "
            f"`label_…` is expected ({reason})"
        ) from None


SOURCE = Source(
    name="jetclass",
    summary="JetClass, ROOT",
    labels=LABELS,
    absent=(),
    radius=0.8,
    product="jets",
    read=_read,
)
