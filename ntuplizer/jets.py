"""From an event file to the rows of a jet file: cluster, label, match, groom, tabulate."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from ntuplizer.clustering import Jets, Momenta, cluster, soft_drop_mass, subjettiness
from ntuplizer.delphes import Batch, Collection, read_events
from ntuplizer.labels import LABELS
from ntuplizer.schema import JET_SCHEMA
from ntuplizer.truth import (
    QCD_PARTON_PT,
    RECORD_LEAVES,
    ROLE_DECAY,
    ROLE_QCD_PARTON,
    ROLE_TAU_DECAY,
    ROLE_X,
    ROLE_Y,
    JetTruth,
    broken_events,
    label_jets,
)

CANDIDATES = "ParticleFlowCandidate"
BRANCHES = {
    "Particle": (*RECORD_LEAVES, "X", "Y", "Z", "T"),
    CANDIDATES: (
        "PT", "Eta", "Phi", "Mass", "CtgTheta", "D0", "DZ", "ErrorD0", "ErrorDZ", "Charge", "PID",
    ),
    "Vertex": ("Z", "T"),
}  # fmt: skip

ETA_MAX = 2.5
PT_MIN = 120.0
NEUTRINOS = (12, 14, 16)
# Constituents beyond these are unphysical leftovers of the simulation.
CONSTITUENT_PZ_MAX = 10_000.0
CONSTITUENT_ETA_MAX = 5.0


@dataclass(frozen=True)
class JetSelection:
    """What makes a jet of the file.

    Attributes
    ----------
    radius
        The anti-kT radius R.
    pt_min
        Lowest pT (GeV) of jets and GEN-jets that are clustered; below `PT_MIN` it has no effect
        on the jets. None stands for what the published cards ask: 200 GeV, or 120 GeV from
        R = 1.5 on.
    qcd_labels
        Whether jets without a resonance get a QCD label (for QCD samples) or are dropped.
    stored_parton_pt
        Lowest pT (GeV) of the quarks stored with a QCD jet. The published files hold none below
        10 GeV.
    """

    radius: float = 0.8
    pt_min: float | None = None
    qcd_labels: bool = False
    stored_parton_pt: float = QCD_PARTON_PT

    @property
    def clustered_pt_min(self) -> float:
        """The lowest jet pT (GeV) in effect."""
        if self.pt_min is not None:
            return self.pt_min
        return 120.0 if self.radius >= 1.5 else 200.0


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
        `JET_SCHEMA`, rows by event, then by falling pT.
    counts : Counts
        What was read, lost and kept.

    Raises
    ------
    UserError
        When the file cannot be read (see `read_events`).
    """
    counts = Counts()
    tables = list(iterate_jets(path, selection, counts))
    return pa.concat_tables([JET_SCHEMA.empty_table(), *tables]).combine_chunks(), counts


def iterate_jets(path: str | Path, selection: JetSelection, counts: Counts) -> Iterator[pa.Table]:
    """Yield the jets of an event file, some events at a time; adds to `counts` on the way."""
    for batch in read_events(path, BRANCHES):
        yield jets_of_batch(batch, selection, counts)


def jets_of_batch(batch: Batch, selection: JetSelection, counts: Counts) -> pa.Table:
    """Make the rows of a batch of events and count; `batch` holds `BRANCHES`."""
    batch = drop_bad_events(batch, counts)
    record, candidates, vertices = batch["Particle"], batch[CANDIDATES], batch["Vertex"]

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

    gen_momenta, stable = gen_particles(record, np.unique(jets.event))
    gen_jets = cluster(gen_momenta, selection.radius, selection.clustered_pt_min)
    match = match_gen_jets(jets, gen_jets, selection.radius)

    columns = {
        **_constituent_columns(jets, candidates, vertices),
        **_jet_columns(jets, momenta, selection.radius, labels),
        **_gen_columns(jets, gen_jets, match, record, stable, vertices, gen_momenta),
        **_truth_columns(truth, record),
    }
    columns["jet_nparticles"] = np.diff(columns["part_px"][0])
    columns["genjet_nparticles"] = np.diff(columns["genpart_px"][0])
    return tabulate(columns, JET_SCHEMA)


def drop_bad_events(batch: Batch, counts: Counts) -> Batch:
    """Leave out events that cannot be trusted: broken decay links, values that are not finite."""
    n_events = len(batch["Particle"].offsets) - 1
    counts.events += n_events
    infinite = np.zeros(n_events, bool)
    for collection in batch.values():
        for values in collection.columns.values():
            if values.dtype.kind == "f" and not np.all(np.isfinite(values)):
                infinite[collection.event[~np.isfinite(values)]] = True
    broken = broken_events(batch["Particle"]) & ~infinite
    if not (infinite.any() or broken.any()):
        return batch
    counts.events_skipped["non-finite values"] += int(infinite.sum())
    counts.events_skipped["broken decay links"] += int(broken.sum())
    kept = ~(infinite | broken)
    return {branch: collection.select(kept) for branch, collection in batch.items()}


