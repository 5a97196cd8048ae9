"""Collections of candidates: structure of arrays over a whole batch of events.

A `Candidates` collection holds the columns that its module computed and finds every other column
in the collection it was made from, through row indices. Filtering, cloning and merging therefore
cost one index array, however many properties a candidate has.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.kinematics import azimuth, invariant_mass, magnitude, pseudorapidity

# Properties of a Delphes Candidate that start at something else than zero.
DEFAULTS: dict[str, float] = {
    "m1": -1,
    "m2": -1,
    "d1": -1,
    "d2": -1,
    "cluster_index": -1,
    "isolation_var": -999.0,
    "isolation_var_rho_corr": -999.0,
    "sum_pt_charged": -999.0,
    "sum_pt_neutral": -999.0,
    "sum_pt_charged_pu": -999.0,
    "sum_pt": -999.0,
}

# Columns computed from others of the same collection when nobody gave them.
# name: (columns needed, function of them)
DERIVED: dict[str, tuple[tuple[str, ...], Callable[..., NDArray]]] = {
    "pt": (("px", "py"), magnitude),
    "phi": (("px", "py"), azimuth),
    "track_phi": (("px", "py"), azimuth),
    "eta": (("px", "py", "pz"), pseudorapidity),
    "m": (("px", "py", "pz", "e"), invariant_mass),
    "position_phi": (("x", "y"), azimuth),
    "position_eta": (("x", "y", "z"), pseudorapidity),
    "position_r": (("x", "y"), magnitude),
}


class Candidates:
    """Candidates of a batch of events.

    The candidates of event `i` are rows `offsets[i]` to `offsets[i + 1]`. Columns, by name
    (`candidates["pt"]`):

    - `pid`, `charge`, `status`, `m1`, `m2`, `d1`, `d2`, `is_pu`, `is_reco_pu`, `mass` (nominal);
    - momentum in GeV: `px`, `py`, `pz`, `e`, and derived `pt`, `eta`, `phi`, `m`;
    - position in mm (at production, or at the calorimeter once propagated): `x`, `y`, `z`, `t`
      (mm/c), and derived `position_eta`, `position_phi`, `position_r`;
    - production point of a track: `initial_x`, `initial_y`, `initial_z`, `initial_t`;
    - track parameters: `d0`, `dz`, `p`, `ctg_theta`, `track_phi`, their errors `error_d0`, ...,
      `xd`, `yd`, `zd`, `path_length`, `track_resolution`;
    - calorimeter: `e_em`, `e_had`, `e_trk`, `hard_energy_fraction`,
      `edge_eta_min`, `edge_eta_max`, `edge_phi_min`, `edge_phi_max`;
    - whatever a module adds for those that follow.

    A name that no collection of the chain holds is zero (or its Delphes default), as a property
    that no module has set is in Delphes.

    Parameters
    ----------
    offsets
        (n_events + 1,) int64.
    columns
        Columns of this collection, each of length `offsets[-1]`. A collection that changes the
        momentum or the position gives all of the four columns that the derived ones need.
    parents
        Collections this one was made from; rows are numbered through them in turn.
    index
        (n,) int64, the row of each candidate in the parents.
    same_objects
        Whether a candidate *is* the one in the parent (filter, merger) or a clone of it: decides
        where `mark` writes.
    """

    _serials = itertools.count()

    def __init__(
        self,
        offsets: NDArray[np.int64],
        columns: dict[str, NDArray],
        parents: "Sequence[Candidates]" = (),
        index: NDArray[np.int64] | None = None,
        same_objects: bool = False,
    ) -> None:
        self.offsets = offsets
        self.columns = columns
        self.parents = tuple(parents)
        self.index = np.zeros(0, np.int64) if index is None else index
        self.same_objects = same_objects
        # Of jets and towers: what they are made of, and the row that each part belongs to.
        self.parts: tuple[Candidates, NDArray[np.int64]] | None = None
        self._serial = next(self._serials)

    def __len__(self) -> int:
        return int(self.offsets[-1])

    @property
    def n_events(self) -> int:
        """Number of events in the batch."""
        return len(self.offsets) - 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of candidates in each event."""
        return np.diff(self.offsets)

    def __getitem__(self, name: str) -> NDArray:
        if name in self.columns:
            return self.columns[name]
        if self._provides(name):
            return self._derived(name)
        providers = [part for part in self._ancestors if part.collection._provides(name)]
        if name in DERIVED and not any(name in part.collection.columns for part in providers):
            # What the providers derive it from is what this collection sees of them.
            return self._derived(name)
        return self._assemble(providers, name)

    def knows(self, name: str) -> bool:
        """Tell whether anyone has given `name` a value: if not, it is zero or its default."""
        parts = (self, *(part.collection for part in self._ancestors))
        return any(name in part.columns for part in parts)

    def _provides(self, name: str) -> bool:
        """Tell whether the collection has its own values of `name`, given or derived."""
        if name in self.columns:
            return True
        return name in DERIVED and any(column in self.columns for column in DERIVED[name][0])

    def _derived(self, name: str) -> NDArray:
        needed, function = DERIVED[name]
        return function(*(self[column] for column in needed))

    def _at(self, name: str, rows: NDArray[np.int64]) -> NDArray:
        """Return the collection's own values of `name`, given or derived, at `rows`."""
        if name in self.columns or name not in DERIVED:
            return self[name][rows]
        needed, function = DERIVED[name]
        return function(*(self[column][rows] for column in needed))

    def _assemble(self, providers: "list[Ancestor]", name: str) -> NDArray:
        """Return a column, each row from the first of the `providers` that knows the row."""
        if not providers:
            return np.full(len(self), DEFAULTS.get(name, 0.0))
        if providers[0].complete:
            return providers[0].collection._at(name, providers[0].rows)
        parts = []
        missing = np.full(len(self), True)
        n_missing = len(self)
        for provider in providers:
            new = provider.targets[missing[provider.targets]]
            if len(new):
                parts.append((new, provider.collection._at(name, provider.rows[new])))
                missing[new] = False
                n_missing -= len(new)
            if n_missing == 0:
                break
        types = [values.dtype for _, values in parts] + [np.dtype(np.float64)] * (n_missing > 0)
        result = np.full(len(self), DEFAULTS.get(name, 0.0), np.result_type(*types))
        for rows, values in parts:
            result[rows] = values
        return result

    @cached_property
    def _ancestors(self) -> "list[Ancestor]":
        """What the collection comes from, the nearest first.

        The collection itself is not among them: it would keep itself alive.
        """
        if len(self.parents) == 1:
            (parent,) = self.parents
            return [
                Ancestor(parent, self.index),
                *(Ancestor(part.collection, part.rows[self.index]) for part in parent._ancestors),
            ]
        found: dict[int, Ancestor] = {}
        start = 0
        for parent in self.parents:
            here = (self.index >= start) & (self.index < start + len(parent))
            index = self.index[here] - start
            start += len(parent)
            itself = Ancestor(parent, np.arange(len(parent)))
            for part in (itself, *parent._ancestors):
                serial = part.collection._serial
                if serial not in found:
                    found[serial] = Ancestor(part.collection, np.full(len(self), -1))
                found[serial].rows[here] = part.rows[index]
        # A collection is always younger than those it was made from.
        return [found[serial] for serial in sorted(found, reverse=True)]

    def select(self, mask: NDArray[np.bool_]) -> "Candidates":
        """Return the candidates where `mask` is true, the same objects."""
        rows = np.flatnonzero(mask)
        offsets = np.searchsorted(rows, self.offsets)
        return Candidates(offsets, {}, (self,), rows, same_objects=True)

    def at(self, rows: NDArray[np.int64]) -> "Candidates":
        """Return the candidates at ascending-by-event `rows`, the same objects."""
        return Candidates(self._offsets_of(rows), {}, (self,), rows, same_objects=True)

    def clone(self, rows: NDArray[np.int64], **columns: NDArray) -> "Candidates":
        """Return clones of the candidates at ascending-by-event `rows` with other `columns`."""
        return Candidates(self._offsets_of(rows), columns, (self,), rows)

    def _offsets_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        if len(rows) == len(self):
            return self.offsets
        chosen = np.bincount(rows, minlength=len(self))
        return np.concatenate(([0], np.cumsum(chosen)))[self.offsets]

    @property
    def origin(self) -> "Candidates":
        """The candidates that these come from first (Delphes: `GetCandidates()->At(0)`)."""
        return self._origin if self.parents else self

    @cached_property
    def _origin(self) -> "Candidates":
        roots = [part for part in self._ancestors if not part.collection.parents]
        if len(roots) == 1:
            return Candidates(self.offsets, {}, (roots[0].collection,), roots[0].rows)
        index = np.zeros(len(self), np.int64)
        start = 0
        for root in roots:
            index[root.targets] = root.rows[root.targets] + start
            start += len(root.collection)
        return Candidates(self.offsets, {}, [root.collection for root in roots], index)

    @property
    def identity(self) -> NDArray[np.int64]:
        """A number for each candidate that its clones share (Delphes: `GetUniqueID`)."""
        if not self.parents:
            return (self._serial << 32) + np.arange(len(self))
        number = np.zeros(len(self), np.int64)
        for part in self._ancestors:
            if not part.collection.parents:
                here = part.targets
                number[here] = (part.collection._serial << 32) + part.rows[here]
        return number

    def mothers(self) -> "tuple[Candidates, NDArray[np.int64]]":
        """Return what candidates were cloned from (Delphes: the last of `GetCandidates`).

        Returns
        -------
        Candidates, numpy.ndarray
            The mothers, and the rows of those that have one: (n,) int64.
        """
        parents: list[Candidates] = []
        index = np.full(len(self), -1)
        missing = np.full(len(self), True)
        for ancestor in (Ancestor(self, np.arange(len(self))), *self._ancestors):
            clone = ancestor.collection
            here = missing & (ancestor.rows >= 0)
            if clone.same_objects or not here.any():
                continue
            missing &= ~here
            if clone.parents:
                index[here] = clone.index[ancestor.rows[here]] + sum(map(len, parents))
                parents.extend(clone.parents)
        rows = np.flatnonzero(index >= 0)
        if not parents:
            return self.at(rows), rows
        offsets = self._offsets_of(rows)
        return Candidates(offsets, {}, parents, index[rows], same_objects=True), rows

    def event_of_row(self) -> NDArray[np.int64]:
        """Return the event number of each candidate."""
        return np.repeat(np.arange(self.n_events), self.counts)

    def sum_by_event(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum of `values` over the candidates of each event."""
        return reduce_by_event(np.add, values, self.offsets)

    def mark(self, name: str, values: NDArray) -> None:
        """Set a column on the candidates themselves: whoever holds the same objects sees it."""
        if not self.same_objects:
            self.columns[name] = values
            return
        missing = np.full(len(self), True)
        for ancestor in self._ancestors:
            owner = ancestor.collection
            if owner.same_objects:
                continue
            here = missing & (ancestor.rows >= 0)
            if here.any():
                column = np.array(owner[name], dtype=values.dtype)
                if column.ndim < values.ndim:
                    column = np.repeat(column[:, None], values.shape[1], axis=1)
                column[ancestor.rows[here]] = values[here]
                owner.columns[name] = column
                missing &= ~here


@dataclass
class Ancestor:
    """A collection that another one comes from.

    Attributes
    ----------
    collection
        The ancestor.
    rows
        (n,) int64, for each candidate of the descendant its row here; -1 where there is none.
    """

    collection: Candidates
    rows: NDArray[np.int64]

    @cached_property
    def targets(self) -> NDArray[np.int64]:
        """The candidates that come from here."""
        return np.flatnonzero(self.rows >= 0)

    @cached_property
    def complete(self) -> bool:
        """Whether every candidate of the descendant comes from here."""
        return len(self.targets) == len(self.rows)


def merge(collections: Sequence[Candidates]) -> Candidates:
    """Return all candidates of `collections` event by event, in the order given."""
    if len(collections) == 1:
        return collections[0]
    counts = np.stack([collection.counts for collection in collections])
    starts = np.cumsum([0, *(len(collection) for collection in collections)])[:-1]
    firsts = np.stack([collection.offsets[:-1] for collection in collections]) + starts[:, None]
    # One run of consecutive rows per (event, collection), events outermost.
    index = consecutive_runs(firsts.T.ravel(), counts.T.ravel())
    offsets = np.concatenate(([0], np.cumsum(counts.sum(axis=0)))).astype(np.int64)
    return Candidates(offsets, {}, collections, index, same_objects=True)


def reduce_by_event(
    function: np.ufunc, values: NDArray, offsets: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the sum (or largest, ...) of `values` in each event; 0 in an empty one."""
    filled = np.flatnonzero(np.diff(offsets))
    result = np.zeros(len(offsets) - 1)
    if len(filled):
        result[filled] = function.reduceat(values, offsets[filled])
    return result


def consecutive_runs(firsts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return firsts[0], firsts[0] + 1, ... (counts[0] of them), firsts[1], ..."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(firsts - (ends - counts), counts)
