"""The 188 jet labels of JetClass-II: names in index order, their contents and their groups.

A label says which resonance or QCD pattern a jet contains (arXiv:2405.12972): ``X_`` two prongs of
one resonance, ``X_YY_`` three or four prongs of a cascade X → YY, ``QCD_`` the heavy quarks of a
jet without a resonance. The names are built from the decay patterns rather than listed.
"""

import re
from collections import Counter
from itertools import product

# What a label can name. A τ pair and a τν pair count as one token each, as their decay modes
# are told apart only together; v is a neutrino of an e or μ, q an up or down quark.
TOKENS = (
    "b", "c", "s", "q", "g", "e", "m", "v",
    "tauhtaue", "tauhtaum", "tauhtauh", "tauev", "taumv", "tauhv",
)  # fmt: skip
PREFIXES = ("X_YY_", "X_", "QCD_")

_FLAVOURS = "bcsqg"
_TAU_PAIRS = ("tauhtaue", "tauhtaum", "tauhtauh")
_CHARGED_PAIRS = ("bc", "cs", "bq", "cq", "sq", "qq")
_LEPTON_NEUTRINO = ("ev", "mv", "tauev", "taumv", "tauhv")
# Four- and three-prong combinations that only a pair of charged Y can give.
_CHARGED_FOUR = (
    "qqqb", "qqqc", "qqqs", "bbcq", "ccbs", "ccbq", "ccsq", "sscq", "qqbc", "qqbs", "qqcs", "bcsq",
)  # fmt: skip
_CHARGED_THREE = ("bcs", "bcq", "bsq", "csq")


def _two_prong() -> list[str]:
    pairs = ("bb", "cc", "ss", "qq", "bc", "cs", "bq", "cq", "sq", "gg", "ee", "mm")
    return ["X_" + pair for pair in (*pairs, *_TAU_PAIRS)]


def _neutral_cascade() -> list[str]:
    contents = []
    for position, flavour in enumerate(_FLAVOURS):
        pair = 2 * flavour
        partners = [2 * other for other in _FLAVOURS[position:]]
        contents += [pair + partner for partner in (*partners, "ee", "mm", *_TAU_PAIRS)]
        contents += [pair + single for single in (*_FLAVOURS, "e", "m")]
    for leptons in ("ee", "mm", *_TAU_PAIRS):
        contents += [flavour + leptons for flavour in _FLAVOURS]
    return ["X_YY_" + content for content in contents]


def _charged_cascade() -> list[str]:
    leptonic = [pair + lepton for lepton in _LEPTON_NEUTRINO for pair in _CHARGED_PAIRS]
    return ["X_YY_" + content for content in (*_CHARGED_FOUR, *_CHARGED_THREE, *leptonic)]


def _qcd() -> list[str]:
    counts = product((2, 1, 0), repeat=3)
    return ["QCD_" + (b * "b" + c * "c" + s * "s" or "light") for b, c, s in counts]


LABELS: tuple[str, ...] = (*_two_prong(), *_neutral_cascade(), *_charged_cascade(), *_qcd())
INDEX: dict[str, int] = {label: index for index, label in enumerate(LABELS)}

_TOKEN = re.compile("|".join(sorted(TOKENS, key=len, reverse=True)))


def split_label(label: str) -> tuple[str, Counter[str]]:
    """Split a label into its prefix and the multiset of what it names.

    Parameters
    ----------
    label
        One of `LABELS`; ``QCD_light`` names nothing.

    Returns
    -------
    prefix : str
        One of `PREFIXES`.
    tokens : collections.Counter
        How often each of `TOKENS` occurs.
    """
    prefix = next(prefix for prefix in PREFIXES if label.startswith(prefix))
    content = label.removeprefix(prefix)
    return prefix, Counter() if content == "light" else Counter(_TOKEN.findall(content))


def group_of(label: str) -> str:
    """Return the name of the group a label belongs to, for confusion matrices and summaries."""
    prefix, tokens = split_label(label)
    if prefix == "QCD_":
        return "QCD"
    taus = [token for token in tokens if token.startswith("tau")]
    leptons = tokens["e"] + tokens["m"]
    if prefix == "X_":
        kind = "ττ" if taus else "ℓℓ" if leptons else "gg" if tokens["g"] else "qq"
        return f"X → {kind}"
    if taus:
        return "YY → qq ττ" if taus[0] in _TAU_PAIRS else "YY → qq τν"
    if tokens["v"]:
        return "YY → qq ℓν"
    if leptons:
        return "YY → qq ℓ(ℓ)"
    return f"YY → {sum(tokens.values())} q/g"


def _groups() -> dict[str, tuple[int, ...]]:
    groups: dict[str, list[int]] = {}
    for index, label in enumerate(LABELS):
        groups.setdefault(group_of(label), []).append(index)
    return {name: tuple(indices) for name, indices in groups.items()}


# Group name → label indices, in order of first appearance; every label is in exactly one group.
GROUPS: dict[str, tuple[int, ...]] = _groups()
RESONANCE_LABELS: tuple[int, ...] = tuple(i for i, name in enumerate(LABELS) if name[0] == "X")
QCD_LABELS: tuple[int, ...] = GROUPS["QCD"]
