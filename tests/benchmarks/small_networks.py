"""Networks for the benchmark of GPUs: one that works and some that do not."""

import os
import time
from dataclasses import replace

from torch import nn

from benchmarks import networks
from benchmarks.part import CLASSES, FEATURES
from training.models.particle_transformer import ParticleTransformer
from training.models.sizes import ParticleTransformerConfig

SMALL = ParticleTransformerConfig(
    embedding=(16, 16), pair_embedding=(8,), heads=2, blocks=1, class_blocks=1, head=()
)


def small() -> nn.Module:
    """Return a network."""
    return ParticleTransformer(SMALL, FEATURES, CLASSES)


def broken() -> nn.Module:
    """Fail."""
    raise ValueError("no such\nnetwork")


def lost() -> nn.Module:
    """End the process."""
    os._exit(3)


def slow() -> nn.Module:
    """Take long."""
    time.sleep(60)
    return small()


SOPHON = networks.NETWORKS["sophon"]
WEAVER = replace(SOPHON, make=small)
NETWORKS = {
    "sophon": replace(SOPHON, make=small),
    "broken": replace(SOPHON, make=broken),
    "lost": replace(SOPHON, make=lost, equal=()),
    "slow": replace(SOPHON, make=slow, equal=()),
}
