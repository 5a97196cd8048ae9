"""Jets with ragged constituents, and batches of them without padding."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from provenance.errors import UserError
from training.data.reader import Axis, Batch, Kind, Reader, RowGroup, SamplingScheme, Scalars
from training.data.shards import read_table
from training.tasks.jet_energy.config import EnergyDataConfig
from training.tasks.jet_energy.features import (
    COLLECTIONS,
    JET_COLUMNS,
    Members,
    jet_features,
    relative_eta,
    stack,
    summarise,
)

IDENTITY = ("process", "batch", "event", "jet")
TARGETS = ("genjet_pt", "genjet_ptnu", "genjet_mass")
FLAVOURS = ("jet_hadronflavour", "jet_partonflavour")
# Masses below this, GeV, are rounding, of which no target can be made.
SMALLEST_MASS = 0.1
# A target that no loss counts.
UNKNOWN = 10.0

# Groups of flavours that sampling weights give shares of; jets of no flavour are few.
SHARES = {"uds": 2.0, "c": 1.0, "b": 1.0, "g": 2.0, "none": 0.1}
AXES = {
    "genjet_pt": Axis(
        r"GEN-jet $p_\mathrm{T}$ (GeV)", tuple(np.geomspace(15, 4000, 25).tolist()), True
    ),
    "jet_eta": Axis(r"Jet $\eta$", tuple(np.linspace(-5, 5, 11).tolist())),
}


@dataclass(frozen=True)
class Constituents:
    """Constituents of one kind; those of jet i are rows `offsets[i]` to `offsets[i + 1]`."""

    offsets: np.ndarray  # (n_jets + 1,) int64
    values: np.ndarray  # (n, features) float32
    positions: np.ndarray  # (n, 2) float32: Δη and Δφ to the jet
    pt: np.ndarray  # (n,) float32, GeV
    share: np.ndarray  # (n,) float32: pT over the jet's, before weights of PUPPI

    def take(self, chosen: np.ndarray) -> "Constituents":
        """Return those of some jets, in their order."""
        counts = np.diff(self.offsets)[chosen]
        offsets = np.concatenate(([0], np.cumsum(counts)))
        rows = np.arange(offsets[-1]) + np.repeat(self.offsets[chosen] - offsets[:-1], counts)
        return Constituents(
            offsets, self.values[rows], self.positions[rows], self.pt[rows], self.share[rows]
        )


@dataclass(frozen=True)
class EnergyJets:
    """Jets as arrays.

    Attributes
    ----------
    scalars
        Column → (n_jets,).
    features
        (n_jets, features) float32.
    summary
        (n_jets, `features.SUMMARY`) float32.
    constituents
        By the name of the collection.
    truth
        What a batch has besides, (n_jets,) each; nothing where the truth was not read.
    """

    scalars: Scalars
    features: np.ndarray
    summary: np.ndarray
    constituents: dict[str, Constituents]
    truth: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.features)


class EnergyReader(Reader[EnergyJets]):
    """Reads jets with charged and neutral constituents and secondary vertices.

    Parameters
    ----------
    config
        Which jets, and what of them.
    """

    noun = "jet"
    carried = (*IDENTITY, "jet_pt", "jet_eta", "jet_mass", *FLAVOURS, "genjet_pt")
    scalars = ("genjet_pt", "jet_eta", *FLAVOURS)

    def __init__(self, config: EnergyDataConfig):
        self.config = config
        self.names = {
            name: tuple(map(str, getattr(config, name)))
            for name in COLLECTIONS
            if getattr(config, name)
        }
        lists: dict[str, Kind] = {
            prefix + column: "list"
            for prefix, columns, _ in COLLECTIONS.values()
            for column in columns
        }
        numbers: dict[str, Kind] = dict.fromkeys(JET_COLUMNS, "number")
        targets: dict[str, Kind] = dict.fromkeys(TARGETS, "number")
        integers: dict[str, Kind] = dict.fromkeys((*FLAVOURS, "batch", "event", "jet"), "integer")
        self.inputs = numbers | lists
        self.truth = targets | integers | {"process": "text"}
        self.sampling = SamplingScheme(AXES, SHARES, flavour_group)

    @property
    def selection(self) -> str:
        """The selection, in words."""
        return str(self.config.selection)

    def select(self, scalars: Scalars) -> np.ndarray:
        """Return which jets are trained and measured on, (n,) bool."""
        low, high = self.config.selection.genjet_pt
        pt = scalars["genjet_pt"]
        return (
            (pt > low) & (pt < high) & (np.abs(scalars["jet_eta"]) <= self.config.selection.eta_max)
        )

    def check(self, group: RowGroup, scalars: Scalars) -> None:
        """Refuse momenta of which no logarithm is finite."""
        _refuse(group, scalars, ("jet_pt",))

    def read(self, groups: Sequence[RowGroup], truth: bool = True) -> EnergyJets:
        """Read row groups into one set of arrays.

        Raises
        ------
        UserError
            When a page is damaged, a number is not finite or not positive where it must be, or the
            lists of a jet differ in length; names the file.
        """
        pieces = [self._read_group(group, truth) for group in groups]

        def join(arrays: list[np.ndarray]) -> np.ndarray:
            return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)

        def join_lists(lists: list[Constituents]) -> Constituents:
            counts = join([np.diff(own.offsets) for own in lists])
            return Constituents(
                np.concatenate(([0], np.cumsum(counts))),
                join([own.values for own in lists]),
                join([own.positions for own in lists]),
                join([own.pt for own in lists]),
                join([own.share for own in lists]),
            )

        first = pieces[0]
        return EnergyJets(
            {name: join([piece.scalars[name] for piece in pieces]) for name in first.scalars},
            join([piece.features for piece in pieces]),
            join([piece.summary for piece in pieces]),
            {
                name: join_lists([piece.constituents[name] for piece in pieces])
                for name in first.constituents
            },
            {name: join([piece.truth[name] for piece in pieces]) for name in first.truth},
        )

    def _read_group(self, group: RowGroup, truth: bool) -> EnergyJets:
        names = (*self.inputs, *self.truth) if truth else tuple(self.inputs)
        table = read_table(group, names)
        numbers = {
            name: table[name].to_numpy()
            for name in names
            if name != "process" and not pa.types.is_list(table.schema.field(name).type)
        }
        self.check(group, numbers)
        if truth:
            # Jets of CMS that are only predicted may be without a GEN-jet.
            _refuse(group, numbers, ("genjet_pt", "genjet_ptnu"))
        members, constituents = {}, {}
        for name, (prefix, columns, features) in COLLECTIONS.items():
            offsets, members[name] = _members(table, prefix, columns, numbers)
            if name in self.names:
                own = members[name]
                constituents[name] = Constituents(
                    offsets,
                    stack(features, self.names[name], own),
                    np.stack((relative_eta(own), own["dphi"]), axis=1).astype(np.float32),
                    own.pt.astype(np.float32),
                    (own.measured_pt / own.jet_pt).astype(np.float32),
                )
        summary = summarise(numbers, members)
        return EnergyJets(
            {name: numbers[name] for name in ("jet_pt", *self.scalars) if name in numbers},
            jet_features(tuple(map(str, self.config.jet)), numbers, summary),
            summary,
            constituents,
            _truth(numbers, table) if truth else {},
        )

    def collate(self, rows: EnergyJets, chosen: np.ndarray) -> Batch:
        """Assemble a batch.

        Parameters
        ----------
        rows
            Where the jets are.
        chosen
            (B,) indices into `rows`.

        Returns
        -------
        dict
            `jets` (B, features), `summary` (B, n), what was read of the truth (B,); of each
            collection `<name>` (T, features), `<name>_positions` (T, 2), `<name>_pt` (T,),
            `<name>_share` (T,), `<name>_offsets` (B + 1,).
        """
        arrays: dict[str, np.ndarray] = {
            "jets": rows.features[chosen],
            "summary": rows.summary[chosen],
            "jet_pt": rows.scalars["jet_pt"][chosen],
            **{name: values[chosen] for name, values in rows.truth.items()},
        }
        for name, constituents in rows.constituents.items():
            own = constituents.take(chosen)
            arrays[name] = own.values
            arrays[f"{name}_positions"] = own.positions
            arrays[f"{name}_pt"] = own.pt
            arrays[f"{name}_share"] = own.share
            arrays[f"{name}_offsets"] = own.offsets
        return {name: torch.from_numpy(values) for name, values in arrays.items()}

    def draw(self, rows: EnergyJets, chosen: np.ndarray, number: int) -> Batch:
        """Assemble a batch for training, with its targets shuffled where that is asked for."""
        batch = self.collate(rows, chosen)
        if self.config.shuffled_targets:
            order = np.random.default_rng([number, *chosen]).permutation(len(chosen))
            for name in batch:
                if name.startswith("target"):
                    batch[name] = batch[name][order]
        return batch

    def describe(self) -> dict[str, list[str]]:
        """Return the features of each collection and of the jet."""
        return {
            **{f"features_{name}": list(own) for name, own in self.names.items()},
            "features_jet": list(map(str, self.config.jet)),
        }


def _refuse(group: RowGroup, numbers: Scalars, names: Sequence[str]) -> None:
    """Refuse numbers that are not positive."""
    for name in names:
        wrong = numbers[name] <= 0 if name in numbers else np.zeros(1, bool)
        if wrong.any():
            raise UserError(
                f"{group.path}: column {name} holds {numbers[name][wrong][0]:g} in row group "
                f"{group.index}, of which no finite target log(pT_gen / pT) can be made"
            )


def flavour_of(scalars: Scalars) -> np.ndarray:
    """Return one flavour: that of the hadrons where there is one, else the absolute parton's."""
    hadron, parton = (scalars[name] for name in FLAVOURS)
    return np.where(hadron > 0, hadron, np.abs(parton))


