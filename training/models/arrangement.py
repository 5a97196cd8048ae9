"""Where the constituents of jets and their pairs are, laid end to end or padded in groups.

Integers alone, found before a network sees anything.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from training.models.ragged import Rows, owners, places

# Padded lengths are multiples of this: attention kernels of GPUs read biases in such blocks.
ALIGNMENT = 8


@dataclass(frozen=True)
class Layout:
    """Where the real constituents of a group of jets are in padded arrays."""

    mask: Tensor  # (B, N) bool
    rows: Tensor  # (T,) position of each constituent in the flattened (B * N)

    def pack(self, padded: Tensor) -> Tensor:
        """Take the real rows: (B, N, C) to (T, C)."""
        return padded.flatten(0, 1).index_select(0, self.rows)

    def pad(self, packed: Tensor) -> Tensor:
        """Put the rows back, zeros elsewhere: (T, C) to (B, N, C)."""
        jets, length = self.mask.shape
        empty = packed.new_zeros(jets * length, packed.shape[1])
        return empty.index_copy(0, self.rows, packed).unflatten(0, (jets, length))


@dataclass(frozen=True)
class Pairs:
    """The unordered pairs of constituents of a group of jets, each with itself included."""

    first: Tensor  # (P,) row of the one among the constituents of the batch
    second: Tensor  # (P,) and of the other
    cell: Tensor  # (P,) position of the pair in the flattened (B * N * N)
    mirror: Tensor  # (P,) and in the other order


class Room(NamedTuple):
    """What jets have at most, where no size may depend on what is in a batch.

    Jets are in groups from short to long; of each group:
    """

    jets: tuple[int, ...]
    longest: tuple[int, ...]  # constituents of a jet
    tokens: tuple[int, ...]  # constituents of all
    pairs: tuple[int, ...]  # of constituents of a jet, each with itself; zeros if not used
    constituents: int  # inside all tokens, where these are patches of constituents

    @classmethod
    def of(cls, counts: Tensor, groups: int, constituents: int, pairs: bool = True) -> "Room":
        """Return what jets of so many constituents, (B,), need; a GPU has to tell."""
        parts = counts.sort().values.tensor_split(min(groups, len(counts)))
        of_pairs = (int((own * (own + 1)).sum()) // 2 if pairs else 0 for own in parts)
        return cls(
            tuple(len(own) for own in parts),
            tuple(int(own.max()) for own in parts),
            tuple(int(own.sum()) for own in parts),
            tuple(of_pairs),
            constituents,
        )

    def joined(self) -> "Room":
        """Return groups that are padded alike as one."""
        lengths = [_padded(longest) for longest in self.longest]
        begins = [i for i, own in enumerate(lengths) if i == 0 or own != lengths[i - 1]]
        ends = [*begins[1:], len(lengths)]

        def sums(numbers: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(sum(numbers[i:j]) for i, j in zip(begins, ends, strict=True))

        # As long as the padding allows, so that rooms that are padded alike are the same.
        longest = tuple(lengths[i] - 1 for i in begins)
        jets, tokens, pairs = map(sums, (self.jets, self.tokens, self.pairs))
        return Room(jets, longest, tokens, pairs, self.constituents)


def _padded(longest: int) -> int:
    """Return the length of padded jets, which leaves a slot that is of no constituent."""
    return (longest // ALIGNMENT + 1) * ALIGNMENT


@dataclass(frozen=True)
class Arrangement:
    """A batch as groups of jets of similar length: attention costs the square of its length."""

    order: Tensor  # (B,) the jets from short to long
    rows: Tensor  # (T,) each constituent, group by group: its position in the flattened batch
    groups: list[Layout]
    pairs: list[Pairs]

    @classmethod
    def of(cls, mask: Tensor, groups: int) -> "Arrangement":
        """Arrange a batch with the mask (B, N) into at most so many groups."""
        width = mask.shape[1]
        lengths = (mask * torch.arange(1, width + 1, device=mask.device)).amax(dim=1)
        constituents = mask.sum(dim=1)
        order = lengths.argsort(stable=True)
        groups = min(groups, len(mask))
        members = order.tensor_split(groups)
        of_jets = torch.stack((lengths, constituents, constituents * (constituents + 1) // 2))
        of_groups = of_jets[:, order].tensor_split(groups, dim=1)
        # The only numbers that a GPU has to tell.
        sizes = torch.stack([torch.cat((of[:1].amax(1), of[1:].sum(1))) for of in of_groups])
        layouts, pairs, rows, begin = [], [], [], 0
        for jets, (longest, count, pair_count) in zip(members, sizes.tolist(), strict=True):
            length = max(-(-longest // ALIGNMENT), 1) * ALIGNMENT
            own = functional.pad(mask[jets], (0, max(length - width, 0)))[:, :length]
            jet, slot = own.nonzero_static(size=count).unbind(1)
            layouts.append(Layout(own, jet * length + slot))
            rows.append(jets[jet] * width + slot)
            pairs.append(_pairs(own, begin, pair_count))
            begin += count
        return cls(order, torch.cat(rows), layouts, pairs)

    @classmethod
    def within(cls, rows: Rows, room: Room, pairs: bool) -> "Arrangement":
        """Arrange jets in groups with room for more; waits for nothing.

        Parameters
        ----------
        rows
            The constituents, jet by jet, with as much room as the groups have together. Of a group,
            what is only room shares the very last slot, which is of no jet: padded jets are longer
            than the longest may be.
        room
            Of each group.
        pairs
            Whether they are listed.
        """
        counts = rows.counts[:-1]
        order = counts.argsort(stable=True)
        begins = (counts.cumsum(0) - counts)[order]
        spare = counts.sum(dim=0, keepdim=True)  # the first row that is only room, of no group yet
        layouts, listed_pairs, listed, before = [], [], [], 0
        parts = zip(counts[order].split(room.jets), begins.split(room.jets), strict=True)
        for (members, begin), longest, total, room_for_pairs in zip(
            parts, room.longest, room.tokens, room.pairs, strict=True
        ):
            jets, length = len(members), _padded(longest)
            own = torch.cat((members, total - members.sum(dim=0, keepdim=True)))
            owner = owners(own, total)
            place = torch.arange(total, device=own.device) - (own.cumsum(0) - own)[owner]
            listed.append(torch.cat((begin, spare))[owner] + place)
            spare = spare + own[-1:]
            slot = torch.where(owner < jets, owner * length + place, jets * length - 1)
            mask = torch.arange(length, device=own.device) < members[:, None]
            layouts.append(Layout(mask, slot))
            if pairs:
                listed_pairs.append(_all_pairs(own, length, before, room_for_pairs))
            before += total
        return cls(order, torch.cat(listed), layouts, listed_pairs)


def _all_pairs(counts: Tensor, length: int, before: int, room: int) -> Pairs:
    """List the pairs of jets laid end to end, behind other rows, and padded to one length.

    `counts` (B + 1,) are those of `Rows`. What is only room is the last slot with itself.
    """
    jets, begin = len(counts) - 1, counts.cumsum(0) - counts + before
    own = counts[:-1] * (counts[:-1] + 1) // 2
    own = torch.cat((own, room - own.sum(dim=0, keepdim=True)))
    jet = owners(own, room)
    number = torch.arange(room, device=counts.device) - (own.cumsum(0) - own)[jet]
    # In the order of a triangle's rows.
    first = (((8 * number + 1).double().sqrt() - 1) / 2).long()
    second = number - first * (first + 1) // 2
    real = jet < jets
    cell, mirror = (
        torch.where(real, (jet * length + i) * length + j, jets * length**2 - 1)
        for i, j in ((first, second), (second, first))
    )
    first, second = (torch.where(real, begin[jet] + x, before) for x in (first, second))
    return Pairs(first, second, cell, mirror)


def _pairs(mask: Tensor, begin: int, count: int) -> Pairs:
    """List the pairs of a mask (B, N) whose first constituent is row `begin` of the batch."""
    length = mask.shape[1]
    row = mask.flatten().cumsum(0) + (begin - 1)
    both = (mask[:, :, None] & mask[:, None, :]).tril()
    jet, i, j = both.nonzero_static(size=count).unbind(1)
    first, second = jet * length + i, jet * length + j
    return Pairs(row[first], row[second], first * length + j, second * length + i)


class Sizes(NamedTuple):
    """How much the jets of a batch have in all."""

    constituents: int
    scores: int  # of attention: the square of a jet's constituents, its rows aligned
    pairs: int  # unordered, with itself


# Room for constituents, scores and pairs comes in such steps, so that batches share a few sizes:
# what is captured for one serves the others.
STEPS = Sizes(1024, 2**20, 2**18)
# So do jets, and their longest.
PADDED_STEP = 64


def ragged_sizes(n: Tensor) -> Sizes:
    """Return the sizes of jets with n, (B,), constituents.

    Ask while they are still on the host: a GPU has to catch up first.
    """
    parts = (n, n * ((n + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT), n * (n + 1) // 2)
    return Sizes(*torch.stack(parts).sum(1).tolist())


@dataclass(frozen=True)
class Ragged:
    """A batch of jets laid end to end, as the kernels for GPUs take it, with room to spare."""

    rows: Tensor  # (T,) position of each constituent in the flattened batch (B * N)
    real: Tensor  # (T, 1) bool, false for rows that are only room
    table: Tensor  # (3, B + 1) int32: where constituents, scores and pairs of each jet begin
    scores: int  # room for them
    pairs: int  # room for them
    width: int  # no jet has more constituents

    @classmethod
    def of(cls, mask: Tensor, room: Sizes) -> "Ragged":
        """Arrange a batch with the mask (B, N); waits for nothing."""
        n = mask.sum(1)
        pitch = (n + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        table = torch.stack((n, n * pitch, n * (n + 1) // 2)).cumsum(1)
        table = functional.pad(table, (1, 0)).int()
        rows, scores, pairs = room
        # Rows that are only room repeat the first slot: nothing looks at them.
        position = places(mask.flatten(), rows)
        real = torch.arange(rows, device=mask.device)[:, None] < table[0, -1]
        return cls(position, real, table, scores, pairs, mask.shape[1])


def split(packed: Tensor, groups: list[Layout]) -> tuple[Tensor, ...]:
    """Split (T, C) rows into those of each group."""
    return packed.split([len(group.rows) for group in groups])
