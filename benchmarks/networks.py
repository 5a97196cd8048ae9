"""Speed of every network of `training/models` on synthetic batches.

`NETWORKS` holds an entry per network: how it is made, a batch of realistic shapes, the training
loss and the prediction. Run as `python -m benchmarks.networks [NAME …] [--device cuda] [--precision
bf16] [--compile] [--batch-size N]`; a CPU is one core, and its time is that of the process.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils import _pytree as pytree

from benchmarks.part import clock, own_network, synthetic_batch, weaver_network
from training.captured import CapturedUpdate, Numbers
from training.jets.constituents import Rooms, jets_of, step_room
from training.models.arrangement import ragged_sizes
from training.models.deep_sets import DeepSets
from training.models.ensemble import Ensemble
from training.models.jet_tokens import coordinates
from training.models.jet_transformer import JetTransformer
from training.models.joint_embedding import JointEmbedding
from training.models.masks import token_masks
from training.models.object_transformer import ObjectTransformer
from training.models.particle_net import ParticleNet
from training.models.patch_tokens import partition
from training.models.ragged import Collection, mean_of_rows
from training.models.sizes import (
    ConstituentEncoderConfig,
    DeepSetsConfig,
    JetTransformerConfig,
    JointEmbeddingConfig,
    ObjectTransformerConfig,
    ParticleNetConfig,
    PatchEncoderConfig,
    TokenMasksConfig,
)

# Features of a constituent of each collection and of a jet, for jet energies.
FEATURES = {"charged": 25, "neutral": 11, "vertices": 10}
JET_FEATURES = 11
# Mean numbers per jet.
MULTIPLICITIES = {"charged": 17.0, "neutral": 13.0, "vertices": 0.4}


def compile_parts(network: nn.Module) -> None:
    """Compile a network as `fit` does."""
    cast(Any, network).compile_parts()


Prediction = Callable[[nn.Module, Any], Tensor]


@dataclass(frozen=True)
class Network:
    """What is measured; `batch` gives tensors in dictionaries and tuples, on the CPU."""

    make: Callable[[], nn.Module]
    batch: Callable[[int, np.random.Generator], Any]
    loss: Prediction
    predict: Prediction
    unit: str = "jets"
    compile: Callable[[nn.Module], None] | None = compile_parts  # in place; None: it is not
    # Makes what gives batches few shapes, where training captures whole steps: see
    # `Task.fixed_shapes`.
    fixed_shapes: Callable[[], Callable[[Any], Any]] | None = None
    sizes: tuple[int, int] = (512, 2048)  # of batches
    # In which precisions a GPU must give what a CPU does; none: it may differ.
    equal: tuple[str, ...] = ("bf16", "fp32")


def as_it_is(batch: Any) -> Any:
    """Return a batch that has one of few shapes already."""
    return batch


def jet_batch(jets: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return jets with the multiplicities of JetClass-II, as Sophon's reader gives them."""
    batch = synthetic_batch(jets, rng)
    return {**batch, "sizes": ragged_sizes(batch["mask"].sum(1))}


def sophon_prediction(network: nn.Module, batch: dict[str, Any]) -> Tensor:
    """Return the logits, (B, labels)."""
    return network(batch["features"], batch["vectors"], batch["mask"], batch["sizes"])


def cross_entropy(predict: Prediction) -> Prediction:
    """Return the loss of a classification, of a network and a batch."""
    return lambda network, batch: functional.cross_entropy(predict(network, batch), batch["label"])


def weaver_prediction(network: nn.Module, batch: dict[str, Any]) -> Tensor:
    """Return the logits, (B, labels)."""
    return network(batch["features"], batch["vectors"], batch["mask"])


