"""Stream CMS NanoAOD, collisions or simulation, as events with identified objects.

The branches are named like Delphes' (`Electron`, `Muon`, `Jet`, `MissingET`), so that what takes
events from a detector simulation takes collisions too.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

import awkward as ak
import numpy as np
import uproot

from ntuplizer.batch import Collection, EventBatch
from ntuplizer.collisions.certified import CertifiedRuns
from ntuplizer.collisions.era import Era, WorkingPoint
from ntuplizer.collisions.files import RemoteFile, damaged, open_root
from ntuplizer.collisions.unique import section_key
from provenance.errors import UserError

TREE = "Events"
# Some 20 columns are read of as many events at once: tens of megabytes.
EVENTS_PER_STEP = 50_000
# Simulation holds the generated particles.
SIMULATION_MARK = "nGenPart"
IDENTITY = ("run", "luminosityBlock", "event")
# What the product `events` has to be told about where objects are.
EVENT_BRANCHES = {"jet_branch": "Jet", "met_branch": "MissingET"}


def batches(
    files: Sequence[RemoteFile],
    era: Era,
    certified: CertifiedRuns | None,
    working_point: WorkingPoint,
    process: str | None,
    steps: Counter[str],
) -> Iterator[EventBatch]:
    """Stream the events that were recorded well and fired a trigger, with identified objects.

    The branches are `Electron`, `Muon` (PT, Eta, Phi), `Jet` (PT, Eta, Phi, Mass, BTag) and
    `MissingET` (MET, Phi). Of the identity, `batch` is the `section_key` of run and luminosity
    section.

    Parameters
    ----------
    files
        NanoAOD files. Whether each holds collisions or simulation is read from it.
    era
        Triggers, filters and identification.
    certified
        Which luminosity sections to take of collisions (`ALL_RUNS` takes all); None where all
        files are simulation, which has no such list.
    working_point
        Of b-tagging: `loose`, `medium` or `tight`.
    process
        The process of simulated events, whose numbers begin anew in each data set; None stands
        for the file's name. That of collisions is the era's name, so that copies of an event in
        several data sets have one identity.
    steps
        Adds events left after each step: `read`, `certified`, `triggered`, `filtered`.

    Raises
    ------
    UserError
        When a file is missing, unreachable, damaged, not the one expected or not NanoAOD, or lacks
        what the era asks for.
    """
    for file in files:
        with _open_events(file) as tree:
            for start in range(0, tree.num_entries, EVENTS_PER_STEP):
                stop = min(start + EVENTS_PER_STEP, tree.num_entries)
                reader = Reader(tree, file.shown, start, stop)
                kept = good_events(reader, era, certified, steps)
                # Where nothing is kept, nothing more has to come over the network.
                if kept.any():
                    yield _read_batch(reader, era, working_point, process, kept)


def _open_events(file: RemoteFile) -> AbstractContextManager[uproot.TTree]:
    return open_tree(file, (*IDENTITY, "nJet", "nMuon", "nElectron"), "NanoAOD")


def good_events(
    reader: "Reader", era: Era, certified: CertifiedRuns | None, steps: Counter[str]
) -> np.ndarray:
    """Return which events are certified, triggered and not filtered out."""
    kept = np.ones(reader.n_events, bool)
    steps["read"] += reader.n_events
    if not reader.is_simulation:
        if certified is None:
            raise UserError(
                f"{reader.address}: holds collisions: the certified runs of era {era.name} are "
                f"needed, {era.certification.file}"
            )
        kept &= certified.mask(reader.flat("run"), reader.flat("luminosityBlock"))
    steps["certified"] += int(kept.sum())

    paths = [path for path in (f"HLT_{name}" for name in era.triggers) if path in reader.tree]
    if not paths:
        raise UserError(
            f"{reader.address}: has none of the triggers of era {era.name}: "
            + ", ".join(f"HLT_{name}" for name in era.triggers)
        )
    kept &= np.any([reader.flat(path).astype(bool) for path in paths], axis=0)
    steps["triggered"] += int(kept.sum())

    later = [name for name in era.filters_where_present if f"Flag_{name}" in reader.tree]
    for name in (*era.filters, *later):
        kept &= reader.flat(f"Flag_{name}").astype(bool)
    steps["filtered"] += int(kept.sum())
    return kept


def _read_batch(
    reader: "Reader", era: Era, working_point: WorkingPoint, process: str | None, kept: np.ndarray
) -> EventBatch:
    puppi = is_puppi(reader.tree, "nJet", reader.address)
    collections = {
        "Electron": _electrons(reader, era),
        "Muon": _muons(reader, era),
        "Jet": _jets(reader, era, working_point, puppi),
        "MissingET": _missing_momentum(reader, puppi),
    }
    section = section_key(reader.flat("run"), reader.flat("luminosityBlock"))[kept]
    simulated = process or PurePosixPath(reader.address).stem
    identity = {
        "process": np.full(len(section), simulated if reader.is_simulation else era.name),
        "batch": section,
        "event": reader.flat("event").astype(np.int64)[kept],
    }
    return EventBatch(
        {name: objects.select(kept) for name, objects in collections.items()},
        identity,
        reader.address,
    )


def _electrons(reader: "Reader", era: Era) -> Collection:
    found = reader.lists("Electron", ("pt", "eta", "phi", "cutBased"))
    good = found["cutBased"] >= era.electrons.identification_min
    good &= _below(np.abs(found["eta"]), era.electrons.eta_max)
    return _renamed(_chosen(found, good), ("PT", "Eta", "Phi"))


def _muons(reader: "Reader", era: Era) -> Collection:
    flag = era.muons.identification
    found = reader.lists("Muon", ("pt", "eta", "phi", flag, "pfRelIso04_all"))
    good = found[flag].astype(bool) & _below(found["pfRelIso04_all"], era.muons.isolation_max)
    good &= _below(np.abs(found["eta"]), era.muons.eta_max)
    return _renamed(_chosen(found, good), ("PT", "Eta", "Phi"))


def _jets(reader: "Reader", era: Era, working_point: WorkingPoint, puppi: bool) -> Collection:
    discriminator = era.b_tag.discriminator
    quantities = ["pt", "eta", "phi", "mass", "jetId", discriminator]
    pileup = None if puppi else era.jets.pileup_identification
    if pileup is not None:
        quantities.append("puId")
    found = reader.lists("Jet", quantities)
    good = (found["jetId"].astype(np.int64) & era.jets.identification_bit) != 0
    good &= _below(np.abs(found["eta"]), era.jets.eta_max)
    if pileup is not None:
        from_hard_collision = (found["puId"].astype(np.int64) & pileup.bit) != 0
        good &= from_hard_collision | ~_below(found["pt"], pileup.pt_max)
    tagged = found[discriminator] > np.float64(getattr(era.b_tag, working_point))
    columns = {**found.columns, "BTag": tagged.astype(np.int32)}
    jets = _chosen(Collection(found.offsets, columns), good)
    return _renamed(jets, ("PT", "Eta", "Phi", "Mass", "BTag"))


def _missing_momentum(reader: "Reader", puppi: bool) -> Collection:
    name = "PuppiMET" if puppi else "MET"
    columns = {"MET": reader.flat(f"{name}_pt"), "Phi": reader.flat(f"{name}_phi")}
    return Collection(np.arange(reader.n_events + 1), columns)


def _below(values: np.ndarray, limit: float) -> np.ndarray:
    """Compare in float64: the limit is not to be rounded to the values' float32."""
    return values < np.float64(limit)


