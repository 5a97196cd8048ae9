"""Jets for energy regression: narrow jets with the GEN-jet that they should have been."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from ntuplizer.clustering import Jets, cluster
from ntuplizer.delphes import Batch, Collection, read_events
from ntuplizer.flavour import PARTON_REACH, jet_flavours
from ntuplizer.jets import Counts, check_clustering
from ntuplizer.particles import (
    CANDIDATE_BRANCHES,
    CANDIDATE_LEAVES,
    candidate_momenta,
    candidate_values,
    check_losses,
    drop_bad_events,
    gen_particles,
    match_gen_jets,
    members_of,
)
from ntuplizer.schema import REGRESSION_COLUMNS, REGRESSION_SCHEMA, tabulate
from ntuplizer.truth import RECORD_LEAVES

# GEN-jets are clustered from this fraction of the jets' threshold on: a higher one would keep
# only jets that fluctuated downwards.
GEN_PT_FRACTION = 0.5
# A jet and its GEN-jet lie within this fraction of R.
MATCH_FRACTION = 0.5


@dataclass(frozen=True)
class RegressionSelection:
    """Which jets to take.

    Attributes
    ----------
    radius
        The anti-kT radius R.
    pt_min
        Lowest jet pT in GeV.
    eta_max
        Largest |η| of the jet.
    collection
        What jets are made of: `puppi` or `chs`.
    """

    radius: float = 0.4
    pt_min: float = 15.0
    eta_max: float = 2.5
    collection: str = "puppi"

    def __post_init__(self) -> None:
        check_clustering(self.radius, self.pt_min, self.collection)

    @property
    def branches(self) -> dict[str, tuple[str, ...]]:
        """The branches and leaves that an event file must hold."""
        return {
            "Particle": RECORD_LEAVES,
            CANDIDATE_BRANCHES[self.collection]: CANDIDATE_LEAVES,
        }


OPTIONAL_BRANCHES = {"Vertex": ("Z",), "Rho": ("Rho", "Edges")}


def iterate_regression_jets(
    path: str | Path, selection: RegressionSelection, counts: Counts
) -> Iterator[pa.Table]:
    """Yield the matched jets of an event file as `REGRESSION_SCHEMA`; adds to `counts`.

    Raises
    ------
    UserError
        When the file cannot be read (see `read_events`).
    """
    for batch in read_events(path, selection.branches, OPTIONAL_BRANCHES):
        yield _jets_of_batch(batch, selection, counts)
    check_losses(path, counts.events, counts.events_skipped)


def _jets_of_batch(batch: Batch, selection: RegressionSelection, counts: Counts) -> pa.Table:
    counts.events += len(batch["Particle"].offsets) - 1
    batch, skipped = drop_bad_events(batch)
    counts.events_skipped.update(skipped)
    record, candidates = batch["Particle"], batch[CANDIDATE_BRANCHES[selection.collection]]
    n_events = len(record.offsets) - 1
    vertices = batch.get("Vertex") or Collection.empty(n_events, OPTIONAL_BRANCHES["Vertex"])

    jets = cluster(candidate_momenta(candidates), selection.radius, selection.pt_min)
    counts.jets_clustered += len(jets.event)
    jets = jets.select(np.abs(jets.eta) <= selection.eta_max)
    counts.jets_in_acceptance += len(jets.event)
    gen_momenta, _ = gen_particles(record, np.unique(jets.event))
    gen_jets = cluster(gen_momenta, selection.radius, GEN_PT_FRACTION * selection.pt_min)
    match = match_gen_jets(jets, gen_jets, MATCH_FRACTION * selection.radius)
    jets, partners = jets.select(match >= 0), gen_jets.select(match[match >= 0])
    counts.jets += len(jets.event)

    columns = {
        **_kinematics("jet_", jets),
        **_kinematics("genjet_", partners),
        **_constituents(jets, candidates, vertices),
        "jet_flavour": jet_flavours(record, jets.event, jets.eta, jets.phi, PARTON_REACH),
        "event_rho": _rho(batch.get("Rho"), jets),
        "event_nvertices": vertices.counts[jets.event],
    }
    return tabulate(columns, REGRESSION_SCHEMA)


def _kinematics(prefix: str, jets: Jets) -> dict[str, np.ndarray]:
    names = ("pt", "eta", "phi", "mass", "energy")
    return {prefix + name: getattr(jets, name) for name in names}


def _constituents(jets: Jets, candidates: Collection, vertices: Collection) -> dict:
    members = members_of(jets, candidates)
    charged = candidates["Charge"][members.index] != 0
    columns = {}
    for prefix, chosen in (("charged_", charged), ("neutral_", ~charged)):
        some = members.select(chosen)
        values = candidate_values(jets, some, candidates, vertices.first("Z"))
        for column in REGRESSION_COLUMNS:
            if column.name.startswith(prefix):
                columns[column.name] = (some.offsets, values[column.name.removeprefix(prefix)])
    return columns


def _rho(regions: Collection | None, jets: Jets) -> np.ndarray:
    """Return ρ of the η region that each jet lies in; 0 where there is none."""
    rho = np.zeros(len(jets.event))
    if regions is None:
        return rho
    for jet, (event, eta) in enumerate(zip(jets.event, jets.eta, strict=True)):
        own = slice(regions.offsets[event], regions.offsets[event + 1])
        lower, upper = regions["Edges"][own].T
        inside = (lower <= eta) & (eta < upper)
        if inside.any():
            rho[jet] = regions["Rho"][own][inside][0]
    return rho
