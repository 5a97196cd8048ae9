"""Which tokens of a jet a network sees and which it predicts.

A mask depends on the seed, the jet and the pass over the data alone: on no batch, order or worker.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from training.models.sizes import TokenMasksConfig


def token_masks(
    positions: NDArray[np.float32],
    tokens: NDArray[np.bool_],
    jets: NDArray[np.int64],
    seed: int,
    pass_number: int,
    config: TokenMasksConfig,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Draw the masks of a batch.

    Parameters
    ----------
    positions
        (B, S, 2): η and φ of the tokens.
    tokens
        (B, S), true for real tokens.
    jets
        (B,) numbers that name the jets.
    seed, pass_number
        Of the training, and how often the jets were seen before.
    config
        What is drawn. A contiguous set has a token drawn at random and those nearest to it.

    Returns
    -------
    tuple
        The context (B, S) and the targets (config.targets, B, S). No token is in both. A jet of two
        tokens or more has a token at least in the context and in the first target; a jet of one
        has its token in the context.
    """
    context = np.zeros(tokens.shape, bool)
    targets = np.zeros((config.targets, *tokens.shape), bool)
    _draw(
        np.ascontiguousarray(positions, np.float32),
        tokens,
        jets.astype(np.uint64),
        np.array([seed % 2**64, pass_number], np.uint64),
        config.kind == "contiguous",
        np.array([config.target_ratio, config.context_ratio]),
        (context, targets),
    )
    return context, targets


@njit(cache=True)
def _mixed(word):
    """Scramble 64 bits (the finaliser of SplitMix64)."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


@njit(cache=True)
def _uniform(state):
    """Return a number in [0, 1) and advance the state, (1,)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    return (_mixed(state[0]) >> np.uint64(11)) * 2.0**-53


@njit(cache=True)
def _order(state, slots, positions, contiguous):
    """Order the tokens of a jet: from one of them outwards, or at random."""
    keys = np.empty(len(slots))
    if contiguous:
        centre = positions[slots[int(_uniform(state) * len(slots))]]
        for i in range(len(slots)):
            d_eta = positions[slots[i], 0] - centre[0]
            d_phi = (positions[slots[i], 1] - centre[1] + np.pi) % (2 * np.pi) - np.pi
            keys[i] = d_eta * d_eta + d_phi * d_phi
    else:
        for i in range(len(slots)):
            keys[i] = _uniform(state)
    return slots[np.argsort(keys, kind="mergesort")]


@njit(cache=True)
def _size(state, ratios, tokens):
    low, high = ratios
    return int(np.round((low + (high - low) * _uniform(state)) * tokens))


@njit(cache=True)
def _draw(positions, tokens, jets, key, contiguous, ratios, masks):
    context, targets = masks
    state = np.empty(1, np.uint64)
    for jet in range(len(jets)):
        state[0] = _mixed(_mixed(_mixed(key[0]) + jets[jet]) + key[1])
        slots = np.flatnonzero(tokens[jet])
        count = len(slots)
        if count == 0:
            continue
        for target in range(len(targets)):
            if count == 1:
                break
            size = min(max(_size(state, ratios[0], count), 1), count - 1)
            for slot in _order(state, slots, positions[jet], contiguous)[:size]:
                targets[target, jet, slot] = True
        order = _order(state, slots, positions[jet], contiguous)
        seen = 0
        for slot in order[: max(_size(state, ratios[1], count), 1)]:
            if not targets[:, jet, slot].any():
                context[jet, slot] = True
                seen += 1
        if seen:
            continue
        # The nearest token outside of the targets, or else outside of the first of them.
        for sets in (len(targets), 1):
            for slot in order:
                if not targets[:sets, jet, slot].any():
                    targets[:, jet, slot] = False
                    context[jet, slot] = True
                    seen = 1
                    break
            if seen:
                break