def candidate_momenta(candidates: Collection) -> Momenta:
    """Return the four-momenta that Delphes clustered, from what its file keeps of them.

    A track whose smeared momentum came out as zero keeps its mass as energy; FastJet sees it at
    y = φ = 0, where it may join a jet. Old files hold the η at the calorimeter for tracks, so that
    pz comes from cot θ.
    """
    pt, phi, cot_theta, mass = (
        candidates[leaf].astype(np.float64) for leaf in ("PT", "Phi", "CtgTheta", "Mass")
    )
    pz = pt * cot_theta
    return Momenta(
        candidates.offsets,
        pt * np.cos(phi),
        pt * np.sin(phi),
        pz,
        np.sqrt(pt**2 + pz**2 + mass**2),
    )


def gen_particles(record: Collection, events: np.ndarray) -> tuple[Momenta, np.ndarray]:
    """Return what GEN-jets are made of: stable particles without neutrinos, in `events` only.

    Returns
    -------
    momenta : Momenta
        With one (possibly empty) entry per event of the record.
    stable : numpy.ndarray
        Position of each particle in the flat record.
    """
    wanted = np.zeros(len(record.offsets) - 1, bool)
    wanted[events] = True
    stable = np.flatnonzero(
        (record["Status"] == 1)
        & (record["PT"] > 0)
        & ~np.isin(np.abs(record["PID"]), NEUTRINOS)
        & np.repeat(wanted, record.counts)
    )
    offsets = np.searchsorted(stable, record.offsets)
    momentum = four_momentum(record, stable)
    return Momenta(offsets, *momentum), stable


