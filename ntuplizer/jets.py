"""From an event file to the rows of a jet file: cluster, label, match, groom, tabulate."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from ntuplizer.clustering import Jets, Momenta, cluster, soft_drop_mass, subjettiness
from ntuplizer.delphes import Batch, Collection, read_events
from ntuplizer.flavour import PARTON_REACH, jet_flavours
from ntuplizer.labels import LABELS
from ntuplizer.particles import (
    CANDIDATE_BRANCHES,
    CANDIDATE_LEAVES,
    candidate_momenta,
    candidate_values,
    check_losses,
    constituent_momenta,
    drop_bad_events,
    four_momentum,
    gen_particles,
    match_gen_jets,
    members_of,
    relative_direction,
)
from ntuplizer.schema import FLAVOUR_FIELD, JET_SCHEMA, tabulate
from ntuplizer.truth import (
    QCD_PARTON_PT,
    RECORD_LEAVES,
    ROLE_DECAY,
    ROLE_QCD_PARTON,
    ROLE_TAU_DECAY,
    ROLE_X,
    ROLE_Y,
    JetTruth,
    label_jets,
)
from provenance.errors import UserError

# Jets of the file, whatever was clustered.
PT_MIN = 120.0
ETA_MAX = 2.5


@dataclass(frozen=True)
class JetSelection:
    """What makes a jet of the file.

    Attributes
    ----------
    radius
        The anti-kT radius R.
    pt_min
        Lowest pT (GeV) of jets and GEN-jets that are clustered; jets below `PT_MIN` are not kept.
        None stands for what the published cards ask: 200 GeV, or 120 GeV from R = 1.5 on.
    qcd_labels
        Whether jets without a resonance get a QCD label (for QCD samples) or are dropped.
    stored_parton_pt
        Lowest pT (GeV) of the quarks stored with a QCD jet. The published files hold none below
        10 GeV.
    collection
        What jets are made of: `puppi` or `chs`, see `CANDIDATE_BRANCHES`.
    flavour
        Whether the rows have the column `jet_flavour` besides those of `JET_SCHEMA`.
    """

    radius: float = 0.8
    pt_min: float | None = None
    qcd_labels: bool = False
    stored_parton_pt: float = QCD_PARTON_PT
    collection: str = "puppi"
    flavour: bool = False

    def __post_init__(self) -> None:
        check_clustering(self.radius, self.clustered_pt_min, self.collection)

    @property
    def clustered_pt_min(self) -> float:
        """The lowest jet pT (GeV) in effect."""
        if self.pt_min is not None:
            return self.pt_min
        return 120.0 if self.radius >= 1.5 else 200.0

    @property
    def branches(self) -> dict[str, tuple[str, ...]]:
        """The branches and leaves that an event file must hold."""
        return {
            "Particle": (*RECORD_LEAVES, "X", "Y", "Z", "T"),
            CANDIDATE_BRANCHES[self.collection]: CANDIDATE_LEAVES,
        }

    @property
    def schema(self) -> pa.Schema:
        """The schema of the rows."""
        return JET_SCHEMA.append(FLAVOUR_FIELD) if self.flavour else JET_SCHEMA


def check_clustering(radius: float, pt_min: float, collection: str) -> None:
    """Raise a `UserError` for a radius, pT threshold or jet collection that cannot be."""
    if not 0 < radius <= np.pi:
        raise UserError(f"jet radius {radius}: a number between 0 and π is needed")
    if not 0 < pt_min < np.inf:
        raise UserError(f"jet pT threshold {pt_min}: a positive number of GeV is needed")
    if collection not in CANDIDATE_BRANCHES:
        names = " or ".join(CANDIDATE_BRANCHES)
        raise UserError(f"jet collection {collection!r}: {names} is needed")


# Used when the file holds it: events without pile-up may come without vertices.
OPTIONAL_BRANCHES = {"Vertex": ("Z", "T")}


@dataclass
class Counts:
    """What was read, lost and kept: the ledger's entries."""

    events: int = 0
    events_skipped: Counter[str] = field(default_factory=Counter)
    jets_clustered: int = 0
    jets_in_acceptance: int = 0
    jets: int = 0
    classes: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict:
        """Return the counts as plain JSON values, labels in index order."""
        return {
            "events": self.events,
            "events_skipped": dict(sorted(self.events_skipped.items())),
            "jets_clustered": self.jets_clustered,
            "jets_in_acceptance": self.jets_in_acceptance,
            "jets": self.jets,
            "class_counts": {label: self.classes[label] for label in LABELS if self.classes[label]},
        }


