"""Delphes event files: written with uproot, read back as generator records."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import awkward as ak
import cramjam
import numpy as np
import uproot

from generation.fastsim.branches import Branch, concatenate
from generation.record import STABLE, GeneratorRecord
from provenance.errors import UserError

TREE = "Delphes"
# Each of the 300 leaves starts a basket with every write, at a cost of its own; 200 events of the
# fat-jet card are some 60 MB in memory.
EVENTS_PER_BASKET = 200
WEIGHT = "Event.Weight"
# Delphes writes times in seconds and holds them in mm/c.
MM_PER_SECOND = 2.99792458e11
# What PileUpMerger adds to the stable particles: attribute of the record.
VERTEX_BRANCHES = {"Vertex.Z": "z", "Vertex.T": "t"}
# The number that it gives to each interaction, from 0 for the hard one: the branch is sorted.
VERTEX_NUMBER = "Vertex.Index"
# Leaf of `Particle`: attribute of the record.
RECORD_LEAVES = {
    "PID": "pid", "Status": "status", "M1": "m1", "M2": "m2", "D1": "d1", "D2": "d2",
    "Charge": "charge", "Mass": "mass", "E": "e", "Px": "px", "Py": "py", "Pz": "pz",
    "X": "x", "Y": "y", "Z": "z", "T": "t",
}  # fmt: skip


class FastZLIB(uproot.ZLIB):
    """ZLIB, whose checksum notices damage, thrice as fast as with Python's own library."""

    @property
    def code_pair(self) -> tuple[int, int]:
        """ROOT's code of the algorithm, and the level; uproot looks them up by class."""
        return uproot.const.kZLIB, self.level

    def compress(self, data: bytes) -> bytes:
        """Compress one basket."""
        return bytes(cramjam.zlib.compress(data, level=self.level))


def write_delphes_file(path: str | Path, batches: Iterable[dict[str, Branch]]) -> int:
    """Write batches of events as a tree `Delphes`, one after the other as they come.

    Branches and leaves are named as in Delphes' own files (`Particle.PT`, `Particle_size`); each
    leaf is a branch of its own. Leaves that are arrays (`Tau[5]`) lose the brackets of their names,
    which readers would take for another dimension; ROOT's own reader calls them so in any case.
    Two files of the same batches differ in ROOT's time stamps alone.

    Parameters
    ----------
    path
        ROOT file to write; replaced when it exists. Use a temporary path: see `atomic_output`.
    batches
        Branches by name, the same in every batch.

    Returns
    -------
    int
        How many events were written.
    """
    events = 0
    tree = None
    with uproot.recreate(path, compression=FastZLIB(1)) as file:
        for branches in _joined(batches):
            if tree is None:
                tree = file.mktree(
                    TREE,
                    {name: _record_type(branch) for name, branch in branches.items()},
                    counter_name=_size_name,
                    field_name=lambda name, leaf: f"{name}.{leaf.partition('[')[0]}",
                )
            sizes = {_size_name(name): np.diff(b.offsets) for name, b in branches.items()}
            tree.extend(sizes | {name: _leaves(branch) for name, branch in branches.items()})
            events += _n_events(branches)
    return events


def _joined(batches: Iterable[dict[str, Branch]]) -> Iterator[dict[str, Branch]]:
    """Join batches until they are large enough to be written at a time."""
    waiting: list[dict[str, Branch]] = []
    for branches in batches:
        waiting.append(branches)
        if sum(map(_n_events, waiting)) >= EVENTS_PER_BASKET:
            yield _join(waiting)
            waiting = []
    if waiting:
        yield _join(waiting)


def _join(batches: list[dict[str, Branch]]) -> dict[str, Branch]:
    return {name: concatenate([batch[name] for batch in batches]) for name in batches[0]}


def _n_events(branches: dict[str, Branch]) -> int:
    return len(next(iter(branches.values())).offsets) - 1


def _size_name(branch_name: str) -> str:
    return f"{branch_name}_size"


def _record_type(branch: Branch) -> ak.types.ListType:
    """Return the awkward type of the items of a branch."""
    types = []
    for values in branch.columns.values():
        item = ak.types.NumpyType(values.dtype.name)
        types.append(ak.types.RegularType(item, values.shape[1]) if values.ndim > 1 else item)
    return ak.types.ListType(ak.types.RecordType(types, list(branch.columns)))


