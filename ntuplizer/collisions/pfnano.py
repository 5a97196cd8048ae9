"""Jets with constituents of CMS PFNano as rows of a jet file: the 54 columns of simulated jets.

Momenta are as clustered, without energy corrections, as those of simulated jets are. Impact
parameters come in mm with the sign of Delphes, opposite to that of CMS; tracks without details
(below 0.5 GeV) have none and get 0, like neutral particles. Groomed mass and N-subjettiness are
made anew from the constituents. What CMS does not know is empty or 0: labels are −1, there are no
generator particles behind them, and simulated jets have a GEN-jet whose particles have no
production vertex.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from ntuplizer.batch import Collection
from ntuplizer.clustering import Jets, Momenta, soft_drop_mass, subjettiness
from ntuplizer.collisions.certified import CertifiedRuns
from ntuplizer.collisions.era import Era
from ntuplizer.collisions.files import RemoteFile, damaged
from ntuplizer.collisions.nanoaod import (
    IDENTITY,
    Reader,
    good_events,
    is_puppi,
    open_tree,
)
from ntuplizer.particles import (
    candidate_values,
    constituent_momenta,
    four_momentum,
    match_gen_jets,
    members_of,
    relative_direction,
)
from ntuplizer.products.jets import COLUMNS
from ntuplizer.quality import finite_rows
from ntuplizer.schema import arrow_schema, tabulate

# Constituents make these files ten times as large per event as NanoAOD.
EVENTS_PER_STEP = 2000
NO_LABEL = -1
MM_PER_CM = 10.0
# Value of Jet_jetId's bit for tight jets.
TIGHT = 2


@dataclass(frozen=True)
class Branches:
    """Where the jets of one kind are: jets, links to their constituents, the same of GEN-jets."""

    jets: str
    links: str
    gen_jets: str
    gen_links: str
    radius: float


BRANCHES = {
    "ak8": Branches("FatJet", "FatJetPFCands", "GenJetAK8", "GenFatJetCands", 0.8),
    "ak4": Branches("Jet", "JetPFCands", "GenJet", "GenJetCands", 0.4),
}


class PFNanoOptions(BaseModel):
    """Which jets to take."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    jets: Literal["ak8", "ak4"] = Field("ak8", description="anti-kT jets of R = 0.8 or 0.4")
    pt_min: float = Field(200.0, ge=0, description="lowest pT in GeV before energy corrections")
    eta_max: float = Field(2.5, gt=0, description="largest |η|")
    identified: bool = Field(True, description="take jets with tight identification only")

    @property
    def radius(self) -> float:
        """The jets' R."""
        return BRANCHES[self.jets].radius


def jets_of(
    file: RemoteFile,
    options: PFNanoOptions,
    steps: Counter[str],
    era: Era | None = None,
    certified: CertifiedRuns | None = None,
) -> pa.Table:
    """Return the jets of a PFNano file, as `iterate_jets` yields them."""
    tables = iterate_jets(file, options, steps, era, certified)
    return pa.concat_tables([arrow_schema(COLUMNS).empty_table(), *tables]).combine_chunks()


def iterate_jets(
    file: RemoteFile,
    options: PFNanoOptions,
    steps: Counter[str],
    era: Era | None = None,
    certified: CertifiedRuns | None = None,
) -> Iterator[pa.Table]:
    """Yield the jets of a PFNano file, some events at a time.

    Parameters
    ----------
    file
        Collisions or simulation.
    options
        Which jets to take.
    steps
        Adds the events left after each step, and `jets_in_file`, `jets` and `jets_finite`.
    era
        Triggers and filters to ask for; None takes all events.
    certified
        Certified runs, when there is an era and the file holds collisions.

    Yields
    ------
    pyarrow.Table
        The columns of the product `jets`, rows by event, then by falling pT.

    Raises
    ------
    UserError
        When the file cannot be read, or has no constituents of jets.
    """
    for reader, puppi, kept in selected_steps(file, options.jets, steps, era, certified):
        yield finite_jets(
            _jets_of_step(reader, BRANCHES[options.jets], puppi, options, kept, steps), steps
        )


def finite_jets(jets: pa.Table, steps: Counter[str]) -> pa.Table:
    """Leave out the jets of a file that have numbers which are none; adds to `steps`."""
    kept = jets.filter(pa.array(finite_rows(jets)))
    steps["jets_finite"] += kept.num_rows
    return kept


