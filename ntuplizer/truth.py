"""What a jet contains: the 188 labels of JetClass-II from the generator record.

The record is searched once per event for resonances (|PDG| 25, 35, 37) and their decays; each jet
is then compared with the resonances in record order. The rules are those behind the published
dataset (arXiv:2405.12972 and the public jetclass2_generation ntuplizer), oddities included.
"""

from dataclasses import dataclass

import numba
import numpy as np

from ntuplizer.batch import Collection
from ntuplizer.labels import LABELS, PREFIXES, TOKENS, split_label

# Roles of the generator particles that are stored with a label.
ROLE_X, ROLE_Y, ROLE_DECAY, ROLE_TAU_DECAY, ROLE_QCD_PARTON = range(5)

# Quarks below this pT do not count for a QCD label.
QCD_PARTON_PT = 10.0
# Pythia's status of partons about to hadronise.
PREPARED_FOR_HADRONISATION = 71

# A label as one integer: its prefix and how often each token occurs, in base 5.
_BASE = 5
_WEIGHT = {token: _BASE**position for position, token in enumerate(TOKENS)}
_PREFIX = {prefix: i * _BASE ** len(TOKENS) for i, prefix in enumerate(PREFIXES)}


def label_key(prefix: str, tokens: dict[str, int]) -> int:
    """Return the integer that stands for a prefix and a multiset of tokens."""
    return _PREFIX[prefix] + sum(count * _WEIGHT[token] for token, count in tokens.items())


_KEYS_BY_LABEL = np.array([label_key(*split_label(label)) for label in LABELS], np.int64)
_LABEL_OF_KEY = np.argsort(_KEYS_BY_LABEL)
_KEYS = _KEYS_BY_LABEL[_LABEL_OF_KEY]

_TWO_PRONG, _CASCADE, _QCD = (_PREFIX[prefix] for prefix in ("X_", "X_YY_", "QCD_"))
_B, _C, _S, _Q, _G, _E, _M, _V = (_WEIGHT[token] for token in "bcsqgemv")
# By decay mode of the (other) τ: to an electron, to a muon, to hadrons.
_TAU_PAIR = tuple(_WEIGHT[token] for token in ("tauhtaue", "tauhtaum", "tauhtauh"))
_TAU_NEUTRINO = tuple(_WEIGHT[token] for token in ("tauev", "taumv", "tauhv"))
_TO_ELECTRON, _TO_MUON, _TO_HADRONS = range(3)

_NONE = -1

# One resonance X and how a jet is compared with it. A target is the particle whose direction is
# matched, its weight what a match adds to the label's key; indices are positions in the flat
# record. At least `minimum` targets must match, and the last two when `second_pair` says so.
_RESONANCE = np.dtype(
    [
        ("x", np.int64),
        ("y", np.int64, 2),
        ("product", np.int64, 4),
        ("target", np.int64, 4),
        ("weight", np.int64, 4),
        ("tau", np.int64, 2),
        ("key", np.int64),
        ("minimum", np.int64),
        ("second_pair", np.bool_),
        ("nearest_first", np.bool_),
    ]
)


@dataclass(frozen=True)
class JetTruth:
    """The labels of the jets and the generator particles behind them.

    Attributes
    ----------
    label
        int32 (n_jets,): index into `LABELS`, −1 for no label.
    offsets, particles, roles
        Particles of jet j are `particles[offsets[j]:offsets[j + 1]]`, positions in the flat
        record, with one of the `ROLE_…` numbers each; none for a jet without a label.
    """

    label: np.ndarray
    offsets: np.ndarray
    particles: np.ndarray
    roles: np.ndarray


def broken_events(record: Collection) -> np.ndarray:
    """Find events whose decay links cannot be followed: bool (n_events,).

    An event is broken when a daughter index lies outside of its record, or when following the
    copies of a resonance or a τ leads in a circle.
    """
    return _broken_events(record.offsets, record["PID"], record["D1"], record["D2"])


