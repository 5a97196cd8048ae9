"""The standard correction that a network has to beat, made like that of CMS (arXiv:1607.03663).

- *L1*, for jets with pile-up in them (CHS, not PUPPI): pT − c(|η|) · ρ · area. The factor c comes
  from how the response grows with ρ · area at a given pT of the GEN-jet.
- *L2Relative*: one over the median response in |η| and pT, by numerical inversion. The median of pT
  as a function of the GEN-jet's, m(g), is fitted smoothly; a jet of pT = m(g) is corrected to g.
  A median goes along with a monotonic function, so that corrected jets have the median 1 at any g.

Both are fitted by median regression, and not in bins: |response − model| is minimised with cubic
splines in log pT, in each region of |η|.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import BSpline

from provenance.errors import UserError

# Regions of |η|: the tracker ends at 2.5, calorimeters change at 1.5 and 3.
ETA_EDGES = (0.0, 0.5, 1.0, 1.3, 1.6, 1.9, 2.2, 2.5, 2.8, 3.2, 3.8, 5.0)
# Response is fitted from this pT of the GEN-jet on, GeV, and from this share of the lowest jet's:
# far below it only jets that fluctuated upwards are left, of which no response can be learnt.
PT_GEN_MIN = 12.0
THRESHOLD_SHARE = 0.8
# Corrected pT is at least this fraction of the uncorrected one after L1.
SMALLEST_FRACTION = 0.01
# Jets of a region below which nothing can be fitted, and for each piece of a spline.
FEWEST_JETS = 50
JETS_PER_PIECE = 300
MOST_PIECES = 10
# Points in log pT of the tables.
GRID = 400

_STEPS = 60
_ACCURACY = 1e-6
_SMALLEST_RESIDUAL = 1e-4


@dataclass(frozen=True)
class StandardCorrection:
    """A fitted correction.

    Attributes
    ----------
    eta_edges
        float64 (n_regions + 1,): edges in |η|; jets beyond the last belong to the last region.
    offset
        float64 (n_regions,): c of L1; None without L1.
    log_pt
        float64 (n_regions, 2): range of log pT (after L1, GeV) of each region's table.
    log_factor
        float64 (n_regions, n_points): log of L2Relative's factor at evenly spaced log pT.
    """

    eta_edges: np.ndarray
    offset: np.ndarray | None
    log_pt: np.ndarray
    log_factor: np.ndarray

    def factor(
        self,
        pt_raw: np.ndarray,
        eta: np.ndarray,
        rho: np.ndarray | None = None,
        area: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return corrected over uncorrected pT, float64 (n_jets,).

        Parameters
        ----------
        pt_raw, eta
            (n_jets,): uncorrected pT in GeV, and η.
        rho, area
            (n_jets,): energy density in GeV and area; needed with L1 only.
        """
        region = _region(eta, self.eta_edges)
        offset = _offset_factor(pt_raw, region, self.offset, rho, area)
        log_pt = np.log(np.maximum(np.asarray(pt_raw, np.float64) * offset, 1e-6))
        low, high = self.log_pt[region].T
        n_points = self.log_factor.shape[1]
        place = np.clip((log_pt - low) / (high - low), 0, 1) * (n_points - 1)
        left = np.minimum(place.astype(np.int64), n_points - 2)
        right_part = place - left
        value = self.log_factor[region, left] * (1 - right_part)
        value += self.log_factor[region, left + 1] * right_part
        return offset * np.exp(value)

    def as_dict(self) -> dict:
        """Return the correction as plain JSON values."""
        return {
            "eta_edges": self.eta_edges.tolist(),
            "offset": None if self.offset is None else self.offset.tolist(),
            "log_pt": self.log_pt.tolist(),
            "log_factor": self.log_factor.tolist(),
        }

    @staticmethod
    def from_dict(content: dict) -> "StandardCorrection":
        """Return the correction that `as_dict` described."""
        offset = content["offset"]
        return StandardCorrection(
            np.array(content["eta_edges"], np.float64),
            None if offset is None else np.array(offset, np.float64),
            np.array(content["log_pt"], np.float64),
            np.array(content["log_factor"], np.float64),
        )


