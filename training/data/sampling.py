"""Sampling weights: how often rows are drawn, so that classes become flat in chosen quantities.

A task says what they do (`SamplingScheme`): axes with bins, and groups of classes with shares. Over
the bins a group becomes flat, as far as statistics allow; between groups the shares hold. Weights
belong to a training: they are made from the rows that it trains on, and it refuses others.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from provenance.errors import UserError
from provenance.files import read_json, sha256, write_json
from provenance.ledger import check_ledger, write_ledger
from training.checkpoint import make_task
from training.config import FitConfig
from training.data.reader import RowGroup, SamplingScheme, Scalars
from training.data.shards import AnyReader, open_dataset, read_scalars, training_rows

# A group is flattened to the content of its bins at this percentile.
REFERENCE_PERCENTILE = 10


@dataclass(frozen=True)
class SamplingWeights:
    """How often a row is drawn, by group and bin."""

    scheme: SamplingScheme
    acceptance: np.ndarray  # (n_groups, n_bins of each axis) in [0, 1]
    mean_acceptance: float  # over the rows that the weights were made from
    sha256: str  # of their file

    @classmethod
    def load(
        cls, path: Path, reader: AnyReader, config: FitConfig, dataset_sha256: str
    ) -> "SamplingWeights":
        """Read what `write_weights` wrote for this training.

        Raises
        ------
        UserError
            When the file is missing, damaged or holds something else, or was made from other rows
            than the training's.
        """
        scheme = _scheme(reader, config)
        check_ledger(path)
        content = read_json(path)
        try:
            drawn_from = dict(content["drawn_from"])
            axes = {name: tuple(edges) for name, edges in content["axes"].items()}
            groups = dict(content["groups"])
            acceptance = np.array([group["acceptance"] for group in groups.values()], float)
            mean_acceptance = float(content["mean_acceptance"])
        except (AttributeError, KeyError, TypeError, ValueError):
            raise UserError(f"{path}: not a file of `python -m training weights`") from None
        for key, own in _drawn_from(reader, config, dataset_sha256).items():
            if drawn_from.get(key) != own:
                raise UserError(
                    f"{path}: was made for the {key} {drawn_from.get(key)} but the training's is "
                    f"{own}: make it anew with `python -m training weights --config`"
                )
        own_axes = {name: tuple(axis.edges) for name, axis in scheme.axes.items()}
        if axes != own_axes or list(groups) != list(scheme.shares):
            raise UserError(
                f"{path}: has other bins or groups than this version: make it anew with "
                "`python -m training weights`"
            )
        bins = (len(groups), *(len(edges) - 1 for edges in axes.values()))
        in_range = (acceptance >= 0) & (acceptance <= 1)
        if acceptance.shape != bins or not in_range.all() or not 0 < mean_acceptance <= 1:
            raise UserError(
                f"{path}: holds acceptances that are none: {bins} of them from 0 to 1 are expected"
            )
        return cls(scheme, acceptance, mean_acceptance, sha256(path))

    def copies(
        self, scalars: Scalars, chosen: np.ndarray, max_resample: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Draw how often each row is used in this pass.

        The acceptance is scaled up so that a pass gives about as many rows as it reads, with at
        most `max_resample` copies of one: a pass then costs no more decoding than it must.

        Parameters
        ----------
        scalars
            Of all rows.
        chosen
            (n,) indices of the rows that may be drawn.
        max_resample
            Largest scale.
        rng
            Rounds the expectation up or down.

        Returns
        -------
        numpy.ndarray
            (n,) int64.
        """
        inside = np.ones(len(chosen), np.bool_)
        index = [self.scheme.group(scalars)[chosen]]
        for name, axis in self.scheme.axes.items():
            place = np.digitize(scalars[name][chosen], axis.edges) - 1
            fits = (place >= 0) & (place < len(axis.edges) - 1)
            inside &= fits
            index.append(np.where(fits, place, 0))
        acceptance = self.acceptance[tuple(index)] * inside
        scale = min(float(max_resample), 1 / self.mean_acceptance)
        return (acceptance * scale + rng.random(len(chosen))).astype(np.int64)


