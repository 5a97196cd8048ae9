"""Minimum-bias events that Delphes draws pile-up from (root2pileup), as a library of fastsim's."""

import time
from pathlib import Path

import numpy as np
import pythia8mc
from numpy.typing import NDArray

from generation.pileup import COLUMNS, FORMAT, PROCESS, write_library
from generation.pythia_record import ParticleTable
from provenance.errors import UserError
from provenance.files import atomic_output, sha256
from provenance.ledger import versions, write_ledger

# What a file holds of each particle, all in 32 bits with the highest first (DelphesPileUpWriter).
# Times are in seconds where root2pileup wrote them; PileUpMerger reads them as mm/c, and so do we.
LEAVES = ("pid", "x", "y", "z", "t", "px", "py", "pz", "e")


def import_library(path: str | Path, delphes_file: str | Path) -> None:
    """Write the events of a pile-up file of Delphes as a minimum-bias library, with its ledger.

    Parameters
    ----------
    path
        Arrow file to write.
    delphes_file
        What root2pileup wrote.

    Raises
    ------
    UserError
        When it is missing or not whole, or holds a particle that Pythia does not know.
    """
    started = time.perf_counter()
    source = Path(delphes_file)
    columns = _read(source)
    table = ParticleTable.of_pythia(pythia8mc.Pythia("", False).particleData)
    unknown = columns["pid"][~np.isin(np.abs(columns["pid"]), table.codes)]
    if len(unknown):
        raise UserError(f"{source}: holds a particle of the unknown PDG code {unknown[0]}")
    columns["charge"] = table.charges(columns["pid"])
    columns["mass"] = table.mass[table.rows(columns["pid"])].astype(np.float32)
    metadata = {
        "format": FORMAT,
        "events": len(columns["size"]),
        "source": source.name,
        "source_sha256": sha256(source),
        "versions": versions(),
    }
    ordered = {name: columns[name] for name in ("size", *COLUMNS)}
    with atomic_output(path) as temporary:
        write_library(temporary, [ordered], metadata)
    about = {key: metadata[key] for key in ("source", "source_sha256", "events")}
    write_ledger(path, started, process=PROCESS, **about)


def _read(path: Path) -> dict[str, NDArray]:
    """Return the particles, and as `size` how many there are in each event.

    An event is its number of particles and their properties; an index of where each event starts
    and the number of events follow at the end.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    broken = UserError(f"{path}: not a whole pile-up file of Delphes")
    content = path.read_bytes()
    n_events = int.from_bytes(content[-8:], "big", signed=True)
    end = len(content) - 8 * (n_events + 1)
    if len(content) < 8 or len(content) % 4 or n_events < 1 or end < 4 * n_events:
        raise broken
    starts = np.frombuffer(content, ">i8", n_events, end) // 4
    words = np.frombuffer(content, ">u4", end // 4)
    if starts[0] != 0 or starts.max() >= len(words) or starts.min() < 0:
        raise broken
    size = words[starts].astype(np.int64)
    if not np.array_equal(np.append(starts[1:], len(words)), starts + 1 + len(LEAVES) * size):
        raise broken
    inside = np.full(len(words), True)
    inside[starts] = False
    particles = words[inside].reshape(-1, len(LEAVES)).T.astype(np.uint32)
    columns = {
        name: np.ascontiguousarray(row).view(COLUMNS[name])
        for name, row in zip(LEAVES, particles, strict=True)
    }
    return {"size": size, **columns}