def _chosen(collection: Collection, objects: np.ndarray) -> Collection:
    """Return the objects of a mask, in the same events."""
    offsets = np.concatenate(([0], np.cumsum(objects)))[collection.offsets]
    return Collection(offsets, {name: v[objects] for name, v in collection.columns.items()})


def _renamed(collection: Collection, leaves: Sequence[str]) -> Collection:
    """Return the columns that have these names in small letters, or as they are."""
    columns = collection.columns
    return Collection(
        collection.offsets,
        {leaf: columns[leaf] if leaf in columns else columns[leaf.lower()] for leaf in leaves},
    )


def is_puppi(tree: uproot.TTree, counter: str, address: str) -> bool:
    """Return whether the jets that a branch counts are made of PUPPI candidates, not of CHS ones.

    The title of the branch says so in NanoAOD of every age.
    """
    title = tree[counter].title
    kind = jets_named_in(title)
    if kind is None:
        raise UserError(
            f"{address}: the title of {counter} ({title!r}) does not say whether the jets are CHS "
            "or PUPPI"
        )
    return kind == "puppi"


def jets_named_in(title: str) -> Literal["puppi", "chs"] | None:
    """Return which kind of jets a title speaks of, None when it names none or both."""
    puppi, chs = "puppi" in title.lower(), "chs" in title.lower()
    if puppi == chs:
        return None
    return "puppi" if puppi else "chs"


