"""What is pre-trained: recipes, and networks of two sizes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from training.config import FitConfig, load_config

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "training" / "configs"
# What differs from the configuration of the pre-training, piece by piece. The first is that file's
# own recipe.
RECIPES: dict[str, tuple[str, ...]] = {
    "published": (),
    "features": ("tokens", "features"),
    "shape": ("tokens", "features", "shape"),
    "wide": ("tokens", "features", "wide", "shape"),
    "whole": ("tokens", "features", "wide", "shape", "all"),
    "heavy": ("tokens", "features", "wide", "heavy shape", "all"),
    "constituents": ("tokens", "features", "third", "shape"),
}
PIECES: dict[str, tuple[str, ...]] = {
    "tokens": ("regulariser={kind: vicreg, of: tokens, weight: 0.05, projector: [256, 128]}",),
    "features": ("masked_features=1.0",),
    "shape": ("jet_shape=3.0",),
    "heavy shape": ("jet_shape=10.0",),
    "all": ("jet_shape_from=all",),
    # The context is nearly all that is not hidden.
    "wide": (
        "masks={targets: 4, target_ratio: [0.1, 0.15], context_ratio: [0.85, 1.0]}",
        "model.target_layers=2",
    ),
    "third": ("masks={targets: 1, target_ratio: [0.3, 0.4], context_ratio: [1.0, 1.0]}",),
}
# Where networks are small, what is cheaper.
SMALL_PIECES = {
    "tokens": ("regulariser={kind: vicreg, of: tokens, weight: 0.05, projector: [64, 64]}",),
    "wide": (
        "masks={targets: 2, target_ratio: [0.15, 0.25], context_ratio: [0.85, 1.0]}",
        "model.target_layers=2",
    ),
}
# Sizes of large encoders of patches.
PATCHES = {"patches": 16, "blocks": 4, "registers": 4, "length_groups": 1}
SUPERVISED = "supervised"


class Networks(NamedTuple):
    """Networks of a size, and how they are trained."""

    pretraining: str  # configuration
    probe: str
    common: tuple[str, ...]
    batch: int
    studied: int  # batch of what is trained in the studies
    rates: tuple[float, ...]  # of which one is chosen there


LARGE = Networks(
    "joint-embedding.yaml",
    "probe.yaml",
    (
        "data.max_constituents=64", "data.workers=1", "data.validation_rows=2048",
        "run.compile=false", "model.predictor.blocks=2", "collapse={effective_rank: 1.1}",
        "optimizer.learning_rate=1.0e-3",
    ),
    256,
    128,
    (3e-4, 1e-3, 3e-3),
)  # fmt: skip
SMALL = Networks(
    "joint-embedding-small.yaml",
    "probe-small.yaml",
    ("data.validation_rows=1024", "optimizer.learning_rate=2.0e-3"),
    128,
    64,
    (1e-3, 4e-3),
)


def encoder_settings(recipe: str, small: bool) -> list[str]:
    """Return what differs from the encoder of the configuration."""
    if recipe == "constituents":
        sizes: dict[str, Any] = {"tokens": "constituents", "registers": 4}
        if small:
            sizes |= {"width": 32, "heads": 4, "blocks": 2, "feedforward_ratio": 2}
            sizes |= {"embedding": [32], "pair_bias": [16]}
        else:
            sizes |= {"blocks": 4, "embedding": [128]}
        return [f"model.encoder={json.dumps(sizes)}"]
    if small:
        return ["model.encoder.length_groups=1"]
    return [f"model.encoder.{name}={value}" for name, value in PATCHES.items()]


def pretraining(recipe: str, small: bool, more: Sequence[str] = ()) -> FitConfig:
    """Return the configuration of a pre-training."""
    networks = SMALL if small else LARGE
    settings = [*encoder_settings(recipe, small), *networks.common]
    settings.append(f"data.batch_size={networks.batch}")
    if recipe != SUPERVISED:
        parts = PIECES | (SMALL_PIECES if small else {})
        settings += [setting for piece in RECIPES[recipe] for setting in parts[piece]]
        return load_config(CONFIGS / networks.pretraining, [*settings, *more])
    own = [x for x in settings if not x.startswith(("model.predictor", "collapse"))]
    own += ["data.classes=null", "model.classifier.class_blocks=1", "optimizer.ema_decay=null"]
    return load_config(CONFIGS / networks.probe, [*own, *more])