def label_jets(
    record: Collection,
    event: np.ndarray,
    eta: np.ndarray,
    phi: np.ndarray,
    radius: float,
    qcd_labels: bool,
    stored_parton_pt: float = QCD_PARTON_PT,
) -> JetTruth:
    """Label jets by what they contain.

    Parameters
    ----------
    record
        The branch `Particle` with `RECORD_LEAVES`, no event of it broken (`broken_events`).
    event, eta, phi
        (n_jets,): the event of each jet, rising, and its direction.
    radius
        The jet radius R: a particle is inside when ΔR < R.
    qcd_labels
        Whether a jet without a resonance label gets a QCD label.
    stored_parton_pt
        Quarks of QCD jets are stored from this pT (GeV) on; their label counts from
        `QCD_PARTON_PT`.
    """
    links = record["PID"], record["D1"], record["D2"]
    kinematics = record["PT"], record["Eta"], record["Phi"]
    resonances = _find_resonances(record.offsets, *links, _KEYS)
    return JetTruth(
        *_label_jets(
            event,
            eta,
            phi,
            radius,
            record.offsets,
            *links,
            record["Status"],
            *kinematics,
            *resonances,
            _KEYS,
            _LABEL_OF_KEY,
            qcd_labels,
            stored_parton_pt,
        )
    )


@numba.njit(cache=True)
def _broken_events(offsets, pid, d1, d2):
    broken = np.zeros(len(offsets) - 1, np.bool_)
    visited = np.zeros(len(pid), np.bool_)
    for event in range(len(offsets) - 1):
        start, n = offsets[event], offsets[event + 1] - offsets[event]
        for i in range(start, start + n):
            if d1[i] < -1 or d2[i] < -1 or d1[i] >= n or d2[i] >= n:
                broken[event] = True
                break
        if broken[event]:
            continue
        for i in range(start, start + n):
            if visited[i] or abs(pid[i]) not in (15, 25, 35, 37):
                continue
            if last_copy(i, start, n, pid, d1, d2, visited) == _NONE:
                broken[event] = True
                break
    return broken


@numba.njit(cache=True)
def last_copy(i, start, n, pid, d1, d2, visited):
    """Follow same-PDG daughters to the end, marking them; _NONE when they lead in a circle."""
    for _ in range(n):
        visited[i] = True
        following = _NONE
        for k in range(n_daughters(i, d1, d2)):
            if pid[start + d1[i] + k] == pid[i]:
                following = start + d1[i] + k
                break
        if following == _NONE:
            return i
        i = following
    return _NONE


@numba.njit(cache=True)
def n_daughters(i, d1, d2):
    """Return how many daughters a particle has."""
    return max(0, d2[i] - d1[i] + 1) if d1[i] >= 0 else 0


@numba.njit(cache=True)
def _tau_mode(tau, start, pid, d1, d2):
    """Return the decay mode of a τ (its last copy): the first e or μ among its products decides."""
    for k in range(n_daughters(tau, d1, d2)):
        pdg = abs(pid[start + d1[tau] + k])
        if pdg == 11:
            return _TO_ELECTRON
        if pdg == 13:
            return _TO_MUON
    return _TO_HADRONS


@numba.njit(cache=True)
def _token_of(pdg):
    """Return the weight of a parton or lepton in a label's key; 0 for what labels do not name."""
    pdg = abs(pdg)
    if pdg == 5:
        return _B
    if pdg == 4:
        return _C
    if pdg == 3:
        return _S
    if pdg in (1, 2):
        return _Q
    if pdg == 21:
        return _G
    if pdg == 11:
        return _E
    if pdg == 13:
        return _M
    return 0


@numba.njit(cache=True)
def _is_hadronic(pdg):
    return 1 <= abs(pdg) <= 5 or abs(pdg) == 21


@numba.njit(cache=True)
def _label_of(key, keys, label_of_key):
    position = np.searchsorted(keys, key)
    if position < len(keys) and keys[position] == key:
        return label_of_key[position]
    return _NONE


