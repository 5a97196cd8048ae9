"""Collections of candidates: structure of arrays over a whole batch of events.

A `Candidates` collection holds the columns that its module computed and finds every other column
in the collection it was made from, through row indices. Filtering, cloning and merging therefore
cost one index array, however many properties a candidate has.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.kinematics import azimuth, invariant_mass, pseudorapidity

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
    "pt": (("px", "py"), np.hypot),
    "phi": (("px", "py"), azimuth),
    "eta": (("px", "py", "pz"), pseudorapidity),
    "m": (("px", "py", "pz", "e"), invariant_mass),
    "position_phi": (("x", "y"), azimuth),
    "position_eta": (("x", "y", "z"), pseudorapidity),
    "position_r": (("x", "y"), np.hypot),
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
    that no module has set is in Delphes. `particle.NAME` reads the column of the candidate at the
    start of the chain (Delphes: `GetCandidates()->At(0)`).

    Parameters
    ----------
    offsets
        (n_events + 1,) int64.
    columns
        Columns of this collection, each of length `offsets[-1]`.
    parents
        Collections this one was made from; rows are numbered through them in turn.
    index
        (n,) int64, the row of each candidate in the parents.
    same_objects
        Whether a candidate *is* the one in the parent (filter, merger) or a clone of it: decides
        where `mark` writes.
    """

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
        self.index = index
        self.same_objects = same_objects

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
        return self._take(name, None)

    def _take(self, name: str, rows: NDArray[np.int64] | None) -> NDArray:
        """Return column `name` at `rows` (all without)."""
        if name in self.columns:
            column = self.columns[name]
            return column if rows is None else column[rows]
        if name in DERIVED and (not self.parents or self._owns(DERIVED[name][0])):
            needed, function = DERIVED[name]
            return function(*(self._take(column, rows) for column in needed))
        if not self.parents:
            return self._origin(name, rows)
        index = self.index if rows is None else self.index[rows]
        if len(self.parents) == 1:
            return self.parents[0]._take(name, index)
        return self._take_from_parents(name, index)

    def _owns(self, names: tuple[str, ...]) -> bool:
        return any(name in self.columns for name in names)

    def _origin(self, name: str, rows: NDArray[np.int64] | None) -> NDArray:
        """Return a column at the start of the chain."""
        if name.startswith("particle."):
            return self._take(name.removeprefix("particle."), rows)
        size = len(self) if rows is None else len(rows)
        return np.full(size, DEFAULTS.get(name, 0.0))

    def _take_from_parents(self, name: str, index: NDArray[np.int64]) -> NDArray:
        starts = np.cumsum([0, *(len(parent) for parent in self.parents)])
        source = np.searchsorted(starts, index, side="right") - 1
        parts = [
            parent._take(name, index[source == i] - starts[i])
            for i, parent in enumerate(self.parents)
        ]
        values = np.empty(len(index), np.result_type(*(part.dtype for part in parts)))
        for i, part in enumerate(parts):
            values[source == i] = part
        return values

    def select(self, mask: NDArray[np.bool_]) -> "Candidates":
        """Return the candidates where `mask` is true, the same objects."""
        return self.at(np.flatnonzero(mask))

    def at(self, rows: NDArray[np.int64]) -> "Candidates":
        """Return the candidates at ascending-by-event `rows`, the same objects."""
        return Candidates(self._offsets_of(rows), {}, (self,), rows, same_objects=True)

    def clone(self, rows: NDArray[np.int64], **columns: NDArray) -> "Candidates":
        """Return clones of the candidates at ascending-by-event `rows` with other `columns`."""
        return Candidates(self._offsets_of(rows), columns, (self,), rows)

    def _offsets_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        events = np.searchsorted(self.offsets, rows, side="right") - 1
        counts = np.bincount(events, minlength=self.n_events)
        return np.concatenate(([0], np.cumsum(counts))).astype(np.int64)

    def event_of_row(self) -> NDArray[np.int64]:
        """Return the event number of each candidate."""
        return np.repeat(np.arange(self.n_events), self.counts)

    def sum_by_event(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum of `values` over the candidates of each event."""
        return np.bincount(self.event_of_row(), weights=values, minlength=self.n_events)

    def mark(self, name: str, values: NDArray) -> None:
        """Set a column on the candidates themselves: whoever holds the same objects sees it."""
        owner, rows = self, None
        while owner.same_objects and len(owner.parents) == 1:
            rows = owner.index if rows is None else owner.index[rows]
            owner = owner.parents[0]
        if owner.same_objects:
            owner._mark_in_parents(name, values, rows)
        elif rows is None:
            owner.columns[name] = values
        else:
            column = np.array(owner[name], dtype=values.dtype)
            column[rows] = values
            owner.columns[name] = column

    def _mark_in_parents(self, name: str, values: NDArray, rows: NDArray[np.int64] | None) -> None:
        index = self.index if rows is None else self.index[rows]
        start = 0
        for parent in self.parents:
            here = (index >= start) & (index < start + len(parent))
            parent.at(index[here] - start).mark(name, values[here])
            start += len(parent)


def merge(collections: Sequence[Candidates]) -> Candidates:
    """Return all candidates of `collections` event by event, in the order given."""
    counts = np.stack([collection.counts for collection in collections])
    starts = np.cumsum([0, *(len(collection) for collection in collections)])[:-1]
    firsts = np.stack([collection.offsets[:-1] for collection in collections]) + starts[:, None]
    # One run of consecutive rows per (event, collection), events outermost.
    index = consecutive_runs(firsts.T.ravel(), counts.T.ravel())
    offsets = np.concatenate(([0], np.cumsum(counts.sum(axis=0)))).astype(np.int64)
    return Candidates(offsets, {}, collections, index, same_objects=True)


def consecutive_runs(firsts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return firsts[0], firsts[0] + 1, ... (counts[0] of them), firsts[1], ..."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(firsts - (ends - counts), counts)