def _leaves(branch: Branch) -> dict[str, ak.Array]:
    """Return the leaves of a branch as uproot takes them: one list per event."""
    leaves = {}
    for leaf, values in branch.columns.items():
        items = ak.contents.NumpyArray(np.ascontiguousarray(values).reshape(-1))
        offsets = branch.offsets
        if values.ndim > 1:
            # uproot 5.7 takes the offsets of lists of arrays to count numbers, not arrays.
            items = ak.contents.RegularArray(items, values.shape[1])
            offsets = offsets * values.shape[1]
        lists = ak.contents.ListOffsetArray(ak.index.Index64(offsets), items)
        leaves[leaf] = ak.Array(lists)
    return leaves


def read_generator_records(path: str | Path, events_per_batch: int) -> Iterator[GeneratorRecord]:
    """Read the generator record out of a Delphes event file, a batch of events at a time.

    PileUpMerger moves the stable particles of the hard event to a vertex that it draws, in place,
    and numbers it 0 in the branch `Vertex`. They are moved back. Their energies
    are made from momentum and mass anew.

    Parameters
    ----------
    path
        Delphes event file, real or embedded.
    events_per_batch
        Events in each record; the last one may hold fewer.

    Raises
    ------
    UserError
        When the file is missing or damaged, or lacks the tree or a branch.
    """
    branches = {f"Particle.{leaf}": name for leaf, name in RECORD_LEAVES.items()}
    with _opened(Path(path)) as tree:
        for branch in branches:
            if branch not in tree:
                raise UserError(f"{path}: the tree {TREE} has no branch {branch}")
        vertex = [branch for branch in (*VERTEX_BRANCHES, VERTEX_NUMBER) if branch in tree]
        for arrays in tree.iterate([*branches, *vertex], step_size=events_per_batch):
            columns = {name: arrays[branch] for branch, name in branches.items()}
            yield _record(columns, {name: arrays[name] for name in vertex})


def read_weights(path: str | Path) -> np.ndarray:
    """Return the weights of all events of a file, (n_events,) float32; 1 where it has none.

    Raises as `read_generator_records`.
    """
    with _opened(Path(path)) as tree:
        if WEIGHT not in tree:
            return np.ones(tree.num_entries, np.float32)
        weights = ak.fill_none(ak.firsts(tree[WEIGHT].array()), 1.0)
        return ak.to_numpy(weights).astype(np.float32)


@contextmanager
def _opened(path: Path) -> Iterator[uproot.TTree]:
    """Give the tree of an event file; say in one sentence what is wrong with the file.

    uproot has many ways to tell that a file is damaged: OSError, ValueError, zlib.error,
    DeserializationError, AssertionError, ...
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with uproot.open(path) as file:
            if TREE not in file:
                raise UserError(f"{path}: holds no tree named {TREE}")
            yield file[TREE]
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path}: not a whole ROOT file ({type(error).__name__})") from None


def _of_hard_vertex(values: ak.Array, numbers: ak.Array | None) -> np.ndarray:
    """Return the value of the vertex numbered 0 of each event, or of the first, 0 without any."""
    if numbers is not None:
        values = ak.concatenate([values[numbers == 0], values], axis=1)
    return ak.to_numpy(ak.fill_none(ak.firsts(values), 0.0))


def _record(columns: dict[str, ak.Array], vertex: dict[str, ak.Array]) -> GeneratorRecord:
    layouts = {name: ak.to_packed(column).layout for name, column in columns.items()}
    flat = {name: np.asarray(layout.content.data) for name, layout in layouts.items()}
    offsets = np.asarray(layouts["pid"].offsets.data)
    stable = flat["status"] == STABLE
    for branch, name in VERTEX_BRANCHES.items():
        flat[name] = flat[name].astype(np.float64)
        if branch in vertex:
            hard = _of_hard_vertex(vertex[branch], vertex.get(VERTEX_NUMBER))
            flat[name] -= np.where(stable, np.repeat(hard, np.diff(offsets)), 0.0)
    flat["t"] *= MM_PER_SECOND
    # Single precision loses the mass of fast particles, which Delphes takes from the momentum.
    momentum2 = sum(flat[name].astype(np.float64) ** 2 for name in ("px", "py", "pz"))
    energy = np.sqrt(momentum2 + flat["mass"].astype(np.float64) ** 2)
    flat["e"] = np.where(stable, energy, flat["e"])
    return GeneratorRecord(offsets=offsets, **flat)
