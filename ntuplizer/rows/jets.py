"""The rows of the product `jets`: cluster, label, match, groom."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ntuplizer.batch import Collection, EventBatch
from ntuplizer.branches import CANDIDATE_BRANCHES
from ntuplizer.clustering import Jets, Momenta, cluster, soft_drop_mass, subjettiness
from ntuplizer.counts import Counts
from ntuplizer.particles import (
    candidate_momenta,
    candidate_values,
    constituent_momenta,
    four_momentum,
    gen_particles,
    match_gen_jets,
    members_of,
    relative_direction,
)
from ntuplizer.products.jets import ClusteringOptions, JetOptions
from ntuplizer.truth import (
    ROLE_DECAY,
    ROLE_QCD_PARTON,
    ROLE_TAU_DECAY,
    ROLE_X,
    ROLE_Y,
    JetTruth,
    label_jets,
)

# Jets of the file; how soft they may be is an option.
ETA_MAX = 2.5


Labeller = Callable[[Collection, Jets], JetTruth]


def make_jets(batch: EventBatch, options: JetOptions, counts: Counts) -> dict[str, Any]:
    """Return the columns of jets with the 188 labels, as `make_labelled_jets`."""

    def label(record: Collection, jets: Jets) -> JetTruth:
        return label_jets(
            record,
            jets.event,
            jets.eta,
            jets.phi,
            options.jet_radius,
            options.qcd_labels,
            options.stored_parton_pt,
        )

    return make_labelled_jets(batch, options, counts, label)


def make_labelled_jets(
    batch: EventBatch, options: ClusteringOptions, counts: Counts, label: Labeller
) -> dict[str, Any]:
    """Return the columns of the labelled jets of some events, by event, then by falling pT.

    Parameters
    ----------
    batch
        The events.
    options
        What makes a jet.
    counts
        It adds to `counts.steps`.
    label
        Generator record and jets → their labels; jets without one are left out.
    """
    record, candidates = batch["Particle"], batch[CANDIDATE_BRANCHES[options.jet_collection]]
    vertices = batch.get("Vertex") or Collection.empty(batch.n_events, ("Z", "T"))

    momenta = candidate_momenta(candidates)
    jets = cluster(momenta, options.jet_radius, options.clustered_pt_min)
    counts.steps["jets_clustered"] += len(jets.event)
    jets = jets.select(np.abs(jets.eta) <= ETA_MAX)
    counts.steps["jets_in_acceptance"] += len(jets.event)

    truth = label(record, jets)
    labelled = truth.label >= 0
    jets = jets.select(labelled)

    # Dropped jets take no part in the match, as in the published dataset.
    gen_momenta, stable = gen_particles(record, np.unique(jets.event))
    gen_jets = cluster(gen_momenta, options.jet_radius, options.clustered_pt_min)
    match = match_gen_jets(jets, gen_jets, options.jet_radius)

    members = members_of(jets, candidates)
    values = candidate_values(jets, members, candidates, vertices.first("Z"))
    return {
        **{f"part_{name}": (members.offsets, value) for name, value in values.items()},
        **_jet_columns(jets, momenta, options.jet_radius),
        "jet_nparticles": np.diff(members.offsets),
        "jet_label": truth.label[labelled],
        **_gen_columns(jets, gen_jets, match, record, stable, vertices, gen_momenta),
        **_truth_columns(truth, record),
    }


def _jet_columns(jets: Jets, momenta: Momenta, radius: float) -> dict:
    constituents = constituent_momenta(jets, momenta)
    taus = subjettiness(constituents, radius)
    return {
        "jet_pt": jets.pt,
        "jet_eta": jets.eta,
        "jet_phi": jets.phi,
        "jet_energy": jets.energy,
        "jet_sdmass": soft_drop_mass(constituents),
        **{f"jet_tau{n + 1}": taus[:, n] for n in range(4)},
    }


def _gen_columns(
    jets: Jets,
    gen_jets: Jets,
    match: np.ndarray,
    record: Collection,
    stable: np.ndarray,
    vertices: Collection,
    gen_momenta: Momenta,
) -> dict:
    matched = match >= 0
    partners = gen_jets.select(match[matched])
    scalars = {
        "pt": partners.pt,
        "eta": partners.eta,
        "phi": partners.phi,
        "energy": partners.energy,
        "sdmass": soft_drop_mass(constituent_momenta(partners, gen_momenta)),
    }
    columns: dict = {}
    for name, scalar in scalars.items():
        columns[f"genjet_{name}"] = np.zeros(len(match))
        columns[f"genjet_{name}"][matched] = scalar

    members = members_of(partners, record, stable)
    deta, dphi = relative_direction(jets.select(matched), members, record)
    px, py, pz, energy = four_momentum(record, members.index)
    event = partners.event[members.jet]
    z = record["Z"][members.index] - vertices.first("Z")[event]
    # Particles from the primary vertex: x and y are rounding noise there.
    at_vertex = np.abs(z) < 1e-10
    values = {
        "px": px,
        "py": py,
        "pz": pz,
        "energy": energy,
        "jet_deta": deta,
        "jet_dphi": dphi,
        "x": np.where(at_vertex, 0, record["X"][members.index]),
        "y": np.where(at_vertex, 0, record["Y"][members.index]),
        "z": z,
        "t": record["T"][members.index] - vertices.first("T")[event],
        "pid": record["PID"][members.index],
    }
    counts = np.zeros(len(match), np.int64)
    counts[matched] = np.diff(members.offsets)
    offsets = np.concatenate(([0], np.cumsum(counts)))
    columns["genjet_nparticles"] = counts
    return columns | {f"genpart_{name}": (offsets, value) for name, value in values.items()}


def _truth_columns(truth: JetTruth, record: Collection) -> dict:
    # Jets without a label carry no particles, so only their (empty) lists have to go.
    ends = truth.offsets[1:][truth.label >= 0]
    offsets = np.concatenate(([0], ends))
    values = {
        name.lower(): record[name][truth.particles] for name in ("PT", "Eta", "Phi", "Mass", "PID")
    }
    roles = {
        "isResX": ROLE_X,
        "isResY": ROLE_Y,
        "isResDecayProd": ROLE_DECAY,
        "isTauDecayProd": ROLE_TAU_DECAY,
        "isQcdParton": ROLE_QCD_PARTON,
    }
    values |= {name: truth.roles == role for name, role in roles.items()}
    return {f"aux_genpart_{name}": (offsets, value) for name, value in values.items()}
