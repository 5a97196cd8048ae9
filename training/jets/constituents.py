"""Jets by their constituents' own features, grouped labels, patches and masks.

A constituent's features are its own: nothing in them depends on other constituents or on the jet.
What a data set does not have (identities, displacements) is absent, which is told from zero by a
feature of its own.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numba import njit
from torch import Tensor
from torch.nn import functional

from ntuplizer.labels import LABELS
from provenance.errors import UserError
from training.data.reader import Batch, Kind, Reader, RowGroup, Scalars
from training.data.shards import check_index, open_shard, read_table
from training.jets.config import ConstituentDataConfig
from training.models.arrangement import PADDED_STEP, Room
from training.models.jet_tokens import Jets
from training.models.joint_embedding import StepRoom
from training.models.masks import token_masks
from training.models.patch_tokens import Patches, partition
from training.models.sizes import TokenMasksConfig

MOMENTA = ("part_px", "part_py", "part_pz", "part_energy")
# Columns that a data set has together or not at all, and what becomes of them: tanh, or limits.
FEATURE_GROUPS = {
    "identity": (
        "part_charge",
        "part_isChargedHadron",
        "part_isNeutralHadron",
        "part_isPhoton",
        "part_isElectron",
        "part_isMuon",
    ),
    "displacement": ("part_d0val", "part_d0err", "part_dzval", "part_dzerr"),
}
SATURATED = frozenset({"part_d0val", "part_dzval"})
LIMITED = frozenset({"part_d0err", "part_dzerr"})
OWN_COLUMNS = tuple(name for columns in FEATURE_GROUPS.values() for name in columns)
# Where the values of each group are among the features; its presence is behind all values.
PLACES = {
    group: tuple(i for i, name in enumerate(OWN_COLUMNS) if name in columns)
    for group, columns in FEATURE_GROUPS.items()
}
PRESENCE = {group: len(OWN_COLUMNS) + i for i, group in enumerate(FEATURE_GROUPS)}


def _formula(name: str) -> str:
    if name in SATURATED:
        return f"tanh({name} / mm)"
    return f"clip({name} / mm, 0, 1)" if name in LIMITED else name


# What a checkpoint says that it was trained on.
FEATURES = (*map(_formula, OWN_COLUMNS), *(f"has {group}" for group in FEATURE_GROUPS))
# Of a file's metadata: the groups that its source does not have.
METADATA_KEY, ABSENT_KEY = b"jetclass", "absent"
# The hardest constituents, whose momenta name a jet.
NAMING = 8
# Of a room that has to grow, so many parts are to spare.
SPARE = 16
# Masks of validation and evaluation: those of a pass that no training comes to.
EVALUATION_PASS = 2**63


@dataclass(frozen=True)
class Constituents:
    """Jets as flat arrays; constituents of jet i are `offsets[i]:offsets[i + 1]`."""

    offsets: np.ndarray  # (n_jets + 1,) int64
    vectors: np.ndarray  # (n_particles, 4) float32: px, py, pz, E in GeV
    features: np.ndarray  # (n_particles, 10) float32: of OWN_COLUMNS
    presence: np.ndarray  # (n_jets, 2) bool: of FEATURE_GROUPS
    name: np.ndarray  # (n_jets,) int64: a hash of the hardest constituents
    scalars: dict[str, np.ndarray]  # (n_jets,) each

    def __len__(self) -> int:
        return len(self.name)


class ConstituentReader(Reader[Constituents]):
    """Reads what is known of constituents by themselves, and the class of their jet.

    Parameters
    ----------
    config
        Which jets, and what of them.
    patches
        Most patches of a jet; None: constituents are tokens.
    masks
        What is hidden; None: nothing.
    groups
        In so many groups, from short to long, jets attend to themselves.
    seed
        Of masks, and of labels that are shuffled.
    shuffled
        Train on labels that are dealt out anew at random: a control.
    """

    noun = "jet"
    ragged = (MOMENTA[0],)

    def __init__(
        self,
        config: ConstituentDataConfig,
        *,
        patches: int | None,
        masks: TokenMasksConfig | None = None,
        groups: int = 1,
        seed: int = 0,
        shuffled: bool = False,
    ):
        self.config, self.patches, self.masks, self.groups = config, patches, masks, groups
        self.seed, self.shuffled = seed, shuffled
        lists: dict[str, Kind] = dict.fromkeys(MOMENTA, "list")
        numbers: dict[str, Kind] = dict.fromkeys(("jet_pt", "jet_sdmass"), "number")
        optional: dict[str, Kind] = dict.fromkeys(OWN_COLUMNS, "list")
        self.inputs, self.optional = lists | numbers, optional
        self.truth = {}
        self.scalars = ("jet_pt", "jet_sdmass")
        names = config.labels or LABELS
        self.classes = group_labels(names, config.classes)
        if config.label is not None:
            self.truth = {config.label: "integer"}
            self.scalars = (*self.scalars, config.label)
            self.stratum = config.label
            self.dataset_labels = names
            self.labels = names if config.classes is None else tuple(config.classes)
        self.carried = self.scalars

    @property
    def selection(self) -> str:
        """The intervals, in words."""
        return str(self.config.selection)

    def select(self, scalars: Scalars) -> np.ndarray:
        """Return which jets lie in the intervals and are of a class, (n,) bool."""
        chosen = self.config.selection.passes(scalars)
        label = scalars.get(self.config.label or "")
        if label is not None:
            chosen &= self.classes[label] >= 0
        return chosen

    def check(self, group: RowGroup, scalars: Scalars) -> None:
        """Refuse a label that is no index of a label."""
        name = self.config.label
        if name is not None and name in scalars:
            check_index(group, name, scalars[name], len(self.classes), "labels")

    def read(self, groups: Sequence[RowGroup], truth: bool = True) -> Constituents:
        """Read row groups into one set of arrays.

        Raises
        ------
        UserError
            When a page is damaged, a value cannot be, a label is no index, or a column is missing
            that the file does not say is absent.
        """
        parts = [self._read(group, truth) for group in groups]
        counts = np.concatenate([np.diff(part.offsets) for part in parts])
        vectors = np.concatenate([part.vectors for part in parts])
        offsets = np.concatenate(([0], np.cumsum(counts)))
        return Constituents(
            offsets,
            vectors,
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.presence for part in parts]),
            name_jets(offsets, vectors),
            {
                name: np.concatenate([part.scalars[name] for part in parts])
                for name in parts[0].scalars
            },
        )

    def collate(self, rows: Constituents, chosen: np.ndarray) -> Batch:
        """Assemble a batch, padded to its longest jet; longer jets than allowed keep the hardest.

        Returns
        -------
        dict
            features (B, N, 12), vectors (B, N, 4) in GeV, mask (B, N); with patches, what
            `jets_of` takes, and with masks context (B, S) and targets (B, K, S) over the tokens;
            jet_pt, jet_sdmass, and where it was read label, the index of the class, (B,).
        """
        return self._assemble(rows, chosen, EVALUATION_PASS, self._label(rows))

    def draw(self, rows: Constituents, chosen: np.ndarray, number: int) -> Batch:
        """Assemble a batch with the masks of a pass, and for the host the room that it needs."""
        label = self._label(rows)
        if self.shuffled and label is not None:
            used = np.flatnonzero(self.select(rows.scalars))
            dealt = np.random.default_rng(self.seed).permutation(used)
            label = label.copy()
            label[used] = label[dealt]
        batch = self._assemble(rows, chosen, number, label)
        if self.masks is not None:
            batch["sizes"] = step_room(batch, self.groups)
        return batch

    def describe(self) -> dict[str, list[str]]:
        """Return features and vectors."""
        return {"features": list(FEATURES), "vectors": list(MOMENTA)}

    def _label(self, rows: Constituents) -> np.ndarray | None:
        label = rows.scalars.get(self.config.label or "")
        return None if label is None else self.classes[label]

    def _assemble(
        self, rows: Constituents, chosen: np.ndarray, number: int, label: np.ndarray | None
    ) -> Batch:
        counts = rows.offsets[chosen + 1] - rows.offsets[chosen]
        shape = (len(chosen), min(int(counts.max(initial=1)), self.config.max_constituents))
        features = np.zeros((*shape, len(FEATURES)), np.float32)
        vectors = np.zeros((*shape, 4), np.float32)
        mask = np.zeros(shape, np.bool_)
        columns = (rows.offsets, rows.vectors, rows.features, rows.presence)
        _fill(chosen, columns, (features, vectors, mask))
        arrays = {
            "features": features,
            "vectors": vectors,
            "mask": mask,
            **{name: rows.scalars[name][chosen] for name in ("jet_pt", "jet_sdmass")},
        }
        if label is not None:
            arrays["label"] = label[chosen]
        batch: Batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
        tokens = mask
        pt, places = directions(vectors)
        if self.patches is not None:
            patches = partition(places, pt, mask, self.patches)
            batch |= {"patch": patches.of, "centre": patches.centre, "patch_mask": patches.mask}
            tokens = patches.mask.numpy()
            places = np.take_along_axis(places, patches.centre.numpy()[:, :, None], axis=1)
        if self.masks is not None:
            context, targets = token_masks(
                places, tokens, rows.name[chosen], self.seed, number, self.masks
            )
            batch["context"] = torch.from_numpy(context)
            batch["targets"] = torch.from_numpy(np.ascontiguousarray(targets.swapaxes(0, 1)))
        return batch

    def _read(self, group: RowGroup, truth: bool) -> Constituents:
        with open_shard(group.path) as file:
            found = set(file.schema_arrow.names)
            stored = (file.metadata.metadata or {}).get(METADATA_KEY)
        absent = json.loads(stored).get(ABSENT_KEY, ()) if stored else ()
        present = []
        for feature_group, columns in FEATURE_GROUPS.items():
            missing = [name for name in columns if name not in found]
            if missing and feature_group not in absent:
                raise UserError(
                    f"{group.path}: has no column {missing[0]}, and its metadata do not say that "
                    f"its jets lack the {feature_group} of constituents"
                )
            present.append(not missing)
        own = [name for name in OWN_COLUMNS if name in found]
        used = self.scalars if truth else tuple(n for n in self.scalars if n not in self.truth)
        table = read_table(group, (*MOMENTA, *own, *used))
        scalars = {name: table[name].to_numpy() for name in used}
        self.check(group, scalars)
        lists = table[MOMENTA[0]].combine_chunks().offsets.to_numpy()
        offsets = (lists - lists[0]).astype(np.int64)
        vectors = np.empty((offsets[-1], 4), np.float32)
        features = np.zeros((offsets[-1], len(OWN_COLUMNS)), np.float32)
        for i, name in enumerate(MOMENTA):
            vectors[:, i] = _column(table, name)
        for i, name in enumerate(OWN_COLUMNS):
            if name in found:
                values = _column(table, name)
                if name in SATURATED:
                    values = np.tanh(values)
                features[:, i] = values.clip(0, 1) if name in LIMITED else values
        presence = np.tile(np.array(present, np.bool_), (len(offsets) - 1, 1))
        return Constituents(offsets, vectors, features, presence, np.empty(0, np.int64), scalars)


def group_labels(names: Sequence[str], classes: dict[str, tuple[str, ...]] | None) -> np.ndarray:
    """Return the class of each label by index, −1 for none, int64 (n_labels,).

    Parameters
    ----------
    names
        The labels.
    classes
        Patterns of labels of each class; None: each label is a class.

    Raises
    ------
    UserError
        When a label is of two classes, or a pattern of none.
    """
    if classes is None:
        return np.arange(len(names))
    of = np.full(len(names), -1)
    owner: dict[int, str] = {}
    for index, (name, patterns) in enumerate(classes.items()):
        for pattern in patterns:
            matched = [i for i, label in enumerate(names) if fnmatchcase(label, pattern)]
            if not matched:
                raise UserError(
                    f"data.classes.{name}: {pattern!r} is none of the {len(names)} labels"
                )
            for i in matched:
                if owner.setdefault(i, name) != name:
                    raise UserError(
                        f"data.classes: {names[i]} is of the classes {owner[i]} and {name}"
                    )
                of[i] = index
    return of


def jets_of(batch: Batch) -> Jets:
    """Return the jets of a batch of the reader."""
    patches = None
    if "patch" in batch:
        patches = Patches(batch["patch"], batch["centre"], batch["patch_mask"])
    return Jets(batch["features"], batch["vectors"], batch["mask"], patches)


def step_room(batch: Batch, groups: int) -> StepRoom:
    """Return what a step on a batch needs, with the empty jets that `Rooms` adds.

    Asked while the batch is on the host.
    """
    context, targets, mask = batch["context"], batch["targets"], batch["mask"]
    tokens = batch["patch_mask"] if "patch" in batch else mask
    empty = -len(mask) % PADDED_STEP

    def room(visible: Tensor) -> Room:
        inside = mask & visible.gather(1, batch["patch"]) if "patch" in batch else visible
        return Room.of(functional.pad(visible.sum(1), (0, empty)), groups, int(inside.sum()))

    counts = functional.pad((context[:, None] | targets).sum(2), (0, 0, 0, empty))
    seen = Room.of(counts.flatten(), groups, 0, pairs=False)
    return StepRoom(room(context), room(tokens), seen, int(targets.sum()))


def _each(change: Callable[..., int], *rooms: Any) -> Any:
    """Return a room whose numbers, but those of jets, are changed ones of others."""
    first = rooms[0]
    if isinstance(first, int):
        return change(*rooms)
    parts = [_each(change, *own) for own in zip(*rooms, strict=True)]
    if isinstance(first, Room):
        return Room(*parts)._replace(jets=tuple(first.jets))
    # What comes out of pinned memory has lists in the place of tuples.
    return StepRoom(*parts) if isinstance(first, StepRoom) else tuple(parts)


def _with_spare(number: int) -> int:
    return number + -(-number // SPARE)


class Rooms:
    """Room for the batches of a training, which grows until there is enough for all of them.

    So that a few captures serve them all: nothing is in it but what is in the batch, whose number
    of jets is rounded up by empty ones. Loaders make batches of many, slightly different, numbers.

    Parameters
    ----------
    groups
        In so many groups jets attend to themselves.
    """

    def __init__(self, groups: int):
        self.groups, self.width = groups, 0
        # By the number of jets; the most that was needed, and what there is.
        self.needed: dict[int, StepRoom] = {}
        self.rooms: dict[int, StepRoom] = {}

    def __call__(self, batch: Batch) -> Batch:
        """Return a batch whose sizes are those of the room, under that name, and `real` jets."""
        needed = batch.get("sizes") or step_room(batch, self.groups)
        (real, width), device = batch["mask"].shape, batch["mask"].device
        jets = -(-real // PADDED_STEP) * PADDED_STEP
        needed = self.needed[jets] = _each(max, needed, self.needed.get(jets, needed))
        room = self.rooms.get(jets)
        # Where a part has to grow all do: one capture more in the place of several.
        if room is None or _each(max, room, needed) != room:
            room = self.rooms[jets] = _each(_with_spare, needed)
        self.width = max(self.width, -(-width // PADDED_STEP) * PADDED_STEP)
        # Dimensions of constituents.
        wide = {"features": 1, "vectors": 1, "mask": 1, "patch": 1}
        if "patch" not in batch:
            wide |= {"context": 1, "targets": 2}

        def padded(name: str, x: Tensor) -> Tensor:
            more = [jets - real, *(0 for _ in x.shape[1:])]
            if name in wide:
                more[wide[name]] = self.width - width
            return functional.pad(x, [side for own in reversed(more) for side in (0, own)])

        tensors = {name: padded(name, x) for name, x in batch.items() if name != "sizes"}
        is_real = torch.arange(jets, device=device) < real
        return {**tensors, "real": is_real, "room": room.joined()}


def directions(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pT (B, N) and (η, φ) (B, N, 2) of padded momenta (B, N, 4), float32."""
    px, py, pz = (vectors[..., i] for i in range(3))
    pt = np.hypot(px, py)
    eta = np.arcsinh(np.divide(pz, pt, out=np.zeros_like(pt), where=pt > 0))
    return pt, np.stack((eta, np.arctan2(py, px)), axis=-1)


