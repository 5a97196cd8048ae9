"""A trained network as an ONNX file that any ONNX Runtime can run."""

import json
import logging
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from provenance.errors import UserError
from provenance.files import atomic_output
from provenance.ledger import write_ledger
from training.checkpoint import load_task
from training.data.features import FEATURES, REFERENCE_PT, TRANSFORMS, VECTOR_NAMES, VECTORS
from training.models.particle_transformer import (
    MASKED,
    Layout,
    ParticleTransformer,
    kinematics,
    pair_features,
)
from training.tasks.sophon import Sophon

INPUTS = ("pf_features", "pf_vectors", "pf_mask")
OUTPUTS = ("probabilities", "embedding")


@dataclass(frozen=True)
class PaddedLayout(Layout):
    """A layout whose rows are all slots, padding included: no shape depends on the data."""

    @classmethod
    def of(cls, mask: Tensor) -> "PaddedLayout":
        """Describe a mask of shape (B, N)."""
        return cls(mask, torch.arange(mask.shape[0] * mask.shape[1]))

    def pack(self, padded: Tensor) -> Tensor:
        """Flatten (B, N, C) to (B * N, C)."""
        return padded.flatten(0, 1)

    def pad(self, packed: Tensor) -> Tensor:
        """Undo `pack`."""
        return packed.unflatten(0, self.mask.shape)


class ExportedNetwork(nn.Module):
    """The network on padded arrays, with the inputs of the public Sophon file.

    Parameters
    ----------
    network
        In evaluation mode.
    """

    def __init__(self, network: ParticleTransformer):
        super().__init__()
        self.network = network

    def forward(self, features: Tensor, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return probabilities and embedding.

        Parameters
        ----------
        features
            (B, 17, N).
        vectors
            (B, 4, N).
        mask
            (B, 1, N), 1 for real constituents, else 0.

        Returns
        -------
        tuple of Tensor
            (B, n_labels) and (B, width).
        """
        net = self.network
        layout = PaddedLayout.of(mask[:, 0] > 0.5)
        x = net.embedding(layout.pack(features.transpose(1, 2)))
        biases = [self._bias(vectors.transpose(1, 2), layout.mask)]
        for block in net.blocks:
            x = block(x, [layout], biases)
        token = net.class_token.expand(features.shape[0], -1, -1)
        for block in net.class_blocks:
            token = block(token, x, [layout])
        embedding = net.norm(token[:, 0])
        return net.head(embedding).softmax(dim=1), embedding

    def _bias(self, vectors: Tensor, mask: Tensor) -> Tensor:
        jets, length = mask.shape
        particles = kinematics(vectors.flatten(0, 1)).unflatten(0, (jets, length))
        first = particles[:, :, None].expand(-1, -1, length, -1).flatten(0, 2)
        second = particles[:, None, :].expand(-1, length, -1, -1).flatten(0, 2)
        rows = self.network.pair_embedding.layers(pair_features(first, second))
        bias = rows.unflatten(0, (jets, length, length)).permute(0, 3, 1, 2)
        return bias.masked_fill(~mask[:, None, None, :], MASKED)


def export_onnx(checkpoint: Path, output: Path) -> None:
    """Write the network of a checkpoint as ONNX; batch size and length are free.

    The file's metadata say what is needed to use it elsewhere (`describe`). Probabilities and
    embedding equal those of `predict` within 1e-4.

    Raises
    ------
    UserError
        When the checkpoint cannot be used or the output is not named `.onnx`.
    """
    started = time.perf_counter()
    if output.suffix != ".onnx":
        raise UserError(f"{output}: name the file .onnx")
    task = load_task(checkpoint)
    # Not 1: a dimension of one would be taken for fixed.
    example = tuple(torch.rand(2, size, 16) for size in (len(FEATURES), len(VECTORS), 1))
    batch, slots = torch.export.Dim("jets", min=1), torch.export.Dim("constituents", min=1)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            ExportedNetwork(task.network).eval(),
            example,
            input_names=INPUTS,
            output_names=OUTPUTS,
            dynamic_shapes=({0: batch, 2: slots},) * 3,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    model = program.model_proto
    onnx.helper.set_model_props(model, {k: json.dumps(v) for k, v in describe(task).items()})
    with atomic_output(output) as temporary:
        onnx.save(model, temporary)
    write_ledger(output, started, checkpoint=checkpoint.name)


def describe(task: Sophon) -> dict[str, Any]:
    """Return what the inputs and outputs of a network mean, as plain values by key.

    Features and vectors come as formulas and by the names of their variables in Sophon's data card;
    `feature_scaling` is (centre, factor, low, high) of each `Transform`. `reference_pt` (GeV) is
    what jets are scaled to. The last two are the open intervals, in GeV, that jets were trained on.
    """
    selection = task.config.data.selection
    return {
        "labels": task.labels,
        "features": FEATURES,
        "feature_names": [t.name for t in TRANSFORMS],
        "feature_scaling": [(t.centre, t.factor, t.low, t.high) for t in TRANSFORMS],
        "vectors": VECTORS,
        "vector_names": VECTOR_NAMES,
        "reference_pt": REFERENCE_PT,
        "max_constituents": task.config.data.max_constituents,
        "selected_jet_pt": selection.jet_pt,
        "selected_jet_sdmass": selection.jet_sdmass,
    }
