"""Quark and gluon jets (Zenodo 3164691, with Herwig 3066475): pT, rapidity, φ and PDG code, npz."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ntuplizer.imports import CHUNK, Source, no_label
from provenance.errors import UserError

if TYPE_CHECKING:
    from ntuplizer.imports.jets import ImportedJets

# Mass in GeV and charge of what is stable in a detector; other codes count as massless photons.
PARTICLES = {
    11: (0.000511, -1),
    13: (0.105658, -1),
    22: (0.0, 0),
    130: (0.497611, 0),
    211: (0.139570, 1),
    310: (0.497611, 0),
    321: (0.493677, 1),
    2112: (0.939565, 0),
    2212: (0.938272, 1),
}
NEUTRAL_HADRONS = (130, 310, 2112)
CHARGED_HADRONS = (211, 321, 2212)


def _read(path: Path, label: str | None) -> "Iterator[ImportedJets]":
    import numpy as np

    from ntuplizer.imports.jets import ImportedJets

    no_label(path, label)
    try:
        with np.load(path, allow_pickle=False) as file:
            jets, quark = file["X"], file["y"].astype(np.int64)
        if jets.ndim != 3 or jets.shape[2] != 4 or quark.shape != jets.shape[:1]:
            raise KeyError("X")
    except (KeyError, ValueError, OSError):
        raise UserError(
            f"{path}: not of the quark and gluon set: an npz file with `X` (jets, constituents, 4) "
            "and `y` (jets,) is expected"
        ) from None
    for begin in range(0, len(jets), CHUNK):
        chunk = jets[begin : begin + CHUNK]
        # What is no number is no padding either.
        real = ~(chunk[..., 0] <= 0)
        pt, rapidity, phi, code = chunk[real].astype(np.float64).T
        pdg = np.rint(np.where(np.isfinite(code), code, 0)).astype(np.int64)
        kind = np.abs(pdg)
        known = np.array(list(PARTICLES))
        place = np.searchsorted(known, kind).clip(max=len(known) - 1)
        is_known = known[place] == kind
        table = np.array(list(PARTICLES.values()))
        mass = np.where(is_known, table[place, 0], 0)
        charge = np.where(is_known, table[place, 1] * np.sign(pdg), 0)
        transverse = np.hypot(pt, mass)
        momenta = np.stack(
            (
                pt * np.cos(phi),
                pt * np.sin(phi),
                transverse * np.sinh(rapidity),
                transverse * np.cosh(rapidity),
            ),
            axis=1,
        )
        features = {
            "charge": charge,
            "isElectron": kind == 11,
            "isMuon": kind == 13,
            "isPhoton": (kind == 22) | ~is_known,
            "isChargedHadron": np.isin(kind, CHARGED_HADRONS),
            "isNeutralHadron": np.isin(kind, NEUTRAL_HADRONS),
        }
        yield ImportedJets(real.sum(axis=1), momenta, quark[begin : begin + CHUNK], features)


SOURCE = Source(
    name="quark-gluon",
    summary="quark and gluon jets, npz",
    labels=("gluon", "quark"),
    absent=("displacement",),
    radius=0.4,
    product="quark_gluon_jets",
    read=_read,
)