def selected_steps(
    file: RemoteFile,
    jets: str,
    steps: Counter[str],
    era: Era | None,
    certified: CertifiedRuns | None,
) -> Iterator[tuple[Reader, bool, np.ndarray]]:
    """Yield some events at a time of a PFNano file, where any are good.

    Yields
    ------
    tuple
        The events, whether their jets are made of PUPPI candidates, and which are good, (n,).
    """
    branches = BRANCHES[jets]
    needed = (*IDENTITY, "nPFCands", f"n{branches.jets}", f"{branches.links}_jetIdx")
    with open_tree(file, needed, "PFNano") as tree:
        # The large jets of NanoAOD are made of PUPPI candidates in every version.
        puppi = jets == "ak8" or is_puppi(tree, f"n{branches.jets}", file.shown)
        for start in range(0, tree.num_entries, EVENTS_PER_STEP):
            stop = min(start + EVENTS_PER_STEP, tree.num_entries)
            reader = Reader(tree, file.shown, start, stop)
            if era is None:
                steps["read"] += reader.n_events
                kept = np.ones(reader.n_events, bool)
            else:
                kept = good_events(reader, era, certified, steps)
            if kept.any():
                yield reader, puppi, kept


def _jets_of_step(
    reader: Reader,
    branches: Branches,
    puppi: bool,
    options: PFNanoOptions,
    events: np.ndarray,
    steps: Counter[str],
) -> pa.Table:
    candidates = candidates_of(reader, puppi)
    jets, identified = all_jets(reader, branches, candidates)
    steps["jets_in_file"] += len(jets.event)
    chosen = events[jets.event] & (jets.pt >= options.pt_min)
    chosen &= np.abs(jets.eta) <= options.eta_max
    if options.identified:
        chosen &= identified
    order = np.lexsort((-jets.pt, jets.event))
    jets = jets.select(order[chosen[order]])
    steps["jets"] += len(jets.event)

    members = members_of(jets, candidates)
    # CMS gives impact parameters to the primary vertex already.
    values = candidate_values(jets, members, candidates, np.zeros(reader.n_events))
    constituents = constituent_momenta(jets, _momenta(candidates))
    taus = subjettiness(constituents, branches.radius)
    columns = {
        **{f"part_{name}": (members.offsets, value) for name, value in values.items()},
        "jet_pt": jets.pt,
        "jet_eta": jets.eta,
        "jet_phi": jets.phi,
        "jet_energy": jets.energy,
        "jet_sdmass": soft_drop_mass(constituents),
        "jet_nparticles": np.diff(members.offsets),
        **{f"jet_tau{n + 1}": taus[:, n] for n in range(4)},
        "jet_label": np.full(len(jets.event), NO_LABEL),
        **_gen_columns(reader, branches, jets),
    }
    nothing = (np.zeros(len(jets.event) + 1, np.int64), np.zeros(0))
    columns |= {c.name: nothing for c in COLUMNS if c.name.startswith("aux_genpart_")}
    return tabulate(columns, arrow_schema(COLUMNS))


def candidates_of(reader: Reader, puppi: bool) -> Collection:
    """Return the particle-flow candidates with Delphes' names and units."""
    names = ("pt", "eta", "phi", "mass", "d0", "d0Err", "dz", "dzErr", "charge", "pdgId")
    found = reader.lists("PFCands", (*names, "puppiWeight") if puppi else names)
    scale = found["puppiWeight"] if puppi else np.ones(len(found["pt"]), np.float32)
    # Without details of the track, values and uncertainties are −1; a covariance can be infinite.
    track = (found["charge"] != 0) & (found["d0Err"] > 0) & (found["dzErr"] > 0)
    for name in ("d0", "d0Err", "dz", "dzErr"):
        track &= np.isfinite(found[name])

    def millimetres(name: str, sign: float = 1.0) -> np.ndarray:
        return np.where(track, sign * MM_PER_CM * found[name], 0)

    columns = {
        "PT": found["pt"] * scale,
        "Eta": found["eta"],
        "Phi": found["phi"],
        "Mass": found["mass"] * scale,
        "D0": millimetres("d0", sign=-1.0),
        "ErrorD0": millimetres("d0Err"),
        "DZ": millimetres("dz"),
        "ErrorDZ": millimetres("dzErr"),
        "Charge": found["charge"],
        "PID": found["pdgId"],
    }
    return Collection(found.offsets, columns)


