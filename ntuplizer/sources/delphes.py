"""Delphes event files, real or embedded, in steps of events.

An event is named by the ledger beside its file: process and batch, and its number in the batch.
(`Event.Number` would not do: Delphes counts anew in every batch, so that it repeats in a file that
was joined, while this project's own files count through all batches.) In a file without a ledger of
batches, events are numbered through; its process is the file's name, its batch `NO_BATCH`.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from commandline.progress import progress
from ntuplizer.batch import Collection, EventBatch, simulated_identity
from provenance.errors import UserError, first_line
from provenance.ledger import check_ledger, ledger_path

TREE = "Delphes"
# Events read at once. A batch of 250 events of 100 kB each decompresses to some 40 MB.
EVENTS_PER_STEP = 250
# Leaves that are codes or positions.
INTEGER_LEAVES = frozenset({"PID", "Status", "D1", "D2", "Charge", "BTag"})
# The number of the batch of events whose file does not say.
NO_BATCH = -1


def batches(
    path: str | Path,
    branches: Mapping[str, Sequence[str]],
    optional: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[EventBatch]:
    """Stream an event file.

    Parameters
    ----------
    path
        A ROOT file with a TTree `Delphes`.
    branches
        Branch → leaves wanted, as ``{"Particle": ("PID", "PT")}``.
    optional
        The same for branches that may be absent; those are left out of the batches.

    Yields
    ------
    EventBatch
        `EVENTS_PER_STEP` events at a time; nothing for an empty tree.

    Raises
    ------
    UserError
        When the file is missing, damaged, not a Delphes file, lacks a branch, or is not the one
        that the ledger beside it speaks of.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such event file")
    # A writer that was killed can leave a file that opens with fewer events, and only some of
    # ROOT's compressions carry a checksum.
    ledger = check_ledger(path)
    with _open(path) as file:
        tree = _tree(file, path)
        identity = _identify(Path(path), ledger, tree.num_entries)
        wanted = {branch: _find_leaves(tree, branch, own) for branch, own in branches.items()}
        for branch, found in wanted.items():
            for leaf in branches[branch]:
                if leaf not in found:
                    raise UserError(f"{path}: the tree {TREE} has no branch {branch}.{leaf}")
        for branch, own in (optional or {}).items():
            found = _find_leaves(tree, branch, own)
            if len(found) == len(own):
                wanted[branch] = found
        starts = range(0, tree.num_entries, EVENTS_PER_STEP)
        for start in progress(starts, len(starts), Path(path).name, "steps"):
            stop = min(start + EVENTS_PER_STEP, tree.num_entries)
            # uproot meets damage with whatever its parser stumbles over (zlib.error,
            # AssertionError, TypeError, ...): what it raises while reading is the file's fault.
            try:
                collections = {
                    branch: _read_collection(branch, leaves, start, stop)
                    for branch, leaves in wanted.items()
                }
            except Exception as error:
                raise _damaged(path, error, f" in events {start} to {stop - 1}") from None
            own_identity = {name: values[start:stop] for name, values in identity.items()}
            yield EventBatch(collections, own_identity, str(path))


def _identify(path: Path, ledger: dict, n_events: int) -> dict[str, np.ndarray]:
    """Return what names each event of the file."""
    if not ledger.get("batches"):
        return simulated_identity(path.stem, NO_BATCH, n_events)
    try:
        made = [
            simulated_identity(str(entry["process"]), int(entry["batch"]), int(entry["events"]))
            for entry in ledger["batches"]
        ]
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{ledger_path(path)}: its `batches` are not a list of process, batch and events"
        ) from None
    identity = {name: np.concatenate([own[name] for own in made]) for name in made[0]}
    if len(identity["event"]) != n_events:
        raise UserError(
            f"{path}: holds {n_events} events where its ledger lists {len(identity['event'])}"
        )
    return identity


def _open(path: str | Path) -> uproot.ReadOnlyDirectory:
    # No object cache: uproot's is keyed by the identity written in the file, which a damaged or
    # rewritten copy shares.
    try:
        file = uproot.open(path, handler=uproot.MemmapSource, object_cache=None, array_cache=None)
        size, expected = Path(path).stat().st_size, file.file.fEND
    except Exception as error:
        raise _damaged(path, error) from None
    if size < expected:
        # What was cut off may be none of what is read, but events may be missing as well.
        raise UserError(f"{path}: truncated ROOT file: {size} of {expected} bytes are there")
    return file


def _tree(file: uproot.ReadOnlyDirectory, path: str | Path) -> uproot.TTree:
    try:
        tree = file[TREE] if TREE in file.keys(recursive=False, cycle=False) else None
        is_tree = isinstance(tree, uproot.TTree) and tree.num_entries >= 0 and tree.keys()
    except Exception as error:
        raise _damaged(path, error) from None
    if not is_tree:
        raise UserError(f"{path}: holds no TTree named {TREE}, so it is not a Delphes event file")
    return tree


def _find_leaves(
    tree: uproot.TTree, branch: str, leaves: Sequence[str]
) -> dict[str, uproot.TBranch]:
    """Return the branch of each leaf that exists; ROOT names one of fixed arrays `Edges[2]`."""
    found = {}
    for leaf in leaves:
        name = f"{branch}.{leaf}"
        names = (key.rpartition("/")[2] for key in tree.iterkeys())
        if name not in tree:
            name = next((other for other in names if other.startswith(f"{name}[")), "")
        if name:
            found[leaf] = tree[name]
    return found


def _read_collection(
    branch: str, leaves: Mapping[str, uproot.TBranch], start: int, stop: int
) -> Collection:
    offsets = np.zeros(0, np.int64)
    columns: dict[str, np.ndarray] = {}
    for leaf, tree_branch in leaves.items():
        array = tree_branch.array(entry_start=start, entry_stop=stop)
        if array.ndim < 2:
            raise ValueError(f"{branch}.{leaf} does not hold a list per event")
        layout = ak.to_packed(array).layout
        if not columns:
            offsets = np.asarray(layout.offsets, np.int64)
        if len(array) != stop - start or not np.array_equal(offsets, layout.offsets):
            raise ValueError(f"{branch}.{leaf} has a wrong number of entries")
        columns[leaf] = ak.to_numpy(layout.content)
        kinds, words = ("iu", "integers") if leaf in INTEGER_LEAVES else ("iuf", "numbers")
        if columns[leaf].dtype.kind not in kinds:
            raise ValueError(f"{branch}.{leaf} does not hold {words}")
    return Collection(offsets, columns)


def _damaged(path: str | Path, error: Exception, where: str = "") -> UserError:
    reason = first_line(error)[:120]
    return UserError(f"{path}: truncated or damaged ROOT file{where} ({reason})")