@contextmanager
def open_tree(file: RemoteFile, branches: Sequence[str], kind: str) -> Iterator[uproot.TTree]:
    """Open the tree of events of a file that must have some branches to be of its kind."""
    with open_root(file) as directory:
        try:
            found = TREE in directory.keys(recursive=False, cycle=False)
            tree = directory[TREE] if found else None
            complete = isinstance(tree, uproot.TTree) and all(name in tree for name in branches)
        except Exception as error:
            raise damaged(file.shown, error) from None
        if not complete:
            raise UserError(
                f"{file.shown}: holds no tree {TREE} with {', '.join(branches)}, "
                f"so it is not {kind}"
            )
        yield tree


@dataclass(frozen=True)
class Reader:
    """Some events of a NanoAOD tree, read column by column.

    uproot meets damage with whatever its parser stumbles over: what it raises while reading is
    the file's fault.
    """

    tree: uproot.TTree
    address: str
    start: int
    stop: int

    @property
    def n_events(self) -> int:
        """How many events these are."""
        return self.stop - self.start

    @property
    def is_simulation(self) -> bool:
        """Whether the events are simulated."""
        return SIMULATION_MARK in self.tree

    def flat(self, name: str) -> np.ndarray:
        """Return a branch of one value per event, (n_events,)."""
        values = np.asarray(self._read(name))
        if values.shape != (self.n_events,):
            raise self._damaged(ValueError(f"{name} does not hold one value per event"))
        return values

    def lists(self, collection: str, quantities: Sequence[str]) -> Collection:
        """Return the objects of a collection with columns named like the quantities."""
        offsets = np.zeros(0, np.int64)
        columns: dict[str, np.ndarray] = {}
        for quantity in quantities:
            name = f"{collection}_{quantity}"
            array = self._read(name)
            try:
                layout = ak.to_packed(array).layout
                own, values = np.asarray(layout.offsets, np.int64), ak.to_numpy(layout.content)
            except Exception:
                raise self._damaged(ValueError(f"{name} does not hold lists")) from None
            if columns and not np.array_equal(offsets, own):
                raise self._damaged(ValueError(f"{name} has a wrong number of entries"))
            offsets, columns[quantity] = own, values
        return Collection(offsets, columns)

    def _read(self, name: str) -> ak.Array:
        if name not in self.tree:
            raise UserError(f"{self.address}: has no branch {name}")
        try:
            array = self.tree[name].array(entry_start=self.start, entry_stop=self.stop)
            if len(array) != self.n_events:
                raise ValueError(f"{name} has {len(array)} entries")
        except Exception as error:
            raise self._damaged(error) from None
        return array

    def _damaged(self, error: Exception) -> UserError:
        return damaged(self.address, error, f" in events {self.start} to {self.stop - 1}")
