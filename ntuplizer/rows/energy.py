"""The rows of the product `energy`: narrow jets with the GEN-jet that they should have been."""

from typing import Any

import numpy as np

from ntuplizer.batch import Collection, EventBatch
from ntuplizer.branches import CANDIDATE_BRANCHES
from ntuplizer.clustering import Jets
from ntuplizer.counts import Counts
from ntuplizer.energy_inputs import (
    calorimeter_values,
    gen_jets_with_neutrinos,
    jet_areas,
    jet_rho,
    jet_shapes,
    relative_momentum_error,
    vertex_association,
    vertex_counts,
)
from ntuplizer.geometry import delta_phi
from ntuplizer.jet_flavour import (
    cluster_with_ghosts,
    flavour_ghosts,
    hadron_flavour,
    parton_flavour,
)
from ntuplizer.particles import (
    Members,
    candidate_momenta,
    candidate_values,
    match_gen_jets,
    members_of,
)
from ntuplizer.products.energy import CHARGED, JET_NUMBER, NEUTRAL, VERTICES, EnergyOptions
from ntuplizer.secondary_vertices import VertexCuts, find_secondary_vertices

# GEN-jets are clustered from this fraction of the jets' threshold on: a higher one would keep
# only jets that fluctuated downwards.
GEN_PT_FRACTION = 0.5
# A jet and its GEN-jet lie within this fraction of R.
MATCH_FRACTION = 0.5
# `Index` of the hard interaction among all that PileUpMerger has put together.
HARD = 0


def make_energy_jets(batch: EventBatch, options: EnergyOptions, counts: Counts) -> dict[str, Any]:
    """Return the columns of the matched jets of some events, by event, then by falling pT.

    Raises
    ------
    UserError
        When the events have no energy density ρ or no reconstructed vertices.
    """
    record, candidates = batch["Particle"], batch[CANDIDATE_BRANCHES[options.jet_collection]]
    radius, pt_min = options.jet_radius, options.jet_pt_min

    particles, ghosts = candidate_momenta(candidates), flavour_ghosts(record)
    jets, jet_of = cluster_with_ghosts(particles, ghosts.momenta, radius, pt_min)
    counts.steps["jets_clustered"] += len(jets.event)
    own = {
        JET_NUMBER.name: np.arange(len(jets.event)) - np.searchsorted(jets.event, jets.event),
        "jet_hadronflavour": hadron_flavour(ghosts, jet_of, len(jets.event)),
        "jet_partonflavour": parton_flavour(ghosts, jet_of, len(jets.event)),
    }
    inside = np.flatnonzero(np.abs(jets.eta) <= options.jet_eta_max)
    counts.steps["jets_in_acceptance"] += len(inside)
    chosen = jets.select(inside)
    gen_jets, pt_with_neutrinos = gen_jets_with_neutrinos(
        record, np.unique(chosen.event), radius, GEN_PT_FRACTION * pt_min
    )
    match = match_gen_jets(chosen, gen_jets, MATCH_FRACTION * radius)
    matched, match = inside[match >= 0], match[match >= 0]
    jets, partners = jets.select(matched), gen_jets.select(match)

    return {
        **batch.identify(jets.event),
        **{name: values[matched] for name, values in own.items()},
        **_kinematics("jet_", jets),
        **_kinematics("genjet_", partners),
        "genjet_ptnu": pt_with_neutrinos[match],
        "jet_area": jet_areas(jets, particles, radius, pt_min),
        "event_rho": jet_rho(batch.get("Rho"), jets.event, jets.eta, batch.source),
        **_constituents(jets, candidates, batch, radius),
    }


def _kinematics(prefix: str, jets: Jets) -> dict[str, np.ndarray]:
    names = ("pt", "eta", "phi", "mass", "energy")
    return {prefix + name: getattr(jets, name) for name in names}


def _constituents(jets: Jets, candidates: Collection, batch: EventBatch, radius: float) -> dict:
    """Return lists of constituents and secondary vertices, and numbers made of them."""
    reconstructed = batch.get("ReconstructedVertex")
    n_vertices = vertex_counts(reconstructed, jets.event, batch.source)
    assert reconstructed is not None
    interactions = batch.get("Vertex") or Collection.empty(batch.n_events, ("Z", "Index"))
    vertex_z = _hard_vertex_z(interactions)

    members = members_of(jets, candidates)
    values = candidate_values(jets, members, candidates, vertex_z)
    event = jets.event[members.jet]
    values["pterr"] = relative_momentum_error(candidates, members.index)
    values["association"] = vertex_association(candidates, members.index, event, reconstructed)
    calorimeters = calorimeter_values(candidates, members.index, values["energy"])
    values["hcalfrac"] = calorimeters["hcal_fraction"]
    values["puppiweight"] = calorimeters["puppi_weight"]
    charged = candidates["Charge"][members.index] != 0
    columns = {}
    for prefix, own, chosen in (("charged_", CHARGED, charged), ("neutral_", NEUTRAL, ~charged)):
        offsets = members.select(chosen).offsets
        for column in own:
            columns[column.name] = (offsets, values[column.name.removeprefix(prefix)][chosen])
    pt = np.hypot(values["px"], values["py"])
    shapes = jet_shapes(pt, values["deta"], values["dphi"], members.jet, len(jets.event))
    return columns | {
        "event_nvertices": n_vertices,
        "event_ninteractions": interactions.counts[jets.event],
        "jet_multiplicity": shapes["multiplicity"],
        "jet_ptd": shapes["pt_dispersion"],
        "jet_axis2": shapes["minor_axis"],
        **_secondary_vertices(jets, members, candidates, vertex_z[jets.event], radius),
    }


def _hard_vertex_z(interactions: Collection) -> np.ndarray:
    """Return z of the hard interaction of each event, (n_events,) in mm; 0 without any.

    PileUpMerger numbers it 0, but Delphes writes vertices by falling Σ pT²: in one event of five
    with p̂T of 40 GeV pile-up comes first.
    """
    vertex_z = interactions.first("Z")
    hard = interactions["Index"] == HARD
    vertex_z[interactions.event[hard]] = interactions["Z"][hard]
    return vertex_z


def _secondary_vertices(
    jets: Jets, members: Members, candidates: Collection, vertex_z: np.ndarray, radius: float
) -> dict:
    found = find_secondary_vertices(
        jets.eta,
        jets.phi,
        vertex_z,
        members.offsets,
        members.index,
        candidates,
        VertexCuts(axis_reach=radius),
    )
    jet = np.repeat(np.arange(len(jets.event)), np.diff(found.offsets))
    eta, phi = jets.eta[jet].astype(np.float64), jets.phi[jet].astype(np.float64)
    values = {
        "pt": found.pt,
        "eta": found.eta,
        "phi": found.phi,
        "mass": found.mass,
        "deta": np.where(eta > 0, 1.0, -1.0) * (found.eta - eta),
        "dphi": delta_phi(found.phi, phi),
        "flight": found.flight,
        "flightsig": found.significance,
        "flightxy": found.flight_xy,
        "flightxysig": found.flight_xy / found.flight_xy_error,
        "chi2": found.chi2,
        "ndf": found.ndf,
        "ntracks": found.n_tracks,
    }
    names = [column.name for column in VERTICES]
    return {name: (found.offsets, values[name.removeprefix("sv_")]) for name in names}
