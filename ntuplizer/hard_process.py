"""What a jet comes from in the hard process: a hadronic top quark, a light quark or a gluon."""

import numba
import numpy as np

from ntuplizer.batch import Collection
from ntuplizer.truth import JetTruth, delta_r, last_copy, n_daughters

TOP, W_BOSON, GLUON = 6, 24, 21
# Pythia's status of what leaves the hardest process.
OUTGOING = 23
# Roles of the particles that are stored with a label; they have no columns.
NO_ROLE = -1
NONE = -1


def label_tops(
    record: Collection, event: np.ndarray, eta: np.ndarray, phi: np.ndarray, radius: float
) -> JetTruth:
    """Label jets that hold a whole hadronic top quark, and those of events without any.

    Parameters
    ----------
    record
        The branch `Particle` with `RECORD_LEAVES`.
    event, eta, phi
        (n_jets,): the event of each jet, rising, and its direction.
    radius
        A quark is inside when ΔR < radius.

    Returns
    -------
    JetTruth
        Labels are those of the product `top_jets`: 1 when the three quarks of a top's decay are
        inside, 0 when the event has no top quark, −1 for all others. With a top, it and the quarks
        are the particles.
    """
    links = record["PID"], record["D1"], record["D2"]
    return _truth(
        *_label_tops(event, eta, phi, radius, record.offsets, *links, record["Eta"], record["Phi"])
    )


def label_partons(
    record: Collection, event: np.ndarray, eta: np.ndarray, phi: np.ndarray, radius: float
) -> JetTruth:
    """Label jets by the flavour of the parton that left the hardest process in their direction.

    Parameters
    ----------
    record
        The branch `Particle` with `RECORD_LEAVES`.
    event, eta, phi
        (n_jets,): the event of each jet, rising, and its direction.
    radius
        The parton is inside when ΔR < radius.

    Returns
    -------
    JetTruth
        Labels are those of the product `quark_gluon_jets`: 1 for u, d and s, 0 for gluons, −1
        without a parton and for heavier quarks. Of several partons the nearest decides; it is the
        particle stored.
    """
    columns = record["PID"], record["Status"], record["Eta"], record["Phi"]
    return _truth(*_label_partons(event, eta, phi, radius, record.offsets, *columns))


def _truth(label: np.ndarray, particles: np.ndarray) -> JetTruth:
    """Keep the particles, (n_jets, k) with −1 for none, as lists."""
    kept = particles >= 0
    offsets = np.concatenate(([0], np.cumsum(kept.sum(axis=1))))
    chosen = particles[kept]
    return JetTruth(label, offsets, chosen, np.full(len(chosen), NO_ROLE, np.int8))


@numba.njit(cache=True)
def _quarks_of(top, start, n, pid, d1, d2, visited, quarks):
    """Find the three quarks of a top's last copy; False when its W decays otherwise."""
    quarks[:] = NONE
    for k in range(n_daughters(top, d1, d2)):
        daughter = start + d1[top] + k
        code = abs(pid[daughter])
        if 1 <= code <= 5:
            quarks[0] = daughter
        elif code == W_BOSON:
            w = last_copy(daughter, start, n, pid, d1, d2, visited)
            if w == NONE or n_daughters(w, d1, d2) != 2:
                return False
            for product in range(2):
                quarks[1 + product] = start + d1[w] + product
                if not 1 <= abs(pid[start + d1[w] + product]) <= 5:
                    return False
    return quarks.min() >= 0


@numba.njit(cache=True)
def _label_tops(event, jet_eta, jet_phi, radius, offsets, pid, d1, d2, eta, phi):
    labels = np.full(len(event), NONE, np.int32)
    particles = np.full((len(event), 4), NONE, np.int64)
    visited = np.zeros(len(pid), np.bool_)
    quarks = np.empty(3, np.int64)
    for jet in range(len(event)):
        start, stop = offsets[event[jet]], offsets[event[jet] + 1]
        visited[start:stop] = False
        labels[jet] = 0
        for i in range(start, stop):
            if abs(pid[i]) != TOP:
                continue
            if labels[jet] == 0:
                labels[jet] = NONE
            if visited[i]:
                continue
            top = last_copy(i, start, stop - start, pid, d1, d2, visited)
            if top == NONE or labels[jet] == 1:
                continue
            if not _quarks_of(top, start, stop - start, pid, d1, d2, visited, quarks):
                continue
            inside = True
            for quark in quarks:
                distance = delta_r(jet_eta[jet], jet_phi[jet], eta[quark], phi[quark])
                inside &= distance < radius
            if inside:
                labels[jet] = 1
                particles[jet, 0] = top
                particles[jet, 1:] = quarks
    return labels, particles


@numba.njit(cache=True)
def _label_partons(event, jet_eta, jet_phi, radius, offsets, pid, status, eta, phi):
    labels = np.full(len(event), NONE, np.int32)
    particles = np.full((len(event), 1), NONE, np.int64)
    for jet in range(len(event)):
        nearest, found = radius, NONE
        for i in range(offsets[event[jet]], offsets[event[jet] + 1]):
            code = abs(pid[i])
            if status[i] != OUTGOING or not (1 <= code <= 5 or code == GLUON):
                continue
            distance = delta_r(jet_eta[jet], jet_phi[jet], eta[i], phi[i])
            if distance < nearest:
                nearest, found = distance, i
        if found == NONE:
            continue
        code = abs(pid[found])
        if code == GLUON or code <= 3:
            labels[jet] = 0 if code == GLUON else 1
            particles[jet, 0] = found
    return labels, particles
