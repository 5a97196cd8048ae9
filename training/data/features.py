"""The network's inputs: the one place where columns become features.

The 17 features and the scaled four-vectors are those of Sophon (arXiv:2405.12972, public
`data/JetClassII/JetClassII_full.yaml`): transforms, shifts, scales and clipping.
"""

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
LABEL = "jet_label"
COLUMNS = (*PARTICLE_FLOATS, *PARTICLE_CODES, *JET_FLOATS)

FEATURES = (
    "0.7 (ln(500 pT / jet pT) - 1.7)",
    "0.7 (ln(500 E / jet pT) - 2.0)",
    "0.7 (ln(pT / jet pT) + 4.7)",
    "0.7 (ln(E / jet E) + 4.7)",
    "4 (ΔR(particle, jet) - 0.2)",
    *PARTICLE_CODES,
    "tanh(d0 / mm)",
    "clip(σ(d0) / mm, 0, 1)",
    "tanh(dz / mm)",
    "clip(σ(dz) / mm, 0, 1)",
    "part_deta",
    "part_dphi",
)
VECTORS = tuple(f"500 {component} / jet pT" for component in ("px", "py", "pz", "E"))
# Jets are scaled to this pT (GeV), so that the network cannot read the jet's own.
REFERENCE_PT = 500.0
# The first five features are clipped to ± this.
CLIP = 5.0


@njit(cache=True)
def _clip(value, low, high):
    return min(max(value, low), high)


@njit(cache=True)
def fill_batch(jets, columns, batch):
    """Gather, transform and pad jets in one pass.

    Parameters
    ----------
    jets : (B,) int64
        Which jets to take.
    columns : tuple of arrays
        Where each jet's constituents begin, (n_jets + 1,) int64; `PARTICLE_FLOATS`, (10,
        n_particles) float32, GeV and mm; `PARTICLE_CODES`, (6, n_particles) int8; the jets' pT and
        energy, (n_jets,) float32, GeV.
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
            px = floats[0, particle]
            py = floats[1, particle]
            particle_energy = floats[3, particle]
            deta = floats[4, particle]
            dphi = floats[5, particle]
            particle_log_pt = np.float32(0.5) * np.log(px * px + py * py)
            particle_log_energy = np.log(particle_energy)
            out = features[row, slot]
            out[0] = _clip(0.7 * (particle_log_pt + log_scale - 1.7), -CLIP, CLIP)
            out[1] = _clip(0.7 * (particle_log_energy + log_scale - 2.0), -CLIP, CLIP)
            out[2] = _clip(0.7 * (particle_log_pt - log_pt + 4.7), -CLIP, CLIP)
            out[3] = _clip(0.7 * (particle_log_energy - log_energy + 4.7), -CLIP, CLIP)
            out[4] = _clip(4.0 * (np.sqrt(deta * deta + dphi * dphi) - 0.2), -CLIP, CLIP)
            for code in range(6):
                out[5 + code] = codes[code, particle]
            out[11] = np.tanh(floats[6, particle])
            out[12] = _clip(floats[7, particle], 0.0, 1.0)
            out[13] = np.tanh(floats[8, particle])
            out[14] = _clip(floats[9, particle], 0.0, 1.0)
            out[15] = deta
            out[16] = dphi
            vector = vectors[row, slot]
            vector[0] = px * scale
            vector[1] = py * scale
            vector[2] = floats[2, particle] * scale
            vector[3] = particle_energy * scale
            mask[row, slot] = True
