"""Joint-embedding pre-training: a student, its slow teacher, and a watch for collapse."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from provenance.errors import UserError
from training.data.reader import Batch
from training.jets.constituents import (
    FEATURES,
    OWN_COLUMNS,
    PLACES,
    PRESENCE,
    ConstituentReader,
    Rooms,
    jets_of,
)
from training.models.arrangement import Room
from training.models.jet_shape import MOMENTUM_SHARES, SHAPES, jet_shape, momentum_shares
from training.models.jet_tokens import Jets
from training.models.joint_embedding import JointEmbedding
from training.models.ragged import mean_of_rows
from training.models.regularisers import effective_rank, sliced_gaussian, variance_covariance
from training.models.sizes import PatchEncoderConfig
from training.task import Evaluation, Task
from training.tasks.joint_embedding.config import Config
from training.tasks.joint_embedding.evaluation import draw_masks, evaluate_embeddings
from training.tasks.joint_embedding.meanings import MEANINGS

# What is watched on held-out jets: name of the number → what it is called.
WATCHED = {
    "prediction_std": "standard deviation of the predictions",
    "target_std": "standard deviation of the targets",
    "effective_rank": "effective rank of the embeddings",
}


class JointEmbeddingTask(Task[Config]):
    """Predict a teacher's tokens of what the student does not see.

    Parameters
    ----------
    config
        The training's configuration.
    """

    meanings = MEANINGS
    fixed_shapes = True

    network: JointEmbedding
    reader: ConstituentReader

    def __init__(self, config: Config):
        super().__init__(config)
        encoder = config.model.encoder
        patches = encoder.patches if isinstance(encoder, PatchEncoderConfig) else None
        self.reader = ConstituentReader(
            config.data,
            patches=patches,
            masks=config.masks,
            groups=encoder.length_groups,
            seed=config.seed,
        )
        self.rooms = Rooms(encoder.length_groups)
        self.measured = ("embedding",) if config.data.label is None else ("embedding", "label")
        self.network = JointEmbedding(config.model, len(FEATURES))
        for group, places in PLACES.items():
            told = torch.ones(len(FEATURES), dtype=torch.bool)
            told[[*places, PRESENCE[group]]] = False
            self.register_buffer(f"without_{group}", told, persistent=False)
        if config.regulariser.kind != "none":
            self.projector = projector(encoder.width, config.regulariser.projector)
        if config.masked_features:
            self.features = nn.Linear(encoder.width, len(OWN_COLUMNS) + MOMENTUM_SHARES)
        if config.jet_shape:
            self.shape = nn.Linear(encoder.width, len(SHAPES) + len(OWN_COLUMNS))

    def with_fixed_shapes(self, batch: Batch) -> Batch:
        """Return a batch with room for the jets of all batches before it, and for its own."""
        return self.rooms(batch)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss; of held-out jets also what shows a collapse."""
        jets = jets_of(batch)
        features = self._without_groups(jets.features) if self.training else None
        targets = batch["targets"].swapaxes(0, 1)
        room = batch.get("room")
        # Not those that only round up their number.
        of_batch = batch["real"] if room else jets.mask.new_ones(len(jets.mask))
        prediction = self.network(jets, batch["context"], targets, features, room)
        predicted, target = prediction.predicted.float(), prediction.target
        real = prediction.hidden.real
        distance = functional.smooth_l1_loss(
            predicted, target, beta=self.config.beta, reduction="none"
        )
        numbers = {"distance": mean_of_rows(distance, real)}
        loss = numbers["distance"]
        regulariser = self.config.regulariser
        if regulariser.kind != "none":
            of_jets = regulariser.of == "jets"
            projected = self.projector(prediction.context if of_jets else prediction.tokens)
            counted = of_batch if of_jets else prediction.seen.real
            if regulariser.kind == "vicreg":
                term = variance_covariance(projected, counted)
            else:
                term = sliced_gaussian(projected, regulariser.slices, regulariser.knots, counted)
            numbers["regulariser"] = term
            loss = loss + regulariser.weight * term
        if self.config.masked_features:
            shares = momentum_shares(jets, batch["context"])
            of_tokens = torch.cat((token_features(jets), shares), dim=2)
            truth = prediction.hidden.take(of_tokens.repeat(len(targets), 1, 1))
            term = functional.smooth_l1_loss(self.features(predicted), truth, reduction="none")
            term = mean_of_rows(term, real)
            numbers["masked_features"] = term
            loss = loss + self.config.masked_features * term
        if self.config.jet_shape:
            average = prediction.context
            if self.config.jet_shape_from == "all":
                seen = jets if features is None else jets._replace(features=features)
                average = self.embed(seen, room and room.everything)
            term = functional.smooth_l1_loss(self.shape(average), jet_shape(jets), reduction="none")
            term = mean_of_rows(term, of_batch)
            numbers["jet_shape"] = term
            loss = loss + self.config.jet_shape * term
        if len(numbers) == 1:
            numbers = {}
        if not self.training:
            numbers |= {
                "prediction_std": spread(predicted),
                "target_std": spread(target),
                "effective_rank": effective_rank(self.embed(jets)),
            }
        return {"loss": loss, **numbers}

    def after_step(self, progress: float) -> None:
        """Let the teacher follow by one step."""
        first, last = self.config.teacher.decay
        self.network.update_teacher(first + (last - first) * progress)

    def after_validation(self, history: Sequence[Mapping[str, float]]) -> None:
        """Stop a training that collapsed.

        Raises
        ------
        UserError
            When one of the numbers was too small in as many successive validations as configured.
        """
        config = self.config.collapse
        recent = history[-config.validations :]
        if len(recent) < config.validations:
            return
        for name, words in WATCHED.items():
            least = getattr(config, name)
            if all(row[f"val_{name}"] < least for row in recent):
                raise UserError(
                    f"the training has collapsed: the {words} on held-out jets was below "
                    f"{least:g} in the last {config.validations} validations, after step "
                    f"{recent[-1]['step']:.0f} {recent[-1][f'val_{name}']:.3g}: slow down the "
                    "teacher (teacher.decay), keep the predictor or add a regulariser; what was "
                    "saved is kept"
                )

    def embed(self, jets: Jets, room: Room | None = None) -> Tensor:
        """Return the average of the student's tokens of whole jets, (B, width)."""
        return self.network.encoder.encode(jets, room=room).average()

    def predict(self, batch: Batch) -> Batch:
        """Return the embedding of each jet, (B, width)."""
        return {"embedding": self.embed(jets_of(batch))}

    def evaluate(self, rows: Mapping[str, np.ndarray], folder: Path) -> Evaluation:
        """Measure how the embeddings spread, and whether neighbours are of one class."""
        return evaluate_embeddings(
            rows["embedding"], rows.get("label"), self.reader.labels or (), folder
        )

    def illustrate(self, batch: Batch, folder: Path) -> Mapping[str, str]:
        """Draw what is hidden of the jet with the most constituents of a batch."""
        return draw_masks(folder / "masks", batch)

    def compile_network(self) -> None:
        """Compile the blocks."""
        self.network.compile_parts()

    def _without_groups(self, features: Tensor) -> Tensor:
        """Take groups of features from some jets; the student is told that they are absent."""
        for group, share in self.config.group_dropout:
            if share:
                kept = torch.rand(len(features), 1, 1, device=features.device) >= share
                features = features * (kept | self.get_buffer(f"without_{group}"))
        return features


