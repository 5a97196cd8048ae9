"""Jets of CMS PFNano as rows of the product `energy`, for corrections learned from simulation.

Momenta are as clustered, before CMS' own energy corrections. Lengths come in mm, d0 with the sign
of Delphes. What CMS files do not hold has the value that stands for nothing: errors of momenta, for
neutral particles of older files also the share of the HCAL (1 for hadrons, 0 for photons). Jets of
collisions, and those without a GEN-jet, have 0 in its columns; jets of collisions in their flavours
too.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from ntuplizer.batch import Collection
from ntuplizer.clustering import Jets
from ntuplizer.collisions.certified import CertifiedRuns
from ntuplizer.collisions.era import Era
from ntuplizer.collisions.files import RemoteFile
from ntuplizer.collisions.nanoaod import Reader
from ntuplizer.collisions.pfnano import (
    BRANCHES,
    MM_PER_CM,
    Branches,
    PFNanoOptions,
    all_jets,
    candidates_of,
    finite_jets,
    gen_jets_of,
    selected_steps,
)
from ntuplizer.collisions.unique import section_key
from ntuplizer.energy_inputs import jet_shapes
from ntuplizer.geometry import delta_phi, delta_r
from ntuplizer.particles import NEUTRINOS, Members, candidate_values, match_gen_jets, members_of
from ntuplizer.products.energy import CHARGED, COLUMNS, NEUTRAL, VERTICES
from ntuplizer.rows.energy import MATCH_FRACTION
from ntuplizer.schema import arrow_schema, tabulate

# The density ρ has another name in newer files.
RHO = ("Rho_fixedGridRhoFastjetAll", "fixedGridRhoFastjetAll")
# `PFCands_pvAssocQuality` from which on a track was used to fit its vertex, or lies near it.
USED_IN_FIT, NEAR = 6, 4
# Tracks of another vertex lie at least so far from the first one along the beam, mm.
OTHER_VERTEX = 1.0


class PFNanoEnergyOptions(PFNanoOptions):
    """Which jets to take."""

    jets: Literal["ak8", "ak4"] = Field("ak4", description="anti-kT jets of R = 0.4 or 0.8")
    pt_min: float = Field(15.0, ge=0, description="lowest pT in GeV before energy corrections")
    eta_max: float = Field(5.0, gt=0, description="largest |η|")
    identified: bool = Field(False, description="take jets with tight identification only")


def iterate_energy_jets(
    file: RemoteFile,
    options: PFNanoEnergyOptions,
    steps: Counter[str],
    era: Era | None = None,
    certified: CertifiedRuns | None = None,
) -> Iterator[pa.Table]:
    """Yield the jets of a PFNano file, some events at a time; arguments as of `iterate_jets`.

    Yields
    ------
    pyarrow.Table
        The columns of the product `energy`, rows in the order of the file. `batch` is the
        `section_key` of run and luminosity section, `jet` the place of the jet in its event.

    Raises
    ------
    UserError
        When the file cannot be read, or has no constituents of jets or no ρ.
    """
    for reader, puppi, kept in selected_steps(file, options.jets, steps, era, certified):
        yield finite_jets(
            _jets_of_step(reader, BRANCHES[options.jets], puppi, options, kept, steps), steps
        )


def _jets_of_step(
    reader: Reader,
    branches: Branches,
    puppi: bool,
    options: PFNanoEnergyOptions,
    events: np.ndarray,
    steps: Counter[str],
) -> pa.Table:
    candidates = candidates_of(reader, puppi)
    jets, identified = all_jets(reader, branches, candidates)
    steps["jets_in_file"] += len(jets.event)
    own = reader.lists(branches.jets, ("area", *_flavours(reader)))
    chosen = events[jets.event] & (jets.pt >= options.pt_min)
    chosen &= np.abs(jets.eta) <= options.eta_max
    # A jet whose constituents are all without weight has nothing to learn from.
    chosen &= np.diff(jets.offsets) > 0
    if options.identified:
        chosen &= identified
    places = np.arange(len(jets.event)) - own.offsets[jets.event]
    jets = jets.select(chosen)
    steps["jets"] += len(jets.event)

    simulated = PurePosixPath(reader.address).stem
    section = section_key(reader.flat("run"), reader.flat("luminosityBlock"))
    flavours = {
        f"jet_{name.lower()}": own[name][chosen] if name in own.columns else _zeros(jets)
        for name in ("hadronFlavour", "partonFlavour")
    }
    columns = {
        "process": np.full(len(jets.event), simulated),
        "batch": section[jets.event],
        "event": reader.flat("event").astype(np.int64)[jets.event],
        "jet": places[chosen],
        **{f"jet_{name}": getattr(jets, name) for name in ("pt", "eta", "phi", "mass", "energy")},
        "jet_area": own["area"][chosen],
        **flavours,
        "event_rho": _density(reader)[jets.event],
        "event_nvertices": reader.flat("PV_npvs")[jets.event],
        "event_ninteractions": _interactions(reader)[jets.event],
        **_constituents(reader, jets, candidates, puppi),
        **_secondary_vertices(reader, jets, branches.radius),
        **_gen_jets(reader, branches, jets),
    }
    return tabulate(columns, arrow_schema(COLUMNS))


def _zeros(jets: Jets) -> np.ndarray:
    return np.zeros(len(jets.event))


def _flavours(reader: Reader) -> tuple[str, ...]:
    return ("hadronFlavour", "partonFlavour") if reader.is_simulation else ()


def _density(reader: Reader) -> np.ndarray:
    name = next((name for name in RHO if name in reader.tree), RHO[0])
    return reader.flat(name)


def _interactions(reader: Reader) -> np.ndarray:
    if "Pileup_nPU" not in reader.tree:
        return np.zeros(reader.n_events)
    return reader.flat("Pileup_nPU") + 1


def _constituents(reader: Reader, jets: Jets, candidates: Collection, puppi: bool) -> dict:
    """Return lists of constituents, and numbers made of them."""
    members = members_of(jets, candidates)
    # CMS gives impact parameters to the primary vertex already.
    values = candidate_values(jets, members, candidates, np.zeros(reader.n_events))
    more = ["pvAssocQuality", *(["puppiWeight"] if puppi else [])]
    if "PFCands_hcalFraction" in reader.tree:
        more.append("hcalFraction")
    found = reader.lists("PFCands", more)
    quality = found["pvAssocQuality"][members.index]
    values["pterr"] = np.zeros(len(quality))
    values["association"] = _association(values, quality)
    values["hcalfrac"] = (
        found["hcalFraction"][members.index]
        if "hcalFraction" in found.columns
        else values["isNeutralHadron"]
    )
    values["puppiweight"] = found["puppiWeight"][members.index] if puppi else np.ones(len(quality))
    charged = candidates["Charge"][members.index] != 0
    columns = _lists(values, members, charged)
    pt = np.hypot(values["px"], values["py"])
    shapes = jet_shapes(pt, values["deta"], values["dphi"], members.jet, len(jets.event))
    return columns | {
        "jet_multiplicity": shapes["multiplicity"],
        "jet_ptd": shapes["pt_dispersion"],
        "jet_axis2": shapes["minor_axis"],
    }


def _lists(values: dict[str, np.ndarray], members: Members, charged: np.ndarray) -> dict:
    columns = {}
    for prefix, own, chosen in (("charged_", CHARGED, charged), ("neutral_", NEUTRAL, ~charged)):
        offsets = members.select(chosen).offsets
        for column in own:
            columns[column.name] = (offsets, values[column.name.removeprefix(prefix)][chosen])
    return columns


def _association(values: dict[str, np.ndarray], quality: np.ndarray) -> np.ndarray:
    """Return how tracks belong to the vertices, 2 to 5 (see `energy_inputs.ASSOCIATIONS`)."""
    used = quality >= USED_IN_FIT
    away = np.abs(values["dzval"]) >= OTHER_VERTEX
    return np.select([used & away, used, quality >= NEAR], [2, 5, 4], 3)


def _secondary_vertices(reader: Reader, jets: Jets, radius: float) -> dict:
    """Return the vertices of the file within R of each jet, most tracks first."""
    found = reader.lists(
        "SV",
        ("pt", "eta", "phi", "mass", "dlen", "dlenSig", "dxy", "dxySig", "chi2", "ndof", "ntracks"),
    )
    counts = found.counts[jets.event]
    jet = np.repeat(np.arange(len(counts)), counts)
    vertex = np.concatenate(
        [np.zeros(0, np.int64), *(_range(found, event) for event in jets.event)]
    )
    near = delta_r(found["eta"][vertex], found["phi"][vertex], jets.eta[jet], jets.phi[jet])
    chosen = np.flatnonzero(near < radius)
    order = chosen[np.lexsort((-found["ntracks"][vertex[chosen]].astype(np.int64), jet[chosen]))]
    jet, vertex = jet[order], vertex[order]
    eta, phi = jets.eta[jet].astype(np.float64), jets.phi[jet].astype(np.float64)
    value = {name: values[vertex].astype(np.float64) for name, values in found.columns.items()}
    values = {
        **{name: value[name] for name in ("pt", "eta", "phi", "mass", "ntracks")},
        "deta": np.where(eta > 0, 1.0, -1.0) * (value["eta"] - eta),
        "dphi": delta_phi(value["phi"], phi),
        "flight": MM_PER_CM * value["dlen"],
        "flightsig": value["dlenSig"],
        "flightxy": MM_PER_CM * value["dxy"],
        "flightxysig": value["dxySig"],
        # The file has χ² over the degrees of freedom, of which its fit has fractions.
        "chi2": value["chi2"] * value["ndof"],
        "ndf": np.maximum(np.round(value["ndof"]), 1),
    }
    offsets = np.concatenate(([0], np.cumsum(np.bincount(jet, minlength=len(jets.event)))))
    names = [column.name for column in VERTICES]
    return {name: (offsets, values[name.removeprefix("sv_")]) for name in names}


def _range(objects: Collection, event: int) -> np.ndarray:
    return np.arange(objects.offsets[event], objects.offsets[event + 1])


def _gen_jets(reader: Reader, branches: Branches, jets: Jets) -> dict:
    """Return the columns of the GEN-jets, zeros where there is none."""
    names = ("pt", "eta", "phi", "mass", "energy")
    columns = {f"genjet_{name}": _zeros(jets) for name in (*names, "ptnu")}
    if not reader.is_simulation:
        return columns
    _, gen_jets = gen_jets_of(reader, branches)
    order = np.lexsort((-jets.pt, jets.event))
    match = np.full(len(order), -1)
    match[order] = match_gen_jets(jets.select(order), gen_jets, MATCH_FRACTION * branches.radius)
    matched = match >= 0
    partners = gen_jets.select(match[matched])
    for name in names:
        columns[f"genjet_{name}"][matched] = getattr(partners, name)
    columns["genjet_ptnu"][matched] = _with_neutrinos(reader, partners, branches.radius)
    return columns


def _with_neutrinos(reader: Reader, jets: Jets, radius: float) -> np.ndarray:
    """Return the pT of GEN-jets with the neutrinos within R that the file lists, float64 (n,)."""
    found = reader.lists("GenPart", ("pt", "eta", "phi", "pdgId", "status"))
    stable = np.isin(np.abs(found["pdgId"]), NEUTRINOS) & (found["status"] == 1)
    px = jets.pt * np.cos(jets.phi.astype(np.float64))
    py = jets.pt * np.sin(jets.phi.astype(np.float64))
    for jet, event in enumerate(jets.event):
        own = _range(found, event)
        own = own[stable[own]]
        distance = delta_r(found["eta"][own], found["phi"][own], jets.eta[jet], jets.phi[jet])
        own = own[distance < radius]
        px[jet] += (found["pt"][own] * np.cos(found["phi"][own])).sum()
        py[jet] += (found["pt"][own] * np.sin(found["phi"][own])).sum()
    return np.hypot(px, py)