@numba.njit(cache=True)
def _find_resonances(offsets, pid, d1, d2, keys):
    """List the resonances of each event whose decay a label can name, in record order.

    Returns the row offsets per event and the rows (`_RESONANCE`).
    """
    visited = np.zeros(len(pid), np.bool_)
    code = np.abs(pid)
    rows = np.zeros(np.sum((code == 25) | (code == 35) | (code == 37)) + 1, _RESONANCE)
    row_offsets = np.zeros(len(offsets), np.int64)
    n_rows = 0
    for event in range(len(offsets) - 1):
        start, n = offsets[event], offsets[event + 1] - offsets[event]
        for i in range(start, start + n):
            if visited[i] or abs(pid[i]) not in (25, 35, 37):
                continue
            x = last_copy(i, start, n, pid, d1, d2, visited)
            if x == _NONE or n_daughters(x, d1, d2) != 2:
                continue
            first = start + d1[x]
            row = rows[n_rows]
            row.x = x
            row.y[:] = _NONE
            row.product[:] = _NONE
            row.target[:] = _NONE
            row.weight[:] = 0
            row.tau[:] = _NONE
            pdg1, pdg2 = abs(pid[first]), abs(pid[first + 1])
            if pdg1 == pdg2 and pdg1 in (35, 37):
                for k in range(2):
                    row.y[k] = last_copy(first + k, start, n, pid, d1, d2, visited)
                found = _describe_cascade(row, start, n, pid, d1, d2, visited, keys)
            elif pdg1 == 15 and pdg2 == 15:
                row.key, row.minimum = _TWO_PRONG, 2
                row.second_pair, row.nearest_first = False, False
                row.product[0], row.product[1] = first, first + 1
                found = _describe_tau_pair(row, 0, True, start, n, pid, d1, d2, visited)
            else:
                row.key, row.minimum = _TWO_PRONG, 2
                row.second_pair, row.nearest_first = False, True
                for k in range(2):
                    row.product[k] = row.target[k] = first + k
                    row.weight[k] = _token_of(pid[first + k])
                found = _label_of(row.key + row.weight.sum(), keys, keys) != _NONE
            if found:
                n_rows += 1
        row_offsets[event + 1] = n_rows
    return row_offsets, rows[:n_rows]


@numba.njit(cache=True)
def _describe_tau_pair(row, at, order_products, start, n, pid, d1, d2, visited):
    """Set the targets `at` and `at + 1` for a pair of τ; False without a hadronic one."""
    first, second = row.product[at], row.product[at + 1]
    tau1 = last_copy(first, start, n, pid, d1, d2, visited)
    tau2 = last_copy(second, start, n, pid, d1, d2, visited)
    mode1, mode2 = _tau_mode(tau1, start, pid, d1, d2), _tau_mode(tau2, start, pid, d1, d2)
    row.tau[0], row.tau[1] = tau1, tau2
    if mode1 != _TO_HADRONS:
        if mode2 != _TO_HADRONS:
            return False
        first, second = second, first
        tau2, mode2 = tau1, mode1
        if order_products:
            row.product[at], row.product[at + 1] = first, second
            row.tau[0], row.tau[1] = row.tau[1], row.tau[0]
    row.target[at] = first
    row.target[at + 1] = second if mode2 == _TO_HADRONS else _first_product(tau2, start, d1)
    row.weight[at + 1] = _TAU_PAIR[mode2]
    return True


@numba.njit(cache=True)
def _first_product(tau, start, d1):
    """Return what stands for a leptonic τ in the matching: the first of its listed products.

    In Pythia's record that is the τ neutrino, not the charged lepton. The published labels were
    made this way.
    """
    return start + d1[tau]


@numba.njit(cache=True)
def _describe_cascade(row, start, n, pid, d1, d2, visited, keys):
    """Set the targets of X → YY; False for decays that no label names."""
    if n_daughters(row.y[0], d1, d2) != 2 or n_daughters(row.y[1], d1, d2) != 2:
        return False
    leading, trailing = start + d1[row.y[0]], start + d1[row.y[1]]
    if not _is_hadronic(pid[leading]):
        leading, trailing = trailing, leading
        if not _is_hadronic(pid[leading]):
            return False
    row.product[0], row.product[1] = leading, leading + 1
    row.product[2], row.product[3] = trailing, trailing + 1
    if abs(pid[trailing]) in (12, 14, 16):
        row.product[2], row.product[3] = trailing + 1, trailing
    row.key, row.minimum = _CASCADE, 3
    row.second_pair, row.nearest_first = False, False
    for at in (0, 2):
        first, second = row.product[at], row.product[at + 1]
        pdg1, pdg2 = abs(pid[first]), abs(pid[second])
        if pdg1 == 15 and pdg2 == 15:
            row.second_pair = True
            if not _describe_tau_pair(row, at, False, start, n, pid, d1, d2, visited):
                return False
        elif pdg1 == 15 and pdg2 == 16:
            tau = row.tau[0] = last_copy(first, start, n, pid, d1, d2, visited)
            mode = _tau_mode(tau, start, pid, d1, d2)
            row.target[at] = first if mode == _TO_HADRONS else _first_product(tau, start, d1)
            row.weight[at] = _TAU_NEUTRINO[mode]
        elif (pdg1 == 11 and pdg2 == 12) or (pdg1 == 13 and pdg2 == 14):
            row.target[at] = first
            row.weight[at] = _token_of(pdg1)
            row.key += _V
        else:
            row.target[at], row.target[at + 1] = first, second
            row.weight[at], row.weight[at + 1] = _token_of(pdg1), _token_of(pdg2)
            pair = row.weight[at] + row.weight[at + 1]
            if _label_of(_TWO_PRONG + pair, keys, keys) == _NONE:
                return False
    return True