def spread(tokens: Tensor) -> Tensor:
    """Return the mean standard deviation of (T, C) over tokens; 0 of fewer than two."""
    return tokens.std(dim=0).mean() if len(tokens) > 1 else tokens.new_zeros(())


def token_features(jets: Jets) -> Tensor:
    """Return the features of constituents by themselves, averaged over each token, (B, S, 10)."""
    own = jets.features[..., : len(OWN_COLUMNS)].float() * jets.mask[..., None]
    if jets.patches is None:
        return own
    of, (rows, patches) = jets.patches.of, jets.patches.mask.shape
    sums = own.new_zeros(rows, patches, own.shape[2])
    sums = sums.scatter_add(1, of[..., None].expand_as(own), own)
    counts = own.new_zeros(rows, patches).scatter_add(1, of, jets.mask.float())
    return sums / counts.clamp(min=1)[..., None]


def projector(width: int, widths: tuple[int, ...]) -> nn.Sequential:
    """Return the network between the pooled token and the regulariser; it looks at no batch."""
    layers: list[nn.Module] = []
    for units in widths[:-1]:
        layers += [nn.Linear(width, units), nn.LayerNorm(units), nn.GELU()]
        width = units
    return nn.Sequential(*layers, nn.Linear(width, widths[-1]))


TASK = JointEmbeddingTask