def name_jets(offsets: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return a number for each jet that only its hardest constituents decide, int64 (n_jets,)."""
    bits = np.ascontiguousarray(vectors, np.float32).view(np.uint32)
    return _hash(offsets, bits).view(np.int64)


@njit(cache=True)
def _hash(offsets, bits):
    names = np.empty(len(offsets) - 1, np.uint64)
    for jet in range(len(names)):
        # FNV-1a, a word at a time.
        name = np.uint64(0xCBF29CE484222325)
        for i in range(offsets[jet], min(offsets[jet + 1], offsets[jet] + NAMING)):
            for component in range(4):
                name = (name ^ np.uint64(bits[i, component])) * np.uint64(0x100000001B3)
        names[jet] = name
    return names


@njit(cache=True)
def _fill(jets, columns, batch):
    offsets, momenta, own, presence = columns
    features, vectors, mask = batch
    for row in range(len(jets)):
        jet = jets[row]
        begin = offsets[jet]
        count = min(offsets[jet + 1] - begin, mask.shape[1])
        for slot in range(count):
            for i in range(4):
                vectors[row, slot, i] = momenta[begin + slot, i]
            for i in range(own.shape[1]):
                features[row, slot, i] = own[begin + slot, i]
            for i in range(presence.shape[1]):
                features[row, slot, own.shape[1] + i] = presence[jet, i]
            mask[row, slot] = True


def _column(table: pa.Table, name: str) -> np.ndarray:
    """Return the values of a column of lists, end to end."""
    return table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