def flavour_group(scalars: Scalars) -> np.ndarray:
    """Return the position in `SHARES` of each jet, (n,)."""
    flavour = flavour_of(scalars)
    groups = [(flavour >= 1) & (flavour <= 3), flavour == 4, flavour == 5, flavour == 21]
    return np.select(groups, range(4), 4)


def event_number(process: Sequence[str], batch: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Return a number that jets of one event share and others do not, int64 (n,).

    Parameters
    ----------
    process, batch, event
        (n,): what names an event.
    """
    names, place = np.unique(np.asarray(process, str), return_inverse=True)
    codes = np.array([zlib.crc32(name.encode()) for name in names], np.uint64)
    number = codes[place]
    with np.errstate(over="ignore"):
        for part in (batch, event):
            number = (number ^ (number >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15)
            number = number + part.astype(np.int64).view(np.uint64)
    return number.view(np.int64)


def _truth(numbers: dict[str, np.ndarray], table: pa.Table) -> dict[str, np.ndarray]:
    pt = numbers["jet_pt"].astype(np.float64)
    mass, mass_gen = (numbers[name].astype(np.float64) for name in ("jet_mass", "genjet_mass"))
    known = (mass > SMALLEST_MASS) & (mass_gen > SMALLEST_MASS)
    target_mass = np.full(len(pt), UNKNOWN)
    target_mass[known] = np.log(mass_gen[known] / mass[known])
    process, batch = table["process"].to_pylist(), numbers["batch"]
    return {
        "target": np.log(numbers["genjet_pt"] / pt).astype(np.float32),
        "target_neutrinos": np.log(numbers["genjet_ptnu"] / pt).astype(np.float32),
        "target_mass": target_mass.astype(np.float32),
        "genjet_pt": numbers["genjet_pt"],
        "flavour": flavour_of(numbers).astype(np.int64),
        "event": event_number(process, batch, numbers["event"]),
        "batch": event_number(process, batch, np.zeros(len(batch), np.int64)),
        "jet": numbers["jet"].astype(np.int64),
    }


def _members(
    table: pa.Table, prefix: str, columns: Sequence[str], jets: dict[str, np.ndarray]
) -> tuple[np.ndarray, Members]:
    """Return the offsets of a collection's lists and its constituents, flat."""
    offsets: np.ndarray | None = None
    values = {}
    for column in columns:
        array = table[prefix + column].combine_chunks()
        if isinstance(array, pa.ChunkedArray):
            array = pa.concat_arrays(array.chunks)
        offsets = array.offsets.to_numpy().astype(np.int64)
        offsets = offsets - offsets[0]
        flat = array.flatten().to_numpy(zero_copy_only=False)
        values[column] = flat.astype(np.float64) if flat.dtype.kind == "f" else flat
    assert offsets is not None
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return offsets, Members(values, jets, owner)
