"""The network's inputs: the one place where columns become features.

The 17 features and the scaled four-vectors are those of Sophon (arXiv:2405.12972, public
`data/JetClassII/JetClassII_full.yaml`): transforms, shifts, scales and clipping.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

# Columns a jet is built from, in the order of the arrays below.
PARTICLE_FLOATS = (
    "part_px",
    "part_py",
    "part_pz",
    "part_energy",
    "part_deta",
    "part_dphi",
    "part_d0val",
    "part_d0err",
    "part_dzval",
    "part_dzerr",
)
PARTICLE_CODES = (
    "part_charge",
    "part_isChargedHadron",
    "part_isNeutralHadron",
    "part_isPhoton",
    "part_isElectron",
    "part_isMuon",
)
JET_FLOATS = ("jet_pt", "jet_energy", "jet_sdmass")

# Jets are scaled to this pT (GeV), so that the network cannot read the jet's own.
REFERENCE_PT = 500.0
# A limit that is none. Exported networks carry the limits in JSON, which knows no infinity.
UNLIMITED = 1e32


@dataclass(frozen=True)
class Transform:
    """How a variable becomes a feature: clip((variable - centre) * factor, low, high).

    `name` is the variable's in Sophon's data card, `formula` what it is made of.
    """

    name: str
    formula: str
    centre: float = 0.0
    factor: float = 1.0
    low: float = -UNLIMITED
    high: float = UNLIMITED

    def __str__(self) -> str:
        if self.factor != 1:
            sign = "-" if self.centre > 0 else "+"
            return f"{self.factor:g} ({self.formula} {sign} {abs(self.centre)})"
        if self.high < UNLIMITED:
            return f"clip({self.formula}, {self.low:g}, {self.high:g})"
        return self.formula


TRANSFORMS = (
    Transform("part_pt_scale_log", "ln(500 pT / jet pT)", 1.7, 0.7, -5, 5),
    Transform("part_e_scale_log", "ln(500 E / jet pT)", 2.0, 0.7, -5, 5),
    Transform("part_logptrel", "ln(pT / jet pT)", -4.7, 0.7, -5, 5),
    Transform("part_logerel", "ln(E / jet E)", -4.7, 0.7, -5, 5),
    Transform("part_deltaR", "ΔR(particle, jet)", 0.2, 4.0, -5, 5),
    *(Transform(code, code) for code in PARTICLE_CODES),
    Transform("part_d0", "tanh(d0 / mm)"),
    Transform("part_d0err", "σ(d0) / mm", low=0, high=1),
    Transform("part_dz", "tanh(dz / mm)"),
    Transform("part_dzerr", "σ(dz) / mm", low=0, high=1),
    Transform("part_deta", "part_deta"),
    Transform("part_dphi", "part_dphi"),
)
# What a checkpoint says that it was trained on.
FEATURES = tuple(str(transform) for transform in TRANSFORMS)
VECTORS = tuple(f"500 {component} / jet pT" for component in ("px", "py", "pz", "E"))
VECTOR_NAMES = tuple(f"part_{component}_scale" for component in ("px", "py", "pz", "energy"))

# The transforms as the compiled loop takes them; it leaves variables that become features as they
# are alone.
_CENTRE, _FACTOR, _LOW, _HIGH = np.array(
    [[t.centre, t.factor, t.low, t.high] for t in TRANSFORMS]
).T.copy()


# What is kept of constituents that wait for their batch: columns, and functions of them that do not
# need the jet, quickest over many particles at once.
PREPARED = (
    *("part_px", "part_py", "part_pz", "part_energy", "part_deta", "part_dphi"),
    *("tanh(d0 / mm)", "part_d0err", "tanh(dz / mm)", "part_dzerr"),
    *("ln(pT / GeV)", "ln(E / GeV)", "ΔR(particle, jet)"),
)


def prepare(columns: dict[str, np.ndarray], out: np.ndarray) -> None:
    """Fill `out`, (13, n) float32, with `PREPARED` of the columns `PARTICLE_FLOATS`, (n,) each."""
    px, py, pz, energy, deta, dphi, d0, d0_error, dz, dz_error = (
        columns[name] for name in PARTICLE_FLOATS
    )
    kept = (px, py, pz, energy, deta, dphi)
    for row, column in zip(out[:6], kept, strict=True):
        row[:] = column
    np.tanh(d0, out=out[6])
    out[7] = d0_error
    np.tanh(dz, out=out[8])
    out[9] = dz_error
    with np.errstate(divide="ignore"):  # a momentum of zero is clipped with the rest
        np.log(px * px + py * py, out=out[10])
        np.log(energy, out=out[11])
    out[10] *= 0.5
    np.sqrt(deta * deta + dphi * dphi, out=out[12])


@njit(cache=True)
def _transform(feature, variable):
    value = (variable - _CENTRE[feature]) * _FACTOR[feature]
    return min(max(value, _LOW[feature]), _HIGH[feature])


@njit(cache=True)
def fill_batch(jets, columns, batch):
    """Gather, scale and pad jets in one pass.

    Parameters
    ----------
    jets : (B,) int64
        Which jets to take.
    columns : tuple of arrays
        Where each jet's constituents begin, (n_jets + 1,) int64; `PREPARED`, (13, n_particles)
        float32; `PARTICLE_CODES`, (6, n_particles) int8; the jets' pT and energy, (n_jets,)
        float32, GeV.
    batch : tuple of arrays
        Outputs, zeros at entry: `FEATURES` (B, N, 17) float32, `VECTORS` (B, N, 4) float32, and
        the mask (B, N), true for real constituents. Of a jet with more than N constituents the
        first N are taken, which are the hardest.
    """
    offsets, floats, codes, pt, energy = columns
    features, vectors, mask = batch
    length = mask.shape[1]
    for row in range(len(jets)):
        jet = jets[row]
        begin = offsets[jet]
        count = min(offsets[jet + 1] - begin, length)
        scale = np.float32(REFERENCE_PT) / pt[jet]
        log_scale = np.log(scale)
        log_pt = np.log(pt[jet])
        log_energy = np.log(energy[jet])
        for slot in range(count):
            particle = begin + slot
            particle_log_pt = floats[10, particle]
            particle_log_energy = floats[11, particle]
            out = features[row, slot]
            out[0] = _transform(0, particle_log_pt + log_scale)
            out[1] = _transform(1, particle_log_energy + log_scale)
            out[2] = _transform(2, particle_log_pt - log_pt)
            out[3] = _transform(3, particle_log_energy - log_energy)
            out[4] = _transform(4, floats[12, particle])
            for code in range(6):
                out[5 + code] = codes[code, particle]
            out[11] = floats[6, particle]
            out[12] = _transform(12, floats[7, particle])
            out[13] = floats[8, particle]
            out[14] = _transform(14, floats[9, particle])
            out[15] = floats[4, particle]
            out[16] = floats[5, particle]
            for component in range(4):
                vectors[row, slot, component] = floats[component, particle] * scale
            mask[row, slot] = True
