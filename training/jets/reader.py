"""Jets as flat arrays, and batches of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from ntuplizer.labels import LABELS
from training.data.reader import Batch, Kind, Reader, RowGroup, SamplingScheme, Scalars
from training.data.shards import check_index, read_table
from training.jets.config import JetDataConfig
from training.jets.features import (
    FEATURES,
    JET_FLOATS,
    PARTICLE_CODES,
    PARTICLE_FLOATS,
    PREPARED,
    VECTORS,
    fill_batch,
    prepare,
)
from training.models.arrangement import ragged_sizes


@dataclass(frozen=True)
class Jets:
    """Jets as flat arrays; constituents of jet i are `offsets[i]:offsets[i + 1]`."""

    offsets: np.ndarray  # (n_jets + 1,) int64
    floats: np.ndarray  # (13, n_particles) float32: PREPARED
    codes: np.ndarray  # (6, n_particles) int8: PARTICLE_CODES
    pt: np.ndarray  # (n_jets,) float32, GeV
    energy: np.ndarray  # (n_jets,) float32, GeV
    sdmass: np.ndarray  # (n_jets,) float32, GeV
    label_name: str
    label: np.ndarray | None  # (n_jets,) int64; None: not read

    @property
    def scalars(self) -> Scalars:
        """Numbers of the jets, by column."""
        scalars = {"jet_pt": self.pt, "jet_sdmass": self.sdmass}
        return scalars if self.label is None else scalars | {self.label_name: self.label}

    def __len__(self) -> int:
        return len(self.pt)


class JetReader(Reader[Jets]):
    """Reads the constituents of jets, and the index of their class.

    Parameters
    ----------
    config
        Which jets, and what of them.
    labels
        Names of the classes, in index order; None: those of the dataset.
    sampling
        What sampling weights do.
    """

    noun = "jet"
    ragged = (PARTICLE_FLOATS[0],)

    def __init__(
        self,
        config: JetDataConfig,
        labels: tuple[str, ...] | None = None,
        sampling: SamplingScheme | None = None,
    ):
        self.config, self.sampling = config, sampling
        self.labels: tuple[str, ...] = labels or LABELS
        self.dataset_labels = LABELS if labels is None else None
        lists: dict[str, Kind] = dict.fromkeys((*PARTICLE_FLOATS, *PARTICLE_CODES), "list")
        numbers: dict[str, Kind] = dict.fromkeys(JET_FLOATS, "number")
        self.inputs = lists | numbers
        self.truth = {config.label: "integer"}
        self.stratum = config.label
        self.scalars = ("jet_pt", "jet_sdmass", config.label)
        self.carried = self.scalars

    @property
    def selection(self) -> str:
        """The intervals, in words."""
        return str(self.config.selection)

    def select(self, scalars: Scalars) -> np.ndarray:
        """Return which jets lie in the intervals, (n,) bool."""
        return self.config.selection.passes(scalars)

    def check(self, group: RowGroup, scalars: Scalars) -> None:
        """Refuse a label that is no index of a class."""
        name = self.config.label
        if name in scalars:
            check_index(group, name, scalars[name], len(self.labels), "classes")

    def read(self, groups: Sequence[RowGroup], truth: bool = True) -> Jets:
        """Read row groups into one set of arrays.

        Raises
        ------
        UserError
            When a page is damaged, a value cannot be, or a label is no index of a class; names the
            file.
        """
        names = (*self.inputs, *self.truth) if truth else tuple(self.inputs)
        tables: Iterable[pa.Table] = (read_table(group, names) for group in groups)
        jets = sum(group.rows for group in groups)
        if any(group.kept is not None for group in groups):
            # A few jets of each: what footers say of all would be far too much room.
            tables = list(tables)
            room = sum(len(_values(table, PARTICLE_FLOATS[0])) for table in tables)
        else:
            room = sum(group.lengths[0] for group in groups)
        offsets = np.zeros(jets + 1, np.int64)
        floats = np.empty((len(PREPARED), room), np.float32)
        codes = np.empty((len(PARTICLE_CODES), room), np.int8)
        scalars = np.empty((len(JET_FLOATS), jets), np.float32)
        label = np.empty(jets, np.int64) if truth else None
        end = 0
        for group, table in zip(groups, tables, strict=True):
            begin, end = end, end + group.rows
            lists = table[PARTICLE_FLOATS[0]].combine_chunks().offsets.to_numpy()
            offsets[begin + 1 : end + 1] = lists[1:] - lists[0] + offsets[begin]
            constituents = slice(offsets[begin], offsets[end])
            columns = _constituents(table)
            prepare(columns, floats[:, constituents])
            for name, row in zip(PARTICLE_CODES, codes[:, constituents], strict=True):
                row[:] = columns[name]
            for name, values in zip(JET_FLOATS, scalars[:, begin:end], strict=True):
                values[:] = table[name].to_numpy()
            if label is not None:
                label[begin:end] = table[self.config.label].to_numpy()
                self.check(group, {self.config.label: label[begin:end]})
        pt, energy, sdmass = scalars
        return Jets(offsets, floats, codes, pt, energy, sdmass, self.config.label, label)

    def collate(self, rows: Jets, chosen: np.ndarray) -> Batch:
        """Assemble a batch, padded to its longest jet; longer jets than allowed keep the hardest.

        Parameters
        ----------
        rows
            Where the jets are.
        chosen
            (B,) indices into `rows`.

        Returns
        -------
        dict
            features (B, N, 17), vectors (B, N, 4), mask (B, N); jet_pt, jet_sdmass, and label where
            it was read, (B,); sizes, for the host.
        """
        counts = rows.offsets[chosen + 1] - rows.offsets[chosen]
        longest = int(counts.max(initial=1))
        width = min(longest, self.config.max_constituents)
        shape = (len(chosen), width)
        features = np.zeros((*shape, len(FEATURES)), np.float32)
        vectors = np.zeros((*shape, len(VECTORS)), np.float32)
        mask = np.zeros(shape, np.bool_)
        columns = (rows.offsets, rows.floats, rows.codes, rows.pt, rows.energy)
        fill_batch(chosen, columns, (features, vectors, mask))
        arrays = {
            "features": features,
            "vectors": vectors,
            "mask": mask,
            "jet_pt": rows.pt[chosen],
            "jet_sdmass": rows.sdmass[chosen],
        }
        if rows.label is not None:
            arrays["label"] = rows.label[chosen]
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return {**tensors, "sizes": ragged_sizes(torch.from_numpy(counts.clip(max=width)))}

    def describe(self) -> dict[str, list[str]]:
        """Return features and vectors."""
        return {"features": list(FEATURES), "vectors": list(VECTORS)}


def _values(table: pa.Table, name: str) -> np.ndarray:
    """Return the values of a column of lists, end to end."""
    return table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)


def _constituents(table: pa.Table) -> dict[str, np.ndarray]:
    """Return the columns of all constituents of a row group, end to end."""
    return {name: _values(table, name) for name in (*PARTICLE_FLOATS, *PARTICLE_CODES)}