@numba.njit(cache=True)
def delta_r(eta1, phi1, eta2, phi2):
    """Return the distance of two directions in (η, φ)."""
    delta_phi = (phi1 - phi2 + np.pi) % (2 * np.pi) - np.pi
    return np.hypot(eta1 - eta2, delta_phi)


@numba.njit(cache=True)
def _label_jets(
    event, jet_eta, jet_phi, radius, offsets, pid, d1, d2, status, pt, eta, phi,
    row_offsets, rows, keys, label_of_key, qcd_labels, stored_parton_pt,
):  # fmt: skip
    labels = np.full(len(event), _NONE, np.int32)
    ends = np.zeros(len(event) + 1, np.int64)
    particles = [np.int64(0)]
    roles = [np.int8(0)]
    distance = np.empty(4)
    for jet in range(len(event)):
        start, stop = offsets[event[jet]], offsets[event[jet] + 1]
        for i in range(row_offsets[event[jet]], row_offsets[event[jet] + 1]):
            row = rows[i]
            key, matched = row.key, 0
            for k in range(4):
                distance[k] = np.inf
                if row.target[k] != _NONE:
                    distance[k] = delta_r(
                        jet_eta[jet], jet_phi[jet], eta[row.target[k]], phi[row.target[k]]
                    )
                if distance[k] < radius:
                    key += row.weight[k]
                    matched += 1
            if matched < row.minimum:
                continue
            if row.second_pair and not (distance[2] < radius and distance[3] < radius):
                continue
            labels[jet] = _label_of(key, keys, label_of_key)
            if labels[jet] == _NONE:
                continue
            _store_resonance(row, distance, start, d1, d2, particles, roles)
            break
        if qcd_labels and labels[jet] == _NONE:
            n_b, n_c, n_s = 0, 0, 0
            for i in range(start, stop):
                if status[i] != PREPARED_FOR_HADRONISATION or not 1 <= abs(pid[i]) <= 5:
                    continue
                if pt[i] <= min(stored_parton_pt, QCD_PARTON_PT):
                    continue
                if delta_r(jet_eta[jet], jet_phi[jet], eta[i], phi[i]) >= radius:
                    continue
                if pt[i] > stored_parton_pt:
                    particles.append(i)
                    roles.append(np.int8(ROLE_QCD_PARTON))
                if pt[i] > QCD_PARTON_PT:
                    n_b += abs(pid[i]) == 5
                    n_c += abs(pid[i]) == 4
                    n_s += abs(pid[i]) == 3
            key = _QCD + min(n_b, 2) * _B + min(n_c, 2) * _C + min(n_s, 2) * _S
            labels[jet] = _label_of(key, keys, label_of_key)
        ends[jet + 1] = len(particles) - 1
    return labels, ends, np.array(particles)[1:], np.array(roles)[1:]


@numba.njit(cache=True)
def _store_resonance(row, distance, start, d1, d2, particles, roles):
    """Append X, the Ys, their decay products and those of τ, with their roles."""
    particles.append(row.x)
    roles.append(np.int8(ROLE_X))
    for k in range(2):
        if row.y[k] != _NONE:
            particles.append(row.y[k])
            roles.append(np.int8(ROLE_Y))
    swap = row.nearest_first and distance[1] < distance[0]
    for k in range(4):
        product = row.product[1 - k if swap and k < 2 else k]
        if product != _NONE:
            particles.append(product)
            roles.append(np.int8(ROLE_DECAY))
    for k in range(2):
        tau = row.tau[k]
        if tau != _NONE:
            for daughter in range(n_daughters(tau, d1, d2)):
                particles.append(np.int64(start + d1[tau] + daughter))
                roles.append(np.int8(ROLE_TAU_DECAY))
