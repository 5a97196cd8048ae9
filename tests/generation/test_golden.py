"""Events that a given seed has, to the last bit: changed events need a raised version.

Snakemake simulates anew when `SIMULATION_VERSION` is raised, and only then: a change of code that
changes events and not the version would mix old shards with new ones.
"""

import hashlib
import math

import numpy as np
import pytest

from generation.pileup import COLUMNS, PileupLibrary
from generation.simulate import DEFAULT_CARD, Simulator
from workflow.fingerprint import SIMULATION_VERSION

# The version that has these events; renewed together.
VERSION = 4
GOLDEN = {
    "qcd": "6b50d9051a1defecf79e28493bc06a73",
    "res34p": "5289c2f896f5718f53d7578125020fcb",
    "minbias": "b61351078a2777ea6a3a0efd175eaf9d",
}
# Of mathematical functions as this processor, numpy and the C library round them.
ARITHMETIC = "f49667faf6d9a3038d3e815ab1107412"


def digest(columns):
    """Return a digest of named columns, floating-point numbers in single precision."""
    found = hashlib.sha256()
    for name, values in columns.items():
        single = values.astype(np.float32) if values.dtype.kind == "f" else values
        found.update(f"{name} {single.dtype} {single.shape}".encode())
        found.update(np.ascontiguousarray(single).tobytes())
    return found.hexdigest()[:32]


@pytest.fixture(scope="module")
def _same_arithmetic():
    x = np.linspace(0.01, 30.0, 3001)
    functions = ("exp", "log", "log1p", "sin", "cos", "tan", "sinh", "sqrt")
    found = {
        **{name: getattr(np, name)(x) for name in (*functions, "arctan", "arcsinh")},
        **{
            f"C {name}": np.array([getattr(math, name)(value) for value in x.tolist()])
            for name in (*functions, "atan", "asinh")
        },
        "power": x**-0.37,
        "C pow": np.array([value**-0.37 for value in x.tolist()]),
        "arctan2": np.arctan2(x, x[::-1]),
        "hypot": np.hypot(x, x[::-1]),
    }
    # In double precision: the last bit decides what Pythia does next.
    bits = digest({name: values.view(np.int64) for name, values in found.items()})
    if bits != ARITHMETIC:
        pytest.skip(
            f"mathematical functions are rounded as {bits} here, not as {ARITHMETIC} where the "
            "digests were made, so that events differ whatever the code"
        )


def compare(name, found, also=""):
    if found == GOLDEN[name]:
        return
    renew = f"renew VERSION and {name!r}: {found!r} in {__file__}"
    if SIMULATION_VERSION != VERSION:
        pytest.fail(f"the digest of {name} belongs to SIMULATION_VERSION {VERSION}: {renew}")
    pytest.fail(
        f"the events of {name} are not those of SIMULATION_VERSION {VERSION} any more: raise it in "
        f"workflow/fingerprint.py{also} and {renew}"
    )


@pytest.mark.usefixtures("_same_arithmetic")
@pytest.mark.parametrize("process", ["qcd", "res34p"])
def test_simulated_events_are_those_of_their_version(process, pileup_library):
    branches, info = Simulator(DEFAULT_CARD, pileup_library, 2**63 + 1, 3).batch(process, 12, 3)
    columns = {"point": np.array([info.point[name] for name in sorted(info.point)], np.float64)}
    for name, branch in branches.items():
        columns[name] = branch.offsets
        columns |= {f"{name}.{leaf}": values for leaf, values in branch.columns.items()}
    compare(process, digest(columns))


@pytest.mark.usefixtures("_same_arithmetic")
def test_minimum_bias_events_are_those_of_their_version(pileup_library):
    library = PileupLibrary.open(pileup_library)
    found = digest({name: getattr(library, name) for name in ("offsets", *COLUMNS)})
    # Users keep a library.
    compare("minbias", found, also=", VERSION in generation/default_library.py")
