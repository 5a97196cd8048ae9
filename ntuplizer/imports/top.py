"""Top tagging (Zenodo 2603256): momenta of up to 200 constituents, HDF5 as pandas writes it."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ntuplizer.imports import CHUNK, Source, no_label
from provenance.errors import UserError

if TYPE_CHECKING:
    from ntuplizer.imports.jets import ImportedJets

CONSTITUENTS = 200
# Behind the constituents stands the true top; before them nothing.
COLUMNS = 4 * CONSTITUENTS + 4


def _read(path: Path, label: str | None) -> "Iterator[ImportedJets]":
    import h5py
    import numpy as np

    from ntuplizer.imports.jets import ImportedJets

    no_label(path, label)
    # Published files may be compressed with a filter that h5py does not bring.
    with suppress(ImportError):
        import hdf5plugin  # noqa: F401
    try:
        with h5py.File(path) as file:
            table = file["table/table"]
            if table.dtype["values_block_0"].shape != (COLUMNS,):
                raise KeyError("values_block_0")
            for begin in range(0, len(table), CHUNK):
                rows = table[begin : begin + CHUNK]
                values = rows["values_block_0"][:, : 4 * CONSTITUENTS]
                values = values.reshape(len(rows), CONSTITUENTS, 4)
                # What is no number is no padding either.
                real = ~(values[..., 0] <= 0)
                momenta = values[real][:, [1, 2, 3, 0]]
                signal = rows["values_block_1"][:, 1]
                yield ImportedJets(real.sum(axis=1), momenta.astype(np.float64), signal)
    except (KeyError, ValueError, TypeError):
        raise UserError(
            f"{path}: not of the top tagging set: a table `table/table` with `values_block_0` of "
            f"{COLUMNS} numbers and `values_block_1` of 2 is expected"
        ) from None
    except OSError as error:
        raise UserError(
            f"{path}: not a readable HDF5 file ({error}); if it is compressed with blosc, "
            "`pip install hdf5plugin`"
        ) from None


SOURCE = Source(
    name="top",
    summary="top tagging, HDF5",
    labels=("QCD", "top"),
    absent=("identity", "displacement"),
    radius=0.8,
    product="top_jets",
    read=_read,
)
