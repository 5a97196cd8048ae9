"""How good jet energy corrections are: response, resolution, flavour dependence, closure.

The response of a jet is corrected pT over that of its GEN-jet. Bins and definitions are those of
jec-gnn (Holmberg, Helsinki 2022); errors come from resampling events, the same samples for all
corrections, so that the error of a ratio knows that both saw the same jets.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

# Bins of the GEN-jet's pT, GeV, and of |η|.
PT_EDGES = np.geomspace(20, 3000, 20)
WIDE_BINS = ((30, np.inf), (30, 50), (50, 100), (100, 300), (300, 1000), (1000, np.inf))
ETA_REGIONS = ((0.0, 2.5), (2.5, 5.0))
# Where distributions of the response are shown.
DISTRIBUTION_BINS = ((30, 40), (100, 110), (1000, 1100))
DISTRIBUTION_EDGES = np.linspace(0.5, 1.5, 101)

# PDG codes of the groups of flavours; jets without a flavour are in `all` only.
FLAVOURS: dict[str, tuple[int, ...] | None] = {
    "all": None,
    "uds": (1, 2, 3),
    "c": (4,),
    "b": (5,),
    "g": (21,),
}
SINGLE_FLAVOURS: dict[str, tuple[int, ...]] = {
    "u": (2,),
    "d": (1,),
    "s": (3,),
    "c": (4,),
    "b": (5,),
    "g": (21,),
}
PAIRS = tuple(combinations(("uds", "c", "b", "g"), 2))

# Bins with fewer jets are empty: their quartiles mean nothing.
FEWEST_JETS = 30
CLOSURE = 0.01
REPLICAS = 30


@dataclass(frozen=True)
class ResponseJets:
    """Jets to evaluate corrections with.

    Attributes
    ----------
    pt_gen
        float64 (n,): pT of the GEN-jets, GeV.
    eta
        float64 (n,): η of the jets.
    flavour
        int (n,): 1 to 5 or 21; 0 for none (`jet_flavour.combined_flavour`).
    event
        int (n,): number of the event, any; jets of one event share it. Where events are alike in
        batches, number of the batch: it is these that are resampled.
    """

    pt_gen: np.ndarray
    eta: np.ndarray
    flavour: np.ndarray
    event: np.ndarray


@dataclass(frozen=True)
class EventBootstrap:
    """How often each event is drawn: once in the first row, with replacement in the others.

    Attributes
    ----------
    weights
        int32 (1 + n_replicas, n_events).
    event
        int64 (n_jets,): column of each jet's event.
    """

    weights: np.ndarray
    event: np.ndarray

    @staticmethod
    def of(event: np.ndarray, n_replicas: int = REPLICAS, seed: int = 0) -> "EventBootstrap":
        """Draw the replicas for jets with these numbers of events."""
        numbers, column = np.unique(event, return_inverse=True)
        n_events = len(numbers)
        rng = np.random.default_rng(seed)
        weights = np.ones((1 + n_replicas, n_events), np.int32)
        for row in weights[1:]:
            row[:] = np.bincount(rng.integers(n_events, size=n_events), minlength=n_events)
        return EventBootstrap(weights, column)

    def quantiles(
        self, values: np.ndarray, jets: np.ndarray, levels: tuple[float, ...]
    ) -> np.ndarray:
        """Return quantiles of the values of some jets in each replica.

        Parameters
        ----------
        values
            float64 (n_jets,).
        jets
            int64 (n_chosen,): positions of the jets.
        levels
            Quantile levels.

        Returns
        -------
        numpy.ndarray
            float64 (1 + n_replicas, n_levels): what `numpy.quantile` gives for the sample in which
            each jet occurs as often as its event was drawn; NaN for an empty sample.
        """
        chosen = values[jets]
        order = np.argsort(chosen, kind="stable")
        chosen, event = chosen[order], self.event[jets][order]
        result = np.full((len(self.weights), len(levels)), np.nan)
        for replica, weights in enumerate(self.weights):
            ends = np.cumsum(weights[event])
            total = ends[-1] if len(ends) else 0
            if total == 0:
                continue
            place = (total - 1) * np.asarray(levels)
            low = np.floor(place).astype(np.int64)
            high = np.minimum(low + 1, total - 1)
            below, above = (chosen[np.searchsorted(ends, k, side="right")] for k in (low, high))
            result[replica] = below + (place - low) * (above - below)
        return result


def evaluate_response(
    jets: ResponseJets,
    corrected: Mapping[str, np.ndarray],
    baseline: str = "standard",
    n_replicas: int = REPLICAS,
    seed: int = 0,
) -> dict:
    """Compare corrections on the same jets.

    Parameters
    ----------
    jets
        The jets.
    corrected
        Name → corrected pT (n,) in GeV; `baseline` must be among them.
    baseline
        What the others are compared with.
    n_replicas, seed
        How many samples of events give the errors, and their seed.

    Returns
    -------
    dict
        Plain JSON values, None where a bin is empty. By region of |η| (`0-2.5`), then:

        - `median`, `resolution` (IQR/median): by flavour and correction, in `PT_EDGES`;
        - `improvement`: by flavour and correction, 100 (1 − ratio of resolutions to the baseline)
          in `WIDE_BINS`, of all jets of a wide bin (`value`) and averaged, unweighted, over the
          bins of `PT_EDGES` whose centre lies in it (`mean`);
        - `flavour_dependence`: by correction, Σ |m − m̄| over the medians of u, d, s, c, b and g in
          `WIDE_BINS`, and its reduction in per cent of the baseline's;
        - `residual`: by pair of flavours and correction, difference of medians in `PT_EDGES`;
        - `closure`: by correction, how far medians are from 1 in `PT_EDGES`;
        - `distributions`: by bin of pT, flavour and correction, counts in 100 bins.
    """
    bootstrap = EventBootstrap.of(jets.event, n_replicas, seed)
    response = {name: np.asarray(pt, np.float64) / jets.pt_gen for name, pt in corrected.items()}
    regions = {}
    for low, high in ETA_REGIONS:
        eta = np.abs(jets.eta)
        inside = np.flatnonzero((eta >= low) & (eta < high))
        regions[f"{low:g}-{high:g}"] = _evaluate_region(jets, inside, response, baseline, bootstrap)
    return {
        "baseline": baseline,
        "corrections": list(corrected),
        "jets": len(jets.pt_gen),
        "events": bootstrap.weights.shape[1],
        "replicas": n_replicas,
        "seed": seed,
        "pt_edges": PT_EDGES.tolist(),
        "wide_bins": [wide_name(*edges) for edges in WIDE_BINS],
        "regions": regions,
    }


def wide_name(low: float, high: float) -> str:
    """Return the name of a bin in pT: `30-50`, `30-inf`."""
    return f"{low:g}-{high:g}"


class _Quartiles:
    """Quartiles of the response in each replica, computed once for each group of jets."""

    def __init__(
        self,
        jets: ResponseJets,
        inside: np.ndarray,
        response: Mapping[str, np.ndarray],
        bootstrap: EventBootstrap,
    ) -> None:
        self._pt, self._flavour = jets.pt_gen, np.abs(jets.flavour)
        self._inside, self._response, self._bootstrap = inside, response, bootstrap
        self._known: dict[tuple, np.ndarray] = {}

    def chosen(self, codes: tuple[int, ...] | None, low: float, high: float) -> np.ndarray:
        """Return the positions of the jets of a group."""
        pt = self._pt[self._inside]
        own = (pt >= low) & (pt < high)
        if codes is not None:
            own &= np.isin(self._flavour[self._inside], codes)
        return self._inside[own]

    def count(self, codes: tuple[int, ...] | None, low: float, high: float) -> int:
        """Return the number of jets of a group."""
        return len(self.chosen(codes, low, high))

    def of(self, name: str, codes: tuple[int, ...] | None, low: float, high: float) -> np.ndarray:
        """Return the quartiles (1 + n_replicas, 3) of a correction, NaN for too few jets."""
        key = (name, codes, low, high)
        if key not in self._known:
            chosen = self.chosen(codes, low, high)
            if len(chosen) < FEWEST_JETS:
                quartiles = np.full((len(self._bootstrap.weights), 3), np.nan)
            else:
                levels = (0.25, 0.5, 0.75)
                quartiles = self._bootstrap.quantiles(self._response[name], chosen, levels)
            self._known[key] = quartiles
        return self._known[key]

    def median(
        self, name: str, codes: tuple[int, ...] | None, low: float, high: float
    ) -> np.ndarray:
        """Return the median in each replica."""
        return self.of(name, codes, low, high)[:, 1]

    def resolution(
        self, name: str, codes: tuple[int, ...] | None, low: float, high: float
    ) -> np.ndarray:
        """Return IQR/median in each replica."""
        lower, median, upper = self.of(name, codes, low, high).T
        return (upper - lower) / median


def _evaluate_region(
    jets: ResponseJets,
    inside: np.ndarray,
    response: Mapping[str, np.ndarray],
    baseline: str,
    bootstrap: EventBootstrap,
) -> dict:
    quartiles = _Quartiles(jets, inside, response, bootstrap)
    narrow = list(pairwise(PT_EDGES.tolist()))

    def curve(quantity: Callable, codes: tuple[int, ...] | None, name: str) -> dict:
        return _summaries([quantity(name, codes, *edges) for edges in narrow])

    return {
        "jets": {
            flavour: [quartiles.count(codes, *edges) for edges in narrow]
            for flavour, codes in FLAVOURS.items()
        },
        "median": {
            flavour: {name: curve(quartiles.median, codes, name) for name in response}
            for flavour, codes in FLAVOURS.items()
        },
        "resolution": {
            flavour: {name: curve(quartiles.resolution, codes, name) for name in response}
            for flavour, codes in FLAVOURS.items()
        },
        "improvement": {
            flavour: {
                name: _improvements(quartiles, narrow, codes, name, baseline) for name in response
            }
            for flavour, codes in FLAVOURS.items()
        },
        "flavour_dependence": {
            name: {
                wide_name(*edges): _dependence(quartiles, edges, name, baseline)
                for edges in WIDE_BINS
            }
            for name in response
        },
        "residual": {
            f"{one}-{other}": {
                name: _summaries(
                    [
                        quartiles.median(name, FLAVOURS[one], *edges)
                        - quartiles.median(name, FLAVOURS[other], *edges)
                        for edges in narrow
                    ]
                )
                for name in response
            }
            for one, other in PAIRS
        },
        "closure": {name: _closure(quartiles, narrow, name) for name in response},
        "distributions": _distributions(quartiles, response),
    }


def _improvements(
    quartiles: _Quartiles,
    narrow: list[tuple[float, float]],
    codes: tuple[int, ...] | None,
    name: str,
    baseline: str,
) -> dict:
    def gain(edges: tuple[float, float]) -> np.ndarray:
        own, other = (quartiles.resolution(who, codes, *edges) for who in (name, baseline))
        return 100 * (1 - own / other)

    result = {}
    for low, high in WIDE_BINS:
        within = [edges for edges in narrow if low <= np.sqrt(edges[0] * edges[1]) < high]
        gains = np.array([gain(edges) for edges in within])
        filled = gains[~np.isnan(gains).any(axis=1)] if len(gains) else gains
        mean = filled.mean(axis=0) if len(filled) else np.full(1, np.nan)
        result[wide_name(low, high)] = {
            **summarise_replicas(gain((low, high))),
            "mean": summarise_replicas(mean),
        }
    return result


def _dependence(
    quartiles: _Quartiles, edges: tuple[float, float], name: str, baseline: str
) -> dict:
    """Return the spread of medians over flavours, and how much less it is than the baseline's.

    Flavours without enough jets are left out for both.
    """

    def spread(who: str) -> np.ndarray:
        medians = [quartiles.median(who, codes, *edges) for codes in SINGLE_FLAVOURS.values()]
        filled = np.array([values for values in medians if not np.isnan(values).any()])
        if len(filled) < 2:
            return np.full(1, np.nan)
        return np.abs(filled - filled.mean(axis=0)).sum(axis=0)

    own, other = spread(name), spread(baseline)
    return {**summarise_replicas(own), "reduction": summarise_replicas(100 * (1 - own / other))}


def _closure(quartiles: _Quartiles, narrow: list[tuple[float, float]], name: str) -> dict:
    """Return the largest distance of a median from 1, and how many bins are farther than 1 %.

    `bins_surely_beyond` counts those that are so by more than twice their error.
    """
    medians = [summarise_replicas(quartiles.median(name, None, *edges)) for edges in narrow]
    filled = [
        (edges, bin_median)
        for edges, bin_median in zip(narrow, medians, strict=True)
        if bin_median["value"] is not None
    ]
    if not filled:
        return {"filled_bins": 0, "bins_beyond": 0, "bins_surely_beyond": 0, "worst": None,
                "worst_error": None, "worst_bin": None}  # fmt: skip
    edges, worst = max(filled, key=lambda entry: abs(entry[1]["value"] - 1))
    return {
        "filled_bins": len(filled),
        "bins_beyond": sum(abs(median["value"] - 1) > CLOSURE for _, median in filled),
        "bins_surely_beyond": sum(
            abs(median["value"] - 1) - 2 * median["error"] > CLOSURE for _, median in filled
        ),
        "worst": worst["value"] - 1,
        "worst_error": worst["error"],
        "worst_bin": list(edges),
    }


def _distributions(quartiles: _Quartiles, response: Mapping[str, np.ndarray]) -> dict:
    result: dict = {}
    for low, high in DISTRIBUTION_BINS:
        own: dict = {}
        for flavour in ("uds", "b", "g"):
            chosen = quartiles.chosen(FLAVOURS[flavour], low, high)
            own[flavour] = {
                name: np.histogram(values[chosen], DISTRIBUTION_EDGES)[0].tolist()
                for name, values in response.items()
            }
        result[wide_name(low, high)] = own
    return result


def summarise_replicas(replicas: np.ndarray) -> dict:
    """Return the value of the first replica, which is the sample itself, and the others' spread.

    Parameters
    ----------
    replicas
        (1 + n_replicas,).

    Returns
    -------
    dict
        `value` and `error`; None where the sample cannot tell.
    """
    if not np.isfinite(replicas[0]):
        return {"value": None, "error": None}
    others = replicas[1:][np.isfinite(replicas[1:])]
    error = float(np.std(others, ddof=1)) if len(others) > 1 else None
    return {"value": float(replicas[0]), "error": error}


def _summaries(bins: list[np.ndarray]) -> dict:
    """Return lists of values and errors, one per bin."""
    summaries = [summarise_replicas(replicas) for replicas in bins]
    return {key: [summary[key] for summary in summaries] for key in ("value", "error")}