def all_jets(reader: Reader, branches: Branches, candidates: Collection) -> tuple[Jets, np.ndarray]:
    """Return all jets before energy corrections, and which have tight identification."""
    names = ("pt", "eta", "phi", "mass", "rawFactor", "jetId")
    found = reader.lists(branches.jets, names)
    raw = 1 - found["rawFactor"]
    offsets, constituents = _constituents(
        reader, branches.links, found.offsets, candidates.offsets, candidates["PT"] > 0
    )
    jets = Jets(
        found.event,
        found["pt"] * raw,
        found["eta"],
        found["phi"],
        found["mass"] * raw,
        offsets,
        constituents,
    )
    return jets, (found["jetId"].astype(np.int64) & TIGHT) != 0


def _gen_columns(reader: Reader, branches: Branches, jets: Jets) -> dict:
    particles, gen_jets = gen_jets_of(reader, branches)
    match = match_gen_jets(jets, gen_jets, branches.radius)
    matched = match >= 0
    partners = gen_jets.select(match[matched])
    momenta = constituent_momenta(partners, _momenta(particles))
    scalars = {
        "pt": partners.pt,
        "eta": partners.eta,
        "phi": partners.phi,
        "energy": partners.energy,
        "sdmass": soft_drop_mass(momenta),
    }
    columns: dict = {}
    for name, scalar in scalars.items():
        columns[f"genjet_{name}"] = np.zeros(len(match))
        columns[f"genjet_{name}"][matched] = scalar

    members = members_of(partners, particles)
    deta, dphi = relative_direction(jets.select(matched), members, particles)
    px, py, pz, energy = four_momentum(particles, members.index)
    unknown = np.zeros(len(members.index))
    values = {
        "px": px, "py": py, "pz": pz, "energy": energy, "jet_deta": deta, "jet_dphi": dphi,
        "x": unknown, "y": unknown, "z": unknown, "t": unknown,
        "pid": particles["PID"][members.index],
    }  # fmt: skip
    counts = np.zeros(len(match), np.int64)
    counts[matched] = np.diff(members.offsets)
    offsets = np.concatenate(([0], np.cumsum(counts)))
    columns["genjet_nparticles"] = counts
    return columns | {f"genpart_{name}": (offsets, value) for name, value in values.items()}


def gen_jets_of(reader: Reader, branches: Branches) -> tuple[Collection, Jets]:
    """Return generated particles and GEN-jets; none of collisions."""
    kinematics = {"pt": "PT", "eta": "Eta", "phi": "Phi", "mass": "Mass"}
    if not reader.is_simulation:
        particles = Collection.empty(reader.n_events, (*kinematics.values(), "PID"))
        nothing, none = np.zeros(0, np.float32), np.zeros(0, np.int64)
        jets = Jets(none, nothing, nothing, nothing, nothing, np.zeros(1, np.int64), none)
        return particles, jets
    found = reader.lists("GenCands", (*kinematics, "pdgId"))
    columns = {leaf: found[name] for name, leaf in kinematics.items()} | {"PID": found["pdgId"]}
    particles = Collection(found.offsets, columns)
    made = reader.lists(branches.gen_jets, tuple(kinematics))
    offsets, constituents = _constituents(
        reader, branches.gen_links, made.offsets, particles.offsets, particles["PT"] > 0
    )
    jets = Jets(
        made.event, made["pt"], made["eta"], made["phi"], made["mass"], offsets, constituents
    )
    return particles, jets


def _constituents(
    reader: Reader, name: str, jets: np.ndarray, candidates: np.ndarray, usable: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Follow the links of a file from jets to candidates, both given by their event offsets.

    Returns
    -------
    offsets, constituents : numpy.ndarray
        As in `Jets`, without candidates that are not `usable`.
    """
    links = reader.lists(name, ("jetIdx", "pFCandsIdx"))
    jet = links["jetIdx"].astype(np.int64) + jets[links.event]
    candidate = links["pFCandsIdx"].astype(np.int64) + candidates[links.event]
    wrong = (links["jetIdx"] < 0) | (jet >= jets[links.event + 1])
    wrong |= (links["pFCandsIdx"] < 0) | (candidate >= candidates[links.event + 1])
    if wrong.any():
        event = reader.start + links.event[wrong][0]
        problem = ValueError(f"{name} points to what is not there")
        raise damaged(reader.address, problem, f" in event {event}")
    kept = usable[candidate]
    jet, candidate = jet[kept], candidate[kept]
    counts = np.bincount(jet, minlength=jets[-1])
    return np.concatenate(([0], np.cumsum(counts))), candidate[np.argsort(jet, kind="stable")]


def _momenta(objects: Collection) -> Momenta:
    return Momenta(objects.offsets, *four_momentum(objects, np.arange(len(objects["PT"]))))
