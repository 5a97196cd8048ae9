"""Flies particles through the solenoid to the calorimeter (Delphes: ParticlePropagator)."""

import math

import numpy as np

from generation.fastsim.candidates import Candidates
from generation.fastsim.card import ModuleConfig
from generation.fastsim.kernels import kernel
from generation.fastsim.kinematics import SPEED_OF_LIGHT
from generation.fastsim.module import EventStore, Module

# Below this transverse momentum squared (GeV²) Delphes drops a particle.
PT2_MIN = 1e-9

LOST, NEUTRAL, CHARGED, OUTSIDE = 0, 1, 2, 3

# What the kernel computes for each propagated particle, by row; the last ones for charged ones.
COLUMNS = (
    "px", "py", "x", "y", "z", "t", "path_length", "pt",
    "initial_x", "initial_y", "initial_z", "initial_t",
    "d0", "dz", "p", "ctg_theta", "xd", "yd", "zd",
)  # fmt: skip


class ParticlePropagator(Module):
    """Propagates stable particles to the surface of a cylinder with a field along its axis.

    Neutral particles fly straight, charged ones on a helix. Clones stand where the particle leaves
    the cylinder, with the momentum of the point closest to the beam line and the track parameters
    there. Particles outside the cylinder or along the beam are dropped; between the field's
    cylinder and the larger one of `RadiusMax`, `HalfLengthMax` they stay where they are.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("InputArray", "Delphes/stableParticles")
        self.outputs = {
            "all": config.text("OutputArray", "stableParticles"),
            "neutral": config.text("NeutralOutputArray", "neutralParticles"),
            "hadron": config.text("ChargedHadronOutputArray", "chargedHadrons"),
            "electron": config.text("ElectronOutputArray", "electrons"),
            "muon": config.text("MuonOutputArray", "muons"),
        }
        self.radius = config.number("Radius", 1.0)
        self.half_length = config.number("HalfLength", 3.0)
        for name, value in (("Radius", self.radius), ("HalfLength", self.half_length)):
            if value < 1e-2:
                raise config.error(name, "is below 0.01 m")
        self.radius_max = config.number("RadiusMax", self.radius)
        self.half_length_max = config.number("HalfLengthMax", self.half_length)
        self.field = config.number("Bz", 0.0)

    def run(self, store: EventStore) -> None:
        """Write the propagated particles, all together and by kind."""
        particles = self.array(store, self.input)
        propagated, fate = propagate(
            particles,
            self.radius,
            self.half_length,
            self.field,
            self.radius_max,
            self.half_length_max,
        )
        pid = np.abs(propagated["pid"])
        charged = (fate == CHARGED) | ((fate == NEUTRAL) & (propagated["charge"] != 0))
        electron, muon = charged & (pid == 11), charged & (pid == 13)
        kinds = {
            "neutral": (fate == NEUTRAL) & ~charged,
            "hadron": charged & ~electron & ~muon,
            "electron": electron,
            "muon": muon,
        }
        self.export(store, self.outputs["all"], propagated)
        for kind, mask in kinds.items():
            self.export(store, self.outputs[kind], propagated.select(mask))


def propagate(
    particles: Candidates,
    radius: float,
    half_length: float,
    field: float,
    radius_max: float,
    half_length_max: float,
) -> tuple[Candidates, np.ndarray]:
    """Propagate particles to the surface of a cylinder.

    Parameters
    ----------
    particles
        Candidates. They fly from the place and with the momentum that they were generated with,
        whatever other modules have made of them since, as in Delphes.
    radius, half_length
        The cylinder with the field, m.
    field
        Field along z, T.
    radius_max, half_length_max
        The larger cylinder outside which particles are dropped, m.

    Returns
    -------
    Candidates
        Clones of the particles that are kept.
    numpy.ndarray
        (n_kept,) uint8: NEUTRAL (flew straight), CHARGED (on a helix) or OUTSIDE (stays).
    """
    n = len(particles)
    fate, kept = np.empty(n, np.uint8), np.empty(n, np.int64)
    values = np.zeros((len(COLUMNS), n))
    origin = particles.origin
    count = _propagate(
        *(origin[name] for name in ("px", "py", "pz", "e", "charge", "x", "y", "z", "t")),
        radius, half_length, field, radius_max, half_length_max, fate, kept, values,
    )  # fmt: skip
    fate, kept, values = fate[:count], kept[:count], values[:, :count]
    columns = dict(zip(COLUMNS, values, strict=True))
    columns |= {name: origin[name][kept] for name in ("pz", "e")}
    clones = particles.clone(kept, **columns)
    return clones, fate


@kernel()
def _propagate(
    all_px, all_py, all_pz, all_e, charge, all_x, all_y, all_z, all_t,
    radius, half_length, field, radius_max, half_length_max, fate, kept, out,
):  # fmt: skip
    """Fill fate, row and columns of the particles that are kept; return how many they are."""
    k = 0
    for i in range(len(all_px)):
        x, y, z = all_x[i] * 1e-3, all_y[i] * 1e-3, all_z[i] * 1e-3
        px, py, pz, e = all_px[i], all_py[i], all_pz[i], all_e[i]
        pt2 = px * px + py * py
        r2 = x * x + y * y
        if r2 > radius_max**2 or abs(z) > half_length_max or not pt2 >= PT2_MIN or not e > 0.0:
            continue
        q = float(charge[i])
        if r2 > radius**2 or abs(z) > half_length:
            fate[k] = OUTSIDE
            x_end, y_end, z_end, time, length = x, y, z, 0.0, 0.0
        elif q == 0.0 or abs(field) < 1e-9:
            fate[k] = NEUTRAL
            # Solve pt² s² + 2 (px x + py y) s = R² - x² - y² for s, the flight per momentum.
            cross = px * y - py * x
            root = pt2 * radius**2 - cross * cross
            s = ((math.sqrt(root) if root > 0.0 else 0.0) - px * x - py * y) / pt2
            if pz != 0.0 and (math.copysign(half_length, pz) - z) / pz < s:
                s = (math.copysign(half_length, pz) - z) / pz
            x_end, y_end, z_end = x + px * s, y + py * s, z + pz * s
            length = s * math.sqrt(pt2 + pz * pz)
            time = s * e
        else:
            fate[k] = CHARGED
            pt = math.sqrt(pt2)
            cos0, sin0 = px / pt, py / pt
            # The helix: signed radius, angular frequency, axis.
            r = pt * 1e9 / (q * field * SPEED_OF_LIGHT)
            omega = q * field * SPEED_OF_LIGHT**2 / (e * 1e9)
            x_c, y_c = x + r * sin0, y - r * cos0
            r_c = math.sqrt(x_c * x_c + y_c * y_c + 1e-60)  # never zero
            # Direction at the point of the circle on the line from the beam to its centre, of
            # the two that one less than a quarter turn away.
            sin_d, cos_d = x_c / r_c, -y_c / r_c
            if cos0 * cos_d + sin0 * sin_d < 0.0:
                sin_d, cos_d = -sin_d, -cos_d
            t_d = math.atan2(sin0 * cos_d - cos0 * sin_d, cos0 * cos_d + sin0 * sin_d) / omega
            v_z = pz * SPEED_OF_LIGHT / e
            x_d, y_d, z_d = x_c - r * sin_d, y_c + r * cos_d, z + v_z * t_d
            # Leaves through an end cap or, when the circle is large enough, the side.
            flight = 1e99 if v_z == 0.0 else (math.copysign(half_length, pz) - z) / v_z
            if r_c + abs(r) >= radius:
                cosine = (r * r + r_c * r_c - radius * radius) / (2.0 * abs(r) * r_c)
                alpha = math.acos(cosine) if abs(cosine) < 1.0 else math.pi * (cosine < 0.0)
                side = t_d + abs(alpha / omega)
                flight = side if side < flight else flight
            elif v_z == 0.0:
                continue  # circles in the field for ever
            # The angle turned, exactly periodic, keeps its meaning for any number of turns.
            turned = omega * flight
            cos_t, sin_t = math.cos(turned), math.sin(turned)
            x_end = x_c - r * (sin0 * cos_t - cos0 * sin_t)
            y_end = y_c + r * (cos0 * cos_t + sin0 * sin_t)
            z_end = z + v_z * flight
            length = flight * math.sqrt(v_z * v_z + (r * omega) ** 2)
            time = flight * SPEED_OF_LIGHT
            px, py = pt * cos_d, pt * sin_d
            out[12, k] = (x_d * sin_d - y_d * cos_d) * 1e3
            out[13, k] = z_d * 1e3
            out[14, k] = math.sqrt(pt2 + pz * pz)
            out[15, k] = pz / pt
            out[16, k] = x_d * 1e3
            out[17, k] = y_d * 1e3
            out[18, k] = z_d * 1e3
        if x_end == 0.0 and y_end == 0.0:
            continue
        out[0, k] = px
        out[1, k] = py
        out[2, k] = x_end * 1e3
        out[3, k] = y_end * 1e3
        out[4, k] = z_end * 1e3
        out[5, k] = all_t[i] + time * 1e3
        out[6, k] = length * 1e3
        out[7, k] = math.sqrt(pt2)
        out[8, k] = all_x[i]
        out[9, k] = all_y[i]
        out[10, k] = all_z[i]
        out[11, k] = all_t[i]
        kept[k] = i
        k += 1
    return k
