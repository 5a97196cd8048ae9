"""Jets with any number of constituents, laid end to end: there is no padding to look after."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor


class Collection(NamedTuple):
    """The constituents of one kind in a batch of B jets, T rows in all."""

    values: Tensor  # (T, features)
    offsets: Tensor  # (B + 1,) int64: jet b has the rows offsets[b] to offsets[b + 1]
    positions: Tensor | None = None  # (T, 2): η and φ, absolute or relative to anything
    pt: Tensor | None = None  # (T,) GeV
    share: Tensor | None = None  # (T,): pT over the jet's, before weights of PUPPI

    @classmethod
    def from_padded(
        cls, values: Tensor, mask: Tensor, positions: Tensor | None = None
    ) -> "Collection":
        """Take the real rows of padded arrays.

        Parameters
        ----------
        values
            (B, N, features).
        mask
            (B, N) bool, true for real constituents, wherever they are.
        positions
            (B, N, 2), or none.
        """
        counts = mask.sum(dim=1)
        return cls(
            values[mask],
            torch.nn.functional.pad(counts.cumsum(0), (1, 0)),
            None if positions is None else positions[mask],
        )

    @property
    def counts(self) -> Tensor:
        """Number of constituents of each jet, (B,)."""
        return self.offsets.diff()

    def places(self) -> tuple[Tensor, Tensor]:
        """Return the jet of each constituent and its place there, (T,) each."""
        jet = owners(self.counts, len(self.values))
        return jet, torch.arange(len(jet), device=jet.device) - self.offsets[jet]


def together(collections: Sequence[Collection]) -> Collection:
    """Return collections of the same jets as one; of a jet, a later one follows the earlier ones.

    Features are those of `beside`.
    """
    counts = torch.stack([own.counts for own in collections])
    begins = torch.nn.functional.pad(counts.sum(0).cumsum(0), (1, 0))
    firsts = begins[:-1] + counts.cumsum(0) - counts
    total = sum(len(own.values) for own in collections)
    rows = []
    for own, first in zip(collections, firsts, strict=True):
        jet, place = own.places()
        rows.append(place + first[jet])
    known: dict[str, Tensor] = {}
    for own, row in zip(collections, rows, strict=True):
        for name in ("positions", "pt", "share"):
            part = getattr(own, name)
            if part is not None:
                if name not in known:
                    known[name] = part.new_zeros(total, *part.shape[1:], dtype=torch.float32)
                known[name][row] = part.float()
    return Collection(beside(collections, rows, total), begins, **known)


def beside(collections: Sequence[Collection], rows: Sequence[Tensor], total: int) -> Tensor:
    """Return the features of several collections beside each other, in 32 bits.

    Zeros where a constituent is of another collection, with a flag for each behind them.

    Parameters
    ----------
    collections
        Of the same jets.
    rows
        (T,) each: where the constituents of a collection go.
    total
        Number of rows.

    Returns
    -------
    Tensor
        (total, features of all and a flag for each collection).
    """
    widths = [own.values.shape[1] for own in collections]
    values = torch.zeros(total, sum(widths) + len(widths), device=collections[0].values.device)
    column = 0
    for number, (own, row, width) in enumerate(zip(collections, rows, widths, strict=True)):
        values[row, column : column + width] = own.values.float()
        values[:, number - len(widths)].index_fill_(0, row, 1)
        column += width
    return values


def owners(counts: Tensor, total: int) -> Tensor:
    """Return the jet of each row, (total,); `total` is the sum of the counts (B,)."""
    return torch.arange(len(counts), device=counts.device).repeat_interleave(
        counts, output_size=total
    )


def pool(
    values: Tensor,
    owner: Tensor,
    counts: Tensor,
    how: Literal["sum", "average", "max", "momentum"],
    share: Tensor | None = None,
) -> Tensor:
    """Reduce the rows of each owner, in 32 bits.

    Parameters
    ----------
    values
        (T, C).
    owner
        (T,) index of the owner of each row.
    counts
        (B,) number of rows of each owner.
    how
        The average divides by the real count; `momentum` is the sum weighted by `share`. An owner
        of no row gets zeros.
    share
        (T,): as a `Collection` has it.

    Returns
    -------
    Tensor
        (B, C) float32.
    """
    pooled = torch.zeros(len(counts), values.shape[1], device=values.device)
    if how == "max":
        rows = owner[:, None].expand_as(values)
        return pooled.scatter_reduce(0, rows, values.float(), "amax", include_self=False)
    if how == "momentum":
        assert share is not None, "a sum that momentum weighs needs its shares"
        values = values.float() * share[:, None]
    pooled = pooled.index_add(0, owner, values.float())
    return pooled / counts.clamp(min=1)[:, None] if how == "average" else pooled


def places(mask: Tensor, room: int) -> Tensor:
    """Return where a flat mask is true, in (room,) rows of which the rest are 0; waits for nothing.

    `room` is at least how often it is true.
    """
    row = torch.where(mask, mask.cumsum(0) - 1, room)
    found = torch.zeros(room + 1, dtype=torch.int64, device=mask.device)
    return found.scatter(0, row, torch.arange(len(mask), device=mask.device))[:room]


@dataclass(frozen=True)
class Rows:
    """The real slots of padded arrays (B, N), jet by jet, with room to spare where it is given.

    With room nothing is asked of the device, and sizes do not depend on a batch's content. What is
    only room repeats the first slot of the batch and belongs to no jet.
    """

    place: Tensor  # (T,) position of each row in the flattened (B * N)
    owner: Tensor  # (T,) its jet; B of what is only room
    counts: Tensor  # (B + 1,) rows of each jet, and at the end those that are only room

    @classmethod
    def of(cls, mask: Tensor, room: int | None = None) -> "Rows":
        """List where a mask (B, N) is true; `room` is at least how often, None: exactly."""
        counts, flat = mask.sum(dim=1), mask.flatten()
        if room is None:
            place = flat.nonzero().squeeze(1)
            room = len(place)
        else:
            place = places(flat, room)
        counts = torch.cat((counts, room - counts.sum(dim=0, keepdim=True)))
        return cls(place, owners(counts, room), counts)

    @property
    def real(self) -> Tensor:
        """Which rows are of a jet, (T,) bool."""
        return self.owner < len(self.counts) - 1

    def take(self, padded: Tensor) -> Tensor:
        """Return the rows (T, C) of (B, N, C)."""
        return padded.flatten(0, 1).index_select(0, self.place)

    def wholes(self, values: Tensor) -> Tensor:
        """Return at each row the sum of the values (T, C) over its jet, in 32 bits."""
        return pool(values, self.owner, self.counts, "sum")[self.owner]

    def average(self, values: Tensor) -> Tensor:
        """Return the mean of the values (T, C) over each jet, (B, C), in 32 bits."""
        return pool(values, self.owner, self.counts, "average")[:-1]


def mean_of_rows(values: Tensor, real: Tensor) -> Tensor:
    """Return the mean of (T, C) over the rows of which `real`, (T,), is true; 0 of none."""
    kept = torch.where(real[:, None], values, 0)
    return kept.sum() / (real.sum().clamp(min=1) * values.shape[1])
