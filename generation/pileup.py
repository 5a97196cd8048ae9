"""The minimum-bias library: simulated soft collisions from which pile-up is drawn."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from generation.record import STABLE, GeneratorRecord
from generation.seeds import Stage, batch_key, stream
from provenance.errors import UserError
from provenance.files import atomic_output
from provenance.ledger import check_ledger, versions, write_ledger

PROCESS = "minbias"
EVENTS_PER_BATCH = 500
FORMAT = 1
METADATA_KEY = b"minimum-bias library"

# What Delphes' own pile-up files hold of a particle, in single precision as there, and what
# PileUpMerger looks up for it.
COLUMNS = {
    "pid": np.int32,
    "charge": np.int32,
    "mass": np.float32,
    **dict.fromkeys(("px", "py", "pz", "e", "x", "y", "z", "t"), np.float32),
}


@dataclass(frozen=True)
class PileupLibrary:
    """Stable particles of minimum-bias events, as flat arrays mapped from a file.

    The particles of event `i` are rows `offsets[i]` to `offsets[i + 1]` of every other array.

    Attributes
    ----------
    offsets
        (n_events + 1,) int32.
    pid, charge
        (n,) int32.
    mass, px, py, pz, e
        (n,) float32, GeV.
    x, y, z, t
        (n,) float32, production vertex relative to the collision, mm; time in mm/c.
    metadata
        How the library was made: events, seed, process, settings, versions.
    """

    offsets: NDArray[np.int32]
    pid: NDArray[np.int32]
    charge: NDArray[np.int32]
    mass: NDArray[np.float32]
    px: NDArray[np.float32]
    py: NDArray[np.float32]
    pz: NDArray[np.float32]
    e: NDArray[np.float32]
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    z: NDArray[np.float32]
    t: NDArray[np.float32]
    metadata: dict

    @property
    def n_events(self) -> int:
        """Number of events in the library."""
        return len(self.offsets) - 1

    @classmethod
    def open(cls, path: str | Path) -> "PileupLibrary":
        """Map a library into memory.

        Raises
        ------
        UserError
            When the file is missing, damaged, no minimum-bias library, or not the one that the
            ledger beside it speaks of.
        """
        # Arrow files carry no checksum of their own.
        check_ledger(path)
        try:
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            metadata = json.loads((table.schema.metadata or {})[METADATA_KEY])
            found = metadata["format"]
            if found == FORMAT:
                return cls(metadata=metadata, **_arrays_of(table))
        except FileNotFoundError:
            raise UserError(f"{path}: no such file") from None
        except (pa.ArrowException, OSError, LookupError, ValueError, TypeError, AttributeError):
            raise UserError(
                f"{path}: not a whole library of `python -m generation pileup`"
            ) from None
        raise UserError(f"{path}: has format {found} instead of {FORMAT}; make it anew")


def _arrays_of(table: pa.Table) -> dict[str, Any]:
    """Return the arrays of a library; raise a `ValueError` when they do not fit together.

    Kernels that copy events trust them.
    """
    lists = {name: table.column(name).chunk(0) for name in COLUMNS}
    # `to_numpy` would load pandas.
    arrays = {name: np.from_dlpack(column.values) for name, column in lists.items()}
    offsets = np.from_dlpack(lists["pid"].offsets)
    shapes = {name: (array.dtype, len(array)) for name, array in arrays.items()}
    if shapes != {name: (np.dtype(kind), offsets[-1]) for name, kind in COLUMNS.items()}:
        raise ValueError("columns of other types or lengths")
    if len(offsets) < 2 or offsets[0] != 0 or np.any(np.diff(offsets) < 0):
        raise ValueError("no events, or events that are out of order")
    return arrays | {"offsets": offsets}


def build_library(path: str | Path, events: int, seed: int) -> None:
    """Generate minimum-bias events and write their stable particles as a library.

    Parameters
    ----------
    path
        Arrow file to write, uncompressed so that it can be mapped, and its ledger beside it.
    events
        How many events.
    seed
        Dataset seed, 0 to 2^64 - 1.

    Raises
    ------
    UserError
        When the number of events is not positive or the seed is out of range.
    """
    # Whoever only reads a library need not wait for these.
    from commandline.progress import progress
    from generation.process import load_process
    from generation.pythia import EventGenerator

    started = time.perf_counter()
    if events < 1:
        raise UserError(f"{events} events asked for; a library needs at least one")
    process = load_process(PROCESS)
    batch_key(seed, PROCESS, 0)
    with atomic_output(path) as temporary:
        generator = EventGenerator(process)
        records = []
        n_batches = -(-events // EVENTS_PER_BATCH)
        for batch in progress(range(n_batches), n_batches, PROCESS):
            key = batch_key(seed, PROCESS, batch)
            point = process.draw_point(stream(Stage.PARAMETER_POINT, key))
            count = min(EVENTS_PER_BATCH, events - batch * EVENTS_PER_BATCH)
            records.append(_stable_columns(generator.batch(point, key, count).record))
        metadata = {
            "format": FORMAT,
            "events": events,
            "seed": seed,
            "process": PROCESS,
            "settings": [*process.hard_process, *process.pythia_settings({})],
            "versions": versions(),
        }
        write_library(temporary, records, metadata)
    write_ledger(path, started, process=PROCESS, seed=seed, events=events)


def _stable_columns(record: GeneratorRecord) -> dict[str, NDArray]:
    """Return the stable particles and, as `size`, how many there are in each event."""
    stable = record.status == STABLE
    before = np.concatenate(([0], np.cumsum(stable)))
    columns = {name: getattr(record, name)[stable].astype(kind) for name, kind in COLUMNS.items()}
    return {"size": np.diff(before[record.offsets]), **columns}


def write_library(path: Path, records: list[dict[str, NDArray]], metadata: dict) -> None:
    """Write a library of records that hold `COLUMNS`, in order, after the events' `size`."""
    joined = {name: np.concatenate([part[name] for part in records]) for name in records[0]}
    offsets = np.concatenate(([0], np.cumsum(joined.pop("size")))).astype(np.int32)
    lists = [pa.ListArray.from_arrays(pa.array(offsets), pa.array(c)) for c in joined.values()]
    batch = pa.record_batch(lists, names=list(joined))
    schema = batch.schema.with_metadata({METADATA_KEY: json.dumps(metadata).encode()})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(batch.replace_schema_metadata(schema.metadata))