def fit_standard(
    pt_raw: np.ndarray,
    eta: np.ndarray,
    pt_gen: np.ndarray,
    rho: np.ndarray | None = None,
    area: np.ndarray | None = None,
    eta_edges: tuple[float, ...] = ETA_EDGES,
    pt_gen_min: float | None = None,
) -> StandardCorrection:
    """Fit the standard correction to training jets.

    Parameters
    ----------
    pt_raw, eta, pt_gen
        (n_jets,): uncorrected pT (GeV) and η of jets, and pT (GeV) of their GEN-jets.
    rho, area
        (n_jets,): energy density (GeV) and area, for jets that need L1; None for PUPPI jets.
    eta_edges
        Edges of the regions in |η|, from 0. Regions with fewer than `FEWEST_JETS` jets are joined
        to the one below, the first ones to the one above.
    pt_gen_min
        Lowest pT of GEN-jets, GeV; None: `lowest_gen` of the jets.

    Raises
    ------
    UserError
        When values are not finite or not positive, or there are too few jets.
    """
    columns = {"pT": pt_raw, "eta": eta, "pT of the GEN-jet": pt_gen, "rho": rho, "area": area}
    values = {
        name: np.asarray(column, np.float64)
        for name, column in columns.items()
        if column is not None
    }
    for name, column in values.items():
        wrong = ~np.isfinite(column) | ((column <= 0) & name.startswith("pT"))
        if wrong.any():
            raise UserError(
                f"{name} is not finite or not positive for {wrong.sum()} of {len(wrong)} jets: no "
                "correction can be fitted to them"
            )
    if pt_gen_min is None:
        pt_gen_min = lowest_gen(values["pT"])
    chosen = values["pT of the GEN-jet"] >= pt_gen_min
    values = {name: column[chosen] for name, column in values.items()}
    edges = _populated(np.abs(values["eta"]), np.asarray(eta_edges, np.float64))
    region = _region(values["eta"], edges)
    with_offset = rho is not None and area is not None
    offset = np.zeros(len(edges) - 1) if with_offset else None
    log_pt, log_factor = np.empty((len(edges) - 1, 2)), np.empty((len(edges) - 1, GRID))
    for number in range(len(edges) - 1):
        own = {name: column[region == number] for name, column in values.items()}
        pt, gen = own["pT"], own["pT of the GEN-jet"]
        spline = _Spline.over(np.log(gen))
        if offset is not None:
            density = own["rho"] * own["area"]
            design = np.column_stack([spline.design(np.log(gen)), density / gen])
            offset[number] = max(_median_regression(design, pt / gen)[-1], 0.0)
            pt = np.maximum(pt - offset[number] * density, SMALLEST_FRACTION * pt)
        response = _median_regression(spline.design(np.log(gen)), pt / gen)
        log_pt[number], log_factor[number] = _invert(spline, response)
    return StandardCorrection(edges, offset, log_pt, log_factor)


def lowest_gen(pt_raw: np.ndarray) -> float:
    """Return from which pT of the GEN-jet on, GeV, jets of these pT tell a response."""
    return max(PT_GEN_MIN, THRESHOLD_SHARE * float(np.min(pt_raw, initial=np.inf)))


@dataclass(frozen=True)
class _Spline:
    """Cubic splines over a range, with pieces of about equally many values."""

    knots: np.ndarray

    @staticmethod
    def over(values: np.ndarray) -> "_Spline":
        pieces = int(np.clip(len(values) // JETS_PER_PIECE, 1, MOST_PIECES))
        inner = np.quantile(values, np.linspace(0, 1, pieces + 1))
        inner = np.unique(inner)
        return _Spline(np.concatenate(([inner[0]] * 3, inner, [inner[-1]] * 3)))

    def design(self, values: np.ndarray) -> np.ndarray:
        inside = np.clip(values, self.knots[0], self.knots[-1])
        return BSpline.design_matrix(inside, self.knots, 3).toarray()


def _region(eta: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.clip(np.searchsorted(edges, np.abs(eta), side="right") - 1, 0, len(edges) - 2)


def _populated(eta: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return edges without those that cut off regions of too few jets."""
    if len(eta) < FEWEST_JETS:
        raise UserError(
            f"{len(eta)} jets to fit a correction to; {FEWEST_JETS} are the fewest that can be used"
        )
    kept = [edges[0]]
    for upper in edges[1:-1]:
        if ((eta >= kept[-1]) & (eta < upper)).sum() >= FEWEST_JETS:
            kept.append(upper)
    while len(kept) > 1 and (eta >= kept[-1]).sum() < FEWEST_JETS:
        kept.pop()
    return np.array([*kept, edges[-1]])


def _offset_factor(
    pt_raw: np.ndarray,
    region: np.ndarray,
    offset: np.ndarray | None,
    rho: np.ndarray | None,
    area: np.ndarray | None,
) -> np.ndarray:
    """Return the factor of L1, float64 (n_jets,)."""
    pt_raw = np.asarray(pt_raw, np.float64)
    if offset is None:
        return np.ones(len(pt_raw))
    if rho is None or area is None:
        raise UserError("this correction has a pile-up offset (L1): it needs rho and the jet area")
    density = np.asarray(rho, np.float64) * np.asarray(area, np.float64)
    return np.maximum(1 - offset[region] * density / pt_raw, SMALLEST_FRACTION)


def _median_regression(design: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return coefficients (k,) that minimise Σ |values − design · coefficients|.

    By reweighted least squares: each residual weighs one over its size in the step before.
    """
    weight = np.ones(len(values))
    ridge = 1e-9 * np.eye(design.shape[1])
    coefficients = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        weighted = design * weight[:, None]
        matrix = weighted.T @ design
        following = np.linalg.solve(matrix + ridge * np.trace(matrix), weighted.T @ values)
        arrived = np.abs(following - coefficients).max() < _ACCURACY
        coefficients = following
        if arrived:
            break
        residual = np.abs(values - design @ coefficients)
        weight = 1 / np.maximum(residual, _SMALLEST_RESIDUAL)
    return coefficients


def _invert(spline: _Spline, response: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the range of log pT and the table of log(g / m(g)) at evenly spaced log m."""
    log_gen = np.linspace(spline.knots[0], spline.knots[-1], 4 * GRID)
    median = np.maximum(spline.design(log_gen) @ response, SMALLEST_FRACTION)
    # Below their threshold only jets that fluctuated upwards are left: there m(g) may fall. A
    # correction has to rise with pT; of several g it takes the largest, above the threshold.
    log_median = np.minimum.accumulate((log_gen + np.log(median))[::-1])[::-1]
    log_median, first = np.unique(log_median, return_index=True)
    last = np.append(first[1:], len(log_gen)) - 1
    bounds = np.array([log_median[0], log_median[-1]])
    points = np.linspace(log_median[0], log_median[-1], GRID)
    return bounds, np.interp(points, log_median, log_gen[last]) - points