def four_momentum(objects: Collection, index: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return px, py, pz and energy from (pT, η, φ, mass), float64 GeV."""
    pt, eta, phi, mass = (
        objects[leaf][index].astype(np.float64) for leaf in ("PT", "Eta", "Phi", "Mass")
    )
    # η of a particle without pT is ±999.9, which sinh cannot take; such a particle has no pz here.
    pz = pt * np.sinh(np.where(pt > 0, eta, 0))
    energy_squared = pt**2 + pz**2 + mass * np.abs(mass)
    return pt * np.cos(phi), pt * np.sin(phi), pz, np.sqrt(np.maximum(energy_squared, 0))


def match_gen_jets(jets: Jets, gen_jets: Jets, radius: float) -> np.ndarray:
    """Match jets to GEN-jets: in order, each to the nearest unused one, accepted if ΔR < R.

    Returns
    -------
    numpy.ndarray
        int64 (n_jets,): position of the GEN-jet, −1 for none.
    """
    match = np.full(len(jets.event), -1)
    used = np.zeros(len(gen_jets.event), bool)
    starts = np.searchsorted(gen_jets.event, jets.event, side="left")
    stops = np.searchsorted(gen_jets.event, jets.event, side="right")
    for jet, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        free = start + np.flatnonzero(~used[start:stop])
        if len(free):
            distance = delta_r(gen_jets.eta[free], gen_jets.phi[free], jets.eta[jet], jets.phi[jet])
            nearest = np.argmin(distance)
            if np.float32(distance[nearest]) < radius:
                match[jet] = free[nearest]
                used[free[nearest]] = True
    return match


def delta_r(eta1: np.ndarray, phi1: np.ndarray, eta2: np.ndarray, phi2: np.ndarray) -> np.ndarray:
    """Return ΔR = √(Δη² + Δφ²) in float64."""
    delta_eta = np.asarray(eta1, np.float64) - np.asarray(eta2, np.float64)
    return np.hypot(delta_eta, delta_phi(phi1, phi2))


def delta_phi(phi1: np.ndarray, phi2: np.ndarray) -> np.ndarray:
    """Return φ1 − φ2 wrapped into [−π, π), float64."""
    difference = np.asarray(phi1, np.float64) - np.asarray(phi2, np.float64)
    return (difference + np.pi) % (2 * np.pi) - np.pi


@dataclass(frozen=True)
class _Members:
    """Constituents to tabulate: positions in their collection, list offsets, jet of each."""

    index: np.ndarray
    offsets: np.ndarray
    jet: np.ndarray


def _members(jets: Jets, objects: Collection, position: np.ndarray | None = None) -> _Members:
    """Return the constituents of each jet by falling pT, without those that are unphysical."""
    jet = np.repeat(np.arange(len(jets.event)), np.diff(jets.offsets))
    index = jets.constituents if position is None else position[jets.constituents]
    pt, eta = objects["PT"][index], objects["Eta"][index]
    kept = (pt > 0) & (np.abs(eta) <= CONSTITUENT_ETA_MAX)
    kept &= np.abs(pt * np.sinh(np.where(kept, eta, 0))) <= CONSTITUENT_PZ_MAX
    jet, index, pt = jet[kept], index[kept], pt[kept]
    order = np.lexsort((-pt, jet))
    offsets = np.concatenate(([0], np.cumsum(np.bincount(jet, minlength=len(jets.event)))))
    return _Members(index[order], offsets, jet[order])


def _relative_direction(
    jets: Jets, members: _Members, objects: Collection
) -> tuple[np.ndarray, np.ndarray]:
    jet_eta, jet_phi = jets.eta[members.jet], jets.phi[members.jet]
    eta, phi = objects["Eta"][members.index], objects["Phi"][members.index]
    sign = np.where(jet_eta > 0, 1.0, -1.0)
    return sign * (eta.astype(np.float64) - jet_eta), delta_phi(phi, jet_phi)


def _constituent_columns(jets: Jets, candidates: Collection, vertices: Collection) -> dict:
    members = _members(jets, candidates)
    deta, dphi = _relative_direction(jets, members, candidates)
    px, py, pz, energy = four_momentum(candidates, members.index)
    leaf = {name: candidates[name][members.index] for name in ("D0", "ErrorD0", "DZ", "ErrorDZ")}
    charge, pdg = candidates["Charge"][members.index], np.abs(candidates["PID"][members.index])
    vertex_z = vertices.first("Z")[jets.event[members.jet]]
    lepton = (pdg == 11) | (pdg == 13)
    values = {
        "px": px,
        "py": py,
        "pz": pz,
        "energy": energy,
        "deta": deta,
        "dphi": dphi,
        "d0val": leaf["D0"],
        "d0err": leaf["ErrorD0"],
        "dzval": np.where(leaf["DZ"] != 0, leaf["DZ"] - vertex_z, leaf["DZ"]),
        "dzerr": leaf["ErrorDZ"],
        "charge": charge,
        "isElectron": pdg == 11,
        "isMuon": pdg == 13,
        "isPhoton": pdg == 22,
        "isChargedHadron": (charge != 0) & ~lepton,
        "isNeutralHadron": (charge == 0) & (pdg != 22),
    }
    return {f"part_{name}": (members.offsets, value) for name, value in values.items()}


def _jet_columns(jets: Jets, momenta: Momenta, radius: float, labels: np.ndarray) -> dict:
    constituents = _constituent_momenta(jets, momenta)
    taus = subjettiness(constituents, radius)
    return {
        "jet_pt": jets.pt,
        "jet_eta": jets.eta,
        "jet_phi": jets.phi,
        "jet_energy": jets.energy,
        "jet_sdmass": soft_drop_mass(constituents),
        **{f"jet_tau{n + 1}": taus[:, n] for n in range(4)},
        "jet_label": labels,
    }


def _constituent_momenta(jets: Jets, momenta: Momenta) -> Momenta:
    pt = np.hypot(momenta.px, momenta.py)[jets.constituents]
    jet = np.repeat(np.arange(len(jets.event)), np.diff(jets.offsets))
    return momenta.take(jets.constituents[np.lexsort((-pt, jet))], jets.offsets)


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
        "sdmass": soft_drop_mass(_constituent_momenta(partners, gen_momenta)),
    }
    columns = {}
    for name, values in scalars.items():
        columns[f"genjet_{name}"] = np.zeros(len(match))
        columns[f"genjet_{name}"][matched] = values

    members = _members(partners, record, stable)
    deta, dphi = _relative_direction(jets.select(matched), members, record)
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


def tabulate(columns: dict, schema: pa.Schema) -> pa.Table:
    """Build a table from arrays.

    Parameters
    ----------
    columns
        Column name → array, or (offsets, values) for a list column; numbers of any type.
    schema
        Order, types and nullability of the result.
    """
    arrays = []
    for column in schema:
        values = columns[column.name]
        if pa.types.is_list(column.type):
            offsets, items = values
            numpy_type = column.type.value_type.to_pandas_dtype()
            arrays.append(
                pa.ListArray.from_arrays(
                    pa.array(offsets, pa.int32()),
                    pa.array(np.asarray(items).astype(numpy_type)),
                    type=column.type,
                )
            )
        else:
            arrays.append(pa.array(np.asarray(values).astype(column.type.to_pandas_dtype())))
    return pa.Table.from_arrays(arrays, schema=schema)
