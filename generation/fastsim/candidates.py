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
        self.index = index
        self.same_objects = same_objects
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
        if name.startswith("particle."):
            name = name.removeprefix("particle.")
            origins = [part for part in self._lineage if not part.collection.parents]
            return self._assemble(origins, name)
        providers = [part for part in self._lineage if part.collection._provides(name)]
        if name in DERIVED and not any(name in part.collection.columns for part in providers):
            # What the providers derive it from is what this collection sees of them.
            return self._derived(name)
        return self._assemble(providers, name)

    def _provides(self, name: str) -> bool:
        """Tell whether the collection has its own values of `name`, given or derived."""
        if name in self.columns:
            return True
        return name in DERIVED and any(column in self.columns for column in DERIVED[name][0])

    def _derived(self, name: str) -> NDArray:
        needed, function = DERIVED[name]
        return function(*(self[column] for column in needed))

    def _provided(self, name: str) -> NDArray:
        if name in self.columns:
            return self.columns[name]
        return self._derived(name) if name in DERIVED else self[name]

    def _assemble(self, providers: "list[Ancestor]", name: str) -> NDArray:
        """Return a column, each row from the first of the `providers` that knows the row."""
        if not providers:
            return np.full(len(self), DEFAULTS.get(name, 0.0))
        first = providers[0]
        if first.complete:
            return first.collection._provided(name)[first.rows]
        parts = []
        missing = np.full(len(self), True)
        for provider in providers:
            here = missing & (provider.rows >= 0)
            if here.any():
                parts.append((here, provider.collection._provided(name)[provider.rows[here]]))
                missing &= ~here
        types = [values.dtype for _, values in parts]
        if missing.any():
            types.append(np.float64)
        result = np.full(len(self), DEFAULTS.get(name, 0.0), np.result_type(*types))
        for here, values in parts:
            result[here] = values
        return result

    @cached_property
    def _lineage(self) -> "list[Ancestor]":
        """The collection itself and all that it comes from, the nearest first."""
        own = Ancestor(self, np.arange(len(self)))
        if len(self.parents) == 1:
            lineage = self.parents[0]._lineage
            return [own, *(Ancestor(part.collection, part.rows[self.index]) for part in lineage)]
        found = {}
        start = 0
        for parent in self.parents:
            here = (self.index >= start) & (self.index < start + len(parent))
            index = self.index[here] - start
            start += len(parent)
            for part in parent._lineage:
                serial = part.collection._serial
                if serial not in found:
                    found[serial] = Ancestor(part.collection, np.full(len(self), -1))
                found[serial].rows[here] = part.rows[index]
        # A collection is always younger than those it was made from.
        return [own, *(found[serial] for serial in sorted(found, reverse=True))]

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
        if len(rows) == len(self):
            return self.offsets
        chosen = np.bincount(rows, minlength=len(self))
        return np.concatenate(([0], np.cumsum(chosen)))[self.offsets]

    def event_of_row(self) -> NDArray[np.int64]:
        """Return the event number of each candidate."""
        return np.repeat(np.arange(self.n_events), self.counts)

    def sum_by_event(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum of `values` over the candidates of each event."""
        return np.bincount(self.event_of_row(), weights=values, minlength=self.n_events)

    def mark(self, name: str, values: NDArray) -> None:
        """Set a column on the candidates themselves: whoever holds the same objects sees it."""
        missing = np.full(len(self), True)
        for ancestor in self._lineage:
            owner = ancestor.collection
            if owner.same_objects:
                continue
            here = missing & (ancestor.rows >= 0)
            if here.any():
                column = np.array(owner[name], dtype=values.dtype)
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
    def complete(self) -> bool:
        """Whether every candidate of the descendant comes from here."""
        return not len(self.rows) or bool(self.rows.min() >= 0)


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
