"""Controls for jet energy regression: corrections that know little, to tell what a network learns.

Both learn log(pT of the GEN-jet / pT) with the mean absolute error, as the networks do:

- boosted trees on numbers that sum a jet up (multiplicities, energy fractions, widths, ...);
- a small network that is told pT, η, mass and ρ only, and can learn no more than the spectrum. What
  it gains over the standard correction is the prior: no knowledge of jets.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from training.jec.calibration import LARGEST_TARGET

# What the network without knowledge is told.
PRIOR_INPUTS = ("log_pt", "eta", "mass", "rho")

_WIDTH, _LAYERS = 64, 3
_BATCH, _LEARNING_RATE = 512, 2e-3
_VALIDATION = 0.1
_EPOCHS, _PATIENCE = 60, 8


def fit_trees(
    inputs: Mapping[str, np.ndarray], target: np.ndarray, seed: int, threads: int | None = None
) -> HistGradientBoostingRegressor:
    """Fit boosted trees.

    Parameters
    ----------
    inputs
        Name → (n_jets,): what sums a jet up.
    target
        (n_jets,): log(pT of the GEN-jet / pT).
    seed
        Of the validation jets that stop the fit.
    threads
        To fit with; None: as many as there are cores.
    """
    table, target = _usable(inputs, target)
    trees = HistGradientBoostingRegressor(
        loss="absolute_error",
        max_iter=500,
        learning_rate=0.05,
        min_samples_leaf=50,
        l2_regularization=1.0,
        early_stopping=True,
        random_state=seed,
    )
    with threadpool_limits(threads, user_api="openmp"):
        return trees.fit(table, target)


def predict_trees(
    trees: HistGradientBoostingRegressor, inputs: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Return the logarithm of the correction factor, float64 (n_jets,)."""
    return trees.predict(_table(inputs))


@dataclass(frozen=True)
class PriorNetwork:
    """A fitted network of `PRIOR_INPUTS`, with the mean and width of each input."""

    network: torch.nn.Sequential
    mean: np.ndarray
    width: np.ndarray

    def predict(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the logarithm of the correction factor, float64 (n_jets,)."""
        table = _table({name: inputs[name] for name in PRIOR_INPUTS})
        values = torch.from_numpy(((table - self.mean) / self.width).astype(np.float32))
        with torch.inference_mode():
            return self.network(values)[:, 0].numpy().astype(np.float64)


def fit_prior_network(
    inputs: Mapping[str, np.ndarray], target: np.ndarray, seed: int
) -> PriorNetwork:
    """Fit the network that knows only pT, η, mass and ρ; arguments as for `fit_trees`."""
    table, target = _usable({name: inputs[name] for name in PRIOR_INPUTS}, target)
    mean, width = table.mean(axis=0), np.maximum(table.std(axis=0), 1e-6)
    values = torch.from_numpy(((table - mean) / width).astype(np.float32))
    wanted = torch.from_numpy(target.astype(np.float32))
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(wanted), generator=generator)
    n_validation = max(int(_VALIDATION * len(wanted)), 1)
    validation, training = order[:n_validation], order[n_validation:]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(len(PRIOR_INPUTS))
    optimiser = torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE)
    best, best_state, since = np.inf, network.state_dict(), 0
    for _ in range(_EPOCHS):
        shuffled = training[torch.randperm(len(training), generator=generator)]
        for batch in shuffled.split(_BATCH):
            optimiser.zero_grad()
            (network(values[batch])[:, 0] - wanted[batch]).abs().mean().backward()
            optimiser.step()
        with torch.inference_mode():
            loss = (network(values[validation])[:, 0] - wanted[validation]).abs().mean().item()
        since += 1
        if loss < best:
            best, since = loss, 0
            best_state = {name: value.clone() for name, value in network.state_dict().items()}
        if since >= _PATIENCE:
            break
    network.load_state_dict(best_state)
    return PriorNetwork(network.eval(), mean, width)


def _network(n_inputs: int) -> torch.nn.Sequential:
    layers: list[torch.nn.Module] = []
    for layer in range(_LAYERS):
        layers += [torch.nn.Linear(n_inputs if layer == 0 else _WIDTH, _WIDTH), torch.nn.SiLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(_WIDTH, 1))


def _table(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.stack([np.asarray(values, np.float64) for values in inputs.values()], axis=1)


def _usable(inputs: Mapping[str, np.ndarray], target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    target = np.asarray(target, np.float64)
    kept = np.abs(target) < LARGEST_TARGET
    return _table(inputs)[kept], target[kept]