def ntuplize(path: str | Path, selection: JetSelection) -> tuple[pa.Table, Counts]:
    """Turn an event file into labelled jets.

    Parameters
    ----------
    path
        A Delphes event file.
    selection
        Which jets to make.

    Returns
    -------
    table : pyarrow.Table
        `selection.schema`, rows by event, then by falling pT.
    counts : Counts
        What was read, lost and kept.

    Raises
    ------
    UserError
        When the file cannot be read (see `read_events`).
    """
    counts = Counts()
    tables = list(iterate_jets(path, selection, counts))
    return pa.concat_tables([selection.schema.empty_table(), *tables]).combine_chunks(), counts


def iterate_jets(path: str | Path, selection: JetSelection, counts: Counts) -> Iterator[pa.Table]:
    """Yield the jets of an event file, some events at a time; adds to `counts` on the way."""
    for batch in read_events(path, selection.branches, OPTIONAL_BRANCHES):
        yield jets_of_batch(batch, selection, counts)
    check_losses(path, counts.events, counts.events_skipped)


def jets_of_batch(batch: Batch, selection: JetSelection, counts: Counts) -> pa.Table:
    """Make the rows of a batch of events and count; `batch` holds `selection.branches`."""
    counts.events += len(batch["Particle"].offsets) - 1
    batch, skipped = drop_bad_events(batch)
    counts.events_skipped.update(skipped)
    record, candidates = batch["Particle"], batch[CANDIDATE_BRANCHES[selection.collection]]
    n_events = len(record.offsets) - 1
    vertices = batch.get("Vertex") or Collection.empty(n_events, OPTIONAL_BRANCHES["Vertex"])

    momenta = candidate_momenta(candidates)
    jets = cluster(momenta, selection.radius, selection.clustered_pt_min)
    counts.jets_clustered += len(jets.event)
    jets = jets.select((jets.pt >= PT_MIN) & (np.abs(jets.eta) <= ETA_MAX))
    counts.jets_in_acceptance += len(jets.event)

    truth = label_jets(
        record,
        jets.event,
        jets.eta,
        jets.phi,
        selection.radius,
        selection.qcd_labels,
        selection.stored_parton_pt,
    )
    labelled = truth.label >= 0
    jets = jets.select(labelled)
    labels = truth.label[labelled]
    counts.jets += len(labels)
    counts.classes.update(LABELS[label] for label in labels)

    # Dropped jets take no part in the match, as in the published dataset.
    gen_momenta, stable = gen_particles(record, np.unique(jets.event))
    gen_jets = cluster(gen_momenta, selection.radius, selection.clustered_pt_min)
    match = match_gen_jets(jets, gen_jets, selection.radius)

    members = members_of(jets, candidates)
    values = candidate_values(jets, members, candidates, vertices.first("Z"))
    columns = {
        **{f"part_{name}": (members.offsets, value) for name, value in values.items()},
        **_jet_columns(jets, momenta, selection.radius),
        "jet_nparticles": np.diff(members.offsets),
        "jet_label": labels,
        **_gen_columns(jets, gen_jets, match, record, stable, vertices, gen_momenta),
        **_truth_columns(truth, record),
    }
    if selection.flavour:
        columns[FLAVOUR_FIELD.name] = jet_flavours(
            record, jets.event, jets.eta, jets.phi, PARTON_REACH
        )
    return tabulate(columns, selection.schema)


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
