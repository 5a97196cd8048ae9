"""Optimisers and schedules of the learning rate, from their configuration."""

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from training import config as configuration
from training.config import Cosine, WarmupFlatDecay

Schedule = LambdaLR | ReduceLROnPlateau


def make_optimizer(network: nn.Module, config: configuration.Optimizer) -> Optimizer:
    """Return an optimiser of what is to be trained.

    It decays matrices only, not biases, norms, scales and tokens.
    """
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for parameter in filter(lambda parameter: parameter.requires_grad, network.parameters()):
        # A token has axes of length one before its own; a matrix may have a single row.
        is_matrix = parameter.ndim == 2 or parameter.squeeze().ndim > 1
        (matrices if is_matrix else others).append(parameter)
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    rate = config.learning_rate
    match config:
        case configuration.AdamW():
            return torch.optim.AdamW(
                groups, lr=rate, betas=config.betas, eps=config.epsilon, fused=True
            )
        case configuration.Adam():
            return torch.optim.Adam(
                groups, lr=rate, betas=config.betas, eps=config.epsilon, fused=True
            )
        case configuration.SGD():
            return torch.optim.SGD(groups, lr=rate, momentum=config.momentum, fused=True)


def make_schedule(optimizer: Optimizer, config: configuration.Schedule, steps: int) -> Schedule:
    """Return the schedule of a training of so many steps.

    A `LambdaLR` is stepped with every batch, a `ReduceLROnPlateau` with every validation's loss.
    """
    match config:
        case configuration.WarmupFlatDecay():
            return LambdaLR(optimizer, warmup_flat_decay(config, steps))
        case configuration.Cosine():
            return LambdaLR(optimizer, cosine(config, steps))
        case configuration.Plateau():
            return ReduceLROnPlateau(
                optimizer,
                factor=config.factor,
                patience=config.patience,
                threshold=config.min_delta,
                threshold_mode="abs",
            )


def warmup_flat_decay(config: WarmupFlatDecay, steps: int) -> Callable[[int], float]:
    """Return step → share of the learning rate: linear rise, flat, exponential fall."""
    warmup, flat = config.warmup * steps, config.flat * steps

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if step <= flat:
            return 1.0
        return math.exp(math.log(config.final_fraction) * (step - flat) / max(steps - flat, 1))

    return factor


def cosine(config: Cosine, steps: int) -> Callable[[int], float]:
    """Return step → share of the learning rate: linear rise, half a period of a cosine."""
    warmup = config.warmup * steps

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        done = min((step - warmup) / max(steps - warmup, 1), 1)
        return (
            config.final_fraction + (1 - config.final_fraction) * (1 + math.cos(math.pi * done)) / 2
        )

    return factor
