"""ParticleNet (H. Qu, L. Gouskos, arXiv:1902.08570) over the collections and features of a jet.

A constituent is updated from the edges to its nearest neighbours in the jet, itself left out by its
place and not by its distance, so that two constituents in one place are neighbours. A jet of n has
min(K, n - 1) of them: no edge leads to padding, which exists only where distances are sorted.

Jets are arranged by length. In the short ones, of up to K + 1 constituents, all others are
neighbours: their edges are known without distances, for all blocks alike. The long ones are sorted
in groups of similar length and bounded memory. Constituents of a jet are put into an order that
their values alone decide: equal distances, usual among calorimeter towers, are resolved alike
whatever order they come in.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.models.dense import ACTIVATIONS, BatchNorm, PreciseLinear, initialise
from training.models.jet_regressor import JetRegressor
from training.models.ragged import Collection, owners, pool, together
from training.models.sizes import GraphSizes, ParticleNetConfig

# Distances held at a time: what fits the cache of a core, and what fills a GPU.
CELLS_CPU, CELLS_GPU = 2**18, 2**23
# What a graph of all collections is called.
TOGETHER = "together"
HASH_BASE = 0x2545F4914F6CDD1D


@dataclass(frozen=True)
class Edges:
    """Directed edges in the order of their queries."""

    query: Tensor  # (E,) row of the constituent that is updated
    neighbour: Tensor  # (E,) row of the one it sees
    counts: Tensor  # (T,) edges of each constituent


@dataclass(frozen=True)
class LengthGroup:
    """Long jets of similar length, padded to the longest of them."""

    rows: Tensor  # (J, N) row of each constituent; anything where there is none
    mask: Tensor  # (J, N)
    slots: Tensor  # (constituents,) position of each in the flattened (J * N)


@dataclass(frozen=True)
class Arrangement:
    """A collection of a batch with its jets from short to long."""

    rows: Tensor  # (T,) row of each constituent in the collection as it came
    owner: Tensor  # (T,) place of its jet in the order
    counts: Tensor  # (B,) constituents of the jets in the order
    restore: Tensor  # (B,) place of each jet of the batch in the order
    all_others: Tensor  # (E,) neighbours in the short jets, constituent by constituent
    degrees: Tensor  # (T,) number of neighbours of each constituent
    groups: list[LengthGroup]
    neighbours: int

    @classmethod
    def of(
        cls, collection: Collection, lengths: np.ndarray, neighbours: int, points: int
    ) -> "Arrangement":
        """Arrange a collection whose jets have these lengths, (B,), of which `points` are kept."""
        device = collection.values.device
        kept = np.minimum(lengths, points)
        order_host = np.argsort(kept, kind="stable")
        kept = kept[order_host]
        order = torch.from_numpy(order_host).to(device)
        counts = collection.counts[order].clamp(max=points)
        begin = counts.cumsum(0) - counts
        total = int(kept.sum())
        owner = owners(counts, total)
        place = torch.arange(total, device=device)
        rows = collection.offsets[order][owner] + place - begin[owner]
        rows = rows[_order_by_content(collection.values[rows], owner)]

        first, others = begin[owner], counts[owner] - 1
        shorts = int(np.searchsorted(kept, neighbours + 1, side="right"))
        constituents, edges = int(kept[:shorts].sum()), int((kept * (kept - 1))[:shorts].sum())
        degrees = others[:constituents]
        query = owners(degrees, edges)
        before = degrees.cumsum(0) - degrees
        neighbour = first[query] + torch.arange(edges, device=device) - before[query]
        # The place of the constituent itself is skipped.
        neighbour = neighbour + (neighbour >= query)

        groups = []
        cells = CELLS_CPU if device.type == "cpu" else CELLS_GPU
        for start, end in _similar_lengths(kept, shorts, cells):
            length, size = int(kept[end - 1]), int(kept[start:end].sum())
            slot = torch.arange(length, device=device)
            group_first, group_counts = begin[start:end, None], counts[start:end, None]
            mask = slot < group_counts
            members = slice(constituents, constituents + size)
            slots = (owner[members] - start) * length + place[members] - first[members]
            padded = (group_first + slot).clamp(max=total - 1)
            groups.append(LengthGroup(padded, mask, slots))
            constituents += size
        degrees = others.clamp(max=neighbours)
        return cls(rows, owner, counts, order.argsort(), neighbour, degrees, groups, neighbours)

    @torch.no_grad()
    def edges(self, points: Tensor, angular: bool) -> Edges:
        """Return the edges to the nearest neighbours.

        Parameters
        ----------
        points
            (T, D) coordinates in the order of `rows`.
        angular
            Whether they are η and φ, of which the second is periodic.
        """
        neighbours = [self.all_others]
        for group in self.groups:
            nearest = _nearest(points[group.rows].float(), group.mask, self.neighbours, angular)
            nearest = nearest + group.rows[:, :1, None]
            neighbours.append(nearest.flatten(0, 1)[group.slots].flatten())
        neighbour = torch.cat(neighbours)
        return Edges(owners(self.degrees, len(neighbour)), neighbour, self.degrees)


def _order_by_content(values: Tensor, owner: Tensor) -> Tensor:
    """Sort rows by owner, and those of an owner by a hash of their bits."""
    bits = values.float().contiguous().view(torch.int32).long()
    # Powers of an odd number, modulo 2^64: sums of integers do not depend on their order.
    factors = bits.new_full((values.shape[1],), HASH_BASE).cumprod(0)
    by_hash = (bits * factors).sum(dim=1).argsort(stable=True)
    return by_hash[owner[by_hash].argsort(stable=True)]


def _similar_lengths(lengths: np.ndarray, start: int, cells: int) -> list[tuple[int, int]]:
    """Cut rising lengths, from `start` on, into ranges that hold few pairs and little padding."""
    ranges = []
    while start < len(lengths):
        end = int(np.searchsorted(lengths, 1.25 * lengths[start], side="right"))
        end = min(end, start + max(cells // int(lengths[end - 1]) ** 2, 1))
        ranges.append((start, end))
        start = end
    return ranges


def _nearest(points: Tensor, mask: Tensor, neighbours: int, angular: bool) -> Tensor:
    """Return the slots of the nearest others, (J, N, neighbours), of points (J, N, D)."""
    if angular:
        eta, phi = points.unbind(2)
        delta_phi = phi[:, :, None] - phi[:, None, :]
        delta_phi = torch.remainder(delta_phi + torch.pi, 2 * torch.pi) - torch.pi
        distance = (eta[:, :, None] - eta[:, None, :]).square() + delta_phi.square()
    else:
        # The product of matrices would lose small distances between large features.
        mode = "donot_use_mm_for_euclid_dist"
        distance = torch.cdist(points, points, compute_mode=mode)
    itself = torch.eye(points.shape[1], dtype=torch.bool, device=points.device)
    distance = distance.masked_fill(itself | ~mask[:, None, :], torch.inf)
    return distance.argsort(dim=2, stable=True)[:, :, :neighbours]


class EdgeConvolution(nn.Module):
    """Constituents updated from their edges (Y. Wang et al., arXiv:1801.07829).

    An edge carries the constituent's features and the neighbour's minus them. The first layer is
    linear in both, so that it is applied to constituents, of which there are fewer, before they
    meet on the edges.
    """

    def __init__(self, width: int, channels: tuple[int, ...], config: ParticleNetConfig):
        super().__init__()
        bias = not config.batch_norm
        activation = ACTIVATIONS[config.activation]
        self.pooling = config.pooling
        self.edge = PreciseLinear(2 * width, channels[0], bias=bias)
        layers: list[nn.Module] = []
        previous: int | None = None
        for channel in channels:
            if previous is not None:
                layers.append(nn.Linear(previous, channel, bias=bias))
            if config.batch_norm:
                layers.append(BatchNorm(channel))
            layers.append(activation())
            previous = channel
        self.layers = nn.Sequential(*layers)
        self.shortcut: nn.Module | None = None
        if config.shortcut:
            self.shortcut = nn.Sequential(PreciseLinear(width, channels[-1], bias=bias))
            if config.batch_norm:
                self.shortcut.append(BatchNorm(channels[-1]))
        self.activation = activation()

    def forward(self, x: Tensor, query: Tensor, neighbour: Tensor, counts: Tensor) -> Tensor:
        """Map constituents (T, width) to (T, channels[-1]); edges as in `Edges`."""
        device = x.device.type
        kind = x.dtype
        if torch.is_autocast_enabled(device):
            kind = torch.get_autocast_dtype(device)
        own, difference = self.edge.weight.chunk(2, dim=1)
        with torch.autocast(device, enabled=False):
            x = x.float()
            centre = functional.linear(x, own - difference, self.edge.bias)
            other = functional.linear(x, difference)
            # The sum is a small difference of large terms: only then is it rounded.
            edges = (centre.index_select(0, query) + other.index_select(0, neighbour)).to(kind)
        out = pool(self.layers(edges), query, counts, self.pooling)
        if self.shortcut is not None:
            out = out + self.shortcut(x)
        return self.activation(out)


class Graph(nn.Module):
    """Constituents of one collection to a vector per jet."""

    def __init__(self, width: int, sizes: GraphSizes, config: ParticleNetConfig):
        super().__init__()
        self.neighbours, self.points, self.dynamic = sizes.neighbours, sizes.points, config.dynamic
        self.readout = config.readout
        blocks = []
        for channels in sizes.channels:
            blocks.append(EdgeConvolution(width, channels, config))
            width = channels[-1]
        self.blocks = nn.ModuleList(blocks)

    def forward(self, collection: Collection, lengths: np.ndarray) -> Tensor:
        """Return (B, width of the last block), read out of constituents; zeros where none is.

        `lengths` are those of the jets, (B,), on the host.
        """
        assert collection.positions is not None, "a graph needs positions"
        arranged = Arrangement.of(collection, lengths, self.neighbours, self.points)
        x = collection.values[arranged.rows]
        edges = arranged.edges(collection.positions[arranged.rows], angular=True)
        for depth, block in enumerate(self.blocks):
            if depth and self.dynamic and arranged.groups:
                edges = arranged.edges(x, angular=False)
            x = block(x, edges.query, edges.neighbour, edges.counts)
        share = None if collection.share is None else collection.share[arranged.rows]
        jets = pool(x, arranged.owner, arranged.counts, self.readout, share)
        return jets.index_select(0, arranged.restore)


class ParticleNet(JetRegressor):
    """Regression of a jet from graphs of its constituents.

    Of a jet with more constituents than a graph's `points` the first ones count; else their order
    has no meaning.

    Parameters
    ----------
    config
        The sizes.
    features
        Number of features per constituent of each collection that is used: of `charged`,
        `neutral`, `vertices`.
    jet_features
        Number of features of a jet.
    outputs
        Number of outputs.
    """

    def __init__(
        self,
        config: ParticleNetConfig,
        features: Mapping[str, int],
        jet_features: int,
        outputs: int = 1,
    ):
        names = tuple(features)
        sizes = {name: getattr(config, name) for name in names}
        if config.together is not None:
            sizes = {TOGETHER: config.together}
            features = {TOGETHER: sum(features.values()) + len(features)}
        graphs = {name: Graph(width, sizes[name], config) for name, width in features.items()}
        pooled = sum(own.channels[-1][-1] for own in sizes.values())
        super().__init__(
            nn.ModuleDict(graphs), pooled, jet_features, outputs, config.head, config.activation
        )
        self.names = names
        initialise(self, config.initialiser)

    def pool_constituents(self, collections: Mapping[str, Collection]) -> Tensor:
        """Return what is read out of the constituents of each collection after its last block."""
        if TOGETHER in self.collections:
            collections = {TOGETHER: together([collections[name] for name in self.names])}
        # The only numbers that a GPU has to tell.
        lengths = torch.stack([collections[name].counts for name in self.collections]).cpu().numpy()
        pooled = [
            graph(collections[name], own)
            for (name, graph), own in zip(self.collections.items(), lengths, strict=True)
        ]
        return torch.cat(pooled, dim=1)

    def compiled_parts(self) -> Iterator[nn.Module]:
        """Yield the blocks of all graphs."""
        for graph in self.collections.values():
            assert isinstance(graph, Graph)
            yield from cast(Iterable[nn.Module], graph.blocks)
