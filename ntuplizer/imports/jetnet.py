"""JetNet (Zenodo 6975118): relative momenta of 30 or 150 constituents, a class per HDF5 file."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ntuplizer.imports import CHUNK, Source
from provenance.errors import UserError

if TYPE_CHECKING:
    from ntuplizer.imports.jets import ImportedJets

LABELS = ("g", "q", "t", "w", "z")


def _read(path: Path, label: str | None) -> "Iterator[ImportedJets]":
    import h5py
    import numpy as np

    from ntuplizer.imports.jets import ImportedJets, momenta_of

    index = LABELS.index(_class_of(path, label))
    try:
        with h5py.File(path) as file:
            particles, jets = file["particle_features"], file["jet_features"]
            if particles.shape[2:] != (4,) or jets.shape != (len(particles), 4):
                raise KeyError("particle_features")
            for begin in range(0, len(jets), CHUNK):
                own = np.asarray(particles[begin : begin + CHUNK], np.float64)
                pt, eta, mass, _ = np.asarray(jets[begin : begin + CHUNK], np.float64).T
                # What is no number is no padding either.
                real = ~((own[..., 3] <= 0) | (own[..., 2] <= 0))
                counts = real.sum(axis=1)
                eta_rel, phi_rel, pt_rel, _ = own[real].T
                # The azimuth of jets was thrown away: it is zero.
                momenta = momenta_of(
                    pt_rel * np.repeat(pt, counts), eta_rel + np.repeat(eta, counts), phi_rel
                )
                energy = np.sqrt((pt * np.cosh(eta)) ** 2 + mass**2)
                jet = {"pt": pt, "eta": eta, "phi": np.zeros_like(pt), "energy": energy}
                yield ImportedJets(counts, momenta, np.full(len(pt), index), {}, jet)
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise UserError(
            f"{path}: not of JetNet: an HDF5 file with `particle_features` (jets, constituents, 4) "
            f"and `jet_features` (jets, 4) is expected ({error})"
        ) from None


def _class_of(path: Path, label: str | None) -> str:
    found = re.fullmatch(r"([gqtwz])(30|150)?", path.stem)
    name = label or (found and found[1])
    if name not in LABELS:
        raise UserError(
            f"{path}: of which class its jets are is said by a name as t.hdf5 or t150.hdf5, or by "
            f"--label with one of {', '.join(LABELS)}; got {name}"
        )
    return str(name)


SOURCE = Source(
    name="jetnet",
    summary="JetNet, HDF5",
    labels=LABELS,
    absent=("identity", "displacement"),
    radius=0.8,
    product="jets",
    read=_read,
)
