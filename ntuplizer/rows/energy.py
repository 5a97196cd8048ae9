"""The rows of the product `energy`: narrow jets with the GEN-jet that they should have been."""

from typing import Any

import numpy as np

from ntuplizer.batch import Collection, EventBatch
from ntuplizer.branches import CANDIDATE_BRANCHES
from ntuplizer.clustering import Jets, cluster
from ntuplizer.counts import Counts
from ntuplizer.flavour import PARTON_REACH, jet_flavours
from ntuplizer.particles import (
    candidate_momenta,
    candidate_values,
    gen_particles,
    match_gen_jets,
    members_of,
)
from ntuplizer.products.energy import CHARGED, JET_NUMBER, NEUTRAL, EnergyOptions

# GEN-jets are clustered from this fraction of the jets' threshold on: a higher one would keep
# only jets that fluctuated downwards.
GEN_PT_FRACTION = 0.5
# A jet and its GEN-jet lie within this fraction of R.
MATCH_FRACTION = 0.5


def make_energy_jets(batch: EventBatch, options: EnergyOptions, counts: Counts) -> dict[str, Any]:
    """Return the columns of the matched jets of some events, by event, then by falling pT."""
    record, candidates = batch["Particle"], batch[CANDIDATE_BRANCHES[options.jet_collection]]
    vertices = batch.get("Vertex") or Collection.empty(batch.n_events, ("Z",))

    jets = cluster(candidate_momenta(candidates), options.jet_radius, options.jet_pt_min)
    counts.steps["jets_clustered"] += len(jets.event)
    number = np.arange(len(jets.event)) - np.searchsorted(jets.event, jets.event)
    inside = np.abs(jets.eta) <= options.jet_eta_max
    jets, number = jets.select(inside), number[inside]
    counts.steps["jets_in_acceptance"] += len(jets.event)
    gen_momenta, _ = gen_particles(record, np.unique(jets.event))
    gen_jets = cluster(gen_momenta, options.jet_radius, GEN_PT_FRACTION * options.jet_pt_min)
    match = match_gen_jets(jets, gen_jets, MATCH_FRACTION * options.jet_radius)
    matched = match >= 0
    jets, partners = jets.select(matched), gen_jets.select(match[matched])

    return {
        **batch.identify(jets.event),
        JET_NUMBER.name: number[matched],
        **_kinematics("jet_", jets),
        **_kinematics("genjet_", partners),
        **_constituents(jets, candidates, vertices),
        "jet_flavour": jet_flavours(record, jets.event, jets.eta, jets.phi, PARTON_REACH),
        "event_rho": _rho(batch.get("Rho"), jets),
        "event_nvertices": vertices.counts[jets.event],
    }


def _kinematics(prefix: str, jets: Jets) -> dict[str, np.ndarray]:
    names = ("pt", "eta", "phi", "mass", "energy")
    return {prefix + name: getattr(jets, name) for name in names}


def _constituents(jets: Jets, candidates: Collection, vertices: Collection) -> dict:
    members = members_of(jets, candidates)
    charged = candidates["Charge"][members.index] != 0
    columns = {}
    for prefix, own, chosen in (("charged_", CHARGED, charged), ("neutral_", NEUTRAL, ~charged)):
        some = members.select(chosen)
        values = candidate_values(jets, some, candidates, vertices.first("Z"))
        for column in own:
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