def count_rows(groups: list[RowGroup], reader: AnyReader, scheme: SamplingScheme) -> np.ndarray:
    """Count the selected rows of row groups by group and bin: (n_groups, n_bins of each axis)."""
    edges = [np.arange(len(scheme.shares) + 1) - 0.5]
    edges += [np.array(axis.edges, float) for axis in scheme.axes.values()]
    counts = np.zeros([len(edge) - 1 for edge in edges])
    for group in groups:
        scalars = read_scalars(group, reader)
        kept = reader.chosen(scalars, group.rows)
        values = [scheme.group(scalars), *(scalars[name] for name in scheme.axes)]
        counts += np.histogramdd(np.stack([v[kept] for v in values], axis=1), edges)[0]
    return counts


def write_weights(config: FitConfig, manifest: Path, output: Path) -> None:
    """Compute the sampling weights of a training, once for all epochs.

    Parameters
    ----------
    config
        The training.
    manifest
        Of its dataset.
    output
        JSON with the edges, the groups and their acceptances; its ledger and a figure of the
        spectra before and after are written beside it.

    Raises
    ------
    UserError
        When the task has no sampling weights, the dataset cannot be read or no row passes.
    """
    from training.evaluate.figures import draw_spectra

    started = time.perf_counter()
    reader = make_task(config).reader
    scheme = _scheme(reader, config)
    dataset = open_dataset(manifest, config, reader)
    counts = count_rows(training_rows(dataset, reader, config), reader, scheme)
    if not counts.sum():
        raise UserError(
            f"{manifest}: no training {reader.noun} passes the selection ({reader.selection})"
        )
    shares = np.array(list(scheme.shares.values()))
    acceptance = acceptance_of(counts, shares)
    drawn = counts * acceptance
    draw_spectra(output.with_suffix(""), scheme, counts, drawn, reader.noun)
    write_json(
        output,
        {
            "task": config.task,
            "drawn_from": _drawn_from(reader, config, dataset.sha256),
            "axes": {name: list(axis.edges) for name, axis in scheme.axes.items()},
            "mean_acceptance": float(drawn.sum() / counts.sum()),
            "groups": {
                name: {
                    "rows": int(counts[i].sum()),
                    "share": share,
                    "share_drawn": float(drawn[i].sum() / drawn.sum()),
                    "acceptance": acceptance[i].round(8).tolist(),
                }
                for i, (name, share) in enumerate(scheme.shares.items())
            },
        },
    )
    write_ledger(output, started, task=config.task, dataset_sha256=dataset.sha256)


def acceptance_of(counts: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Turn counts into acceptances that flatten each group and set the groups' shares.

    Parameters
    ----------
    counts
        (n_groups, n_bins of each axis) rows.
    shares
        (n_groups,) relative share of each group among the drawn rows.

    Returns
    -------
    numpy.ndarray
        Like `counts`, in [0, 1]. Within a group bins fuller than the `REFERENCE_PERCENTILE` of its
        bins come down to that one; emptier bins are kept whole, as nothing can fill them. A group
        without rows is left out.
    """
    acceptance = np.zeros(counts.shape)
    expected = np.zeros(len(counts))
    for i, count in enumerate(counts):
        filled = count[count > 0]
        if len(filled):
            # Bins that are empty by accident must not set the scale.
            typical = filled[filled > 0.01 * np.median(filled)]
            reference = np.percentile(typical, REFERENCE_PERCENTILE)
            np.divide(reference, count, out=acceptance[i], where=count > 0)
            acceptance[i] = np.minimum(acceptance[i], 1)
            expected[i] = (acceptance[i] * count).sum() / shares[i]
    if expected.any():
        scarcest = expected[expected > 0].min()
        factor = np.divide(scarcest, expected, out=np.zeros_like(expected), where=expected > 0)
        acceptance *= factor.reshape(-1, *(1,) * (counts.ndim - 1))
    return acceptance


def _scheme(reader: AnyReader, config: FitConfig) -> SamplingScheme:
    if reader.sampling is None:
        raise UserError(f"the task {config.task} has no sampling weights as it is configured")
    return reader.sampling


def _drawn_from(reader: AnyReader, config: FitConfig, dataset_sha256: str) -> dict[str, str]:
    """Return what the rows that a training trains on depend on."""
    subset = "all rows"
    if config.data.train_rows is not None:
        subset = f"{config.data.train_rows} rows of seed {config.seed}"
    return {"dataset": dataset_sha256, "selection": reader.selection, "subset": subset}
