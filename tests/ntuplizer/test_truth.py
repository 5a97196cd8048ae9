"""Labels of hand-built decays: every one of the 188, and every way of losing it."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from decays import INSIDE, OUTSIDE, Particle, record, tau

from ntuplizer.batch import Collection
from ntuplizer.labels import LABELS, split_label
from ntuplizer.truth import (
    ROLE_DECAY,
    ROLE_QCD_PARTON,
    ROLE_TAU_DECAY,
    ROLE_X,
    ROLE_Y,
    broken_events,
    label_jets,
)

LETTER = {1: "q", 2: "q", 3: "s", 4: "c", 5: "b", 21: "g", 11: "e", 13: "m"}
FLAVOURS = ((5, -5), (4, -4), (3, -3), (2, -2), (1, -1), (21, 21))
NEUTRAL_PAIRS = (*FLAVOURS, (11, -11), (13, -13))
QUARK_PAIRS = tuple((up, -down) for up in (2, 4) for down in (1, 3, 5))


def labels_of(events: list[list[Particle]], qcd: bool = False) -> list[str | None]:
    flat = record(events)
    assert not broken_events(flat).any()
    n = len(events)
    truth = label_jets(flat, np.arange(n), np.zeros(n, "f4"), np.zeros(n, "f4"), 0.8, qcd)
    return [LABELS[index] if index >= 0 else None for index in truth.label]


def content_label(prefix: str, *parts: str) -> str | None:
    """Find the label with the same contents in any order, by its published name."""
    wanted = split_label(prefix + "".join(parts))
    return next((label for label in LABELS if split_label(label) == wanted), None)


def pair(pids, lost) -> tuple[Particle, Particle]:
    return tuple(
        Particle(p, eta=OUTSIDE if gone else INSIDE) for p, gone in zip(pids, lost, strict=True)
    )


def neutral_modes():
    """Give (daughters for a pair of losses, what is matched, whether it is a pair of τ)."""
    for pids in NEUTRAL_PAIRS:
        yield pids, None
    for modes in product("emh", repeat=2):
        yield (15, -15), modes


def expected_two_prong(pids, modes, lost) -> str | None:
    if modes is None:
        return None if any(lost) else content_label("X_", *(LETTER[abs(p)] for p in pids))
    if "h" not in modes or any(lost):
        return None
    other = modes[1] if modes[0] == "h" else modes[0]
    return f"X_tauhtau{other}"


def daughters(pids, modes, lost):
    if modes is None:
        return pair(pids, lost)
    return tau(modes[0], lost[0]), tau(modes[1], lost[1], charge=-1)


LOSSES = list(product((False, True), repeat=2))


def test_two_prong_decays():
    quarks = [(pids, None) for pids in QUARK_PAIRS]
    cases = list(product([*neutral_modes(), *quarks], LOSSES))
    events = [[Particle(25, daughters(*mode, lost))] for mode, lost in cases]
    expected = [expected_two_prong(*mode, lost) for mode, lost in cases]
    assert labels_of(events) == expected
    assert {label for label in LABELS if label.startswith("X_") and "YY" not in label} <= set(
        expected
    )


def expected_cascade(ys) -> str | None:
    """Apply the rules of the published labels to two decays of Y, in words rather than indices."""
    ys = sorted(ys, key=lambda y: not (y[1] is None and abs(y[0][0]) in (1, 2, 3, 4, 5, 21)))
    pids, modes, _ = ys[0]
    if modes is not None or abs(pids[0]) not in (1, 2, 3, 4, 5, 21):
        return None  # both leptonic
    written, matched = [], 0
    for pids, modes, lost in ys:
        if modes is not None and abs(pids[1]) == 15:
            if "h" not in modes or any(lost):
                return None
            other = modes[1] if modes[0] == "h" else modes[0]
            written.append(f"tauhtau{other}")
            matched += 2
        elif modes is not None:
            if lost[0]:
                return None
            written.append(f"tau{modes[0]}v")
            matched += 1
        elif abs(pids[1]) in (12, 14):
            if lost[0]:
                return None
            written.append(LETTER[abs(pids[0])] + "v")
            matched += 1
        else:
            for pid, gone in zip(pids, lost, strict=True):
                if not gone:
                    written.append(LETTER[abs(pid)])
                    matched += 1
    if matched < 3:
        return None
    return content_label("X_YY_", *written)


def charged_modes():
    for pids in QUARK_PAIRS:
        yield pids, None
    yield (-11, 12), None
    yield (-13, 14), None
    for mode in "emh":
        yield (-15, 16), (mode,)


def y_daughters(pids, modes, lost, neutrino_first=False):
    if modes is None:
        found = pair(pids, lost)
    elif abs(pids[1]) == 15:
        found = daughters(pids, modes, lost)
    else:
        found = (tau(modes[0], lost[0], charge=-1), Particle(16, eta=INSIDE))
    return found[::-1] if neutrino_first and abs(pids[1]) in (12, 14, 16) else found


def cascades(kind: str):
    modes = list(neutral_modes() if kind == "neutral" else charged_modes())
    codes = (35, 35) if kind == "neutral" else (37, -37)
    for first, second in product(modes, repeat=2):
        for lost in product(LOSSES, repeat=2):
            yield codes, (*first, lost[0]), (*second, lost[1])


@pytest.mark.parametrize("kind", ["neutral", "charged"])
@pytest.mark.parametrize("neutrino_first", [False, True])
def test_cascades_with_every_loss(kind, neutrino_first):
    cases = list(cascades(kind))
    events = [
        [
            Particle(
                25,
                (
                    Particle(codes[0], y_daughters(*y1, neutrino_first)),
                    Particle(codes[1], y_daughters(*y2, neutrino_first)),
                ),
            )
        ]
        for codes, y1, y2 in cases
    ]
    expected = [expected_cascade([y1, y2]) for _, y1, y2 in cases]
    wrong = [
        (case, got, want)
        for case, got, want in zip(cases, labels_of(events), expected, strict=True)
        if got != want
    ]
    assert wrong == []


def test_all_cascade_labels_were_reached():
    expected = {
        expected_cascade([y1, y2])
        for kind in ("neutral", "charged")
        for _, y1, y2 in cascades(kind)
    }
    assert {label for label in LABELS if label.startswith("X_YY_")} == expected - {None}


def quarks(n_b, n_c, n_s, **properties):
    pids = [5] * n_b + [-4] * n_c + [3] * n_s
    return [Particle(pid, status=71, **properties) for pid in pids]


def test_qcd_labels_count_quarks_up_to_two():
    cases = list(product(range(4), repeat=3))
    events = [[*quarks(*counts), Particle(1, status=71)] for counts in cases]
    expected = []
    for n_b, n_c, n_s in cases:
        content = min(n_b, 2) * "b" + min(n_c, 2) * "c" + min(n_s, 2) * "s"
        expected.append("QCD_" + (content or "light"))
    assert labels_of(events, qcd=True) == expected
    assert set(expected) == {label for label in LABELS if label.startswith("QCD_")}
    assert labels_of(events, qcd=False) == [None] * len(events)


@pytest.mark.parametrize("change", [{"pt": 10.0}, {"eta": OUTSIDE}])
def test_soft_or_distant_quarks_do_not_count(change):
    assert labels_of([quarks(1, 1, 1, **change)], qcd=True) == ["QCD_light"]


def test_quarks_of_another_status_do_not_count():
    quark = Particle(5, status=23)
    assert labels_of([[quark]], qcd=True) == ["QCD_light"]


def test_quarks_are_stored_from_their_own_threshold():
    flat = record([[Particle(5, status=71, pt=pt) for pt in (4.0, 6.0, 12.0)]])
    one = np.zeros(1, "f4")
    for threshold, stored in ((10.0, 1), (5.0, 2), (20.0, 0)):
        truth = label_jets(flat, np.zeros(1, int), one, one, 0.8, True, threshold)
        assert LABELS[truth.label[0]] == "QCD_b"
        assert len(truth.particles) == stored
        assert np.all(truth.roles == ROLE_QCD_PARTON)


def copies(particle: Particle, radiation: int | None) -> Particle:
    """Put two copies in front of a particle, the second one radiating."""
    radiated = () if radiation is None else (Particle(radiation, eta=OUTSIDE),)
    again = Particle(particle.pid, (particle, *radiated), eta=OUTSIDE)
    return Particle(particle.pid, (again,), eta=OUTSIDE)


@pytest.mark.parametrize("radiation", [None, 22, 21])
def test_copies_and_radiation_between(radiation):
    y1 = copies(Particle(35, pair((5, -5), (False, False))), radiation)
    y2 = copies(Particle(35, pair((21, 21), (False, False))), radiation)
    x = copies(Particle(25, (y1, y2)), radiation)
    assert labels_of([[x]]) == ["X_YY_bbgg"]


def test_copies_of_a_tau():
    electron = (Particle(16), Particle(11, eta=OUTSIDE), Particle(-12, eta=OUTSIDE))
    leptonic = Particle(15, (Particle(15, electron), Particle(22)), eta=OUTSIDE)
    assert labels_of([[Particle(25, (leptonic, tau("h", False, -1)))]]) == ["X_tauhtaue"]


def test_charged_and_neutral_pairs_give_the_same_multiset():
    quarks = pair((4, -5), (False, False)), pair((-4, 5), (False, False))
    for codes in ((37, -37), (35, 35)):
        ys = tuple(Particle(code, q) for code, q in zip(codes, quarks, strict=True))
        assert labels_of([[Particle(25, ys)]]) == ["X_YY_bbcc"]


def test_unlike_ys_count_as_resonances_of_their_own():
    ys = Particle(35, pair((4, -5), (False, False))), Particle(37, pair((-3, 3), (False, False)))
    assert labels_of([[Particle(25, ys)]]) == ["X_bc"]


def test_charged_resonance_alone():
    assert labels_of([[Particle(-37, pair((-4, 5), (False, False)))]]) == ["X_bc"]


@pytest.mark.parametrize(
    "decay",
    [(), (Particle(5),), (Particle(5), Particle(-5), Particle(21)), (Particle(5), Particle(-3)),
     (Particle(22), Particle(22)), (Particle(5), Particle(21)), (Particle(11), Particle(-12))],
)  # fmt: skip
def test_decays_that_no_label_names(decay):
    assert labels_of([[Particle(25, decay)]]) == [None]
    assert labels_of([[Particle(25, decay)]], qcd=True) == ["QCD_light"]


def test_the_first_resonance_with_a_label_wins():
    lost = Particle(25, pair((5, -5), (False, True)))
    kept = Particle(25, pair((4, -4), (False, False)))
    later = Particle(25, pair((3, -3), (False, False)))
    assert labels_of([[lost, kept, later]]) == ["X_cc"]


def test_an_unlisted_combination_gives_no_label():
    # b c b s would need b s from one charged Y, which the charm row does not have.
    ys = Particle(37, pair((4, -5), (False, False))), Particle(-37, pair((-4, 3), (False, False)))
    assert labels_of([[Particle(25, ys)]]) == ["X_YY_ccbs"]
    ys = Particle(37, pair((3, -5), (False, False))), Particle(-37, pair((-4, 3), (False, False)))
    assert labels_of([[Particle(25, ys)]]) == [None]


def test_roles_of_what_is_stored():
    y1 = Particle(35, (tau("e", False), tau("h", False, -1)))
    y2 = Particle(35, pair((5, -5), (False, False)))
    flat = record([[Particle(25, (y1, y2))]])
    zero = np.zeros(1, "f4")
    truth = label_jets(flat, np.zeros(1, int), zero, zero, 0.8, False)
    assert LABELS[truth.label[0]] == "X_YY_bbtauhtaue"
    assert flat["PID"][truth.particles].tolist() == [
        25, 35, 35, 5, -5, 15, -15, 16, 11, -12, -16, 211,
    ]  # fmt: skip
    assert Counter(truth.roles.tolist()) == {
        ROLE_X: 1, ROLE_Y: 2, ROLE_DECAY: 4, ROLE_TAU_DECAY: 5,
    }  # fmt: skip


def test_two_prong_products_are_stored_nearest_first():
    flat = record([[Particle(25, (Particle(5, eta=0.5), Particle(-5, eta=0.2)))]])
    zero = np.zeros(1, "f4")
    truth = label_jets(flat, np.zeros(1, int), zero, zero, 0.8, False)
    assert flat["PID"][truth.particles].tolist() == [25, -5, 5]


def test_phi_wraps():
    flat = record([[Particle(25, (Particle(5), Particle(-5)))]])
    flat.columns["Phi"][:] = -3.1
    truth = label_jets(flat, np.zeros(1, int), np.zeros(1, "f4"), np.full(1, 3.1, "f4"), 0.8, False)
    assert LABELS[truth.label[0]] == "X_bb"


@pytest.mark.parametrize(
    ("links", "broken"),
    [
        ({}, False),
        ({"D1": 0, "D2": 0}, True),  # its own daughter
        ({"D1": 7}, True),  # beyond the record
        ({"D2": 7}, True),
        ({"D1": -2}, True),
        ({"D1": 2, "D2": 1}, False),  # no daughters
    ],
)
def test_broken_links_are_found(links, broken):
    good = [Particle(25, (Particle(5), Particle(-5)))]
    flat = record([good, good, good])
    for name, value in links.items():
        flat[name][3] = value
    assert broken_events(flat).tolist() == [False, broken, False]


def test_a_circle_of_copies_is_found():
    flat = record([[Particle(25, (Particle(25, (Particle(25),)),))]])
    flat["D1"][2] = flat["D2"][2] = 0
    assert broken_events(flat).tolist() == [True]


@pytest.mark.parametrize("seed", range(3))
def test_random_records_are_survived(seed):
    """However the links lie: broken events are found, the others get a label or none."""
    rng = np.random.default_rng(seed)
    n_events, size = 2000, 20
    n = n_events * size
    interesting = [25, 25, 35, 35, 37, -37, 15, -15, 5, -5, 4, 3, 1, 21, 11, -11, 12, 13, 16, 22]
    first = rng.integers(-1, size, n)
    flat = Collection(
        np.arange(0, n + 1, size),
        {
            "PID": rng.choice(interesting, n).astype("i4"),
            "Status": rng.choice([1, 62, 71], n).astype("i4"),
            "D1": first.astype("i4"),
            "D2": np.minimum(first + rng.integers(0, 3, n), size - 1).astype("i4"),
            "PT": rng.exponential(20, n).astype("f4"),
            "Eta": rng.normal(0, 0.5, n).astype("f4"),
            "Phi": rng.normal(0, 0.5, n).astype("f4"),
            "Mass": np.zeros(n, "f4"),
        },
    )
    broken = broken_events(flat)
    assert 0 < broken.sum() < n_events
    sound = flat.select(~broken)
    event = np.arange((~broken).sum())
    zero = np.zeros(len(event), "f4")
    truth = label_jets(sound, event, zero, zero, 0.8, True)
    assert truth.label.min() >= 0
    assert truth.label.max() < len(LABELS)
    assert truth.particles.max() < len(sound["PID"])
    owner = np.repeat(event, np.diff(truth.offsets))
    np.testing.assert_array_equal(sound.event[truth.particles], owner)