def energy_batch(jets: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return jets with the multiplicities of AK4 jets, 30 constituents on average."""
    collections = {}
    for name, width in FEATURES.items():
        counts = rng.poisson(MULTIPLICITIES[name] * rng.gamma(4.0, 0.25, jets))
        values = rng.normal(size=(counts.sum(), width)).astype(np.float32)
        positions = rng.normal(0, 0.15, size=(counts.sum(), 2)).astype(np.float32)
        offsets = np.concatenate(([0], counts.cumsum()))
        pt = rng.exponential(3.0, counts.sum()).astype(np.float32)
        arrays = map(torch.from_numpy, (values, offsets, positions, pt))
        collections[name] = Collection(*arrays)
    return {
        "collections": collections,
        "jets": torch.from_numpy(rng.normal(size=(jets, JET_FEATURES)).astype(np.float32)),
        "target": torch.from_numpy(rng.normal(0, 0.2, size=(jets, 1)).astype(np.float32)),
    }


def energy_prediction(network: nn.Module, batch: dict[str, Any]) -> Tensor:
    """Return the logarithms of the corrections, (B, 1)."""
    return network(batch["collections"], batch["jets"])


def energy_loss(network: nn.Module, batch: dict[str, Any]) -> Tensor:
    """Return the mean absolute error."""
    return functional.l1_loss(energy_prediction(network, batch), batch["target"])


def _energy(
    network: type, config: DeepSetsConfig | ParticleNetConfig | JetTransformerConfig
) -> Network:
    def make() -> nn.Module:
        return network(config, FEATURES, JET_FEATURES)

    # Neighbours of neighbours change with the last bit.
    equal = () if network is ParticleNet else ("fp32",)
    return Network(
        make, energy_batch, energy_loss, energy_prediction, sizes=(2048, 8192), equal=equal
    )


OBJECTS, OBJECT_FEATURES = 6, 9
MEMBERS = 50


def event_batch(events: int, rng: np.random.Generator, shape: tuple[int, ...] = ()) -> dict:
    """Return events of six slots, a seventh of them empty, with a leading shape."""
    shape = (*shape, events // int(np.prod(shape)))
    mask = rng.random((*shape, OBJECTS)) < 0.86
    objects = rng.normal(size=(*mask.shape, OBJECT_FEATURES)).astype(np.float32)
    objects[~mask] = -99
    arrays = {"objects": objects, "mask": mask, "label": rng.integers(0, 2, shape)}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def event_prediction(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Return logits, (…, 2)."""
    return network(batch["objects"], batch["mask"])


def event_loss(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Return the cross-entropy; of an ensemble the mean over its members."""
    logits = event_prediction(network, batch).float()
    return functional.cross_entropy(logits.flatten(0, -2), batch["label"].flatten())


def object_transformer(masked: bool = False) -> nn.Module:
    """Return the published network, or the one that ignores empty slots."""
    config = ObjectTransformerConfig(masked=masked)
    return ObjectTransformer(config, OBJECT_FEATURES, 2)


def _events(make: Callable[[], nn.Module]) -> Network:
    return Network(
        make,
        event_batch,
        event_loss,
        event_prediction,
        "events",
        fixed_shapes=lambda: as_it_is,
        sizes=(1024, 8192),
        equal=("fp32",),
    )


# Features of a constituent by itself: charge, five identities, displacement in two directions.
OWN_FEATURES = 10


def pretraining_batch(
    jets: int,
    rng: np.random.Generator,
    config: PatchEncoderConfig | ConstituentEncoderConfig,
    masks: TokenMasksConfig,
) -> dict[str, Any]:
    """Return jets with the multiplicities of JetClass-II, divided and masked."""
    padded = synthetic_batch(jets, rng)
    features = padded["features"][..., :OWN_FEATURES].contiguous()
    pt, eta, phi = coordinates(padded["vectors"])
    positions = torch.stack((eta, phi), dim=2)
    patches = None
    tokens, places = padded["mask"], positions
    if isinstance(config, PatchEncoderConfig):
        arrays = (x.numpy() for x in (positions, pt, padded["mask"]))
        patches = partition(*arrays, config.patches)
        tokens = patches.mask
        places = positions.gather(1, patches.centre[:, :, None].expand(-1, -1, 2))
    context, targets = token_masks(
        places.numpy(), tokens.numpy(), np.arange(jets), seed=1, pass_number=0, config=masks
    )
    batch = {
        "features": features,
        "vectors": padded["vectors"],
        "mask": padded["mask"],
        "context": torch.from_numpy(context),
        "targets": torch.from_numpy(targets.swapaxes(0, 1).copy()),
    }
    if patches is not None:
        batch |= {"patch": patches.of, "centre": patches.centre, "patch_mask": patches.mask}
    return {**batch, "sizes": step_room(batch, config.length_groups)}


def pretraining_loss(network: nn.Module, batch: dict[str, Any]) -> Tensor:
    """Return the smooth L1 distance of the hidden tokens, and let the teacher follow."""
    jets, targets = jets_of(batch), batch["targets"].swapaxes(0, 1)
    prediction = network(jets, batch["context"], targets, room=batch.get("room"))
    network.update_teacher(0.996)
    distance = functional.smooth_l1_loss(
        prediction.predicted.float(), prediction.target, reduction="none"
    )
    return mean_of_rows(distance, prediction.hidden.real)


def pretraining_prediction(network: nn.Module, batch: dict[str, Any]) -> Tensor:
    """Return the tokens of whole jets."""
    return network.encoder(jets_of(batch)).values


def _pretraining(
    config: PatchEncoderConfig | ConstituentEncoderConfig, masks: TokenMasksConfig
) -> Network:
    return Network(
        lambda: JointEmbedding(JointEmbeddingConfig(encoder=config), OWN_FEATURES),
        partial(pretraining_batch, config=config, masks=masks),
        pretraining_loss,
        pretraining_prediction,
        fixed_shapes=lambda: Rooms(config.length_groups),
        equal=("fp32",),
    )


NETWORKS = {
    "sophon": Network(own_network, jet_batch, cross_entropy(sophon_prediction), sophon_prediction),
    "deep_sets": _energy(DeepSets, DeepSetsConfig()),
    "deep_sets_lite": _energy(DeepSets, DeepSetsConfig.lite()),
    "particle_net": _energy(ParticleNet, ParticleNetConfig()),
    "particle_net_lite": _energy(ParticleNet, ParticleNetConfig.lite()),
    "jet_transformer": _energy(JetTransformer, JetTransformerConfig()),
    "object_transformer": _events(object_transformer),
    "object_transformer_masked": _events(partial(object_transformer, masked=True)),
    # Fifty networks with a batch each, of which the size is the total.
    "object_transformer_ensemble": replace(
        _events(lambda: Ensemble([object_transformer() for _ in range(MEMBERS)])),
        batch=partial(event_batch, shape=(MEMBERS,)),
        compile=None,
        sizes=(MEMBERS * 64, MEMBERS * 1024),
        equal=(),
    ),
    "joint_embedding_patches": _pretraining(PatchEncoderConfig(), TokenMasksConfig()),
    # A third of the constituents are hidden, the others seen.
    "joint_embedding_constituents": _pretraining(
        ConstituentEncoderConfig(),
        TokenMasksConfig(targets=1, target_ratio=(0.3, 0.4), context_ratio=(1.0, 1.0)),
    ),
}

WEAVER = Network(
    weaver_network,
    jet_batch,
    cross_entropy(weaver_prediction),
    weaver_prediction,
    compile=None,
    equal=(),
)


def to_device(batch: Any, device: torch.device) -> Any:
    """Move the tensors of a batch."""
    return pytree.tree_map_only(torch.Tensor, lambda x: x.to(device), batch)


def training_step(
    entry: Network, network: nn.Module, precision: str, compiled: bool
) -> Callable[[Any], Any]:
    """Return a function that trains on a batch as `fit` does."""
    network.train()
    device = next(network.parameters()).device
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)

    def update(batch: Any) -> Numbers:
        optimizer.zero_grad()
        with autocast(device.type, precision):
            loss = entry.loss(network, batch)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        return {"loss": loss.detach()}, norm

    if compiled and entry.fixed_shapes is not None and device.type == "cuda":
        captured, fixed = CapturedUpdate(update, network, optimizer), entry.fixed_shapes()
        return lambda batch: captured(fixed(batch))
    return update


def prediction_step(entry: Network, network: nn.Module, precision: str) -> Callable[[Any], Any]:
    """Return a function that predicts a batch."""
    device = next(network.parameters()).device

    def predict(batch: Any) -> Tensor:
        network.eval()
        with torch.no_grad(), autocast(device.type, precision):
            return entry.predict(network, batch)

    return predict


def autocast(device: str, precision: str) -> torch.autocast:
    """Return the context of a precision."""
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bf16")


def measure(
    entry: Network,
    device: torch.device,
    batch_size: int,
    precision: str = "fp32",
    steps: int = 10,
    compiled: bool = False,
) -> dict[str, float]:
    """Return units per second of training, with the optimiser's step, and of prediction."""
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    network = entry.make().to(device)
    if compiled and entry.compile is not None:
        entry.compile(network)
    batches = [to_device(entry.batch(batch_size, rng), device) for _ in range(4)]
    train = training_step(entry, network, precision, compiled)
    predict = prediction_step(entry, network, precision)
    rates = {}
    for name, action in (("training", train), ("prediction", predict)):
        network.train(name == "training")
        for batch in batches:
            action(batch)
        seconds = []
        for step in range(steps):
            started = clock(device)
            action(batches[step % len(batches)])
            seconds.append(clock(device) - started)
        rates[name] = round(batch_size / float(np.median(seconds)), 1)
    return rates


def main() -> None:
    """Print units per second for the named networks, or for all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NETWORKS))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.names or NETWORKS:
        rates = measure(
            NETWORKS[name],
            torch.device(options.device),
            options.batch_size,
            options.precision,
            options.steps,
            options.compile,
        )
        print(json.dumps({"network": name, "unit": NETWORKS[name].unit, **rates}))


if __name__ == "__main__":
    main()
